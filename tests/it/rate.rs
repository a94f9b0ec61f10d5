//! Rate and concurrency: never exceeded, changed at run time, slowed down and paused on demand. How much
//! of the rate is used depends on the machine: `cargo bench --bench rate` shows it.

use crate::it::repeats::together;
use crate::kit::harness::*;
use serde_json::{Value, json};

const RATE: &str = "/api/accounts/default/rate";

/// Waits for a backlog, as many as given, sent from a pause on; what the sandbox measured of it.
async fn campaign(sandbox: &Sandbox, gateway: &Gateway, first: usize, many: usize) -> Value {
    gateway.channel("pause").await;
    let body = |n: usize| order_update(&format!("m{n}"), &person(n));
    let answers = together(gateway, (first..first + many).map(body).collect()).await;
    assert!(answers.iter().all(|(status, _)| *status == 200));
    sandbox.post("reset", json!({})).await;
    gateway.channel("resume").await;
    let ledger = gateway.drained().await;
    let counts = sandbox.counts().await;
    assert_eq!(counts["sends_accepted"], many, "{counts} {ledger}");
    sandbox.get("rate").await
}

async fn warm(gateway: &Gateway) {
    gateway.accept("warm", "+12025559999").await;
    gateway.until_sent("warm").await;
}

/// No second saw more calls than this rate allows. Calls are started exactly at it, which the tests of
/// `limit` prove in a time of their own; on a machine that is busy some come through in a bunch, so
/// here half as many again are taken. Of a limit that does not hold this would see all of them.
#[track_caller]
pub(crate) fn keeps_to(rate: u64, arrivals: &Value) {
    let most = arrivals["max_in_any_second"].as_u64().unwrap();
    assert!(most <= rate + rate / 2 + 1, "{rate}/s: {arrivals}");
}

#[tokio::test]
async fn b_19_the_rate_is_never_exceeded() {
    for (rate, many) in [(10, 25), (80, 200)] {
        let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
        // What is held up on its way comes in a bunch of as many at most.
        let setup = Setup::towards(&sandbox)
            .env("RATE_PER_SECOND", &rate.to_string())
            .env("CONCURRENT_API_CALLS", "4");
        let gateway = Gateway::start(&sandbox, setup).await;
        warm(&gateway).await;
        let arrivals = campaign(&sandbox, &gateway, 0, many).await;
        keeps_to(rate, &arrivals);
    }
}

#[tokio::test]
async fn b_19_every_call_counts_against_the_rate_not_only_sends() {
    let knobs = json!({ "event_mode": "none" });
    let sandbox = Sandbox::start(knobs).await;
    let setup = Setup::towards(&sandbox)
        .env("RATE_PER_SECOND", "10")
        .env("CONCURRENT_API_CALLS", "4")
        .env(
            "SUBSCRIBED_CALLBACK_URL",
            "http://127.0.0.1:9/jumper_callback",
        )
        .set("jumper.template_refresh=1s")
        .set("jumper.subscription_check=1s");
    let gateway = Gateway::start(&sandbox, setup).await;
    for (n, template) in ["welcome_back", "twice_approved", "rate_us"]
        .iter()
        .enumerate()
    {
        let values = json!([{ "type": "body", "parameters": [{ "type": "text", "text": "x" }] }]);
        gateway
            .accept_body(&send(
                &format!("t{n}"),
                &person(100 + n),
                template,
                "en",
                values,
            ))
            .await;
    }
    for n in 0..15 {
        gateway.accept(&format!("m{n}"), &person(n)).await;
    }
    gateway.drained().await;
    let (arrivals, counts) = (sandbox.get("rate").await, sandbox.counts().await);
    let calls = &counts["calls"];
    assert!(calls["list"].as_u64() >= Some(2), "{calls}");
    assert!(calls["detail"].as_u64() >= Some(4), "{calls}");
    assert!(calls["list_subscription"].as_u64() >= Some(2), "{calls}");
    keeps_to(10, &arrivals);
    assert_eq!(calls["send"], 18);
}

#[tokio::test]
async fn a_rate_set_at_run_time_applies_at_once_outlives_a_restart_and_can_be_reset() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    warm(&gateway).await;
    let free = campaign(&sandbox, &gateway, 0, 60).await;
    let rate = |account: &Value| account["rate"]["effective"].clone();
    assert_eq!(rate(&gateway.account().await), "off", "{free}");
    let wish = json!({ "per_second": 20, "concurrency": 4 });
    let (status, account) = gateway.ops_send("PUT", RATE, wish).await;
    assert_eq!(
        (status, &account["rate"]["layer"]),
        (200, &json!("runtime"))
    );
    let slow = campaign(&sandbox, &gateway, 100, 30).await;
    keeps_to(20, &slow);
    let gateway = gateway.crash_and_restart(&sandbox).await;
    let rate = gateway.account().await["rate"].clone();
    assert_eq!(
        (&rate["per_second"], &rate["concurrency"]),
        (&json!(20.0), &json!(4))
    );
    let slow = campaign(&sandbox, &gateway, 200, 30).await;
    keeps_to(20, &slow);
    for bad in [
        json!({ "per_second": 0 }),
        json!({ "per_second": "fast" }),
        json!({ "rate": 1 }),
    ] {
        assert_eq!(gateway.ops_send("PUT", RATE, bad).await.0, 400);
    }
    let (status, account) = gateway.ops_send("DELETE", RATE, json!({})).await;
    assert_eq!(
        (status, &account["rate"]["layer"]),
        (200, &json!("configured"))
    );
    assert_eq!(account["rate"]["per_second"], "off");
    campaign(&sandbox, &gateway, 300, 60).await;
}

#[tokio::test]
async fn never_more_calls_at_once_than_set_also_when_that_changes() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox).env("CONCURRENT_API_CALLS", "3");
    let gateway = Gateway::start(&sandbox, setup).await;
    warm(&gateway).await;
    sandbox.knobs(json!({ "latency_ms": 300 })).await;
    let at_once = async |first, count| {
        campaign(&sandbox, &gateway, first, count).await;
        sandbox.counts().await["max_in_flight"].as_u64().unwrap()
    };
    assert_eq!(at_once(0, 30).await, 3);
    assert_eq!(
        gateway
            .ops_send("PUT", RATE, json!({ "concurrency": 8 }))
            .await
            .0,
        200
    );
    assert_eq!(at_once(100, 40).await, 8);
    assert_eq!(
        gateway
            .ops_send("PUT", RATE, json!({ "concurrency": 1 }))
            .await
            .0,
        200
    );
    assert_eq!(at_once(200, 10).await, 1);
}

#[tokio::test]
async fn b_25_a_jumper_that_says_too_many_is_called_slower_and_nothing_is_lost() {
    for status in [429, 500] {
        let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
        let setup = Setup::towards(&sandbox)
            .env("RATE_PER_SECOND", "60")
            .set("policy.retry_max=300ms");
        let gateway = Gateway::start(&sandbox, setup).await;
        warm(&gateway).await;
        // Jumper's own limit is much lower than what is configured here.
        sandbox
            .knobs(json!({ "rate_per_second": 15, "rate_status": status, "retry_after_s": 1 }))
            .await;
        campaign(&sandbox, &gateway, 0, 40).await;
        let counts = sandbox.counts().await;
        assert!(counts["limited"].as_u64() >= Some(1), "{counts}");
        assert!(
            counts["limited"].as_u64() <= Some(40),
            "it does not hammer: {counts}"
        );
        assert_eq!(counts["recipients_repeated"], 0);
        let slow = gateway.account().await["rate"]["effective"]
            .as_f64()
            .unwrap();
        assert!(slow < 60.0, "{slow}");
        sandbox.knobs(json!({ "rate_per_second": 0 })).await;
        until("the rate recovers", async || {
            let now = gateway.account().await["rate"]["effective"]
                .as_f64()
                .unwrap();
            (now > slow + 2.0).then_some(())
        })
        .await;
        let ledger = gateway.drained().await;
        assert_eq!(ledger["accepted_by_provider"], 41, "{ledger}");
    }
}

/// The value of a metric that has one.
fn value(metrics: &str, name: &str) -> f64 {
    let mut lines = metrics.lines().filter(|line| line.starts_with(name));
    let last = lines.next().and_then(|line| line.rsplit(' ').next());
    last.and_then(|value| value.parse().ok()).unwrap_or(0.0)
}

/// Sends one message that Jumper answers with "too many" and a pause of an hour; what the gateway says.
async fn told_to_wait(sandbox: &Sandbox, gateway: &Gateway, id: &str, n: usize) -> Value {
    sandbox
        .knobs(json!({ "rate_per_second": 0.01, "retry_after_s": 3600 }))
        .await;
    // The first call of a hundred seconds is within that rate.
    gateway.accept(&format!("{id}-first"), &person(2 * n)).await;
    gateway.accept(id, &person(2 * n + 1)).await;
    let account = until("the pause is shown", async || {
        let account = gateway.account().await;
        (account["why"]["code"] == "asked_to_wait").then_some(account)
    })
    .await;
    sandbox
        .knobs(json!({ "rate_per_second": 0, "retry_after_s": null }))
        .await;
    account
}

#[tokio::test]
async fn r_09_a_pause_that_jumper_asks_for_is_shown_told_and_ended_by_an_operator() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    warm(&gateway).await;
    for (n, id) in ["by-rate", "by-reset", "by-resume"].iter().enumerate() {
        let account = told_to_wait(&sandbox, &gateway, id, n).await;
        let words = account["why"]["words"].as_str().unwrap();
        assert!(words.contains("to wait until"), "{words}");
        assert!(
            account["rate"]["asked_to_wait_until"].is_string(),
            "{account}"
        );
        // What comes back within seconds is the same incident, which is told once.
        until("a person is told", async || {
            let metrics = gateway.metrics().await;
            assert!(value(&metrics, "gateway_asked_to_wait_seconds") > 3000.0);
            (value(&metrics, "gateway_alerts_total") >= 1.0).then_some(())
        })
        .await;
        match n {
            0 => drop(
                gateway
                    .ops_send("PUT", RATE, json!({ "per_second": 50 }))
                    .await,
            ),
            1 => drop(gateway.ops_send("DELETE", RATE, json!({})).await),
            _ => gateway.channel("resume").await,
        }
        gateway.until_sent(id).await;
        assert_ne!(gateway.account().await["why"]["code"], "asked_to_wait");
    }
}

#[tokio::test]
async fn r_10_without_a_rate_jumper_is_not_hammered_after_too_many() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox)
        .env("RATE_PER_SECOND", "off")
        .env("CONCURRENT_API_CALLS", "32")
        .set("policy.retry_max=300ms");
    let gateway = Gateway::start(&sandbox, setup).await;
    warm(&gateway).await;
    sandbox
        .knobs(json!({ "rate_per_second": 10, "rate_mode": "bucket" }))
        .await;
    campaign(&sandbox, &gateway, 0, 60).await;
    let counts = sandbox.counts().await;
    // What was under way at the first "too many", and one or two a second.
    assert!(counts["limited"].as_u64() <= Some(150), "{counts}");
    let rate = gateway.account().await["rate"].clone();
    assert_eq!(rate["per_second"], "off", "{rate}");
    assert_eq!(rate["temporary"], rate["effective"].is_number(), "{rate}");
}

#[tokio::test]
async fn r_34_as_many_connections_are_kept_as_calls_are_made_at_once() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none", "latency_ms": 20 })).await;
    let setup = Setup::towards(&sandbox)
        .env("RATE_PER_SECOND", "off")
        .env("CONCURRENT_API_CALLS", "128")
        .env("MAX_SOCKETS", "128");
    let gateway = Gateway::start(&sandbox, setup).await;
    warm(&gateway).await;
    campaign(&sandbox, &gateway, 0, 1_500).await;
    let opened = sandbox.counts().await["send_connections"].as_u64().unwrap();
    assert!(opened < 300, "{opened} new connections for 1,500 sends");
}
