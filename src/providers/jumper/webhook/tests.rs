//! Tables over the shapes of contracts/jumper.md section 6, and properties over any JSON at all.

use super::found::LONGEST_RAW;
use super::*;
use crate::domain::UnixMs;
use proptest::prelude::*;
use serde_json::json;

fn event(kind: &str, data: &Value) -> Value {
    json!({ "event": { "type": kind, "subscription_type": "livechat", "data": data } })
}

fn parse(body: &Value) -> Result<Vec<Incoming>, TooMany> {
    super::parse(&body.clone().into())
}

fn one(body: &Value) -> Incoming {
    let mut found = parse(body).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn status(body: &Value) -> StatusEvent {
    match one(body) {
        Incoming::Status(event) => event,
        found => panic!("no status: {found:?}"),
    }
}

fn reply(data: &Value) -> Reply {
    match one(&event("NEW", data)) {
        Incoming::Reply(reply) => reply,
        found => panic!("no reply: {found:?}"),
    }
}

fn kind(body: &Value) -> &'static str {
    match one(body) {
        Incoming::Other { kind, .. } => kind,
        found => panic!("understood: {found:?}"),
    }
}

fn meta_event(statuses: &Value) -> Value {
    let value = json!({ "messaging_product": "whatsapp", "statuses": statuses });
    let entry = json!([{ "id": "W", "changes": [{ "field": "messages", "value": value }] }]);
    event(
        "UPDATE",
        &json!({ "object": "whatsapp_business_account", "entry": entry }),
    )
}

#[test]
fn a_chat_message_of_an_agent_is_delivered() {
    let data = json!({ "messageid": "M1", "conversationid": "C1", "agent": { "id": "A1" },
        "delivered": true, "status": "delivered", "message": "s3ndt3mpl4te_5000000000000001",
        "mobilecountrycode": "+91", "mobile": 9876543210_i64, "last_updated": "2024-01-01T00:00:05" });
    for kind in ["UPDATE", "NEW"] {
        let got = status(&event(kind, &data));
        assert_eq!(got.provider_id.as_str(), "M1");
        assert_eq!(got.status, Status::Delivered);
        assert_eq!(got.at, Some(UnixMs(1_704_067_205_000)));
        assert_eq!(got.recipient, Phone::parse("919876543210").ok());
    }
}

#[test]
fn a_chat_that_an_agent_leads_is_no_evidence() {
    let data = json!({ "messageid": "M1", "agent": "A1", "delivered": true, "message": "hello",
        "mobile": "919876543210" });
    assert_eq!(status(&event("UPDATE", &data)).recipient, None);
    let person = json!({ "messageid": "U1", "agent": null, "delivered": true, "message": "hi",
        "mobile": "919876543210" });
    assert_eq!(kind(&event("UPDATE", &person)), "no_status");
}

#[test]
fn a_rejection_of_the_messages_api_says_why() {
    let data = json!({ "message_uuid": "M1", "status": "rejected", "channel": "whatsapp",
        "timestamp": "2024-01-01T00:00:00Z", "to": "910000000000",
        "error": { "type": "https://x", "title": "1340", "detail": "Outside allowed window" } });
    let got = status(&event("UPDATE", &data));
    assert_eq!(got.status, Status::Failed);
    assert_eq!(got.error.as_deref(), Some("1340 Outside allowed window"));
    assert_eq!(got.at, Some(UnixMs(1_704_067_200_000)));
    assert_eq!(got.recipient, Phone::parse("910000000000").ok());
}

#[test]
fn a_failure_of_meta_says_why_without_whole_numbers() {
    let got = status(&meta_event(
        &json!([{ "id": "M1", "status": "failed", "timestamp": 1704067200,
        "recipient_id": 919876543210_i64, "errors": [
            { "code": 131026, "title": "Message undeliverable", "message": "Message undeliverable",
              "error_data": { "details": "919876543210 is not on WhatsApp" } },
            { "code": 1 } ] }]),
    ));
    let reason = "131026 Message undeliverable 91********10 is not on WhatsApp; 1";
    assert_eq!(got.error.as_deref(), Some(reason));
}

#[test]
fn every_word_has_its_status() {
    let cases = [
        ("submitted", Status::Sent),
        ("sent", Status::Sent),
        ("Delivered", Status::Delivered),
        ("READ", Status::Read),
        ("failed", Status::Failed),
        ("rejected", Status::Failed),
        ("reject", Status::Failed),
        ("undeliverable", Status::Failed),
    ];
    for (word, expected) in cases {
        let vonage = event("UPDATE", &json!({ "message_uuid": 17, "status": word }));
        assert_eq!(status(&vonage).status, expected, "{word}");
        assert_eq!(status(&vonage).provider_id.as_str(), "17");
        let meta = meta_event(&json!([{ "id": "M", "status": word }]));
        assert_eq!(status(&meta).status, expected, "{word}");
    }
    let unknown = json!([{ "id": "M", "status": "deleted" }]);
    assert_eq!(kind(&meta_event(&unknown)), "unknown_status");
    let replied = json!({ "message_uuid": "M", "status": "replied" });
    assert_eq!(kind(&event("UPDATE", &replied)), "unknown_status");
}

#[test]
fn a_batch_keeps_every_element_in_order() {
    let statuses = |ids: &[&str]| -> Value {
        ids.iter()
            .map(|id| json!({ "id": id, "status": "sent" }))
            .collect()
    };
    let change = |ids: &[&str]| json!({ "value": { "statuses": statuses(ids) } });
    let entry = json!([
        { "changes": [change(&["1", "2"]), change(&[]), change(&["3"])] },
        {},
        { "changes": [change(&["4"])] },
    ]);
    let found = parse(&event("UPDATE", &json!({ "entry": entry }))).unwrap();
    let names: Vec<&str> = found
        .iter()
        .map(|incoming| match incoming {
            Incoming::Status(event) => event.provider_id.as_str(),
            Incoming::Other { kind, .. } => kind,
            Incoming::Reply(_) => "reply",
        })
        .collect();
    assert_eq!(names, ["1", "2", "no_status", "3", "4"]);
}

#[test]
fn a_body_that_says_nothing_is_kept_and_not_fatal() {
    let cases = [
        (json!(null), "unreadable"),
        (json!([]), "unreadable"),
        (json!({}), "unreadable"),
        (json!({ "event": null }), "unreadable"),
        (json!({ "event": { "type": "UPDATE" } }), "no_status"),
        (event("UPDATE", &json!(null)), "unreadable"),
        (event("UPDATE", &json!({})), "no_status"),
        (event("UPDATE", &json!({ "entry": null })), "no_status"),
        (event("UPDATE", &json!({ "entry": [] })), "no_status"),
        (meta_event(&json!([])), "no_status"),
        (meta_event(&json!([{ "id": "M" }])), "no_status"),
        (meta_event(&json!([{ "status": "sent" }])), "unreadable"),
        (
            event("UPDATE", &json!({ "message_uuid": "M" })),
            "no_status",
        ),
        (
            event("UPDATE", &json!({ "message_uuid": "", "status": "read" })),
            "unreadable",
        ),
        (
            event("DELETED", &json!({ "message_uuid": "M", "status": "read" })),
            "unknown_type",
        ),
        (
            json!({ "event": { "type": 5, "data": {} } }),
            "unknown_type",
        ),
        (event("NEW", &json!({})), "unreadable"),
    ];
    for (body, expected) in cases {
        assert_eq!(kind(&body), expected, "{body}");
    }
}

fn person() -> Value {
    json!({ "messageid": "U9", "conversationid": "C1", "message": "Yes", "mobilecountrycode": "91",
        "mobile": "9876543210", "created": "2024-01-01T00:00:05Z", "platform": "whatsapp",
        "agent": null })
}

fn with(mut data: Value, name: &str, value: Value) -> Value {
    data[name] = value;
    data
}

#[test]
fn a_tap_names_the_message_it_answers() {
    let quoted = json!({ "messageid": "M1", "conversationid": "C1", "replied": true,
        "message": "s3ndt3mpl4te_5000000000000001" });
    let got = reply(&with(person(), "replytomessage", quoted));
    assert_eq!(got.context, ProviderId::parse("M1").ok());
    assert_eq!(got.id, ProviderId::parse("U9").ok());
    assert_eq!(
        (got.text.as_str(), got.at),
        ("Yes", Some(UnixMs(1_704_067_205_000)))
    );
    assert_eq!(got.from, Phone::parse("919876543210").ok());
    assert_eq!(got.dated, "2024-01-01T00:00:05Z");
    let odd = reply(&with(person(), "timestamp", json!("soon")));
    assert_eq!(odd.dated, "soon 2024-01-01T00:00:05Z");
}

#[test]
fn a_user_id_stands_beside_the_number_or_in_its_place() {
    let id = "US.13491208655302741918";
    let user = UserId::parse(id);
    assert!(user.is_some());
    // No number is made of its digits.
    for place in ["mobile", "from_user_id"] {
        let nameless = with(person(), "mobile", json!(null));
        let said = reply(&with(nameless, place, json!(id)));
        assert_eq!((said.from, said.user), (None, user.clone()), "{place}");
    }
    let both = reply(&with(person(), "from_user_id", json!(id)));
    assert_eq!(both.from, Phone::parse("919876543210").ok());
    assert_eq!(both.user, user);
    assert_eq!(reply(&person()).user, None);
    // Jumper's own word for who works at its dashboard.
    for agent in [id, "auth0-77"] {
        assert_eq!(reply(&with(person(), "user_id", json!(agent))).user, None);
    }
    let one = json!({ "id": "M1", "status": "read", "recipient_user_id": id });
    let named = status(&meta_event(&json!([one])));
    assert_eq!((named.recipient, named.user), (None, user));
}

#[test]
fn a_reply_without_a_quoted_message_has_no_context() {
    assert_eq!(reply(&person()).context, None);
    let old = json!({ "conversationid": "C1", "message": "s3ndt3mpl4te_5000000000000001" });
    assert_eq!(reply(&with(person(), "replytomessage", old)).context, None);
    let unquoted = json!({ "messageid": "M1", "replied": false });
    assert_eq!(
        reply(&with(person(), "replytomessage", unquoted)).context,
        None
    );
}

#[test]
fn agents_bots_and_media_are_no_replies() {
    let cases = [
        (with(person(), "agent", json!({ "id": "A1" })), "agent"),
        (with(person(), "agent", json!("A1")), "agent"),
        (with(person(), "from_bot", json!(true)), "bot"),
        (with(person(), "message", json!("")), "media"),
        (with(person(), "message", json!(null)), "media"),
        (with(person(), "mobile", json!("no number")), "unreadable"),
        (
            with(person(), "message", json!("s3ndt3mpl4te_1")),
            "no_status",
        ),
    ];
    for (data, expected) in cases {
        assert_eq!(kind(&event("NEW", &data)), expected, "{data}");
    }
    assert_eq!(reply(&with(person(), "agent", json!({}))).text, "Yes");
    assert_eq!(reply(&with(person(), "message", json!(7))).text, "7");
}

#[test]
fn country_codes_come_in_many_spellings() {
    let cases = [
        (json!("91"), json!("9876543210")),
        (json!("+91"), json!("9876543210")),
        (json!(91), json!(9_876_543_210_i64)),
        (json!(null), json!("919876543210")),
        (json!("null"), json!("919876543210")),
        (json!(""), json!("+919876543210")),
        (json!("91"), json!("+91 98765-43210")),
    ];
    for (code, mobile) in cases {
        let data = with(with(person(), "mobilecountrycode", code), "mobile", mobile);
        assert_eq!(
            reply(&data).from,
            Phone::parse("919876543210").ok(),
            "{data}"
        );
    }
}

#[test]
fn moments_come_in_many_spellings() {
    let cases = [
        (json!("1704067200"), Some(1_704_067_200_000)),
        (json!(1704067200), Some(1_704_067_200_000)),
        (json!(1_704_067_200_123_i64), Some(1_704_067_200_123)),
        (json!("1704067200123"), Some(1_704_067_200_123)),
        (json!(1704067200.5), Some(1_704_067_200_500)),
        (json!("2024-01-01T00:00:00Z"), Some(1_704_067_200_000)),
        (
            json!("2024-01-01T05:30:00.25+05:30"),
            Some(1_704_067_200_250),
        ),
        (json!("2024-01-01T00:00:00.123456"), Some(1_704_067_200_123)),
        (json!("2024-01-01 00:00:00"), Some(1_704_067_200_000)),
        (json!("0001-01-01T00:00:00Z"), None),
        (json!("1969-12-31T23:59:59Z"), None),
        (json!("yesterday"), None),
        (json!(0), None),
        (json!(-5), None),
        (json!(1e300), None),
        (json!("NaN"), None),
        (json!(null), None),
    ];
    for (value, expected) in cases {
        assert_eq!(moment(&value), expected.map(UnixMs), "{value}");
    }
}

#[test]
fn r_24_a_damaged_id_is_matched_with_nothing_and_the_rest_of_the_body_is_read() {
    let read = |body: &str| super::parse(&json::read(body.as_bytes()).unwrap()).unwrap();
    let statuses = r#"{"event":{"type":"UPDATE","data":{"entry":[{"changes":[{"value":{
        "contacts":[{"profile":{"name":"A\ud83d"}}],
        "statuses":[{"id":"M\ud83d","status":"sent"},{"id":"M2","status":"read"},
        {"id":"\ud83dN","status":"failed"}]}}]}]}}}"#;
    let found = read(statuses);
    // Each of those that are damaged is kept for a person to look at.
    for (place, id) in [(0, "M\u{FFFD}"), (2, "\u{FFFD}N")] {
        let Incoming::Other {
            kind: "damaged",
            raw,
            times: 1,
        } = &found[place]
        else {
            panic!("{found:?}")
        };
        assert!(raw.contains(id), "{raw}");
    }
    assert!(matches!(&found[1], Incoming::Status(event) if event.provider_id.as_str() == "M2"));
    let says = |context: &str, text: &str| {
        let body = format!(
            r#"{{"event":{{"type":"NEW","data":{{"messageid":"U1","mobile":"12025550143","name":"\udc00",
            "message":"{text}","replytomessage":{{"messageid":"{context}"}}}}}}}}"#
        );
        read(&body).remove(0)
    };
    assert!(matches!(says("M1", "STOP"), Incoming::Reply(reply) if reply.text == "STOP"));
    let half = says("M1", "ok \\ud83d");
    assert!(matches!(half, Incoming::Reply(reply) if reply.text == "ok \u{FFFD}"));
    let lost = says("M\\ud83d", "STOP");
    assert!(matches!(
        lost,
        Incoming::Other {
            kind: "damaged",
            ..
        }
    ));
}

#[test]
fn r_28_moments_are_read_as_others_write_them() {
    let cases = [
        ("Tue, 02 Jan 2024 00:00:00 GMT", 1_704_153_600_000),
        (
            "Tue Jan 02 2024 05:30:00 GMT+0530 (India Standard Time)",
            1_704_153_600_000,
        ),
        ("Tue Jan 02 2024 00:00:00 GMT+0000", 1_704_153_600_000),
        ("Tue, 02 Jan 2024 05:30:00 +0530", 1_704_153_600_000),
        ("Tue, 02 Jan 2024 05:30:00 +0530 (IST)", 1_704_153_600_000),
        ("2 Jan 2024 00:00 UTC", 1_704_153_600_000),
        ("Tue, 02 Jan 2024 00:00:00 ut", 1_704_153_600_000),
        ("Tue, 02 Jan 2024 00:00:00 Z", 1_704_153_600_000),
        ("1704153600123456789", 1_704_153_600_123),
        ("1704153600000000", 1_704_153_600_000),
        ("1704153600000", 1_704_153_600_000),
        ("1704153600", 1_704_153_600_000),
    ];
    for (text, expected) in cases {
        assert_eq!(moment(&json!(text)), Some(UnixMs(expected)), "{text}");
    }
    assert_eq!(moment(&json!("Tue Jan 02 2024")), None);
    // Nobody knows what these mean: when it came is nearer than half a day off.
    for zone in ["IST", "CET", "BST", "JST", "CST", "EST", "A", ""] {
        let text = format!("Tue, 02 Jan 2024 00:00:00 {zone}");
        assert_eq!(moment(&json!(text)), None, "{zone}");
    }
    assert_eq!(moment(&json!("2024-01-02T00:00:00[Asia/Kolkata]")), None);
}

#[test]
fn what_is_kept_of_the_unknown_is_bounded() {
    let body = event("ODD", &json!({ "text": "é".repeat(20_000) }));
    match one(&body) {
        Incoming::Other { raw, .. } => assert!(raw.len() <= LONGEST_RAW && raw.len() > 8000),
        found => panic!("{found:?}"),
    }
}

/// Any JSON, with the member names that the parser looks for.
fn any_json() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "event",
        "type",
        "data",
        "entry",
        "changes",
        "value",
        "statuses",
        "id",
        "status",
        "errors",
        "timestamp",
        "recipient_id",
        "message_uuid",
        "messageid",
        "agent",
        "delivered",
        "message",
        "mobile",
        "mobilecountrycode",
        "replytomessage",
        "replied",
        "to",
        "error",
        "title",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["NEW", "UPDATE", "read", "s3ndt3mpl4te_1"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(7, 120, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names.clone(), inner, 0..6).prop_map(|members| members
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect()),
        ]
    })
}

#[test]
fn of_what_cannot_be_read_one_sample_is_kept_and_the_rest_is_counted() {
    let body = json!([0, status_event("P1"), "x", null, status_event("P2")]);
    let found = parse(&body).unwrap();
    let sample = Incoming::Other {
        kind: "unreadable",
        raw: "0".into(),
        times: 3,
    };
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found[0], sample);
}

#[test]
fn a_body_of_more_elements_than_any_batch_has_is_refused() {
    let zeros = |n: usize| Value::Array(vec![json!(0); n]);
    let statuses = |n: usize| {
        let one = json!({ "id": "P1", "status": "sent" });
        meta_event(&Value::Array(vec![one; n]))
    };
    let changes = |n: usize| {
        let entry = json!([{ "changes": vec![json!({}); n] }]);
        event("UPDATE", &json!({ "entry": entry }))
    };
    assert_eq!(
        parse(&statuses(MOST_ELEMENTS)).unwrap().len(),
        MOST_ELEMENTS
    );
    let bodies: [&dyn Fn(usize) -> Value; 3] = [&zeros, &statuses, &changes];
    for body in bodies {
        assert!(parse(&body(MOST_ELEMENTS)).is_ok());
        assert_eq!(parse(&body(MOST_ELEMENTS + 1)), Err(TooMany));
    }
}

fn status_event(id: &str) -> Value {
    meta_event(&json!([{ "id": id, "status": "sent" }]))
}

proptest! {
    #[test]
    fn no_body_panics_or_vanishes(body in any_json()) {
        prop_assert!(!parse(&body).unwrap().is_empty());
        let found = parse(&event("UPDATE", &body)).unwrap();
        prop_assert!(!found.is_empty());
    }

    #[test]
    fn statuses_of_all_generations_read_back(
        shapes in prop::collection::vec((0usize..3, "[a-zA-Z0-9-]{1,40}", 0usize..3, 1u32..), 1..20),
    ) {
        let words = [("sent", Status::Sent), ("delivered", Status::Delivered), ("read", Status::Read)];
        let body: Value = shapes.iter().map(|(shape, id, word, at)| match shape {
            0 => event("UPDATE", &json!({ "messageid": id, "agent": { "id": 1 },
                "delivered": words[*word].0 != "sent", "status": words[*word].0, "timestamp": at })),
            1 => event("UPDATE", &json!({ "message_uuid": id, "status": words[*word].0, "timestamp": at })),
            _ => meta_event(&json!([{ "id": id, "status": words[*word].0, "timestamp": at.to_string() }])),
        }).collect();
        let found = parse(&body).unwrap();
        prop_assert_eq!(found.len(), shapes.len());
        for (incoming, (_, id, word, at)) in found.iter().zip(&shapes) {
            let Incoming::Status(event) = incoming else { panic!("{incoming:?}") };
            prop_assert_eq!(event.provider_id.as_str(), id.as_str());
            prop_assert_eq!(event.status, words[*word].1);
            prop_assert_eq!(event.at, Some(UnixMs(i64::from(*at) * 1000)));
        }
    }
}
