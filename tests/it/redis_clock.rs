//! Wrong clocks on Redis: what a gateway stamps others act on, so all go by the clock of Redis. The clock
//! of one process harms nobody; that of Redis leaps as any clock does. Always on Redis.

use crate::it::fault_parts::with_shim;
use crate::it::operator_messages::run;
use crate::it::replicas::Stage;
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use crate::kit::redis_server::{Options, Redis, on_redis_only};
use crate::kit::shim::Shim;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const MINUTE: i64 = 60_000;

/// Two replicas, of which the first has a clock that is wrong by so much.
async fn pair(
    knobs: Value,
    wrong: i64,
    change: impl Fn(Setup) -> Setup,
) -> (Stage, Shim, Gateway, Gateway) {
    let stage = Stage::new(knobs, Options::every_second()).await;
    let shim = Shim::build();
    shim.clock(wrong);
    let first = Gateway::start_unheard(with_shim(change(stage.setup()), &shim));
    let second = Gateway::start(&stage.sandbox, change(stage.setup())).await;
    (stage, shim, first, second)
}

#[tokio::test]
async fn r_58_a_replica_whose_clock_is_ahead_delays_nobody_when_it_dies() {
    on_redis_only!();
    let knobs = json!({ "event_mode": "none" });
    let (stage, shim, mut first, second) = pair(knobs, 10 * MINUTE, |setup| setup).await;
    first.channel("pause").await;
    for n in 0..20 {
        first.accept(&format!("m{n}"), &number(n)).await;
    }
    assert!(shim.seen().clocks > 0, "its clock is not looked at");
    first.process.kill();
    second.channel("resume").await;
    let ledger = second.drained().await;
    assert_eq!(ledger["accepted_by_provider"], 20, "{ledger}");
    assert_eq!(stage.sandbox.counts().await["recipients_repeated"], 0);
}

#[tokio::test]
async fn r_58_a_replica_whose_clock_is_ahead_ends_no_hold_early_and_sends_nothing_twice() {
    on_redis_only!();
    let (stage, shim, _first, second) =
        pair(json!({ "event_mode": "none" }), 10 * MINUTE, |setup| {
            setup
                .env("AMBIGUOUS_SEND", "resend")
                .env("AMBIGUOUS_HOLD", "60s")
        })
        .await;
    stage.sandbox.script("send", &["accept_then_close"]).await;
    second.accept("m0", &number(0)).await;
    second.until_state("m0", "unknown").await;
    // waits because both replicas are to sweep a few times in the meantime
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(shim.seen().clocks > 0, "its clock is not looked at");
    assert_eq!(second.message("m0").await["state"], "unknown");
    assert_eq!(stage.sandbox.sends_to(&number(0)[1..]).await.len(), 1);
}

#[tokio::test]
async fn r_58_what_a_replica_whose_clock_is_behind_accepts_is_not_too_old() {
    on_redis_only!();
    let knobs = json!({ "event_mode": "none" });
    let (stage, _shim, first, second) = pair(knobs, -30 * 60 * MINUTE, |setup| setup).await;
    second.channel("pause").await;
    for n in 0..20 {
        first.accept(&format!("m{n}"), &number(n)).await;
    }
    second.channel("resume").await;
    let ledger = second.drained().await;
    assert_eq!(ledger["accepted_by_provider"], 20, "{ledger}");
    assert_eq!(stage.sandbox.counts().await["recipients_repeated"], 0);
}

#[tokio::test]
async fn r_58_a_clock_that_is_off_is_told_by_the_log_and_by_check() {
    on_redis_only!();
    let sandbox = Sandbox::start(json!({})).await;
    let redis = Arc::new(Redis::start(Options::forgetful()));
    let shim = Shim::build();
    shim.clock(10 * MINUTE);
    let setup = with_shim(Setup::towards(&sandbox).sharing(&redis), &shim);
    let gateway = Gateway::start(&sandbox, setup).await;
    let said = |words: &'static str| {
        let process = &gateway.process;
        until(words, async move || {
            process.output().contains(words).then_some(())
        })
    };
    said("this machine's clock is off").await;
    said("600.0 s ahead of Redis'").await;
    shim.clock(0);
    said("agree again").await;
    shim.clock(-10 * MINUTE);
    let dir = tempfile::tempdir().unwrap();
    let setup = with_shim(Setup::towards(&sandbox), &shim).env("REDIS_URL", &redis.url());
    let (_, told) = run(&setup, dir.path(), &["check", "--set", "http.port=0"]);
    assert!(told.contains("redis clock"), "{told}");
    assert!(told.contains("600.0 s behind Redis'"), "{told}");
}

#[tokio::test]
async fn r_58_a_leap_of_the_clock_of_redis_fails_nothing_and_is_told() {
    on_redis_only!();
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let shim = Shim::build();
    let redis = Arc::new(Redis::start_under(Options::every_second(), &shim.env()));
    let setup = Setup::towards(&sandbox).sharing(&redis);
    let gateway = Gateway::start(&sandbox, setup).await;
    gateway.channel("pause").await;
    for n in 0..20 {
        gateway.accept(&format!("m{n}"), &number(n)).await;
    }
    shim.clock(25 * 60 * MINUTE);
    until("it is told", async || {
        let said = gateway.process.output();
        said.contains("somebody set the clock of Redis")
            .then_some(())
    })
    .await;
    gateway.channel("resume").await;
    // waits because a sweep and many claims are to look in the meantime
    tokio::time::sleep(Duration::from_secs(3)).await;
    let ledger = gateway.ledger().await;
    assert_eq!(
        (&ledger["queued"], &ledger["failed"]),
        (&json!(20), &json!(0)),
        "{ledger}"
    );
    shim.clock(0);
    let ledger = gateway.drained().await;
    assert_eq!(ledger["accepted_by_provider"], 20, "{ledger}");
}
