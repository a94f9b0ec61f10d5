//! Delivery statuses: every shape read, early ones kept, relayed forwards only.

use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use serde_json::{Value, json};

/// Statuses told by the test itself.
async fn quiet() -> (Sandbox, Gateway) {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    (sandbox, gateway)
}

#[tokio::test]
async fn b_31_three_generations_mixed_in_one_stream_are_told_as_their_fold() {
    const MESSAGES: usize = 250;
    let sandbox = Sandbox::start(json!({
        "share_read": 0.7, "share_out_of_order": 0.3, "share_duplicate": 0.3,
        "share_skip_delivered": 0.2, "share_late_failed": 0.2, "share_failed": 0.1,
        "share_never": 0.05, "share_odd": 0.3, "event_jitter_ms": 5, "event_first": 0.3,
    }))
    .await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    accept_many(&gateway, MESSAGES).await;
    until("all are sent", async || {
        (gateway.ledger().await["accepted_by_provider"] == MESSAGES).then_some(())
    })
    .await;
    idle(&sandbox).await;
    let ledger = gateway.drained().await;
    assert_fold(&sandbox, MESSAGES, false).await;
    let counts = sandbox.counts().await;
    assert!(
        counts["callback_entries"]["read"].as_u64() > Some(50),
        "{counts}"
    );
    for fault in [
        "callback_repeated",
        "callback_backwards",
        "callback_duplicates",
        "callback_invalid",
        "events_failed",
    ] {
        assert_eq!(counts[fault], 0, "{fault}: {counts}");
    }
    assert_eq!(ledger["lost"], 0);
    // Each shape did occur, so that none of them was left untested.
    let events = sandbox.get("events?limit=100000").await;
    for shape in ["gen1", "gen2", "gen3", "gen3_batch"] {
        assert!(
            events
                .as_array()
                .unwrap()
                .iter()
                .any(|one| one["shape"] == shape),
            "{shape}"
        );
    }
}

#[tokio::test]
async fn b_29_b_30_every_status_of_every_entry_and_change_counts_and_one_without_entry_too() {
    let (sandbox, gateway) = quiet().await;
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(sent(&gateway, &sandbox, &format!("m{n}"), &number(n)).await);
    }
    let one = |n: usize, word: &str| meta_status(&ids[n], word, 1_930_000_000 + n as u64);
    let batch = meta(&[
        vec![
            change(&[one(0, "sent"), one(1, "sent")]),
            change(&[one(0, "delivered"), one(2, "sent")]),
        ],
        vec![
            change(&[one(2, "delivered"), one(2, "read")]),
            change(&[one(1, "failed")]),
        ],
    ]);
    assert_eq!(gateway.event(&batch).await, 200);
    // B-29: the second generation has no `entry` at all.
    assert_eq!(gateway.event(&vonage(&ids[3], "rejected")).await, 200);
    until_told(&sandbox, "m0", &["sent", "delivered"]).await;
    until_told(&sandbox, "m1", &["sent", "failed"]).await;
    until_told(&sandbox, "m2", &["sent", "delivered", "read"]).await;
    until_told(&sandbox, "m3", &["failed"]).await;
}

#[tokio::test]
async fn b_05_b_08_a_status_that_overtakes_its_receipt_is_kept_and_told_in_order() {
    const MESSAGES: usize = 60;
    let sandbox = Sandbox::start(json!({
        "event_first": 1, "latency_ms": 60, "event_delay_ms": 1, "share_read": 1,
    }))
    .await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    accept_many(&gateway, MESSAGES).await;
    until("all are sent", async || {
        (gateway.ledger().await["accepted_by_provider"] == MESSAGES).then_some(())
    })
    .await;
    idle(&sandbox).await;
    let ledger = gateway.drained().await;
    for n in 0..MESSAGES {
        assert_eq!(
            sandbox.told(&format!("m{n}")).await,
            ["sent", "delivered", "read"]
        );
    }
    let early = figure(
        &gateway.metrics().await,
        "gateway_statuses_total{outcome=\"unmatched\"}",
    );
    assert!(early >= MESSAGES as f64, "only {early} statuses were early");
    assert_eq!(ledger["early_statuses_expired"], 0);
}

#[tokio::test]
async fn a_status_of_an_id_that_nobody_sent_expires_and_is_counted() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox).set("store.event_retention=1s");
    let gateway = Gateway::start(&sandbox, setup).await;
    for status in ["sent", "delivered"] {
        assert_eq!(gateway.event(&vonage("nobodys", status)).await, 200);
    }
    until("both are expired", async || {
        (gateway.ledger().await["early_statuses_expired"] == 2).then_some(())
    })
    .await;
    until("the metrics say so too", async || {
        let metrics = gateway.metrics().await;
        (figure(&metrics, "gateway_expired_statuses_total") >= 2.0).then_some(())
    })
    .await;
    assert_eq!(sandbox.counts().await["callback_posts"], 0);
}

#[tokio::test]
async fn b_31_a_storm_of_repeats_and_late_statuses_never_goes_backwards_nor_repeats() {
    const PEOPLE: usize = 10;
    let (sandbox, gateway) = quiet().await;
    let mut ids = Vec::new();
    for n in 0..PEOPLE {
        ids.push(sent(&gateway, &sandbox, &format!("m{n}"), &number(n)).await);
    }
    let mut dice = fastrand::Rng::with_seed(31);
    let words = ["sent", "sent", "delivered", "failed", "read"];
    let event = |_| {
        let id = &ids[dice.usize(..PEOPLE)];
        let seconds = 1_930_000_000 + dice.u64(..1000);
        let body = status(id, words[dice.usize(..words.len())], seconds);
        gateway.http.post(gateway.webhook()).json(&body)
    };
    let answers = answers((0..400).map(event)).await;
    assert!(answers.iter().all(|(status, _)| *status == 200));
    gateway.drained().await;
    for n in 0..PEOPLE {
        let told = sandbox.told(&format!("m{n}")).await;
        assert_eq!(told.last().map(String::as_str), Some("read"), "m{n}");
        assert_eq!(told, fold(&told), "m{n}");
    }
    let counts = sandbox.counts().await;
    assert_eq!(counts["callback_repeated"], 0);
    assert_eq!(counts["callback_backwards"], 0);
}

#[tokio::test]
async fn b_32_the_upstreams_words_become_moengages_with_reason_and_the_events_own_time() {
    let (sandbox, gateway) = quiet().await;
    let first = sent(&gateway, &sandbox, "m0", &number(0)).await;
    let at = ago(7);
    let mut submitted = vonage(&first, "submitted");
    submitted["event"]["data"]["timestamp"] = json!(written(at - 1, "%FT%TZ"));
    assert_eq!(gateway.event(&submitted).await, 200);
    for unknown in ["deleted", "replied", "accepted"] {
        assert_eq!(gateway.event(&vonage(&first, unknown)).await, 200);
    }
    let mut failed = meta_status(&first, "failed", at);
    failed["errors"] = json!([{ "code": 131_047, "title": "Re-engagement message",
        "error_data": { "details": "More than 24 hours have passed" } }]);
    assert_eq!(gateway.event(&meta(&[vec![change(&[failed])]])).await, 200);
    let second = sent(&gateway, &sandbox, "m1", &number(1)).await;
    let mut undeliverable = vonage(&second, "undeliverable");
    undeliverable["event"]["data"]["error"] =
        json!({ "title": "1340", "detail": "Outside allowed window" });
    assert_eq!(gateway.event(&undeliverable).await, 200);
    until_told(&sandbox, "m0", &["sent", "failed"]).await;
    until_told(&sandbox, "m1", &["failed"]).await;
    let told = sandbox.entries("m0").await;
    assert_eq!(
        told[0]["timestamp"],
        (at - 1).to_string(),
        "the time of the event, in seconds"
    );
    assert_eq!(told[1]["timestamp"], at.to_string());
    assert_eq!(told[1]["error"]["code"], "7004");
    for (entry, part) in [
        (&told[1], "131047"),
        (&told[1], "More than 24 hours have passed"),
        (&sandbox.entries("m1").await[0], "1340"),
        (&sandbox.entries("m1").await[0], "Outside allowed window"),
    ] {
        let said = entry["error"]["description"].as_str().unwrap();
        assert!(said.contains(part), "{part} is not in {said}");
    }
    let metrics = gateway.metrics().await;
    let unknown = figure(
        &metrics,
        "gateway_other_events_total{kind=\"unknown_status\"}",
    );
    assert_eq!(unknown, 3.0);
}

#[tokio::test]
async fn timestamps_are_milliseconds_where_moengage_wants_them() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox).env("MOENGAGE_TIMESTAMP_UNIT", "ms");
    let gateway = Gateway::start(&sandbox, setup).await;
    let id = sent(&gateway, &sandbox, "m0", &number(0)).await;
    let at = ago(7);
    assert_eq!(gateway.event(&status(&id, "read", at)).await, 200);
    until_told(&sandbox, "m0", &["read"]).await;
    let told = &sandbox.entries("m0").await[0]["timestamp"];
    assert_eq!(*told, format!("{at}000"));
}

#[tokio::test]
async fn what_was_refused_in_the_reply_gets_no_failed_callback() {
    let (sandbox, gateway) = quiet().await;
    gateway.process_templates().await;
    let refused: [(&str, Value); 2] = [
        (
            "7001",
            send("r1", &number(1), "no_such_template", "en", json!([])),
        ),
        ("7002", order_update("r2", "+123")),
    ];
    for (code, body) in &refused {
        assert_eq!(code_of(&gateway.post(body).await), *code);
    }
    // A message that fails after it was accepted shows that failures do get through.
    sandbox.script("send", &["refuse:Not today"]).await;
    gateway.accept("m0", &number(0)).await;
    until_told(&sandbox, "m0", &["failed"]).await;
    gateway.drained().await;
    let told = told_by_message(&sandbox).await;
    assert_eq!(told.keys().collect::<Vec<_>>(), ["m0"]);
}

#[tokio::test]
async fn a_delivery_after_a_failure_is_told_and_a_failure_after_a_delivery_is_not() {
    let (sandbox, gateway) = quiet().await;
    let first = sent(&gateway, &sandbox, "m0", &number(0)).await;
    let second = sent(&gateway, &sandbox, "m1", &number(1)).await;
    for (id, words) in [
        (&first, ["failed", "sent", "delivered"]),
        (&second, ["delivered", "failed", "read"]),
    ] {
        for word in words {
            assert_eq!(gateway.event(&status(id, word, 1_930_000_000)).await, 200);
        }
    }
    until_told(&sandbox, "m0", &["failed", "delivered"]).await;
    until_told(&sandbox, "m1", &["delivered", "read"]).await;
    let history = gateway.history("m0").await;
    assert!(history.contains(&"superseded".to_owned()), "{history:?}");
}
