//! Messages as they are found for a step: what it needs of the row, and what may become of it.

use super::writer::Txn;
use super::{channel_id, columns, damage, damaged};
use crate::domain::state::Step;
use crate::domain::{AccountId, ChannelId, Life, MsgId, Writer};
use rusqlite::{Connection, Params, Result, Row};

/// A message as far as a step needs it.
pub(super) struct Found {
    /// The number of its row.
    pub(super) id: i64,
    /// The channel it goes out on.
    pub(super) channel: ChannelId,
    /// What MoEngage calls it.
    pub(super) msg_id: MsgId,
    /// Where it stands.
    pub(super) life: Life,
}

impl Found {
    /// Asks the model whether this may happen, and counts it in the ledger. What it gives is to be
    /// written.
    pub(super) fn step(&self, txn: &mut Txn<'_>, writer: Writer, step: Step) -> Result<Life> {
        let next = self.life.after(writer, step).map_err(damaged)?;
        txn.deltas.moved(&self.channel, self.life.state, next.state);
        Ok(next)
    }
}

/// Messages by a condition on the table `message`; those that cannot be read are passed over.
pub(super) fn find_where(
    conn: &Connection,
    condition: &str,
    params: impl Params,
) -> Result<Vec<Found>> {
    let sql =
        format!("SELECT id, channel, msg_id, state, resent, lost FROM message WHERE {condition}");
    let mut select = conn.prepare_cached(&sql)?;
    let rows = select.query_map(params, |row| damage::readable(found(row)))?;
    // One that cannot be read is in no step that anything waits for.
    rows.filter_map(Result::transpose).collect()
}

fn found(row: &Row<'_>) -> Result<Found> {
    Ok(Found {
        id: row.get(0)?,
        channel: channel_id(row.get_ref(1)?.as_str()?)?,
        msg_id: MsgId::parse(row.get_ref(2)?.as_str()?).map_err(damaged)?,
        life: columns::life(row.get(3)?, row.get(4)?, row.get(5)?)?,
    })
}

/// The account of a message, if it can be read.
pub(super) fn account_of(conn: &Connection, id: i64) -> Result<Option<AccountId>> {
    let account = |row: &Row<'_>| AccountId::parse(row.get_ref(0)?.as_str()?).map_err(damaged);
    conn.prepare_cached("SELECT account FROM message WHERE id = ?1")?
        .query_row([id], |row| damage::readable(account(row)))
}
