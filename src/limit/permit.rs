//! The right to start one call.

use super::{LEAST_TOLERANCE, Limiter};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How long a call whose slot has passed waits for the next one.
const LONGEST_LATE_WAIT: Duration = Duration::from_secs(1);

/// The right to start one call at its slot. Consumed by the provider call; dropping it unused gives
/// the slot back when no later one was handed out.
#[must_use = "a permit is spent by the call it is for"]
#[derive(Debug)]
pub struct Permit {
    pub(super) limiter: Limiter,
    /// When the call may start; `None` when there is no limit.
    pub(super) slot: Option<Instant>,
    pub(super) started: bool,
    pub(super) counted: bool,
}

impl Permit {
    /// Waits for the slot and counts the call as started. A permit that comes later than its
    /// tolerance takes a new slot, because a late start would crowd the next second; when that one
    /// is far (the pace fell meanwhile), `false`: the call must not be made.
    #[must_use = "without its slot the call must not be made"]
    pub async fn start(&mut self) -> bool {
        self.start_within(Some(LONGEST_LATE_WAIT)).await
    }

    pub(super) async fn start_within(&mut self, late_wait: Option<Duration>) -> bool {
        if self.started {
            return true;
        }
        while let Some(slot) = self.slot {
            sleep_until(slot).await;
            let now = Instant::now();
            if now <= slot + self.limiter.shared.tolerance.max(LEAST_TOLERANCE) {
                break;
            }
            let tolerance = self.limiter.shared.tolerance;
            let mut gate = self.limiter.gate();
            // Else being late by some milliseconds would cost a whole interval.
            gate.give_back(slot, now, tolerance);
            let next = gate.next.max(gate.earliest(now));
            if late_wait.is_some_and(|wait| next > now + wait) {
                // Given back already; somebody else may have it now.
                self.slot = None;
                return false;
            }
            self.slot = gate.take_slot(now, tolerance);
        }
        self.started = true;
        self.limiter.gate().started += 1;
        true
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let tolerance = self.limiter.shared.tolerance;
        let mut gate = self.limiter.gate();
        if let (false, Some(slot)) = (self.started, self.slot) {
            gate.give_back(slot, Instant::now(), tolerance);
        }
        if self.counted {
            gate.in_flight -= 1;
            drop(gate);
            self.limiter.shared.room.notify_one();
        }
    }
}
