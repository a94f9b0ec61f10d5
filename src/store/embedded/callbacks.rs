//! The queues towards MoEngage: in order per message (per person for replies), one in flight.
//!
//! At most one callback of a message is `ready`; the next one becomes ready when it is settled. So
//! any choice among the ready ones keeps the order, and one that MoEngage refuses to take for days
//! holds back nothing but its own message.

use super::ledger::Counter;
use super::taken::Taken;
use super::writer::Txn;
use super::{Store, damage, history, signed};
use crate::domain::{Callback, ChannelId, Destination, DoorName, Person, UnixMs};
use crate::store::types::queue_number;
use crate::store::{CallbackLease, CallbackQueue, PendingCallback, RelayOutcome, StoreError, row};
use rusqlite::{Connection, OptionalExtension, Result};

/// Callbacks whose time is changed in one transaction; bounds how long others wait.
const AT_ONCE: i64 = 500;

/// Puts a callback into its queue.
pub(super) fn enqueue(
    txn: &mut Txn<'_>,
    channel: &ChannelId,
    message: Option<i64>,
    callback: &Callback,
    now: UnixMs,
) -> Result<()> {
    let (destination, order) = match callback {
        Callback::Status(_) => (Destination::Status, message.unwrap_or_default()),
        Callback::Inbound(entry) => (
            Destination::Inbound,
            signed(Person::of(entry.from).key().number()),
        ),
    };
    // Messages come in by this door alone.
    let lane = queue_number(DoorName::Moengage, destination);
    let waits: bool = txn
        .conn
        .prepare_cached(
            "SELECT 1 FROM callback WHERE lane = ?1 AND ord = ?2 AND ready < 2 AND channel = ?3",
        )?
        .exists((lane, order, channel.as_str()))?;
    txn.conn
        .prepare_cached(
            "INSERT INTO callback (channel, lane, ord, message, ready, due, created, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7)",
        )?
        .execute((
            channel.as_str(),
            lane,
            order,
            message,
            !waits,
            now.0,
            row::write_callback(callback),
        ))?;
    txn.deltas.add(channel, Counter::CallbacksWaiting, 1);
    Ok(())
}

/// At start every waiting callback is due at once (design.md section 5).
pub(super) fn all_due(conn: &Connection) -> Result<()> {
    let sql = "UPDATE callback SET due = created WHERE ready = 1 AND due <> created";
    conn.execute(sql, []).map(drop)
}

impl Store {
    /// Takes up to `most` due callbacks. They stay taken until they are settled or the process
    /// ends. One that cannot be read becomes a dead letter, so that it holds back nothing.
    pub async fn take_callbacks(
        &self,
        queue: &CallbackQueue,
        most: usize,
        now: UnixMs,
    ) -> Result<Vec<PendingCallback>, StoreError> {
        let (store, asked) = (self.clone(), queue.clone());
        let due = self
            .read(move |conn| {
                // Kept over the question, so that two takers never take the same.
                let mut taken = store.taken();
                let due = due(conn, &asked, most, &taken, now)?;
                let found = due.found.iter().map(|one| one.handle);
                taken.hold(found.chain(due.unreadable.iter().copied()));
                Ok(due)
            })
            .await?;
        if !due.unreadable.is_empty() {
            let dead = RelayOutcome::Dead {
                reason: "cannot be read by this version of the gateway".into(),
            };
            let ends = due.unreadable.iter().map(|take| (*take, dead.clone()));
            if let Err(error) = self.settle_callbacks(queue, ends.collect(), now).await {
                // Those that were found are taken and must be handed out all the same.
                let mut taken = self.taken();
                due.unreadable.iter().for_each(|take| taken.let_go(*take));
                tracing::warn!(
                    %error, event = "callback_unreadable",
                    "unreadable callbacks stay where they are; retrying"
                );
            }
        }
        Ok(due.found)
    }

    /// When the next callback of this queue is due, taken ones aside.
    pub async fn next_callback_due(
        &self,
        queue: &CallbackQueue,
    ) -> Result<Option<UnixMs>, StoreError> {
        let (store, queue) = (self.clone(), queue.clone());
        self.read(move |conn| {
            let taken = store.taken().clone();
            let mut select = conn.prepare_cached(
                "SELECT id, due FROM callback WHERE channel = ?1 AND lane = ?2 AND ready = 1
                 ORDER BY due, id",
            )?;
            let mut rows = select.query((queue.channel.as_str(), queue.number()))?;
            while let Some(row) = rows.next()? {
                if !taken.holds(row.get(0)?) {
                    return Ok(Some(UnixMs(row.get(1)?)));
                }
            }
            Ok(None)
        })
        .await
    }

    /// Ends tries to relay.
    pub async fn settle_callbacks(
        &self,
        queue: &CallbackQueue,
        mut ends: Vec<(CallbackLease, RelayOutcome)>,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        {
            let taken = self.taken();
            ends.retain(|(take, end)| taken.counts(*take, end));
        }
        if ends.is_empty() {
            return Ok(());
        }
        let takes: Vec<CallbackLease> = ends.iter().map(|(take, _)| *take).collect();
        let queue = queue.clone();
        self.write(move |txn| {
            for (take, end) in &ends {
                settle(txn, &queue, take.callback, end, now)?;
            }
            Ok(())
        })
        .await?;
        let mut taken = self.taken();
        takes.into_iter().for_each(|take| taken.let_go(take));
        Ok(())
    }

    /// MoEngage answers again: what waits for a later try is due now.
    pub async fn hasten_callbacks(
        &self,
        queue: &CallbackQueue,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        let some = || {
            let queue = queue.clone();
            self.write(move |txn| {
                txn.conn
                    .prepare_cached(
                        "UPDATE callback SET due = ?3 WHERE id IN
                           (SELECT id FROM callback
                            WHERE channel = ?1 AND lane = ?2 AND ready = 1 AND due > ?3 LIMIT ?4)",
                    )?
                    .execute((queue.channel.as_str(), queue.number(), now.0, AT_ONCE))
            })
        };
        while some().await? > 0 {}
        Ok(())
    }
}

/// What a look into a queue found.
#[derive(Default)]
struct Due {
    found: Vec<PendingCallback>,
    unreadable: Vec<CallbackLease>,
}

fn due(
    conn: &Connection,
    queue: &CallbackQueue,
    most: usize,
    taken: &Taken,
    now: UnixMs,
) -> Result<Due> {
    let mut select = conn.prepare_cached(
        "SELECT id, body, tries, created FROM callback
         WHERE channel = ?1 AND lane = ?2 AND ready = 1 AND due <= ?3 ORDER BY due, id",
    )?;
    let mut rows = select.query((queue.channel.as_str(), queue.number(), now.0))?;
    let mut due = Due::default();
    while due.found.len() + due.unreadable.len() < most {
        let Some(row) = rows.next()? else { break };
        let handle = taken.next(row.get(0)?);
        if taken.holds(handle.callback) {
            continue;
        }
        match row.get_ref(1)?.as_str().map(row::read_callback) {
            Ok(Ok(callback)) => due.found.push(PendingCallback {
                handle,
                term: 0,
                callback,
                tries: damage::readable(row.get(2))?.unwrap_or_default(),
                created: UnixMs(row.get(3)?),
            }),
            _ => due.unreadable.push(handle),
        }
    }
    Ok(due)
}

fn settle(
    txn: &mut Txn<'_>,
    queue: &CallbackQueue,
    handle: i64,
    end: &RelayOutcome,
    now: UnixMs,
) -> Result<()> {
    let found = txn
        .conn
        .prepare_cached(
            "SELECT lane, ord, message, tries, body FROM callback WHERE id = ?1 AND ready = 1",
        )?
        .query_row([handle], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, Option<i64>>(2)?,
                row.get::<_, i64>(3)?,
                damage::readable(row.get::<_, String>(4))?.unwrap_or_default(),
            ))
        })
        .optional()?;
    let Some((lane, order, message, tries, body)) = found else {
        return Ok(());
    };
    let line = |summary: &str| {
        format!(
            "{}, {summary}, try {}",
            row::spoken(&body),
            tries.saturating_add(1)
        )
    };
    match end {
        RelayOutcome::Later { due } => {
            txn.conn
                .prepare_cached("UPDATE callback SET due = ?2, tries = tries + 1 WHERE id = ?1")?
                .execute((handle, due.0))?;
            return Ok(());
        }
        RelayOutcome::Taken { summary } => {
            txn.conn
                .prepare_cached("DELETE FROM callback WHERE id = ?1")?
                .execute([handle])?;
            txn.deltas.add(&queue.channel, Counter::CallbacksTaken, 1);
            history::note(txn, message, now, "relayed", &line(summary))?;
        }
        RelayOutcome::Dead { reason } => {
            txn.conn
                .prepare_cached("UPDATE callback SET ready = 2, reason = ?2 WHERE id = ?1")?
                .execute((handle, reason))?;
            txn.deltas.add(&queue.channel, Counter::DeadLetters, 1);
            history::note(txn, message, now, "dead_letter", &line(reason))?;
        }
    }
    txn.deltas
        .add(&queue.channel, Counter::CallbacksWaiting, -1);
    promote(txn.conn, &queue.channel, lane, order, now)
}

fn promote(
    conn: &Connection,
    channel: &ChannelId,
    lane: i64,
    order: i64,
    now: UnixMs,
) -> Result<()> {
    conn.prepare_cached(
        "UPDATE callback SET ready = 1, due = ?4
         WHERE id = (SELECT min(id) FROM callback
                     WHERE lane = ?1 AND ord = ?2 AND ready < 2 AND channel = ?3)
           AND ready = 0",
    )?
    .execute((lane, order, channel.as_str(), now.0))?;
    Ok(())
}
