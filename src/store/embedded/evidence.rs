//! Evidence for sends whose outcome nobody knows (DESIGN G3).
//!
//! When exactly one unmatched provider id of the account names a recipient, and exactly one message
//! to that recipient has an unknown outcome, and none is being sent right now, then the id belongs
//! to that message. Anything less clear proves nothing.

use super::events;
use super::settle::{self, Found};
use super::writer::Txn;
use super::{damaged, signed};
use crate::domain::state::Step;
use crate::domain::{AccountId, Phone, ProviderId, Receipt, State, UnixMs};
use crate::store::{Folded, row};
use rusqlite::Result;

/// Weighs the evidence for the recipient of a message.
pub(super) fn weigh(txn: &mut Txn<'_>, id: i64, now: UnixMs, folded: &mut Folded) -> Result<()> {
    let recipient: i64 = txn
        .conn
        .prepare_cached("SELECT recipient FROM message WHERE id = ?1")?
        .query_row([id], |row| row.get(0))?;
    let account = events::account_of(txn.conn, id)?;
    weigh_recipient(txn, &account, settle::phone(recipient)?, now, folded)
}

/// Weighs the evidence for a recipient.
pub(super) fn weigh_recipient(
    txn: &mut Txn<'_>,
    account: &AccountId,
    recipient: Phone,
    now: UnixMs,
    folded: &mut Folded,
) -> Result<()> {
    let Some((message, attempted_at)) = only_unknown(txn, account, recipient)? else {
        return Ok(());
    };
    let Some(provider_id) = only_unmatched(txn, account, recipient, attempted_at)? else {
        return Ok(());
    };
    let next = message.state.after(Step::Evidence).map_err(damaged)?;
    txn.conn
        .prepare_cached(
            "UPDATE message SET state = 2, settled_at = ?2, lost = 0, provider_id = ?3,
                    inferred = 1, history = history || ?4 WHERE id = ?1",
        )?
        .execute((
            message.id,
            now.0,
            provider_id.as_str(),
            row::moment(
                now,
                "receipt",
                &format!("{} (inferred from a status)", provider_id.as_str()),
            ),
        ))?;
    txn.deltas.moved(&message.channel, message.state, next);
    folded.inferred += 1;
    let receipt = Receipt {
        provider_id,
        conversation: None,
    };
    events::match_early(txn, &message, &receipt, now, folded)
}

/// The one message to this recipient whose outcome is unknown, with the time of its last attempt.
fn only_unknown(
    txn: &Txn<'_>,
    account: &AccountId,
    recipient: Phone,
) -> Result<Option<(Found, i64)>> {
    let mut select = txn.conn.prepare_cached(
        "SELECT id, state, attempted_at FROM message
         WHERE (state = 1 OR state = 3 OR (state = 4 AND lost = 1))
           AND recipient = ?1 AND account = ?2",
    )?;
    let rows = select.query_map((signed(recipient.number()), account.as_str()), |row| {
        Ok((
            row.get::<_, i64>(0)?,
            settle::state(row.get(1)?)?,
            row.get::<_, i64>(2)?,
        ))
    })?;
    let candidates: Vec<_> = rows.collect::<Result<_>>()?;
    match candidates.as_slice() {
        [(id, state, attempted_at)] if *state != State::Attempting => {
            let found = settle::find_where(txn.conn, "id = ?1", [id])?.pop();
            Ok(found.map(|message| (message, *attempted_at)))
        }
        _ => Ok(None),
    }
}

/// The one provider id that names this recipient and matches no message.
fn only_unmatched(
    txn: &Txn<'_>,
    account: &AccountId,
    recipient: Phone,
    since: i64,
) -> Result<Option<ProviderId>> {
    // An id that was seen before the attempt belongs to another message.
    let mut select = txn.conn.prepare_cached(
        "SELECT provider_id FROM event WHERE account = ?1 AND recipient = ?2 AND kind = 'status'
         GROUP BY provider_id HAVING min(received_at) >= ?3 LIMIT 2",
    )?;
    let params = (account.as_str(), signed(recipient.number()), since);
    let rows = select.query_map(params, |row| {
        ProviderId::parse(row.get_ref(0)?.as_str()?).map_err(damaged)
    })?;
    let mut ids: Vec<ProviderId> = rows.collect::<Result<_>>()?;
    Ok(if ids.len() == 1 { ids.pop() } else { None })
}
