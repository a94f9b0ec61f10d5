//! Relaying while MoEngage answers in all the ways it may: at least once, in order, no more often
//! than needed.

use crate::it::hostile_upstream::Trap;
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use serde_json::{Value, json};
use std::time::Duration;

/// A gateway whose MoEngage answers by these rules first, and the provider's ids of `m0..`.
async fn reporting(
    rules: Value,
    sets: &[&str],
    messages: usize,
) -> (Sandbox, Gateway, Vec<String>) {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    sandbox.rule(rules).await;
    let mut setup = Setup::towards(&sandbox);
    for pair in sets {
        setup = setup.set(pair);
    }
    let gateway = Gateway::start(&sandbox, setup).await;
    let mut ids = Vec::new();
    for n in 0..messages {
        ids.push(sent(&gateway, &sandbox, &format!("m{n}"), &number(n)).await);
    }
    (sandbox, gateway, ids)
}

fn entries(body: &str) -> Vec<Value> {
    let body: Value = serde_json::from_str(body).unwrap();
    body["statuses"].as_array().unwrap().clone()
}

#[tokio::test]
async fn b_09_whatever_moengage_answers_every_status_arrives_in_order() {
    const MESSAGES: usize = 80;
    let sandbox = Sandbox::start(json!({ "share_read": 1, "moengage_latency_ms": 5 })).await;
    let setup = Setup::towards(&sandbox)
        .set("moengage.max_pause=50ms")
        .set("moengage.callback_timeout=400ms");
    let gateway = Gateway::start(&sandbox, setup).await;
    let answers = [
        "500",
        "ok",
        "429",
        "accept_then_close",
        "408",
        "accept_then_slow:1",
        "503",
        "accept_then_502_html",
        "close_before",
        "hang:1",
        "ok",
        "accept_then_close",
        "ok",
    ];
    for _ in 0..3 {
        sandbox.script("dlr", &answers).await;
    }
    accept_many(&gateway, MESSAGES).await;
    until("all are sent", async || {
        (gateway.ledger().await["accepted_by_provider"] == MESSAGES).then_some(())
    })
    .await;
    idle(&sandbox).await;
    let ledger = gateway.drained().await;
    assert_fold(&sandbox, MESSAGES, true).await;
    let counts = sandbox.counts().await;
    assert!(
        counts["callback_repeated"].as_u64() > Some(0),
        "no answer was lost: {counts}"
    );
    assert_eq!(
        counts["callback_repeated"], counts["callback_duplicates"],
        "a repeat differs"
    );
    assert_eq!(counts["callback_backwards"], 0);
    assert_eq!(
        counts["callback_invalid"], 0,
        "{}",
        counts["invalid_reasons"]
    );
    assert_eq!(ledger["callbacks"]["dead_letters"], 0);
}

#[tokio::test]
async fn b_09_a_repeat_is_byte_identical_and_comes_only_when_the_answer_was_lost() {
    let rules = json!([
        { "route": "dlr", "next": 1, "outcome": "close_before" },
        { "route": "dlr", "next": 1, "outcome": "hang:600" },
    ]);
    let sets = ["moengage.max_pause=50ms", "moengage.callback_timeout=5s"];
    let (sandbox, gateway, ids) = reporting(rules, &sets, 6).await;
    assert_eq!(
        gateway.event(&status(&ids[0], "sent", 1_930_000_000)).await,
        200
    );
    gateway.drained().await;
    let posts = sandbox.posts().await;
    assert_eq!(posts.len(), 3, "cut, unanswered, taken");
    assert!(posts.iter().all(|post| post.body == posts[0].body));
    for id in &ids[1..] {
        assert_eq!(gateway.event(&status(id, "sent", 1_930_000_000)).await, 200);
    }
    gateway.drained().await;
    let told: usize = sandbox.posts().await[3..]
        .iter()
        .map(|post| entries(&post.body).len())
        .sum();
    assert_eq!(told, 5, "an answered status was repeated");
}

#[tokio::test]
async fn moengage_that_asks_to_wait_is_not_asked_before() {
    let wait = |status: u16| json!({ "route": "dlr", "next": 1, "status": status, "headers": { "Retry-After": 2 } });
    let (sandbox, gateway, ids) = reporting(json!([wait(429), wait(503)]), &[], 2).await;
    assert_eq!(
        gateway.event(&status(&ids[0], "sent", 1_930_000_000)).await,
        200
    );
    until("the first answer is read", async || {
        let said = gateway.process.output();
        said.contains("does not take callbacks").then_some(())
    })
    .await;
    // Another message must not slip in during the wait either.
    assert_eq!(
        gateway.event(&status(&ids[1], "sent", 1_930_000_000)).await,
        200
    );
    gateway.drained().await;
    let posts = sandbox.posts().await;
    for pair in posts.windows(2).take(2) {
        let gap = pair[1].at - pair[0].at;
        assert!(
            gap >= Duration::from_millis(1950),
            "asked again after {gap:?}"
        );
    }
}

#[tokio::test]
async fn a_retry_after_beyond_all_reason_does_not_stop_the_relay() {
    let never = |text: &str| json!({ "route": "dlr", "next": 1, "status": 429, "headers": { "Retry-After": text } });
    let rules = json!([
        never("18446744073709551615"),
        never("Fri, 31 Dec 9999 23:59:59 GMT"),
        never("-1"),
        never("soon"),
    ]);
    let (sandbox, gateway, ids) = reporting(rules, &["moengage.max_pause=100ms"], 1).await;
    assert_eq!(
        gateway.event(&status(&ids[0], "sent", 1_930_000_000)).await,
        200
    );
    gateway.drained().await;
    assert_eq!(sandbox.posts().await.len(), 5);
    assert!(!gateway.process.output().contains("panicked"));
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_becomes_no_dead_letter() {
    let trap = Trap::set().await;
    let away = json!({ "Location": trap.url });
    let rule = json!({ "route": "dlr", "next": 1, "status": 307, "headers": away });
    let (sandbox, gateway, ids) = reporting(rule, &["moengage.max_pause=50ms"], 1).await;
    assert_eq!(
        gateway.event(&status(&ids[0], "sent", 1_930_000_000)).await,
        200
    );
    let ledger = gateway.drained().await;
    assert_eq!(sandbox.posts().await.len(), 2);
    trap.assert_empty().await;
    assert_eq!(
        (
            &ledger["callbacks"]["taken"],
            &ledger["callbacks"]["dead_letters"]
        ),
        (&json!(1), &json!(0))
    );
}

#[tokio::test]
async fn only_the_refused_status_of_a_batch_becomes_a_dead_letter() {
    const MESSAGES: usize = 30;
    let sandbox = Sandbox::start(json!({ "event_mode": "none", "moengage_status": 500 })).await;
    let setup = Setup::towards(&sandbox).set("moengage.max_pause=300ms");
    let gateway = Gateway::start(&sandbox, setup).await;
    for n in 0..MESSAGES {
        let id = sent(&gateway, &sandbox, &format!("m{n}"), &number(n)).await;
        assert_eq!(
            gateway.event(&status(&id, "read", 1_930_000_000)).await,
            200
        );
    }
    sandbox
        .knobs(json!({ "moengage_status": 200, "moengage_reject_msg_ids": ["m7", "m19"] }))
        .await;
    let ledger = gateway.drained().await;
    assert_eq!(ledger["callbacks"]["dead_letters"], 2);
    assert_eq!(ledger["callbacks"]["taken"], MESSAGES - 2);
    for n in 0..MESSAGES {
        let told = sandbox.told(&format!("m{n}")).await;
        let expected: &[&str] = if n == 7 || n == 19 { &[] } else { &["read"] };
        assert_eq!(told, expected, "m{n}");
    }
    let history = gateway.history("m7").await;
    assert!(history.contains(&"dead_letter".to_owned()), "{history:?}");
    gateway.process.said(&["dead letter"]).await;
}

#[tokio::test]
async fn b_38_a_200_that_speaks_of_failure_is_taken_once_and_logged() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none", "moengage_lying": true })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let id = sent(&gateway, &sandbox, "m0", &number(0)).await;
    assert_eq!(
        gateway.event(&status(&id, "read", 1_930_000_000)).await,
        200
    );
    let ledger = gateway.drained().await;
    assert_eq!(ledger["callbacks"]["taken"], 1);
    assert_eq!(sandbox.told("m0").await, ["read"]);
    let parts = ["speaks of a failure", "not today"];
    gateway.process.said(&parts).await;
}

#[tokio::test]
async fn a_backlog_goes_out_in_batches_within_the_limits() {
    const MESSAGES: usize = 130;
    let sandbox = Sandbox::start(json!({ "event_mode": "none", "moengage_status": 500 })).await;
    let setup = Setup::towards(&sandbox).set("moengage.max_pause=300ms");
    let gateway = Gateway::start(&sandbox, setup).await;
    accept_many(&gateway, MESSAGES).await;
    for n in 0..MESSAGES {
        let id = receipt(&gateway, &sandbox, &format!("m{n}"), &number(n)).await;
        assert_eq!(
            gateway.event(&status(&id, "read", 1_930_000_000)).await,
            200
        );
    }
    sandbox.knobs(json!({ "moengage_status": 200 })).await;
    gateway.drained().await;
    let counts = sandbox.counts().await;
    assert_eq!(counts["callback_entries"]["read"], MESSAGES);
    assert_eq!(
        counts["callback_invalid"], 0,
        "{}",
        counts["invalid_reasons"]
    );
    // Those that MoEngage took: before, each was posted by itself again and again.
    let taken =
        "gateway_callback_posts_total{channel=\"default\",lane=\"status\",outcome=\"taken\"}";
    let posts = figure(&gateway.metrics().await, taken);
    assert!(
        (1.0..MESSAGES as f64 / 2.0).contains(&posts),
        "{MESSAGES} statuses took {posts} posts"
    );
}

#[tokio::test]
async fn long_ids_and_long_reasons_keep_a_batch_below_its_bytes() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    sandbox
        .rule(json!({ "route": "dlr", "next": 3, "status": 500 }))
        .await;
    let setup = Setup::towards(&sandbox)
        .set("moengage.max_pause=300ms")
        .set("moengage.batch_bytes=4096");
    let gateway = Gateway::start(&sandbox, setup).await;
    let mut ids = Vec::new();
    for n in 0..20 {
        let msg_id = format!("{n:03}{}", "x".repeat(500));
        ids.push(sent(&gateway, &sandbox, &msg_id, &number(n)).await);
    }
    for id in ids {
        let mut failed = meta_status(&id, "failed", 1_930_000_000);
        failed["errors"] = json!([{ "code": 1, "title": "ä".repeat(900) }]);
        assert_eq!(gateway.event(&meta(&[vec![change(&[failed])]])).await, 200);
    }
    gateway.drained().await;
    let posts = sandbox.posts().await;
    assert!(posts.iter().all(|post| post.body.len() <= 4096));
    assert!(
        posts.iter().any(|post| entries(&post.body).len() > 1),
        "nothing was batched"
    );
    let taken: usize = posts[3..]
        .iter()
        .map(|post| entries(&post.body).len())
        .sum();
    assert_eq!(taken, 20);
}

#[tokio::test]
async fn replies_do_not_wait_behind_statuses_that_hang() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox)
        .set("moengage.callback_concurrency=1")
        .set("moengage.callback_timeout=1m");
    let gateway = Gateway::start(&sandbox, setup).await;
    let id = sent(&gateway, &sandbox, "m0", &number(0)).await;
    sandbox.script("dlr", &["hang:15"]).await;
    assert_eq!(
        gateway.event(&status(&id, "read", 1_930_000_000)).await,
        200
    );
    until("MoEngage hangs", async || {
        (sandbox.counts().await["callback_posts"] == 1).then_some(())
    })
    .await;
    // Told before the status is: it did not wait for it.
    sandbox
        .post(
            "reply",
            json!({ "message_id": id, "text": "hello", "kind": "quoted" }),
        )
        .await;
    until_told(&sandbox, "m0", &["inbound", "read"]).await;
}
