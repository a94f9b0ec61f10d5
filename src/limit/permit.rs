//! The right to start one call.

use super::{own, shared};
use std::time::Duration;
use tokio::time::Instant;

/// How much later than its slot a call is started; no longer is waited for it.
const LONGEST_LATE_WAIT: Duration = Duration::from_secs(1);

/// The right to start one call at its slot. Consumed by the provider call; dropping it unused gives
/// the slot back when no later one was handed out.
#[must_use = "a permit is spent by the call it is for"]
#[derive(Debug)]
pub struct Permit {
    kind: Kind,
    started: Option<Instant>,
    until: Option<Instant>,
}

/// What it holds of the limiter.
#[derive(Debug)]
pub(super) enum Kind {
    Own(own::OwnPermit),
    Shared(shared::SharedPermit),
}

impl Permit {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            started: None,
            until: None,
        }
    }

    /// Makes [`Permit::start`] refuse from this instant on: what the call is for may be somebody
    /// else's then.
    pub fn until(&mut self, deadline: Option<Instant>) {
        self.until = deadline;
    }

    /// Waits for the slot and counts the call as started. A permit that comes later than its
    /// tolerance moves the slots after it (or, where the rate is shared, takes a new one), because
    /// it would crowd the next second otherwise; when its start is far (the rate fell meanwhile) or
    /// after its deadline, `false`: the call must not be made.
    #[must_use = "without its slot the call must not be made"]
    pub async fn start(&mut self) -> bool {
        self.start_within(Some(LONGEST_LATE_WAIT)).await
    }

    pub(super) async fn start_within(&mut self, late_wait: Option<Duration>) -> bool {
        if self.started.is_some() {
            return true;
        }
        let until = self.until;
        self.started = match &mut self.kind {
            Kind::Own(permit) => permit.begin(late_wait, until).await,
            Kind::Shared(permit) => permit.begin(until).await,
        };
        self.started.is_some()
    }

    /// When the call started, if it did.
    pub fn started(&self) -> Option<Instant> {
        self.started
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        match &mut self.kind {
            Kind::Own(permit) => permit.end(self.started.is_some()),
            Kind::Shared(permit) => permit.end(self.started.is_some()),
        }
    }
}
