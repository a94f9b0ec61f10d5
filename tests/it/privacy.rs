//! Nothing secret and no whole phone number in any line that is printed.

use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use serde_json::json;

/// What must not be in any line, and parts of it.
const SECRETS: [&str; 10] = [
    TOKEN,
    SECRET,
    "ops-token-for-tests",
    "sandbox-refresh-token",
    "sandbox-secret",
    "c2FuZGJveC1rZXk6c2FuZGJveC1zZWNyZXQ",
    "denied-token-42",
    "guessed-secret-43",
    "not-a-good-seed-44",
    "eyJ",
];

/// How every number begins, and how it goes on: not in any line, whatever stands between the digits.
const NUMBERS: [&str; 2] = ["1202555", "2025550"];

/// Refusals of all kinds, each with what must not be repeated.
async fn provoke(sandbox: &Sandbox, gateway: &Gateway) {
    gateway
        .post_as(
            &[("authorization", "Bearer denied-token-42")],
            order_update("r", &number(70)).to_string(),
        )
        .await;
    gateway
        .post_as(&[("x-api-key", TOKEN)], "{\"to\":\"+12025550071\"")
        .await;
    gateway
        .post_as(
            &[("x-api-key", TOKEN)],
            order_update("r", "+999120255500720").to_string(),
        )
        .await;
    post_raw(gateway, "/jumper_callback/guessed-secret-43", "{}").await;
    for text in ["STOP", "call me at +1 202 555 0074 or 12025550074", "yes"] {
        sandbox
            .post(
                "reply",
                json!({ "to": number(3), "text": text, "kind": "free" }),
            )
            .await;
        sandbox
            .post(
                "reply",
                json!({ "to": number(75), "text": text, "kind": "free" }),
            )
            .await;
    }
    gateway
        .ops_send("POST", "/api/search", json!({ "id": number(5) }))
        .await;
    gateway
        .ops_send(
            "PUT",
            "/api/accounts/default/token/seed",
            json!({ "refresh_token": "not-a-good-seed-44" }),
        )
        .await;
    sandbox.post("token/revoke-access", json!({})).await;
}

#[tokio::test]
async fn b_45_no_secret_and_no_phone_number_is_ever_logged() {
    let sandbox = Sandbox::start(json!({
        "share_odd": 0.4, "share_failed": 0.2, "share_503": 0.1, "share_refuse_200": 0.1,
        "share_accept_then_close": 0.1, "moengage_fail_share": 0.2, "share_read": 1,
    }))
    .await;
    let setup = Setup::towards(&sandbox)
        .env("RUST_LOG", "debug")
        .env("OPS_TOKEN", "ops-token-for-tests")
        .env("AMBIGUOUS_HOLD", "1s")
        .env(
            "SUBSCRIBED_CALLBACK_URL",
            "http://127.0.0.1:9/jumper_callback",
        )
        .set("moengage.max_pause=50ms");
    let mut gateway = Gateway::start(&sandbox, setup).await;
    gateway.http = reqwest::Client::builder()
        .no_proxy()
        .default_headers(
            [(
                "authorization".parse().unwrap(),
                "Bearer ops-token-for-tests".parse().unwrap(),
            )]
            .into_iter()
            .collect(),
        )
        .build()
        .unwrap();
    gateway
        .process
        .line_with("webhook subscription is in place");
    gateway.subscribe(&sandbox).await;
    for words in [
        "refuse:+1 (202) 555-0076 is not on WhatsApp",
        "refuse:+1 (202) 555 - 0077 is not on WhatsApp",
        "refuse:1/202/555_0078 is not on WhatsApp",
    ] {
        sandbox.script("send", &[words]).await;
    }
    for n in 0..60 {
        let body = order_update(&format!("m{n}"), &number(n)).to_string();
        let (status, answer) = gateway.post_as(&[("x-api-key", TOKEN)], body).await;
        assert_eq!(
            (status, &answer["status"]),
            (200, &json!("success")),
            "{answer}"
        );
    }
    provoke(&sandbox, &gateway).await;
    idle(&sandbox).await;
    gateway.process.terminate();
    gateway.process.wait();
    let log = gateway.process.output();
    assert_private(&log);
}

fn assert_private(log: &str) {
    assert!(log.contains("DEBUG"), "the test needs the chattiest log");
    assert!(
        log.contains("is not on WhatsApp"),
        "Jumper's words are in it"
    );
    for secret in SECRETS {
        let found = log.lines().find(|line| line.contains(secret));
        assert_eq!(found, None, "{secret} is in the log");
    }
    for number in NUMBERS {
        let found = log.lines().find(|line| said_at(line, number).is_some());
        assert_eq!(found, None, "{number} is in the log");
    }
}
