//! Moments as the program passes them around.

use std::time::Duration;

/// Milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct UnixMs(pub i64);

impl UnixMs {
    /// This moment later by `d`.
    pub fn plus(self, d: Duration) -> Self {
        Self(self.0.saturating_add(millis(d)))
    }

    /// This moment earlier by `d`.
    pub fn minus(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(millis(d)))
    }

    /// The time from `earlier` to this moment; zero when the clock went backwards.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).try_into().unwrap_or(0))
    }

    /// Whole seconds since 1970-01-01 UTC.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

/// A moment by clocks that may disagree: the one that may be set, and the one that nobody can set.
/// As long as it is not known which of them is wrong, nothing is done that only one of them asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// By the clock that shows the later time. What is stamped gets this: it never looks too old.
    pub latest: UnixMs,
    /// By the other one. What ends or is given up must be so by this one too.
    pub earliest: UnixMs,
}

impl Moment {
    /// Whether the clocks disagree.
    pub fn is_in_doubt(self) -> bool {
        self.latest != self.earliest
    }

    /// How old a message may be that is sent, or not failed.
    pub fn ages(self, oldest: Duration) -> Ages {
        Ages {
            failed_before: self.earliest.minus(oldest),
            sent_from: self.latest.minus(oldest),
        }
    }
}

/// Clocks that agree.
impl From<UnixMs> for Moment {
    fn from(now: UnixMs) -> Self {
        Self {
            latest: now,
            earliest: now,
        }
    }
}

/// How old a message may be. One between the two is neither failed nor sent: the clocks disagree
/// about its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ages {
    /// One that was accepted before this is too old by both clocks.
    pub failed_before: UnixMs,
    /// One that was accepted then or later is young enough by both.
    pub sent_from: UnixMs,
}

impl Ages {
    /// Whether the clocks disagree about the age of what was accepted then.
    pub fn disagree(self, accepted_at: UnixMs) -> bool {
        (self.failed_before..self.sent_from).contains(&accepted_at)
    }
}

/// Clocks that agree.
impl From<UnixMs> for Ages {
    fn from(oldest: UnixMs) -> Self {
        Self {
            failed_before: oldest,
            sent_from: oldest,
        }
    }
}

fn millis(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}
