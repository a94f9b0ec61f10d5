//! The wall clock. The only reader of it; whoever decides by time gets the time as an argument.
//!
//! It may be set at any moment, ahead or back, rightly or wrongly, and it goes on while the machine
//! sleeps, when the clock that nobody can set stands still. A leap is believed when it has lasted for
//! five minutes (design.md section 5, R-11). Until then [`moment`] has two answers: what is to be failed or
//! ended must be so by both, and what is stamped gets the later one, so that it never looks too old.
//!
//! Where processes share a store, its clock takes the place of the machine's ([`follow`]): what one
//! stamps others act on.

mod theirs;

use crate::domain::{Moment, UnixMs};
use rustix::time::{ClockId, clock_gettime};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use theirs::Theirs;

/// Farther than this a clock that is only corrected does not move at once.
const LEAP_MS: i64 = 10_000;
/// How long a leap must last to be believed (design.md section 5).
const BELIEVED_AFTER: Duration = Duration::from_secs(300);
/// How long where a mistake could not be made good: what is forgotten could be sent again.
const BELIEVED_SURELY: Duration = Duration::from_secs(24 * 3600);
/// Smaller steps back are the daily work of whoever keeps the clock.
const CORRECTION_MS: i64 = 1_000;

/// The present moment; while the clocks disagree, the later one.
pub fn now() -> UnixMs {
    moment().latest
}

/// The present moment by both clocks.
pub fn moment() -> Moment {
    CLOCK.read()
}

/// The present moment for whoever forgets: by both clocks, and no leap ahead is believed that has not
/// lasted for a day.
pub fn surely() -> UnixMs {
    SURE_CLOCK.read().earliest
}

/// By how much [`now`] went back since the last question, if it did. Every time that was read
/// counts, also that of a clock which was ahead for a moment only.
pub fn set_back() -> Option<Duration> {
    now();
    CLOCK.readings().set_back()
}

/// The store's machine showed `time` at some moment between two ([`steady`]): its clock counts from now on.
pub fn follow(time: UnixMs, asked: Duration, heard: Duration) {
    let theirs = Theirs::of(time.0, asked, heard);
    let mut followed = followed();
    let first = match &mut *followed {
        Some(known) => {
            let leapt = theirs.set_since(&known.theirs);
            if leapt.abs() > LEAP_MS {
                known.leapt = Some(leapt);
            }
            known.theirs = known.theirs.or(theirs);
            false
        }
        none => {
            *none = Some(Followed {
                theirs,
                leapt: None,
            });
            true
        }
    };
    drop(followed);
    if first {
        CLOCK.begin_anew(theirs);
        SURE_CLOCK.begin_anew(theirs);
    }
}

/// Whether the clock of the store counts.
pub fn is_followed() -> bool {
    followed().is_some()
}

/// By how many milliseconds the store's clock was set since this was last asked, if that was a leap.
pub fn leapt() -> Option<i64> {
    followed().as_mut().and_then(|known| known.leapt.take())
}

/// A clock that nobody can set, and that goes on while the machine sleeps.
pub fn steady() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = Duration::from_secs(now.tv_sec.unsigned_abs());
    seconds + Duration::from_nanos(now.tv_nsec.unsigned_abs())
}

/// What the machine's own clock shows, whether it is followed or not.
pub fn own() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixMs(millis(since.unwrap_or_default()))
}

/// The clock that takes the place of the machine's.
static FOLLOWED: Mutex<Option<Followed>> = Mutex::new(None);
static CLOCK: LazyLock<Clock> = LazyLock::new(|| Clock::new(BELIEVED_AFTER));
static SURE_CLOCK: LazyLock<Clock> = LazyLock::new(|| Clock::new(BELIEVED_SURELY));

/// Written whenever the store tells its time, read with every time that is asked here.
#[derive(Debug)]
struct Followed {
    theirs: Theirs,
    leapt: Option<i64>,
}

fn followed() -> MutexGuard<'static, Option<Followed>> {
    FOLLOWED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The wall clock as it is read beside the steady one.
#[derive(Debug)]
struct Clock {
    start: Instant,
    believed_after: Duration,
    /// Written by every reading. Held for arithmetic only.
    readings: Mutex<Readings>,
}

impl Clock {
    fn new(believed_after: Duration) -> Self {
        Self {
            start: Instant::now(),
            believed_after,
            readings: Mutex::new(Readings::new(believed_after)),
        }
    }

    /// Goes by another clock. That it is ahead of the machine's is a leap for whoever fails, ends or
    /// forgets: one of the two is wrong, and nobody here knows which.
    fn begin_anew(&self, theirs: Theirs) {
        let mut readings = self.readings();
        *readings = Readings::new(self.believed_after);
        let (wall, own) = (theirs.shows(steady()), own());
        readings.adopt(wall.saturating_sub(own.0), self.start.elapsed());
        drop(readings);
        self.read();
    }

    fn readings(&self) -> MutexGuard<'_, Readings> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Moment {
        let mut readings = self.readings();
        // Read in any case: whoever shifts it in a test sees that it is looked at.
        let own = own();
        let theirs = followed()
            .as_ref()
            .map(|known| known.theirs.shows(steady()));
        readings.read(theirs.unwrap_or(own.0), self.start.elapsed())
    }
}

/// All readings of the wall clock, compared with the clock that nobody can set. Pure.
#[derive(Debug)]
struct Readings {
    believed_after: Duration,
    /// How far the wall clock was ahead of the other one at the last reading.
    ahead: Option<i64>,
    /// The oldest first.
    leaps: Vec<Leap>,
    /// How far the answer was ahead of the other clock at the last reading, and the farthest that it
    /// went back.
    answered: i64,
    back: i64,
}

/// A leap that is not believed yet.
#[derive(Debug, Clone, Copy)]
struct Leap {
    /// In milliseconds; negative when the clock was set back.
    by: i64,
    since: Duration,
}

impl Readings {
    const fn new(believed_after: Duration) -> Self {
        Self {
            believed_after,
            ahead: None,
            leaps: Vec::new(),
            answered: i64::MIN,
            back: 0,
        }
    }

    /// The moment at which the wall clock shows `wall` and the steady clock `steady`.
    fn read(&mut self, wall: i64, steady: Duration) -> Moment {
        let shown = millis(steady);
        let ahead = wall.saturating_sub(shown);
        let moved = ahead.saturating_sub(self.ahead.replace(ahead).unwrap_or(ahead));
        if moved.abs() > LEAP_MS {
            self.leapt(moved, steady);
        }
        let is_fresh = |leap: &Leap| steady.saturating_sub(leap.since) < self.believed_after;
        self.leaps.retain(is_fresh);
        let leapt: i64 = self.leaps.iter().map(|leap| leap.by).sum();
        let believed = wall.saturating_sub(leapt);
        let latest = wall.max(believed);
        let answered = latest.saturating_sub(shown);
        let back = self.answered.saturating_sub(answered);
        if back > CORRECTION_MS {
            self.back = self.back.max(back);
        }
        self.answered = answered;
        Moment {
            latest: UnixMs(latest),
            earliest: UnixMs(wall.min(believed)),
        }
    }

    /// The wall clock is another one from now on, ahead of the one before by so much.
    fn adopt(&mut self, ahead: i64, since: Duration) {
        if ahead > LEAP_MS {
            self.leaps.push(Leap { by: ahead, since });
        }
    }

    /// The wall clock was set by so much. That takes back what it was set the other way lately.
    fn leapt(&mut self, by: i64, since: Duration) {
        let mut rest = by;
        while let Some(last) = self.leaps.pop_if(|last| last.by.signum() != rest.signum()) {
            let sum = last.by.saturating_add(rest);
            if sum.signum() == last.by.signum() {
                // What is left of it need not wait once more.
                self.leaps.push(Leap { by: sum, ..last });
                return;
            }
            rest = sum;
        }
        if rest.abs() > LEAP_MS {
            self.leaps.push(Leap { by: rest, since });
        }
    }

    fn set_back(&mut self) -> Option<Duration> {
        let back = std::mem::take(&mut self.back);
        (back > 0).then(|| Duration::from_millis(back.unsigned_abs()))
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: i64 = 3_600;

    /// Both clocks in seconds, and what was read of them.
    struct Clocks {
        steady: i64,
        wall: i64,
        readings: Readings,
    }

    impl Clocks {
        fn new(believed_after: Duration) -> Self {
            let mut clocks = Self {
                steady: 0,
                wall: 1_000 * HOUR,
                readings: Readings::new(believed_after),
            };
            clocks.pass(1);
            clocks
        }

        /// Time passes, the wall clock read each second; the last moment in seconds.
        fn pass(&mut self, seconds: i64) -> (i64, i64) {
            let mut moment = (0, 0);
            for _ in 0..seconds {
                self.steady += 1;
                self.wall += 1;
                moment = self.read();
            }
            moment
        }

        fn read(&mut self) -> (i64, i64) {
            let steady = Duration::from_secs(self.steady.unsigned_abs());
            let moment = self.readings.read(self.wall * 1_000, steady);
            (moment.earliest.0 / 1_000, moment.latest.0 / 1_000)
        }

        fn set(&mut self, by: i64) -> (i64, i64) {
            self.wall += by;
            self.read()
        }
    }

    fn clocks() -> Clocks {
        Clocks::new(BELIEVED_AFTER)
    }

    #[test]
    fn r_11_a_leap_either_way_is_believed_after_five_minutes() {
        for by in [25 * HOUR, -25 * HOUR, 60, -60] {
            let mut clocks = clocks();
            let right = clocks.wall;
            let both = |right: i64| (right.min(right + by), right.max(right + by));
            assert_eq!(clocks.set(by), both(right), "{by}");
            assert_eq!(clocks.pass(299), both(right + 299), "{by}");
            let now = right + 300 + by;
            assert_eq!(clocks.pass(1), (now, now), "{by}");
        }
    }

    #[test]
    fn r_11_a_leap_that_is_taken_back_leaves_nothing_behind() {
        for by in [25 * HOUR, -25 * HOUR] {
            let mut clocks = clocks();
            let right = clocks.wall;
            clocks.set(by);
            clocks.pass(3);
            assert_eq!(clocks.set(-by), (right + 3, right + 3), "{by}");
            // And the next one is as new.
            clocks.set(by);
            let (earliest, latest) = clocks.pass(299);
            assert_eq!(latest - earliest, by.abs(), "{by}");
        }
    }

    #[test]
    fn what_is_left_of_a_leap_that_is_mostly_taken_back_is_believed_in_its_time() {
        let mut clocks = clocks();
        let right = clocks.wall;
        clocks.set(1_000 * HOUR);
        clocks.pass(200);
        clocks.set(-999 * HOUR);
        assert_eq!(clocks.pass(99), (right + 299, right + 299 + HOUR));
        let now = right + 300 + HOUR;
        assert_eq!(clocks.pass(1), (now, now));
        // Beyond where it came from it is another leap.
        clocks.set(2 * HOUR);
        clocks.pass(299);
        clocks.set(-3 * HOUR);
        let (earliest, latest) = clocks.pass(299);
        assert_eq!(latest - earliest, HOUR);
    }

    #[test]
    fn a_machine_that_sleeps_again_and_again_believes_each_time_for_itself() {
        let mut clocks = clocks();
        for _ in 0..20 {
            clocks.set(HOUR);
            clocks.pass(120);
        }
        let (earliest, latest) = clocks.read();
        assert_eq!(latest - earliest, 2 * HOUR);
    }

    #[test]
    fn corrections_are_believed_at_once() {
        let mut clocks = clocks();
        for by in [1, 5, -5, 9, -9] {
            let right = clocks.wall + by;
            assert_eq!(clocks.set(by), (right, right));
        }
    }

    #[test]
    fn r_58_who_starts_while_the_other_clock_is_ahead_fails_and_forgets_by_the_own_one_at_first() {
        for (ahead, doubted) in [(25 * HOUR, 25 * HOUR), (-25 * HOUR, 0), (9, 0)] {
            let mut clocks = Clocks::new(BELIEVED_AFTER);
            clocks.readings = Readings::new(BELIEVED_AFTER);
            let steady = Duration::from_secs(clocks.steady.unsigned_abs());
            clocks.readings.adopt(ahead * 1_000, steady);
            let theirs = clocks.wall;
            assert_eq!(clocks.pass(299), (theirs + 299 - doubted, theirs + 299));
            assert_eq!(clocks.pass(1), (theirs + 300, theirs + 300), "{ahead}");
        }
    }

    #[test]
    fn who_forgets_believes_a_leap_after_a_day() {
        let mut clocks = Clocks::new(BELIEVED_SURELY);
        let right = clocks.wall;
        clocks.set(1_000 * HOUR);
        assert_eq!(clocks.pass(24 * HOUR - 1).0, right + 24 * HOUR - 1);
        assert_eq!(clocks.pass(1).0, right + 1_024 * HOUR);
    }

    #[test]
    fn a_clock_that_was_set_back_is_noticed_when_it_is_believed_and_told_once() {
        let back = |clocks: &mut Clocks| clocks.readings.set_back().map(|by| by.as_secs());
        let mut clocks = clocks();
        clocks.set(-HOUR);
        assert_eq!((clocks.pass(299), back(&mut clocks)).1, None);
        clocks.pass(1);
        assert_eq!(back(&mut clocks), Some(HOUR.unsigned_abs()));
        assert_eq!(back(&mut clocks), None);
        // One that was ahead for a moment stamped things with a time that is still to come.
        clocks.set(600);
        assert_eq!(back(&mut clocks), None);
        clocks.set(-600);
        assert_eq!(back(&mut clocks), Some(600));
        clocks.set(-5);
        assert_eq!(back(&mut clocks), Some(5));
        clocks.set(-1);
        assert_eq!(back(&mut clocks), None, "a correction");
    }

    proptest! {
        /// Whatever is done to the clock: by both clocks together no more time passes than by the steady
        /// one, but for what was believed and for corrections, as leaps leave that nearly take each other back; and
        /// what is stamped goes back only where that is told, corrections apart.
        #[test]
        fn time_passes_by_both_clocks_as_by_the_steady_one_until_a_leap_is_believed(
            steps in prop::collection::vec((-100_000i64..100_000, 0i64..299), 1..20)
        ) {
            let mut clocks = clocks();
            for (by, seconds) in steps {
                let before = clocks.read();
                let leap = by.abs() > LEAP_MS / 1_000;
                let after = clocks.set(if leap { by } else { 0 });
                prop_assert!(after.0 <= after.1);
                let most = before.1 + LEAP_MS / 1_000;
                prop_assert!(after.0 <= most, "{after:?} after {before:?}");
                let (theirs, back) = (clocks.readings.set_back(), before.1 - after.1);
                let expected = if back * 1_000 > CORRECTION_MS { back } else { 0 };
                prop_assert_eq!(theirs.map_or(0, |by| by.as_secs() as i64), expected);
                clocks.pass(seconds);
                clocks.readings.set_back();
            }
            let last = clocks.pass(301);
            prop_assert_eq!(last, (clocks.wall, clocks.wall), "all is believed");
        }
    }
}
