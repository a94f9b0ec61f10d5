//! The clock of the store's machine, as its answers tell it. Processes that share a store stamp and judge
//! by this one, so the wrong clock of one of them harms nobody. Pure; times of this machine are
//! those of a clock that nobody can set and that goes on while the machine sleeps.

use std::time::Duration;

/// How fast two steady clocks may drift apart, in millionths.
const DRIFT_PPM: i64 = 500;

/// What their wall clock showed, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Theirs {
    showed_ms: i64,
    at: Duration,
    /// The farthest that this may be from the truth.
    unsure_ms: i64,
}

impl Theirs {
    /// They showed `time_ms` at some moment between two.
    pub(super) fn of(time_ms: i64, asked: Duration, heard: Duration) -> Self {
        let half = heard.saturating_sub(asked) / 2;
        Self {
            showed_ms: time_ms,
            at: asked + half,
            // Times are told in whole milliseconds.
            unsure_ms: super::millis(half) + 2,
        }
    }

    /// The better one: the newer where the two contradict each other, as a clock was set then.
    pub(super) fn or(self, newer: Self) -> Self {
        let was_set = newer.set_since(&self) != 0;
        match was_set || newer.unsure_ms <= self.unsure_at(newer.at) {
            true => newer,
            false => self,
        }
    }

    /// By how much they were surely set between the two.
    pub(super) fn set_since(&self, older: &Self) -> i64 {
        let moved = self.showed_ms.saturating_sub(older.shows(self.at));
        let unsure_ms = self.unsure_ms.saturating_add(older.unsure_at(self.at));
        if moved.saturating_abs() > unsure_ms {
            moved
        } else {
            0
        }
    }

    fn unsure_at(&self, at: Duration) -> i64 {
        let passed = super::millis(at.saturating_sub(self.at));
        self.unsure_ms + passed * DRIFT_PPM / 1_000_000
    }

    /// What they show at this moment.
    pub(super) fn shows(&self, at: Duration) -> i64 {
        let passed = super::millis(at.saturating_sub(self.at));
        self.showed_ms.saturating_add(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        /// However long questions and answers are on their way: what is shown is as far from the truth as
        /// the quickest answer was slow, at most, and as clocks may have drifted since.
        #[test]
        fn the_quickest_answer_counts(
            ahead in -1_000_000i64..2_000_000_000_000,
            answers in prop::collection::vec((0i64..3_000, 0i64..3_000, 0i64..4_000), 1..40),
        ) {
            let at = |ms: i64| Duration::from_millis(ms.unsigned_abs());
            let (mut now, mut known, mut quickest) = (0, None::<Theirs>, i64::MAX);
            for (there, back, rest) in answers {
                let newer = Theirs::of(ahead + now + there, at(now), at(now + there + back));
                now += there + back;
                known = Some(known.map_or(newer, |older| older.or(newer)));
                quickest = quickest.min((there + back) / 2 + 2);
                let off = known.unwrap().shows(at(now)) - (ahead + now);
                let drift = now * DRIFT_PPM / 1_000_000 + 1;
                prop_assert!(off.abs() <= quickest + drift, "{off} of {quickest}");
                now += rest;
            }
        }
    }

    #[test]
    fn a_clock_that_was_set_is_believed_at_once() {
        let at = Duration::from_millis;
        let before = Theirs::of(1_000_000, at(0), at(2));
        for by in [-3_600_000, -5_000, 5_000, 3_600_000] {
            let slow = Theirs::of(1_010_000 + by, at(10_000), at(10_900));
            let shown = before.or(slow).shows(at(11_000));
            assert_eq!(shown, 1_010_000 + by + 550);
            assert!((slow.set_since(&before) - by).abs() <= 451, "{by}");
        }
        let same = Theirs::of(1_010_300, at(10_000), at(10_900));
        assert_eq!(same.set_since(&before), 0);
    }
}
