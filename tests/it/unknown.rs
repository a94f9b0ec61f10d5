//! Sends whose outcome nobody knows: evidence, no evidence, late evidence, and no guessing.

use crate::kit::harness::*;
use serde_json::{Value, json};

async fn pair(knobs: Value, hold: &str) -> (Sandbox, Gateway) {
    let sandbox = Sandbox::start(knobs).await;
    let setup = Setup::towards(&sandbox)
        .env("AMBIGUOUS_HOLD", hold)
        .set("breaker.failures=10000");
    let gateway = Gateway::start(&sandbox, setup).await;
    (sandbox, gateway)
}

async fn told(sandbox: &Sandbox, id: &str, wanted: &[&str]) {
    until(&format!("{id} told as {wanted:?}"), async || {
        (sandbox.told(id).await == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn b_08_a_status_proves_that_a_lost_answer_was_an_acceptance() {
    for (first, n) in [(0.0, 1), (1.0, 2)] {
        let knobs = json!({ "event_shapes": ["gen3"], "event_first": first, "share_read": 0 });
        let (sandbox, gateway) = pair(knobs, "60s").await;
        sandbox.script("send", &["accept_then_close"]).await;
        gateway.accept("m", &person(n)).await;
        let message = gateway.until_sent("m").await;
        assert_eq!(message["receipt_inferred"], true, "{message}");
        told(&sandbox, "m", &["sent", "delivered"]).await;
        let ledger = gateway.drained().await;
        assert_eq!(ledger["accepted_by_provider"], 1);
        assert_eq!(sandbox.sends_to(digits(&person(n))).await.len(), 1);
    }
}

#[tokio::test]
async fn evidence_that_comes_after_the_hold_turns_failed_into_delivered() {
    let (sandbox, gateway) = pair(json!({ "event_mode": "none" }), "1s").await;
    sandbox.script("send", &["accept_then_502_html"]).await;
    gateway.accept("m", &person(1)).await;
    gateway.until_state("m", "failed").await;
    told(&sandbox, "m", &["failed"]).await;
    let status = json!({ "to": person(1), "status": "delivered" });
    assert_eq!(sandbox.post("status", status).await["status"], 200);
    told(&sandbox, "m", &["failed", "delivered"]).await;
    let message = gateway.until_sent("m").await;
    assert_eq!(message["receipt_inferred"], true, "{message}");
    let status = json!({ "to": person(1), "status": "read" });
    assert_eq!(sandbox.post("status", status).await["status"], 200);
    told(&sandbox, "m", &["failed", "delivered", "read"]).await;
    let ledger = gateway.drained().await;
    assert_eq!(ledger["accepted_by_provider"], 1, "{ledger}");
    assert_eq!((&ledger["failed"], &ledger["lost"]), (&json!(0), &json!(0)));
    assert_eq!(sandbox.sends_to(digits(&person(1))).await.len(), 1);
}

#[tokio::test]
async fn two_unknown_sends_to_one_person_are_not_guessed_at() {
    let (sandbox, gateway) = pair(json!({ "event_mode": "none" }), "15s").await;
    sandbox
        .script("send", &["accept_then_close", "accept_then_close"])
        .await;
    gateway.accept("m1", &person(1)).await;
    gateway.accept("m2", &person(1)).await;
    gateway.until_state("m1", "unknown").await;
    gateway.until_state("m2", "unknown").await;
    let sends = sandbox.sends_to(digits(&person(1))).await;
    assert_eq!(sends.len(), 2);
    for send in &sends {
        let status = json!({ "message_id": send["message_id"], "status": "delivered" });
        assert_eq!(sandbox.post("status", status).await["status"], 200);
    }
    for id in ["m1", "m2"] {
        let message = gateway.until_state(id, "failed").await;
        assert_eq!(message["receipt_inferred"], false, "{message}");
        told(&sandbox, id, &["failed"]).await;
    }
    assert_eq!(gateway.drained().await["failed"], 2);
}

/// A webhook with a status of each of these ids, none of which was given out to us.
fn foreign(ids: &[&str], to: &str) -> Value {
    let status = |id: &&str| {
        json!({ "id": id, "status": "delivered", "timestamp": "1930000001",
            "recipient_id": digits(to) })
    };
    let value = json!({ "statuses": ids.iter().map(status).collect::<Vec<_>>() });
    json!({ "event": { "type": "UPDATE", "subscription_type": "livechat",
        "data": { "entry": [{ "changes": [{ "value": value }] }] } } })
}

#[tokio::test]
async fn two_ids_for_one_unknown_send_are_not_guessed_at() {
    let (sandbox, gateway) = pair(json!({ "event_mode": "none" }), "1s").await;
    sandbox.script("send", &["hang:1.5"]).await;
    gateway.accept("m", &person(1)).await;
    until("it is being sent", async || {
        (sandbox.counts().await["calls"]["send"] == 1).then_some(())
    })
    .await;
    let event = foreign(&["X1", "X2"], &person(1));
    assert_eq!(gateway.event(&event).await, 200);
    let message = gateway.until_state("m", "failed").await;
    assert_eq!(message["receipt_inferred"], false, "{message}");
    told(&sandbox, "m", &["failed"]).await;
}

#[tokio::test]
async fn an_id_that_was_there_before_the_send_is_no_evidence_for_it() {
    let (sandbox, gateway) = pair(json!({ "event_mode": "none" }), "1s").await;
    assert_eq!(gateway.event(&foreign(&["X1"], &person(1))).await, 200);
    sandbox.script("send", &["accept_then_close"]).await;
    gateway.accept("m", &person(1)).await;
    let message = gateway.until_state("m", "failed").await;
    assert_eq!(message["receipt_inferred"], false, "{message}");
    told(&sandbox, "m", &["failed"]).await;
}

#[tokio::test]
async fn an_unknown_send_is_sent_once_more_and_never_a_third_time_where_that_is_wanted() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox)
        .env("AMBIGUOUS_HOLD", "1s")
        .env("AMBIGUOUS_SEND", "resend")
        .set("breaker.failures=10000");
    let gateway = Gateway::start(&sandbox, setup).await;
    gateway.accept("fine", &person(1)).await;
    gateway.until_sent("fine").await;
    sandbox.script("send", &["accept_then_close"; 6]).await;
    gateway.accept("twice", &person(2)).await;
    told(&sandbox, "twice", &["failed"]).await;
    assert_eq!(gateway.message("twice").await["attempts"], 2);
    assert_eq!(sandbox.sends_to(digits(&person(2))).await.len(), 2);
    let gateway = gateway.crash_and_restart(&sandbox).await;
    gateway.drained().await;
    assert_eq!(sandbox.sends_to(digits(&person(2))).await.len(), 2);
    assert_eq!(sandbox.sends_to(digits(&person(1))).await.len(), 1);
}

#[tokio::test]
async fn killed_while_a_send_is_under_way_it_is_not_sent_again() {
    let (sandbox, gateway) = pair(json!({ "event_mode": "none" }), "60s").await;
    gateway.accept("warm", &person(0)).await;
    gateway.until_sent("warm").await;
    sandbox.knobs(json!({ "latency_ms": 60_000 })).await;
    gateway.accept("m", &person(1)).await;
    until("Jumper has taken it", async || {
        (sandbox.sends_to(digits(&person(1))).await.len() == 1).then_some(())
    })
    .await;
    sandbox.knobs(json!({ "latency_ms": 0 })).await;
    let gateway = gateway.crash_and_restart(&sandbox).await;
    gateway.until_state("m", "unknown").await;
    // What comes after it is sent; it is not.
    gateway.accept("after", &person(2)).await;
    gateway.until_sent("after").await;
    assert_eq!(sandbox.sends_to(digits(&person(1))).await.len(), 1);
    let status = json!({ "to": person(1), "status": "delivered" });
    assert_eq!(sandbox.post("status", status).await["status"], 200);
    let message = gateway.until_sent("m").await;
    assert_eq!(message["receipt_inferred"], true);
    told(&sandbox, "m", &["delivered"]).await;
}
