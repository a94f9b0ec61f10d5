//! Statuses whose message only Datastore still knows: which ids to ask for, and what the answer does.

use super::columns::rank;
use super::found::{self, Found};
use super::writer::Txn;
use super::{Store, channel_id, columns, damage, damaged, early, signed};
use crate::domain::state::Step;
use crate::domain::{
    AccountId, Life, Message, Names, Person, Phone, ProviderId, Receipt, State, Template, UnixMs,
    Writer,
};
use crate::store::{Adopted, Folded, StoreError, Unmatched, row};
use rusqlite::{Connection, OptionalExtension, Result, Row};

impl Store {
    /// Provider ids of the account whose statuses came before `received_before`, that no message
    /// matched, and that Datastore was not asked for; at most `most`. The order is told where this is
    /// called through ([`crate::store::Outbox::unmatched`]).
    pub async fn unmatched(
        &self,
        account: &AccountId,
        received_before: UnixMs,
        most: usize,
    ) -> std::result::Result<Vec<Unmatched>, StoreError> {
        let account = account.clone();
        self.read(move |conn| {
            let first = oldest(conn, &account, received_before, most)?;
            if first.len() < most {
                // All of them are asked for: whose turn it is makes no difference.
                return Ok(first);
            }
            let mut ids = of_people_in_doubt(conn, &account, received_before, most / 2)?;
            first.into_iter().for_each(|one| add(&mut ids, Some(one)));
            ids.truncate(most);
            Ok(ids)
        })
        .await
    }

    /// Takes what Datastore said about an id. `None`: it knows nothing either, and is not asked
    /// again; the statuses stay until they are too old. Else the message is kept as accepted by the
    /// provider, outside the ledger, and its waiting statuses are folded and relayed.
    ///
    /// Where a message of this `msg_id` is here already, it decides: failed or unknown, the record is
    /// its proof, and the id becomes its receipt; queued, being sent or with another receipt, it is
    /// left as it is and the statuses stay, because they are of another send of the same message.
    pub async fn adopt(
        &self,
        account: &AccountId,
        provider_id: &ProviderId,
        found: Option<Adopted>,
        now: UnixMs,
    ) -> std::result::Result<Folded, StoreError> {
        self.shared.disk.intact()?;
        let (account, provider_id) = (account.clone(), provider_id.clone());
        self.write(move |txn| {
            let mut folded = Folded::default();
            let id = Id {
                account: &account,
                provider: &provider_id,
            };
            if let Some(adopted) = &found
                && let Some(message) = take_in(txn, id, adopted, now)?
            {
                let receipt = Receipt {
                    provider_id: provider_id.clone(),
                    conversation: None,
                };
                early::match_early(txn, &message, &receipt, now, &mut folded)?;
            }
            txn.conn
                .prepare_cached(
                    "UPDATE event SET asked = 1 WHERE account = ?1 AND provider_id = ?2",
                )?
                .execute((account.as_str(), provider_id.as_str()))?;
            Ok(folded)
        })
        .await
    }
}

/// The ids that came first.
fn oldest(
    conn: &Connection,
    account: &AccountId,
    received_before: UnixMs,
    most: usize,
) -> Result<Vec<Unmatched>> {
    let mut select = conn.prepare_cached(
        "SELECT provider_id, channel, received_at FROM event
         WHERE account = ?1 AND kind = 'status' AND asked = 0 AND received_at < ?2
         ORDER BY received_at",
    )?;
    let mut rows = select.query((account.as_str(), received_before.0))?;
    let mut ids = Vec::new();
    while ids.len() < most {
        let Some(row) = rows.next()? else { break };
        add(&mut ids, damage::readable(read(row))?);
    }
    Ok(ids)
}

/// Messages in doubt that are looked at: those whose hold ends first.
const MOST_IN_DOUBT: i64 = 500;
/// Statuses of one person that are looked at: who is named by more has nothing to prove.
const MOST_OF_A_PERSON: i64 = 100;

/// One such id of each person who has a message in doubt: it may be all that stands in the way of a proof.
fn of_people_in_doubt(
    conn: &Connection,
    account: &AccountId,
    received_before: UnixMs,
    most: usize,
) -> Result<Vec<Unmatched>> {
    let mut in_doubt = conn.prepare_cached(
        "SELECT recipient FROM message WHERE state = 3 AND account = ?1 ORDER BY due LIMIT ?2",
    )?;
    let mut select = conn.prepare_cached(
        "SELECT provider_id, channel, received_at, asked FROM event INDEXED BY event_recipient
         WHERE account = ?1 AND recipient = ?2 AND kind = 'status' LIMIT ?3",
    )?;
    let mut ids = Vec::new();
    let mut people = in_doubt.query((account.as_str(), MOST_IN_DOUBT))?;
    while let Some(row) = people.next()?
        && ids.len() < most
    {
        let Some(phone) = damage::readable(row.get(0).and_then(columns::phone))? else {
            continue;
        };
        for number in Person::of(phone).numbers() {
            let params = (account.as_str(), signed(number.number()), MOST_OF_A_PERSON);
            let mut rows = select.query(params)?;
            while let Some(row) = rows.next()? {
                let one = damage::readable(read(row))?;
                let one = one.filter(|one| one.received_at < received_before);
                if one.is_some() && row.get::<_, i64>(3)? == 0 {
                    add(&mut ids, one);
                    break;
                }
            }
        }
    }
    ids.truncate(most);
    Ok(ids)
}

/// Adds an id that is not among them.
fn add(ids: &mut Vec<Unmatched>, one: Option<Unmatched>) {
    ids.extend(one.filter(|one| ids.iter().all(|known| known.provider_id != one.provider_id)));
}

fn read(row: &Row<'_>) -> Result<Unmatched> {
    Ok(Unmatched {
        provider_id: ProviderId::parse(row.get_ref(0)?.as_str()?).map_err(damaged)?,
        channel: channel_id(row.get_ref(1)?.as_str()?)?,
        received_at: UnixMs(row.get(2)?),
    })
}

/// An id of the provider on an account.
#[derive(Clone, Copy)]
struct Id<'a> {
    /// The account.
    account: &'a AccountId,
    /// What the provider calls the message.
    provider: &'a ProviderId,
}

/// The message that the id belongs to from now on, if it may.
fn take_in(txn: &mut Txn<'_>, id: Id<'_>, adopted: &Adopted, now: UnixMs) -> Result<Option<Found>> {
    let owner = found::find_where(
        txn.conn,
        "account = ?1 AND provider_id = ?2",
        (id.account.as_str(), id.provider.as_str()),
    )?;
    if let Some(message) = owner.into_iter().next() {
        return Ok(Some(message));
    }
    let here = found::find_where(
        txn.conn,
        "channel = ?1 AND msg_id = ?2",
        (adopted.channel.as_str(), adopted.msg_id.as_str()),
    )?;
    match here.into_iter().next() {
        None => insert(txn, id, adopted, now).map(Some),
        Some(message) if message.life.after(Writer::Record, Step::Evidence).is_ok() => {
            prove(txn, &message, id.provider, adopted.inferred, now)?;
            Ok(Some(message))
        }
        Some(message) => {
            tracing::warn!(channel = %message.channel, msg_id = %message.msg_id, provider_id = %id.provider,
                state = %message.life.state,
                event = "record_conflict",
                "Datastore has a record of this message with another provider id; the message here \
                 is left as it is, and statuses of that id are not relayed");
            Ok(None)
        }
    }
}

fn insert(txn: &Txn<'_>, id: Id<'_>, adopted: &Adopted, now: UnixMs) -> Result<Found> {
    let to = match adopted.to {
        Some(to) => to,
        // An early version of the old connector did not record whom it sent to.
        None => named(txn, id)?.unwrap_or(adopted.from.phone()),
    };
    let message = Message {
        msg_id: adopted.msg_id.clone(),
        from: adopted.from.clone(),
        to,
        template: Template {
            name: adopted.template.clone(),
            language: adopted.language.clone(),
            header: None,
            body: Vec::new(),
            buttons: Vec::new(),
            names: Names::default(),
        },
        is_damaged: false,
        campaign: adopted.campaign.as_deref().map(Into::into),
    };
    txn.conn
        .prepare_cached(
            "INSERT INTO message (channel, msg_id, account, recipient, state, due, accepted_at,
                                  settled_at, progress, provider_id, conversation, body, history,
                                  version, inferred)
             VALUES (?1, ?2, ?3, ?4, 2, ?5, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute((
            adopted.channel.as_str(),
            adopted.msg_id.as_str(),
            id.account.as_str(),
            signed(to.number()),
            adopted.accepted_at.0,
            now.0,
            rank(adopted.progress.status()),
            id.provider.as_str(),
            &adopted.conversation,
            row::write_message(&message),
            row::moment(now, "adopted", id.provider.as_str()),
            signed(adopted.version),
            // Whose it is, nobody told us: what is said of it later teaches nothing of them.
            adopted.inferred || adopted.to.is_none(),
        ))?;
    Ok(Found {
        id: txn.conn.last_insert_rowid(),
        channel: adopted.channel.clone(),
        msg_id: adopted.msg_id.clone(),
        life: Life {
            state: State::Accepted,
            ..Life::NEW
        },
    })
}

/// Whom the waiting statuses name.
fn named(txn: &Txn<'_>, id: Id<'_>) -> Result<Option<Phone>> {
    txn.conn
        .prepare_cached(
            // The plus keeps SQLite from an index of all recipients of the account.
            "SELECT recipient FROM event
             WHERE account = ?1 AND provider_id = ?2 AND +recipient IS NOT NULL LIMIT 1",
        )?
        .query_row((id.account.as_str(), id.provider.as_str()), |row| {
            damage::readable(columns::phone(row.get(0)?))
        })
        .optional()
        .map(Option::flatten)
}

/// The record proves that the provider took the message.
fn prove(
    txn: &mut Txn<'_>,
    message: &Found,
    id: &ProviderId,
    inferred: bool,
    now: UnixMs,
) -> Result<()> {
    let next = message.step(txn, Writer::Record, Step::Evidence)?;
    let line = format!("{} (from Datastore)", id.as_str());
    txn.conn
        .prepare_cached(
            "UPDATE message SET state = ?2, settled_at = ?3, lost = ?4, provider_id = ?5,
                    inferred = max(inferred, ?7), history = history || ?6 WHERE id = ?1",
        )?
        .execute((
            message.id,
            columns::number(next.state),
            now.0,
            next.lost,
            id.as_str(),
            row::moment(now, "receipt", &line),
            inferred,
        ))?;
    Ok(())
}
