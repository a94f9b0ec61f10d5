//! Slots on the clock of Redis: when a call may start in one.
//!
//! A call starts when that clock surely shows the slot, and as long as it surely does not show more
//! than the lateness that was told when the slot was asked for. Whoever has just met that clock, or
//! has seen it set or the connection lost, takes no slots for as long as slots of before may still be
//! about.

use super::LEAST_TOLERANCE;
use super::bounds::{self, Bounds};
use super::lateness::Lateness;
use super::reading::{GAINS, Reading};
use crate::store::redis::rate::{Ask, RateState, Slot};
use std::time::Duration;
use tokio::time::Instant;

/// What a timer needs at most: it rounds up to milliseconds twice, and then the call must start.
const WAKE: Duration = Duration::from_micros(2500);
/// Redis further away than this gives no permits that could be used.
const MOST_LATE: Duration = Duration::from_millis(400);
/// No slot is further ahead than this.
pub(super) const FURTHEST: Duration = Duration::from_secs(1);

/// The clock of Redis as one replica knows it.
#[derive(Debug)]
pub(super) struct RedisClock {
    tolerance: Duration,
    /// `None` before the first answer and after an error.
    bounds: Option<Bounds>,
    /// The connection of the last answer.
    by: u64,
    /// How this replica reads it; slots are by that.
    reading: Option<Reading>,
    /// How far it may be behind after an answer, smoothed.
    width: Duration,
    /// How late calls came lately.
    lateness: Lateness,
    /// Counts the times that they began anew: slots of before are void.
    epoch: u64,
    /// No slots are taken before this.
    new_until: Option<Instant>,
}

/// A slot that was granted to this replica.
#[derive(Debug, Clone, Copy)]
pub(super) struct GrantedSlot {
    /// `None` when there is no limit.
    slot: Option<Slot>,
    /// The lateness that was told when it was asked for.
    late: Late,
    /// When it was.
    since: Instant,
    epoch: u64,
}

/// How late after its slot a call may start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Late {
    /// As Redis may see it.
    pub(super) at_most: Duration,
    /// As this replica reads the clock of Redis.
    pub(super) own: Duration,
}

/// Whether a call may start.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    Now,
    /// Not before this.
    At(Instant),
    /// Its time has passed.
    Late,
    /// The clock of Redis is not what it was when the slot was granted.
    Void,
}

impl Late {
    /// What was told with a question.
    pub(super) fn of(ask: &Ask) -> Self {
        let (at_most, own) = (ask.late, ask.own.saturating_sub(GAINS));
        Self { at_most, own }
    }
}

impl GrantedSlot {
    /// How long ago it was granted.
    pub(super) fn waited(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }
}

impl RedisClock {
    /// A clock that is not known yet. `tolerance` is how late a call may start after its slot, when
    /// that is enough.
    pub(super) fn new(tolerance: Duration) -> Self {
        Self {
            tolerance,
            bounds: None,
            by: 0,
            reading: None,
            width: Duration::ZERO,
            lateness: Lateness::new(),
            epoch: 0,
            new_until: None,
        }
    }

    pub(super) fn is_known(&self) -> bool {
        self.bounds.is_some()
    }

    /// Whether it is too early to take slots.
    pub(super) fn is_new(&self, now: Instant) -> bool {
        self.new_until.is_none_or(|until| now < until)
    }

    /// That instant, or when it stops being too early.
    pub(super) fn new_until(&self, at: Instant) -> Instant {
        self.new_until.map_or(at, |until| until.max(at))
    }

    /// How late a call may start here, so that both bounds of the clock and a timer fit in, and what is
    /// worth allowing.
    pub(super) fn late(&self, ahead: Duration) -> Late {
        let tolerance = self.tolerance.max(LEAST_TOLERANCE);
        let own = tolerance.saturating_sub(GAINS).max(WAKE);
        let own = own.max(self.lateness.worth_allowing());
        let needed = self.width * 9 / 8 + bounds::drift_in(ahead) + own;
        let at_most = tolerance.max(needed).min(MOST_LATE);
        Late { at_most, own }
    }

    /// Takes in what the clock showed between two instants, as an answer told. Tells whether it is what it
    /// was, so that slots granted just now can be used.
    pub(super) fn learn(&mut self, report: &RateState, sent: Instant, got: Instant) -> bool {
        let newer = Bounds::of(sent, got, report.now);
        let known = self.bounds.map(|older| (older, older.and(newer)));
        if let Some((older, Some(both))) = known {
            // Nothing was granted yet while it is new.
            let reading = self.reading.filter(|_| !self.is_new(got));
            let reading = match reading {
                Some(reading) => reading.from(&older, got),
                None => Reading::new(&both, got),
            };
            let behind = both.most(got) - reading.shows(&both, got);
            (self.bounds, self.reading) = (Some(both), Some(reading));
            let width = Duration::from_micros(behind.unsigned_abs());
            // The first answers take longest: the connection and the script were new.
            self.width = width.min((self.width * 7 + width) / 8);
            return true;
        }
        if known.is_some() {
            tracing::warn!(
                event = "redis_clock_set",
                "the clock of Redis was set; nothing is sent for a second"
            );
        }
        self.bounds = Some(newer);
        self.reading = None;
        self.width = newer.width_in(Duration::ZERO);
        self.epoch += 1;
        let interval = report.per_second.map_or(0.0, |rate| 1.1 / rate);
        self.new_until = Some(got + FURTHEST + MOST_LATE + Duration::from_secs_f64(interval));
        false
    }

    /// Nobody knows which Redis answers next.
    pub(super) fn lose(&mut self) {
        self.bounds = None;
        self.reading = None;
        self.new_until = None;
        self.epoch += 1;
    }

    /// An answer came by this connection. Another one than before may lead to another Redis, whose
    /// slots must not come on top of those of before, though no step failed.
    pub(super) fn came_by(&mut self, connection: u64) {
        if std::mem::replace(&mut self.by, connection) != connection {
            self.lose();
        }
    }

    pub(super) fn grant(&self, slot: Option<Slot>, late: Late, since: Instant) -> GrantedSlot {
        let epoch = self.epoch;
        GrantedSlot {
            slot,
            late,
            since,
            epoch,
        }
    }

    /// A call came to start in its slot, in time or not.
    pub(super) fn came(&mut self, granted: &GrantedSlot, now: Instant) {
        let slot = self.slot_of(granted);
        if let (Some(slot), Some(bounds), Some(reading)) = (slot, self.bounds, self.reading) {
            let late = reading.shows(&bounds, now) - slot.at as i64;
            let late = u64::try_from(late).unwrap_or_default();
            self.lateness.saw(Duration::from_micros(late));
        }
    }

    /// The slot, while it means anything.
    pub(super) fn slot_of(&self, granted: &GrantedSlot) -> Option<Slot> {
        granted.slot.filter(|_| granted.epoch == self.epoch)
    }

    /// The first instant at which the clock surely shows this; `None` while it is not known.
    pub(super) fn surely(&self, time: u64) -> Option<Instant> {
        self.bounds.map(|bounds| bounds.surely(time))
    }

    /// When to ask again for what was in reach, but is another replica's turn: when that one has let a
    /// slot pass.
    pub(super) fn passes(&self, ask: &Ask, report: &RateState, got: Instant) -> Instant {
        let farthest = report.now + (ask.lead + ask.horizon).as_micros() as u64;
        let in_reach = report.opens <= farthest && report.effective.is_some();
        let passes = in_reach.then(|| self.surely(report.opens)).flatten();
        passes.unwrap_or(got)
    }

    pub(super) fn may_start(&self, granted: &GrantedSlot, now: Instant) -> Start {
        let Some(slot) = granted.slot else {
            return Start::Now;
        };
        let known = self.bounds.zip(self.reading);
        let Some((bounds, reading)) = known.filter(|_| granted.epoch == self.epoch) else {
            return Start::Void;
        };
        let shows = reading.shows(&bounds, now);
        let last = |late: Duration| slot.at as i64 + late.as_micros() as i64;
        if bounds.most(now) > last(granted.late.at_most) || shows > last(granted.late.own) {
            Start::Late
        } else if shows >= slot.at as i64 {
            Start::Now
        } else {
            Start::At(reading.reaches(&bounds, slot.at))
        }
    }
}
