//! The pace of one account: how many calls a second, and how many at once (DESIGN G5).
//!
//! A GCRA of our own: governor works in whole intervals, loses its state when the quota changes and
//! does not hand out permits in order. Slots are `(1 + tolerance) / rate` apart and a call starts
//! within `tolerance` after its slot or takes a new slot, so at most `rate` calls start in any
//! half-open second, whatever the timers do. Never blocks across an await, never sleeps while it
//! holds the lock.

mod permit;
#[cfg(test)]
mod tests;

pub use permit::Permit;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The configured pace of an account.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Calls a second; `None` is no limit.
    pub per_second: Option<f64>,
    /// Calls at once.
    pub concurrency: usize,
}

/// The pace as it is now, for the ops listener.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PaceNow {
    /// What is configured or set at run time.
    pub set: Pace,
    /// What applies after the upstream asked for less.
    pub effective: Option<f64>,
    /// Calls under way.
    pub in_flight: usize,
    /// Calls started since the start of the process.
    pub started: u64,
}

/// The limiter of one account. Clones share it.
#[derive(Debug, Clone)]
pub struct Limiter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Held for arithmetic only.
    gate: Mutex<Gate>,
    /// Rung when a call ends or the pace changes: somebody may find room now.
    room: Notify,
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
/// With a tolerance of zero a call may still start this late: timers tick in milliseconds.
const LEAST_TOLERANCE: Duration = Duration::from_millis(2);
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

impl Limiter {
    /// A limiter whose first slot is one interval ahead, because a process before this one may have
    /// started a call just now. `tolerance` is how late a call may start after its slot;
    /// the pace is lowered by the same share, so the limit holds exactly.
    pub fn new(pace: Pace, tolerance: Duration) -> Self {
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
        let shared = Shared {
            gate: Mutex::new(gate),
            room: Notify::new(),
            tolerance,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        // The gate holds plain numbers that are right after every statement.
        self.shared
            .gate
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up to `most` permits whose slots lie within `horizon` from `lead` on, as far as there
    /// is room for calls at once. Slots begin no sooner than `lead` from now, so that a durable
    /// write fits in between.
    pub fn reserve(&self, most: usize, lead: Duration, horizon: Duration) -> Vec<Permit> {
        let now = Instant::now();
        let mut gate = self.gate();
        let room = gate
            .pace
            .concurrency
            .saturating_sub(gate.in_flight)
            .min(most);
        let mut permits = Vec::with_capacity(room);
        while permits.len() < room {
            let opens = gate.next.max(gate.earliest(now));
            if gate.pace.per_second.is_some() && opens > now + lead + horizon {
                break;
            }
            let slot = gate.take_slot(now + lead, self.shared.tolerance);
            gate.in_flight += 1;
            permits.push(self.permit(slot, true));
        }
        permits
    }

    /// Waits for the next slot, ahead of every send that has none yet. For calls that are not
    /// sends: they count against the rate but not against the calls at once.
    pub async fn maintenance(&self) -> Permit {
        let slot = {
            let mut gate = self.gate();
            gate.take_slot(Instant::now(), self.shared.tolerance)
        };
        let mut permit = self.permit(slot, false);
        permit.start_within(None).await;
        permit
    }

    fn permit(&self, slot: Option<Instant>, counted: bool) -> Permit {
        Permit {
            limiter: self.clone(),
            slot,
            started: false,
            counted,
        }
    }

    /// How long until a slot is free and there is room for a call; zero when it is now, `None`
    /// while all calls at once are taken (then [`Limiter::room`] tells).
    pub fn opens_in(&self, lead: Duration) -> Option<Duration> {
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

    /// Completes when a call has ended or the pace has changed since this future was made.
    pub async fn room(&self) {
        self.shared.room.notified().await;
    }

    /// The upstream said "too many": halves the pace, at most once a second, and waits as long as
    /// it asked.
    pub fn slow_down(&self, retry_after: Option<Duration>) {
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

    /// Sets the pace; what was reserved stays reserved.
    pub fn set(&self, pace: Pace) {
        let mut gate = self.gate();
        let now = Instant::now();
        gate.pace = pace;
        gate.factor = 1.0;
        gate.next = gate.next.min(now + Duration::from_secs(1));
        drop(gate);
        // The worker may be between looking and waiting: the permit of the bell is kept for it.
        self.shared.room.notify_one();
    }

    /// The pace as it is now.
    pub fn now(&self) -> PaceNow {
        let mut gate = self.gate();
        let effective = gate.rate(Instant::now());
        PaceNow {
            set: gate.pace,
            effective,
            in_flight: gate.in_flight,
            started: gate.started,
        }
    }
}
