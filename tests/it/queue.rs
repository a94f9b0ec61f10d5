//! What waits: pause, holds, age, and a breaker that opens, tests itself and closes.

use crate::kit::harness::*;
use serde_json::{Value, json};

async fn told_too_old(sandbox: &Sandbox, id: &str) {
    let entries = until(&format!("{id} is told"), async || {
        let entries = sandbox.entries(id).await;
        (!entries.is_empty()).then_some(entries)
    })
    .await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["status"], "failed");
    let error = json!({ "code": "7004",
        "description": "Not sent in time: older than MAX_AGE allows" });
    assert_eq!(entries[0]["error"], error);
}

#[tokio::test]
async fn a_paused_message_that_grew_too_old_is_reported_failed_and_never_sent() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox).env("MAX_AGE", "6s");
    let gateway = Gateway::start(&sandbox, setup).await;
    gateway.channel("pause").await;
    gateway.accept("old", &person(1)).await;
    told_too_old(&sandbox, "old").await;
    assert_eq!(gateway.message("old").await["state"], "failed");
    gateway.channel("resume").await;
    gateway.accept("young", &person(2)).await;
    gateway.until_sent("young").await;
    assert!(sandbox.sends_to(digits(&person(1))).await.is_empty());
    let ledger = gateway.drained().await;
    assert_eq!((&ledger["failed"], &ledger["lost"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn held_messages_that_grew_too_old_are_reported_failed_and_never_sent() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox)
        .env("MAX_AGE", "4s")
        .set("policy.hold_probe=1h");
    let gateway = Gateway::start(&sandbox, setup).await;
    // What is known of the template need not be asked for while the others grow old.
    gateway.accept("warm", &person(8)).await;
    gateway.until_sent("warm").await;
    sandbox
        .rule(json!({ "route": "send", "status": 403 }))
        .await;
    for n in 0..5 {
        gateway.accept(&format!("old{n}"), &person(n)).await;
    }
    until("the channel is held", async || {
        (gateway.holds().await.len() == 1).then_some(())
    })
    .await;
    for n in 0..5 {
        told_too_old(&sandbox, &format!("old{n}")).await;
    }
    assert_eq!(gateway.holds().await.len(), 1, "age ends no hold");
    sandbox.no_rules().await;
    // Nothing is queued, so the next accepted message is the trial.
    gateway.accept("young", &person(7)).await;
    gateway.until_sent("young").await;
    assert_eq!(gateway.drained().await["failed"], 5);
    assert!(gateway.holds().await.is_empty());
}

#[tokio::test]
async fn a_pause_keeps_the_queue_outlives_a_restart_and_ends_at_once() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    gateway.channel("pause").await;
    for n in 0..20 {
        gateway.accept(&format!("m{n}"), &person(n)).await;
    }
    let gateway = gateway.crash_and_restart(&sandbox).await;
    gateway.accept("m20", &person(20)).await;
    let ledger = gateway.ledger().await;
    assert_eq!(
        (&ledger["held"], &ledger["queued"]),
        (&json!(21), &json!(0))
    );
    assert_eq!(sandbox.counts().await["sends_accepted"], 0);
    gateway.channel("resume").await;
    assert_eq!(gateway.drained().await["accepted_by_provider"], 21);
    assert_eq!(sandbox.counts().await["recipients_repeated"], 0);
    assert_eq!(
        gateway
            .ops_send("POST", "/api/channels/nope/pause", json!({}))
            .await
            .0,
        404
    );
}

#[tokio::test]
async fn an_outage_opens_the_breaker_which_tests_itself_and_closes_and_the_backlog_drains() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox)
        .set("breaker.failures=5")
        .set("breaker.open_min=100ms")
        .set("breaker.open_max=200ms")
        .set("policy.retry_max=100ms");
    let gateway = Gateway::start(&sandbox, setup).await;
    gateway.accept("warm", "+12025559999").await;
    gateway.until_sent("warm").await;
    sandbox.knobs(json!({ "share_503": 1.0 })).await;
    for n in 0..40 {
        gateway.accept(&format!("m{n}"), &person(n)).await;
    }
    until("the breaker is open", async || {
        (gateway.account().await["breaker"] == "open").then_some(())
    })
    .await;
    let calls = async |name: &str| sandbox.counts().await["calls"][name].as_u64().unwrap();
    until("what was under way has ended", async || {
        (gateway.ledger().await["in_flight"] == 0).then_some(())
    })
    .await;
    let (sends, tests) = (calls("send").await, calls("list").await);
    until("it tests itself", async || {
        (calls("list").await >= tests + 4).then_some(())
    })
    .await;
    let (sends, tests) = (calls("send").await - sends, calls("list").await - tests);
    assert!(sends <= tests + 1, "{sends} messages in {tests} tests");
    assert_eq!(gateway.ready().await.0, 200);
    gateway.accept("during", &person(50)).await;
    sandbox.knobs(json!({ "share_503": 0 })).await;
    let ledger = gateway.drained().await;
    assert_eq!(ledger["accepted_by_provider"], 42, "{ledger}");
    assert_eq!(gateway.account().await["breaker"], "closed");
    assert_eq!(sandbox.counts().await["recipients_repeated"], 0);
}

#[tokio::test]
async fn an_outage_of_unreadable_answers_costs_a_handful_of_unknown_sends() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox)
        .env("CONCURRENT_API_CALLS", "4")
        .env("AMBIGUOUS_HOLD", "1s")
        .set("breaker.open_min=1s")
        .set("breaker.open_max=1s");
    let gateway = Gateway::start(&sandbox, setup).await;
    gateway.accept("warm", "+12025559999").await;
    gateway.until_sent("warm").await;
    gateway.channel("pause").await;
    for n in 0..60 {
        gateway.accept(&format!("m{n}"), &person(n)).await;
    }
    sandbox.knobs(json!({ "share_500_before": 1.0 })).await;
    gateway.channel("resume").await;
    until("the breaker is open", async || {
        (gateway.account().await["breaker"] == "open").then_some(())
    })
    .await;
    sandbox.knobs(json!({ "share_500_before": 0 })).await;
    let ledger = gateway.drained().await;
    let failed = ledger["failed"].as_u64().unwrap();
    assert!((5..=12).contains(&failed), "{ledger}");
    assert_eq!(ledger["accepted_by_provider"].as_u64(), Some(61 - failed));
    let entries: Value = sandbox.get("callbacks").await;
    let failures = entries.as_array().unwrap().len() as u64;
    assert_eq!(failures, failed, "each is reported");
}
