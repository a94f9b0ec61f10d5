//! What is known about another machine's clock: between which two values it must be now.
//!
//! Each answer proves that the foreign clock showed a certain time somewhere between sending and
//! receiving. What several answers prove is intersected, and the result grows wider with time, as
//! clocks drift; so one quick answer serves for a while, and a slow one does no harm.

use std::time::Duration;
use tokio::time::Instant;

/// How fast two clocks may drift apart, in millionths: both may be under correction.
const DRIFT_PPM: i64 = 1500;

/// Bounds of a foreign clock, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// When they were proved; local times are counted from here.
    at: Instant,
    /// The foreign clock showed at least this then.
    low: i64,
    /// And at most this.
    high: i64,
}

impl Bounds {
    /// What one answer proves: the foreign clock showed `told` between the two instants.
    pub(super) fn of(sent: Instant, got: Instant, there_now: u64) -> Self {
        let there_now = there_now as i64;
        // The foreign clock tells whole microseconds.
        let high = there_now + 1 + micros(got.saturating_duration_since(sent)) + 1;
        Self {
            at: got,
            low: there_now,
            high,
        }
    }

    /// What both prove together; `None` when they contradict each other: a clock was set.
    pub(super) fn and(self, newer: Self) -> Option<Self> {
        let old = self.seen_from(newer.at);
        let (low, high) = (old.low.max(newer.low), old.high.min(newer.high));
        let at = newer.at;
        (low <= high).then_some(Self { at, low, high })
    }

    /// The earliest that the foreign clock may show at an instant.
    pub(super) fn least(&self, now: Instant) -> i64 {
        self.seen_from(now).low
    }

    /// The latest that it may show.
    pub(super) fn most(&self, now: Instant) -> i64 {
        self.seen_from(now).high
    }

    /// The first instant from which on the foreign clock surely shows `time` or later.
    pub(super) fn surely(&self, time: u64) -> Instant {
        let ahead = time as i64 - self.low;
        if ahead <= 0 {
            return self.at;
        }
        let ahead = ahead * 1_000_000 / (1_000_000 - DRIFT_PPM) + 3;
        self.at + Duration::from_micros(ahead as u64)
    }

    /// How far apart they are after `time`.
    pub(super) fn width_in(&self, time: Duration) -> Duration {
        let later = self.seen_from(self.at + time);
        Duration::from_micros(later.high.abs_diff(later.low))
    }

    fn seen_from(&self, now: Instant) -> Self {
        let forward = micros(now.saturating_duration_since(self.at));
        let back = micros(self.at.saturating_duration_since(now));
        let moved = forward - back;
        let wider = (forward + back) * DRIFT_PPM / 1_000_000 + 1;
        Self {
            at: now,
            low: self.low + moved - wider,
            high: self.high + moved + wider,
        }
    }
}

/// How much wider bounds grow in `time`.
pub(super) fn drift_in(time: Duration) -> Duration {
    Duration::from_micros((micros(time) * DRIFT_PPM * 2 / 1_000_000) as u64)
}

fn micros(time: Duration) -> i64 {
    time.as_micros() as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever the delays of questions and answers and the drift are, the truth stays inside.
        #[test]
        fn the_foreign_clock_stays_within_its_bounds(
            answers in prop::collection::vec((0i64..3_000, 0i64..3_000, 0i64..2_000_000), 1..60),
            drift in -1_000i64..1_000,
        ) {
            let zero = Instant::now();
            let at = |time: i64| zero + Duration::from_micros(time as u64);
            let foreign = |time: i64| 5_000_000_000 + time + time * drift / 1_000_000;
            let (mut now, mut known) = (0, None::<Bounds>);
            for (there, back, rest) in answers {
                let (sent, there_now, got) = (now, now + there, now + there + back);
                let newer = Bounds::of(at(sent), at(got), foreign(there_now) as u64);
                known = Some(match known {
                    None => newer,
                    Some(older) => older.and(newer).expect("no clock was set"),
                });
                now = got + rest;
                let bounds = known.unwrap();
                prop_assert!(bounds.least(at(now)) <= foreign(now));
                prop_assert!(bounds.most(at(now)) >= foreign(now));
                let sure = bounds.surely(foreign(now) as u64 + 1_000) - zero;
                prop_assert!(foreign(sure.as_micros() as i64) >= foreign(now) + 1_000 - 1);
            }
        }
    }

    #[test]
    fn a_quick_answer_serves_for_a_while_and_a_slow_one_does_no_harm() {
        let zero = Instant::now();
        let at = |ms: u64| zero + Duration::from_millis(ms);
        let quick = Bounds::of(zero, at(1), 1_000_000);
        let slow = Bounds::of(at(100), at(600), 1_110_000);
        let both = quick.and(slow).unwrap();
        assert!(both.width_in(Duration::ZERO) < Duration::from_millis(4));
    }

    #[test]
    fn a_clock_that_was_set_is_noticed() {
        let zero = Instant::now();
        let at = |ms: u64| zero + Duration::from_millis(ms);
        let before = Bounds::of(zero, at(1), 1_000_000);
        assert!(before.and(Bounds::of(at(9), at(10), 1_020_000)).is_none());
        assert!(before.and(Bounds::of(at(9), at(10), 1_000_000)).is_none());
        assert!(before.and(Bounds::of(at(9), at(10), 1_009_500)).is_some());
    }
}
