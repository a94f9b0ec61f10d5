//! The wall clock. The only reader of it; whoever decides by time gets the time as an argument.

use crate::domain::UnixMs;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The present moment.
pub fn now() -> UnixMs {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let wall = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let (start, watch) = &*WATCH;
    watch.look(wall, start.elapsed());
    UnixMs(wall)
}

/// By how much the wall clock was set back since the last question, if it was. Every time that was
/// read counts, also that of a clock which was ahead for a moment only.
pub fn set_back() -> Option<Duration> {
    now();
    WATCH.1.taken()
}

static WATCH: LazyLock<(Instant, Watch)> = LazyLock::new(|| (Instant::now(), Watch::new()));

/// Smaller corrections, in milliseconds, are the daily work of whoever keeps the clock.
const CORRECTION: i64 = 1_000;

/// Compares the wall clock with the one that nobody can set.
#[derive(Debug)]
struct Watch {
    /// How far the wall clock was ahead of the other at the last look.
    ahead: AtomicI64,
    /// The farthest that it was set back.
    back: AtomicI64,
}

impl Watch {
    const fn new() -> Self {
        Self {
            ahead: AtomicI64::new(i64::MIN),
            back: AtomicI64::new(0),
        }
    }

    fn look(&self, wall: i64, steady: Duration) {
        let steady = i64::try_from(steady.as_millis()).unwrap_or(i64::MAX);
        let ahead = wall.saturating_sub(steady);
        let before = self.ahead.swap(ahead, Ordering::Relaxed);
        let back = before.saturating_sub(ahead);
        if back > CORRECTION {
            self.back.fetch_max(back, Ordering::Relaxed);
        }
    }

    fn taken(&self) -> Option<Duration> {
        let back = self.back.swap(0, Ordering::Relaxed);
        (back > 0).then(|| Duration::from_millis(back.unsigned_abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a watch notices that sees these seconds of the wall clock, one each second.
    fn noticed(wall: &[i64]) -> Option<u64> {
        let watch = Watch::new();
        for (steady, wall) in (0..).zip(wall) {
            watch.look(wall * 1_000, Duration::from_secs(steady));
        }
        let first = watch.taken().map(|by| by.as_secs());
        assert_eq!(watch.taken(), None, "told once");
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
