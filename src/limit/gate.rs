//! The arithmetic of one process' rate. Pure: the time is an argument.
//!
//! Slots are planned on a line, an interval apart, and handed out ahead. What keeps the limit is not
//! the plan but `open`: a GCRA over the starts themselves. So it does not matter which call uses
//! which slot, nor how late: a call that wakes too late starts at once and moves what is still to
//! come by its lateness, and an exact second never holds more starts than the rate.

use super::pause::Pause;
use super::slowed::{Recent, Slowed};
use super::{AHEAD, LEAST_TOLERANCE, Rate, RateNow};
use std::time::Duration;
use tokio::time::Instant;

/// The rate of an account in this process.
#[derive(Debug)]
pub(super) struct Gate {
    /// How late after its slot a call may start and cost nothing.
    late: Duration,
    pub(super) rate: Rate,
    /// What the upstream's "too many" leaves of it.
    slowed: Slowed,
    /// Calls that ended lately.
    recent: Recent,
    /// The next free slot.
    next: Instant,
    /// The slot after the last one in which a call has started.
    reached: Instant,
    /// How far late starts have moved the slots so far.
    moved: Duration,
    /// No call starts sooner than this.
    open: Instant,
    /// Nor sooner than this: the upstream's Retry-After.
    pub(super) pause: Pause,
    in_flight: usize,
    started: u64,
}

/// A slot that was handed out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// When the call may start, as it was planned.
    pub(super) at: Instant,
    /// The next free slot then.
    after: Instant,
    /// How far slots had been moved by then.
    moved: Duration,
}

/// Whether a call may start.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// It has started.
    Now,
    /// Not before this.
    At(Instant),
}

impl Gate {
    /// Its first slot is one interval ahead, because a process before this one may have started a
    /// call just now.
    pub(super) fn new(rate: Rate, tolerance: Duration, now: Instant) -> Self {
        let mut gate = Self {
            late: tolerance.max(LEAST_TOLERANCE),
            rate,
            slowed: Slowed::new(now),
            recent: Recent::new(now),
            next: now,
            reached: now,
            moved: Duration::ZERO,
            open: now,
            pause: Pause::default(),
            in_flight: 0,
            started: 0,
        };
        let first = now + gate.interval(now).unwrap_or_default();
        (gate.next, gate.open, gate.reached) = (first, first, first);
        gate
    }

    /// Between two slots; `None` when there is no limit.
    fn interval(&mut self, now: Instant) -> Option<Duration> {
        let rate = self.slowed.rate(self.rate.per_second, now)?;
        // Rounded up, so that a second's worth of slots never sums to less than a second.
        let seconds = (1.0 + self.late.as_secs_f64()) / rate;
        Some(Duration::from_secs_f64(seconds) + Duration::from_nanos(1))
    }

    /// When the next slot opens.
    fn opens(&mut self, now: Instant) -> Instant {
        let paced = self.interval(now).map_or(now, |_| self.next.max(self.open));
        self.pause.after(paced)
    }

    /// How long until that is near, for who needs `lead` before a call; `None` while there is no
    /// room.
    pub(super) fn opens_in(&mut self, lead: Duration, now: Instant) -> Option<Duration> {
        if self.in_flight >= self.rate.concurrency {
            return None;
        }
        Some(
            self.opens(now)
                .saturating_duration_since(now + lead + AHEAD),
        )
    }

    /// Takes slots that lie within `horizon` from `lead` on; `None` stands for "at once".
    pub(super) fn reserve(
        &mut self,
        most: usize,
        lead: Duration,
        horizon: Duration,
        now: Instant,
    ) -> Vec<Option<Slot>> {
        let room = self.rate.concurrency.saturating_sub(self.in_flight);
        let mut slots = Vec::new();
        while slots.len() < room.min(most) && self.opens(now) <= now + lead + horizon {
            slots.push(self.take_slot(now + lead, now));
            self.in_flight += 1;
        }
        slots
    }

    /// Takes the next slot, from `first` on.
    pub(super) fn take_slot(&mut self, first: Instant, now: Instant) -> Option<Slot> {
        let interval = self.interval(now)?;
        // A slot may lie a little in the past: a pause of the program shorter than that costs
        // nothing, and the start is still within the tolerance.
        let lagging = first.checked_sub(self.late / 2).unwrap_or(first);
        let at = self.opens(now).max(lagging);
        self.next = at + interval;
        Some(Slot {
            at,
            after: self.next,
            moved: self.moved,
        })
    }

    /// Takes a slot back that no call started in, when no later one was handed out.
    pub(super) fn give_back(&mut self, slot: Slot) {
        let moved = self.moved - slot.moved;
        if self.next == slot.after + moved {
            self.next = slot.at + moved;
        }
    }

    /// Starts a call if it may start.
    pub(super) fn start(&mut self, slot: Option<Slot>, now: Instant) -> Start {
        let interval = self.interval(now);
        let target = slot.map_or(now, |slot| slot.at + (self.moved - slot.moved));
        let mut earliest = self.pause.after(target);
        if interval.is_some() {
            earliest = earliest.max(self.open);
        }
        if now < earliest {
            return Start::At(earliest);
        }
        if let Some(interval) = interval {
            let credit = now.checked_sub(self.late).unwrap_or(now);
            self.open = self.open.max(credit) + interval;
            self.reached = self.reached.max(target + interval);
            let late = self.open.saturating_duration_since(self.reached);
            self.moved += late;
            self.reached += late;
            self.next += late;
        }
        self.started += 1;
        Start::Now
    }

    /// A call ended, or was never made.
    pub(super) fn end(&mut self, started: bool, counted: bool, now: Instant) {
        self.in_flight -= usize::from(counted);
        if started {
            self.recent.ended(now);
        }
    }

    /// The upstream said "too many".
    pub(super) fn slow_down(&mut self, now: Instant) {
        self.recent.refused(now);
        let recent = self.recent.last_second(now);
        self.slowed.cut(self.rate.per_second, recent, now);
    }

    /// An operator's rate is in force at once, whatever the upstream said before.
    pub(super) fn set(&mut self, rate: Rate, now: Instant) {
        self.rate = rate;
        self.slowed = Slowed::new(now);
        self.pause.end();
        let soon = now + Duration::from_secs(1);
        for time in [&mut self.next, &mut self.open, &mut self.reached] {
            *time = soon.min(*time);
        }
    }

    pub(super) fn now(&mut self, now: Instant) -> RateNow {
        RateNow {
            set: self.rate,
            effective: self.slowed.rate(self.rate.per_second, now),
            away: None,
            pause: self.pause.left(now),
            in_flight: self.in_flight,
            elsewhere: 0,
            started: self.started,
        }
    }
}
