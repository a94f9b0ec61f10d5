//! Writes D and E in one: an event is stored, matched, folded and queued for MoEngage in the same
//! transaction, so that a receipt and an event can never miss each other.

use super::ledger::Counter;
use super::opt_out;
use super::writer::Txn;
use super::{
    Store, alias, callbacks, crowd, damage, damaged, early, evidence, history, settle, signed,
};
use crate::domain::{
    AccountId, BELIEVED, Callback, ChannelId, Incoming, MsgId, OptOut, Phone, Progress, ProviderId,
    Status, StatusEntry, StatusEvent, UnixMs,
};
use crate::store::{EventRules, Folded, StoreError, row};
use rusqlite::{Connection, OptionalExtension, Result, Row};
use std::sync::Arc;
use tokio::time::Instant;

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
    accepted_at: UnixMs,
}

impl Store {
    /// Stores what a webhook brought, in its order. On return it is synced to disk.
    pub async fn take_events(
        &self,
        rules: Arc<EventRules>,
        events: impl Into<Arc<[Incoming]>>,
        now: UnixMs,
        begin_by: Instant,
    ) -> Result<Folded, StoreError> {
        // A nearly full disk has room left for what concerns messages; a file that is gone has none.
        self.shared.disk.intact()?;
        let events = events.into();
        let tight = self.shared.disk.check().is_err();
        let taken = self.step("events", move |txn| {
            // The caller was told that it is not stored: to store it now would be to do it twice.
            if Instant::now() >= begin_by {
                return Ok(None);
            }
            let mut folded = Folded::default();
            let here = Here {
                rules: &rules,
                now,
                tight,
            };
            for event in events.iter() {
                let mut count = 1;
                match event {
                    Incoming::Status(status) => take_status(txn, &here, status, &mut folded)?,
                    Incoming::Reply(reply) => {
                        super::replies::take(txn, &here, reply, &mut folded)?;
                    }
                    Incoming::Other { kind, raw, times } => {
                        keep_other(txn, &here, kind, raw, &mut folded)?;
                        folded.other.push((kind, *times));
                        count = *times;
                    }
                }
                txn.deltas
                    .add(&rules.channel, Counter::Events, count.into());
            }
            Ok(Some(folded))
        });
        let busy = || StoreError::Unavailable("the disk was too slow to begin in time".into());
        taken.await?.ok_or_else(busy)
    }
}

/// Where and when an event came in.
pub(super) struct Here<'a> {
    pub(super) rules: &'a EventRules,
    pub(super) now: UnixMs,
    /// Whether the disk is nearly full: what strangers can make up must not fill it.
    pub(super) tight: bool,
}

impl Here<'_> {
    /// When an event of a message happened: when it came, where it does not say, or says what nobody
    /// believes.
    pub(super) fn believed(
        &self,
        at: Option<UnixMs>,
        accepted: UnixMs,
        folded: &mut Folded,
    ) -> UnixMs {
        // An acceptance that lies ahead was dated by a clock that had leapt.
        let accepted = accepted.min(self.now);
        believed(at, accepted.minus(self.rules.early()), self.now, folded)
    }
}

/// The same for what came at another time.
pub(super) fn believed(
    at: Option<UnixMs>,
    earliest: UnixMs,
    came: UnixMs,
    folded: &mut Folded,
) -> UnixMs {
    match at {
        Some(at) if (earliest..=came.plus(BELIEVED)).contains(&at) => at,
        Some(_) => {
            folded.misdated += 1;
            came
        }
        None => came,
    }
}

fn take_status(
    txn: &mut Txn<'_>,
    here: &Here<'_>,
    event: &StatusEvent,
    folded: &mut Folded,
) -> Result<()> {
    if let Some(message) = by_provider_id(txn.conn, &here.rules.account, &event.provider_id)? {
        learn(txn, &message, event, folded)?;
        let at = here.believed(event.at, message.accepted_at, folded);
        let event = StatusEvent {
            at: Some(at),
            ..event.clone()
        };
        return fold(txn, &message, &event, here.now, folded);
    }
    let to = super::named::number_of(txn, &here.rules.account, event)?;
    early::keep(txn, here, event, to, folded)?;
    match to {
        Some(recipient) => {
            evidence::weigh_recipient(txn, &here.rules.account, recipient, here.now, folded)
        }
        None => Ok(()),
    }
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
    folded.alias_conflicts += alias::learn(txn, &message.account, to, message.id, &named)?;
    Ok(())
}

/// Keeps an event that is not relayed, for a person to look at.
pub(super) fn keep_other(
    txn: &mut Txn<'_>,
    here: &Here<'_>,
    kind: &str,
    raw: &str,
    folded: &mut Folded,
) -> Result<()> {
    if here.tight {
        folded.crowded_out += 1;
        return Ok(());
    }
    txn.conn
        .prepare_cached(
            "INSERT INTO event (account, channel, kind, received_at, raw)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((
            here.rules.account.as_str(),
            here.rules.channel.as_str(),
            kind,
            here.now.0,
            raw,
        ))?;
    crowd::trim_others(txn, here, folded)
}

/// The account of a message, if it can be read.
pub(super) fn account_of(conn: &Connection, id: i64) -> Result<Option<AccountId>> {
    let account = |row: &Row<'_>| AccountId::parse(row.get_ref(0)?.as_str()?).map_err(damaged);
    conn.prepare_cached("SELECT account FROM message WHERE id = ?1")?
        .query_row([id], |row| damage::readable(account(row)))
}

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
        channel: super::channel_id(row.get_ref(1)?.as_str()?)?,
        account: account.clone(),
        msg_id: MsgId::parse(row.get_ref(2)?.as_str()?).map_err(damaged)?,
        progress: progress(row.get(3)?),
        history_len: row.get(4)?,
        accepted_at: UnixMs(damage::readable(row.get(5))?.unwrap_or_default()),
        recipient: damage::readable(row.get(6).and_then(settle::phone))?,
        // One that cannot be read teaches nothing.
        inferred: damage::readable(row.get(7))?.unwrap_or(true),
    })
}

pub(super) fn fold(
    txn: &mut Txn<'_>,
    message: &Matched,
    event: &StatusEvent,
    now: UnixMs,
    folded: &mut Folded,
) -> Result<()> {
    // Whatever MoEngage is told: it is about the person, not about this message.
    let home = opt_out::Home {
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
        .execute((message.id, rank(next.status()), line))?;
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

/// The number that a row keeps for a progress: 0 for none, then the rank.
pub(super) fn rank(status: Option<Status>) -> i64 {
    let place = status.and_then(|status| Status::ALL.iter().position(|known| *known == status));
    place.map_or(0, |place| signed(place as u64) + 1)
}

/// The progress that a row keeps as this number.
pub(super) fn progress(rank: i64) -> Progress {
    let place = rank
        .checked_sub(1)
        .and_then(|place| usize::try_from(place).ok());
    Progress::at(place.and_then(|place| Status::ALL.get(place).copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_reads_back() {
        for status in [None].into_iter().chain(Status::ALL.map(Some)) {
            assert_eq!(progress(rank(status)).status(), status);
        }
    }
}
