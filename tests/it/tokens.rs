//! Tokens look after themselves: renewed in time, once, and never lost.

use crate::it::repeats::together;
use crate::kit::harness::*;
use crate::kit::redis_server::{Options, Redis};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const SEED: &str = "/api/accounts/default/token/seed";

async fn pair(knobs: Value) -> (Sandbox, Gateway) {
    let sandbox = Sandbox::start(knobs).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    (sandbox, gateway)
}

/// A gateway whose pair counts as old: the process that got it is gone.
async fn settled(knobs: Value) -> (Sandbox, Gateway) {
    let (sandbox, gateway) = pair(knobs).await;
    gateway.accept("warm", "+12025559999").await;
    gateway.until_sent("warm").await;
    let gateway = gateway.crash_and_restart(&sandbox).await;
    gateway.process_templates().await;
    (sandbox, gateway)
}

async fn campaign(gateway: &Gateway, many: usize) {
    let body = |n: usize| order_update(&format!("m{n}"), &person(n));
    let answers = together(gateway, (0..many).map(body).collect()).await;
    assert!(answers.iter().all(|(status, _)| *status == 200));
}

async fn state(gateway: &Gateway) -> Value {
    gateway.account().await["token"]["state"].clone()
}

/// Everything was sent, and nothing twice.
async fn each_once(sandbox: &Sandbox, gateway: &Gateway, many: usize) {
    let ledger = gateway.drained().await;
    assert_eq!(ledger["accepted_by_provider"], many, "{ledger}");
    let counts = sandbox.counts().await;
    assert_eq!(counts["sends_accepted"], many, "{counts}");
    assert_eq!(counts["recipients_repeated"], 0, "{counts}");
    assert!(
        counts["max_refreshes_at_once"].as_u64() <= Some(1),
        "{counts}"
    );
}

#[tokio::test]
async fn b_14_b_16b_pairs_that_end_within_seconds_cost_no_message() {
    let (sandbox, gateway) = pair(json!({ "event_mode": "none", "token_ttl_s": 3 })).await;
    let mut sent = 0;
    until("two pairs were used up", async || {
        let (id, to) = (format!("m{sent}"), person(sent));
        sent += 1;
        gateway.accept(&id, &to).await;
        gateway.until_sent(&id).await;
        (sandbox.counts().await["refreshes"].as_u64() >= Some(3)).then_some(())
    })
    .await;
    each_once(&sandbox, &gateway, sent).await;
}

/// What a process kept at Redis: the pair of `sandbox`, changed.
async fn kept(sandbox: &Sandbox, changes: &[(&str, &str)]) -> (Arc<Redis>, Gateway) {
    let redis = Arc::new(Redis::start(Options::every_second()));
    let setup = Setup::towards(sandbox).sharing(&redis);
    let gateway = Gateway::start(sandbox, setup).await;
    gateway.accept("warm", "+12025559999").await;
    gateway.until_sent("warm").await;
    let setup = gateway.setup();
    drop(gateway);
    for (name, value) in changes {
        redis.cli(&["HSET", "gw:{default}:token", name, value]);
    }
    (redis, Gateway::start(sandbox, setup).await)
}

fn ms_from_now(seconds: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    (i64::try_from(now.unwrap().as_millis()).unwrap() + seconds * 1000).to_string()
}

#[tokio::test]
async fn b_14_a_pair_is_renewed_before_its_end_though_nothing_is_sent() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let (began, ends) = (ms_from_now(-800), ms_from_now(200));
    let changes = [("obtained_at", began.as_str()), ("expires_at", &ends)];
    let (_redis, gateway) = kept(&sandbox, &changes).await;
    until("it was renewed", async || {
        let token = gateway.account().await["token"].clone();
        assert_eq!(
            token["state"], "fresh",
            "never without a token that works: {token}"
        );
        (sandbox.counts().await["refreshes"] == 2).then_some(())
    })
    .await;
    let calls = sandbox.counts().await["calls"].clone();
    assert_eq!(calls["unauthorized"], Value::Null, "{calls}");
}

#[tokio::test]
async fn b_14_a_revoked_token_under_load_costs_one_refresh_and_no_message() {
    let (sandbox, gateway) = settled(json!({ "event_mode": "none", "refresh_slow_ms": 200 })).await;
    sandbox.post("token/revoke-access", json!({})).await;
    campaign(&gateway, 60).await;
    each_once(&sandbox, &gateway, 61).await;
    let counts = sandbox.counts().await;
    assert_eq!(
        counts["refreshes"], 2,
        "one at first, one for the revocation: {counts}"
    );
    assert!(
        counts["calls"]["unauthorized"].as_u64() >= Some(1),
        "{counts}"
    );
    assert!(gateway.account().await["held"].is_null());
}

#[tokio::test]
async fn b_15_however_many_want_a_token_there_is_one_refresh_at_a_time() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none", "refresh_slow_ms": 1_000 })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    campaign(&gateway, 30).await;
    let forced = (0..10).map(|_| {
        let url = format!("{}/api/accounts/default/token/refresh", gateway.ops);
        let request = gateway.http.post(url).json(&json!({}));
        tokio::spawn(async move { request.send().await.unwrap().status().as_u16() })
    });
    for one in forced.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap(), 200);
    }
    each_once(&sandbox, &gateway, 30).await;
    let counts = sandbox.counts().await;
    assert_eq!(counts["max_refreshes_at_once"], 1);
    assert!(counts["refreshes"].as_u64() <= Some(4), "{counts}");
    assert_eq!(counts["refreshes_denied"], 0, "{counts}");
}

#[tokio::test]
async fn b_16c_an_operator_can_renew_the_pair_and_is_told_so() {
    let (sandbox, gateway) = settled(json!({ "event_mode": "none" })).await;
    let path = "/api/accounts/default/token/refresh";
    let (status, token) = gateway.ops_send("POST", path, json!({})).await;
    assert_eq!((status, &token["state"]), (200, &json!("fresh")));
    assert_eq!(sandbox.counts().await["refreshes"], 2);
    campaign(&gateway, 5).await;
    each_once(&sandbox, &gateway, 6).await;
    let other = "/api/accounts/other/token/refresh";
    assert_eq!(gateway.ops_send("POST", other, json!({})).await.0, 404);
}

#[tokio::test]
async fn a_refresh_whose_answer_is_lost_is_tried_once_more_with_the_old_token() {
    let knobs = json!({ "event_mode": "none", "refresh_lost_answer": 1, "refresh_grace_s": 60 });
    let (sandbox, gateway) = pair(knobs).await;
    campaign(&gateway, 5).await;
    each_once(&sandbox, &gateway, 5).await;
    let counts = sandbox.counts().await;
    assert_eq!(
        (&counts["refreshes"], &counts["refreshes_denied"]),
        (&json!(2), &json!(0))
    );
    // At once, not after the pause that follows a failure.
    let again = "trying the old token once more";
    let output = gateway.process.said(&[again]).await;
    assert!(!output.contains("could not be renewed"), "{output}");
}

#[tokio::test]
async fn b_15_a_kill_between_jumpers_answer_and_our_write_is_survived() {
    let knobs = json!({ "event_mode": "none", "latency_ms": 60_000, "refresh_grace_s": 60 });
    let (sandbox, gateway) = pair(knobs).await;
    gateway.channel("pause").await;
    gateway.accept("m0", &person(0)).await;
    until("Jumper has rotated", async || {
        (sandbox.counts().await["refreshes"] == 1).then_some(())
    })
    .await;
    sandbox.knobs(json!({ "latency_ms": 0 })).await;
    let gateway = gateway.crash_and_restart(&sandbox).await;
    gateway.channel("resume").await;
    each_once(&sandbox, &gateway, 1).await;
    assert_eq!(state(&gateway).await, "fresh");
    // The pair that was stored now is the one that the next process uses.
    let gateway = gateway.crash_and_restart(&sandbox).await;
    gateway.accept("m1", &person(1)).await;
    each_once(&sandbox, &gateway, 2).await;
    assert_eq!(sandbox.counts().await["refreshes"], 2);
}

/// An account whose refresh token is dead, with messages waiting: it was called dead before, and the
/// restart has tried it once more.
async fn dead() -> (Sandbox, Gateway, Arc<Redis>) {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let redis = Arc::new(Redis::start(Options::every_second()));
    let setup = Setup::towards(&sandbox)
        .sharing(&redis)
        .env("SEED_REFRESH_TOKEN", "gone");
    let gateway = Gateway::start_unheard(setup);
    gateway.channel("pause").await;
    let setup = gateway.setup();
    drop(gateway);
    redis.cli(&[
        "HSET",
        "gw:{default}:token",
        "dead",
        "HTTP 400, said before",
    ]);
    let gateway = Gateway::start(&sandbox, setup).await;
    gateway.channel("resume").await;
    until("the token is known to be dead", async || {
        let account = gateway.account().await;
        (account["token"]["state"] == "dead" && !account["held"].is_null()).then_some(())
    })
    .await;
    campaign(&gateway, 10).await;
    (sandbox, gateway, redis)
}

async fn new_seed(sandbox: &Sandbox) -> String {
    let seed = sandbox.post("token/new-seed", json!({})).await;
    seed["refresh_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_dead_refresh_token_holds_the_account_says_what_to_do_and_a_new_seed_heals_it() {
    let (sandbox, gateway, _redis) = dead().await;
    let ledger = gateway.ledger().await;
    assert_eq!(
        (&ledger["accepted"], &ledger["held"]),
        (&json!(10), &json!(10)),
        "{ledger}"
    );
    let (status, ready) = gateway.ready().await;
    assert_eq!((status, &ready["status"]), (200, &json!("ready")));
    assert_eq!(ready["accounts"][0]["token"]["state"], "dead", "{ready}");
    let advice = [
        "PUT /api/accounts/default/token/seed",
        "SEED_REFRESH_TOKEN and a restart",
    ];
    let output = gateway.process.said(&advice).await;
    // Told once, not for every message.
    assert_eq!(output.matches("The account is held").count(), 1, "{output}");
    let bad = json!({ "refresh_token": "not-one-of-jumpers" });
    let (status, problem) = gateway.ops_send("PUT", SEED, bad).await;
    assert_eq!(status, 422, "{problem}");
    assert!(
        !problem.to_string().contains("not-one-of-jumpers"),
        "{problem}"
    );
    assert_eq!(
        gateway
            .ops_send("PUT", SEED, json!({ "token": "x" }))
            .await
            .0,
        400
    );
    assert_eq!(state(&gateway).await, "dead");
    let seed = json!({ "refresh_token": format!("  {}\n", new_seed(&sandbox).await) });
    let (status, token) = gateway.ops_send("PUT", SEED, seed).await;
    assert_eq!((status, &token["state"]), (200, &json!("fresh")));
    each_once(&sandbox, &gateway, 10).await;
    assert!(gateway.account().await["held"].is_null());
}

#[tokio::test]
async fn a_new_seed_in_the_environment_and_a_restart_heal_a_dead_token() {
    let (sandbox, gateway, _redis) = dead().await;
    // with the old seed a restart tries it once, and not twice.
    let unknown = async || {
        sandbox.counts().await["refreshes_unknown"]
            .as_u64()
            .unwrap()
    };
    let before = unknown().await;
    let gateway = gateway.crash_and_restart(&sandbox).await;
    until("still held", async || {
        (!gateway.account().await["held"].is_null()).then_some(())
    })
    .await;
    assert_eq!(
        unknown().await,
        before + 2,
        "the proof of the credentials, and once"
    );
    let setup = gateway
        .setup()
        .env("SEED_REFRESH_TOKEN", &new_seed(&sandbox).await);
    let gateway = gateway.restart_with(&sandbox, setup).await;
    each_once(&sandbox, &gateway, 10).await;
    // From now on the stored pair counts, whatever the environment says.
    let setup = gateway.setup().without("SEED_REFRESH_TOKEN");
    let gateway = gateway.restart_with(&sandbox, setup).await;
    gateway.accept("after", &person(20)).await;
    each_once(&sandbox, &gateway, 11).await;
    assert_eq!(sandbox.counts().await["refreshes"], 1);
}

/// Takes a minute: Jumper must say it twice.
#[tokio::test]
async fn r_13_a_rotation_whose_answer_is_lost_for_good_ends_in_a_hold_a_minute_later() {
    let (sandbox, gateway) = pair(json!({ "event_mode": "none", "refresh_lost_answer": 1 })).await;
    gateway.accept("m0", &person(0)).await;
    until("Jumper has said it once", async || {
        (sandbox.counts().await["refreshes_denied"] == 1).then_some(())
    })
    .await;
    let first = std::time::Instant::now();
    assert_eq!(state(&gateway).await, "stale");
    until_within(MINUTES, "the account is held", async || {
        (state(&gateway).await == "dead").then_some(())
    })
    .await;
    assert!(first.elapsed() > Duration::from_secs(55));
    let counts = sandbox.counts().await;
    assert_eq!(
        (&counts["refreshes"], &counts["refreshes_denied"]),
        (&json!(1), &json!(2))
    );
    let seed = json!({ "refresh_token": new_seed(&sandbox).await });
    assert_eq!(gateway.ops_send("PUT", SEED, seed).await.0, 200);
    each_once(&sandbox, &gateway, 1).await;
}

const MINUTES: Duration = Duration::from_secs(150);

#[tokio::test]
async fn r_13_an_odd_answer_to_the_first_refresh_kills_no_token() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let odd = [
        "status:400",
        "fault:401:oauth.v2.Unknown",
        "refuse_400",
        "refuse_200",
    ];
    sandbox.script("refresh", &odd).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    campaign(&gateway, 5).await;
    each_once(&sandbox, &gateway, 5).await;
    assert_eq!(state(&gateway).await, "fresh");
}

#[tokio::test]
async fn r_14_with_a_dead_refresh_token_sending_goes_on_until_the_access_token_is_refused() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let changes = [("dead", "HTTP 400, said before"), ("refresh", "gone")];
    let (_redis, gateway) = kept(&sandbox, &changes).await;
    until("it is told at once", async || {
        gateway
            .process
            .output()
            .contains("Sending goes on until")
            .then_some(())
    })
    .await;
    let account = gateway.account().await;
    assert_eq!(account["token"]["state"], "dead", "{account}");
    assert!(account["held"].is_null(), "{account}");
    campaign(&gateway, 20).await;
    each_once(&sandbox, &gateway, 21).await;
    sandbox.post("token/revoke-access", json!({})).await;
    for n in 20..30 {
        gateway.accept(&format!("m{n}"), &person(n)).await;
    }
    until("the account is held", async || {
        (!gateway.account().await["held"].is_null()).then_some(())
    })
    .await;
    let ledger = gateway.ledger().await;
    assert_eq!((&ledger["failed"], &ledger["lost"]), (&json!(0), &json!(0)));
    let seed = json!({ "refresh_token": new_seed(&sandbox).await });
    assert_eq!(gateway.ops_send("PUT", SEED, seed).await.0, 200);
    each_once(&sandbox, &gateway, 31).await;
}

#[tokio::test]
async fn r_15_a_token_revoked_twice_right_after_its_issue_stops_sending_for_seconds() {
    let (sandbox, gateway) = pair(json!({ "event_mode": "none" })).await;
    let mut sent = 0;
    for _ in 0..3 {
        for n in sent..sent + 5 {
            gateway.accept(&format!("m{n}"), &person(n)).await;
        }
        sent += 5;
        until_within(MINUTES / 3, "all are sent", async || {
            (sandbox.counts().await["sends_accepted"] == sent).then_some(())
        })
        .await;
        sandbox.post("token/revoke-access", json!({})).await;
    }
    gateway.accept("last", &person(900)).await;
    gateway.accept("last2", &person(901)).await;
    until_within(MINUTES / 3, "sending goes on", async || {
        (sandbox.counts().await["sends_accepted"] == sent + 2).then_some(())
    })
    .await;
    each_once(&sandbox, &gateway, sent + 2).await;
}

/// G7: one recipient's 401 says nothing of the token.
#[tokio::test]
async fn g_07_a_401_for_one_message_alone_renews_nothing_and_holds_nothing() {
    let (sandbox, gateway) = settled(json!({ "event_mode": "none" })).await;
    let refreshes = sandbox.counts().await["refreshes"].clone();
    for (n, outcome) in [
        "401",
        "fault:401:keymanagement.service.invalid_access_token",
        "fault:401:steps.jwt.TokenExpired",
    ]
    .iter()
    .enumerate()
    {
        sandbox.script("send", &[outcome]).await;
        gateway.accept(&format!("m{n}"), &person(n)).await;
        gateway.until_sent(&format!("m{n}")).await;
        assert!(gateway.account().await["held"].is_null(), "{outcome}");
    }
    assert_eq!(sandbox.counts().await["refreshes"], refreshes);
    each_once(&sandbox, &gateway, 4).await;
}

#[tokio::test]
async fn r_17_wrong_credentials_are_named_and_hold_the_account_until_they_are_right() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox).env("JUMPER_BASIC_AUTH", "Basic b3RoZXI6b25l");
    let gateway = Gateway::start_unheard(setup);
    let held = until("the account is held", async || {
        let account = gateway.account().await;
        (!account["held"].is_null()).then_some(account)
    })
    .await;
    assert_eq!(held["token"]["state"], "wrong_credentials", "{held}");
    let reason = held["held"]["reason"].as_str().unwrap();
    assert!(reason.contains("JUMPER_BASIC_AUTH"), "{held}");
    assert!(reason.contains("Invalid client"), "{held}");
    campaign(&gateway, 5).await;
    let output = gateway.process.said(&["ERROR ALERT"]).await;
    assert_eq!(output.matches("ERROR ALERT").count(), 1, "{output}");
    let rotated = sandbox.counts().await["refreshes"].clone();
    assert_eq!(rotated, 0, "the real one is never used for a check");
    let right = "Basic c2FuZGJveC1rZXk6c2FuZGJveC1zZWNyZXQ=";
    let setup = gateway.setup().env("JUMPER_BASIC_AUTH", right);
    let gateway = gateway.restart_with(&sandbox, setup).await;
    each_once(&sandbox, &gateway, 5).await;
}

#[tokio::test]
async fn b_10_b_16a_without_any_token_every_send_is_answered_and_no_call_is_made() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox).without("SEED_REFRESH_TOKEN");
    let gateway = Gateway::start(&sandbox, setup).await;
    for n in 0..10 {
        gateway.accept(&format!("m{n}"), &person(n)).await;
    }
    let (status, ready) = gateway.ready().await;
    let account = &ready["accounts"][0];
    assert_eq!(
        (status, &account["token"]["state"]),
        (200, &json!("missing"))
    );
    assert_eq!(account["held"]["reason"], "no refresh token is known");
    assert_eq!(gateway.ledger().await["held"], 10);
    // Nothing is tried in vain: every message still waits for its first attempt.
    assert_eq!(gateway.message("m0").await["attempts"], 0);
    let rate = sandbox.get("rate").await;
    assert_eq!(rate["calls"], 0, "not even one without a token: {rate}");
    let seed = json!({ "refresh_token": "sandbox-refresh-token" });
    assert_eq!(gateway.ops_send("PUT", SEED, seed).await.0, 200);
    each_once(&sandbox, &gateway, 10).await;
}

#[tokio::test]
async fn while_the_token_endpoint_is_down_messages_wait_and_are_not_tried_over_and_over() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    sandbox.script("refresh", &["503"; 40]).await;
    let setup = Setup::towards(&sandbox).set("breaker.failures=3");
    let gateway = Gateway::start(&sandbox, setup).await;
    for n in 0..10 {
        gateway.accept(&format!("m{n}"), &person(n)).await;
    }
    until("the breaker opens", async || {
        (gateway.account().await["breaker"] == "open").then_some(())
    })
    .await;
    let tries = async || {
        let mut tries = 0;
        for n in 0..10 {
            let message = gateway.message(&format!("m{n}")).await;
            tries += message["attempts"].as_u64().unwrap();
        }
        tries
    };
    // Not even claimed: a crash now would leave nothing unknown.
    assert_eq!(tries().await, 0);
    sandbox.post("reset", json!({})).await;
    each_once(&sandbox, &gateway, 10).await;
}
