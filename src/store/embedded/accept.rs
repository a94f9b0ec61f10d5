//! Write A: a message comes in, once.

use super::ledger::Counter;
use super::{Store, opt_out, signed};
use crate::domain::{AccountId, ChannelId, MsgId, OptOut, Phone, UnixMs};
use crate::store::{Accepted, Arrival, StoreError, row};
use rusqlite::{Connection, OptionalExtension, Result};

impl Store {
    /// Keeps a message unless its `msg_id` is known or its recipient does not want it. On return it
    /// is synced to disk.
    pub async fn accept(
        &self,
        channel: &ChannelId,
        account: &AccountId,
        arrival: impl Into<Arrival<'_>>,
        now: UnixMs,
    ) -> Result<Accepted, StoreError> {
        self.shared.disk.check()?;
        let Arrival {
            message,
            is_marketing,
        } = arrival.into();
        let (channel, account) = (channel.clone(), account.clone());
        let (msg_id, to) = (message.msg_id.clone(), message.to);
        let body = row::write_message(message);
        self.step("accept", move |txn| {
            let unwanted = opt_out::of(txn.conn, &channel, to)?;
            if let Some(scope) = unwanted.filter(|scope| *scope == OptOut::All || is_marketing) {
                let known = first(txn.conn, &channel, &msg_id)?;
                return Ok(
                    known.map_or(Accepted::OptedOut(scope), |first| Accepted::Repeat {
                        same: first.is(to, &body),
                    }),
                );
            }
            let stored = txn
                .conn
                .prepare_cached(
                    "INSERT INTO message (channel, msg_id, account, recipient, state, due,
                                          accepted_at, body, history)
                     VALUES (?1, ?2, ?3, ?4, 0, ?5, ?5, ?6, ?7)
                     ON CONFLICT (channel, msg_id) DO NOTHING",
                )?
                .execute((
                    channel.as_str(),
                    msg_id.as_str(),
                    account.as_str(),
                    signed(to.number()),
                    now.0,
                    &body,
                    row::moment(now, "accepted", ""),
                ))?;
            if stored == 1 {
                txn.deltas.add(&channel, Counter::Accepted, 1);
                txn.deltas.add(&channel, Counter::Queued, 1);
                return Ok(Accepted::Stored);
            }
            let first = first(txn.conn, &channel, &msg_id)?;
            Ok(Accepted::Repeat {
                same: first.is_some_and(|first| first.is(to, &body)),
            })
        })
        .await
    }

    /// Whether a message of this id was accepted before.
    pub async fn is_accepted(
        &self,
        channel: &ChannelId,
        msg_id: &MsgId,
    ) -> Result<bool, StoreError> {
        let (channel, msg_id) = (channel.clone(), msg_id.clone());
        self.read(move |conn| Ok(first(conn, &channel, &msg_id)?.is_some()))
            .await
    }
}

/// The content that came first under an id.
struct First {
    recipient: i64,
    body: String,
}

impl First {
    fn is(&self, to: Phone, body: &str) -> bool {
        self.recipient == signed(to.number()) && self.body == body
    }
}

fn first(conn: &Connection, channel: &ChannelId, msg_id: &MsgId) -> Result<Option<First>> {
    conn.prepare_cached("SELECT recipient, body FROM message WHERE channel = ?1 AND msg_id = ?2")?
        .query_row((channel.as_str(), msg_id.as_str()), |row| {
            Ok(First {
                recipient: row.get(0)?,
                body: row.get(1)?,
            })
        })
        .optional()
}
