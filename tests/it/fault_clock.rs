//! The wall clock of the machine is set, ahead or back, while messages are queued, on their way,
//! tried again or waiting to be told: nothing is lost, nothing is sent twice, nothing stands still.

use crate::it::fault_parts::with_shim;
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use crate::kit::redis_server::{Options, Redis};
use crate::kit::shim::Shim;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// A gateway, and the shim that shifts the clock that counts for it: its machine's, or that of Redis.
async fn pair(knobs: Value, change: impl FnOnce(Setup) -> Setup) -> (Sandbox, Gateway, Shim) {
    let sandbox = Sandbox::start(knobs).await;
    let shim = Shim::build();
    let setup = change(Setup::towards(&sandbox));
    let setup = match on_redis() {
        true => {
            let redis = Redis::start_under(Options::every_second(), &shim.env());
            setup.sharing(&Arc::new(redis))
        }
        false => with_shim(setup, &shim),
    };
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
    let ledger = settled(&gateway, &sandbox).await;
    assert_eq!(
        (&ledger["accepted"], &ledger["lost"]),
        (&json!(sent), &json!(0))
    );
    let counts = sandbox.counts().await;
    assert_eq!(counts["recipients_repeated"], 0, "something was sent twice");
    assert_eq!(counts["callback_backwards"], 0);
    // 40 days are more than MAX_AGE and more than AMBIGUOUS_HOLD, and no leap here is believed.
    assert_eq!(ledger["failed"], 0, "{ledger}");
    for n in 0..sent {
        let sends = sandbox.sends_to(&number(n)[1..]).await.len();
        assert_eq!(sends, 1, "m{n}");
    }
}

/// Everything that time could end: messages in the queue and before another try, an outcome that is
/// unknown, a callback that waits. Both tests leave it so for whoever looks next.
async fn much_that_waits(shift: i64) -> (Sandbox, Gateway, Shim) {
    let knobs = json!({ "event_mode": "none", "moengage_status": 503 });
    let (sandbox, gateway, shim) = pair(knobs, |setup| {
        setup
            .env("AMBIGUOUS_HOLD", "1h")
            .env("RATE_PER_SECOND", "40")
            .set("policy.retry_base=500ms")
    })
    .await;
    let callback = sent(&gateway, &sandbox, "untold", &number(100)).await;
    let delivered = status(&callback, "delivered", 1_930_000_000);
    assert_eq!(gateway.event(&delivered).await, 200);
    sandbox.script("send", &["accept_then_close"]).await;
    gateway.accept("unknown", &number(101)).await;
    gateway.until_state("unknown", "unknown").await;
    let busy = json!({ "route": "send", "recipient": &number(102)[1..], "status": 503 });
    sandbox.rule(busy).await;
    gateway.accept("retried", &number(102)).await;
    until("it waits for another try", async || {
        let history = gateway.history("retried").await;
        history.contains(&"retry".to_owned()).then_some(())
    })
    .await;
    gateway.channel("pause").await;
    accept_many(&gateway, 40).await;
    shim.clock(shift);
    if on_redis() {
        // What is accepted before the gateway has asked Redis again bears the time from before the leap.
        until("the leap is known", async || {
            let said = gateway.process.output();
            said.contains("the clock of Redis").then_some(())
        })
        .await;
    }
    gateway.channel("resume").await;
    (sandbox, gateway, shim)
}

/// After the clock is right again: all are sent, none was failed, none was told wrongly.
async fn nothing_is_amiss(sandbox: &Sandbox, gateway: &Gateway, sent: usize) {
    sandbox.no_rules().await;
    sandbox.knobs(json!({ "moengage_status": 200 })).await;
    let proof = json!({ "to": number(101), "status": "delivered" });
    assert_eq!(sandbox.post("status", proof).await["status"], 200);
    let ledger = gateway.drained().await;
    assert_eq!(ledger["accepted_by_provider"], sent, "{ledger}");
    assert_eq!((&ledger["failed"], &ledger["lost"]), (&json!(0), &json!(0)));
    assert_eq!(ledger["callbacks"]["dead_letters"], 0, "{ledger}");
    until_told(sandbox, "untold", &["delivered"]).await;
    until_told(sandbox, "unknown", &["delivered"]).await;
    assert_eq!(sandbox.counts().await["recipients_repeated"], 0);
}

#[tokio::test]
async fn r_11_while_the_clock_is_ten_days_ahead_nothing_old_is_failed_or_sent_and_new_ones_go() {
    let (sandbox, gateway, shim) = much_that_waits(10 * DAY).await;
    for n in 0..20 {
        gateway.accept(&format!("new{n}"), &number(200 + n)).await;
    }
    for n in 0..20 {
        gateway.until_sent(&format!("new{n}")).await;
    }
    // waits because a sweep and many claims are to look in the meantime
    tokio::time::sleep(Duration::from_secs(3)).await;
    let ledger = gateway.ledger().await;
    // 40 that wait and one that was tried.
    assert_eq!(ledger["queued"], 41, "{ledger}");
    assert_eq!(
        (&ledger["unknown"], &ledger["failed"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(ledger["callbacks"]["dead_letters"], 0, "{ledger}");
    shim.clock(0);
    nothing_is_amiss(&sandbox, &gateway, 63).await;
}

#[tokio::test]
async fn r_11_what_is_accepted_while_the_clock_is_25_hours_behind_is_sent_and_never_too_old() {
    let (sandbox, gateway, shim) = much_that_waits(-25 * HOUR).await;
    for n in 0..20 {
        gateway.accept(&format!("new{n}"), &number(200 + n)).await;
    }
    for n in 0..20 {
        gateway.until_sent(&format!("new{n}")).await;
    }
    gateway.channel("pause").await;
    for n in 20..40 {
        gateway.accept(&format!("new{n}"), &number(200 + n)).await;
    }
    // waits because a sweep is to look in the meantime
    tokio::time::sleep(Duration::from_secs(2)).await;
    shim.clock(0);
    gateway.channel("resume").await;
    nothing_is_amiss(&sandbox, &gateway, 83).await;
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
    embedded_only!("a leap of Redis' clock is seen seconds later; the rule is the same");
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
