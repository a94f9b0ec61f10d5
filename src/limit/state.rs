//! What one replica knows of a shared pace, and what it still has to tell. Arithmetic only.
//!
//! A slot is on the clock of Redis. A call starts when that clock surely shows the slot, and as long
//! as it surely does not show more than the lateness that was told with the request. Whoever has
//! just met that clock, or has seen it set or the connection lost, takes no slots for a second and
//! an interval: slots of before may still be about.

use super::bounds::{self, Bounds};
use super::{LEAST_TOLERANCE, Pace, PaceNow};
use crate::store::redis::pace::{Ask, Put, Slot, Told};
use std::time::Duration;
use tokio::time::Instant;

/// What a timer and a busy program need between waking up and starting a call.
const WAKE: Duration = Duration::from_millis(2);
/// Redis further away than this gives no permits that could be used.
const MOST_LATE: Duration = Duration::from_millis(250);
/// A longer way to Redis is not made up for, so that no slot is ever a second ahead.
const LONGEST_TRIP: Duration = Duration::from_millis(150);
/// No slot is taken further ahead than this.
const FURTHEST: Duration = Duration::from_secs(1);
/// Pause after an error.
const PAUSE: Duration = Duration::from_millis(250);
/// How often is looked whether calls elsewhere have ended.
const LOOK: Duration = Duration::from_millis(20);
/// Slots are asked for this much ahead of need, besides the time that asking takes: half of what the
/// worker takes at once, so that a pause of the program shorter than that costs nothing.
const AHEAD: Duration = Duration::from_millis(10);

/// What one replica knows and has to tell.
#[derive(Debug)]
pub(super) struct State {
    tolerance: Duration,
    set: Pace,
    /// A pace that all shall have, until Redis knows it.
    put: Option<Put>,
    /// Share of the pace in force, as last heard.
    factor: f64,
    /// The clock of Redis; `None` before the first answer and after an error.
    bounds: Option<Bounds>,
    /// Counts the times that `bounds` began anew: slots of before are void.
    epoch: u64,
    /// No slots are taken before this: others of before may still be about.
    fresh_until: Option<Instant>,
    /// Calls under way here, and what Redis was told of them.
    pub(super) in_flight: usize,
    told_in_flight: usize,
    elsewhere: usize,
    started: u64,
    /// Slots to give back.
    unused: Vec<Slot>,
    /// "Too many" that Redis has not been told, and until when the upstream wants a pause.
    slow_down: Option<Instant>,
    /// When the next slot opens, on the clock of Redis.
    opens: u64,
    /// All calls at once were taken when last asked.
    full: bool,
    /// Asking sooner is of no use.
    ask_at: Instant,
    /// How long asking takes, and how exact the clock is known after it; both smoothed.
    round_trip: Duration,
    width: Duration,
    /// Redis failed last time.
    pub(super) down: bool,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Want {
    pub(super) most: usize,
    pub(super) counted: bool,
    pub(super) lead: Duration,
    pub(super) horizon: Duration,
}

/// A slot that was granted to this replica.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grant {
    /// `None` when there is no limit.
    pub(super) slot: Option<Slot>,
    /// The lateness that was told when it was asked for.
    late: Duration,
    epoch: u64,
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

impl State {
    pub(super) fn new(pace: Pace, tolerance: Duration) -> Self {
        Self {
            tolerance,
            set: pace,
            put: Some(Put::Start),
            factor: 1.0,
            bounds: None,
            epoch: 0,
            fresh_until: None,
            in_flight: 0,
            told_in_flight: 0,
            elsewhere: 0,
            started: 0,
            unused: Vec::new(),
            slow_down: None,
            opens: 0,
            full: false,
            ask_at: Instant::now(),
            round_trip: Duration::from_millis(1),
            width: Duration::ZERO,
            down: false,
        }
    }

    /// How late a call may start here, so that both bounds of the clock and a timer fit in.
    fn late(&self, ahead: Duration) -> Duration {
        let least = self.tolerance.max(LEAST_TOLERANCE);
        let needed = self.width * 5 / 4 + bounds::drift_in(ahead) + WAKE;
        least.max(needed).min(MOST_LATE)
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.fresh_until.is_none_or(|until| now < until)
    }

    /// What to say and ask now. Unused slots leave with it: they are given back once or never.
    pub(super) fn ask(&mut self, want: Want, now: Instant) -> Ask {
        let most = if self.is_fresh(now) { 0 } else { want.most };
        let lead = want.lead + self.round_trip;
        let horizon = (want.horizon + 2 * self.round_trip).min(FURTHEST.saturating_sub(lead));
        let mut unused = std::mem::take(&mut self.unused);
        unused.sort_unstable_by_key(|slot| std::cmp::Reverse(slot.at));
        Ask {
            step: 0,
            in_flight: self.in_flight,
            per_second: self.set.per_second,
            concurrency: self.set.concurrency,
            put: self.put,
            most,
            counted: want.counted,
            lead,
            horizon,
            late: self.late(lead + horizon),
            slow_down: self
                .slow_down
                .map(|until| until.saturating_duration_since(now)),
            unused,
        }
    }

    /// Takes in an answer, and what was granted with it.
    pub(super) fn learn(
        &mut self,
        (ask, told): (&Ask, Told),
        slow_down: Option<Instant>,
        (sent, got): (Instant, Instant),
    ) -> Vec<Grant> {
        self.down = false;
        let took = got.saturating_duration_since(sent);
        self.round_trip = ((self.round_trip * 7 + took) / 8).min(LONGEST_TRIP);
        let asked = Pace {
            per_second: ask.per_second,
            concurrency: ask.concurrency,
        };
        // What was said or set meanwhile is still to be told.
        if self.slow_down == slow_down {
            self.slow_down = None;
        }
        if self.set == asked && self.put == ask.put {
            self.put = None;
        }
        if self.put.is_none() {
            self.set = Pace {
                per_second: told.per_second,
                concurrency: told.concurrency,
            };
        }
        self.factor = told.factor;
        self.elsewhere = told.elsewhere;
        self.opens = told.opens;
        let granted = self.check_clock(&told, sent, got);
        let counted = if ask.counted { told.slots.len() } else { 0 };
        self.told_in_flight = ask.in_flight + counted;
        if !granted {
            return Vec::new();
        }
        self.in_flight += counted;
        let none = told.slots.is_empty() && ask.most > 0;
        self.full = none && ask.counted && ask.in_flight + told.elsewhere >= told.concurrency;
        let ask_at = match (self.full, none) {
            (true, _) => got + LOOK,
            (_, true) => got + Duration::from_millis(1),
            _ => got,
        };
        self.ask_at = self.fresh_until.map_or(ask_at, |fresh| ask_at.max(fresh));
        let (late, epoch) = (ask.late, self.epoch);
        let grants = told.slots.into_iter();
        grants.map(|slot| Grant { slot, late, epoch }).collect()
    }

    /// Whether the clock of Redis is what it was, so that slots can be used.
    fn check_clock(&mut self, told: &Told, sent: Instant, got: Instant) -> bool {
        let newer = Bounds::of(sent, got, told.now);
        let known = self.bounds.map(|older| older.and(newer));
        if let Some(Some(both)) = known {
            self.bounds = Some(both);
            self.width = (self.width * 7 + both.width_in(Duration::ZERO)) / 8;
            return true;
        }
        if known.is_some() {
            tracing::warn!("the clock of Redis was set; nothing is sent for a second");
        }
        self.bounds = Some(newer);
        self.width = newer.width_in(Duration::ZERO);
        self.epoch += 1;
        let rate = told.per_second.map(|rate| rate * told.factor);
        let interval = rate.map_or(0.0, |rate| 1.1 / rate);
        let fresh_until = got + Duration::from_secs(1) + Duration::from_secs_f64(interval);
        self.fresh_until = Some(fresh_until);
        self.ask_at = fresh_until;
        false
    }

    /// Nobody knows what became of the last step, nor which Redis answers the next one.
    pub(super) fn lose(&mut self, now: Instant) {
        self.down = true;
        self.bounds = None;
        self.fresh_until = None;
        self.epoch += 1;
        self.ask_at = now + PAUSE;
    }

    /// Whether there is something to tell soon.
    pub(super) fn is_pressing(&self, now: Instant) -> bool {
        if self.down && now < self.ask_at {
            return false;
        }
        let open = self.put.is_some() || self.slow_down.is_some() || !self.unused.is_empty();
        open || self.bounds.is_none() || self.told_in_flight != self.in_flight
    }

    pub(super) fn may_start(&self, grant: &Grant, now: Instant) -> Start {
        let Some(slot) = grant.slot else {
            return Start::Now;
        };
        let Some(bounds) = self.bounds.filter(|_| grant.epoch == self.epoch) else {
            return Start::Void;
        };
        let last = slot.at as i64 + grant.late.as_micros() as i64;
        if bounds.most(now) > last {
            Start::Late
        } else if bounds.least(now) >= slot.at as i64 {
            Start::Now
        } else {
            Start::At(bounds.surely(slot.at))
        }
    }

    pub(super) fn count_start(&mut self) {
        self.started += 1;
    }

    pub(super) fn give_back(&mut self, grant: &Grant) {
        if let Some(slot) = grant.slot
            && grant.epoch == self.epoch
        {
            self.unused.push(slot);
        }
    }

    /// A call has ended: there is room for one that was not asked for yet.
    pub(super) fn end_call(&mut self, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if self.full {
            self.full = false;
            self.ask_at = now;
        }
    }

    pub(super) fn opens_in(&self, lead: Duration, now: Instant) -> Option<Duration> {
        if self.full && self.elsewhere == 0 {
            return None;
        }
        let ahead = lead + 2 * self.round_trip + AHEAD;
        let opens = self.bounds.map_or(now, |bounds| bounds.surely(self.opens));
        let opens = opens.checked_sub(ahead).unwrap_or(now);
        Some(opens.max(self.ask_at).saturating_duration_since(now))
    }

    pub(super) fn slow_down(&mut self, retry_after: Option<Duration>, now: Instant) -> Instant {
        let until = now + retry_after.unwrap_or_default();
        let until = self.slow_down.map_or(until, |known| known.max(until));
        self.slow_down = Some(until);
        until
    }

    pub(super) fn slowing(&self) -> Option<Instant> {
        self.slow_down
    }

    pub(super) fn set(&mut self, pace: Pace) {
        self.set = pace;
        self.put = Some(Put::Operator);
    }

    pub(super) fn now(&self) -> PaceNow {
        PaceNow {
            set: self.set,
            effective: self.set.per_second.map(|rate| rate * self.factor),
            in_flight: self.in_flight,
            elsewhere: self.elsewhere,
            started: self.started,
        }
    }
}
