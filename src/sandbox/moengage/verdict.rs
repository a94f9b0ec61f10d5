//! Checks a callback against MoEngage's contract, strictly: what the contract does not name is a fault
//! (contracts/moengage.md sections 5 and 6, sizes Q10). Pure.

use serde_json::{Map, Value};

/// Most entries in one callback.
const MAX_ENTRIES: usize = 50;
/// Most bytes in one callback.
const MAX_BYTES: usize = 150 * 1024;

/// A callback that fits the contract.
#[derive(Debug, PartialEq)]
pub(super) enum Callback {
    Statuses(Vec<Value>),
    Inbound(Value),
}

type Object = Map<String, Value>;

/// Reads a body, or says what is wrong with it.
pub(super) fn read(body: &[u8]) -> Result<Callback, String> {
    if body.len() > MAX_BYTES {
        return Err(format!("{} bytes, over {MAX_BYTES}", body.len()));
    }
    let value: Value = serde_json::from_slice(body).map_err(|error| format!("no JSON: {error}"))?;
    let object = value.as_object().ok_or("not an object")?;
    if !object.contains_key("statuses") {
        inbound(object)?;
        return Ok(Callback::Inbound(value));
    }
    only(object, &["statuses"])?;
    let entries = object["statuses"]
        .as_array()
        .ok_or("statuses is no array")?;
    if entries.is_empty() || entries.len() > MAX_ENTRIES {
        return Err(format!("{} entries, not 1 to {MAX_ENTRIES}", entries.len()));
    }
    for (at, entry) in entries.iter().enumerate() {
        status(entry).map_err(|fault| format!("statuses[{at}]: {fault}"))?;
    }
    Ok(Callback::Statuses(entries.clone()))
}

fn status(entry: &Value) -> Result<(), String> {
    let entry = entry.as_object().ok_or("not an object")?;
    only(entry, &["msg_id", "status", "timestamp", "error"])?;
    filled(entry, "msg_id")?;
    timestamp(entry)?;
    match (filled(entry, "status")?, entry.get("error")) {
        ("sent" | "delivered" | "read", None) => Ok(()),
        ("failed", Some(error)) => failure(error),
        ("failed", None) => Err("failed without error".to_owned()),
        ("sent" | "delivered" | "read", Some(_)) => Err("error without failed".to_owned()),
        (other, _) => Err(format!("unknown status {other}")),
    }
}

fn failure(error: &Value) -> Result<(), String> {
    let error = error.as_object().ok_or("error is no object")?;
    only(error, &["code", "description"])?;
    filled(error, "description")?;
    match filled(error, "code")? {
        "7000" | "7001" | "7002" | "7003" | "7004" => Ok(()),
        other => Err(format!("unknown error code {other}")),
    }
}

fn inbound(object: &Object) -> Result<(), String> {
    only(
        object,
        &[
            "from",
            "waba_number",
            "timestamp",
            "type",
            "context",
            "text",
            "button",
        ],
    )?;
    for number in ["from", "waba_number"] {
        let digits = filled(object, number)?;
        let digits = digits.strip_prefix('+').unwrap_or(digits);
        if !(7..=15).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("{number} is no phone number"));
        }
    }
    timestamp(object)?;
    let context = member(object, "context")?;
    only(context, &["msg_id"])?;
    // Empty is our own choice for opt-outs that answer nothing (contracts/moengage.md Q7).
    text(context, "msg_id")?;
    let (kind, other, members): (_, _, &[&str]) = match filled(object, "type")? {
        "text" => ("text", "button", &["body"]),
        "button" => ("button", "text", &["payload", "text"]),
        other => return Err(format!("unknown type {other}")),
    };
    if object.contains_key(other) {
        return Err(format!("type {kind} with {other}"));
    }
    let content = member(object, kind)?;
    only(content, members)?;
    members
        .iter()
        .try_for_each(|name| text(content, name).map(|_| ()))
}

fn only(object: &Object, known: &[&str]) -> Result<(), String> {
    match object.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("unknown member {name}")),
        None => Ok(()),
    }
}

fn member<'a>(object: &'a Object, name: &str) -> Result<&'a Object, String> {
    let value = object.get(name).and_then(Value::as_object);
    value.ok_or_else(|| format!("{name} is missing or no object"))
}

fn text<'a>(object: &'a Object, name: &str) -> Result<&'a str, String> {
    let value = object.get(name).and_then(Value::as_str);
    value.ok_or_else(|| format!("{name} is missing or no text"))
}

fn filled<'a>(object: &'a Object, name: &str) -> Result<&'a str, String> {
    match text(object, name)? {
        "" => Err(format!("{name} is empty")),
        value => Ok(value),
    }
}

/// Epoch seconds (10 digits) or milliseconds (13), as text.
fn timestamp(object: &Object) -> Result<(), String> {
    let value = filled(object, "timestamp")?;
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    match digits && matches!(value.len(), 10 | 13) {
        true => Ok(()),
        false => Err(format!("timestamp {value} is no epoch time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(status: &str) -> Value {
        json!({"msg_id": "m", "status": status, "timestamp": "1930000001"})
    }

    fn fault(body: &Value) -> String {
        read(body.to_string().as_bytes()).unwrap_err()
    }

    #[test]
    fn what_the_contract_shows_is_valid() {
        let failed = json!({"msg_id": "m", "status": "failed", "timestamp": "1930000005000",
            "error": {"code": "7004", "description": "Upstream refused"}});
        let body = json!({"statuses": [entry("sent"), entry("delivered"), entry("read"), failed]});
        assert!(
            matches!(read(body.to_string().as_bytes()), Ok(Callback::Statuses(all)) if all.len() == 4)
        );
        for content in [
            json!({"type": "text", "text": {"body": ""}}),
            json!({"type": "button", "button": {"payload": "{'a':'b'}", "text": "Keep it"}}),
        ] {
            let mut body = json!({"from": "+12025550143", "waba_number": "12025550100",
                "timestamp": "1930000200", "context": {"msg_id": "m"}});
            body.as_object_mut()
                .unwrap()
                .extend(content.as_object().unwrap().clone());
            assert!(
                matches!(read(body.to_string().as_bytes()), Ok(Callback::Inbound(_))),
                "{body}"
            );
            body["text"] = json!({"body": "x"});
            body["button"] = json!({"payload": "x", "text": "x"});
            assert!(fault(&body).contains("with"));
        }
    }

    #[test]
    fn every_departure_is_named() {
        let with = |name: &str, value: Value| {
            let mut entry = entry("sent");
            entry[name] = value;
            fault(&json!({"statuses": [entry]}))
        };
        assert!(with("msg_id", json!(7)).contains("msg_id"));
        assert!(with("msg_id", json!("")).contains("msg_id"));
        assert!(with("status", json!("submitted")).contains("unknown status"));
        assert!(with("status", json!("failed")).contains("without error"));
        assert!(with("timestamp", json!(1_930_000_001)).contains("timestamp"));
        assert!(with("timestamp", json!("2031-01-01")).contains("timestamp"));
        assert!(with("error", json!({})).contains("error without failed"));
        assert!(with("extra", json!(1)).contains("extra"));
        assert!(fault(&json!({"statuses": []})).contains("0 entries"));
        assert!(fault(&json!({"statuses": vec![entry("sent"); 51]})).contains("51 entries"));
        assert!(fault(&json!([])).contains("not an object"));
        assert!(fault(&json!({})).contains("from"));
        assert!(
            read(&vec![b' '; MAX_BYTES + 1])
                .unwrap_err()
                .contains("bytes")
        );
        assert!(read(b"{").unwrap_err().contains("no JSON"));
    }
}
