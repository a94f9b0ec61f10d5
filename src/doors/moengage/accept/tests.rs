//! The decision table and the samples of contracts/moengage.md, row by row and by property.

use super::*;
use crate::domain::{Button, Header};
use crate::doors::moengage::code::code;
use crate::doors::moengage::tests::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn accepted(send: &Value) -> Message {
    read(send.to_string().as_bytes(), None).unwrap()
}

fn template_of(send: &Value) -> Template {
    accepted(send).template
}

fn malformed(body: &[u8]) -> String {
    match read(body, None) {
        Err(Rejected::Malformed { status, message }) => {
            assert_eq!(status, 400);
            message
        }
        other => panic!("{other:?} for {}", String::from_utf8_lossy(body)),
    }
}

fn refusal(send: &Value) -> (&'static str, String) {
    match read(send.to_string().as_bytes(), None) {
        Err(Rejected::Refused {
            msg_id, refusal, ..
        }) => {
            assert_eq!(msg_id.as_str(), "6650f1c2_wa_000001");
            (code(refusal.kind), refusal.reason)
        }
        other => panic!("{other:?} for {send}"),
    }
}

/// The send with one field set; `field` is a JSON pointer.
fn set(mut send: Value, field: &str, value: Value) -> Value {
    *send.pointer_mut(field).expect(field) = value;
    send
}

fn without(mut send: Value, parent: &str, key: &str) -> Value {
    let parent = send.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    parent.remove(key).expect(key);
    send
}

fn url(index: u32, suffix: &str) -> Button {
    let suffix = Some(suffix.into());
    Button::Url { index, suffix }
}

fn tap(index: u32, payload: &str) -> Button {
    let payload = Some(payload.into());
    Button::QuickReply { index, payload }
}

#[test]
fn the_samples_become_messages() {
    let message = accepted(&e1());
    assert_eq!(message.msg_id.as_str(), "6650f1c2_wa_000001");
    assert_eq!(message.from.as_written(), "12025550100");
    assert_eq!(message.to.e164(), "+12025550143");
    assert_eq!(message.campaign, None);
    assert_eq!(message.template.name, "order_update");
    assert_eq!(message.template.language, "en_US");
    assert_eq!(message.template.body, ["Ana", "A-1042"]);
    assert_eq!(template_of(&e2()), template_of(&e3()));
    assert_eq!(template_of(&e2()).language, "en");
    let image = |link: &str| Some(Header::Image(link.into()));
    assert_eq!(
        template_of(&e4()).header,
        image("https://cdn.shop.example/spring.jpg")
    );
    assert_eq!(template_of(&e4()).body, ["20%"]);
    let video = Header::Video("https://cdn.shop.example/start.mp4".into());
    assert_eq!(template_of(&e5()).header, Some(video));
    let document = Header::Document {
        link: "https://files.shop.example/inv/77.pdf".into(),
        filename: Some("invoice-77.pdf".into()),
    };
    assert_eq!(template_of(&e6()).header, Some(document));
    assert_eq!(
        template_of(&e7_text()).header,
        Some(Header::Text("Ana".into()))
    );
    assert_eq!(template_of(&e8()).body, ["$12.50", "March 3, 2031"]);
    let taps = [
        tap(0, "{'slot':'10:30','reply':'keep'}"),
        tap(1, "{'slot':'10:30','reply':'move'}"),
    ];
    assert_eq!(template_of(&e9()).buttons, taps);
    assert_eq!(template_of(&e10()).buttons, [url(0, "A-1042?src=wa")]);
    let all = template_of(&e11());
    assert_eq!(all.header, image("https://cdn.shop.example/new.png"));
    assert_eq!(all.body, ["Ana"]);
    assert_eq!(all.buttons, [url(0, "spring"), tap(1, "STOP_PROMO")]);
}

#[test]
fn spellings_that_mean_the_same_are_taken() {
    let plain = template_of(&e11());
    let text = e11().pointer("/template/components").unwrap().to_string();
    assert_eq!(template_of(&with(json!(text))), plain);
    let upper = e11()
        .to_string()
        .replace("\"header\"", "\"HEADER\"")
        .replace("\"body\"", "\"Body\"")
        .replace("\"quick_reply\"", "\"QUICK_REPLY\"")
        .replace("\"type\":\"image\"", "\"type\":\"Image\"");
    assert_eq!(read(upper.as_bytes(), None).unwrap().template, plain);
    let none = template_of(&e3());
    for empty in [json!(null), json!("[]"), json!("null")] {
        assert_eq!(template_of(&set(e3(), "/template/components", empty)), none);
    }
    let index = "/template/components/2/index";
    for zero in [json!("0"), json!(" 0 ")] {
        assert_eq!(template_of(&set(e11(), index, zero)), plain);
    }
    let amount = "/template/components/0/parameters/0/currency/amount_1000";
    for value in [json!(12500), json!("-12500"), json!(null)] {
        assert_eq!(template_of(&set(e8(), amount, value)), template_of(&e8()));
    }
    let mut extra = e11();
    extra["new"] = json!({ "deep": [1, [2]] });
    extra["template"]["new"] = json!(true);
    extra["template"]["components"][1]["parameters"][0]["new"] = json!("x");
    assert_eq!(template_of(&extra), plain);
    for components in [
        json!([{ "type": "body" }]),
        json!([{ "type": "body", "parameters": null }]),
    ] {
        assert_eq!(template_of(&with(components)).body, Vec::<String>::new());
    }
    let bare = with(json!([
        { "type": "button", "sub_type": "url", "index": "1" },
        { "type": "button", "sub_type": "quick_reply", "index": "0", "parameters": [] },
    ]));
    let expected = [
        Button::Url {
            index: 1,
            suffix: None,
        },
        Button::QuickReply {
            index: 0,
            payload: None,
        },
    ];
    assert_eq!(template_of(&bare).buttons, expected);
    let campaign = read(e1().to_string().as_bytes(), Some("c-7"))
        .unwrap()
        .campaign;
    assert_eq!(campaign.as_deref(), Some("c-7"));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn what_cannot_be_understood_is_malformed() {
    let cases: [(&[u8], &str); 9] = [
        (
            b"",
            "Body is not valid JSON: EOF while parsing a value at line 1 column 0",
        ),
        (
            b"<xml/>",
            "Body is not valid JSON: expected value at line 1 column 1",
        ),
        (
            b"{\"msg_id\":\"a\"",
            "Body is not valid JSON: EOF while parsing an object at line 1 column 13",
        ),
        (
            b"{} x",
            "Body is not valid JSON: trailing characters at line 1 column 4",
        ),
        (
            b"{\"a\xff\":1}",
            "The member name a\u{FFFD} has a character that is no valid Unicode",
        ),
        (b"[]", "Body must be a JSON object, not an array"),
        (b"\"text\"", "Body must be a JSON object, not a string"),
        (b"null", "Body must be a JSON object, not nothing"),
        (b"{}", "msg_id is missing"),
    ];
    for (body, message) in cases {
        assert_eq!(malformed(body), message);
    }
    let cases = [
        ("/msg_id", json!(null), "msg_id is missing"),
        ("/msg_id", json!(""), "msg_id must not be empty"),
        (
            "/msg_id",
            json!("x".repeat(513)),
            "msg_id must not be longer than 512 bytes",
        ),
        (
            "/msg_id",
            json!(17),
            "msg_id must be a string, not a number",
        ),
        (
            "/from",
            json!(12025550100u64),
            "from must be a string, not a number",
        ),
        (
            "/to",
            json!(["+12025550143"]),
            "to must be a string, not an array",
        ),
        ("/template", json!(null), "template is missing"),
        (
            "/template",
            json!("x"),
            "template must be an object, not a string",
        ),
        (
            "/template/name",
            json!(true),
            "template.name must be a string, not a boolean",
        ),
        (
            "/template/language",
            json!("en"),
            "template.language must be an object, not a string",
        ),
        (
            "/template/language/code",
            json!({}),
            "template.language.code must be a string, not an object",
        ),
        (
            "/template/components",
            json!({}),
            "template.components must be an array, not an object",
        ),
        (
            "/template/components/0",
            json!([]),
            "template.components[0] must be an object, not an array",
        ),
        (
            "/template/components/1/type",
            json!(1),
            "template.components[1].type must be a string, not a number",
        ),
        (
            "/template/components/1/parameters",
            json!("x"),
            "template.components[1].parameters must be an array, not a string",
        ),
        (
            "/template/components/1/parameters/0",
            json!("x"),
            "template.components[1].parameters[0] must be an object, not a string",
        ),
        (
            "/template/components/1/parameters/0/text",
            json!(5),
            "template.components[1].parameters[0].text must be a string, not a number",
        ),
        (
            "/template/components/0/parameters/0/image",
            json!("x"),
            "template.components[0].parameters[0].image must be an object, not a string",
        ),
        (
            "/template/components/0/parameters/0/image/link",
            json!(1),
            "template.components[0].parameters[0].image.link must be a string, not a number",
        ),
        (
            "/template/components/2/index",
            json!([]),
            "template.components[2].index must be a string or a number, not an array",
        ),
    ];
    for (field, value, message) in cases {
        let body = set(e11(), field, value).to_string();
        assert_eq!(malformed(body.as_bytes()), message);
    }
    let missing = without(e1(), "", "template").to_string();
    assert_eq!(malformed(missing.as_bytes()), "template is missing");
    let twice = br#"{"msg_id":"a","msg_id":"b"}"#;
    assert!(malformed(twice).contains("duplicate field `msg_id`"));
}

#[test]
fn r_75_what_nobody_reads_hurts_nobody() {
    let deep = |open: &str, close: &str, n: usize| [open.repeat(n), close.repeat(n)].concat();
    // Members that are looked at, if only to see of what kind they are.
    let body = |value: &str| {
        let text = json!({ "type": "text", "text": "Ana", "payload": 0, "image": { "link": 0 },
            "currency": { "fallback_value": 0, "amount_1000": 0 } });
        let all = with_body(json!([text])).to_string();
        assert_eq!(all.matches(":0").count(), 4);
        let all = all.replace(":0", &format!(":{value}"));
        format!(r#"{{"new":{value},{}"#, &all[1..])
    };
    for value in [
        "1e999999".to_owned(),
        "7".repeat(400),
        deep("[", "]", 200),
        format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200)),
        deep("[", "]", 100_000),
        r#""\ud83d""#.to_owned(),
        r#""\ud83""#.to_owned(),
        "\"a\nb\"".to_owned(),
        "NaN".to_owned(),
    ] {
        assert!(read(body(&value).as_bytes(), None).is_ok(), "{value:.40}");
    }
    assert!(malformed(body("[").as_bytes()).starts_with("Body is not valid JSON"));
    // Brackets within a text are text.
    let text = "[{\"".repeat(500);
    let send = with_body(json!([{ "type": "text", "text": text }]));
    assert_eq!(template_of(&send).body, [text]);
    let send = with(json!(deep("[", "]", 100_000))).to_string();
    let expected = "template.components[0] must be an object, not an array";
    assert_eq!(malformed(send.as_bytes()), expected);
}

#[test]
fn r_24_half_a_character_is_mended_in_a_text_and_refused_in_a_name() {
    let body = with_body(json!([{ "type": "text", "text": "Ana @" }])).to_string();
    let got = read(body.replace('@', "\\ud83d").as_bytes(), None).unwrap();
    assert_eq!(got.template.body, ["Ana \u{FFFD}"]);
    let fields = [
        ("/msg_id", "msg_id"),
        ("/to", "to"),
        ("/from", "from"),
        ("/template/name", "template.name"),
        ("/template/language/code", "template.language.code"),
    ];
    for (pointer, field) in fields {
        let body = set(e1(), pointer, json!("1@")).to_string();
        let expected = format!("{field} has a character that is no valid Unicode");
        assert_eq!(malformed(body.replace('@', "\\ud83d").as_bytes()), expected);
    }
}

/// The damage may be of the body, or of the text within it.
#[test]
fn r_24_components_in_a_text_are_told_their_damage_like_others() {
    let sent = |member: &str, text: &str, half: &str| {
        let components =
            json!([{ "type": "body", "parameters": [{ "type": "text", member: text }] }]);
        let mut send = e1();
        send["template"]["components"] = components.to_string().into();
        send.to_string().replace('@', half)
    };
    for half in ["\\ud83d", "\\\\ud83d"] {
        let body = sent("text", "Ana @", half);
        let got = read(body.as_bytes(), None).unwrap();
        assert_eq!(got.template.body, ["Ana \u{FFFD}"], "{body}");
        assert!(got.is_damaged, "{body}");
        let shown = malformed(sent("te@xt", "Ana", half).as_bytes());
        assert!(shown.starts_with("The member name te"), "{shown}");
        assert!(
            shown.ends_with("has a character that is no valid Unicode"),
            "{shown}"
        );
    }
    let body = sent("text", "Ana \u{FFFD}", "");
    assert!(!read(body.as_bytes(), None).unwrap().is_damaged);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn what_cannot_be_sent_is_refused_with_its_reason() {
    let p0 = "/template/components/0/parameters/0";
    let at = |rest: &str| format!("{p0}{rest}");
    let url_header = "link of the header image does not begin with http:// or https://";
    let cases = [
        (
            set(e1(), "/from", json!(null)),
            "7000",
            "Sender (from) is missing",
        ),
        (
            set(e1(), "/from", json!("shop")),
            "7000",
            "Sender (from) is not a phone number: it holds a character that no phone number has",
        ),
        (without(e1(), "", "to"), "7002", "Recipient (to) is missing"),
        (
            set(e1(), "/to", json!("1-800-FLOWERS")),
            "7002",
            "Recipient is not an E.164 number: it holds a character that no phone number has",
        ),
        (
            set(e1(), "/to", json!("12345")),
            "7002",
            "Recipient is not an E.164 number: it needs 7 to 15 digits with the country code",
        ),
        (
            set(e1(), "/to", json!("+1202555014")),
            "7002",
            "Recipient is not a possible number: wrong country code or length",
        ),
        (
            set(e1(), "/to", json!("+9991234567890")),
            "7002",
            "Recipient is not a possible number: wrong country code or length",
        ),
        (
            set(e1(), "/template/name", json!(" ")),
            "7001",
            "template name is empty",
        ),
        (
            without(e1(), "/template", "language"),
            "7001",
            "template language is empty",
        ),
        (
            set(e1(), "/template/language/code", json!("")),
            "7001",
            "template language is empty",
        ),
        (
            set(e1(), "/template/components", json!("[{")),
            "7001",
            "template.components is a text that holds no array",
        ),
        (
            set(e1(), "/template/components", json!("\"[]\"")),
            "7001",
            "template.components is a text that holds no array",
        ),
        (
            set(e1(), "/template/components/0", json!(null)),
            "7001",
            "component 1 is null",
        ),
        (
            without(e1(), "/template/components/0", "type"),
            "7001",
            "component 1 has no type",
        ),
        (
            without(e1(), "/template/components/0/parameters/1", "text"),
            "7001",
            "body parameter 2 has no text",
        ),
        (
            set(
                e1(),
                "/template/components/0/parameters/1/text",
                json!(null),
            ),
            "7001",
            "body parameter 2 has no text",
        ),
        (
            without(e1(), p0, "type"),
            "7001",
            "body parameter 1 has no type",
        ),
        (
            set(e1(), &at("/type"), json!("image")),
            "7001",
            "body parameter 1 must be text, currency or date_time, not image",
        ),
        (
            set(e1(), &at("/type"), json!("location")),
            "7004",
            "body parameter 1 of type location is not supported by this gateway",
        ),
        (
            without(e8(), &at("/currency"), "fallback_value"),
            "7001",
            "body parameter 1 has no fallback_value",
        ),
        (
            without(e8(), p0, "currency"),
            "7001",
            "body parameter 1 has no fallback_value",
        ),
        (
            set(e8(), &at("/currency/amount_1000"), json!("12.5")),
            "7001",
            "body parameter 1 has an amount_1000 that is not a whole number",
        ),
        (
            set(e8(), &at("/currency/amount_1000"), json!(12.5)),
            "7001",
            "body parameter 1 has an amount_1000 that is not a whole number",
        ),
        (
            e7_location(),
            "7004",
            "header parameter of type location is not supported by this gateway",
        ),
        (
            set(e7_text(), &at("/type"), json!("currency")),
            "7001",
            "header parameter must be text, image, video or document, not currency",
        ),
        (
            without(e7_text(), p0, "text"),
            "7001",
            "header parameter has no text",
        ),
        (
            set(e7_text(), "/template/components/0/parameters", json!([])),
            "7001",
            "header takes one parameter, got 0",
        ),
        (
            set(
                e7_text(),
                "/template/components/0/parameters",
                json!([{}, {}]),
            ),
            "7001",
            "header takes one parameter, got 2",
        ),
        (
            without(e5(), p0, "video"),
            "7001",
            "header video has no link",
        ),
        (
            without(e6(), &at("/document"), "link"),
            "7001",
            "header document has no link",
        ),
        (
            set(e4(), &at("/image/link"), json!("ftp://x.example/a.jpg")),
            "7001",
            url_header,
        ),
        (
            set(e4(), &at("/image/link"), json!("https://")),
            "7001",
            url_header,
        ),
        (
            set(e4(), &at("/image/link"), json!("https:///a")),
            "7001",
            url_header,
        ),
        (
            set(e4(), &at("/image/link"), json!("https://x.example/a b")),
            "7001",
            url_header,
        ),
        (set(e4(), &at("/image/link"), json!("")), "7001", url_header),
        (
            with(json!([{"type": "body"}, {"type": "body"}])),
            "7001",
            "template has two bodies",
        ),
        (
            set(
                e4(),
                "/template/components/1",
                e7_text()["template"]["components"][0].clone(),
            ),
            "7001",
            "template has two headers",
        ),
        (
            set(e11(), "/template/components/3/index", json!("0")),
            "7001",
            "two buttons have the index 0",
        ),
        (
            without(e10(), "/template/components/0", "index"),
            "7001",
            "button in component 1 has no index",
        ),
        (
            set(e10(), "/template/components/0/index", json!("-1")),
            "7001",
            "button in component 1 has an index that is not a whole number from 0",
        ),
        (
            set(e10(), "/template/components/0/index", json!(1.5)),
            "7001",
            "button in component 1 has an index that is not a whole number from 0",
        ),
        (
            without(e10(), "/template/components/0", "sub_type"),
            "7001",
            "button in component 1 has no sub_type",
        ),
        (
            set(e10(), "/template/components/0/sub_type", json!("copy_code")),
            "7004",
            "Button of type copy_code is not supported by this gateway",
        ),
        (
            set(e10(), &at("/type"), json!("payload")),
            "7001",
            "button 0 (url) must be text, not payload",
        ),
        (
            set(e10(), &at("/type"), json!("coupon_code")),
            "7004",
            "button 0 (url) of type coupon_code is not supported by this gateway",
        ),
        (
            without(e10(), p0, "text"),
            "7001",
            "button 0 (url) has no text",
        ),
        (
            without(e9(), "/template/components/1/parameters/0", "payload"),
            "7001",
            "button 0 (quick_reply) has no payload",
        ),
        (
            set(e10(), "/template/components/0/parameters", json!([{}, {}])),
            "7001",
            "button 0 (url) takes one parameter, got 2",
        ),
        (e12(), "7004", "Carousel is not supported by this gateway"),
        (
            with(json!([{"type": "LIMITED_TIME_OFFER"}])),
            "7004",
            "Component limited_time_offer is not supported by this gateway",
        ),
        (
            with(json!([{"type": "call 1 202 555 0143"}])),
            "7004",
            "Component (unreadable) is not supported by this gateway",
        ),
        (
            with(json!([{"type": "a12025550143"}])),
            "7004",
            "Component a12*******43 is not supported by this gateway",
        ),
    ];
    for (send, code, reason) in cases {
        assert_eq!(refusal(&send), (code, reason.to_owned()), "{send}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn limits_hold_at_their_edge() {
    let at = |n: usize| "é".repeat(n);
    let p0 = "/template/components/0/parameters/0";
    let link = |n: usize| format!("https://{}", "x".repeat(n - 8));
    let parameters = |n: usize| with_body(json!(vec![json!({"type": "text", "text": "x"}); n]));
    let buttons = |n: usize| {
        let all: Vec<_> = (0..n).map(|i| url_button(json!(i), "x")).collect();
        with(json!(all))
    };
    type Case = (Box<dyn Fn(usize) -> Value>, usize, &'static str);
    let field = |send: Value, field: String, make: Box<dyn Fn(usize) -> String>| {
        Box::new(move |n| set(send.clone(), &field, json!(make(n)))) as Box<dyn Fn(usize) -> Value>
    };
    let cases: Vec<Case> = vec![
        (
            Box::new(parameters),
            MAX_PARAMETERS,
            "body has more than 64 parameters",
        ),
        (
            Box::new(buttons),
            MAX_COMPONENTS,
            "template has more than 32 components",
        ),
        (
            field(e1(), format!("{p0}/text"), Box::new(at)),
            MAX_TEXT,
            "text of body parameter 1 is longer than 4096 characters",
        ),
        (
            field(e7_text(), format!("{p0}/text"), Box::new(at)),
            MAX_TEXT,
            "text of header parameter is longer than 4096 characters",
        ),
        (
            field(e8(), format!("{p0}/currency/fallback_value"), Box::new(at)),
            MAX_TEXT,
            "fallback_value of body parameter 1 is longer than 4096 characters",
        ),
        (
            field(
                e9(),
                "/template/components/1/parameters/0/payload".into(),
                Box::new(at),
            ),
            MAX_TEXT,
            "payload of button 0 (quick_reply) is longer than 4096 characters",
        ),
        (
            field(e10(), format!("{p0}/text"), Box::new(at)),
            MAX_URL,
            "text of button 0 (url) is longer than 2048 characters",
        ),
        (
            field(e4(), format!("{p0}/image/link"), Box::new(link)),
            MAX_URL,
            "link of header image is longer than 2048 characters",
        ),
        (
            field(e6(), format!("{p0}/document/filename"), Box::new(at)),
            MAX_NAME,
            "document filename is longer than 512 characters",
        ),
        (
            field(e1(), "/template/name".into(), Box::new(at)),
            MAX_NAME,
            "template name is longer than 512 characters",
        ),
        (
            field(e1(), "/template/language/code".into(), Box::new(at)),
            MAX_NAME,
            "template language is longer than 512 characters",
        ),
    ];
    for (make, limit, reason) in cases {
        accepted(&make(limit));
        assert_eq!(refusal(&make(limit + 1)), ("7001", reason.to_owned()));
    }
}

#[test]
fn a_refusal_tells_the_channel_when_it_can() {
    let from = |send: Value| match read(send.to_string().as_bytes(), None) {
        Err(Rejected::Refused { from, .. }) => from.map(|from| from.as_written().to_owned()),
        other => panic!("{other:?}"),
    };
    assert_eq!(from(e12()).as_deref(), Some("12025550100"));
    assert_eq!(
        from(set(e1(), "/to", json!("x"))).as_deref(),
        Some("12025550100")
    );
    assert_eq!(from(set(e1(), "/from", json!("x"))), None);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z_]{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "body",
            "header",
            "button",
            "text",
            "image",
            "url",
            "quick_reply",
            "[]",
            "+12025550143"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let keys = prop::sample::select(vec![
            "msg_id",
            "from",
            "to",
            "template",
            "name",
            "language",
            "code",
            "components",
            "type",
            "sub_type",
            "index",
            "parameters",
            "text",
            "image",
            "link",
            "payload",
            "currency",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(keys.prop_map(str::to_owned), inner, 0..6)
                .prop_map(Value::from_iter),
        ]
    })
}

/// Every place in a JSON value, as pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(list) => {
            for (i, inner) in list.iter().enumerate() {
                places(inner, &format!("{at}/{i}"), found);
            }
        }
        Value::Object(map) => {
            for (key, inner) in map {
                places(inner, &format!("{at}/{key}"), found);
            }
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(read(&bytes, None).is_err());
    }

    #[test]
    fn arbitrary_json_never_panics(json in any_json()) {
        let _ = read(json.to_string().as_bytes(), Some("c"));
    }

    /// A send with anything at any one place is taken or turned away, and the answer holds neither
    /// the recipient nor what was put there.
    #[test]
    fn one_wrong_place_never_panics_or_echoes(json in any_json(), place in any::<prop::sample::Index>()) {
        let mut all = Vec::new();
        places(&e11(), "", &mut all);
        let at: &String = place.get(&all);
        let body = set(e11(), at, json).to_string();
        let reason = match read(body.as_bytes(), None) {
            Ok(_) => String::new(),
            Err(Rejected::Malformed { message, .. }) => message,
            Err(Rejected::Refused { refusal, .. }) => refusal.reason,
        };
        prop_assert!(!reason.contains("2025550143"), "{}", reason);
    }

    #[test]
    fn every_text_arrives_in_its_order(
        texts in prop::collection::vec(".{0,60}", 0..MAX_PARAMETERS),
        payloads in prop::collection::vec(".{0,60}", 0..10),
        as_text in any::<bool>(),
    ) {
        let parameters: Vec<_> = texts.iter().map(|text| json!({"type": "text", "text": text})).collect();
        let mut components = vec![json!({"type": "body", "parameters": parameters})];
        for (index, payload) in payloads.iter().enumerate() {
            components.push(quick_reply(json!(index.to_string()), payload));
        }
        let components = json!(components);
        let components = if as_text { json!(components.to_string()) } else { components };
        let template = template_of(&with(components));
        prop_assert_eq!(template.body, texts);
        let expected: Vec<_> = payloads.iter().enumerate().map(|(i, text)| tap(i as u32, text)).collect();
        prop_assert_eq!(template.buttons, expected);
    }
}

fn named_body(names: &[Value]) -> Value {
    let parameters: Vec<Value> = (0..)
        .zip(names)
        .map(|(at, name)| json!({ "type": "text", "text": format!("t{at}"), "parameter_name": name }))
        .collect();
    let body = json!([{ "type": "body", "parameters": parameters }]);
    set(e1(), "/template/components", body)
}

#[test]
fn r_27_parameters_keep_the_names_that_they_came_with() {
    let template = template_of(&named_body(&[json!(" order_id "), json!("customer")]));
    assert_eq!(template.body, ["t0", "t1"]);
    assert_eq!(template.names.body, ["order_id", "customer"]);
    let template = template_of(&named_body(&[json!("2"), json!(1)]));
    assert_eq!(template.names.body, ["2", "1"]);
    let template = template_of(&named_body(&[json!(null), json!(" ")]));
    assert!(template.names.is_empty());
    let components = json!([
        { "type": "header", "parameters": [{ "type": "text", "text": "a", "parameter_name": "h" }] },
        { "type": "button", "sub_type": "url", "index": "3",
          "parameters": [{ "type": "text", "text": "b", "parameter_name": "u" }] },
        { "type": "button", "sub_type": "quick_reply", "index": 4,
          "parameters": [{ "type": "payload", "payload": "c", "parameter_name": "q" }] },
    ]);
    let names = template_of(&set(e1(), "/template/components", components)).names;
    assert_eq!(names.header.as_deref(), Some("h"));
    assert_eq!(names.buttons, [(3, "u".to_owned())]);
}

#[test]
fn r_27_some_names_or_the_same_twice_have_no_order() {
    for (names, expected) in [
        (
            [json!("a"), json!(null)],
            "body parameter 2 has no parameter_name, and others have one",
        ),
        (
            [json!(""), json!("a")],
            "body parameter 1 has no parameter_name, and others have one",
        ),
        (
            [json!("a"), json!("a ")],
            "body parameters 1 and 2 have the same parameter_name",
        ),
        (
            [json!("a".repeat(MAX_NAME + 1)), json!("a")],
            "template.components[0].parameters[0].parameter_name is longer than 512 characters",
        ),
    ] {
        assert_eq!(refusal(&named_body(&names)), ("7001", expected.to_owned()));
    }
    let place = "template.components[0].parameters[1].parameter_name";
    for (name, wrong) in [
        (json!({}), "must be a string, not an object"),
        (json!("@"), "has a character that is no valid Unicode"),
    ] {
        let body = named_body(&[json!("a"), name]).to_string();
        let body = body.replace('@', "\\ud83d");
        assert_eq!(malformed(body.as_bytes()), format!("{place} {wrong}"));
    }
    // What came as U+FFFD in a sound body is a name like others.
    let sound = named_body(&[json!("a"), json!("\u{FFFD}")]);
    assert_eq!(template_of(&sound).names.body, ["a", "\u{FFFD}"]);
}
