//! A foreign clock as one replica reads it: never ahead of what it surely shows, and never in leaps.
//!
//! Between which two values that clock is may be known no better than a question and its answer take.
//! But what one replica starts by one steady reading is as far apart as its slots are, however far away
//! that clock is.

use super::bounds::Bounds;
use std::time::Duration;
use tokio::time::Instant;

/// How much faster than the clock of this machine it runs at most, in millionths: a clock that is being
/// corrected is followed.
const FASTER_PPM: i64 = 1000;

/// How much less than a second passes here while it goes on by one, at most.
pub(super) const GAINS: Duration = Duration::from_micros(FASTER_PPM as u64);

/// What it showed last, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    at: Instant,
    shows: i64,
}

impl Reading {
    /// One that begins anew.
    pub(super) fn new(bounds: &Bounds, now: Instant) -> Self {
        let (at, shows) = (now, bounds.least(now));
        Self { at, shows }
    }

    /// The same reading, from now on within narrower bounds.
    pub(super) fn from(self, bounds: &Bounds, now: Instant) -> Self {
        let (at, shows) = (now, self.shows(bounds, now));
        Self { at, shows }
    }

    /// What it shows, in microseconds.
    pub(super) fn shows(&self, bounds: &Bounds, now: Instant) -> i64 {
        let passed = now.saturating_duration_since(self.at).as_micros() as i64;
        let back = self.at.saturating_duration_since(now).as_micros() as i64;
        let fastest = passed + passed * FASTER_PPM / 1_000_000 - back;
        bounds.least(now).min(self.shows + fastest)
    }

    /// The first instant at which it shows this.
    pub(super) fn reaches(&self, bounds: &Bounds, time: u64) -> Instant {
        let ahead = (time as i64 - self.shows).max(0);
        let ahead = ahead - ahead * FASTER_PPM / 1_000_000 + 2;
        let fastest = self.at + Duration::from_micros(ahead.unsigned_abs());
        bounds.surely(time).max(fastest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever answers tell, it goes on by no more than a second and a thousandth in a second, is never
        /// ahead of the clock, and shows a time when it says that it will, or later where less is known.
        #[test]
        fn r_63_it_is_never_ahead_and_never_in_a_hurry(
            answers in prop::collection::vec((0i64..100_000, 0i64..100_000, 0i64..400_000), 2..60),
            drift in -500i64..500,
        ) {
            let zero = Instant::now();
            let at = |time: i64| zero + Duration::from_micros(time as u64);
            let foreign = |time: i64| 5_000_000_000 + time + time * drift / 1_000_000;
            let (mut now, mut known, mut seen) = (0, None::<(Bounds, Reading)>, None);
            for (there, back, rest) in answers {
                let got = now + there + back;
                let newer = Bounds::of(at(now), at(got), foreign(now + there) as u64);
                let (bounds, reading) = match known {
                    None => (newer, Reading::new(&newer, at(got))),
                    Some((older, reading)) => {
                        let both = older.and(newer).expect("no clock was set");
                        (both, reading.from(&older, at(got)))
                    }
                };
                for looked in [got, got + rest / 2, got + rest] {
                    let shows = reading.shows(&bounds, at(looked));
                    prop_assert!(shows <= foreign(looked));
                    if let Some((before, showed)) = seen.replace((looked, shows)) {
                        let passed = looked - before;
                        prop_assert!(shows - showed <= passed + passed / 1000 + 2);
                    }
                    let reached = reading.reaches(&bounds, shows as u64 + 10_000);
                    prop_assert!(reading.shows(&bounds, reached) >= shows + 10_000);
                }
                known = Some((bounds, reading));
                now = got + rest;
            }
        }
    }
}
