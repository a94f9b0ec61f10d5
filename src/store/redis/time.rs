//! The clock of Redis. What one process stamps another acts on, so all of them go by this one clock:
//! whoever's own is wrong harms nobody (design.md section 6, R-58).

use super::{Connection, Store};
use crate::clock;
use crate::domain::UnixMs;
use crate::store::StoreError;
use redis::cmd;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Farther apart than this somebody is to look at the clocks; nearer than that all is well again.
const MOST_OFF_MS: i64 = 2_000;
const NEAR_MS: i64 = 1_500;

/// How far this machine's clock is from that of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Apart {
    /// By how many milliseconds it is ahead.
    ahead_ms: i64,
    /// Whether that is too far; `None` where the answer was too slow to tell, or it is near the border.
    pub is_off: Option<bool>,
}

impl Apart {
    fn of(own: UnixMs, theirs: UnixMs, trip: Duration) -> Self {
        let half = i64::try_from(trip.as_millis() / 2).unwrap_or(i64::MAX);
        let ahead_ms = own.0.saturating_add(half).saturating_sub(theirs.0);
        let far = ahead_ms.saturating_abs();
        let is_off = match (far.saturating_sub(half), far.saturating_add(half)) {
            (least, _) if least > MOST_OFF_MS => Some(true),
            (_, most) if most < NEAR_MS => Some(false),
            _ => None,
        };
        Self { ahead_ms, is_off }
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

impl Connection {
    /// Asks Redis for its time, and goes by it from now on where `follow` says so.
    pub async fn clocks(&self, follow: bool) -> Result<Apart, StoreError> {
        let (own, asked) = (clock::own(), clock::steady());
        let (seconds, micros): (i64, i64) = self.command_beside(&cmd("TIME")).await?;
        let (theirs, heard) = (
            UnixMs(seconds.saturating_mul(1000) + micros / 1000),
            clock::steady(),
        );
        if follow {
            clock::follow(theirs, asked, heard);
        }
        Ok(Apart::of(own, theirs, heard.saturating_sub(asked)))
    }
}

impl Store {
    /// Goes by the clock of Redis. Without an answer it goes on as it was.
    ///
    /// # Errors
    /// When Redis does not answer and never did: nothing is to be stamped then.
    pub(super) async fn follow_clock(&self) -> Result<(), StoreError> {
        let apart = match self.shared.connection.clocks(true).await {
            Ok(apart) => apart,
            Err(_) if clock::is_followed() => return Ok(()),
            Err(error) => return Err(error),
        };
        if let Some(by) = clock::leapt() {
            tracing::warn!(
                seconds = by / 1000,
                event = "redis_clock_leapt",
                "somebody set the clock of Redis, or another server answers. The gateway believes it \
                 after five minutes. Until then it fails no message as too old. Look at the time \
                 service of Redis' machine"
            );
        }
        self.tell(apart);
        Ok(())
    }

    fn tell(&self, apart: Apart) {
        let Some(is_off) = apart.is_off else { return };
        match (
            is_off,
            self.shared.clock_is_off.swap(is_off, Ordering::Relaxed),
        ) {
            (true, false) => tracing::warn!(
                clock = apart.shown(),
                event = "clock_off",
                "this machine's clock is off. The gateway goes by the clock of Redis. The times in this \
                 log are wrong, and Google or TLS may refuse this machine. Run a time service such as NTP"
            ),
            (false, true) => tracing::info!(
                event = "clock_agrees",
                "this machine's clock and that of Redis agree again"
            ),
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
            (100_000, 0, Some(false)),
            (101_499, 0, Some(false)),
            (101_500, 0, None),
            (102_000, 0, None),
            (102_001, 0, Some(true)),
            (97_999, 0, Some(true)),
            // It may have been answered at any moment of this.
            (101_500, 1_000, None),
            (102_600, 1_000, Some(true)),
            (96_000, 1_000, Some(true)),
            (100_000, 4_000, None),
        ] {
            assert_eq!(off(own, trip).is_off, is_off, "{own} {trip}");
        }
        assert_eq!(off(112_300, 0).shown(), "12.3 s ahead of Redis'");
        assert_eq!(off(95_000, 0).shown(), "5.0 s behind Redis'");
    }
}
