//! A status of a message whose id is known: folded into it, and queued for MoEngage.

use super::opt_out::{self, Home};
use super::writer::Txn;
use super::{callbacks, channel_id, columns, damage, damaged, history, link};
use crate::domain::{
    AccountId, Callback, ChannelId, MsgId, OptOut, Phone, Progress, ProviderId, Status,
    StatusEntry, StatusEvent, UnixMs,
};
use crate::store::{Folded, row};
use rusqlite::{Connection, OptionalExtension, Result, Row};

/// A message that an event belongs to.
pub(super) struct Matched {
    id: i64,
    channel: ChannelId,
    account: AccountId,
    msg_id: MsgId,
    /// Whom it goes to, if that can be read.
    pub(super) recipient: Option<Phone>,
    /// Whether its id was found by evidence.
    pub(super) inferred: bool,
    progress: Progress,
    history_len: i64,
    /// When it was accepted.
    pub(super) accepted_at: UnixMs,
}

/// The message that has this id.
pub(super) fn by_provider_id(
    conn: &Connection,
    account: &AccountId,
    id: &ProviderId,
) -> Result<Option<Matched>> {
    conn.prepare_cached(
        "SELECT id, channel, msg_id, progress, length(history), accepted_at, recipient, inferred
           FROM message
         WHERE account = ?1 AND provider_id = ?2",
    )?
    .query_row((account.as_str(), id.as_str()), |row| {
        damage::readable(matched(account, row))
    })
    .optional()
    .map(Option::flatten)
}

fn matched(account: &AccountId, row: &Row<'_>) -> Result<Matched> {
    Ok(Matched {
        id: row.get(0)?,
        channel: channel_id(row.get_ref(1)?.as_str()?)?,
        account: account.clone(),
        msg_id: MsgId::parse(row.get_ref(2)?.as_str()?).map_err(damaged)?,
        progress: columns::progress(row.get(3)?),
        history_len: row.get(4)?,
        accepted_at: UnixMs(damage::readable(row.get(5))?.unwrap_or_default()),
        recipient: damage::readable(row.get(6).and_then(columns::phone))?,
        // One that cannot be read teaches nothing.
        inferred: damage::readable(row.get(7))?.unwrap_or(true),
    })
}

/// What a status of a message says of its person. An id that was found by whom a status names teaches
/// nothing of that.
pub(super) fn learn(
    txn: &mut Txn<'_>,
    message: &Matched,
    event: &StatusEvent,
    folded: &mut Folded,
) -> Result<()> {
    let Some(to) = message.recipient.filter(|_| !message.inferred) else {
        return Ok(());
    };
    let named = event.into();
    folded.alias_conflicts += link::learn(txn, &message.account, to, message.id, &named)?;
    Ok(())
}

/// Folds a status into its message, and tells MoEngage where it is news.
pub(super) fn fold(
    txn: &mut Txn<'_>,
    message: &Matched,
    event: &StatusEvent,
    now: UnixMs,
    folded: &mut Folded,
) -> Result<()> {
    // Whatever MoEngage is told: it is about the person, not about this message.
    let home = Home {
        account: &message.account,
        channel: &message.channel,
    };
    let opts_out = event.opts_out()
        && match message.recipient {
            Some(to) => opt_out::by_status(txn, home, to, now)?,
            None => false,
        };
    if opts_out {
        folded.opt_out(OptOut::Marketing);
    }
    let (next, emit) = message.progress.fold(event.status);
    if !emit {
        folded.superseded += 1;
        let mut detail = format!("{} after {}", event.status, word(message.progress));
        if let Some(error) = event.failure().filter(|_| opts_out) {
            detail = format!("{detail}: {}", error.reason);
        }
        return history::note(txn, Some(message.id), now, "superseded", &detail);
    }
    folded.emitted += 1;
    let at = event.at.unwrap_or(now);
    let error = event.failure();
    let mut detail = event.status.to_string();
    if let Some(error) = &error {
        detail = format!("{detail}: {}", error.reason);
    }
    let line = row::moment(now, "status", &detail);
    let line = if message.history_len < 2 * history::HISTORY_LIMIT {
        line
    } else {
        String::new()
    };
    txn.conn
        .prepare_cached("UPDATE message SET progress = ?2, history = history || ?3 WHERE id = ?1")?
        .execute((message.id, columns::rank(next.status()), line))?;
    let entry = Callback::Status(StatusEntry {
        msg_id: message.msg_id.clone(),
        status: event.status,
        at,
        error,
    });
    callbacks::enqueue(txn, &message.channel, Some(message.id), &entry, now)?;
    if !folded.wake.contains(&message.channel) {
        folded.wake.push(message.channel.clone());
    }
    Ok(())
}

fn word(progress: Progress) -> &'static str {
    progress.status().map_or("nothing", Status::as_str)
}
