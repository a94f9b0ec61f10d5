//! A template's parameters as Jumper wants them: the text of the field `message_params`.
//!
//! Jumper writes each value as the key of an object of its own, with the value's type as content
//! (contracts/jumper.md section 5). Equal values therefore stay separate, and order is the order of
//! the placeholders. Pure; never drops, adds or merges a value.

use crate::domain::{Button, Header, Template};
use serde_json::{Value, json};

/// The JSON text of `message_params`.
pub(super) fn message_params(template: &Template) -> String {
    let body: Vec<Value> = template
        .body
        .iter()
        .map(|text| typed(text, "text"))
        .collect();
    let buttons: Vec<Value> = template.buttons.iter().map(button).collect();
    let header: Vec<Value> = template.header.iter().map(header).collect();
    let mut params = json!({ "HEADER": header, "BODY": body, "BUTTONS": buttons });
    if let Some(Header::Document { link, filename }) = &template.header {
        let name = filename.as_deref().unwrap_or_else(|| last_segment(link));
        params["filename"] = name.into();
    }
    params.to_string()
}

fn typed(value: &str, kind: &str) -> Value {
    json!({ value: kind })
}

fn header(header: &Header) -> Value {
    match header {
        Header::Text(text) => typed(text, "text"),
        Header::Image(link) => typed(link, "image"),
        Header::Video(link) => typed(link, "video"),
        Header::Document { link, .. } => typed(link, "document"),
    }
}

fn button(button: &Button) -> Value {
    let (sub_type, parameters) = match button {
        Button::Url { suffix, .. } => {
            let text = suffix.as_deref().unwrap_or_default();
            ("url", vec![json!({ "type": "text", "text": text })])
        }
        Button::QuickReply { payload, .. } => {
            let given = payload.iter();
            let parameter = |payload| json!({ "type": "payload", "payload": payload });
            ("quick_reply", given.map(parameter).collect())
        }
    };
    json!({
        "type": "button",
        "sub_type": sub_type,
        "index": button.index(),
        "parameters": parameters,
    })
}

/// The name that a link's path ends with; a plain word when the path names no file.
fn last_segment(link: &str) -> &str {
    let path = link.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    match path.rsplit_once('/') {
        Some((_, name)) if !name.is_empty() => name,
        _ => "document",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Names;
    use proptest::prelude::*;

    fn template() -> Template {
        Template {
            name: "t".into(),
            language: "en".into(),
            header: None,
            body: Vec::new(),
            buttons: Vec::new(),
            names: Names::default(),
        }
    }

    fn params(template: &Template) -> Value {
        serde_json::from_str(&message_params(template)).unwrap()
    }

    #[test]
    fn the_three_arrays_are_always_there() {
        let expected = json!({ "HEADER": [], "BODY": [], "BUTTONS": [] });
        assert_eq!(params(&template()), expected);
    }

    #[test]
    fn each_header_kind_has_its_word() {
        let link = || "https://cdn.example.com/a/b.pdf?x=1&y=\"2\"".to_string();
        let document = |filename: Option<&str>| Header::Document {
            link: link(),
            filename: filename.map(Into::into),
        };
        let cases = [
            (Header::Text("Ana".into()), json!([{ "Ana": "text" }]), None),
            (Header::Text(String::new()), json!([{ "": "text" }]), None),
            (Header::Image(link()), json!([{ link(): "image" }]), None),
            (Header::Video(link()), json!([{ link(): "video" }]), None),
            (
                document(Some("Bill")),
                json!([{ link(): "document" }]),
                Some("Bill"),
            ),
            (
                document(None),
                json!([{ link(): "document" }]),
                Some("b.pdf"),
            ),
        ];
        for (header, expected, filename) in cases {
            let got = params(&Template {
                header: Some(header),
                ..template()
            });
            assert_eq!(got["HEADER"], expected);
            assert_eq!(got.get("filename").and_then(Value::as_str), filename);
        }
    }

    #[test]
    fn a_document_without_a_name_is_named_after_its_link() {
        let cases = [
            ("https://h/a/b.pdf", "b.pdf"),
            ("https://h/a/b.pdf?v=/2#c/d", "b.pdf"),
            ("https://h/a/", "document"),
            ("https://h", "document"),
            ("", "document"),
        ];
        for (link, name) in cases {
            assert_eq!(last_segment(link), name, "{link}");
        }
    }

    #[test]
    fn equal_values_stay_separate_and_in_order() {
        let body = ["Asha", "10%", "10%", "", "línea\n\"2\""]
            .map(String::from)
            .to_vec();
        let got = params(&Template { body, ..template() });
        let expected = json!([
            { "Asha": "text" }, { "10%": "text" }, { "10%": "text" },
            { "": "text" }, { "línea\n\"2\"": "text" },
        ]);
        assert_eq!(got["BODY"], expected);
    }

    #[test]
    fn a_button_index_is_a_number() {
        let buttons = vec![
            Button::Url {
                index: 0,
                suffix: Some("/o/1".into()),
            },
            Button::Url {
                index: 1,
                suffix: None,
            },
            Button::QuickReply {
                index: 2,
                payload: Some("{'a':'b'}".into()),
            },
            Button::QuickReply {
                index: 3,
                payload: None,
            },
        ];
        let got = params(&Template {
            buttons,
            ..template()
        });
        let expected = json!([
            { "type": "button", "sub_type": "url", "index": 0,
              "parameters": [{ "type": "text", "text": "/o/1" }] },
            { "type": "button", "sub_type": "url", "index": 1,
              "parameters": [{ "type": "text", "text": "" }] },
            { "type": "button", "sub_type": "quick_reply", "index": 2,
              "parameters": [{ "type": "payload", "payload": "{'a':'b'}" }] },
            { "type": "button", "sub_type": "quick_reply", "index": 3, "parameters": [] },
        ]);
        assert_eq!(got["BUTTONS"], expected);
    }

    proptest! {
        #[test]
        fn any_body_reads_back_as_it_was(body in prop::collection::vec(".{0,20}", 0..12)) {
            let got = params(&Template { body: body.clone(), ..template() });
            let read: Vec<String> = got["BODY"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one.as_object().unwrap().keys().next().unwrap().clone())
                .collect();
            prop_assert_eq!(read, body);
        }
    }
}
