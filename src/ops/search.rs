//! What happened to this message? By MoEngage's id, by the provider's id, by the phone number; in
//! the outbox and, where that knows nothing, in Datastore.

use super::problem::{Name, Problem};
use super::why::{self, ChannelFacts, Place, Reason, Site};
use super::{OpsState, answer, records, view};
use crate::domain::{Person, Phone, State};
use crate::http::Payload;
use crate::records::Kept;
use crate::store::{Record, Search, StoreError};
use axum::extract::rejection::QueryRejection;
use axum::extract::{self, Query};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

/// Messages shown at once: the newest of a person.
const MOST: usize = 20;

#[derive(Deserialize)]
pub(super) struct On {
    channel: Option<String>,
}

/// Ids are MoEngage's, so several channels may have one of the same id: the first is shown and the
/// others are named, unless the query says which channel is meant.
pub(super) async fn message(
    extract::State(ops): extract::State<OpsState>,
    Name(msg_id): Name,
    on: Result<Query<On>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(on) = on.map_err(|_| Problem::bad_request("the query must be channel=..."))?;
    let mut found = by_msg_id(&ops, &msg_id).await?;
    if let Some(channel) = &on.channel {
        found.retain(|record| record.channel.as_str() == channel);
    }
    let Some((first, others)) = found.split_first() else {
        return elsewhere(&ops, &msg_id, &on).await;
    };
    let mut value = shown(&ops, first, &Site::read(&ops).await, true).await;
    if !others.is_empty() {
        let others = others.iter().map(|record| record.channel.as_str());
        value["also_on"] = others.collect::<Vec<_>>().into();
    }
    Ok(answer(&value))
}

/// A message that only Datastore still knows.
async fn elsewhere(ops: &OpsState, msg_id: &str, on: &On) -> Result<Response, Problem> {
    let elsewhere = records::find(ops, msg_id).await;
    // Compared as it is kept: what is shown is masked.
    let is_it = |one: &&Kept| {
        let channel = on.channel.as_ref();
        one.msg_id.as_str() == msg_id && channel.is_none_or(|wanted| one.channel == *wanted)
    };
    match elsewhere.messages.iter().find(is_it) {
        Some(kept) => Ok(answer(&records::record(kept))),
        None => Err(Problem::not_found(match elsewhere.note {
            Some(note) => format!("no message of this id is kept here. {note}"),
            None => "no message of this id is kept".to_owned(),
        })),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    id: String,
}

/// In the body and not in the path, because a phone number may be asked for.
pub(super) async fn search(
    extract::State(ops): extract::State<OpsState>,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    let wanted: Wanted = serde_json::from_slice(&body)
        .map_err(|_| Problem::bad_request("the body must be {\"id\": \"...\"}"))?;
    let found = find(&ops, &wanted.id).await?;
    let site = Site::read(&ops).await;
    let (mut messages, mut note) = (Vec::new(), None);
    for one in &found {
        messages.push(shown(&ops, one, &site, found.len() == 1).await);
    }
    if messages.is_empty() {
        let elsewhere = records::find(&ops, &wanted.id).await;
        messages = elsewhere.messages.iter().map(records::record).collect();
        note = elsewhere.note;
    }
    Ok(answer(&json!({ "messages": messages, "note": note })))
}

/// The message, and why it waits if it does; with its place in the queue, which is counted, where it is
/// the only one that is shown.
async fn shown(ops: &OpsState, record: &Record, site: &Site, alone: bool) -> Value {
    let why = why_of(ops, record, site, alone).await;
    view::record(record, why.as_ref())
}

async fn why_of(ops: &OpsState, record: &Record, site: &Site, alone: bool) -> Option<Reason> {
    if record.state != State::Queued {
        return None;
    }
    let channel = ops.shared.channels.get(record.channel.as_str())?;
    let facts = ChannelFacts::read(ops, channel)?;
    let store = &ops.shared.outbox.store;
    let ahead = match record.due {
        // What waits for its turn has a place; counting is for people and may fail.
        Some(due) if alone && due <= site.now => store.ahead(&record.channel, due).await.ok(),
        _ => None,
    };
    Some(why::message(site, &facts, &Place::of(record, ahead)))
}

async fn find(ops: &OpsState, id: &str) -> Result<Vec<Record>, StoreError> {
    let mut found = by_msg_id(ops, id).await?;
    let id = id.trim();
    if found.is_empty() {
        for one in &ops.shared.accounts {
            let by = Search::ProviderId(one.account.id.clone(), id.to_owned());
            found.extend(ops.shared.outbox.store.find(by, MOST).await?);
        }
    }
    if let (true, Ok(phone)) = (found.is_empty(), Phone::parse(id)) {
        for number in numbers_of(ops, phone).await? {
            let by = Search::Phone(number);
            found.extend(ops.shared.outbox.store.find(by, MOST).await?);
        }
        found.sort_by_key(|record| std::cmp::Reverse(record.accepted_at));
        found.truncate(MOST);
    }
    Ok(found)
}

/// All numbers of a person, those too that any account learnt.
async fn numbers_of(ops: &OpsState, phone: Phone) -> Result<Vec<Phone>, StoreError> {
    let mut numbers: Vec<Phone> = Person::of(phone).numbers().collect();
    for one in &ops.shared.accounts {
        let store = &ops.shared.outbox.store;
        for number in store.numbers_of(&one.account.id, phone).await? {
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
    }
    Ok(numbers)
}

async fn by_msg_id(ops: &OpsState, id: &str) -> Result<Vec<Record>, StoreError> {
    let mut found = Vec::new();
    for channel in ops.shared.channels.iter() {
        let by = Search::MsgId(channel.id.clone(), id.to_owned());
        found.extend(ops.shared.outbox.store.find(by, 1).await?);
    }
    Ok(found)
}
