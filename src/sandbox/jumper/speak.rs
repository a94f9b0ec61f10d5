//! Webhooks on demand: an arbitrary body, a status, or a person's reply, posted now. Used by the control API
//! and by the demo; builds bodies with `shape`, posts them with `courier`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    account::Account,
    courier::{self, About, Delivery},
    modes::Shape,
    send,
    shape::{self, FAILURES, Moment, Status, Subject},
    strange::{self, ReplyKind},
};
use crate::sandbox::{
    clock::now_ms,
    dice,
    notation::{decoded, digits},
    world::World,
};

/// An arbitrary body to post; `{"raw": "text"}` posts the text as it is, `bytes` the bytes.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::sandbox) struct RawWish {
    body: Value,
    /// In place of `body`: base64, or hex after `hex:`.
    bytes: Option<String>,
    message_id: Option<String>,
}

/// A well-formed status to post.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::sandbox) struct StatusWish {
    message_id: Option<String>,
    to: Option<String>,
    status: Status,
    shape: Option<Shape>,
    /// Epoch seconds.
    timestamp: Option<Value>,
}

/// A person's reply, or another `NEW` event, to post.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reply {
    /// Number of the person, whether or not anything was sent there; or
    pub to: Option<String>,
    /// the message replied to; with both, that message is answered from that number.
    pub message_id: Option<String>,
    /// Stands where the number would stand.
    pub user_id: Option<String>,
    /// What the person says.
    pub text: String,
    /// In place of `text`: what stands between its quotes, base64, or hex after `hex:`.
    pub bytes: Option<String>,
    /// How it arrives.
    pub kind: ReplyKind,
}

/// A body ready to be posted, with what it is called in the records.
pub(in crate::sandbox) struct Utterance {
    body: Vec<u8>,
    message_id: String,
    status: String,
    shape: &'static str,
}

/// The merchant of the message or recipient a wish names; the first merchant when it names none known.
pub(in crate::sandbox) fn whose(world: &World, wish: &[u8]) -> Result<Arc<Account>, String> {
    let wish: Value = serde_json::from_slice(wish).map_err(|error| error.to_string())?;
    let of = |name: &str| wish[name].as_str().map(str::to_owned);
    owner(world, of("message_id").as_deref(), of("to").as_deref())
}

fn owner(
    world: &World,
    message_id: Option<&str>,
    to: Option<&str>,
) -> Result<Arc<Account>, String> {
    let mut accounts = world.jumper.accounts(None)?;
    let knows = |account: &Arc<Account>| {
        let ledger = account.ledger();
        message_id.is_some_and(|id| ledger.find(id).is_some())
            || to.is_some_and(|to| ledger.latest(&digits(to)).is_some())
    };
    let at = accounts.iter().position(knows).unwrap_or(0);
    Ok(accounts.swap_remove(at))
}

/// The message meant: by id, which may be nobody's, or the latest to a number.
fn subject(
    world: &World,
    account: &Account,
    id: Option<String>,
    to: Option<String>,
) -> Result<Subject, String> {
    let to = to.as_deref().map(digits);
    let ledger = account.ledger();
    let known = match (&id, &to) {
        (Some(id), _) => ledger.find(id),
        (None, Some(to)) => ledger.latest(to),
        (None, None) => return Err("name a message_id or a recipient in to".to_owned()),
    };
    if let Some(send) = known {
        let subject = send.subject();
        let to = to.unwrap_or(subject.to);
        return Ok(Subject { to, ..subject });
    }
    drop(ledger);
    let to = to.unwrap_or_else(|| "12025550143".to_owned());
    Ok(Subject {
        message_id: id.unwrap_or_default(),
        conversation_id: send::conversation(world.seed, account, &to),
        to,
        template_id: String::new(),
    })
}

/// An arbitrary body.
pub(in crate::sandbox) fn raw(
    _: &World,
    _: &Arc<Account>,
    wish: RawWish,
) -> Result<Utterance, String> {
    let text = match &wish.body {
        Value::Object(object) if object.len() == 1 => object.get("raw").and_then(Value::as_str),
        _ => None,
    };
    let body = match (&wish.bytes, text) {
        (Some(bytes), _) => decoded(bytes)?,
        (None, Some(text)) => text.into(),
        (None, None) => wish.body.to_string().into(),
    };
    Ok(Utterance {
        body,
        message_id: wish.message_id.unwrap_or_default(),
        status: "raw".to_owned(),
        shape: "raw",
    })
}

/// A status.
pub(in crate::sandbox) fn status(
    world: &World,
    account: &Arc<Account>,
    wish: StatusWish,
) -> Result<Utterance, String> {
    let subject = subject(world, account, wish.message_id, wish.to)?;
    if subject.message_id.is_empty() {
        return Err("nothing was sent to this recipient".to_owned());
    }
    let shape = wish.shape.unwrap_or(Shape::Gen3).fit(wish.status);
    let given = match &wish.timestamp {
        None => None,
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => return Err("timestamp is a number of seconds".to_owned()),
    };
    let failure = (wish.status == Status::Failed).then_some(FAILURES[0]);
    let at_ms = given.map_or_else(now_ms, |seconds: u64| seconds.saturating_mul(1000));
    let moment = Moment {
        status: wish.status,
        at_ms,
        failure,
    };
    Ok(Utterance {
        body: shape::status(&subject, shape, &[moment]).to_string().into(),
        message_id: subject.message_id,
        status: wish.status.word().to_owned(),
        shape: shape.name(),
    })
}

/// Where the bytes of a reply come.
const PLACE: &str = "--bytes-come-here--";

/// A reply.
pub(in crate::sandbox) fn reply(
    world: &World,
    account: &Arc<Account>,
    wish: Reply,
) -> Result<Utterance, String> {
    let subject = subject(world, account, wish.message_id, wish.to)?;
    let id = dice::uuid(&mut world.loose_dice());
    let words = match &wish.bytes {
        Some(_) => PLACE,
        None => wish.text.as_str(),
    };
    let mut body = strange::inbound(&subject, wish.kind, words, &id, now_ms());
    if let Some(user_id) = wish.user_id {
        let data = &mut body["event"]["data"];
        data["mobilecountrycode"] = Value::Null;
        data["mobile"] = user_id.into();
    }
    let mut body = body.to_string().into_bytes();
    if let Some(bytes) = &wish.bytes {
        let place = |at: &[u8]| at == PLACE.as_bytes();
        let at = body.windows(PLACE.len()).position(place);
        let at = at.ok_or("this kind of reply says nothing")?;
        body.splice(at..at + PLACE.len(), decoded(bytes)?);
    }
    Ok(Utterance {
        body,
        message_id: subject.message_id,
        status: "inbound".to_owned(),
        shape: "reply",
    })
}

/// The merchant and the body of a reply.
pub(in crate::sandbox) fn answer(
    world: &World,
    wish: Reply,
) -> Result<(Arc<Account>, Utterance), String> {
    let account = owner(world, wish.message_id.as_deref(), wish.to.as_deref())?;
    let utterance = reply(world, &account, wish)?;
    Ok((account, utterance))
}

/// Posts it and keeps the record.
pub(in crate::sandbox) async fn say(
    world: &World,
    account: &Account,
    utterance: Utterance,
) -> Delivery {
    let delivery = courier::post(world, account, utterance.body.into()).await;
    let about = About {
        message_id: &utterance.message_id,
        status: utterance.status,
        shape: utterance.shape,
        order: 0,
        said_ms: Vec::new(),
    };
    courier::record(world, account, about, &delivery);
    delivery
}
