//! Who opted out, for an operator: look, add, lift, and take in a list. The only answers with whole numbers, so they
//! want a token.

mod file;

use super::problem::{Name, Problem};
use super::{OpsState, answer, view};
use crate::accounts::Channel;
use crate::clock;
use crate::domain::{OptOut, OptOutEntry, OptOutName, Source, UnixMs};
use crate::http::Payload;
use crate::store::{Entrance, StoreError};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

/// Entries that are looked at for one answer.
const MOST: u64 = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    channel: Option<String>,
    after: Option<String>,
}

/// A part of the list: of one channel, or of all one after another.
pub(super) async fn list(
    State(ops): State<OpsState>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Response, Problem> {
    let bad = "the query may have channel=ID, and after= as \"next\" of the answer before says";
    let Query(which) = which.map_err(|_| Problem::bad_request(bad))?;
    if ops.shared.token.is_none() {
        let detail = "this list has whole phone numbers: set OPS_TOKEN, restart the gateway, and present the token";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let (channel, from) = match &which.after {
        Some(after) => {
            let read = after.split_once(':').and_then(|(id, from)| {
                let channel = ops.shared.channels.get(id)?;
                Some((channel, from.parse().ok()?))
            });
            read.ok_or_else(|| Problem::bad_request(bad))?
        }
        None => match &which.channel {
            Some(id) => (ops.channel(id)?, 0),
            None => {
                let first = ops.shared.channels.iter().next();
                (
                    first.ok_or_else(|| Problem::not_found("there is no channel"))?,
                    0,
                )
            }
        },
    };
    let store = &ops.shared.outbox.store;
    let page = store.opt_outs(&channel.id, from, MOST).await?;
    let next = match page.next {
        Some(from) => Some(format!("{}:{from}", channel.id)),
        None if which.channel.is_some() => None,
        None => {
            let mut rest = ops.shared.channels.iter();
            let _ = rest.find(|one| one.id == channel.id);
            rest.next().map(|one| format!("{}:0", one.id))
        }
    };
    let items: Vec<Value> = page.entries.iter().map(shown).collect();
    tracing::info!(
        channel = %channel.id, opt_outs = items.len(), event = "operator_read_opt_outs",
        "an operator read opt-outs"
    );
    Ok(answer(&json!({ "items": items, "next": next })))
}

fn shown(one: &OptOutEntry) -> Value {
    json!({
        "channel": one.channel.as_str(),
        "number": one.name.text(),
        "scope": one.scope.as_str(),
        "since": if one.at.0 > 0 { view::time(one.at) } else { Value::Null },
        "source": one.source.as_str(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    number: String,
    scope: Option<String>,
}

pub(super) async fn add(
    State(ops): State<OpsState>,
    Name(id): Name,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    ops.change(async move |ops| say(ops, id, &body, true).await)
        .await
}

pub(super) async fn lift(
    State(ops): State<OpsState>,
    Name(id): Name,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    ops.change(async move |ops| say(ops, id, &body, false).await)
        .await
}

/// A person wants no messages of a channel, or wants them again, as an operator says.
async fn say(ops: OpsState, id: String, body: &[u8], is_out: bool) -> Result<Response, Problem> {
    let channel = ops.channel(&id)?;
    // The error of the parser could quote the body, which is a person's number.
    let wanted = "the body must be {\"number\": \"+...\"}, with \"scope\": \"all\" (the default) or \"marketing\"";
    let wrong = || Problem::bad_request(wanted);
    let person: Person = serde_json::from_slice(body).map_err(|_| wrong())?;
    let name = OptOutName::parse(&person.number).ok_or_else(wrong)?;
    let scope = person
        .scope
        .as_deref()
        .map_or(Some(OptOut::All), OptOut::parse);
    let entry = OptOutEntry {
        channel: channel.id.clone(),
        name,
        scope: scope.ok_or_else(wrong)?,
        is_out,
        at: clock::now(),
        source: Source::kept(Source::OPERATOR),
    };
    let scope = entry.scope.as_str();
    let changed = ops.take(channel, Entrance::Now, vec![entry]).await? > 0;
    tracing::info!(
        channel = id,
        scope,
        opted_out = is_out,
        changed,
        event = "operator_changed_opt_out",
        "an operator changed an opt-out"
    );
    Ok(answer(
        &json!({ "channel": id, "scope": scope, "opted_out": is_out, "changed": changed }),
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    /// Only looks whether it can be read.
    #[serde(default)]
    check: bool,
    /// In which line of a longer file it begins.
    #[serde(default)]
    line: u64,
}

/// Takes in a list, all of it or, where a line is wrong, nothing.
pub(super) async fn import(
    State(ops): State<OpsState>,
    how: Result<Query<How>, QueryRejection>,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    let bad = "the query may have check=true, and line= where a part of a file begins";
    let Query(how) = how.map_err(|_| Problem::bad_request(bad))?;
    let is_channel = |id: &str| ops.shared.channels.get(id).is_some();
    let entries = file::read(&body, how.line, clock::now(), is_channel).map_err(|error| {
        let detail = format!("nothing was imported: {error}");
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    })?;
    let rows = entries.len();
    if how.check {
        return Ok(answer(&json!({ "rows": rows, "changed": 0 })));
    }
    ops.change(async move |ops| {
        let mut changed = 0;
        for channel in ops.shared.channels.iter() {
            let of_channel = entries.iter().filter(|one| one.channel == channel.id);
            let of_channel: Vec<OptOutEntry> = of_channel.cloned().collect();
            changed += ops.take(channel, Entrance::Import, of_channel).await?;
        }
        tracing::info!(
            rows,
            changed,
            event = "operator_imported_opt_outs",
            "an operator imported opt-outs"
        );
        Ok(answer(&json!({ "rows": rows, "changed": changed })))
    })
    .await
}

impl OpsState {
    fn channel(&self, id: &str) -> Result<&std::sync::Arc<Channel>, Problem> {
        let found = self.shared.channels.get(id);
        found.ok_or_else(|| Problem::not_found(format!("there is no channel {id:?}")))
    }

    /// Takes what was said of people; for how many entries it changed something.
    async fn take(
        &self,
        channel: &Channel,
        entrance: Entrance,
        entries: Vec<OptOutEntry>,
    ) -> Result<usize, StoreError> {
        let store = &self.shared.outbox.store;
        let account = &channel.account.id;
        store.take_opt_outs(account, entrance, entries).await
    }
}

/// A time that is still to come would count before all that people say until then.
fn is_to_come(at: UnixMs, now: UnixMs) -> bool {
    at > now.plus(std::time::Duration::from_secs(60))
}
