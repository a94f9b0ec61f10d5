//! Relaying while MoEngage is away: everything waits, nothing is lost, all comes soon after.

use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use serde_json::json;

#[tokio::test]
async fn after_a_blip_of_moengage_under_load_everything_is_told_within_seconds() {
    const MESSAGES: usize = 60;
    let sandbox = Sandbox::start(json!({
        "moengage_latency_ms": 300, "moengage_status": 500, "share_read": 1, "event_delay_ms": 20,
    }))
    .await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    accept_many(&gateway, MESSAGES).await;
    // Several posts are under way when the first failure comes; together they are one failure.
    until("MoEngage was asked several times at once", async || {
        (sandbox.counts().await["callback_posts"].as_u64() >= Some(4)).then_some(())
    })
    .await;
    until("the gateway has noticed", async || {
        gateway
            .process
            .output()
            .contains("MoEngage does not take callbacks")
            .then_some(())
    })
    .await;
    sandbox
        .knobs(json!({ "moengage_latency_ms": 0, "moengage_status": 200 }))
        .await;
    settled(&gateway, &sandbox).await;
    let told = gateway.process.output();
    assert!(!told.contains("failures=4"), "each counted for itself");
    assert_fold(&sandbox, MESSAGES, false).await;
}

#[tokio::test]
async fn moengage_down_at_the_socket_and_back_gets_everything_in_order() {
    const MESSAGES: usize = 40;
    let jumper = Sandbox::start(json!({ "event_mode": "none" })).await;
    // A MoEngage of its own, so that it can be away while Jumper is there.
    let port = own_port();
    let setup = Setup::towards(&jumper)
        .env(
            "MOENGAGE_CALLBACK_URL",
            &format!("http://127.0.0.1:{port}/moengage/dlr"),
        )
        .set("moengage.max_pause=200ms");
    let gateway = Gateway::start(&jumper, setup).await;
    accept_many(&gateway, MESSAGES).await;
    let mut ids = Vec::new();
    for n in 0..MESSAGES {
        ids.push(receipt(&gateway, &jumper, &format!("m{n}"), &number(n)).await);
    }
    for word in ["sent", "delivered"] {
        for id in &ids {
            assert_eq!(gateway.event(&status(id, word, 1_930_000_000)).await, 200);
        }
    }
    let ledger = gateway.ledger().await;
    assert_eq!(ledger["callbacks"]["waiting"], 2 * MESSAGES);
    let dir = tempfile::tempdir().unwrap();
    let flags = ["sandbox", "--port", &port.to_string()];
    let mut moengage = Process::start(&flags, &Default::default(), dir.path());
    let line = moengage.line_with("Jumper at");
    assert!(line.contains(&port.to_string()), "{line}");
    for id in &ids {
        assert_eq!(gateway.event(&status(id, "read", 1_930_000_000)).await, 200);
    }
    let ledger = gateway.drained().await;
    assert_eq!(ledger["callbacks"]["taken"], 3 * MESSAGES);
    let url = format!("http://127.0.0.1:{port}/_sandbox/callbacks?limit=1000");
    let told: serde_json::Value = client()
        .get(url)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    for n in 0..MESSAGES {
        let words: Vec<_> = told
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["msg_id"] == format!("m{n}"))
            .map(|one| one["status"].as_str().unwrap())
            .collect();
        assert_eq!(words, ["sent", "delivered", "read"], "m{n}");
    }
}

#[tokio::test]
async fn after_a_restart_during_an_outage_everything_is_due_at_once() {
    const MESSAGES: usize = 20;
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    // Longer than anybody here waits.
    let later = json!({ "retry-after": "900" });
    sandbox
        .rule(json!({ "route": "dlr", "status": 503, "headers": later, "body": {} }))
        .await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    accept_many(&gateway, MESSAGES).await;
    for n in 0..MESSAGES {
        let id = receipt(&gateway, &sandbox, &format!("m{n}"), &number(n)).await;
        for word in ["sent", "read"] {
            assert_eq!(gateway.event(&status(&id, word, 1_930_000_000)).await, 200);
        }
    }
    until("the pause has begun", async || {
        gateway
            .process
            .output()
            .contains("again_in_ms=900000")
            .then_some(())
    })
    .await;
    sandbox.no_rules().await;
    let gateway = gateway.crash_and_restart(&sandbox).await;
    gateway.drained().await;
    for n in 0..MESSAGES {
        assert_eq!(
            sandbox.told(&format!("m{n}")).await,
            ["sent", "read"],
            "m{n}"
        );
    }
}

#[tokio::test]
async fn one_success_makes_the_others_due() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let rules = json!([
        { "route": "dlr", "next": 1, "outcome": "accept_then_slow:5" },
        { "route": "dlr", "next": 1, "status": 503, "headers": { "Retry-After": 900 } },
    ]);
    sandbox.rule(rules).await;
    let setup = Setup::towards(&sandbox).set("moengage.callback_timeout=20s");
    let gateway = Gateway::start(&sandbox, setup).await;
    let mut ids = Vec::new();
    for n in 0..2 {
        ids.push(sent(&gateway, &sandbox, &format!("m{n}"), &number(n)).await);
    }
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(gateway.event(&status(id, "read", 1_930_000_000)).await, 200);
        until("MoEngage is asked", async || {
            (sandbox.posts().await.len() == n + 1).then_some(())
        })
        .await;
    }
    // The first is under way while the second is turned down; its success comes after that.
    gateway.drained().await;
    assert_eq!(sandbox.posts().await.len(), 3);
}

#[tokio::test]
async fn what_moengage_does_not_take_in_time_becomes_a_dead_letter_and_the_next_status_goes_on() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none", "moengage_status": 500 })).await;
    let setup = Setup::towards(&sandbox)
        .set("moengage.retry_for=1s")
        .set("moengage.max_pause=100ms");
    let gateway = Gateway::start(&sandbox, setup).await;
    let id = sent(&gateway, &sandbox, "m0", &number(0)).await;
    assert_eq!(
        gateway.event(&status(&id, "sent", 1_930_000_000)).await,
        200
    );
    until("it is given up", async || {
        (gateway.ledger().await["callbacks"]["dead_letters"] == 1).then_some(())
    })
    .await;
    sandbox.knobs(json!({ "moengage_status": 200 })).await;
    assert_eq!(
        gateway.event(&status(&id, "read", 1_930_000_000)).await,
        200
    );
    until_told(&sandbox, "m0", &["read"]).await;
    gateway.drained().await;
}
