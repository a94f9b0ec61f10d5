//! What Datastore is owed: marks of changed messages. The marks are made by a trigger (`schema`).

use super::{Store, read, signed};
use crate::domain::{AccountId, UnixMs};
use crate::store::{Dirty, DirtyEnd, MARK_HIDDEN, StoreError};

impl Store {
    /// Takes up to `most` changed messages whose mark is due. Taking hides the mark for
    /// [`MARK_HIDDEN`], nothing else.
    pub async fn take_dirty(
        &self,
        account: &AccountId,
        most: usize,
        now: UnixMs,
    ) -> Result<Vec<Dirty>, StoreError> {
        let account = account.clone();
        let due: Vec<i64> = self
            .read(move |conn| {
                conn.prepare_cached(
                    "SELECT message FROM dirty WHERE account = ?1 AND due <= ?2
                     ORDER BY due LIMIT ?3",
                )?
                .query_map((account.as_str(), now.0, signed(most as u64)), |row| {
                    row.get(0)
                })?
                .collect()
            })
            .await?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let taken: Vec<i64> = self
            .write(move |txn| {
                let mut hide = txn
                    .conn
                    .prepare_cached("UPDATE dirty SET due = ?2 WHERE message = ?1 AND due <= ?3")?;
                let mut taken = Vec::with_capacity(due.len());
                for id in &due {
                    if hide.execute((id, now.plus(MARK_HIDDEN).0, now.0))? == 1 {
                        taken.push(*id);
                    }
                }
                Ok(taken)
            })
            .await?;
        // Read after the mark was taken: a change from now on shows in the version.
        self.read(move |conn| {
            let sql = format!(
                "SELECT {}, version FROM message WHERE id = ?1",
                read::COLUMNS
            );
            let mut select = conn.prepare_cached(&sql)?;
            let mut dirty = Vec::with_capacity(taken.len());
            for handle in taken {
                let found = select.query_row([handle], |row| {
                    Ok(Dirty {
                        handle,
                        version: row.get::<_, i64>("version")?.unsigned_abs(),
                        record: read::record(conn, row)?,
                    })
                });
                match found {
                    Ok(one) => dirty.push(one),
                    // It keeps its mark, and holds back nothing.
                    Err(error) => tracing::warn!(handle, %error,
                        event = "record_unreadable",
                        "a changed message cannot be read; Datastore does not get it"),
                }
            }
            Ok(dirty)
        })
        .await
    }

    /// Ends tries to write. A message that changed meanwhile keeps its mark and is due at once.
    pub async fn settle_dirty(
        &self,
        _account: &AccountId,
        ends: Vec<(i64, u64, DirtyEnd)>,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        self.write(move |txn| {
            let mut remove = txn.conn.prepare_cached(
                "DELETE FROM dirty WHERE message = ?1
                   AND EXISTS (SELECT 1 FROM message WHERE id = ?1 AND version = ?2)",
            )?;
            let mut show = txn
                .conn
                .prepare_cached("UPDATE dirty SET due = ?2 WHERE message = ?1")?;
            for (handle, version, end) in &ends {
                let due = match end {
                    DirtyEnd::Written if remove.execute((handle, signed(*version)))? == 1 => {
                        continue;
                    }
                    DirtyEnd::Written => now,
                    DirtyEnd::Later { due } => *due,
                };
                show.execute((handle, due.0))?;
            }
            Ok(())
        })
        .await
    }

    /// How many messages wait for Datastore.
    pub async fn dirty_waiting(&self, account: &AccountId) -> Result<u64, StoreError> {
        let account = account.clone();
        self.read(move |conn| {
            let count: i64 = conn
                .prepare_cached("SELECT count(*) FROM dirty WHERE account = ?1")?
                .query_row([account.as_str()], |row| row.get(0))?;
            Ok(count.unsigned_abs())
        })
        .await
    }
}
