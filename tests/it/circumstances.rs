//! What concerns more than one message must not decide about each of them, and one bad message not about
//! the others: messages put aside, holds, trials, and what an operator can do (design.md section 5).

use crate::kit::harness::*;
use serde_json::{Value, json};

/// Holds take their seconds, and more on a busy machine.
const LONG: std::time::Duration = std::time::Duration::from_secs(90);
const PAGE: &str = "<html><body>Request blocked</body></html>";

/// A gateway at a steady rate whose trials come soon.
fn steady(sandbox: &Sandbox) -> Setup {
    Setup::towards(sandbox)
        .env("RATE_PER_SECOND", "40")
        .set("policy.hold_probe=1s")
}

async fn pair() -> (Sandbox, Gateway) {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, steady(&sandbox)).await;
    // The template and its detail are known before anything goes wrong.
    gateway.accept("warm", &person(900)).await;
    gateway.until_sent("warm").await;
    (sandbox, gateway)
}

async fn until_held(gateway: &Gateway) -> Value {
    until("something is held", async || gateway.holds().await.pop()).await
}

/// Waits until all of these are sent.
async fn until_all_sent(gateway: &Gateway, ids: &[String]) {
    for id in ids {
        gateway.until_sent(id).await;
    }
}

fn names(n: std::ops::Range<usize>) -> Vec<String> {
    n.map(|n| format!("m{n}")).collect()
}

async fn accept_all(gateway: &Gateway, n: std::ops::Range<usize>) {
    for n in n {
        gateway.accept(&format!("m{n}"), &person(n)).await;
    }
}

#[tokio::test]
async fn r_05_one_refused_recipient_does_not_stop_the_others() {
    let (sandbox, gateway) = pair().await;
    for (round, answer) in [
        json!({ "status": 403, "body": PAGE }),
        json!({ "status": 404, "body": PAGE }),
        json!({ "status": 302, "headers": { "location": "/elsewhere" } }),
    ]
    .into_iter()
    .enumerate()
    {
        let first = round * 100;
        let mut rule = answer.clone();
        rule["route"] = json!("send");
        rule["recipient"] = json!(digits(&person(first)));
        sandbox.rule(rule).await;
        accept_all(&gateway, first..first + 60).await;
        until_all_sent(&gateway, &names(first + 1..first + 60)).await;
        // It is tried again now and then.
        let poison = gateway.until_state(&format!("m{first}"), "waiting").await;
        assert_eq!(poison["proof"], "not_taken", "{answer}");
        assert!(gateway.holds().await.is_empty(), "{answer}");
        let output = gateway.process.output();
        assert!(!output.contains("answers alike"), "{output}");
    }
    let ledger = gateway.ledger().await;
    assert_eq!((&ledger["failed"], &ledger["lost"]), (&json!(0), &json!(0)));
    // Once the provider takes it, it goes out like the others.
    sandbox.no_rules().await;
    until_within(LONG, "the last one goes out", async || {
        is_sent(&gateway.message("m200").await).then_some(())
    })
    .await;
    assert_eq!(sandbox.counts().await["recipients_repeated"], 0);
}

#[tokio::test]
async fn r_06_a_few_bad_seconds_fail_at_most_twenty_and_end_by_themselves() {
    let refusals = [
        json!({ "status": 500, "body": { "success": false, "errorMessage": "Internal error 17" } }),
        json!({ "status": 200, "body": { "success": false, "errorMessage": "account is suspended" } }),
        json!({ "status": 404, "body": PAGE }),
        json!({ "status": 400, "body": PAGE }),
    ];
    for answer in refusals {
        let (sandbox, gateway) = pair().await;
        let mut rule = answer.clone();
        rule["route"] = json!("send");
        sandbox.rule(rule).await;
        accept_all(&gateway, 0..60).await;
        let hold = until_held(&gateway).await;
        assert_eq!(hold["scope"], "channel", "{hold}");
        until("a person is told", async || {
            let told = gateway.process.output();
            told.contains("The provider answers alike to several messages of channel default")
                .then_some(())
        })
        .await;
        sandbox.no_rules().await;
        let ledger = gateway.drained_within(LONG).await;
        let failed = ledger["failed"].as_i64().unwrap();
        assert!(failed <= 20, "{answer}: {ledger}");
        assert_eq!(ledger["accepted_by_provider"], 61 - failed, "{answer}");
        assert_eq!(ledger["lost"], 0);
        assert!(gateway.holds().await.is_empty());
        assert_eq!(sandbox.counts().await["recipients_repeated"], 0);
    }
}

/// The trials are answered as in an outage, so the breaker opens too, and nothing but trials may be sent.
#[tokio::test]
async fn a_hold_whose_trials_open_the_breaker_ends_once_the_provider_is_well() {
    let (sandbox, gateway) = pair().await;
    sandbox
        .rule(json!({ "route": "send", "status": 404, "body": PAGE }))
        .await;
    accept_all(&gateway, 0..20).await;
    until_held(&gateway).await;
    sandbox.no_rules().await;
    sandbox
        .rule(json!({ "route": "send", "status": 502, "body": PAGE }))
        .await;
    until_within(LONG, "sending stops", async || {
        let told = gateway.process.output();
        told.contains("the provider does not work").then_some(())
    })
    .await;
    assert!(!gateway.holds().await.is_empty());
    sandbox.no_rules().await;
    until_within(LONG, "the hold ends", async || {
        gateway.holds().await.is_empty().then_some(())
    })
    .await;
    until_within(
        LONG,
        "all are sent whose trial was not in doubt",
        async || (gateway.ledger().await["queued"] == 0).then_some(()),
    )
    .await;
    let ledger = gateway.ledger().await;
    assert_eq!((&ledger["failed"], &ledger["lost"]), (&json!(0), &json!(0)));
    assert_eq!(sandbox.counts().await["recipients_repeated"], 0);
}

#[tokio::test]
async fn r_06_a_hold_outlives_a_restart_and_ends_with_the_only_message() {
    let (sandbox, gateway) = pair().await;
    sandbox
        .rule(json!({ "route": "send", "status": 403, "body": PAGE }))
        .await;
    accept_all(&gateway, 0..5).await;
    // Told once it is stored.
    until("the hold is told", async || {
        let told = gateway.process.output();
        told.contains("answers alike").then_some(())
    })
    .await;
    let gateway = gateway.crash_and_restart(&sandbox).await;
    let hold = until_held(&gateway).await;
    assert_eq!(
        (&hold["id"], &hold["waiting"]),
        (&json!("channel:default"), &json!(5))
    );
    assert_eq!(gateway.ledger().await["held"], 5);
    sandbox.no_rules().await;
    let ledger = gateway.drained_within(LONG).await;
    assert_eq!(
        (&ledger["accepted_by_provider"], &ledger["failed"]),
        (&json!(6), &json!(0))
    );
}

#[tokio::test]
async fn a_held_channel_takes_messages_tests_with_a_list_call_first_and_releases_itself() {
    let (sandbox, gateway) = pair().await;
    let blocked = json!({ "status": 403, "body": PAGE });
    for route in ["send", "list"] {
        let mut rule = blocked.clone();
        rule["route"] = json!(route);
        sandbox.rule(rule).await;
    }
    accept_all(&gateway, 0..5).await;
    until_held(&gateway).await;
    accept_all(&gateway, 5..12).await;
    let sends = sandbox.counts().await["calls"]["send"].clone();
    let before = sandbox.counts().await["calls"]["list"].as_u64().unwrap();
    until("the list is asked for three times", async || {
        let lists = sandbox.counts().await["calls"]["list"].as_u64().unwrap();
        (lists >= before + 3).then_some(())
    })
    .await;
    assert_eq!(
        sandbox.counts().await["calls"]["send"],
        sends,
        "no message is tried"
    );
    sandbox.no_rules().await;
    let ledger = gateway.drained_within(LONG).await;
    assert_eq!(ledger["accepted_by_provider"], 13, "{ledger}");
    assert_eq!(sandbox.counts().await["recipients_repeated"], 0);
}

#[tokio::test]
async fn what_the_provider_says_about_the_account_holds_the_account() {
    let (sandbox, gateway) = pair().await;
    let outcome = "fault:404:messaging.adaptors.http.flow.ApplicationNotFound";
    sandbox
        .rule(json!({ "route": "send", "outcome": outcome }))
        .await;
    accept_all(&gateway, 0..5).await;
    let hold = until_held(&gateway).await;
    assert_eq!(
        (&hold["id"], &hold["code"]),
        (&json!("account:default"), &json!("accused_alike"))
    );
    sandbox.no_rules().await;
    assert_eq!(
        gateway.drained_within(LONG).await["accepted_by_provider"],
        6
    );
}

#[tokio::test]
async fn an_operator_releases_what_is_held() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox).set("policy.hold_probe=1h");
    let gateway = Gateway::start(&sandbox, setup).await;
    sandbox
        .rule(json!({ "route": "send", "next": 6, "status": 403, "body": PAGE }))
        .await;
    accept_all(&gateway, 0..6).await;
    let hold = until_held(&gateway).await;
    for member in [
        "id",
        "scope",
        "name",
        "code",
        "words",
        "since",
        "next_trial",
        "waiting",
    ] {
        assert!(!hold[member].is_null(), "{member}: {hold}");
    }
    assert!(hold["words"].as_str().unwrap().contains("403"), "{hold}");
    sandbox.no_rules().await;
    let wrong = gateway
        .ops_send("POST", "/api/holds/channel:nope/release", json!({}))
        .await;
    assert_eq!(wrong.0, 404, "{wrong:?}");
    let done = gateway
        .ops_send("POST", "/api/holds/channel:default/release", json!({}))
        .await;
    assert_eq!(done.0, 202, "{done:?}");
    assert_eq!(
        gateway.drained_within(LONG).await["accepted_by_provider"],
        6
    );
    let released = "an operator released the held messages";
    gateway.process.said(&[released]).await;
}

#[tokio::test]
async fn an_operator_lets_the_messages_fail_that_they_have_seen() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox).set("policy.hold_probe=1h");
    let gateway = Gateway::start(&sandbox, setup).await;
    sandbox
        .rule(json!({ "route": "send", "status": 403, "body": PAGE }))
        .await;
    accept_all(&gateway, 0..12).await;
    until("all wait", async || {
        let holds = gateway.holds().await;
        (holds.first()?["waiting"] == 12).then_some(())
    })
    .await;
    let path = "/api/holds/channel:default/fail";
    for (body, status) in [(json!({}), 400), (json!({ "confirm": 13 }), 409)] {
        let answer = gateway.ops_send("POST", path, body).await;
        assert_eq!(answer.0, status, "{answer:?}");
    }
    sandbox.no_rules().await;
    let done = gateway
        .ops_send("POST", path, json!({ "confirm": 12 }))
        .await;
    assert_eq!(done.0, 202, "{done:?}");
    let ledger = gateway.drained_within(LONG).await;
    assert_eq!(
        (&ledger["failed"], &ledger["lost"]),
        (&json!(12), &json!(0)),
        "{ledger}"
    );
    for n in 0..12 {
        let entries = until("MoEngage is told", async || {
            let entries = sandbox.entries(&format!("m{n}")).await;
            (!entries.is_empty()).then_some(entries)
        })
        .await;
        assert_eq!(entries[0]["error"]["code"], "7004", "{entries:?}");
    }
    assert!(gateway.holds().await.is_empty());
    gateway.accept("next", &person(50)).await;
    gateway.until_sent("next").await;
}

#[tokio::test]
async fn r_08_fresh_messages_get_every_second_slot_beside_messages_that_are_tried_again() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox)
        .env("RATE_PER_SECOND", "40")
        .set("policy.retry_max=50ms")
        .set("policy.retryable_texts=come back");
    let gateway = Gateway::start(&sandbox, setup).await;
    gateway.accept("warm", &person(900)).await;
    gateway.until_sent("warm").await;
    let busy = |n| {
        json!({ "route": "send", "recipient": digits(&person(n)), "status": 200,
            "body": { "success": false, "errorMessage": "Busy, come back" } })
    };
    let rules: Vec<Value> = (0..40).map(busy).collect();
    sandbox.post("rules", json!(rules)).await;
    accept_all(&gateway, 0..40).await;
    until("each was refused", async || {
        let calls = sandbox.counts().await["calls"]["send"].as_u64().unwrap();
        (calls >= 41).then_some(())
    })
    .await;
    gateway.channel("pause").await;
    accept_all(&gateway, 100..160).await;
    let before = sandbox.counts().await["calls"]["send"].as_u64().unwrap();
    gateway.channel("resume").await;
    let calls = until("the fresh ones are sent", async || {
        let counts = sandbox.counts().await;
        let calls = counts["calls"]["send"].as_u64().unwrap() - before;
        (counts["sends_accepted"] == 61).then_some(calls)
    })
    .await;
    // 60 fresh ones and as many retries, and what was under way at both ends.
    assert!(calls <= 120 + 80, "{calls} calls for 60 fresh messages");
    until_all_sent(&gateway, &names(100..160)).await;
    sandbox.no_rules().await;
    assert_eq!(
        gateway.drained_within(LONG).await["accepted_by_provider"],
        101
    );
}

#[tokio::test]
async fn r_12_a_408_and_a_503_are_tried_again_and_a_named_pause_is_kept() {
    let (sandbox, gateway) = pair().await;
    sandbox.script("send", &["status:408", "503"]).await;
    gateway.accept("m1", &person(1)).await;
    let message = gateway.until_sent("m1").await;
    assert_eq!(message["attempts"], 3, "{message}");
    let pause =
        json!({ "route": "send", "next": 1, "status": 503, "headers": { "retry-after": "2" } });
    sandbox.rule(pause).await;
    let began = std::time::Instant::now();
    gateway.accept("m2", &person(2)).await;
    let message = gateway.until_sent("m2").await;
    assert_eq!(message["attempts"], 2, "{message}");
    assert!(
        began.elapsed() >= std::time::Duration::from_secs(2),
        "{message}"
    );
}
