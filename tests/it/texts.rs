//! Texts as they come: half characters, strange spellings, names, times. Only the damage is lost.

use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use serde_json::{Value, json};

/// What gzip makes of a small body.
const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\xca\x2d\x4e\x8f\xcf\
                      \x4c\x51\xb2\x52\xca\x35\x54\xaa\x05\x00\xe6\x76\xca\x8f\x0f\x00\x00\x00";
/// The other half of an emoji is not here.
const HALF: &str = "\\ud83d";

async fn start() -> (Sandbox, Gateway) {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    (sandbox, gateway)
}

/// A JSON text in which each `@` is something else.
fn with(body: &Value, what: &[u8]) -> Vec<u8> {
    let text = body.to_string();
    let pieces: Vec<_> = text.split('@').map(str::as_bytes).collect();
    pieces.join(what)
}

async fn post(gateway: &Gateway, body: Vec<u8>) -> (u16, Value) {
    let token = format!("Bearer {TOKEN}");
    gateway.post_as(&[("authorization", &token)], body).await
}

fn hook(gateway: &Gateway) -> String {
    gateway.webhook()[gateway.url.len()..].to_owned()
}

/// The code and the reason with which MoEngage was told that a message failed.
async fn failure(sandbox: &Sandbox, msg_id: &str) -> Value {
    until(&format!("{msg_id} is told as failed"), async || {
        let entries = sandbox.entries(msg_id).await;
        let failed = entries.into_iter().find(|one| one["status"] == "failed")?;
        Some(failed["error"].clone())
    })
    .await
}

#[tokio::test]
async fn r_24_half_a_character_in_a_value_costs_that_character_and_in_a_name_the_send() {
    let (sandbox, gateway) = start().await;
    let success = (200, json!({ "status": "success" }));
    let damages: [&[u8]; 4] = [HALF.as_bytes(), b"\xff", "\u{1F600}".as_bytes(), b"\\ud83"];
    for (n, damage) in damages.into_iter().enumerate() {
        let mut body = order_update(&format!("m{n}"), &number(n));
        body["template"]["components"][0]["parameters"][0]["text"] = json!("Ana @");
        body["from_the_future"] = json!({ "note": "@" });
        assert_eq!(post(&gateway, with(&body, damage)).await, success);
        gateway.until_sent(&format!("m{n}")).await;
        let sends = sandbox.sends_to(&number(n)[1..]).await;
        let expected = if n == 2 {
            "Ana \u{1F600}"
        } else {
            "Ana \u{FFFD}"
        };
        assert!(sends[0].to_string().contains(expected), "{sends:?}");
    }
    for (place, name) in [
        ("/msg_id", "msg_id"),
        ("/to", "to"),
        ("/from", "from"),
        ("/template/name", "template.name"),
        ("/template/language/code", "template.language.code"),
    ] {
        let mut body = order_update("x", &number(9));
        *body.pointer_mut(place).unwrap() = json!("1@");
        let (status, answer) = post(&gateway, with(&body, HALF.as_bytes())).await;
        let message = answer["message"].as_str().unwrap().to_owned();
        assert_eq!(status, 400, "{message}");
        assert!(message.starts_with(&format!("{name} ")), "{message}");
    }
    gateway.drained().await;
}

#[tokio::test]
async fn r_24_a_webhook_with_half_a_character_keeps_its_stop_and_its_statuses() {
    let (sandbox, gateway) = start().await;
    let id = sent(&gateway, &sandbox, "m0", &number(0)).await;
    let path = hook(&gateway);
    let damages: [&[u8]; 6] = [
        HALF.as_bytes(),
        b"\xf0\x9f\x98",
        b"\\ud83",
        b"\n\t\0",
        b"\\'",
        b"\",\"size\":NaN,\"note\":\"",
    ];
    for (n, damage) in damages.into_iter().enumerate() {
        let says = json!({ "event": { "type": "NEW", "subscription_type": "livechat", "data": {
            "messageid": format!("in-{n}"), "mobile": &number(n)[1..], "name": "Ana @",
            "message": "STOP" } } });
        assert_eq!(post_raw(&gateway, &path, with(&says, damage)).await.0, 200);
        let answer = gateway.post(&order_update("after", &number(n))).await;
        assert_eq!(code_of(&answer), "7003", "{answer:?}");
    }
    // One of the ids is damaged: it is nobody's, and the others are read.
    let mut change = change(&[
        meta_status("x@", "read", 1_930_000_000),
        meta_status(&id, "delivered", 1_930_000_000),
    ]);
    change["value"]["contacts"] = json!([{ "profile": { "name": "@" } }]);
    let body = with(&meta(&[vec![change]]), HALF.as_bytes());
    assert_eq!(post_raw(&gateway, &path, body).await.0, 200);
    until("both are told", async || {
        let mut told = sandbox.told("m0").await;
        told.sort();
        (told == ["delivered", "inbound"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn r_24_half_a_character_in_an_answer_to_a_send_or_in_the_template_list_stops_nothing() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let list = json!({ "success": true, "data": [
        { "template_name": "broken@", "templates": [{ "id": "1", "language": "en_US", "status": "APPROVED" }] },
        { "template_name": "order_update", "sample": "Hi @", "templates": [
            { "id": "5000000000000001", "language": "en_US", "status": "APPROVED" }] }] });
    let list = String::from_utf8(with(&list, HALF.as_bytes())).unwrap();
    sandbox.rule(json!({ "route": "list", "body": list })).await;
    let answer = format!(r#"{{"success":true,"message_id":"M-1","message":"Sent to Ana {HALF}"}}"#);
    sandbox
        .rule(json!({ "route": "send", "next": 1, "body": answer }))
        .await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    gateway.accept("m0", &number(0)).await;
    gateway.until_sent("m0").await;
    assert_eq!(
        gateway
            .event(&status("M-1", "delivered", 1_930_000_000))
            .await,
        200
    );
    until_told(&sandbox, "m0", &["delivered"]).await;
}

#[tokio::test]
async fn r_25_a_byte_order_mark_is_passed_over_and_a_compressed_body_is_told_so() {
    let (sandbox, gateway) = start().await;
    let marked = |body: &Value| format!("\u{FEFF}{body}").into_bytes();
    let answer = post(&gateway, marked(&order_update("m0", &number(0)))).await;
    assert_eq!(answer, (200, json!({ "status": "success" })));
    let id = receipt(&gateway, &sandbox, "m0", &number(0)).await;
    let told = marked(&status(&id, "read", 1_930_000_000));
    assert_eq!(post_raw(&gateway, &hook(&gateway), told).await.0, 200);
    until_told(&sandbox, "m0", &["read"]).await;

    let token = format!("Bearer {TOKEN}");
    let coded = async |coding: &str, body: Vec<u8>| {
        let headers = [("authorization", &*token), ("content-encoding", coding)];
        gateway.post_as(&headers, body).await
    };
    for coding in ["gzip", "X-GZIP", "identity, br", "deflate"] {
        let (status, answer) = coded(coding, GZIP.to_vec()).await;
        assert_eq!(status, 415, "{coding}: {answer}");
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains("Content-Encoding"), "{message}");
        assert_eq!(answer.as_object().unwrap().len(), 1);
    }
    // No coding at all, or a proxy on the way inflated the body and kept the header.
    for (n, coding) in ["utf-8", "none", "8bit", "Identity", "gzip", "identity, br"]
        .into_iter()
        .enumerate()
    {
        let body = order_update(&format!("c{n}"), &number(10 + n));
        for body in [body.to_string().into_bytes(), marked(&body)] {
            let answer = coded(coding, body).await;
            assert_eq!(answer, (200, json!({ "status": "success" })), "{coding}");
        }
    }
    let posted = async |body: Vec<u8>| {
        let request = gateway.http.post(gateway.webhook()).body(body);
        let answer = request.header("content-encoding", "gzip").send().await;
        let answer = answer.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let told = marked(&status(&id, "delivered", 1_930_000_001));
    assert_eq!(posted(told).await.0, 200);
    let (status, answer) = posted(GZIP.to_vec()).await;
    assert_eq!(status, 415);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["status"], "error");
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .contains("Content-Encoding")
    );
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table reads best in one piece")]
async fn r_26_success_in_any_spelling_with_an_id_is_a_receipt_and_a_reason_is_told() {
    let (sandbox, gateway) = start().await;
    for (n, word) in [json!("true"), json!("True"), json!(1), json!("1")]
        .iter()
        .enumerate()
    {
        let answer = json!({ "success": word, "message_id": format!("M-{n}") });
        sandbox
            .rule(json!({ "route": "send", "next": 1, "body": answer }))
            .await;
        let msg_id = format!("m{n}");
        gateway.accept(&msg_id, &number(n)).await;
        gateway.until_sent(&msg_id).await;
    }
    for (n, (status, answer, reason)) in [
        (
            200,
            json!({ "success": "false", "error": { "code": 131_026, "reason": "Undeliverable" } }),
            "131026 Undeliverable",
        ),
        (
            200,
            json!({ "success": 0, "errors": { "title": "Paused" } }),
            "Paused",
        ),
        (
            400,
            json!({ "success": "0", "errors": [{ "code": 7, "title": "No such page" }] }),
            "7 No such page",
        ),
        (
            200,
            json!({ "success": null, "message": "No credit" }),
            "No credit",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let rule = json!({ "route": "send", "next": 1, "status": status, "body": answer });
        sandbox.rule(rule).await;
        let msg_id = format!("f{n}");
        gateway.accept(&msg_id, &number(20 + n)).await;
        let error = failure(&sandbox, &msg_id).await;
        let told = error["description"].as_str().unwrap();
        assert!(told.contains(reason), "{told}");
    }
    for (n, (status, answer)) in [
        (200, json!({ "success": "true" })),
        (200, json!({ "success": "queued", "message_id": "M-u" })),
        (200, json!({ "success": null, "message_id": "M-n" })),
        (502, json!({ "success": "false" })),
        (500, json!({ "success": null })),
    ]
    .into_iter()
    .enumerate()
    {
        let rule = json!({ "route": "send", "next": 1, "status": status, "body": answer });
        sandbox.rule(rule).await;
        let msg_id = format!("u{n}");
        gateway.accept(&msg_id, &number(40 + n)).await;
        gateway.until_state(&msg_id, "unknown").await;
    }
}

#[tokio::test]
async fn r_26_a_template_list_under_a_strange_word_is_a_list() {
    for word in [json!(null), json!("ok")] {
        let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
        let list = json!({ "success": word, "data": [{ "template_name": "order_update",
            "templates": [{ "id": "5000000000000001", "language": "en_US", "status": "APPROVED" }] }] });
        sandbox.rule(json!({ "route": "list", "body": list })).await;
        let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
        gateway.accept("m0", &number(0)).await;
        gateway.until_sent("m0").await;
    }
}

#[tokio::test]
async fn r_75_a_number_or_depth_out_of_all_measure_that_nobody_reads_loses_nothing() {
    let (sandbox, gateway) = start().await;
    let success = (200, json!({ "status": "success" }));
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for (n, strange) in ["1e999999", &"9".repeat(400), &deep]
        .into_iter()
        .enumerate()
    {
        let (msg_id, to) = (format!("m{n}"), number(n));
        let mut body = order_update(&msg_id, &to);
        body["nobody"] = json!(0);
        let text = |body: Value| {
            body.to_string()
                .replace("\"nobody\":0", &format!("\"nobody\":{strange}"))
        };
        assert_eq!(
            post(&gateway, text(body).into_bytes()).await,
            success,
            "{strange:.20}"
        );
        let id = receipt(&gateway, &sandbox, &msg_id, &to).await;
        let mut told = status(&id, "read", 1_930_000_000);
        told["nobody"] = json!(0);
        let answer = post_raw(&gateway, &hook(&gateway), text(told)).await;
        assert_eq!(answer, success, "{strange:.20}");
        until_told(&sandbox, &msg_id, &["read"]).await;
    }
}

#[tokio::test]
async fn r_28_times_are_read_in_any_spelling_and_one_that_cannot_be_is_when_it_came() {
    let (sandbox, gateway) = start().await;
    let at = ago(7);
    let spelled = [
        (json!(written(at, "%a, %d %b %Y %H:%M:%S GMT")), true),
        (
            json!(written(
                at,
                "%a %b %d %Y %H:%M:%S GMT+0000 (Coordinated Universal Time)"
            )),
            true,
        ),
        (json!(at * 1_000_000), true),
        (json!((at * 1_000).to_string()), true),
        (json!("2099-01-01T00:00:00Z"), false),
        (json!(written(at - 2 * 86_400, "%FT%TZ")), false),
    ];
    for (n, (time, is_believed)) in spelled.into_iter().enumerate() {
        let msg_id = format!("m{n}");
        let id = sent(&gateway, &sandbox, &msg_id, &number(n)).await;
        let mut body = vonage(&id, "read");
        body["event"]["data"]["timestamp"] = time.clone();
        let before = ago(0);
        assert_eq!(gateway.event(&body).await, 200);
        until_told(&sandbox, &msg_id, &["read"]).await;
        let told = sandbox.entries(&msg_id).await[0]["timestamp"].clone();
        let told: u64 = told.as_str().unwrap().parse().unwrap();
        if is_believed {
            assert_eq!(told, at, "{time}");
        } else {
            assert!(
                (before..=ago(0)).contains(&told),
                "{time} is told as {told}"
            );
        }
    }
    let metrics = gateway.metrics().await;
    assert_eq!(figure(&metrics, "gateway_misdated_events_total"), 2.0);
}

/// What nobody believes still tells one reply from another.
#[tokio::test]
async fn r_28_replies_without_an_id_at_odd_times_are_told_apart() {
    let (sandbox, gateway) = start().await;
    sent(&gateway, &sandbox, "m0", &number(0)).await;
    for second in ["1", "2", "1"] {
        let says = json!({ "event": { "type": "NEW", "subscription_type": "livechat", "data": {
            "mobile": &number(0)[1..], "message": "Yes",
            "timestamp": format!("2099-01-01T00:00:0{second}Z") } } });
        assert_eq!(gateway.event(&says).await, 200);
    }
    until_told(&sandbox, "m0", &["inbound", "inbound"]).await;
    gateway.drained().await;
    assert_eq!(sandbox.told("m0").await.len(), 2);
}

#[tokio::test]
async fn r_29_a_tap_that_comes_before_jumpers_slow_answer_is_told_as_the_tap_it_is() {
    let knobs = json!({ "event_mode": "none", "share_accept_then_slow": 1, "accept_slow_s": 5 });
    let sandbox = Sandbox::start(knobs).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let components = json!([
        { "type": "body", "parameters": [{ "type": "text", "text": "10:30" }] },
        { "type": "button", "sub_type": "quick_reply", "index": "0",
            "parameters": [{ "type": "payload", "payload": "{'slot':1}" }] } ]);
    let body = send("m0", &number(0), "confirm_slot", "en_US", components);
    gateway.accept_body(&body).await;
    let id = until("Jumper has it", async || {
        let sends = sandbox.sends_to(&number(0)[1..]).await;
        Some(sends.first()?["message_id"].as_str()?.to_owned())
    })
    .await;
    let tap = json!({ "message_id": id, "text": "Keep it", "kind": "click" });
    assert_eq!(sandbox.post("reply", tap).await["status"], 200);
    until_told(&sandbox, "m0", &["inbound"]).await;
    let told = &sandbox.entries("m0").await[0];
    assert_eq!(
        told["button"],
        json!({ "payload": "{'slot':1}", "text": "Keep it" })
    );
    gateway.until_sent("m0").await;
    gateway.drained().await;
}

/// A send whose body values name their variables: name and text of each.
fn named(msg_id: &str, to: &str, template: &str, values: &[(Value, &str)]) -> Value {
    let parameter = |(name, text): &(Value, &str)| json!({ "type": "text", "text": text, "parameter_name": name });
    let parameters: Vec<Value> = values.iter().map(parameter).collect();
    let body = json!([{ "type": "body", "parameters": parameters }]);
    send(msg_id, to, template, "en_US", body)
}

/// What was sent to a person as body values.
async fn body_sent(sandbox: &Sandbox, to: &str) -> Value {
    until("the provider has the message", async || {
        let sends = sandbox.sends_to(&to[1..]).await;
        Some(sends.first()?["message_params"]["BODY"].clone())
    })
    .await
}

#[tokio::test]
async fn r_27_values_that_name_their_variables_are_sent_in_the_order_of_the_template() {
    let (sandbox, gateway) = start().await;
    let swapped = [(json!("order_id"), "A-7"), (json!("customer"), "Ana")];
    let by_number = [(json!("2"), "A-7"), (json!(1), "Ana")];
    let nameless = [(json!(null), "Ana"), (json!(""), "A-7")];
    let in_order = json!([{ "Ana": "text" }, { "A-7": "text" }]);
    for (n, (template, values)) in [
        ("order_left", &swapped),
        ("order_left", &nameless),
        ("order_update", &by_number),
        ("order_update", &nameless),
    ]
    .into_iter()
    .enumerate()
    {
        let (msg_id, to) = (format!("m{n}"), number(n));
        gateway
            .accept_body(&named(&msg_id, &to, template, values))
            .await;
        let sent = body_sent(&sandbox, &to).await;
        assert_eq!(sent, in_order, "{template} {values:?}");
    }
    // The names are as durable as the values.
    gateway.channel("pause").await;
    gateway
        .accept_body(&named("kept", &number(9), "order_left", &swapped))
        .await;
    let gateway = gateway.crash_and_restart(&sandbox).await;
    gateway.channel("resume").await;
    let sent = body_sent(&sandbox, &number(9)).await;
    assert_eq!(sent, in_order);
    gateway.drained().await;
}

#[tokio::test]
async fn r_27_names_that_do_not_fit_are_refused_with_7001_and_the_reason() {
    let (sandbox, gateway) = start().await;
    let rows = [
        (
            "order_left",
            vec![(json!("order_nr"), "A-7"), (json!("customer"), "Ana")],
            "Template order_left (en_US) needs a body value named order_id, got order_nr",
        ),
        (
            "order_left",
            vec![(json!("customer"), "Ana")],
            "Template order_left (en_US) needs a body value named order_id, got none",
        ),
        (
            "order_left",
            vec![
                (json!("customer"), "Ana"),
                (json!("order_id"), "A-7"),
                (json!("city"), "Pune"),
            ],
            "Template order_left (en_US) has no body variable named city",
        ),
        (
            "order_update",
            vec![(json!("customer"), "Ana"), (json!("order_id"), "A-7")],
            "Template order_update (en_US) needs a body value named 1, got customer",
        ),
        (
            "order_left",
            vec![(json!("customer"), "Ana"), (json!("customer"), "A-7")],
            "body parameters 1 and 2 have the same parameter_name",
        ),
        (
            "order_left",
            vec![(json!("customer"), "Ana"), (json!(null), "A-7")],
            "body parameter 2 has no parameter_name, and others have one",
        ),
    ];
    // The first of a template is accepted, because nothing is known of it; it fails when it is to be sent.
    for (n, template) in ["order_left", "order_update"].into_iter().enumerate() {
        let (_, values, reason) = rows.iter().find(|row| row.0 == template).unwrap();
        let msg_id = format!("first{n}");
        let body = named(&msg_id, &number(n), template, values);
        gateway.accept_body(&body).await;
        let error = failure(&sandbox, &msg_id).await;
        assert_eq!(error["code"], "7001");
        assert_eq!(error["description"], *reason);
    }
    for (template, values, reason) in rows {
        let answer = gateway
            .post(&named("m", &number(9), template, &values))
            .await;
        assert_eq!(code_of(&answer), "7001", "{reason}");
        assert_eq!(answer.1["error"]["message"], reason);
    }
    assert_eq!(sandbox.counts().await["sends_accepted"], 0);
}

#[tokio::test]
async fn r_27_a_header_and_a_link_that_name_another_variable_are_refused() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let variant = json!({ "language": "en_US", "body": "On its way.",
        "header": { "format": "TEXT", "text": "Hi {{customer}}" },
        "buttons": [{ "type": "URL", "text": "Go", "url": "https://shop.example/{{path}}" }] });
    let template = json!({ "name": "two_places", "variants": [variant] });
    sandbox.put("templates", json!([template])).await;
    let body = |msg_id: &str, header: &str, link: &str| {
        let value = |name: &str| json!([{ "type": "text", "text": "x", "parameter_name": name }]);
        let components = json!([
            { "type": "header", "parameters": value(header) },
            { "type": "button", "sub_type": "url", "index": "0", "parameters": value(link) },
        ]);
        send(msg_id, &number(1), "two_places", "en_US", components)
    };
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    gateway.accept_body(&body("good", "customer", "path")).await;
    body_sent(&sandbox, &number(1)).await;
    for (header, link, reason) in [
        (
            "brand",
            "path",
            "needs customer as its header value, got brand",
        ),
        (
            "customer",
            "1",
            "needs path as the value of button 0, got 1",
        ),
    ] {
        let answer = gateway.post(&body("bad", header, link)).await;
        assert_eq!(code_of(&answer), "7001");
        let expected = format!("Template two_places (en_US) {reason}");
        assert_eq!(answer.1["error"]["message"], expected);
    }
}

#[tokio::test]
async fn r_27_while_the_template_is_not_known_values_with_names_wait_and_others_go() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let nothing = json!({ "route": "detail", "body": { "success": true, "data": {} } });
    sandbox.rule(nothing).await;
    let setup = Setup::towards(&sandbox).set("sending.template_refresh=1s");
    let gateway = Gateway::start(&sandbox, setup).await;
    let named_ones = [(json!("order_id"), "A-7"), (json!("customer"), "Ana")];
    gateway
        .accept_body(&named("named", &number(1), "order_left", &named_ones))
        .await;
    until("it is tried and waits", async || {
        let history = gateway.history("named").await;
        history.contains(&"retry".to_owned()).then_some(())
    })
    .await;
    let nameless = [(json!(null), "Ana"), (json!(null), "A-7")];
    gateway
        .accept_body(&named("nameless", &number(2), "order_left", &nameless))
        .await;
    body_sent(&sandbox, &number(2)).await;
    assert!(sandbox.sends_to(&number(1)[1..]).await.is_empty());
    sandbox.no_rules().await;
    let sent = body_sent(&sandbox, &number(1)).await;
    assert_eq!(sent, json!([{ "Ana": "text" }, { "A-7": "text" }]));
}

#[tokio::test]
async fn r_27_one_answer_that_tells_nothing_of_a_template_does_not_hold_up_values_with_names() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let nothing =
        json!({ "route": "detail", "next": 1, "body": { "success": true, "data": null } });
    sandbox.rule(nothing).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let named_ones = [(json!("order_id"), "A-7"), (json!("customer"), "Ana")];
    gateway
        .accept_body(&named("named", &number(1), "order_left", &named_ones))
        .await;
    // Long before the next list, which is an hour away.
    let sent = body_sent(&sandbox, &number(1)).await;
    assert_eq!(sent, json!([{ "Ana": "text" }, { "A-7": "text" }]));
    let history = gateway.history("named").await;
    assert!(history.contains(&"retry".to_owned()), "{history:?}");
}
