//! Jumper's templates read into neutral words (contracts/jumper.md sections 4.2 and 4.3).
//!
//! Pure. What is missing, empty or contradicts itself is unknown, never zero.

use super::wire::{name, text, truthy};
use crate::domain::template::{ButtonShape, Detail, HeaderNeeds, TemplateList, Variant};
use crate::json::Tree;
use serde_json::Value;
use std::collections::HashSet;

/// What a list says that was asked for `most` entries at most, or nothing when it is no list.
pub(super) fn list(answer: &Tree, most: usize) -> Option<TemplateList> {
    let json = &answer.value;
    let data = json["data"].as_array()?;
    // A cursor, or as many as were asked for: there may be more.
    let mut list = TemplateList {
        whole: !truthy(&json["next"]) && data.len() < most,
        ..TemplateList::default()
    };
    for item in data {
        let named = name(&item["template_name"], answer);
        let read = read(item, named.as_deref(), answer, &mut list.variants);
        match named {
            _ if read => {}
            Some(name) => {
                list.unread.insert(name);
            }
            // Whose entry this is, nobody knows.
            None => list.whole = false,
        }
    }
    Some(list)
}

/// Takes the approved variants of an entry, and tells whether it could be read to its end.
fn read(item: &Value, named: Option<&str>, of: &Tree, variants: &mut Vec<Variant>) -> bool {
    let (Some(named), Some(all)) = (named, item["templates"].as_array()) else {
        return false;
    };
    let mut whole = true;
    for variant in all.iter().filter(|variant| approved(variant)) {
        match (name(&variant["language"], of), name(&variant["id"], of)) {
            (Some(language), Some(id)) => variants.push(Variant {
                name: named.to_owned(),
                language,
                id,
                is_marketing: is_marketing(variant).or(is_marketing(item)) == Some(true),
            }),
            _ => whole = false,
        }
    }
    whole
}

/// What the category says, which stands beside the name; also where each language has its own.
fn is_marketing(listed: &Value) -> Option<bool> {
    text(&listed["category"]).map(|category| category.eq_ignore_ascii_case("MARKETING"))
}

fn approved(variant: &Value) -> bool {
    text(&variant["status"]).is_none_or(|status| status.eq_ignore_ascii_case("APPROVED"))
}

/// What a variant wants, as far as the answer tells.
pub(super) fn detail(answer: &Tree, id: &str) -> Detail {
    let data = match &answer.value["data"] {
        Value::Array(items) => items
            .iter()
            .find(|item| text(&item["id"]).as_deref() == Some(id))
            .or_else(|| items.first())
            .unwrap_or(&Value::Null),
        data => data,
    };
    let (message, skeleton) = (&data["message"], &data["message_params"]);
    let names = text(&message["BODY"]["text"]).map(|text| variables(&text));
    let is_lost = |name: &String| answer.has_lost(name);
    if names.iter().flatten().any(is_lost) {
        // Not even how many there are: such an answer tells nothing.
        return Detail::default();
    }
    Detail {
        body_values: body_values(names.as_ref(), &skeleton["BODY"]),
        body_names: names,
        header: header(&message["HEADER"]),
        header_name: text(&message["HEADER"]["text"])
            .and_then(|text| only(variables(&text), answer)),
        buttons: buttons(&message["BUTTONS"], answer),
    }
}

/// Two sources tell how many values the body takes; when they differ, nobody knows.
fn body_values(names: Option<&Vec<String>>, skeleton: &Value) -> Option<usize> {
    let in_text = names.map(Vec::len);
    let in_skeleton = skeleton.as_array().map(Vec::len);
    match (in_text, in_skeleton) {
        (Some(a), Some(b)) => (a == b).then_some(a),
        (Some(count), None) => Some(count),
        (None, count) => count.filter(|count| *count > 0),
    }
}

/// The different `{{variables}}` of a text in the order in which Jumper takes their values: as they stand,
/// and `{{n}}` by their numbers (contracts/jumper.md section 5).
fn variables(text: &str) -> Vec<String> {
    let named = text
        .split("{{")
        .skip(1)
        .filter_map(|rest| rest.split_once("}}"));
    let mut seen = HashSet::new();
    let mut names: Vec<&str> = named
        .map(|(name, _)| name.trim())
        .filter(|name| seen.insert(*name))
        .collect();
    let number = |name: &&str| name.parse::<u32>().ok();
    if names.iter().all(|name| number(name).is_some()) {
        names.sort_by_key(number);
    }
    names.into_iter().map(str::to_owned).collect()
}

/// The name, if it is the only one and can be read.
fn only(names: Vec<String>, of: &Tree) -> Option<String> {
    let [name] = <[String; 1]>::try_from(names).ok()?;
    (!of.has_lost(&name)).then_some(name)
}

fn header(header: &Value) -> Option<HeaderNeeds> {
    match text(&header["format"])?.to_ascii_uppercase().as_str() {
        "TEXT" if variables(&text(&header["text"])?).is_empty() => Some(HeaderNeeds::Nothing),
        "TEXT" => Some(HeaderNeeds::Text),
        "IMAGE" => Some(HeaderNeeds::Image),
        "VIDEO" => Some(HeaderNeeds::Video),
        "DOCUMENT" => Some(HeaderNeeds::Document),
        _ => None,
    }
}

fn buttons(list: &Value, of: &Tree) -> Option<Vec<ButtonShape>> {
    let list = list.as_array().filter(|list| !list.is_empty())?;
    Some(list.iter().map(|one| button(one, of)).collect())
}

fn button(button: &Value, of: &Tree) -> ButtonShape {
    let kind = text(&button["type"])
        .unwrap_or_default()
        .to_ascii_uppercase();
    match kind.as_str() {
        "URL" => {
            let url = text(&button["url"]);
            let placeholder = url.as_ref().is_some_and(|url| url.contains('{'));
            if placeholder || truthy(&button["example"]) {
                let name = url.and_then(|url| only(variables(&url), of));
                ButtonShape::DynamicUrl { name }
            } else {
                ButtonShape::Static
            }
        }
        "QUICK_REPLY" => {
            // A damaged one is not what the person taps.
            let label = button["text"].as_str().filter(|label| !of.has_lost(label));
            let label = label.unwrap_or_default().to_owned();
            ButtonShape::QuickReply { label }
        }
        "PHONE_NUMBER" => ButtonShape::Static,
        _ => ButtonShape::Unrecognized,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn detail_of(data: &Value) -> Detail {
        detail(&json!({ "success": true, "data": data }).into(), "5")
    }

    fn list(answer: &Value, most: usize) -> Option<TemplateList> {
        super::list(&answer.clone().into(), most)
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
        let list = self::list(&list, 10).unwrap();
        let got = list.variants.into_iter().map(|v| (v.language, v.id));
        let expected = [
            ("en", "5000000000000001"),
            ("de", "2"),
            ("it", "5"),
            ("pt", "6"),
        ];
        let expected = expected.map(|(a, b)| (a.to_string(), b.to_string()));
        assert_eq!(got.collect::<Vec<_>>(), expected);
        // Two entries have no name: whose they are, nobody knows.
        assert!(!list.whole);
        assert_eq!(list.unread, ["a", "b"].map(str::to_owned).into());
    }

    #[test]
    fn r_21_only_what_is_listed_as_marketing_is_marketing() {
        let is_marketing = |item: Value, variant: Value| {
            let mut all = json!({ "id": "1", "language": "en" });
            let mut one = json!({ "template_name": "a" });
            if !item.is_null() {
                one["category"] = item;
            }
            if !variant.is_null() {
                all["category"] = variant;
            }
            one["templates"] = json!([all]);
            list(&json!({ "data": [one] }), 9).unwrap().variants[0].is_marketing
        };
        for (item, variant, expected) in [
            (json!("MARKETING"), json!(null), true),
            (json!("marketing"), json!(null), true),
            (json!(null), json!("MARKETING"), true),
            (json!("MARKETING"), json!("UTILITY"), false),
            (json!("UTILITY"), json!("MARKETING"), true),
            (json!("UTILITY"), json!(null), false),
            (json!("AUTHENTICATION"), json!(null), false),
            (json!("TRANSACTIONAL"), json!(null), false),
            (json!(7), json!(null), false),
            (json!({}), json!(null), false),
            (json!(null), json!(null), false),
        ] {
            let got = is_marketing(item.clone(), variant.clone());
            assert_eq!(got, expected, "{item} {variant}");
        }
    }

    #[test]
    fn a_merchant_without_templates_is_no_error() {
        let empty = TemplateList {
            whole: true,
            ..TemplateList::default()
        };
        let of = |answer: Value| list(&answer, 10);
        assert_eq!(of(json!({ "success": true, "data": [] })), Some(empty));
        assert_eq!(of(json!({ "success": true, "data": null })), None);
        assert_eq!(of(json!({ "success": true, "data": "x" })), None);
        assert_eq!(of(json!({ "success": true, "data": {} })), None);
        assert_eq!(of(json!({ "success": true })), None);
        assert_eq!(of(json!({})), None);
    }

    #[test]
    fn r_07_a_list_with_a_cursor_or_as_long_as_asked_for_is_not_whole() {
        let entry = |id: &str| json!({ "template_name": "a", "templates": [{ "id": id, "language": "en" }] });
        let whole = |next: Value, most: usize| {
            let answer = json!({ "success": true, "next": next, "data": [entry("1"), entry("2")] });
            list(&answer, most).unwrap().whole
        };
        assert!(whole(json!(null), 3));
        assert!(whole(json!(""), 3));
        assert!(!whole(json!(null), 2));
        for next in [json!("2"), json!(2), json!({ "cursor": "x" }), json!("abc")] {
            assert!(!whole(next.clone(), 3), "{next}");
        }
        let pending = json!({ "language": "en", "status": "PENDING" });
        let read = |templates: Value| {
            let item = json!({ "template_name": "a", "templates": templates });
            list(&json!({ "data": [item] }), 9).unwrap()
        };
        assert!(read(json!([pending])).unread.is_empty());
        assert!(read(json!([])).unread.is_empty());
        for templates in [
            json!(null),
            json!("x"),
            json!([{ "id": "1" }]),
            json!([null]),
        ] {
            let list = read(templates.clone());
            assert!(list.whole && list.unread.contains("a"), "{templates}");
        }
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
            body_names: Some(vec!["1".into(), "2".into()]),
            header: Some(HeaderNeeds::Image),
            header_name: None,
            buttons: Some(vec![
                ButtonShape::DynamicUrl {
                    name: Some("1".into()),
                },
                ButtonShape::DynamicUrl { name: None },
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
    fn r_24_a_damaged_label_is_none_and_one_with_such_a_character_is_itself() {
        let label = |text: &str| {
            let body = format!(
                r#"{{"data":{{"message":{{"BUTTONS":[{{"type":"QUICK_REPLY","text":"{text}"}}]}}}}}}"#
            );
            detail(&crate::json::read(body.as_bytes()).unwrap(), "5").buttons
        };
        let shape = |label: &str| {
            let label = label.into();
            Some(vec![ButtonShape::QuickReply { label }])
        };
        assert_eq!(label("Ke\\ud83dp"), shape(""));
        assert_eq!(label("Ke\u{FFFD}p"), shape("Ke\u{FFFD}p"));
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
    fn r_27_variables_stand_in_the_order_in_which_their_values_are_taken() {
        let names = |text: &str| {
            let message = json!({ "BODY": { "text": text } });
            detail_of(&json!({ "message": message })).body_names
        };
        for (text, expected) in [
            (
                "Hi {{customer}}, your order {{ order_id }} left, {{customer}}.",
                Some(&["customer", "order_id"][..]),
            ),
            ("{{10}} {{2}} {{1}} {{2}}", Some(&["1", "2", "10"])),
            ("{{2}} {{b}} {{1}}", Some(&["2", "b", "1"])),
            ("plain", Some(&[])),
            ("Hi {{na\u{FFFD}me}}", Some(&["na\u{FFFD}me"])),
        ] {
            let names = names(text);
            let names: Option<Vec<&str>> = names
                .as_ref()
                .map(|names| names.iter().map(String::as_str).collect());
            assert_eq!(names.as_deref(), expected, "{text}");
        }
        let damaged = r#"{"data":{"message":{"BODY":{"text":"Hi {{na\ud83dme}}"}}}}"#;
        let damaged = crate::json::read(damaged.as_bytes()).unwrap();
        assert_eq!(detail(&damaged, "5"), Detail::default());
        let header = |text: &str| {
            let header = json!({ "format": "TEXT", "text": text });
            detail_of(&json!({ "message": { "HEADER": header } })).header_name
        };
        assert_eq!(header("Hi {{customer}}").as_deref(), Some("customer"));
        assert_eq!(header("Hi {{a}} {{b}}"), None);
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
