//! Jumper's templates read into neutral words (contracts/jumper.md sections 4.2 and 4.3).
//!
//! Pure. What is missing, empty or contradicts itself is unknown, never zero.

use super::wire::{text, truthy};
use crate::domain::template::{ButtonShape, Detail, HeaderNeeds, Variant};
use serde_json::Value;
use std::collections::HashSet;

/// The approved variants of a list, or nothing when it is no list.
pub(super) fn variants(list: &Value) -> Option<Vec<Variant>> {
    let data = list["data"].as_array()?;
    Some(data.iter().flat_map(languages).collect())
}

fn languages(item: &Value) -> impl Iterator<Item = Variant> {
    let name = text(&item["template_name"]);
    let variants = item["templates"].as_array().map_or(&[][..], Vec::as_slice);
    variants
        .iter()
        .filter(|variant| approved(variant))
        .filter_map(move |variant| {
            Some(Variant {
                name: name.clone()?,
                language: text(&variant["language"])?,
                id: text(&variant["id"])?,
            })
        })
}

fn approved(variant: &Value) -> bool {
    text(&variant["status"]).is_none_or(|status| status.eq_ignore_ascii_case("APPROVED"))
}

/// What a variant wants, as far as the answer tells.
pub(super) fn detail(answer: &Value, id: &str) -> Detail {
    let data = match &answer["data"] {
        Value::Array(items) => items
            .iter()
            .find(|item| text(&item["id"]).as_deref() == Some(id))
            .or_else(|| items.first())
            .unwrap_or(&Value::Null),
        data => data,
    };
    let (message, skeleton) = (&data["message"], &data["message_params"]);
    Detail {
        body_values: body_values(&message["BODY"], &skeleton["BODY"]),
        header: header(&message["HEADER"]),
        buttons: buttons(&message["BUTTONS"]),
    }
}

/// Two sources tell how many values the body takes; when they differ, nobody knows.
fn body_values(body: &Value, skeleton: &Value) -> Option<usize> {
    let in_text = text(&body["text"]).map(|text| placeholders(&text));
    let in_skeleton = skeleton.as_array().map(Vec::len);
    match (in_text, in_skeleton) {
        (Some(a), Some(b)) => (a == b).then_some(a),
        (Some(count), None) => Some(count),
        (None, count) => count.filter(|count| *count > 0),
    }
}

/// How many different `{{n}}` a text has.
fn placeholders(text: &str) -> usize {
    let named = text
        .split("{{")
        .skip(1)
        .filter_map(|rest| rest.split_once("}}"));
    named
        .map(|(name, _)| name.trim())
        .collect::<HashSet<_>>()
        .len()
}

fn header(header: &Value) -> Option<HeaderNeeds> {
    match text(&header["format"])?.to_ascii_uppercase().as_str() {
        "TEXT" => match placeholders(&text(&header["text"])?) {
            0 => Some(HeaderNeeds::Nothing),
            _ => Some(HeaderNeeds::Text),
        },
        "IMAGE" => Some(HeaderNeeds::Image),
        "VIDEO" => Some(HeaderNeeds::Video),
        "DOCUMENT" => Some(HeaderNeeds::Document),
        _ => None,
    }
}

fn buttons(list: &Value) -> Option<Vec<ButtonShape>> {
    let list = list.as_array().filter(|list| !list.is_empty())?;
    Some(list.iter().map(button).collect())
}

fn button(button: &Value) -> ButtonShape {
    let kind = text(&button["type"])
        .unwrap_or_default()
        .to_ascii_uppercase();
    match kind.as_str() {
        "URL" => {
            let placeholder = text(&button["url"]).is_some_and(|url| url.contains('{'));
            if placeholder || truthy(&button["example"]) {
                ButtonShape::DynamicUrl
            } else {
                ButtonShape::Static
            }
        }
        "QUICK_REPLY" => ButtonShape::QuickReply {
            label: button["text"].as_str().unwrap_or_default().to_owned(),
        },
        "PHONE_NUMBER" => ButtonShape::Static,
        _ => ButtonShape::Unrecognized,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn detail_of(data: &Value) -> Detail {
        detail(&json!({ "success": true, "data": data }), "5")
    }

    #[test]
    fn only_approved_variants_with_an_id_count() {
        let list = json!({ "success": true, "data": [
            { "template_name": "a", "templates": [
                { "id": 5_000_000_000_000_001_i64, "language": "en", "status": "APPROVED" },
                { "id": "2", "language": "de", "status": "approved" },
                { "id": "3", "language": "fr", "status": "PENDING" },
                { "id": "4", "language": "es", "status": "REJECTED" },
                { "id": "5", "language": "it" },
                { "id": "6", "language": "pt", "status": null },
                { "language": "nl" }, { "id": "8" }, 9 ] },
            { "templates": [{ "id": "10", "language": "en" }] },
            { "template_name": "b" }, null,
        ] });
        let got: Vec<_> = variants(&list)
            .unwrap()
            .into_iter()
            .map(|v| (v.language, v.id))
            .collect();
        let expected = [
            ("en", "5000000000000001"),
            ("de", "2"),
            ("it", "5"),
            ("pt", "6"),
        ];
        assert_eq!(got, expected.map(|(a, b)| (a.to_string(), b.to_string())));
    }

    #[test]
    fn a_merchant_without_templates_is_no_error() {
        assert_eq!(
            variants(&json!({ "success": true, "data": [] })),
            Some(vec![])
        );
        assert_eq!(variants(&json!({ "success": true, "data": null })), None);
        assert_eq!(variants(&json!({ "success": true, "data": "x" })), None);
        assert_eq!(variants(&json!({})), None);
    }

    #[test]
    fn a_full_detail_is_read_whole() {
        let data = json!({ "id": 5, "message": {
            "BODY": { "text": "Hi {{1}}, {{2}} or {{ 1 }}" },
            "HEADER": { "format": "IMAGE" },
            "BUTTONS": [
                { "type": "URL", "text": "Go", "url": "https://x/{{1}}" },
                { "type": "URL", "text": "Go", "url": "https://x/", "example": ["https://x/1"] },
                { "type": "URL", "text": "Go", "url": "https://x/", "example": [] },
                { "type": "QUICK_REPLY", "text": "Yes", "payload": "#yes" },
                { "type": "PHONE_NUMBER", "text": "Call" },
                { "type": "COPY_CODE" }, {} ] },
            "message_params": { "BODY": [{ "<a>": "text" }, { "<b>": "text" }] } });
        let expected = Detail {
            body_values: Some(2),
            header: Some(HeaderNeeds::Image),
            buttons: Some(vec![
                ButtonShape::DynamicUrl,
                ButtonShape::DynamicUrl,
                ButtonShape::Static,
                ButtonShape::QuickReply {
                    label: "Yes".into(),
                },
                ButtonShape::Static,
                ButtonShape::Unrecognized,
                ButtonShape::Unrecognized,
            ]),
        };
        assert_eq!(detail_of(&data), expected);
        assert_eq!(
            detail_of(&json!([{ "id": 4 }, data])),
            expected,
            "a list is read as well"
        );
    }

    #[test]
    fn what_is_not_told_is_unknown() {
        for data in [
            json!(null),
            json!({}),
            json!([]),
            json!("x"),
            json!({ "message": {} }),
            json!({ "message": { "BODY": {}, "HEADER": {}, "BUTTONS": [] }, "message_params": { "BODY": [] } }),
        ] {
            assert_eq!(detail_of(&data), Detail::default(), "{data}");
        }
    }

    #[test]
    fn body_values_need_sources_that_agree() {
        let count = |body: &Value, skeleton: &Value| {
            detail_of(
                &json!({ "message": { "BODY": body }, "message_params": { "BODY": skeleton } }),
            )
            .body_values
        };
        let text = |text: &str| json!({ "text": text });
        assert_eq!(count(&text("plain"), &json!([])), Some(0));
        assert_eq!(count(&text("plain"), &json!(null)), Some(0));
        assert_eq!(count(&text("{{1}}"), &json!([])), None);
        assert_eq!(count(&json!(null), &json!([{ "<a>": "text" }])), Some(1));
        assert_eq!(count(&text("{{1}} {{2"), &json!(null)), Some(1));
    }

    #[test]
    fn a_text_header_takes_a_value_only_with_a_placeholder() {
        let needs = |header: &Value| detail_of(&json!({ "message": { "HEADER": header } })).header;
        assert_eq!(
            needs(&json!({ "format": "TEXT", "text": "Hi {{1}}" })),
            Some(HeaderNeeds::Text)
        );
        assert_eq!(
            needs(&json!({ "format": "text", "text": "Hi" })),
            Some(HeaderNeeds::Nothing)
        );
        assert_eq!(needs(&json!({ "format": "TEXT" })), None);
        assert_eq!(needs(&json!({ "format": "LOCATION" })), None);
    }
}
