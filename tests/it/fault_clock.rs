//! The wall clock of the machine is set, ahead or back, while messages are queued, on their way,
//! tried again or waiting to be told: nothing is lost, nothing is sent twice, nothing stands still.

use crate::aids::*;
use crate::fault_parts::{Shim, with_shim};
use crate::harness::*;
use serde_json::{Value, json};
use std::time::Duration;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// A gateway whose clock the shim shifts.
async fn pair(knobs: Value, change: impl FnOnce(Setup) -> Setup) -> (Sandbox, Gateway, Shim) {
    let sandbox = Sandbox::start(knobs).await;
    let shim = Shim::build();
    let setup = change(with_shim(Setup::towards(&sandbox), &shim));
    let gateway = Gateway::start(&sandbox, setup).await;
    (sandbox, gateway, shim)
}

async fn a_moment() {
    // waits because the clock is to be wrong for a while
    tokio::time::sleep(Duration::from_millis(700)).await;
}

#[tokio::test]
async fn a_clock_that_jumps_to_and_fro_loses_and_repeats_nothing() {
    let knobs = json!({ "latency_ms": 60, "latency_jitter_ms": 50, "share_read": 0.7,
        "event_delay_ms": 100, "event_first": 0.3, "share_accept_then_close": 0.05,
        "share_503": 0.1, "webhook_retries": 10, "webhook_retry_ms": 50 });
    let (sandbox, gateway, shim) = pair(knobs, |setup| {
        // A lost answer is no reason to stop here.
        setup
            .env("RATE_PER_SECOND", "60")
            .set("breaker.failures=1000")
    })
    .await;
    let mut sent = 0;
    for shift in [HOUR, 0, -HOUR, 0, 40 * DAY, 0, -40 * DAY, 0, HOUR, -HOUR, 0] {
        shim.clock(shift);
        for _ in 0..40 {
            gateway.accept(&format!("m{sent}"), &number(sent)).await;
            sent += 1;
        }
        a_moment().await;
    }
    gateway.drained().await;
    idle(&sandbox).await;
    let ledger = gateway.drained().await;
    assert_eq!(
        (&ledger["accepted"], &ledger["lost"]),
        (&json!(sent), &json!(0))
    );
    let counts = sandbox.counts().await;
    assert_eq!(counts["recipients_repeated"], 0, "something was sent twice");
    assert_eq!(counts["callback_backwards"], 0);
    let told = told_by_message(&sandbox).await;
    let mut old = 0;
    for n in 0..sent {
        let message = gateway.message(&format!("m{n}")).await;
        let sends = sandbox.sends_to(&number(n)[1..]).await.len();
        let told = &told[&format!("m{n}")];
        if is_sent(&message) {
            assert_eq!(sends, 1, "{message}");
            continue;
        }
        // 40 days are more than MAX_AGE and more than AMBIGUOUS_HOLD: MoEngage knows.
        assert_eq!(
            (told, &message["state"]),
            (&vec!["failed".to_owned()], &json!("failed"))
        );
        old += usize::from(message.to_string().contains("older than MAX_AGE allows"));
    }
    // How many waited at that moment is a matter of the machine.
    assert!(old < sent / 2, "{old} of {sent}");
}

#[tokio::test]
async fn a_clock_that_was_set_back_an_hour_holds_nothing_back() {
    let knobs = json!({ "share_read": 0, "webhook_retries": 10, "webhook_retry_ms": 50 });
    let (sandbox, gateway, shim) = pair(knobs, |setup| {
        setup
            .set("policy.retry_base=1500ms")
            .env("CONCURRENT_API_CALLS", "4")
    })
    .await;
    shim.clock(0);
    sandbox.knobs(json!({ "moengage_status": 503 })).await;
    let callback = sent(&gateway, &sandbox, "untold", &number(100)).await;
    sandbox.script("send", &["503", "503", "503"]).await;
    gateway.accept("retried", &number(101)).await;
    until("it waits for another try", async || {
        gateway
            .history("retried")
            .await
            .contains(&"retry".to_owned())
            .then_some(())
    })
    .await;
    gateway.channel("pause").await;
    accept_many(&gateway, 20).await;
    assert_eq!(
        gateway
            .event(&status(&callback, "read", 1_930_000_000))
            .await,
        200
    );
    shim.clock(-HOUR);
    sandbox.knobs(json!({ "moengage_status": 200 })).await;
    gateway.channel("resume").await;
    let ledger = gateway.drained().await;
    assert_eq!(ledger["accepted_by_provider"], 22, "{ledger}");
    until_told(&sandbox, "untold", &["sent", "delivered", "read"]).await;
    assert_eq!(sandbox.counts().await["recipients_repeated"], 0);
}

#[tokio::test]
async fn tokens_that_were_taken_while_the_clock_was_ahead_are_renewed() {
    let (sandbox, gateway, shim) = pair(json!({ "event_mode": "none" }), |setup| setup).await;
    let refreshes = async || sandbox.counts().await["refreshes"].as_u64().unwrap();
    gateway.accept("m0", &number(0)).await;
    gateway.until_sent("m0").await;
    assert_eq!(refreshes().await, 1);
    shim.clock(40 * DAY);
    let path = "/api/accounts/default/token/refresh";
    assert_eq!(gateway.ops_send("POST", path, json!({})).await.0, 200);
    assert_eq!(refreshes().await, 2);
    // They would seem to be good for 40 days longer than they are, and end without a word.
    shim.clock(0);
    let gateway = gateway.crash_and_restart(&sandbox).await;
    until("they are renewed", async || {
        (refreshes().await == 3).then_some(())
    })
    .await;
    let token = gateway.account().await["token"].clone();
    assert_eq!(token["state"], "fresh", "{token}");
}

#[tokio::test]
async fn a_clock_that_leapt_ahead_makes_nobody_forget_what_was_sent() {
    let (sandbox, gateway, shim) = pair(json!({ "event_mode": "none" }), |setup| {
        // Retention then looks every second; messages are kept as long as ever.
        setup.set("store.event_retention=4s")
    })
    .await;
    gateway.accept("m0", &number(0)).await;
    gateway.until_sent("m0").await;
    shim.clock(40 * DAY);
    // waits because retention is to look in the meantime
    tokio::time::sleep(Duration::from_secs(3)).await;
    shim.clock(0);
    gateway.accept("m0", &number(0)).await;
    gateway.accept("m1", &number(1)).await;
    gateway.until_sent("m1").await;
    assert_eq!(
        sandbox.sends_to(&number(0)[1..]).await.len(),
        1,
        "sent twice"
    );
}
