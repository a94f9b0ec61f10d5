//! How MoEngage is told.

use crate::config::parse::{self, Parsed, choice, whole};
use crate::config::reader::{Reader, count, long, one, short};
use crate::config::setting::{Setting, setting};
use std::time::Duration;

settings! {
    /// How MoEngage is told.
    struct Moengage {
        /// The unit of timestamps in callbacks: s or ms.
        timestamp_unit: TimestampUnit = one(timestamp_unit),
            setting("moengage.timestamp_unit").var("MOENGAGE_TIMESTAMP_UNIT").default("s");
        /// The deadline of one callback.
        callback_timeout: Duration = short(),
            setting("moengage.callback_timeout").default("5s");
        /// Callbacks at once.
        callback_concurrency: usize = count(),
            setting("moengage.callback_concurrency").default("8");
        /// The most statuses in one callback.
        batch_entries: usize = one(whole(1..=1000)),
            setting("moengage.batch_entries").default("50");
        /// The largest body of one callback, in bytes.
        batch_bytes: usize = one(parse::bytes(1024..=16 << 20)),
            setting("moengage.batch_bytes").default("150000");
        /// How long a callback is tried before it becomes a dead letter.
        retry_for: Duration = long(),
            setting("moengage.retry_for").default("8d");
        /// The longest pause between two tries of a callback.
        max_pause: Duration = short(),
            setting("moengage.max_pause").default("15m");
    }
}

/// The unit of timestamps in callbacks (contracts/moengage.md section 11, Q3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampUnit {
    /// Seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Millis,
}

/// Reads the unit of MoEngage's timestamps.
fn timestamp_unit(text: &str) -> Parsed<TimestampUnit> {
    choice(
        text,
        &[("s", TimestampUnit::Seconds), ("ms", TimestampUnit::Millis)],
    )
}
