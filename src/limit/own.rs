//! The rate as one process keeps it alone: the gate behind a lock that is held for arithmetic only.
//!
//! Never blocks across an await, never sleeps while it holds the lock.

use super::gate::{Gate, Slot, Start};
use super::{Rate, RateNow};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

/// Who waits looks again after this: an operator may have ended a pause.
const LOOK: Duration = Duration::from_secs(1);

/// The rate of an account in this process.
#[derive(Debug)]
pub(super) struct Own {
    /// Held for arithmetic only.
    gate: Mutex<Gate>,
    /// Woken when a call ends or the rate changes: somebody may find room now.
    pub(super) room: Notify,
    /// Woken when a pause begins that a person should be told of.
    long_pause: Notify,
}

impl Own {
    pub(super) fn new(rate: Rate, tolerance: Duration) -> Self {
        Self {
            gate: Mutex::new(Gate::new(rate, tolerance, Instant::now())),
            room: Notify::new(),
            long_pause: Notify::new(),
        }
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        // The gate holds plain numbers that are right after every statement.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn reserve(
        self: &Arc<Self>,
        most: usize,
        lead: Duration,
        horizon: Duration,
    ) -> Vec<OwnPermit> {
        let slots = self.gate().reserve(most, lead, horizon, Instant::now());
        let permits = slots.into_iter();
        permits.map(|slot| self.permit(slot, true)).collect()
    }

    /// The next slot, ahead of every send that has none yet.
    pub(super) async fn next(self: &Arc<Self>) -> OwnPermit {
        loop {
            let pause = {
                let (mut gate, now) = (self.gate(), Instant::now());
                match gate.pause.left(now) {
                    None => return self.permit(gate.take_slot(now, now), false),
                    Some(left) => left,
                }
            };
            sleep(pause.min(LOOK)).await;
        }
    }

    fn permit(self: &Arc<Self>, slot: Option<Slot>, counted: bool) -> OwnPermit {
        OwnPermit {
            own: self.clone(),
            slot,
            counted,
        }
    }

    pub(super) fn opens_in(&self, lead: Duration) -> Option<Duration> {
        self.gate().opens_in(lead, Instant::now())
    }

    pub(super) fn slow_down(&self) {
        self.gate().slow_down(Instant::now());
    }

    pub(super) fn wait(&self, pause: Duration) {
        if self.gate().pause.ask(pause, Instant::now()) {
            self.long_pause.notify_one();
        }
    }

    pub(super) fn end_pause(&self) {
        self.gate().pause.end();
        self.room.notify_one();
    }

    pub(super) async fn long_pause(&self) -> Duration {
        loop {
            self.long_pause.notified().await;
            if let Some(left) = self.gate().pause.left(Instant::now()) {
                return left;
            }
        }
    }

    pub(super) fn set(&self, rate: Rate) {
        self.gate().set(rate, Instant::now());
        // The worker may be between looking and waiting: the wakeup is kept for it.
        self.room.notify_one();
    }

    pub(super) fn now(&self) -> RateNow {
        self.gate().now(Instant::now())
    }
}

/// What a permit holds of it.
#[derive(Debug)]
pub(super) struct OwnPermit {
    own: Arc<Own>,
    /// When the call may start; `None` when there was no limit.
    slot: Option<Slot>,
    counted: bool,
}

impl OwnPermit {
    /// Waits until the call may start, unless that is further than `late_wait` after its slot. Tells
    /// when it started; it must not be made when `None`.
    pub(super) async fn begin(
        &mut self,
        late_wait: Option<Duration>,
        until: Option<Instant>,
    ) -> Option<Instant> {
        loop {
            let now = Instant::now();
            if until.is_some_and(|until| now >= until) {
                return None;
            }
            let at = match self.own.gate().start(self.slot, now) {
                Start::Now => return Some(now),
                Start::At(at) => at,
            };
            let planned = self.slot.map_or(now, |slot| slot.at.max(now));
            let far = late_wait.is_some_and(|wait| at > planned + wait);
            if far || until.is_some_and(|until| at >= until) {
                return None;
            }
            sleep_until(at.min(now + LOOK)).await;
        }
    }

    /// The call has ended, or was never made.
    pub(super) fn end(&mut self, started: bool) {
        let mut gate = self.own.gate();
        if let (false, Some(slot)) = (started, self.slot) {
            gate.give_back(slot);
        }
        gate.end(started, self.counted, Instant::now());
        drop(gate);
        if self.counted {
            self.own.room.notify_one();
        }
    }
}
