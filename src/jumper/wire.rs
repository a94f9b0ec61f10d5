//! Jumper's shapes, read with tolerance: numbers where text is expected, absent members, faults of
//! the API gateway in front of it (contracts/jumper.md section 3).
//!
//! Pure. What leaves here as text is masked and cut, because it is logged and stored.

use crate::domain::phone::mask_numbers;
use crate::domain::{Answer, ProviderId, Receipt, UnixMs};
use serde_json::Value;
use std::time::Duration;

/// The longest upstream text that is kept, in characters.
const LONGEST_TEXT: usize = 300;
/// Words this long are credentials or noise, never something a person reads.
const LONGEST_WORD: usize = 80;
/// However long the upstream asks us to wait, we ask again after this.
const LONGEST_WAIT: u64 = 3600;

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
pub(super) fn answer(http: u16, retry_after: Option<Duration>, body: &[u8]) -> (Answer, Value) {
    let parsed = serde_json::from_slice::<Value>(body).ok();
    let unreadable = parsed.is_none();
    let json = parsed.unwrap_or_default();
    let success = json["success"].as_bool();
    let fault = json["fault"]["detail"]["errorcode"].as_str();
    let mut words = said(&json, success);
    if unreadable {
        words = text(&Value::String(String::from_utf8_lossy(body).into_owned()));
    }
    let answer = Answer {
        http: Some(http),
        fault: fault.map(readable),
        success,
        receipt: receipt(&json),
        text: words.map(|words| readable(&words)),
        retry_after,
        transport: None,
    };
    (answer, json)
}

fn said(json: &Value, success: Option<bool>) -> Option<String> {
    let error = &json["errorMessage"];
    let error = text(error).or_else(|| truthy(error).then(|| error.to_string()));
    error.or_else(|| {
        if success == Some(true) {
            return None;
        }
        [
            &json["message"],
            &json["fault"]["faultstring"],
            &json["error_description"],
            &json["error"],
            &json["Error"],
        ]
        .into_iter()
        .find_map(text)
    })
}

/// The flat receipt of a send (contracts/jumper.md section 4.1).
fn receipt(json: &Value) -> Option<Receipt> {
    let id = text(&json["message_id"])?;
    Some(Receipt {
        provider_id: ProviderId::parse(&id).ok()?,
        conversation: text(&json["conversationid"]),
    })
}

/// The pause of a `Retry-After` header: seconds or an HTTP date, an hour at most.
pub(super) fn retry_after(header: &str, now: UnixMs) -> Option<Duration> {
    let header = header.trim();
    let seconds = match header.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(header).ok()?.timestamp();
            u64::try_from(date.as_second().saturating_sub(now.seconds())).unwrap_or(0)
        }
    };
    Some(Duration::from_secs(seconds.min(LONGEST_WAIT)))
}

/// One webhook subscription of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscription {
    /// What it subscribes to; only `livechat` is known.
    pub(super) permission: String,
    /// Where its events go.
    pub(super) webhook: String,
}

/// The subscriptions of a list answer. Entries name their kind `subscription_type` or
/// `permission` (contracts/jumper.md section 4.6); one without an address cannot be kept.
pub(super) fn subscriptions(json: &Value) -> Option<Vec<Subscription>> {
    let data = match &json["data"] {
        Value::Null => return (json["success"] == true).then(Vec::new),
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
            "{\"success\":\"true\"}",
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
    fn a_pause_is_seconds_or_a_date() {
        let now = UnixMs(784_111_770_000);
        let cases = [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sun, 06 Nov 1993 08:49:37 GMT", None),
            ("99999999999999", Some(3600)),
            ("-1", None),
            ("soon", None),
        ];
        for (header, seconds) in cases {
            let got = retry_after(header, now).filter(|d| header == " 0 " || !d.is_zero());
            assert_eq!(got.map(|d| d.as_secs()), seconds, "{header}");
        }
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
