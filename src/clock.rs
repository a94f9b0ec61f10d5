//! The wall clock. The only reader of it; whoever decides by time gets the time as an argument.

use crate::domain::UnixMs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Smaller corrections are the daily work of whoever keeps the clock.
const CORRECTION: Duration = Duration::from_secs(1);

/// The present moment.
pub fn now() -> UnixMs {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Notices that the wall clock was set back while the process ran.
#[derive(Debug)]
pub struct Watch {
    wall: UnixMs,
    steady: Instant,
}

impl Watch {
    /// Looks from now on.
    pub fn start() -> Self {
        Self {
            wall: now(),
            steady: Instant::now(),
        }
    }

    /// By how much the clock was set back since the last look, if it was.
    pub fn set_back(&mut self) -> Option<Duration> {
        let next = Self::start();
        let last = std::mem::replace(self, next);
        let expected = last.wall.plus(self.steady - last.steady);
        let behind = expected.0.saturating_sub(self.wall.0);
        let behind = Duration::from_millis(u64::try_from(behind).unwrap_or_default());
        (behind > CORRECTION).then_some(behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_that_was_set_back_is_noticed_and_once() {
        for (ahead, noticed) in [(3_600, true), (2, true), (0, false), (-3_600, false)] {
            let mut watch = Watch::start();
            watch.wall = UnixMs(watch.wall.0 + ahead * 1_000);
            let behind = watch.set_back();
            assert_eq!(behind.is_some(), noticed, "{ahead} s ahead: {behind:?}");
            assert_eq!(watch.set_back(), None);
        }
    }
}
