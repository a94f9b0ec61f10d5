//! The history of a message: lines that are appended and never changed.

use super::writer::Txn;
use crate::domain::UnixMs;
use crate::store::row;
use rusqlite::Result;

/// A history longer than this (bytes) is not appended to by what may repeat without end.
pub(super) const HISTORY_LIMIT: i64 = 16_384;

/// Appends a line to the history of a message.
pub(super) fn note(
    txn: &Txn<'_>,
    message: Option<i64>,
    now: UnixMs,
    what: &str,
    detail: &str,
) -> Result<()> {
    if let Some(id) = message {
        txn.conn
            .prepare_cached(
                "UPDATE message SET history = history || ?2
                 WHERE id = ?1 AND length(history) < ?3",
            )?
            .execute((id, row::moment(now, what, detail), HISTORY_LIMIT))?;
    }
    Ok(())
}
