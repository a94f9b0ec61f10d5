//! Whose messages a store keeps: a second installation on one store would send those of the first.

use crate::it::replicas::{Stage, accept_all};
use crate::it::strangers::refused;
use crate::kit::harness::*;
use crate::kit::redis_server::{Options, on_redis_only};
use serde_json::json;
use std::time::Duration;

const CREDENTIALS: &str = "JUMPER_BASIC_AUTH";
/// other-key:other-secret, and sandbox-key:other-secret.
const OTHER_CLIENT: &str = "Basic b3RoZXIta2V5Om90aGVyLXNlY3JldA==";
const OTHER_SECRET: &str = "Basic c2FuZGJveC1rZXk6b3RoZXItc2VjcmV0";

/// The fingerprint by which a refused start names whose messages the store keeps.
fn fingerprint(said: &str) -> String {
    let (_, rest) = said.split_once("STORE_TAKE_OVER=").expect(said);
    let is_part = |c: char| c.is_ascii_hexdigit() || c == '-';
    rest.chars().take_while(|c| is_part(*c)).collect()
}

/// What a second installation is told that starts on the store of a gateway.
fn second(gateway: &Gateway, setup: &Setup) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (name, place) = gateway.store_variable();
    refused(&setup.clone().env(&name, &place), dir.path())
}

#[tokio::test]
async fn r_54_a_second_installation_on_one_redis_does_not_start_and_the_first_goes_on() {
    on_redis_only!();
    let stage = Stage::new(json!({ "event_mode": "none" }), Options::every_second()).await;
    let first = Gateway::start(&stage.sandbox, stage.setup()).await;
    first.channel("pause").await;
    accept_all(&first, 0..20).await;
    let other = stage.setup().env(CREDENTIALS, OTHER_CLIENT);
    let said = second(&first, &other);
    for part in [
        "in use by another installation for account default",
        "JUMPER_BASIC_AUTH differs",
        "a Redis database of its own",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    for secret in ["other-key", "other-secret", "b3RoZXIt"] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
    // Nor does one whose settings differ in more.
    let elsewhere = other.env("JUMPER_API_URL", "http://localhost:9");
    let said = second(&first, &elsewhere);
    assert!(
        said.contains("JUMPER_API_URL and JUMPER_BASIC_AUTH differ"),
        "{said}"
    );
    first.channel("resume").await;
    stage.until_sent(20).await;
    assert_eq!(stage.sandbox.counts().await["recipients_repeated"], 0);
}

#[tokio::test]
async fn r_54_a_replica_with_another_secret_or_port_is_the_same_installation() {
    on_redis_only!();
    let stage = Stage::new(json!({ "event_mode": "none" }), Options::every_second()).await;
    let first = Gateway::start(&stage.sandbox, stage.setup()).await;
    accept_all(&first, 0..1).await;
    let elsewhere = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = stage.setup().env("JUMPER_API_URL", &elsewhere.url);
    for setup in [setup.clone(), setup.env(CREDENTIALS, OTHER_SECRET)] {
        let second = Gateway::start_unheard(setup);
        assert_eq!(second.ready_to_strangers().await.0, 200);
    }
}

#[tokio::test]
async fn r_54_an_installation_takes_over_only_whom_it_names_and_then_for_good() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let own = Setup::towards(&sandbox);
    let mut gateway = Gateway::start(&sandbox, own.clone()).await;
    gateway.accept("m0", &person(0)).await;
    gateway.until_sent("m0").await;
    gateway.process.kill();
    let other = own.clone().env(CREDENTIALS, OTHER_CLIENT);
    let of_first = fingerprint(&second(&gateway, &other));
    let wrong = other.clone().env("STORE_TAKE_OVER", "00000000-00000000");
    assert_eq!(fingerprint(&second(&gateway, &wrong)), of_first);
    let taking = other.clone().env("STORE_TAKE_OVER", &of_first);
    let mut gateway = gateway.restart_with(&sandbox, taking.clone()).await;
    let other_s = "goes on with the messages of another one";
    gateway.process.said(&[other_s]).await;
    // Left in place it says nothing more, and the former owner is the other one now.
    gateway = gateway.restart_with(&sandbox, taking).await;
    let said = gateway.process.output();
    assert!(!said.contains("another one"), "{said}");
    gateway.process.kill();
    assert_ne!(fingerprint(&second(&gateway, &own)), of_first);
}

/// Another installation: a Jumper of its own, by another host name, and its own MoEngage.
async fn elsewhere(stage: &Stage) -> (Sandbox, Setup) {
    let sandbox = Sandbox::start(json!({})).await;
    let url = sandbox.url.replace("127.0.0.1", "localhost");
    let setup = Setup::towards(&sandbox).sharing(&stage.redis);
    (sandbox, setup.env("JUMPER_API_URL", &url))
}

#[tokio::test]
async fn r_54_what_is_taken_over_leaves_by_the_new_owner_alone_and_the_former_one_says_so() {
    on_redis_only!();
    let stage = Stage::new(json!({ "event_mode": "none" }), Options::every_second()).await;
    let mut first = Gateway::start(&stage.sandbox, stage.setup()).await;
    // It has tokens of its own.
    accept_all(&first, 0..1).await;
    stage.until_sent(1).await;
    first.channel("pause").await;
    accept_all(&first, 1..21).await;
    let (theirs, setup) = elsewhere(&stage).await;
    let of_first = fingerprint(&second(&first, &setup));
    let other = Gateway::start(&theirs, setup.env("STORE_TAKE_OVER", &of_first)).await;
    let said = first.process.line_with("ALERT");
    assert!(
        said.contains("store_taken_over") && said.contains("account default"),
        "{said}"
    );
    let (status, answer) = first.post(&order_update("m21", &person(21))).await;
    assert_eq!(status, 503, "{answer}");
    assert_eq!(first.ready_to_strangers().await.0, 503);
    other.channel("resume").await;
    until(
        "the other one sends what waited, and tells its MoEngage",
        async || {
            let told = (1..21).map(|n| format!("m{n}"));
            for id in told {
                if theirs.told(&id).await.is_empty() {
                    return None;
                }
            }
            (theirs.counts().await["sends_accepted"] == 20).then_some(())
        },
    )
    .await;
    let counts = stage.sandbox.counts().await;
    assert_eq!(counts["sends_accepted"], 1, "{counts}");
    assert!(stage.sandbox.told("m1").await.is_empty());
}

#[tokio::test]
async fn r_54_a_channel_does_not_go_on_with_another_number() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox);
    let gateway = Gateway::start(&sandbox, setup.clone()).await;
    // A number that was not set is no other number.
    let with = |number| setup.clone().env("WABA_NUMBER", number);
    let mut gateway = gateway.restart_with(&sandbox, with("12025550100")).await;
    gateway.accept("m0", &person(0)).await;
    gateway.until_sent("m0").await;
    gateway.process.kill();
    let said = second(&gateway, &with("12025550177"));
    assert!(
        said.contains("in use by another installation for channel default"),
        "{said}"
    );
    assert!(said.contains("WABA_NUMBER differs"), "{said}");
    assert!(
        !said.contains("12025550177") && !said.contains("12025550100"),
        "{said}"
    );
    let spelled = gateway
        .restart_with(&sandbox, with("+1 202-555-0100"))
        .await;
    assert_eq!(spelled.ready_to_strangers().await.0, 200);
}

#[tokio::test]
async fn r_54_whoever_mends_the_first_credentials_is_not_refused() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let wrong = Setup::towards(&sandbox)
        .env(CREDENTIALS, OTHER_CLIENT)
        .env("SEED_REFRESH_TOKEN", "of-another-client");
    let gateway = Gateway::start(&sandbox, wrong).await;
    // What was accepted meanwhile is sent by the right client.
    gateway.accept("early", &person(1)).await;
    let gateway = gateway
        .restart_with(&sandbox, Setup::towards(&sandbox))
        .await;
    gateway.accept("m0", &person(0)).await;
    let within = Duration::from_secs(60);
    until_within(within, "it is sent", async || {
        let sent =
            is_sent(&gateway.message("m0").await) && is_sent(&gateway.message("early").await);
        sent.then_some(())
    })
    .await;
}
