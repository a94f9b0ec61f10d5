//! The clock of Redis. What one process stamps another acts on, so all of them go by this one clock:
//! whoever's own is wrong harms nobody (DESIGN section 6, R-58).

use super::{Link, Store};
use crate::clock;
use crate::domain::UnixMs;
use crate::store::StoreError;
use redis::cmd;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// Farther apart than this somebody is to look at the clocks.
const MOST_OFF: Duration = Duration::from_secs(2);

/// How two clocks stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Apart {
    /// By how many milliseconds this machine's clock is ahead of Redis'.
    pub ahead_ms: i64,
    /// Whether that is certain, and more than two seconds.
    pub is_off: bool,
}

impl Apart {
    fn of(own: UnixMs, theirs: UnixMs, trip: Duration) -> Self {
        let half = i64::try_from(trip.as_millis() / 2).unwrap_or(i64::MAX);
        let ahead_ms = own.0.saturating_add(half).saturating_sub(theirs.0);
        let surely = u128::from(ahead_ms.unsigned_abs()).saturating_sub(trip.as_millis() / 2);
        Self {
            ahead_ms,
            is_off: surely > MOST_OFF.as_millis(),
        }
    }

    /// In words: `12.3 s ahead of Redis'`.
    pub fn shown(&self) -> String {
        let side = if self.ahead_ms < 0 {
            "behind"
        } else {
            "ahead of"
        };
        let seconds = self.ahead_ms.unsigned_abs() as f64 / 1000.0;
        format!("{seconds:.1} s {side} Redis'")
    }
}

impl Link {
    /// How this machine's clock stands to that of Redis; what that showed goes to `heard`.
    pub async fn clocks(
        &self,
        heard: impl FnOnce(UnixMs, Instant, Instant),
    ) -> Result<Apart, StoreError> {
        let (own, asked) = (clock::own(), Instant::now());
        let (seconds, micros): (i64, i64) = self.command_beside(&cmd("TIME")).await?;
        let theirs = UnixMs(seconds.saturating_mul(1000).saturating_add(micros / 1000));
        let now = Instant::now();
        heard(theirs, asked, now);
        Ok(Apart::of(own, theirs, now - asked))
    }
}

/// What was told of the clocks.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<bool>);

impl Store {
    /// Goes by the clock of Redis from now on. Without an answer it goes on as it was.
    pub(super) async fn follow_clock(&self) {
        let mut leapt = None;
        let clocks = self.shared.link.clocks(|time, asked, heard| {
            leapt = clock::follow(time, asked, heard);
        });
        let Ok(apart) = clocks.await else { return };
        if let Some(by) = leapt {
            tracing::warn!(
                seconds = by / 1000,
                "the clock of Redis was set; for five minutes the gateway fails no message as too old \
                 and sends none that may be; look at the time service of Redis' machine"
            );
        }
        let mut told = self
            .shared
            .clocks
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match (apart.is_off, std::mem::replace(&mut *told, apart.is_off)) {
            (true, false) => tracing::warn!(
                clock = apart.shown(),
                "this machine's clock is off; the gateway goes by the clock of Redis, only the times \
                 in this log are wrong; run a time service such as NTP on both machines"
            ),
            (false, true) => tracing::info!("this machine's clock and that of Redis agree again"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_off_when_it_surely_is_by_more_than_two_seconds() {
        let off = |own, trip| Apart::of(UnixMs(own), UnixMs(100_000), Duration::from_millis(trip));
        for (own, trip, is_off) in [
            (100_000, 0, false),
            (102_000, 0, false),
            (102_001, 0, true),
            (97_999, 0, true),
            // It may have been answered at any moment of this.
            (101_500, 1_000, false),
            (102_600, 1_000, true),
            (96_000, 1_000, true),
        ] {
            assert_eq!(off(own, trip).is_off, is_off, "{own} {trip}");
        }
        assert_eq!(off(112_300, 0).shown(), "12.3 s ahead of Redis'");
        assert_eq!(off(95_000, 0).shown(), "5.0 s behind Redis'");
    }
}
