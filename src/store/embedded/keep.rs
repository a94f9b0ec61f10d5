//! Retention: what is settled and old goes, so that the data directory does not grow without end.

use super::ledger::Counter;
use super::{Store, channel_id};
use crate::domain::UnixMs;
use crate::store::StoreError;
use rusqlite::{OptionalExtension, Result};

/// Rows looked at in one transaction; bounds how long others wait.
const AT_ONCE: i64 = 500;

/// What a round of retention removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purged {
    /// Messages with their histories.
    pub messages: usize,
    /// Early statuses that no receipt ever matched.
    pub early_statuses: usize,
    /// Other kept events, ids of replies, dead letters.
    pub others: usize,
}

impl Store {
    /// Removes messages settled before `settled_before` (unless a callback of theirs waits) and
    /// events received before `received_before`. Works in small steps until nothing is left to do.
    pub async fn purge(
        &self,
        settled_before: UnixMs,
        received_before: UnixMs,
    ) -> Result<Purged, StoreError> {
        let mut purged = Purged::default();
        let mut last = 0;
        loop {
            let (next, removed) = self.purge_messages(last, settled_before).await?;
            purged.messages += removed;
            match next {
                Some(id) => last = id,
                None => break,
            }
        }
        loop {
            let (early, others) = self.purge_events(received_before, settled_before).await?;
            purged.early_statuses += early;
            purged.others += others;
            if early + others == 0 {
                return Ok(purged);
            }
        }
    }

    /// One step from message `after` on. Ids rise with the time of accept, so the walk ends at the
    /// first message that is too young to be old.
    async fn purge_messages(
        &self,
        after: i64,
        settled_before: UnixMs,
    ) -> Result<(Option<i64>, usize), StoreError> {
        let seen = self
            .read(move |conn| {
                conn.prepare_cached(
                    "SELECT id, settled_at FROM message WHERE id > ?1 AND accepted_at < ?2
                     ORDER BY id LIMIT ?3",
                )?
                .query_map((after, settled_before.0, AT_ONCE), |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?))
                })?
                .collect::<Result<Vec<_>>>()
            })
            .await?;
        let old = |settled: &Option<i64>| settled.is_some_and(|at| at < settled_before.0);
        let ids: Vec<i64> = seen
            .iter()
            .filter(|(_, at)| old(at))
            .map(|(id, _)| *id)
            .collect();
        let next = seen.last().map(|(id, _)| *id);
        if ids.is_empty() {
            return Ok((next, 0));
        }
        let removed = self
            .write(move |txn| {
                let mut delete = txn.conn.prepare_cached(
                    "DELETE FROM message WHERE id = ?1 AND state IN (2, 4) AND NOT EXISTS
                       (SELECT 1 FROM callback WHERE lane = 0 AND ord = ?1 AND ready < 2)",
                )?;
                ids.iter()
                    .try_fold(0, |sum, id| Ok(sum + delete.execute([id])?))
            })
            .await?;
        Ok((next, removed))
    }

    async fn purge_events(
        &self,
        received_before: UnixMs,
        settled_before: UnixMs,
    ) -> Result<(usize, usize), StoreError> {
        self.write(move |txn| {
            let mut early = 0;
            let mut others = 0;
            for _ in 0..AT_ONCE {
                let oldest = txn
                    .conn
                    .prepare_cached(
                        "SELECT id, channel, kind, received_at FROM event ORDER BY id LIMIT 1",
                    )?
                    .query_row([], |row| {
                        let channel = channel_id(row.get_ref(1)?.as_str()?)?;
                        let status = row.get_ref(2)?.as_str()? == "status";
                        Ok((
                            row.get::<_, i64>(0)?,
                            channel,
                            status,
                            row.get::<_, i64>(3)?,
                        ))
                    })
                    .optional()?;
                match oldest {
                    Some((id, channel, status, at)) if at < received_before.0 => {
                        txn.conn
                            .prepare_cached("DELETE FROM event WHERE id = ?1")?
                            .execute([id])?;
                        if status {
                            txn.deltas.add(&channel, Counter::ExpiredEvents, 1);
                            early += 1;
                        } else {
                            others += 1;
                        }
                    }
                    _ => break,
                }
            }
            others += txn
                .conn
                .prepare_cached("DELETE FROM reply_seen WHERE at < ?1")?
                .execute([settled_before.0])?;
            others += txn
                .conn
                .prepare_cached("DELETE FROM callback WHERE ready = 2 AND created < ?1")?
                .execute([settled_before.0])?;
            Ok((early, others))
        })
        .await
    }
}
