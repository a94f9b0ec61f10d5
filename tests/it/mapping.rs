//! What MoEngage's components become at Jumper: everything arrives, or is refused with the reason.

use crate::kit::harness::*;
use serde_json::{Value, json};

async fn pair(change: impl Fn(Setup) -> Setup) -> (Sandbox, Gateway) {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, change(Setup::towards(&sandbox))).await;
    (sandbox, gateway)
}

/// Sends one message and returns what Jumper got.
async fn sent(pair: &(Sandbox, Gateway), id: &str, to: &str, body: &Value) -> Value {
    let (sandbox, gateway) = pair;
    gateway.accept_body(body).await;
    gateway.until_sent(id).await;
    let mut sends = sandbox.sends_to(digits(to)).await;
    assert_eq!(sends.len(), 1, "{sends:?}");
    sends.remove(0)
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn body(values: Value) -> Value {
    json!({ "type": "body", "parameters": values })
}

fn header(value: Value) -> Value {
    json!({ "type": "header", "parameters": [value] })
}

fn button(sub_type: &str, index: Value, parameters: Value) -> Value {
    json!({ "type": "button", "sub_type": sub_type, "index": index, "parameters": parameters })
}

fn params(header: Value, body: Value, buttons: Value) -> Value {
    json!({ "HEADER": header, "BODY": body, "BUTTONS": buttons })
}

fn reply(index: u32, payload: &str) -> Value {
    json!({ "type": "button", "sub_type": "quick_reply", "index": index,
        "parameters": [{ "type": "payload", "payload": payload }] })
}

fn url(index: u32, suffix: &str) -> Value {
    json!({ "type": "button", "sub_type": "url", "index": index, "parameters": [text(suffix)] })
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table reads best in one piece")]
async fn b_24_every_kind_of_header_and_value_arrives_as_jumper_wants_it() {
    let pair = pair(|setup| setup).await;
    let media = |kind: &str, link: &str| json!({ "type": kind, kind: { "link": link } });
    let (image, video) = (
        "https://cdn.example/a.jpg?x=1&y=\"2\"",
        "https://cdn.example/a.mp4",
    );
    let file = "https://files.example/inv/77.pdf";
    let money = json!([
        { "type": "currency", "currency":
            { "fallback_value": "$12.50", "code": "USD", "amount_1000": "12500" } },
        { "type": "date_time", "date_time": { "fallback_value": "March 3, 2031" } } ]);
    let named =
        json!({ "type": "document", "document": { "link": file, "filename": "Invoice 77.pdf" } });
    let document = |filename: &str| {
        let mut params = params(
            json!([{ file: "document" }]),
            json!([{ "77": "text" }]),
            json!([]),
        );
        params["filename"] = filename.into();
        params
    };
    let none = || json!([]);
    let rows = [
        (
            "order_update",
            "en_US",
            json!([body(json!([text("same"), text("same")]))]),
            params(
                none(),
                json!([{ "same": "text" }, { "same": "text" }]),
                none(),
            ),
        ),
        (
            "order_update",
            "en_US",
            json!([body(json!([
                text("a \"quoted\"\nline, 10% \u{1F600}"),
                text("")
            ]))]),
            params(
                none(),
                json!([{ "a \"quoted\"\nline, 10% \u{1F600}": "text" }, { "": "text" }]),
                none(),
            ),
        ),
        (
            "store_hours",
            "en",
            Value::Null,
            params(none(), none(), none()),
        ),
        ("store_hours", "en", none(), params(none(), none(), none())),
        (
            "spring_sale",
            "en_GB",
            json!([header(media("image", image)), body(json!([text("20%")]))]),
            params(
                json!([{ image: "image" }]),
                json!([{ "20%": "text" }]),
                none(),
            ),
        ),
        (
            "how_to_start",
            "pt_BR",
            json!([header(media("video", video))]),
            params(json!([{ video: "video" }]), none(), none()),
        ),
        (
            "invoice_ready",
            "de",
            json!([header(named), body(json!([text("77")]))]),
            document("Invoice 77.pdf"),
        ),
        (
            "invoice_ready",
            "de",
            json!([header(media("document", file)), body(json!([text("77")]))]),
            document("77.pdf"),
        ),
        (
            "greeting",
            "en",
            json!([header(text("Ana"))]),
            params(json!([{ "Ana": "text" }]), none(), none()),
        ),
        (
            "payment_due",
            "en_US",
            json!([body(money)]),
            params(
                none(),
                json!([{ "$12.50": "text" }, { "March 3, 2031": "text" }]),
                none(),
            ),
        ),
        // The whole list as a text, and kinds in capitals.
        (
            "store_hours",
            "en",
            json!("[]"),
            params(none(), none(), none()),
        ),
        (
            "greeting",
            "en",
            json!([{ "type": "HEADER", "parameters": [{ "type": "TEXT", "text": "B" }] }]),
            params(json!([{ "B": "text" }]), none(), none()),
        ),
    ];
    for (n, (template, language, components, wanted)) in rows.into_iter().enumerate() {
        let (id, to) = (format!("m{n}"), person(n));
        let body = send(&id, &to, template, language, components);
        let sent = sent(&pair, &id, &to, &body).await;
        assert_eq!(sent["message_params"], wanted, "{body}");
        assert_eq!(sent["mismatch"], Value::Null, "{body}");
        assert_eq!(
            (&sent["template_name"], &sent["language"]),
            (&json!(template), &json!(language))
        );
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table reads best in one piece")]
async fn b_03_buttons_go_by_their_index_and_one_that_does_not_exist_is_refused() {
    let pair = pair(|setup| setup).await;
    let day = body(json!([text("Monday")]));
    let parcel = body(json!([text("P-1")]));
    let payload = |text: &str| json!([{ "type": "payload", "payload": text }]);
    let rows = [
        // An index as text becomes a number; the payload is echoed byte for byte.
        (
            "confirm_slot",
            json!([
                day,
                button("quick_reply", json!("0"), payload("{'a':'b'}")),
                button("quick_reply", json!(1), payload("#move"))
            ]),
            json!([reply(0, "{'a':'b'}"), reply(1, "#move")]),
        ),
        // Buttons that MoEngage leaves out are not invented.
        ("confirm_slot", json!([day]), json!([])),
        (
            "track_parcel",
            json!([
                parcel,
                button("URL", json!("0"), json!([text("A-1042?x=1")]))
            ]),
            json!([url(0, "A-1042?x=1")]),
        ),
        // A static button takes no parameter and is left out.
        (
            "track_parcel",
            json!([
                parcel,
                button("url", json!(0), json!([text("A")])),
                button("url", json!(1), json!([text("ignored")]))
            ]),
            json!([url(0, "A")]),
        ),
        (
            "confirm_slot",
            json!([day, button("quick_reply", json!(2), payload("x"))]),
            json!([]),
        ),
        // A kind of button in the template that nobody knows yet is passed on as given.
        (
            "rate_us",
            json!([
                body(json!([text("Ana")])),
                button("quick_reply", json!(2), payload("#s"))
            ]),
            json!([reply(2, "#s")]),
        ),
    ];
    for (n, (template, components, wanted)) in rows.into_iter().enumerate() {
        let (id, to) = (format!("m{n}"), person(n));
        let language = if template == "rate_us" { "en" } else { "en_US" };
        let body = send(&id, &to, template, language, components);
        let sent = sent(&pair, &id, &to, &body).await;
        assert_eq!(sent["message_params"]["BUTTONS"], wanted, "{body}");
    }
    let (sandbox, gateway) = &pair;
    let wrong = json!([day, button("quick_reply", json!(7), payload("x"))]);
    let answer = gateway
        .post(&send("bad", &person(50), "confirm_slot", "en_US", wrong))
        .await;
    assert_eq!(code_of(&answer), "7001");
    let reason = "Template confirm_slot (en_US) has 3 buttons, none with index 7";
    assert_eq!(answer.1["error"]["message"], reason);
    let url = json!([day, button("url", json!(0), json!([text("x")]))]);
    let answer = gateway
        .post(&send("bad", &person(50), "confirm_slot", "en_US", url))
        .await;
    assert_eq!(code_of(&answer), "7001");
    assert!(sandbox.sends_to(digits(&person(50))).await.is_empty());
    gateway.accept("after", &person(51)).await;
    gateway.until_sent("after").await;
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table reads best in one piece")]
async fn b_24_what_cannot_be_sent_is_refused_with_its_reason_and_never_dropped() {
    let (sandbox, gateway) = pair(|setup| setup).await;
    let location = json!({ "type": "location", "location": { "latitude": "1", "longitude": "2" } });
    let code = button(
        "copy_code",
        json!(0),
        json!([{ "type": "coupon_code", "coupon_code": "X" }]),
    );
    let rows = [
        (json!([header(location)]), "7004", "location"),
        (json!([code]), "7004", "copy_code"),
        (json!([button("flow", json!(0), json!([]))]), "7004", "flow"),
        (
            json!([{ "type": "limited_time_offer", "parameters": [] }]),
            "7004",
            "limited_time_offer",
        ),
        (
            json!([{ "type": "carousel", "cards": [] }]),
            "7004",
            "Carousel",
        ),
        (
            json!([body(json!([{ "type": "product" }]))]),
            "7004",
            "product",
        ),
        (
            json!([body(
                json!([{ "type": "image", "image": { "link": "https://a.example/b" } }])
            )]),
            "7001",
            "image",
        ),
        (
            json!([body(json!([{ "type": "text" }]))]),
            "7001",
            "no text",
        ),
        (
            json!([body(json!([{ "type": "currency", "currency":
            { "fallback_value": "x", "amount_1000": "12.5" } }]))]),
            "7001",
            "amount_1000",
        ),
        (
            json!([body(json!([{ "type": "date_time", "date_time": {} }]))]),
            "7001",
            "fallback_value",
        ),
        (
            json!([header(text("a")), header(text("b"))]),
            "7001",
            "two headers",
        ),
        (
            json!([body(json!([])), body(json!([]))]),
            "7001",
            "two bodies",
        ),
        (json!([{ "parameters": [] }]), "7001", "no type"),
        (json!("not a list"), "7001", "no array"),
    ];
    for (components, code, word) in rows {
        let body = send("m", &person(1), "order_update", "en_US", components);
        let answer = gateway.post(&body).await;
        assert_eq!(code_of(&answer), code, "{body}: {answer:?}");
        let reason = answer.1["error"]["message"].as_str().unwrap();
        assert!(reason.contains(word), "{body}: {reason}");
    }
    assert_eq!(gateway.ledger().await["accepted"], 0);
    assert!(sandbox.sends_to(digits(&person(1))).await.is_empty());
}

#[tokio::test]
async fn b_28_the_recipient_goes_out_in_digits_however_it_was_written() {
    let pair = pair(|setup| setup).await;
    let spellings = [
        "+1 (202) 555-0001",
        "12025550002",
        "+12025550003",
        "+1.202.555.0004",
    ];
    for (n, to) in spellings.into_iter().enumerate() {
        let (id, wanted) = (format!("m{n}"), format!("1202555000{}", n + 1));
        let answer = pair.1.post(&order_update(&id, to)).await;
        if answer.1["status"] == "failure" {
            // A spelling may be refused, but never sent as something else.
            assert_eq!(code_of(&answer), "7002", "{to}");
            continue;
        }
        pair.1.until_sent(&id).await;
        let sends = pair.0.sends_to(&wanted).await;
        assert_eq!(sends.len(), 1, "{to}");
        assert_eq!(sends[0]["source"], "moengage");
        assert_eq!(sends[0]["channel"], "whatsapp");
        assert_eq!(sends[0]["from"], Value::Null, "no number is configured");
    }
    assert!(pair.0.counts().await["sends_accepted"].as_u64().unwrap() >= 2);
}

#[tokio::test]
async fn b_20_a_configured_number_is_named_as_sender_and_no_other_is_taken() {
    let pair = pair(|setup| setup.env("WABA_NUMBER", "+12025550100")).await;
    for (n, from) in ["12025550100", "+12025550100"].into_iter().enumerate() {
        let (id, to) = (format!("m{n}"), person(n));
        let mut body = order_update(&id, &to);
        body["from"] = from.into();
        let sent = sent(&pair, &id, &to, &body).await;
        assert_eq!(sent["from"], "12025550100");
    }
    let mut body = order_update("m9", &person(9));
    body["from"] = "12025550101".into();
    assert_eq!(code_of(&pair.1.post(&body).await), "7000");
    assert!(pair.0.sends_to(digits(&person(9))).await.is_empty());
}
