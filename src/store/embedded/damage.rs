//! Rows with values that no program of ours writes: a fault of the disk, or somebody's hand. One of
//! them must hold back nobody else.

use super::channel_id;
use super::writer::Txn;
use crate::domain::{State, UnixMs};
use rusqlite::{Error, OptionalExtension, Result, Row};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often an operator is told of rows that are passed over.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// What a row holds, or nothing when one of its values cannot be what it should.
pub(super) fn readable<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_of_a_value(&error) => {
            tell(&error);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether an error is about a value in a row, and not about the file or the statement.
fn is_of_a_value(error: &Error) -> bool {
    matches!(
        error,
        Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::Utf8Error(..)
    )
}

fn tell(error: &Error) {
    static TOLD: Mutex<Option<Instant>> = Mutex::new(None);
    let mut last = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if last.is_none_or(|at| at.elapsed() >= TOLD_EVERY) {
        *last = Some(Instant::now());
        tracing::error!(%error, event = "store_damaged",
            "rows of the store are damaged; they are passed over and all others go on. \
             Restore a backup, or look into gateway.db with sqlite3");
    }
}

/// Takes a message that cannot be read out of every queue. It counts as failed; MoEngage is not
/// told, because nobody can say which message it was.
pub(super) fn set_aside(txn: &mut Txn<'_>, id: i64, from: State, now: UnixMs) -> Result<()> {
    let channel = |row: &Row<'_>| channel_id(row.get_ref(0)?.as_str()?);
    let channel = txn
        .conn
        .prepare_cached("SELECT channel FROM message WHERE id = ?1")?
        .query_row([id], |row| readable(channel(row)))
        .optional()?
        .flatten();
    txn.conn
        .prepare_cached("UPDATE message SET state = 4, settled_at = ?2, lost = 0 WHERE id = ?1")?
        .execute((id, now.0))?;
    if let Some(channel) = &channel {
        txn.deltas.moved(channel, from, State::Failed);
    }
    tracing::error!(
        id,
        event = "message_damaged",
        "a message of the store is damaged: it is not sent and counts as failed, and MoEngage \
         cannot be told, because its msg_id cannot be read"
    );
    Ok(())
}
