//! The pause that the upstream asked for. Pure: the time is an argument.

use std::time::Duration;
use tokio::time::Instant;

/// An upstream that asks for a longer pause is asked again after this.
const LONGEST: Duration = Duration::from_secs(3600);
/// A person is told of a longer pause than this.
const TOLD_FROM: Duration = Duration::from_secs(60);

/// Until when no call starts, if it is so.
#[derive(Debug, Default)]
pub(super) struct Pause {
    until: Option<Instant>,
    /// Whether a person was told, here or elsewhere.
    reported: bool,
}

impl Pause {
    /// What is left of it.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        let left = self.until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// That instant, or the end of the pause when it is later.
    pub(super) fn after(&self, at: Instant) -> Instant {
        self.until.map_or(at, |until| until.max(at))
    }

    /// The upstream asks for it. Whether a person should be told.
    pub(super) fn ask(&mut self, time: Duration, now: Instant) -> bool {
        self.reported &= self.left(now).is_some();
        self.until = self.until.max(Some(now + time.min(LONGEST)));
        let long = self.left(now).is_some_and(|left| left > TOLD_FROM);
        let tell = long && !self.reported;
        self.reported |= long;
        tell
    }

    /// So it stands for all that share it: whoever was asked for it tells a person.
    pub(super) fn heard(&mut self, left: Option<Duration>, now: Instant) {
        self.until = left.map(|left| now + left);
        self.reported |= left.is_some_and(|left| left > TOLD_FROM);
        self.reported &= left.is_some();
    }

    /// An operator ends it.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }
}
