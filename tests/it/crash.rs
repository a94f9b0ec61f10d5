//! kill -9 at random moments while statuses flow and callbacks are under way.

use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use serde_json::{Value, json};

/// Runs a stream of statuses through a gateway that is killed again and again.
async fn storm(knobs: Value, seed: u64) -> (Sandbox, Gateway) {
    const MESSAGES: usize = 150;
    let sandbox = Sandbox::start(json!({
        "share_read": 0.7, "webhook_retries": 600, "webhook_retry_ms": 50, "event_delay_ms": 60,
        "event_jitter_ms": 60, "moengage_latency_ms": 10, "webhook_retry_max_ms": 100,
    }))
    .await;
    sandbox.knobs(knobs).await;
    // One port for all lives, so that the fake's repeats find the next one.
    let setup = Setup::towards(&sandbox)
        .set(&format!("http.port={}", own_port()))
        .set("moengage.max_pause=200ms")
        .env("AMBIGUOUS_HOLD", "3s");
    let mut gateway = Gateway::start(&sandbox, setup).await;
    let mut dice = fastrand::Rng::with_seed(seed);
    for n in 0..MESSAGES {
        gateway.accept(&format!("m{n}"), &number(n)).await;
    }
    for _ in 0..6 {
        // waits because the moments of the kills are to be random
        tokio::time::sleep(std::time::Duration::from_millis(dice.u64(20..150))).await;
        gateway = gateway.crash_and_restart(&sandbox).await;
    }
    let ledger = settled(&gateway, &sandbox).await;
    assert_eq!(ledger["accepted"], MESSAGES);
    assert_eq!(ledger["lost"], 0);
    let counts = sandbox.counts().await;
    assert_eq!(counts["recipients_repeated"], 0, "something was sent twice");
    assert_eq!(counts["callback_backwards"], 0);
    assert_eq!(counts["callback_invalid"], 0);
    assert_eq!(
        counts["callback_repeated"], counts["callback_duplicates"],
        "a repeat differs"
    );
    fold_or_unknown(&sandbox, &gateway, MESSAGES).await;
    (sandbox, gateway)
}

/// The fold of what was acknowledged. Of a send whose outcome was unknown for a while MoEngage may
/// have been told `failed` first; of one that Jumper never saw, nothing else.
pub(crate) async fn fold_or_unknown(sandbox: &Sandbox, gateway: &Gateway, messages: usize) {
    let events = events_by_recipient(sandbox).await;
    let told = told_by_message(sandbox).await;
    let none = Vec::new();
    for n in 0..messages {
        let msg_id = format!("m{n}");
        let events = events.get(&number(n)[1..]).unwrap_or(&none);
        let mut told = told.get(&msg_id).unwrap_or(&none).clone();
        told.dedup();
        if told != fold(events) {
            let history = gateway.history(&msg_id).await;
            assert!(
                history.contains(&"unknown".to_owned()),
                "{msg_id}: {told:?} of {events:?}"
            );
            let failed_first: Vec<String> = ["failed".to_owned()]
                .into_iter()
                .chain(events.clone())
                .collect();
            assert_eq!(told, fold(&failed_first), "{msg_id}: {history:?}");
        }
    }
}

#[tokio::test]
async fn b_09_killed_between_the_post_and_its_answer_nothing_is_lost_and_the_order_kept() {
    let (sandbox, _gateway) = storm(json!({ "moengage_lose_answer_share": 0.3 }), 9).await;
    let counts = sandbox.counts().await;
    assert!(
        counts["callback_repeated"].as_u64() > Some(0),
        "no answer was lost: {counts}"
    );
}

#[tokio::test]
async fn killed_while_statuses_of_all_shapes_flow_the_fold_is_right_afterwards() {
    let (sandbox, gateway) = storm(
        json!({ "share_out_of_order": 0.3, "share_duplicate": 0.3, "share_late_failed": 0.2,
            "event_first": 0.5, "share_odd": 0.1 }),
        31,
    )
    .await;
    let counts = sandbox.counts().await;
    assert_eq!(
        counts["events_failed"], 0,
        "an event never reached the gateway: {counts}"
    );
    let counted = gateway.ops_get("/api/ledger").await.1["counted"].clone();
    assert_eq!(
        counted,
        json!({ "queued": 0, "in_flight": 0, "unknown": 0 })
    );
}

#[tokio::test]
async fn killed_right_after_its_answer_a_reply_is_still_told_and_a_stop_still_obeyed() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none", "moengage_status": 500 })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let id = sent(&gateway, &sandbox, "m0", &number(0)).await;
    let read = status(&id, "read", 1_930_000_000);
    assert_eq!(gateway.event(&read).await, 200);
    let stop = json!({ "message_id": id, "text": "STOP", "kind": "quoted" });
    assert_eq!(sandbox.post("reply", stop).await["status"], 200);
    let gateway = gateway.crash_and_restart(&sandbox).await;
    assert_eq!(
        code_of(&gateway.post(&order_update("m1", &number(0))).await),
        "7003"
    );
    sandbox.knobs(json!({ "moengage_status": 200 })).await;
    gateway.drained().await;
    let mut told = sandbox.told("m0").await;
    told.sort();
    assert_eq!(told, ["inbound", "read"]);
}
