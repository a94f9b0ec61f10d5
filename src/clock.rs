//! The wall clock. The only reader of it; whoever decides by time gets the time as an argument.
//!
//! It may be set at any moment, ahead or back, rightly or wrongly. [`set_back`] tells; [`Steady`] does
//! not believe a leap ahead before it has lasted for a day.

use crate::domain::UnixMs;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Farther than this a clock that is only corrected does not move in a while.
const LEAP_MS: i64 = 60_000;
/// How long a leap ahead must last to be believed.
const BELIEVED_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Smaller steps back are the daily work of whoever keeps the clock.
const CORRECTION_MS: i64 = 1_000;

/// The present moment.
pub fn now() -> UnixMs {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let wall = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let (start, readings) = &*READINGS;
    readings.note(wall, start.elapsed());
    UnixMs(wall)
}

/// By how much the wall clock was set back since the last question, if it was. Every time that was
/// read counts, also that of a clock which was ahead for a moment only.
pub fn set_back() -> Option<Duration> {
    now();
    READINGS.1.taken()
}

static READINGS: LazyLock<(std::time::Instant, Readings)> =
    LazyLock::new(|| (std::time::Instant::now(), Readings::new()));

/// All readings of the wall clock, compared with the clock that nobody can set.
#[derive(Debug)]
struct Readings {
    /// How far the wall clock was ahead of the other one at the last reading.
    ahead: AtomicI64,
    /// The farthest that it was set back.
    back: AtomicI64,
}

impl Readings {
    const fn new() -> Self {
        Self {
            ahead: AtomicI64::new(i64::MIN),
            back: AtomicI64::new(0),
        }
    }

    fn note(&self, wall: i64, steady: Duration) {
        let steady = i64::try_from(steady.as_millis()).unwrap_or(i64::MAX);
        let ahead = wall.saturating_sub(steady);
        let before = self.ahead.swap(ahead, Ordering::Relaxed);
        let back = before.saturating_sub(ahead);
        if back > CORRECTION_MS {
            self.back.fetch_max(back, Ordering::Relaxed);
        }
    }

    fn taken(&self) -> Option<Duration> {
        let back = self.back.swap(0, Ordering::Relaxed);
        (back > 0).then(|| Duration::from_millis(back.unsigned_abs()))
    }
}

/// Notices when the wall clock is set.
#[derive(Debug)]
struct Watch {
    wall: UnixMs,
    at: Instant,
}

impl Watch {
    fn start() -> Self {
        Self {
            wall: now(),
            at: Instant::now(),
        }
    }

    /// By how many milliseconds the clock was set since the last call: ahead, or back (negative).
    fn moved_at(&mut self, wall: UnixMs, at: Instant) -> i64 {
        let expected = self.wall.plus(at.saturating_duration_since(self.at));
        (self.wall, self.at) = (wall, at);
        wall.0.saturating_sub(expected.0)
    }
}

/// The wall clock without its leaps ahead, as long as these are not believed.
#[derive(Debug)]
pub struct Steady {
    watch: Watch,
    /// How far it leapt, and since when.
    leapt: Option<(Duration, Instant)>,
}

impl Steady {
    /// Believes the clock as it is now.
    pub fn start() -> Self {
        Self {
            watch: Watch::start(),
            leapt: None,
        }
    }

    /// The present moment.
    pub fn now(&mut self) -> UnixMs {
        self.now_at(now(), Instant::now())
    }

    fn now_at(&mut self, wall: UnixMs, at: Instant) -> UnixMs {
        let moved = self.watch.moved_at(wall, at);
        let (ahead, since) = self.leapt.unwrap_or((Duration::ZERO, at));
        if moved > LEAP_MS {
            self.leapt = Some((ahead + Duration::from_millis(moved.unsigned_abs()), at));
        } else if moved < -LEAP_MS {
            let rest = ahead.saturating_sub(Duration::from_millis(moved.unsigned_abs()));
            self.leapt = (!rest.is_zero()).then_some((rest, since));
        } else if at.saturating_duration_since(since) >= BELIEVED_AFTER {
            self.leapt = None;
        }
        wall.minus(self.leapt.map_or(Duration::ZERO, |(ahead, _)| ahead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    /// Both clocks, the wall clock shifted by so much.
    struct Clocks(Instant, i64);

    impl Clocks {
        fn pass(&mut self, hours: i64) {
            self.0 += Duration::from_millis(u64::try_from(hours * HOUR).unwrap());
            self.1 += hours * HOUR;
        }

        fn steady(&self, steady: &mut Steady) -> i64 {
            steady.now_at(UnixMs(self.1), self.0).0 / HOUR
        }
    }

    fn watch(clocks: &Clocks) -> Watch {
        Watch {
            wall: UnixMs(clocks.1),
            at: clocks.0,
        }
    }

    #[tokio::test]
    async fn a_watch_tells_how_far_the_clock_was_set() {
        let mut clocks = Clocks(Instant::now(), 0);
        let mut watch = watch(&clocks);
        let mut moved = |clocks: &Clocks| watch.moved_at(UnixMs(clocks.1), clocks.0);
        clocks.pass(1);
        assert_eq!(moved(&clocks), 0);
        clocks.pass(1);
        clocks.1 -= HOUR;
        assert_eq!(moved(&clocks), -HOUR);
        clocks.pass(1);
        assert_eq!(moved(&clocks), 0);
        clocks.1 += 7;
        assert_eq!(moved(&clocks), 7);
    }

    #[tokio::test]
    async fn a_leap_ahead_is_believed_after_a_day_and_a_step_back_at_once() {
        let mut clocks = Clocks(Instant::now(), 0);
        let watch = watch(&clocks);
        let leapt = None;
        let mut steady = Steady { watch, leapt };
        clocks.pass(10);
        assert_eq!(clocks.steady(&mut steady), 10);
        clocks.1 += 1000 * HOUR;
        assert_eq!(clocks.steady(&mut steady), 10);
        clocks.pass(23);
        assert_eq!(clocks.steady(&mut steady), 33);
        // It was wrong, and is put right but for an hour.
        clocks.1 -= 999 * HOUR;
        assert_eq!(clocks.steady(&mut steady), 33);
        clocks.pass(1);
        assert_eq!(clocks.steady(&mut steady), 35, "the hour is believed");
        clocks.1 -= 5 * HOUR;
        assert_eq!(clocks.steady(&mut steady), 30);
        clocks.1 += 1000 * HOUR;
        clocks.pass(23);
        assert_eq!(clocks.steady(&mut steady), 53);
        clocks.pass(25);
        assert_eq!(clocks.steady(&mut steady), 1078, "all of it is believed");
    }

    /// What readings tell of these seconds of the wall clock, one each second.
    fn noticed(wall: &[i64]) -> Option<u64> {
        let readings = Readings::new();
        for (steady, wall) in (0..).zip(wall) {
            readings.note(wall * 1_000, Duration::from_secs(steady));
        }
        let first = readings.taken().map(|by| by.as_secs());
        assert_eq!(readings.taken(), None, "told once");
        first
    }

    #[test]
    fn a_clock_that_was_set_back_is_noticed() {
        assert_eq!(noticed(&[1_000, 1_001, 1_002]), None);
        assert_eq!(noticed(&[1_000, 5_001, 5_002]), None, "set forward");
        assert_eq!(noticed(&[1_000, 1_001, 902]), Some(100));
        assert_eq!(noticed(&[1_000, 1_001, 1_001]), None, "a correction");
    }

    #[test]
    fn also_one_that_was_ahead_for_a_moment() {
        assert_eq!(noticed(&[1_000, 1_601, 1_002]), Some(600));
        assert_eq!(noticed(&[1_000, 1_601, 1_002, 998]), Some(600));
    }
}
