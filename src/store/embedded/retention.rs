//! Retention: what is settled and old goes, so that the data directory does not grow without end.

use super::ledger::Counter;
use super::{Store, channel_id, damage, damaged};
use crate::domain::{ChannelId, UnixMs};
use crate::store::{Purged, StoreError};
use rusqlite::{Connection, OptionalExtension, Result};

/// Rows looked at in one transaction; bounds how long others wait.
const AT_ONCE: i64 = 200;

impl Store {
    /// Removes messages settled before `settled_before` (unless a callback of theirs waits or is a
    /// dead letter, or Datastore does not have their last version yet) and events received before `received_before`. Works in small steps until
    /// nothing is left to do.
    pub async fn purge(
        &self,
        settled_before: UnixMs,
        received_before: UnixMs,
    ) -> Result<Purged, StoreError> {
        let mut purged = Purged::default();
        loop {
            let (early, others) = self.purge_events(received_before).await?;
            purged.early_statuses += early;
            purged.others += others;
            if early + others == 0 {
                break;
            }
        }
        loop {
            let others = self.purge_others(settled_before).await?;
            purged.others += others;
            if others == 0 {
                break;
            }
        }
        let mut after = Some(0);
        while let Some(id) = after {
            let (next, removed) = self.purge_messages(id, settled_before).await?;
            purged.messages += removed;
            after = next;
        }
        Ok(purged)
    }

    /// One step from message `after` on. Ids rise with the time of accept, so the walk ends where
    /// all messages are too young to be old.
    async fn purge_messages(
        &self,
        after: i64,
        settled_before: UnixMs,
    ) -> Result<(Option<i64>, usize), StoreError> {
        let seen = self
            .read(move |conn| {
                conn.prepare_cached(
                    "SELECT id, accepted_at, settled_at FROM message WHERE id > ?1
                     ORDER BY id LIMIT ?2",
                )?
                .query_map((after, AT_ONCE), |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?
                .collect::<Result<Vec<(i64, i64, Option<i64>)>>>()
            })
            .await?;
        let before = settled_before.0;
        let old_enough = seen.iter().any(|(_, accepted, _)| *accepted < before);
        let next = seen.last().map(|(id, ..)| *id).filter(|_| old_enough);
        let settled = |at: &Option<i64>| at.is_some_and(|at| at < before);
        let ids: Vec<i64> = seen
            .iter()
            .filter(|(_, _, at)| settled(at))
            .map(|(id, ..)| *id)
            .collect();
        if ids.is_empty() {
            return Ok((next, 0));
        }
        // Where Datastore was switched off, an old mark holds nothing back and goes with its message.
        let marks = self.shared.mark_dirty;
        let removed = self
            .write(move |txn| {
                let mut delete = txn.conn.prepare_cached(
                    "DELETE FROM message WHERE id = ?1 AND state IN (2, 4) AND settled_at < ?2
                       AND NOT EXISTS
                         (SELECT 1 FROM callback WHERE lane = 0 AND ord = ?1 AND ready < 2)
                       AND NOT EXISTS
                         (SELECT 1 FROM callback WHERE lane = 0 AND ord = ?1 AND ready = 2)
                       AND (NOT ?3 OR NOT EXISTS (SELECT 1 FROM dirty WHERE message = ?1))",
                )?;
                let mut unmark = txn
                    .conn
                    .prepare_cached("DELETE FROM dirty WHERE message = ?1")?;
                ids.iter().try_fold(0, |sum, id| {
                    let removed = delete.execute((id, before, marks))?;
                    if removed > 0 && !marks {
                        unmark.execute([id])?;
                    }
                    Ok(sum + removed)
                })
            })
            .await?;
        Ok((next, removed))
    }

    /// One step of the events, oldest first.
    async fn purge_events(&self, received_before: UnixMs) -> Result<(usize, usize), StoreError> {
        self.write(move |txn| {
            let (mut early, mut others) = (0, 0);
            for _ in 0..AT_ONCE {
                let Some((id, channel, status)) = old_event(txn.conn, received_before)? else {
                    break;
                };
                txn.conn
                    .prepare_cached("DELETE FROM event WHERE id = ?1")?
                    .execute([id])?;
                if status {
                    if let Some(channel) = &channel {
                        txn.deltas.add(channel, Counter::ExpiredEvents, 1);
                    }
                    early += 1;
                } else {
                    others += 1;
                }
            }
            Ok((early, others))
        })
        .await
    }

    /// One step of the ids of replies and of the dead letters.
    async fn purge_others(&self, before: UnixMs) -> Result<usize, StoreError> {
        self.write(move |txn| {
            let replies = txn
                .conn
                .prepare_cached(
                    "DELETE FROM reply_seen WHERE (account, id) IN
                       (SELECT account, id FROM reply_seen WHERE at < ?1 LIMIT ?2)",
                )?
                .execute((before.0, AT_ONCE))?;
            let dead = txn
                .conn
                .prepare_cached(
                    "DELETE FROM callback WHERE id IN
                       (SELECT id FROM callback WHERE ready = 2 AND created < ?1 LIMIT ?2)",
                )?
                .execute((before.0, AT_ONCE))?;
            Ok(replies + dead)
        })
        .await
    }
}

/// The oldest event with its channel and whether it is a status, if it is old enough.
fn old_event(conn: &Connection, before: UnixMs) -> Result<Option<(i64, Option<ChannelId>, bool)>> {
    let oldest = conn
        .prepare_cached("SELECT id, channel, kind, received_at FROM event ORDER BY id LIMIT 1")?
        .query_row([], |row| {
            let text = |at| row.get_ref(at)?.as_str().map_err(damaged);
            let channel = damage::readable(text(1).and_then(channel_id))?;
            let status = damage::readable(text(2))?.is_some_and(|kind| kind == "status");
            let received_at: i64 = row.get(3)?;
            Ok(((row.get(0)?, channel, status), received_at))
        })
        .optional()?;
    Ok(oldest.and_then(|(event, at)| (at < before.0).then_some(event)))
}
