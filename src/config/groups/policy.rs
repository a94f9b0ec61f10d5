//! What all accounts do with failures.

use crate::config::parse::{Bare, whole};
use crate::config::reader::{Reader, one, short, time};
use crate::config::setting::{Setting, setting};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Trials of what is held.
const PROBE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(24 * 3600);

settings! {
    /// What all accounts do with failures.
    struct Failures {
        /// The pause before the first retry; it doubles from there, with jitter.
        retry_base: Duration = short(),
            setting("policy.retry_base").default("1s");
        /// The longest pause between retries.
        retry_max: Duration = short(),
            setting("policy.retry_max").default("5m");
        /// The longest pause between two trials of what is held. An account that is held for a refused
        /// token is tested after 2, 4, 8 and then every 15 s. Wrong credentials are tried again at least
        /// this often.
        hold_probe: Duration = time(PROBE, Bare::Refused),
            setting("policy.hold_probe").default("5m");
    }
}

settings! {
    /// When an account stops claiming because its provider is down.
    struct Breaker {
        /// Outages in a row that open it: connection errors, 5xx, timeouts.
        failures: u32 = one(whole(1..=10_000)),
            setting("breaker.failures").default("5");
        /// How long it stays open at first, doubling from there.
        open_min: Duration = short(),
            setting("breaker.open_min").default("1s");
        /// How long it stays open at most.
        open_max: Duration = short(),
            setting("breaker.open_max").default("60s");
    }
}
