//! What a person is told, and what a stranger is not: readiness, alerts, refusals at the door, checks.

use crate::harness::*;
use serde_json::json;

#[tokio::test]
async fn r_48_a_stranger_learns_only_whether_the_gateway_is_ready() {
    embedded_only!("min_free is about the disk of DATA_DIR");
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let roomy = Setup::towards(&sandbox).set("drain_timeout=3s");
    let gateway = Gateway::start(&sandbox, roomy.clone()).await;
    let seen = gateway.ready_to_strangers().await;
    assert_eq!(seen, (200, json!({ "status": "ready" })));
    let (status, details) = gateway.ready().await;
    assert_eq!(status, 200, "{details}");
    assert_eq!(details["accounts"][0]["account"], "default", "{details}");
    assert!(details["reason"].is_null(), "{details}");

    let full = roomy.clone().set("store.min_free=500000GB");
    let gateway = gateway.restart_with(&sandbox, full).await;
    let seen = gateway.ready_to_strangers().await;
    let not = |word: &str| (503, json!({ "status": "not ready", "reason": word }));
    assert_eq!(seen, not("store"));
    let (status, details) = gateway.ready().await;
    let reason = details["reason"].as_str().unwrap();
    assert!(status == 503 && reason.contains("free"), "{details}");

    let gateway = gateway.restart_with(&sandbox, roomy).await;
    sandbox.script("send", &["accept_then_slow:2"]).await;
    gateway.accept("m0", &person(0)).await;
    gateway.until_state("m0", "attempting").await;
    gateway.process.terminate();
    let seen = until("it is stopping", async || {
        let seen = gateway.ready_to_strangers().await;
        (seen.0 == 503).then_some(seen)
    })
    .await;
    assert_eq!(seen, not("stopping"));
}

/// Every route of the public listener, asked in every way a stranger can.
#[tokio::test]
async fn r_48_nothing_of_the_public_listener_names_an_account() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let mut seen = String::new();
    for path in [
        "/",
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/accounts",
        "/send_whatsapp",
        "/channels/default/send",
        "/channels/other/send",
        "/jumper_callback",
        "/jumper_callback/guess",
        "/channels/default/callback/guess",
        "/channels/other/callback",
        "/nowhere",
    ] {
        for method in ["GET", "POST", "PUT", "HEAD"] {
            let method: reqwest::Method = method.parse().unwrap();
            let request = gateway
                .http
                .request(method, format!("{}{path}", gateway.url));
            let answer = request.body("{}").send().await.unwrap();
            seen += &format!("{:?}", answer.headers());
            seen += &answer.text().await.unwrap();
        }
    }
    for word in [
        "default",
        "account",
        "expires",
        "per_second",
        "queued",
        "breaker",
    ] {
        assert!(!seen.contains(word), "{word}: {seen}");
    }
}
