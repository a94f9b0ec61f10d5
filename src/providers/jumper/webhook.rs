//! What Jumper's webhook says, in our own words.
//!
//! Three generations of shapes occur in one stream (contracts/jumper.md section 6): chat messages,
//! the Vonage Messages API's statuses and Meta's statuses. All are read, every element of a batch
//! in its order. Pure: never panics, never yields nothing, never decides what an event means for a
//! message.

pub mod elsewhere;
mod found;
mod moment;
mod reason;
pub mod receive;
pub mod routes;
pub mod secret;
mod words;

pub use found::{MOST_ELEMENTS, TooMany};

use super::wire::{text, truthy};
use crate::domain::{Incoming, Phone, ProviderId, Reply, Status, StatusEvent, UserId};
use crate::json;
use found::{Found, UNREADABLE, other};
use moment::moment;
use serde_json::Value;

/// What a template send of ours looks like as a chat message.
const TEMPLATE_MARK: &str = super::TEMPLATE_MARK;

/// Reads one webhook body. The result is never empty.
pub fn parse(body: &json::Tree) -> Result<Vec<Incoming>, TooMany> {
    let mut found = Found {
        is_damaged: body.is_damaged,
        ..Found::default()
    };
    let body = &body.value;
    match body {
        Value::Array(items) => {
            for item in items {
                envelope(item, &mut found)?;
            }
        }
        _ => envelope(body, &mut found)?,
    }
    if found.events.is_empty() {
        found.push(other(UNREADABLE, body))?;
    }
    Ok(found.events)
}

fn envelope(body: &Value, found: &mut Found) -> Result<(), TooMany> {
    let event = body.get("event").unwrap_or(body);
    let data = event.get("data").unwrap_or(event);
    if !data.is_object() {
        return found.push(other(UNREADABLE, body));
    }
    let kind = text(&event["type"]).map(|kind| kind.to_ascii_uppercase());
    if !matches!(kind.as_deref(), None | Some("NEW" | "UPDATE")) {
        return found.push(other("unknown_type", body));
    }
    if !data["entry"].is_null() {
        return meta(&data["entry"], found);
    }
    if !data["message_uuid"].is_null() {
        return found.take(data, vonage);
    }
    match kind.as_deref() {
        Some("UPDATE") => found.take(data, chat_status),
        _ => found.take(data, chat_message),
    }
}

/// Reads a provider's word for a status (contracts/jumper.md section 6.2, normalisation).
fn status_word(word: &Value) -> Option<Status> {
    match text(word)?.to_ascii_lowercase().as_str() {
        "sent" | "submitted" => Some(Status::Sent),
        "delivered" => Some(Status::Delivered),
        "read" => Some(Status::Read),
        "failed" | "rejected" | "reject" | "undeliverable" => Some(Status::Failed),
        _ => None,
    }
}

fn status_of(word: &Value) -> Result<Status, &'static str> {
    let missing = text(word).is_none();
    status_word(word).ok_or(if missing {
        "no_status"
    } else {
        "unknown_status"
    })
}

fn provider_id(value: &Value) -> Option<ProviderId> {
    ProviderId::parse(&text(value)?).ok()
}

/// A number that someone else's member holds: text, number, or an object with the number in it.
fn phone(value: &Value) -> Option<Phone> {
    let number = match value {
        Value::Object(_) => &value["number"],
        _ => value,
    };
    Phone::parse(&text(number)?).ok()
}

/// Meta's webhook passed through: every status of every change of every entry.
fn meta(entries: &Value, found: &mut Found) -> Result<(), TooMany> {
    let before = found.elements;
    for entry in items(entries) {
        for change in items(&entry["changes"]) {
            let statuses = items(&change["value"]["statuses"]);
            if statuses.is_empty() {
                found.push(other("no_status", change))?;
            }
            for one in statuses {
                found.take(one, meta_status)?;
            }
        }
    }
    if found.elements == before {
        found.push(other("no_status", entries))?;
    }
    Ok(())
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn meta_status(one: &Value) -> Incoming {
    let status = match status_of(&one["status"]) {
        Ok(status) => status,
        Err(kind) => return other(kind, one),
    };
    let Some(provider_id) = provider_id(&one["id"]) else {
        return other(UNREADABLE, one);
    };
    Incoming::Status(StatusEvent {
        provider_id,
        status,
        at: moment(&one["timestamp"]),
        recipient: phone(&one["recipient_id"]),
        user: user_id(&one["recipient_user_id"]),
        error: reason::of(status, items(&one["errors"])),
    })
}

/// The Vonage Messages API's status callback.
fn vonage(data: &Value) -> Incoming {
    let status = match status_of(&data["status"]) {
        Ok(status) => status,
        Err(kind) => return other(kind, data),
    };
    let Some(provider_id) = provider_id(&data["message_uuid"]) else {
        return other(UNREADABLE, data);
    };
    Incoming::Status(StatusEvent {
        provider_id,
        status,
        at: moment(&data["timestamp"]),
        recipient: phone(&data["to"]),
        user: None,
        error: reason::of(status, [&data["error"]]),
    })
}

/// A chat message that moved on. Only what an agent or a template send wrote is ours.
fn chat_status(data: &Value) -> Incoming {
    let words = text(&data["message"]);
    let template = words
        .as_ref()
        .is_some_and(|words| words.starts_with(TEMPLATE_MARK));
    if !truthy(&data["agent"]) && !template {
        return other("no_status", data);
    }
    let status = if data["delivered"] == true {
        // A word that says more than "delivered" wins over the flag.
        match status_word(&data["status"]) {
            Some(status @ (Status::Read | Status::Failed)) => Ok(status),
            _ => Ok(Status::Delivered),
        }
    } else {
        status_of(&data["status"])
    };
    let (status, provider_id) = match (status, provider_id(&data["messageid"])) {
        (Ok(status), Some(id)) => (status, id),
        (Err(kind), _) => return other(kind, data),
        (_, None) => return other(UNREADABLE, data),
    };
    // A chat that an agent leads must never count as evidence for a send of ours (design.md G3).
    let recipient = if template || words.is_none() {
        mobile(data)
    } else {
        None
    };
    Incoming::Status(StatusEvent {
        provider_id,
        status,
        at: moment(&data["timestamp"]).or_else(|| moment(&data["last_updated"])),
        recipient,
        user: None,
        error: reason::of(status, [&data["error"], &data["fail_reason"]]),
    })
}

/// A new chat message: from a person, an agent, a bot, or the echo of a send of ours.
fn chat_message(data: &Value) -> Incoming {
    let words = text(&data["message"]);
    if words
        .as_ref()
        .is_some_and(|words| words.starts_with(TEMPLATE_MARK))
    {
        return chat_status(data);
    }
    if truthy(&data["from_bot"]) {
        return other("bot", data);
    }
    if truthy(&data["agent"]) {
        return other("agent", data);
    }
    let context = &data["replytomessage"];
    let quoted = context["replied"] != false;
    let answers = provider_id(&context["messageid"]).filter(|_| quoted);
    let id = provider_id(&data["messageid"]);
    let times = [&data["timestamp"], &data["created"], &data["sent_time"]];
    let (from, user) = (mobile(data), writer(data));
    match words {
        None if id.is_some() => other("media", data),
        // Where a user id stands in place of the number, it may be known, or the quoted message names
        // the person.
        Some(_) if from.is_some() || answers.is_some() || user.is_some() => {
            Incoming::Reply(Reply {
                id,
                from,
                user,
                context: answers,
                text: words::of(&data["message"]),
                at: times.iter().find_map(|time| moment(time)),
                dated: times
                    .into_iter()
                    .filter_map(text)
                    .collect::<Vec<_>>()
                    .join(" "),
            })
        }
        _ => other(UNREADABLE, data),
    }
}

/// The provider's id of a person that someone else's member holds.
fn user_id(value: &Value) -> Option<UserId> {
    UserId::parse(&text(value)?)
}

/// The provider's id of who writes: where WhatsApp says it, or in place of the number. `user_id` is Jumper's
/// own word, for who uses its dashboard.
fn writer(data: &Value) -> Option<UserId> {
    let members = ["from_user_id", "mobile", "from"];
    members.iter().find_map(|member| user_id(&data[*member]))
}

/// The person's number: `mobilecountrycode` and `mobile`, the first with or without a plus sign or
/// absent (contracts/jumper.md section 6.3).
fn mobile(data: &Value) -> Option<Phone> {
    let Some(mobile) = text(&data["mobile"]) else {
        return phone(&data["from"]);
    };
    let code = text(&data["mobilecountrycode"]).unwrap_or_default();
    let code = code.trim_start_matches('+');
    if mobile.starts_with('+') || code == "null" {
        return Phone::parse(&mobile).ok();
    }
    Phone::parse(&format!("{code}{mobile}")).ok()
}

#[cfg(test)]
mod tests;
