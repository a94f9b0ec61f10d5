//! The rate of one account: how many calls per second, and how many at once (design.md G5).
//!
//! A GCRA of our own: governor works in whole intervals, loses its state when the quota changes and
//! does not hand out permits in order. Slots are `(1 + tolerance) / rate` apart and a call starts
//! within `tolerance` after its slot, or later and moves the slots after it, so at most `rate` calls
//! start in any half-open second, whatever the timers do. The same holds for one process (`own`) and
//! for many that share the rate over Redis (`shared`): there the slots are on the clock of Redis, and
//! the tolerance grows to what the starts need (`lateness`), since nobody moves the slots of others.

mod bounds;
mod distance;
mod gate;
#[cfg(test)]
mod late;
#[cfg(test)]
mod late_together;
mod lateness;
mod own;
mod pause;
mod permit;
mod reading;
mod report;
mod shared;
mod slot;
mod slowed;
mod state;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod together;

pub use permit::Permit;

use crate::domain::AccountId;
use crate::store::redis::Connection;
use permit::Kind;
use std::sync::Arc;
use std::time::Duration;

/// The configured rate of an account.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Calls per second; `None` is no limit.
    pub per_second: Option<f64>,
    /// Calls at once.
    pub concurrency: usize,
}

/// The rate as it is now, for the ops listener.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateNow {
    /// What is configured or set at run time.
    pub set: Rate,
    /// What applies after the upstream asked for less: a part of a set rate, or a temporary one. Less
    /// where Redis is far away.
    pub effective: Option<f64>,
    /// How long Redis takes to answer, where that makes it less.
    pub away: Option<Duration>,
    /// What is left of the pause that the upstream asked for.
    pub pause: Option<Duration>,
    /// Calls under way in this process.
    pub in_flight: usize,
    /// Calls under way in the other processes that share the rate, as last heard of.
    pub elsewhere: usize,
    /// Calls started since the start of this process.
    pub started: u64,
}

/// With a tolerance of zero a call may still start this late: timers tick in milliseconds.
const LEAST_TOLERANCE: Duration = Duration::from_millis(2);
/// Slots are asked for this much ahead of need: half of what the worker takes at once, so that a
/// pause of the program shorter than that costs nothing.
const AHEAD: Duration = Duration::from_millis(10);

/// The limiter of one account. Clones share it.
#[derive(Debug, Clone)]
pub struct Limiter {
    source: Source,
}

/// Who keeps the rate.
#[derive(Debug, Clone)]
enum Source {
    /// This process alone.
    Own(Arc<own::Own>),
    /// All replicas together.
    Shared(Arc<shared::Shared>),
}

impl Limiter {
    /// A limiter of this process alone, whose first slot is one interval ahead, because a process
    /// before this one may have started a call just now. `tolerance` is how late a call may start
    /// after its slot; the rate is lowered by the same share, so the limit holds exactly.
    pub fn new(rate: Rate, tolerance: Duration) -> Self {
        let own = own::Own::new(rate, tolerance);
        Self {
            source: Source::Own(Arc::new(own)),
        }
    }

    /// A limiter that all processes on the same Redis share. `rate` applies to all of them from now
    /// on; the first permit comes 1.4 s and an interval after Redis first answered. Must be
    /// called inside a runtime.
    pub fn shared(
        connection: Connection,
        account: AccountId,
        rate: Rate,
        tolerance: Duration,
    ) -> Self {
        Self {
            source: Source::Shared(shared::Shared::start(connection, account, rate, tolerance)),
        }
    }

    /// Takes up to `most` permits whose slots lie within `horizon` from `lead` on, as far as there
    /// is room for calls at once. Slots begin no sooner than `lead` from now, so that a durable
    /// write fits in between. None while a shared rate cannot be asked for.
    pub async fn reserve(&self, most: usize, lead: Duration, horizon: Duration) -> Vec<Permit> {
        match &self.source {
            Source::Own(own) => {
                let permits = own.reserve(most, lead, horizon).into_iter();
                permits.map(Kind::Own).map(Permit::new).collect()
            }
            Source::Shared(shared) => {
                let permits = shared.reserve(most, lead, horizon).await;
                let permits = permits.into_iter().map(Kind::Shared);
                permits.map(Permit::new).collect()
            }
        }
    }

    /// Waits for the next slot, ahead of every send that has none yet. For calls that are not
    /// sends: they count against the rate but not against the calls at once.
    pub async fn maintenance(&self) -> Permit {
        loop {
            let kind = match &self.source {
                Source::Own(own) => Kind::Own(own.next().await),
                Source::Shared(shared) => Kind::Shared(shared.next().await),
            };
            let mut permit = Permit::new(kind);
            if permit.start_within(None).await {
                return permit;
            }
        }
    }

    /// How long until the next slot is near and there is room for a call; zero when it is now,
    /// `None` while all calls at once are taken (then [`Limiter::room`] tells). A hint where the
    /// rate is shared: others may be quicker.
    pub fn opens_in(&self, lead: Duration) -> Option<Duration> {
        match &self.source {
            Source::Own(own) => own.opens_in(lead),
            Source::Shared(shared) => shared.opens_in(lead),
        }
    }

    /// Completes when a call has ended or the rate has changed since this future was made.
    pub async fn room(&self) {
        match &self.source {
            Source::Own(own) => own.room.notified().await,
            Source::Shared(shared) => shared.room.notified().await,
        }
    }

    /// The upstream said "too many": cuts the rate, at most once a second, and waits as long as it
    /// asked. Without a set rate a temporary one begins. Where the rate is shared the others slow
    /// down with the next word from Redis.
    pub fn slow_down(&self, retry_after: Option<Duration>) {
        match &self.source {
            Source::Own(own) => own.slow_down(),
            Source::Shared(shared) => shared.slow_down(),
        }
        if let Some(pause) = retry_after {
            self.wait(pause);
        }
    }

    /// The upstream asked for a pause: no call starts before it is over, an hour at most. The rate
    /// stays as it is. An operator ends it with [`Limiter::set`] or [`Limiter::end_pause`].
    pub fn wait(&self, pause: Duration) {
        match &self.source {
            Source::Own(own) => own.wait(pause),
            Source::Shared(shared) => shared.wait(pause),
        }
    }

    /// Ends the pause that the upstream asked for, for all that share the rate.
    pub fn end_pause(&self) {
        match &self.source {
            Source::Own(own) => own.end_pause(),
            Source::Shared(shared) => shared.end_pause(),
        }
    }

    /// Completes once for each pause of more than a minute that this process was asked for, with
    /// what is left of it.
    pub async fn long_pause(&self) -> Duration {
        match &self.source {
            Source::Own(own) => own.long_pause().await,
            Source::Shared(shared) => shared.long_pause().await,
        }
    }

    /// Sets the rate, for all that share it, and ends a pause; what was reserved stays reserved.
    pub fn set(&self, rate: Rate) {
        match &self.source {
            Source::Own(own) => own.set(rate),
            Source::Shared(shared) => shared.set(rate),
        }
    }

    /// The rate as it is now.
    pub fn now(&self) -> RateNow {
        match &self.source {
            Source::Own(own) => own.now(),
            Source::Shared(shared) => shared.now(),
        }
    }
}
