//! Rows that a newer version of the gateway wrote: they are left for it, and an operator is told.

use super::{AccountKeys, Store};
use std::time::Duration;
use tokio::time::Instant;

/// How often an operator is told.
const TOLD_EVERY: Duration = Duration::from_secs(60);

impl Store {
    /// Says, once a minute at most, that rows are left for a newer program.
    pub(super) fn tell_of_newer(&self, home: &AccountKeys, what: &str, left: u32) {
        if left == 0 {
            return;
        }
        let mut last = self.shared.newer_told();
        if last.is_some_and(|at| at.elapsed() < TOLD_EVERY) {
            return;
        }
        *last = Some(Instant::now());
        tracing::warn!(account = %home.account, left,
            event = "rows_of_newer_version",
            "{what} were written by a newer version of the gateway and are left for it; all others \
             go on. Upgrade this process, or start one of the newer version");
    }
}
