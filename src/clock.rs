//! The wall clock. The only reader of it; whoever decides by time gets the time as an argument.

use crate::domain::UnixMs;
use std::time::{SystemTime, UNIX_EPOCH};

/// The present moment.
pub fn now() -> UnixMs {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
