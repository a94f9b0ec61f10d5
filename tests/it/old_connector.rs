//! What stopped or opened the old connector as a whole.

use crate::kit::harness::*;
use serde_json::{Value, json};

/// Campaigns that made the old connector throw outside any handler.
fn bad_campaigns() -> Vec<Value> {
    let components = [
        json!("not a list"),
        json!([null]),
        json!([{ "type": "header", "parameters": [{ "type": "video", "image": {} }] }]),
        json!([{ "type": "button", "sub_type": "quick_reply", "index": 99, "parameters": [] }]),
        json!([{ "type": "button", "sub_type": "url", "index": "x", "parameters": [null] }]),
        json!([{ "type": "body", "parameters": [{ "type": "text" }] }]),
        json!([{ "type": "carousel", "cards": [] }]),
    ];
    let sends = components.iter().enumerate();
    let mut bad: Vec<Value> = sends
        .map(|(n, part)| {
            send(
                &format!("bad{n}"),
                "+12025550143",
                "confirm_slot",
                "en_US",
                part.clone(),
            )
        })
        .collect();
    bad.push(json!({ "msg_id": "bad", "from": BRAND, "to": 7, "template": [] }));
    bad.push(json!([]));
    bad
}

#[tokio::test]
async fn b_02_one_bad_campaign_stops_nothing_and_every_request_is_answered() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    // What the template wants is known once it was sent.
    let text = json!([{ "type": "body", "parameters": [{ "type": "text", "text": "10:30" }] }]);
    let warm = send("warm", "+12025550140", "confirm_slot", "en_US", text);
    gateway.accept_body(&warm).await;
    gateway.until_sent("warm").await;
    for (n, bad) in bad_campaigns().iter().enumerate() {
        let (id, to) = (format!("good{n}"), person(n));
        let good = order_update(&id, &to);
        let (refused, accepted) = tokio::join!(gateway.post(bad), gateway.post(&good));
        assert!(
            refused.0 == 400 || refused.1["status"] == "failure",
            "{bad}: {refused:?}"
        );
        assert_eq!(
            accepted,
            (200, json!({ "status": "success" })),
            "beside {bad}"
        );
    }
    let ledger = gateway.drained().await;
    assert_eq!(ledger["accepted_by_provider"], bad_campaigns().len() + 1);
    assert_eq!(ledger["failed"], 0);
}

#[tokio::test]
async fn b_43_a_forged_address_opens_nothing_and_tokens_are_not_renewed_from_outside() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    gateway.accept("m1", "+12025550143").await;
    gateway.until_sent("m1").await;
    let refreshes = sandbox.counts().await["refreshes"].clone();
    let forged = [("x-forwarded-for", "127.0.0.1"), ("x-real-ip", "127.0.0.1")];
    for path in [
        "/refresh_token",
        "/refresh_single_token",
        "/user",
        "/api/ledger",
        "/metrics",
    ] {
        for method in ["GET", "POST"] {
            let mut request = gateway
                .http
                .request(method.parse().unwrap(), format!("{}{path}", gateway.url));
            for (name, value) in forged {
                request = request.header(name, value);
            }
            assert_eq!(
                request.send().await.unwrap().status(),
                404,
                "{method} {path}"
            );
        }
    }
    let body = order_update("m2", "+12025550144").to_string();
    assert_eq!(code_of(&gateway.post_as(&forged, body).await), "7000");
    assert_eq!(sandbox.counts().await["refreshes"], refreshes);
}
