//! Evidence for sends whose outcome nobody knows (design.md G3).
//!
//! When exactly one unmatched provider id of the account names a recipient, and there is doubt about
//! exactly one message to that recipient, and it is not being sent right now, then the id belongs to
//! that message. Anything less clear proves nothing.

use super::found::{self, Found};
use super::writer::Txn;
use super::{alias, columns, damage, damaged, early, signed};
use crate::domain::proof::LastProof;
use crate::domain::state::Step;
use crate::domain::{AccountId, Life, Phone, ProviderId, Receipt, UnixMs, Writer};
use crate::store::{Folded, row};
use rusqlite::{Connection, Result, Row};

/// Infers the receipt of a message to the recipient of this one, where only one message fits.
pub(super) fn infer_receipt(
    txn: &mut Txn<'_>,
    id: i64,
    now: UnixMs,
    folded: &mut Folded,
) -> Result<()> {
    let account = found::account_of(txn.conn, id)?;
    match (account, recipient_of(txn.conn, id)?) {
        (Some(account), Some(recipient)) => infer_receipt_of(txn, &account, recipient, now, folded),
        _ => Ok(()),
    }
}

/// Whom a message goes to, if it can be read.
fn recipient_of(conn: &Connection, id: i64) -> Result<Option<Phone>> {
    conn.prepare_cached("SELECT recipient FROM message WHERE id = ?1")?
        .query_row([id], |row| damage::readable(columns::phone(row.get(0)?)))
}

/// Infers the receipt of the one message to a recipient that fits what statuses say.
pub(super) fn infer_receipt_of(
    txn: &mut Txn<'_>,
    account: &AccountId,
    recipient: Phone,
    now: UnixMs,
    folded: &mut Folded,
) -> Result<()> {
    let numbers = alias::numbers(txn, account, recipient)?;
    let Some((message, seen)) = only_provable(txn, account, &numbers)? else {
        return Ok(());
    };
    let Some(provider_id) = only_unmatched(txn, account, &numbers, seen)? else {
        return Ok(());
    };
    let next = message.step(txn, Writer::Status, Step::Evidence)?;
    txn.conn
        .prepare_cached(
            "UPDATE message SET state = ?2, settled_at = ?3, lost = ?4, provider_id = ?5,
                    inferred = 1, proof = ?7, history = history || ?6 WHERE id = ?1",
        )?
        .execute((
            message.id,
            columns::number(next.state),
            now.0,
            next.lost,
            provider_id.as_str(),
            row::moment(
                now,
                "receipt",
                &format!("{} (inferred from a status)", provider_id.as_str()),
            ),
            LastProof::Taken.number(),
        ))?;
    folded.inferred += 1;
    let receipt = Receipt {
        provider_id,
        conversation: None,
    };
    early::match_early(txn, &message, &receipt, now, folded)
}

/// The one message to the person of these numbers about which there is doubt, if a status proves it, with the last
/// event that had come when its last attempt began.
fn only_provable(
    txn: &Txn<'_>,
    account: &AccountId,
    numbers: &[Phone],
) -> Result<Option<(Found, i64)>> {
    // All in doubt, each half by its own small index.
    let mut select = txn.conn.prepare_cached(
        "SELECT id, state, resent, lost, seen FROM message
         WHERE (state = 1 OR state = 3 OR (state = 4 AND lost = 1))
           AND recipient = ?1 AND account = ?2
         UNION ALL
         SELECT id, state, resent, lost, seen FROM message
         WHERE (lost = 1 AND (state = 0 OR state = 2)) AND recipient = ?1 AND account = ?2",
    )?;
    let (mut lives, mut rows) = (Vec::new(), Vec::new());
    for number in numbers {
        let params = (signed(number.number()), account.as_str());
        let found = select.query_map(params, |row| {
            let life = columns::life(row.get(1)?, row.get(2)?, row.get(3)?)?;
            Ok((life, (row.get::<_, i64>(0)?, row.get::<_, i64>(4)?)))
        })?;
        for one in found {
            let (life, row) = one?;
            lives.push(life);
            rows.push(row);
        }
    }
    let Some((id, seen)) = Life::provable(&lives).and_then(|place| rows.get(place)) else {
        return Ok(None);
    };
    let found = found::find_where(txn.conn, "id = ?1", [id])?.pop();
    Ok(found.map(|message| (message, *seen)))
}

/// The one provider id that names this person and matches no message.
fn only_unmatched(
    txn: &Txn<'_>,
    account: &AccountId,
    numbers: &[Phone],
    seen: i64,
) -> Result<Option<ProviderId>> {
    // An id that was seen before the attempt belongs to another message, whomever it named then.
    let mut select = txn.conn.prepare_cached(
        "SELECT DISTINCT provider_id FROM event AS named
         WHERE account = ?1 AND recipient = ?2 AND id > ?3 AND kind = 'status'
           AND (SELECT min(first.id) FROM event AS first
                WHERE first.account = ?1 AND first.provider_id = named.provider_id) > ?3
         LIMIT 2",
    )?;
    let read = |row: &Row<'_>| ProviderId::parse(row.get_ref(0)?.as_str()?).map_err(damaged);
    let mut ids: Vec<Option<ProviderId>> = Vec::new();
    for number in numbers {
        let params = (account.as_str(), signed(number.number()), seen);
        for id in select.query_map(params, |row| damage::readable(read(row)))? {
            let id = id?;
            // The statuses of one send may name the person by both numbers.
            if id.is_none() || !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
    // One that cannot be read may be the right one, so beside it another proves nothing.
    Ok(ids.pop().flatten().filter(|_| ids.is_empty()))
}
