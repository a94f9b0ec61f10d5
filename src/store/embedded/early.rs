//! Statuses that came before the receipt of their message: kept, known again, told once it is there.

use super::found::{self, Found};
use super::here::{self, Here};
use super::writer::Txn;
use super::{columns, crowd, damage, damaged, fold, signed};
use crate::domain::{
    AccountId, Phone, ProviderId, Receipt, Status, StatusEvent, UnixMs, stops_marketing,
};
use crate::store::{Folded, MOST_OF_ONE};
use rusqlite::{Connection, Result, Row};

/// What a row says in place of its text where the status named its person by a user id only: the number is
/// evidence, but whose the message is, the receipt will say, so it teaches nothing.
const LOOKED_UP: &str = "its number was looked up";

/// Keeps a status for the message whose receipt is still to come, with the number of its person, unless it says
/// nothing new.
pub(super) fn keep(
    txn: &mut Txn<'_>,
    here: &Here<'_>,
    event: &StatusEvent,
    to: Option<Phone>,
    folded: &mut Folded,
) -> Result<()> {
    let known = known(txn.conn, &here.rules.account, event, to)?;
    if known.says_this || known.rows >= MOST_OF_ONE {
        folded.superseded += 1;
        return Ok(());
    }
    if !crowd::has_room(txn, here)? {
        folded.no_room += 1;
        return Ok(());
    }
    folded.unmatched += 1;
    txn.conn
        .prepare_cached(
            // What Datastore was asked for once is not asked for again by a later event.
            "INSERT INTO event (account, channel, kind, provider_id, recipient, status, at,
                                received_at, error, asked, raw)
             VALUES (?1, ?2, 'status', ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute((
            here.rules.account.as_str(),
            here.rules.channel.as_str(),
            event.provider_id.as_str(),
            to.map(|phone| signed(phone.number())),
            event.status.as_str(),
            event.at.map(|at| at.0),
            here.now.0,
            &event.error,
            known.is_asked,
            (event.recipient != to).then_some(LOOKED_UP),
        ))?;
    crowd::trim_statuses(txn, here, folded)
}

/// What is kept of a message already.
#[derive(Default)]
struct Known {
    /// Up to [`MOST_OF_ONE`].
    rows: u32,
    /// Whether one is the same status, naming the same person if any, and opting them out if this one does.
    says_this: bool,
    is_asked: bool,
}

fn known(
    conn: &Connection,
    account: &AccountId,
    event: &StatusEvent,
    to: Option<Phone>,
) -> Result<Known> {
    let mut select = conn.prepare_cached(
        "SELECT status = ?3 AND (?4 IS NULL OR recipient IS ?4) AS same, error, asked FROM event
         WHERE account = ?1 AND provider_id = ?2 LIMIT ?5",
    )?;
    let mut rows = select.query((
        account.as_str(),
        event.provider_id.as_str(),
        event.status.as_str(),
        to.map(|phone| signed(phone.number())),
        MOST_OF_ONE,
    ))?;
    let mut known = Known::default();
    while let Some(row) = rows.next()? {
        let is_same = row.get::<_, Option<bool>>(0)? == Some(true);
        let text = row.get_ref(1)?.as_str().unwrap_or_default();
        known.rows += 1;
        known.says_this |= is_same && (!event.opts_out() || stops_marketing(text));
        known.is_asked |= row.get::<_, i64>(2)? == 1;
    }
    Ok(known)
}

/// Folds the events that came before the receipt, in the order they came.
pub(super) fn match_early(
    txn: &mut Txn<'_>,
    message: &Found,
    receipt: &Receipt,
    now: UnixMs,
    folded: &mut Folded,
) -> Result<()> {
    let Some(account) = found::account_of(txn.conn, message.id)? else {
        return Ok(());
    };
    let early = take_unmatched(txn.conn, &account, &receipt.provider_id)?;
    for (mut event, came) in early {
        // Read again each time: the fold before changed it.
        if let Some(matched) = fold::by_provider_id(txn.conn, &account, &receipt.provider_id)? {
            // By how much our clocks disagreed when it came is not kept, so the acceptance is no bound.
            fold::learn(txn, &matched, &event, folded)?;
            event.at = Some(here::believed(event.at, UnixMs(i64::MIN), came, folded));
            fold::fold(txn, &matched, &event, now, folded)?;
        }
    }
    Ok(())
}

fn recipient(row: &Row<'_>) -> Result<Option<Phone>> {
    let number: Option<i64> = row.get(4)?;
    let is_named = row.get_ref(5)?.as_str_or_null()? != Some(LOOKED_UP);
    number.filter(|_| is_named).map(columns::phone).transpose()
}

/// The statuses that wait for this id, each with when it came.
fn take_unmatched(
    conn: &Connection,
    account: &AccountId,
    id: &ProviderId,
) -> Result<Vec<(StatusEvent, UnixMs)>> {
    let mut select = conn.prepare_cached(
        "SELECT status, at, received_at, error, recipient, raw FROM event
         WHERE account = ?1 AND provider_id = ?2 AND kind = 'status' ORDER BY id",
    )?;
    let read = |row: &Row<'_>| {
        let word = row.get_ref(0)?.as_str()?;
        let at: Option<i64> = row.get(1)?;
        let event = StatusEvent {
            provider_id: id.clone(),
            status: Status::parse(word).ok_or_else(|| damaged(format!("no status {word}")))?,
            at: at.map(UnixMs),
            recipient: damage::readable(recipient(row))?.flatten(),
            user: None,
            error: row.get(3)?,
        };
        Ok((event, UnixMs(row.get(2)?)))
    };
    let rows = select.query_map((account.as_str(), id.as_str()), |row| {
        damage::readable(read(row))
    })?;
    let events: Vec<_> = rows.filter_map(Result::transpose).collect::<Result<_>>()?;
    if !events.is_empty() {
        conn.prepare_cached("DELETE FROM event WHERE account = ?1 AND provider_id = ?2")?
            .execute((account.as_str(), id.as_str()))?;
    }
    Ok(events)
}
