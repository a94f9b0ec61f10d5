//! A moment as MoEngage reads it (Q3). Pure.

use crate::domain::UnixMs;

/// The unit of a `timestamp`; MoEngage does not say which (Q3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampUnit {
    /// Seconds since 1970.
    #[default]
    Seconds,
    /// Milliseconds since 1970.
    Milliseconds,
}

impl TimestampUnit {
    /// A moment as MoEngage reads it.
    pub(super) fn text(self, at: UnixMs) -> String {
        match self {
            Self::Seconds => at.seconds().to_string(),
            Self::Milliseconds => at.0.to_string(),
        }
    }
}
