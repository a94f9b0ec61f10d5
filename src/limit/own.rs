//! The pace as one process keeps it alone: a GCRA behind a lock that is held for arithmetic only.
//!
//! Never blocks across an await, never sleeps while it holds the lock.

use super::{LEAST_TOLERANCE, Pace, PaceNow};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// The pace of an account in this process.
#[derive(Debug)]
pub(super) struct Own {
    /// Held for arithmetic only.
    gate: Mutex<Gate>,
    /// Rung when a call ends or the pace changes: somebody may find room now.
    pub(super) room: Notify,
    tolerance: Duration,
}

#[derive(Debug)]
struct Gate {
    pace: Pace,
    /// Share of the pace in force, halved by each rate-limit answer, recovering slowly.
    factor: f64,
    /// When `factor` was last brought up to date.
    factor_at: Instant,
    /// When the pace was last halved: answers to calls of the same burst halve it once.
    halved_at: Option<Instant>,
    /// The next free slot.
    next: Instant,
    /// No call starts before this (the upstream's Retry-After).
    not_before: Option<Instant>,
    in_flight: usize,
    started: u64,
}

/// Pace recovers by this share of itself a second after a rate-limit answer.
const RECOVERY_PER_SECOND: f64 = 0.05;
/// However often the upstream complains, this share of the pace remains.
const LEAST_FACTOR: f64 = 1.0 / 64.0;

impl Gate {
    fn rate(&mut self, now: Instant) -> Option<f64> {
        if self.factor < 1.0 {
            let seconds = now.saturating_duration_since(self.factor_at).as_secs_f64();
            self.factor = (self.factor + seconds * RECOVERY_PER_SECOND).min(1.0);
            self.factor_at = now;
        }
        self.pace.per_second.map(|rate| rate * self.factor)
    }

    fn earliest(&self, now: Instant) -> Instant {
        self.not_before.map_or(now, |at| at.max(now))
    }

    /// Takes a slot back that no call started in, when no later one was handed out.
    fn give_back(&mut self, slot: Instant, now: Instant, tolerance: Duration) {
        if let Some(rate) = self.rate(now)
            && self.next == slot + interval(rate, tolerance)
        {
            self.next = slot;
        }
    }

    fn take_slot(&mut self, now: Instant, tolerance: Duration) -> Option<Instant> {
        let Some(rate) = self.rate(now) else {
            return self.not_before.filter(|at| *at > now);
        };
        // A slot may lie a little in the past: a pause of the program shorter than that costs
        // nothing, and the start is still within the tolerance.
        let lagging = now.checked_sub(tolerance / 2).unwrap_or(now);
        let slot = self
            .next
            .max(lagging)
            .max(self.not_before.unwrap_or(lagging));
        self.next = slot + interval(rate, tolerance);
        Some(slot)
    }
}

fn interval(rate: f64, tolerance: Duration) -> Duration {
    let late = tolerance.max(LEAST_TOLERANCE);
    // Rounded up, so that a second's worth of slots never sums to less than a second.
    Duration::from_secs_f64((1.0 + late.as_secs_f64()) / rate) + Duration::from_nanos(1)
}

impl Own {
    /// Its first slot is one interval ahead, because a process before this one may have started a
    /// call just now.
    pub(super) fn new(pace: Pace, tolerance: Duration) -> Self {
        let now = Instant::now();
        let first = pace
            .per_second
            .map_or(now, |rate| now + interval(rate, tolerance));
        let gate = Gate {
            pace,
            factor: 1.0,
            factor_at: now,
            halved_at: None,
            next: first,
            not_before: None,
            in_flight: 0,
            started: 0,
        };
        Self {
            gate: Mutex::new(gate),
            room: Notify::new(),
            tolerance,
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
    ) -> Vec<Ticket> {
        let now = Instant::now();
        let mut gate = self.gate();
        let room = gate
            .pace
            .concurrency
            .saturating_sub(gate.in_flight)
            .min(most);
        let mut tickets = Vec::with_capacity(room);
        while tickets.len() < room {
            let opens = gate.next.max(gate.earliest(now));
            if gate.pace.per_second.is_some() && opens > now + lead + horizon {
                break;
            }
            let slot = gate.take_slot(now + lead, self.tolerance);
            gate.in_flight += 1;
            tickets.push(self.ticket(slot, true));
        }
        tickets
    }

    /// The next slot, ahead of every send that has none yet.
    pub(super) fn next(self: &Arc<Self>) -> Ticket {
        let slot = self.gate().take_slot(Instant::now(), self.tolerance);
        self.ticket(slot, false)
    }

    fn ticket(self: &Arc<Self>, slot: Option<Instant>, counted: bool) -> Ticket {
        Ticket {
            own: self.clone(),
            slot,
            counted,
        }
    }

    pub(super) fn opens_in(&self, lead: Duration) -> Option<Duration> {
        let now = Instant::now();
        let gate = self.gate();
        if gate.in_flight >= gate.pace.concurrency {
            return None;
        }
        let paced = gate.pace.per_second.map_or(now, |_| gate.next);
        Some(
            paced
                .max(gate.earliest(now))
                .saturating_duration_since(now + lead),
        )
    }

    pub(super) fn slow_down(&self, retry_after: Option<Duration>) {
        let now = Instant::now();
        let mut gate = self.gate();
        gate.rate(now);
        let burst = Duration::from_secs(1);
        if gate
            .halved_at
            .is_none_or(|at| now.saturating_duration_since(at) >= burst)
        {
            gate.factor = (gate.factor / 2.0).max(LEAST_FACTOR);
            gate.halved_at = Some(now);
        }
        if let Some(wait) = retry_after {
            gate.not_before = Some(gate.earliest(now).max(now + wait));
        }
    }

    pub(super) fn set(&self, pace: Pace) {
        let mut gate = self.gate();
        let now = Instant::now();
        gate.pace = pace;
        gate.factor = 1.0;
        gate.next = gate.next.min(now + Duration::from_secs(1));
        drop(gate);
        // The worker may be between looking and waiting: the permit of the bell is kept for it.
        self.room.notify_one();
    }

    pub(super) fn now(&self) -> PaceNow {
        let mut gate = self.gate();
        let effective = gate.rate(Instant::now());
        PaceNow {
            set: gate.pace,
            effective,
            in_flight: gate.in_flight,
            elsewhere: 0,
            started: gate.started,
        }
    }
}

/// What a permit holds of it.
#[derive(Debug)]
pub(super) struct Ticket {
    own: Arc<Own>,
    /// When the call may start; `None` when there is no limit.
    slot: Option<Instant>,
    counted: bool,
}

impl Ticket {
    /// Waits for the slot, or a new one when it comes too late and that one is not further away
    /// than `late_wait`. Tells when the call started; it must not be made when `None`.
    pub(super) async fn begin(
        &mut self,
        late_wait: Option<Duration>,
        until: Option<Instant>,
    ) -> Option<Instant> {
        let tolerance = self.own.tolerance;
        while let Some(slot) = self.slot {
            if until.is_some_and(|until| slot >= until) {
                return None;
            }
            sleep_until(slot).await;
            let now = Instant::now();
            if now <= slot + tolerance.max(LEAST_TOLERANCE) {
                break;
            }
            let mut gate = self.own.gate();
            // Else being late by some milliseconds would cost a whole interval.
            gate.give_back(slot, now, tolerance);
            let next = gate.next.max(gate.earliest(now));
            if late_wait.is_some_and(|wait| next > now + wait) {
                // Given back already; somebody else may have it now.
                self.slot = None;
                return None;
            }
            self.slot = gate.take_slot(now, tolerance);
        }
        let now = Instant::now();
        if until.is_some_and(|until| now >= until) {
            return None;
        }
        self.own.gate().started += 1;
        Some(now)
    }

    /// The call has ended, or was never made.
    pub(super) fn end(&mut self, started: bool) {
        let mut gate = self.own.gate();
        if let (false, Some(slot)) = (started, self.slot) {
            gate.give_back(slot, Instant::now(), self.own.tolerance);
        }
        if self.counted {
            gate.in_flight -= 1;
            drop(gate);
            self.own.room.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{TOLERANCE, crowd};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn slots_never_crowd_a_second(rate in 1u32..2000, gaps in prop::collection::vec(0u64..50, 1..300)) {
            let now = Instant::now();
            let mut gate = Gate {
                pace: Pace { per_second: Some(f64::from(rate)), concurrency: 1 },
                factor: 1.0, factor_at: now, halved_at: None, next: now,
                not_before: None, in_flight: 0, started: 0,
            };
            let (mut at, mut starts) = (now, Vec::new());
            for gap in gaps {
                at += Duration::from_millis(gap);
                let slot = gate.take_slot(at, TOLERANCE).unwrap();
                // The worst case: each call starts as late as it may, or exactly at its slot.
                starts.push(if gap % 2 == 0 { slot } else { slot + TOLERANCE });
            }
            starts.sort();
            prop_assert!(crowd(&starts) <= rate as usize);
        }
    }
}
