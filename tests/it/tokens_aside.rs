//! A pair of tokens that comes while the store cannot take it (cases R-64): the one before it is dead, so it
//! must outlive the process. On Redis, and on the embedded store.

use crate::it::replicas::Stage;
use crate::it::tokens_killed::{SEED, renew};
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use crate::kit::redis_server::{Options, on_redis_only};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const FILE: &str = "pair-default";

async fn stage() -> (Stage, tempfile::TempDir) {
    let quiet = json!({ "event_mode": "none" });
    let stage = Stage::new(quiet, Options::every_second()).await;
    (stage, tempfile::tempdir().unwrap())
}

async fn beside(stage: &Stage, data_dir: &Path) -> Gateway {
    let setup = stage.setup().env("DATA_DIR", data_dir.to_str().unwrap());
    let gateway = Gateway::start(&stage.sandbox, setup).await;
    sent(&gateway, &stage.sandbox, "warm", &number(9_000)).await;
    gateway
}

/// The pair is renewed, and this is done while Jumper works on it.
async fn renewed_while(sandbox: &Sandbox, gateway: &Gateway, harm: impl FnOnce()) {
    let rotated = async || sandbox.counts().await["refreshes"].clone();
    let asked = async || sandbox.counts().await["calls"]["refresh"].as_u64();
    let (before, first) = (rotated().await, asked().await.unwrap());
    sandbox.knobs(json!({ "refresh_slow_ms": 5_000 })).await;
    let answer = renew(gateway);
    until("the call is under way", async || {
        (asked().await == Some(first + 1)).then_some(())
    })
    .await;
    harm();
    assert_eq!(rotated().await, before, "the harm came too late");
    assert_eq!(answer.await.unwrap(), Some(200));
    sandbox.knobs(json!({ "refresh_slow_ms": 0 })).await;
}

/// What is put by there, for its owner alone; nothing of it is in the log.
fn put_by(gateway: &Gateway, data_dir: &Path) -> Value {
    let file = data_dir.join(FILE);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let pair: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let output = gateway.process.output();
    for token in ["access", "refresh"] {
        let token = pair[token].as_str().unwrap();
        assert!(token.len() > 20 && !output.contains(token), "{output}");
    }
    pair
}

fn last_line(gateway: &Gateway) -> String {
    let output = gateway.process.output();
    output.lines().last().unwrap_or_default().to_owned()
}

/// It has the living pair, and keeps it where it belongs.
async fn goes_on(gateway: &Gateway, sandbox: &Sandbox, data_dir: &Path) {
    assert!(!data_dir.join(FILE).exists());
    sent(gateway, sandbox, "after", &number(9_001)).await;
    assert_eq!(renew(gateway).await.unwrap(), Some(200));
    let counts = sandbox.counts().await;
    assert_eq!(
        counts["refreshes_denied"].as_u64().unwrap_or(0),
        0,
        "{counts}"
    );
    assert!(!data_dir.join(FILE).exists());
}

#[tokio::test]
async fn r_64_a_pair_that_could_not_be_stored_outlives_the_process() {
    on_redis_only!();
    let (stage, data) = stage().await;
    let mut gateway = beside(&stage, data.path()).await;
    renewed_while(&stage.sandbox, &gateway, || stage.redis.kill9()).await;
    gateway.process.terminate();
    assert_eq!(gateway.process.wait(), Some(0));
    put_by(&gateway, data.path());
    let last = last_line(&gateway);
    assert!(last.contains(FILE), "{last}");
    stage.redis.restart();
    let setup = gateway.setup().without("SEED_REFRESH_TOKEN");
    let gateway = gateway.restart_with(&stage.sandbox, setup).await;
    goes_on(&gateway, &stage.sandbox, data.path()).await;
}

#[tokio::test]
async fn r_64_it_outlives_a_process_that_is_killed() {
    on_redis_only!();
    let (stage, data) = stage().await;
    let mut gateway = beside(&stage, data.path()).await;
    renewed_while(&stage.sandbox, &gateway, || stage.redis.kill9()).await;
    gateway.process.kill();
    put_by(&gateway, data.path());
    stage.redis.restart();
    let setup = gateway.setup().without("SEED_REFRESH_TOKEN");
    let gateway = gateway.restart_with(&stage.sandbox, setup).await;
    goes_on(&gateway, &stage.sandbox, data.path()).await;
}

#[tokio::test]
async fn r_64_it_is_not_used_over_a_newer_one() {
    on_redis_only!();
    let (stage, data) = stage().await;
    let mut gateway = beside(&stage, data.path()).await;
    renewed_while(&stage.sandbox, &gateway, || stage.redis.kill9()).await;
    gateway.process.kill();
    let pair = put_by(&gateway, data.path());
    stage.redis.restart();
    // Another replica is given a seed meanwhile.
    let other = Gateway::start_unheard(stage.setup());
    let seed = stage.sandbox.post("token/new-seed", json!({})).await;
    let seed = json!({ "refresh_token": seed["refresh_token"] });
    assert_eq!(other.ops_send("PUT", SEED, seed).await.0, 200);
    drop(other);
    let stored = || stage.redis.cli(&["HGET", "gw:{default}:token", "refresh"]);
    let newer = stored();
    let gateway = gateway.restart(&stage.sandbox).await;
    assert_eq!(stored(), newer);
    assert_ne!(pair["refresh"], newer);
    gateway.process.said(&["came later"]).await;
    goes_on(&gateway, &stage.sandbox, data.path()).await;
}

#[tokio::test]
async fn r_64_a_folder_that_cannot_be_written_is_told_last() {
    on_redis_only!();
    let (stage, data) = stage().await;
    std::fs::write(data.path().join("file"), "").unwrap();
    let mut gateway = beside(&stage, &data.path().join("file/data")).await;
    renewed_while(&stage.sandbox, &gateway, || stage.redis.kill9()).await;
    gateway.process.terminate();
    assert_eq!(gateway.process.wait(), Some(0));
    let last = last_line(&gateway);
    assert!(last.contains("needs a new seed"), "{last}");
    assert!(last.contains("SEED_REFRESH_TOKEN"), "{last}");
}

#[tokio::test]
async fn r_64_the_same_where_the_embedded_store_takes_nothing() {
    embedded_only!("the file is harmed from outside");
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let mut gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    sent(&gateway, &sandbox, "warm", &number(9_000)).await;
    let data = gateway.data_dir();
    let from_outside = |statements: &str| {
        let conn = rusqlite::Connection::open(data.join("gateway.db")).unwrap();
        conn.busy_timeout(PATIENCE).unwrap();
        conn.execute_batch(statements).unwrap();
    };
    let harm = "CREATE TRIGGER harm BEFORE UPDATE ON kept BEGIN SELECT RAISE(ABORT, 'harm'); END;
        CREATE TRIGGER harm_too BEFORE INSERT ON kept BEGIN SELECT RAISE(ABORT, 'harm'); END;";
    renewed_while(&sandbox, &gateway, || from_outside(harm)).await;
    gateway.process.terminate();
    assert_eq!(gateway.process.wait(), Some(0));
    put_by(&gateway, &data);
    let last = last_line(&gateway);
    assert!(last.contains(FILE), "{last}");
    from_outside("DROP TRIGGER harm; DROP TRIGGER harm_too;");
    let setup = gateway.setup().without("SEED_REFRESH_TOKEN");
    let gateway = gateway.restart_with(&sandbox, setup).await;
    goes_on(&gateway, &sandbox, &data).await;
}
