//! What happened to this message? By MoEngage's id, by the provider's id, by the phone number.

use super::problem::Problem;
use super::{Desk, answer, view};
use crate::domain::Phone;
use crate::http::Payload;
use crate::store::{Record, Search, StoreError};
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

/// Messages shown at once: the newest of a person.
const MOST: usize = 20;

pub(super) async fn message(
    State(desk): State<Desk>,
    Path(msg_id): Path<String>,
) -> Result<Response, Problem> {
    let found = by_msg_id(&desk, &msg_id).await?;
    match found.first() {
        Some(record) => Ok(answer(&view::record(record))),
        None => Err(Problem::not_found("no message of this id is kept")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    id: String,
}

/// In the body and not in the path, because a phone number may be asked for.
pub(super) async fn search(
    State(desk): State<Desk>,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    let wanted: Wanted = serde_json::from_slice(&body)
        .map_err(|_| Problem::bad_request("the body must be {\"id\": \"...\"}"))?;
    let found = find(&desk, wanted.id.trim()).await?;
    let found: Vec<Value> = found.iter().map(view::record).collect();
    Ok(answer(&json!({ "messages": found })))
}

async fn find(desk: &Desk, id: &str) -> Result<Vec<Record>, StoreError> {
    let mut found = by_msg_id(desk, id).await?;
    if found.is_empty() {
        for account in desk.shared.accounts.keys() {
            let by = Search::ProviderId(account.clone(), id.to_owned());
            found.extend(desk.shared.outbox.store.find(by, MOST).await?);
        }
    }
    if let (true, Ok(phone)) = (found.is_empty(), Phone::parse(id)) {
        found = desk
            .shared
            .outbox
            .store
            .find(Search::Phone(phone), MOST)
            .await?;
    }
    Ok(found)
}

async fn by_msg_id(desk: &Desk, id: &str) -> Result<Vec<Record>, StoreError> {
    let mut found = Vec::new();
    for channel in desk.shared.channels.iter() {
        let by = Search::MsgId(channel.id.clone(), id.to_owned());
        found.extend(desk.shared.outbox.store.find(by, 1).await?);
    }
    Ok(found)
}
