//! Jumper's shapes, read with tolerance: numbers where text is expected, absent members, faults of
//! the API gateway in front of it (contracts/jumper.md section 3).
//!
//! Pure. What leaves here as text is masked and cut, because it is logged and stored.

use crate::domain::phone::mask_numbers;
use crate::domain::{Answer, ProviderId, Receipt};
use crate::json::{self, Tree};
use serde_json::Value;
use std::time::Duration;

/// The longest upstream text that is kept, in characters.
const LONGEST_TEXT: usize = 300;
/// Words this long are credentials or noise, never something a person reads.
const LONGEST_WORD: usize = 80;

/// A text, or a number as text; nothing when it is empty or anything else.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Value::Number(number) => Some(match number.as_f64().filter(|_| number.is_f64()) {
            // An id that went through a float is still an id: 7.0 is written 7.
            Some(float) => format!("{float}"),
            None => number.to_string(),
        }),
        _ => None,
    }
}

/// A text by which things are told apart. One with a character that could not be read may be any of
/// several, so it is none.
pub(super) fn name(value: &Value, of: &Tree) -> Option<String> {
    text(value).filter(|text| !of.has_lost(text))
}

/// Yes or no in any of the spellings seen; nothing where it is neither.
fn yes_or_no(word: &Value) -> Option<bool> {
    if let Value::Bool(yes) = word {
        return Some(*yes);
    }
    match text(word)?.to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// What an answer says of success. A word that is neither yes nor no proves a refusal only where the
/// status speaks of the message and nothing shows that it was taken: neither an id nor what was asked for.
fn success(http: u16, json: &Value) -> Option<bool> {
    let word = json.get("success")?;
    let speaks = matches!(http, 200..=299 | 400..=499);
    let names_it = truthy(&json["message_id"]);
    match yes_or_no(word) {
        // From a server in trouble only a plain word counts, or a yes that names the message.
        Some(yes) => (speaks || word.is_boolean() || (yes && names_it)).then_some(yes),
        None if matches!(word, Value::Array(_) | Value::Object(_)) => None,
        None => {
            let is_page = matches!(http, 403 | 404 | 408);
            let refuses = speaks && !is_page && !names_it && json["data"].is_null();
            refuses.then_some(false)
        }
    }
}

/// Whether a member says yes in any of the ways that loosely typed code writes it.
pub(super) fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !matches!(text.trim(), "" | "0" | "false" | "null"),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

/// An upstream's words as they may be logged and stored: one line, numbers masked, credentials
/// hidden, at most 300 characters.
pub(super) fn readable(text: &str) -> String {
    // Cut first: only the beginning is ever shown, and a body can be large.
    let start: String = text.chars().take(4 * LONGEST_TEXT).collect();
    let mut line = String::new();
    for word in start.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        let hidden = word.len() > LONGEST_WORD || word.contains("eyJ");
        line.push_str(if hidden { "[hidden]" } else { word });
    }
    mask_numbers(&line).chars().take(LONGEST_TEXT).collect()
}

/// What a whole answer says.
pub(super) fn answer(http: u16, retry_after: Option<Duration>, body: &[u8]) -> (Answer, Tree) {
    let parsed = json::read(body).ok();
    let unreadable = parsed.is_none();
    let tree = parsed.unwrap_or_default();
    let json = &tree.value;
    let success = success(http, json);
    let fault = json["fault"]["detail"]["errorcode"].as_str();
    let mut words = reason_given(json, success);
    if unreadable {
        words = text(&Value::String(String::from_utf8_lossy(body).into_owned()));
    }
    let answer = Answer {
        http: Some(http),
        fault: fault.map(readable),
        success,
        receipt: receipt(&tree),
        text: words.map(|words| readable(&words)),
        retry_after,
        transport: None,
    };
    (answer, tree)
}

fn reason_given(json: &Value, success: Option<bool>) -> Option<String> {
    let error = reason(&json["errorMessage"]);
    if error.is_some() || success == Some(true) {
        return error;
    }
    let members = [
        &json["message"],
        &json["fault"]["faultstring"],
        &json["error_description"],
        &json["error"],
        &json["errors"],
        &json["Error"],
    ];
    // An object may be anything, a text is words.
    let given = members.into_iter().find_map(text);
    let given = given.or_else(|| members.into_iter().find_map(reason));
    // A word that proves nothing is all that it says.
    let word = json.get("success").filter(|_| success.is_none());
    given.or_else(|| word.map(|word| format!("success is {word}")))
}

/// Members of an error that say what it is, in their order.
const KNOWN: [&str; 6] = [
    "code",
    "title",
    "reason",
    "message",
    "description",
    "detail",
];

/// The words of a refusal: a text, or what an object, or each of a list, tells.
fn reason(error: &Value) -> Option<String> {
    let parts: Vec<_> = match error {
        Value::Object(members) => {
            let mut parts: Vec<String> = Vec::new();
            for part in KNOWN.into_iter().filter_map(|name| text(&error[name])) {
                if !parts.contains(&part) {
                    parts.push(part);
                }
            }
            if !parts.is_empty() {
                return Some(parts.join(" "));
            }
            let named = |(name, value): (&String, &Value)| {
                let flag = || value.as_bool().map(|flag| flag.to_string());
                Some(format!("{name}: {}", reason(value).or_else(flag)?))
            };
            members.iter().filter_map(named).collect()
        }
        Value::Array(items) => items.iter().filter_map(reason).collect(),
        error => return text(error),
    };
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// The flat receipt of a send (contracts/jumper.md section 4.1).
fn receipt(tree: &Tree) -> Option<Receipt> {
    let json = &tree.value;
    let id = name(&json["message_id"], tree)?;
    Some(Receipt {
        provider_id: ProviderId::parse(&id).ok()?,
        conversation: text(&json["conversationid"]),
    })
}

/// One webhook subscription of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscription {
    /// What it subscribes to; only `livechat` is known.
    pub(super) permission: String,
    /// Where its events go.
    pub(super) webhook: String,
}

impl Subscription {
    /// Whether it lost a character: written back, it would be another one.
    pub(super) fn is_damaged(&self, list: &Tree) -> bool {
        list.has_lost(&self.permission) || list.has_lost(&self.webhook)
    }
}

/// The subscriptions of a list answer. Entries name their kind `subscription_type` or
/// `permission` (contracts/jumper.md section 4.6); one without an address cannot be kept.
pub(super) fn subscriptions(json: &Value) -> Option<Vec<Subscription>> {
    let data = match &json["data"] {
        Value::Null => return (yes_or_no(&json["success"]) == Some(true)).then(Vec::new),
        data => data.as_array()?,
    };
    let entry = |item: &Value| {
        let kind = text(&item["subscription_type"]).or_else(|| text(&item["permission"]));
        Some(Subscription {
            permission: kind.unwrap_or_else(|| super::LIVECHAT.into()),
            webhook: text(&item["webhook"])?,
        })
    };
    Some(data.iter().filter_map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(http: u16, body: &Value) -> Answer {
        answer(http, None, body.to_string().as_bytes()).0
    }

    #[test]
    fn a_number_is_text_without_a_fraction() {
        let cases = [
            ("7", "7"),
            ("7.0", "7"),
            ("9.87654321e9", "9876543210"),
            ("-3", "-3"),
            ("1.5", "1.5"),
        ];
        for (number, expected) in cases {
            let value: Value = serde_json::from_str(number).unwrap();
            assert_eq!(text(&value).as_deref(), Some(expected));
        }
        assert_eq!(text(&json!(" ")), None);
    }

    #[test]
    fn a_receipt_is_flat_and_its_ids_are_text_or_numbers() {
        let body = json!({ "success": true, "message_id": 7_000_000_000_000_001_i64,
            "conversationid": "C1", "message": "Message sent", "errorMessage": null });
        let got = read(200, &body);
        let receipt = got.receipt.unwrap();
        assert_eq!(receipt.provider_id.as_str(), "7000000000000001");
        assert_eq!(receipt.conversation.as_deref(), Some("C1"));
        assert_eq!((got.success, got.text), (Some(true), None));
    }

    #[test]
    fn r_26_success_is_read_in_every_spelling() {
        let words = [
            (json!(true), true),
            (json!("true"), true),
            (json!("TRUE"), true),
            (json!(1), true),
            (json!("1"), true),
            (json!(false), false),
            (json!("False"), false),
            (json!(0), false),
            (json!("0"), false),
        ];
        for (word, expected) in words {
            let answer = read(200, &json!({ "success": word, "message_id": "M1" }));
            assert_eq!(answer.success, Some(expected), "{word}");
            let answer = read(403, &json!({ "success": word }));
            assert_eq!(answer.success, Some(expected), "{word}");
        }
        assert_eq!(read(200, &json!({ "message_id": "M1" })).success, None);
    }

    /// What is neither yes nor no proves nothing where anything speaks against a refusal.
    #[test]
    fn r_26_a_strange_word_refuses_only_what_nothing_shows_to_be_taken() {
        let words = [
            json!(null),
            json!("queued"),
            json!("ok"),
            json!("yes"),
            json!(2),
        ];
        for word in words {
            let success = |http, member: &str, value: Value| {
                read(http, &json!({ "success": word, member: value })).success
            };
            for http in [200, 202, 400, 422] {
                assert_eq!(success(http, "message", json!("no")), Some(false), "{word}");
                assert_eq!(success(http, "message_id", json!("M1")), None, "{word}");
                assert_eq!(success(http, "data", json!([])), None, "{word}");
            }
            for http in [302, 403, 404, 408, 500, 502, 503] {
                assert_eq!(success(http, "message", json!("no")), None, "{http} {word}");
            }
        }
        // It names the message, though nobody can read by which id.
        let damaged = br#"{"success":"queued","message_id":"M\ud83d"}"#;
        let answer = answer(200, None, damaged).0;
        assert_eq!((answer.success, answer.receipt), (None, None));
    }

    /// From a server in trouble a word that is not plain proves nothing, but a yes that names the message.
    #[test]
    fn r_26_a_spelt_word_under_a_5xx_says_nothing() {
        let success = |body: Value| read(502, &body).success;
        assert_eq!(
            success(json!({ "success": "true", "message_id": "M1" })),
            Some(true)
        );
        assert_eq!(success(json!({ "success": false })), Some(false));
        for word in [json!("true"), json!("false"), json!(0)] {
            assert_eq!(success(json!({ "success": word })), None, "{word}");
        }
    }

    #[test]
    fn r_26_a_reason_is_read_from_an_object_and_from_a_list() {
        let cases = [
            (
                json!({ "error": { "code": 131_026, "reason": "Undeliverable" } }),
                "131026 Undeliverable",
            ),
            (
                json!({ "errors": { "title": "Bad", "detail": "paused" } }),
                "Bad paused",
            ),
            (
                json!({ "errors": [{ "code": 1, "title": "a" }, "b"] }),
                "1 a; b",
            ),
            (
                json!({ "errors": { "to": "no such number" } }),
                "to: no such number",
            ),
            (
                json!({ "errors": { "to": ["no such number", "too short"], "from": { "code": 7 }, "x": null } }),
                "from: 7; to: no such number; too short",
            ),
            (
                json!({ "message": { "id": 5 }, "error": "Paused" }),
                "Paused",
            ),
            (json!({ "errors": { "expired": true } }), "expired: true"),
            (
                json!({ "errorMessage": { "code": 7, "reason": "Paused" }, "message": "no" }),
                "7 Paused",
            ),
        ];
        for (mut body, expected) in cases {
            body["success"] = false.into();
            assert_eq!(read(400, &body).text.as_deref(), Some(expected), "{body}");
        }
    }

    #[test]
    fn r_24_a_damaged_answer_keeps_its_receipt_but_never_a_damaged_id() {
        let of = |id: &str| {
            let body = format!(r#"{{"success":true,"message_id":{id},"message":"Sent \ud83d"}}"#);
            answer(200, None, body.as_bytes()).0.receipt
        };
        let id = |id: &str| of(id).map(|receipt| receipt.provider_id.as_str().to_owned());
        assert_eq!(id("\"M1\"").as_deref(), Some("M1"));
        assert_eq!(
            id("18446744073709551617").as_deref(),
            Some("18446744073709551617")
        );
        assert_eq!(id("\"M\\udc00\""), None);
        // What came as U+FFFD in a sound answer is no damage of ours.
        let sound = read(200, &json!({ "success": true, "message_id": "M\u{FFFD}" }));
        assert_eq!(sound.receipt.unwrap().provider_id.as_str(), "M\u{FFFD}");
    }

    #[test]
    fn a_refusal_keeps_its_words_and_hides_what_must_be_hidden() {
        let body = json!({ "success": false, "errorMessage":
            "no contact 919876543210 for\n token eyJhbGciOi.eyJzdWIi.c2ln" });
        let got = read(400, &body);
        assert_eq!(got.success, Some(false));
        assert_eq!(
            got.text.as_deref(),
            Some("no contact 91********10 for token [hidden]")
        );
    }

    #[test]
    fn a_fault_is_named_by_its_code() {
        let body = json!({ "fault": { "faultstring": "Spike arrest violation",
            "detail": { "errorcode": "policies.ratelimit.SpikeArrestViolation" } } });
        let got = read(500, &body);
        assert_eq!(
            got.fault.as_deref(),
            Some("policies.ratelimit.SpikeArrestViolation")
        );
        assert_eq!(got.text.as_deref(), Some("Spike arrest violation"));
    }

    #[test]
    fn what_is_no_json_or_of_other_types_is_no_success() {
        for body in [
            "<html>Bad Gateway</html>",
            "",
            "[1]",
            "\"x\"",
            "{\"success\":[]}",
            "{\"suc",
        ] {
            let got = answer(200, None, body.as_bytes()).0;
            assert_eq!(
                (got.http, got.success, got.receipt),
                (Some(200), None, None),
                "{body}"
            );
        }
        let got = answer(502, None, "é".repeat(4000).as_bytes()).0;
        assert!(got.text.unwrap().chars().count() <= LONGEST_TEXT);
    }

    #[test]
    fn subscriptions_come_under_two_names() {
        let list = json!({ "success": true, "data": [
            { "subscription_type": "livechat", "webhook": "https://a" },
            { "permission": "order", "webhook": "https://b", "id": 1 },
            { "webhook": "https://c" }, { "permission": "livechat" }, 7 ] });
        let got = subscriptions(&list).unwrap();
        let flat: Vec<_> = got
            .iter()
            .map(|s| (s.permission.as_str(), s.webhook.as_str()))
            .collect();
        assert_eq!(
            flat,
            [
                ("livechat", "https://a"),
                ("order", "https://b"),
                ("livechat", "https://c")
            ]
        );
        assert_eq!(
            subscriptions(&json!({ "success": true, "data": null })),
            Some(vec![])
        );
        assert_eq!(subscriptions(&json!({ "success": false })), None);
        assert_eq!(subscriptions(&json!({ "data": "x" })), None);
    }
}
