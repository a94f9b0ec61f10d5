//! `gateway serve --hold`: a copy of the store was put back while no gateway ran, so nobody remembers what was sent
//! since. An operator says so, and decides.

use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use serde_json::json;

const HOLD: &str = "store:default";

/// Five messages wait in a store that was put back; the gateway was started over it with `--hold`.
async fn held(sandbox: &Sandbox) -> Gateway {
    let gateway = Gateway::start(sandbox, Setup::towards(sandbox)).await;
    // One was tried before.
    let busy =
        json!({ "route": "send", "recipient": digits(&number(0)), "for_s": 60, "status": 503 });
    sandbox.rule(busy).await;
    gateway.accept("m0", &number(0)).await;
    until("it was tried", async || {
        let history = gateway.history("m0").await;
        history.iter().any(|word| word == "retry").then_some(())
    })
    .await;
    gateway.channel("pause").await;
    // What is under way then may still be taken.
    until("nothing is under way", async || {
        (gateway.ledger().await["in_flight"] == 0).then_some(())
    })
    .await;
    sandbox.no_rules().await;
    for n in 1..5 {
        gateway.accept(&format!("m{n}"), &number(n)).await;
    }
    let hold = gateway.setup().set("--hold");
    let gateway = gateway.restart_with(sandbox, hold).await;
    gateway.channel("resume").await;
    until("it is held", async || {
        (gateway.holds().await.len() == 1).then_some(())
    })
    .await;
    gateway
}

/// A status of a message that this store does not know.
fn delivered(provider_id: &str, to: usize) -> serde_json::Value {
    json!({ "event": { "type": "UPDATE", "subscription_type": "livechat", "data": {
        "message_uuid": provider_id, "status": "delivered", "channel": "whatsapp", "to": digits(&number(to)) } } })
}

/// The same gateway, started as usual.
async fn restarted(gateway: Gateway, sandbox: &Sandbox) -> Gateway {
    let mut setup = gateway.setup();
    setup.set.retain(|flag| flag != "--hold");
    gateway.restart_with(sandbox, setup).await
}

#[tokio::test]
async fn r_52_serve_hold_sends_nothing_until_an_operator_releases_it() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = held(&sandbox).await;
    let hold = gateway.holds().await.remove(0);
    assert_eq!((&hold["id"], &hold["waiting"]), (&json!(HOLD), &json!(5)));
    let words = hold["words"].as_str().unwrap();
    assert!(words.contains("--hold"), "{words}");
    until("an operator is told", async || {
        let said = gateway.process.output();
        let is_told = |line: &str| line.contains("ALERT") && line.contains("store:default/release");
        said.lines().any(is_told).then_some(())
    })
    .await;
    gateway.accept("m5", &number(5)).await;
    let waits = gateway.message("m5").await;
    assert_eq!(waits["why"]["code"], "store_went_back", "{waits}");
    assert_eq!(gateway.ready().await.0, 200, "it takes messages");
    // It is held over a restart too, whoever starts it.
    let gateway = restarted(gateway, &sandbox).await;
    until("it is held still", async || {
        (gateway.holds().await.len() == 1).then_some(())
    })
    .await;
    let waits = gateway.message("m0").await;
    assert_eq!(waits["why"]["code"], "store_went_back", "{waits}");
    assert_eq!(sandbox.counts().await["sends_accepted"], 0);
    let path = format!("/api/holds/{HOLD}/release");
    assert_eq!(gateway.ops_send("POST", &path, json!({})).await.0, 202);
    assert_eq!(gateway.ops_send("POST", &path, json!({})).await.0, 404);
    let ledger = gateway.drained().await;
    assert_eq!(ledger["accepted_by_provider"], 6, "{ledger}");
    // The next start remembers nothing of it.
    let gateway = gateway.restart(&sandbox).await;
    assert!(gateway.holds().await.is_empty());
}

#[tokio::test]
async fn r_52_what_waited_in_a_copy_fails_and_what_came_since_is_sent() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = held(&sandbox).await;
    gateway.accept("m5", &number(5)).await;
    assert_eq!(gateway.event(&delivered("sent-before", 2)).await, 200);
    let path = format!("/api/holds/{HOLD}/fail");
    let wrong = gateway
        .ops_send("POST", &path, json!({ "confirm": 6 }))
        .await;
    assert_eq!(wrong.0, 409, "{wrong:?}");
    let right = gateway
        .ops_send("POST", &path, json!({ "confirm": 5 }))
        .await;
    assert_eq!(right.0, 202, "{right:?}");
    gateway.until_sent("m5").await;
    // What came while it was held says that this one was sent.
    gateway.until_sent("m2").await;
    let ledger = gateway.drained().await;
    assert_eq!(
        (&ledger["failed"], &ledger["lost"]),
        (&json!(4), &json!(0)),
        "{ledger}"
    );
    assert_eq!(sandbox.counts().await["sends_accepted"], 1);
    until("MoEngage is told", async || {
        (sandbox.told("m0").await == ["failed"]).then_some(())
    })
    .await;
    // Evidence counts still: this one was sent before the copy was put back.
    let status = delivered("sent-long-ago", 1);
    assert_eq!(gateway.event(&status).await, 200);
    gateway.until_sent("m1").await;
}

#[tokio::test]
async fn r_52_serve_hold_holds_nothing_where_nothing_waits() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox).set("--hold");
    let gateway = Gateway::start(&sandbox, setup).await;
    gateway.accept("m0", &number(0)).await;
    gateway.until_sent("m0").await;
    assert!(gateway.holds().await.is_empty());
}
