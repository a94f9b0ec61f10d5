//! Marks in the data directory: how far the store had come, beside the store.

use super::stopped;
use crate::outbox::Outbox;
use crate::store::{Aside, Mark, Marked};
use std::io::{Error, ErrorKind};
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How often a mark is written that changed.
const EVERY: Duration = Duration::from_secs(1);

/// How long a disk is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Writes the marks of these accounts whenever they changed. Ends with `stop`, after a last time.
pub async fn keep_marks(outbox: Outbox, aside: Aside, of: Vec<Marked>, stop: CancellationToken) {
    let mut kept: Vec<Mark> = vec![Mark::default(); of.len()];
    let mut failed = false;
    loop {
        let is_last = stopped(&stop, EVERY).await;
        for (of, kept) in of.iter().zip(&mut kept) {
            let mark = outbox.store.mark(of);
            if mark == *kept {
                continue;
            }
            let (aside, account, next) = (aside.clone(), of.account.clone(), mark.clone());
            let written = spawn_blocking(move || aside.write_mark(&account, next));
            // A disk that hangs holds up no end.
            let written = timeout(PATIENCE, written).await;
            let written = written.map_err(|_| Error::from(ErrorKind::TimedOut));
            match written.and_then(|done| done.map_err(Error::other).flatten()) {
                Ok(()) => {
                    *kept = mark;
                    if std::mem::take(&mut failed) {
                        tracing::info!(
                            event = "marks_written_again",
                            "the marks of the store are in DATA_DIR again"
                        );
                    }
                }
                Err(error) if !std::mem::replace(&mut failed, true) => tracing::warn!(%error,
                    event = "mark_not_written",
                    "no mark of the store can be written into DATA_DIR; if you put an older copy of the store back, \
                     the gateway may not notice. It tries again every second"),
                Err(_) => {}
            }
        }
        if is_last {
            return;
        }
    }
}
