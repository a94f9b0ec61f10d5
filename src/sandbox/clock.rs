//! The time of day, as the records of both fakes and their tokens tell it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Wall-clock milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
