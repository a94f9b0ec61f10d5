//! Write C: the end of an attempt, with everything that hangs on it, in one transaction.

use super::writer::Txn;
use super::{Store, callbacks, channel_id, damaged, events, evidence};
use crate::domain::state::Step;
use crate::domain::{
    Callback, ChannelId, MsgId, Phone, Receipt, Refusal, State, Status, StatusEntry, UnixMs,
};
use crate::store::{Folded, Settlement, StoreError, Tap, row};
use rusqlite::{Connection, Params, Result};

/// A message as far as a step needs it.
pub(super) struct Found {
    pub(super) id: i64,
    pub(super) channel: ChannelId,
    pub(super) msg_id: MsgId,
    pub(super) state: State,
}

impl Store {
    /// Ends an attempt. A settlement of an attempt that is not under way any more is ignored, so
    /// that a repeated call does nothing. The history of an attempt that decided nothing keeps
    /// `answer`.
    pub async fn settle(
        &self,
        handle: i64,
        settlement: Settlement,
        answer: String,
        now: UnixMs,
    ) -> Result<Folded, StoreError> {
        self.write(move |txn| {
            let mut folded = Folded::default();
            let Some(message) = find_where(txn.conn, "id = ?1 AND state = 1", [handle])?.pop()
            else {
                return Ok(folded);
            };
            match &settlement {
                Settlement::Accepted { receipt, taps } => {
                    receive(txn, &message, receipt, now)?;
                    keep_taps(txn, &message, taps)?;
                    events::match_early(txn, &message, receipt, now, &mut folded)?;
                }
                Settlement::Retry { due } => retry(txn, &message, *due, &answer, now)?,
                Settlement::Failed(refusal) => {
                    fail(txn, &message, refusal, false, now)?;
                    folded.ring.push(message.channel.clone());
                }
                Settlement::Unknown { until, taps } => {
                    lose(txn, &message, *until, &answer, now)?;
                    keep_taps(txn, &message, taps)?;
                }
            }
            // The end of this attempt may be what an unknown send of the same person waited for.
            evidence::weigh(txn, handle, now, &mut folded)?;
            Ok(folded)
        })
        .await
    }
}

fn receive(txn: &mut Txn<'_>, message: &Found, receipt: &Receipt, now: UnixMs) -> Result<()> {
    let next = message.state.after(Step::Receipt).map_err(damaged)?;
    txn.conn
        .prepare_cached(
            "UPDATE message SET state = 2, settled_at = ?2, provider_id = ?3, conversation = ?4,
                    history = history || ?5 WHERE id = ?1",
        )?
        .execute((
            message.id,
            now.0,
            receipt.provider_id.as_str(),
            &receipt.conversation,
            row::moment(now, "receipt", receipt.provider_id.as_str()),
        ))?;
    txn.deltas.moved(&message.channel, message.state, next);
    Ok(())
}

fn keep_taps(txn: &Txn<'_>, message: &Found, taps: &[Tap]) -> Result<()> {
    if taps.is_empty() {
        return Ok(());
    }
    let taps: Vec<_> = taps.iter().map(|tap| (&tap.label, &tap.payload)).collect();
    txn.conn
        .prepare_cached("UPDATE message SET taps = ?2 WHERE id = ?1")?
        .execute((message.id, serde_json::to_string(&taps).map_err(damaged)?))?;
    Ok(())
}

/// Back to the queue.
pub(super) fn retry(
    txn: &mut Txn<'_>,
    message: &Found,
    due: UnixMs,
    answer: &str,
    now: UnixMs,
) -> Result<()> {
    let next = message.state.after(Step::Retry).map_err(damaged)?;
    txn.conn
        .prepare_cached(
            "UPDATE message SET state = 0, due = ?2,
                    history = iif(length(history) < ?4, history || ?3, history) WHERE id = ?1",
        )?
        .execute((
            message.id,
            due.0,
            row::moment(now, "retry", answer),
            callbacks::HISTORY_LIMIT,
        ))?;
    txn.deltas.moved(&message.channel, message.state, next);
    Ok(())
}

/// Nobody knows what became of the attempt; evidence counts until `until`.
pub(super) fn lose(
    txn: &mut Txn<'_>,
    message: &Found,
    until: UnixMs,
    answer: &str,
    now: UnixMs,
) -> Result<()> {
    let next = message.state.after(Step::Lose).map_err(damaged)?;
    txn.conn
        .prepare_cached(
            "UPDATE message SET state = 3, due = ?2, history = history || ?3 WHERE id = ?1",
        )?
        .execute((message.id, until.0, row::moment(now, "unknown", answer)))?;
    txn.deltas.moved(&message.channel, message.state, next);
    Ok(())
}

/// Given up: MoEngage, which was told success, is told why. `lost` marks an outcome that nobody
/// knows, for which later evidence still counts.
pub(super) fn fail(
    txn: &mut Txn<'_>,
    message: &Found,
    refusal: &Refusal,
    lost: bool,
    now: UnixMs,
) -> Result<()> {
    let next = message.state.after(Step::Fail).map_err(damaged)?;
    txn.conn
        .prepare_cached(
            "UPDATE message SET state = 4, settled_at = ?2, lost = ?3, progress = ?4,
                    history = history || ?5 WHERE id = ?1",
        )?
        .execute((
            message.id,
            now.0,
            lost,
            events::rank(Some(Status::Failed)),
            row::moment(now, "failed", &refusal.to_string()),
        ))?;
    txn.deltas.moved(&message.channel, message.state, next);
    let entry = Callback::Status(StatusEntry {
        msg_id: message.msg_id.clone(),
        status: Status::Failed,
        at: now,
        error: Some(refusal.clone()),
    });
    callbacks::enqueue(txn, &message.channel, Some(message.id), &entry, now)
}

/// Messages by a condition on the table `message`.
pub(super) fn find_where(
    conn: &Connection,
    condition: &str,
    params: impl Params,
) -> Result<Vec<Found>> {
    let sql = format!("SELECT id, channel, msg_id, state FROM message WHERE {condition}");
    let mut select = conn.prepare_cached(&sql)?;
    let rows = select.query_map(params, |row| {
        Ok(Found {
            id: row.get(0)?,
            channel: channel_id(row.get_ref(1)?.as_str()?)?,
            msg_id: MsgId::parse(row.get_ref(2)?.as_str()?).map_err(damaged)?,
            state: state(row.get(3)?)?,
        })
    })?;
    rows.collect()
}

/// The state of a row: its number is its place in [`State::ALL`].
pub(super) fn state(number: i64) -> Result<State> {
    let place = usize::try_from(number).ok();
    let state = place.and_then(|place| State::ALL.get(place).copied());
    state.ok_or_else(|| damaged(format!("no state {number}")))
}

/// The phone number of a row.
pub(super) fn phone(number: i64) -> Result<Phone> {
    Phone::from_number(number.unsigned_abs()).map_err(damaged)
}
