//! A replica that is killed (kill -9) while it renews the tokens, at each of the three moments that
//! design.md G7 tells apart: what its successor does, and that nobody ever renews beside another. Always
//! on Redis, whatever the other tests use.

use crate::it::replicas::{Stage, accept_all};
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use crate::kit::redis_server::{Options, on_redis_only};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::task::JoinHandle;

const REFRESH: &str = "/api/accounts/default/token/refresh";
pub(crate) const SEED: &str = "/api/accounts/default/token/seed";
const LOCK: &str = "gw:{default}:lock:refresh";
const MESSAGES: usize = 6;

/// Two replicas with a pair that counts as old, and a channel that stands, so that the first does
/// nothing but renew.
struct Scene {
    stage: Stage,
    a: Gateway,
    b: Gateway,
}

impl Scene {
    async fn new(knobs: Value) -> Self {
        let quiet = json!({ "event_mode": "none" });
        let stage = Stage::new(quiet, Options::every_second()).await;
        let first = Gateway::start_unheard(stage.setup());
        sent(&first, &stage.sandbox, "warm", &number(9_000)).await;
        first.channel("pause").await;
        drop(first);
        stage.sandbox.knobs(knobs).await;
        let proofs = async || stage.sandbox.counts().await["refreshes_unknown"].as_u64();
        let before = proofs().await.unwrap_or_default();
        let (a, b) = stage.pair().await;
        // Each proves its credentials once; what the tests tell Jumper to answer is not for that.
        until("both have proved their credentials", async || {
            (proofs().await >= Some(before + 2)).then_some(())
        })
        .await;
        let scene = Self { stage, a, b };
        assert_eq!(scene.refreshes().await, [1, 1, 0]);
        scene
    }

    /// Calls that Jumper looked at, those that rotated, those with a token of no use.
    async fn refreshes(&self) -> [u64; 3] {
        let counts = self.stage.sandbox.counts().await;
        assert!(
            counts["max_refreshes_at_once"].as_u64() <= Some(1),
            "two at once: {counts}"
        );
        let asked = counts["calls"]["refresh"].as_u64();
        [
            asked,
            counts["refreshes"].as_u64(),
            counts["refreshes_denied"].as_u64(),
        ]
        .map(Option::unwrap_or_default)
    }

    async fn until_refreshes(&self, wanted: [u64; 3]) {
        until(&format!("{wanted:?} refreshes"), async || {
            (self.refreshes().await == wanted).then_some(())
        })
        .await;
    }

    fn lock_is_held(&self) -> bool {
        self.stage.redis.cli(&["EXISTS", LOCK]) == "1"
    }

    /// The successor is given work, and all of it is sent once.
    async fn b_sends(&self) {
        accept_all(&self.b, 0..MESSAGES).await;
        self.b.channel("resume").await;
        self.each_once().await;
    }

    async fn each_once(&self) {
        let ledger = self.b.drained().await;
        assert_eq!(
            (&ledger["accepted_by_provider"], &ledger["lost"]),
            (&json!(MESSAGES + 1), &json!(0)),
            "{ledger}"
        );
        let counts = self.stage.sandbox.counts().await;
        assert_eq!(counts["sends_accepted"], MESSAGES + 1, "{counts}");
        assert_eq!(counts["recipients_repeated"], 0, "{counts}");
        until("the successor has a pair that works", async || {
            let account = self.b.account().await;
            (account["token"]["state"] == "fresh" && account["held"].is_null()).then_some(())
        })
        .await;
    }
}

/// An operator wants a new pair there; nothing when the gateway dies of it.
pub(crate) fn renew(gateway: &Gateway) -> JoinHandle<Option<u16>> {
    let request = gateway.http.post(format!("{}{REFRESH}", gateway.ops));
    let request = request.json(&json!({})).timeout(2 * PATIENCE);
    tokio::spawn(async move { request.send().await.ok().map(|one| one.status().as_u16()) })
}

#[tokio::test]
async fn killed_before_jumper_rotated_the_successor_renews_when_the_lock_has_ended() {
    on_redis_only!();
    let mut scene = Scene::new(json!({ "refresh_slow_ms": 120_000 })).await;
    let at_a = renew(&scene.a);
    scene.until_refreshes([2, 1, 0]).await;
    // The other wants one too, and waits its turn.
    let at_b = renew(&scene.b);
    // waits because nothing is to happen
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(scene.refreshes().await, [2, 1, 0], "a call beside a call");
    scene
        .stage
        .sandbox
        .knobs(json!({ "refresh_slow_ms": 0 }))
        .await;
    scene
        .stage
        .sandbox
        .post("token/revoke-access", json!({}))
        .await;
    scene.a.process.kill();
    assert_eq!(at_a.await.unwrap(), None);
    let holder = || scene.stage.redis.cli(&["GET", LOCK]);
    let dead = holder();
    assert!(!dead.is_empty(), "it died with the lock");
    // Nobody asks before the lock has ended, and then somebody does.
    until("the lock has ended", async || {
        let asked = scene.refreshes().await;
        let held = holder() == dead;
        assert!(
            !held || asked == [2, 1, 0],
            "{asked:?} in spite of the lock"
        );
        (!held).then_some(())
    })
    .await;
    assert_eq!(at_b.await.unwrap(), Some(200));
    scene.b_sends().await;
    assert_eq!(scene.refreshes().await, [3, 2, 0]);
}

/// The first is killed after Jumper rotated, before it had the answer.
async fn rotated_and_killed(grace_s: u64) -> Scene {
    let mut scene = Scene::new(json!({ "refresh_grace_s": grace_s })).await;
    let sandbox = &scene.stage.sandbox;
    sandbox.script("refresh", &["accept_then_slow:120"]).await;
    let at_a = renew(&scene.a);
    scene.until_refreshes([2, 2, 0]).await;
    accept_all(&scene.b, 0..MESSAGES).await;
    scene.a.process.kill();
    assert_eq!(at_a.await.unwrap(), None);
    assert!(scene.lock_is_held(), "it died with the lock");
    scene.b.channel("resume").await;
    scene
}

#[tokio::test]
async fn killed_before_the_write_the_successor_goes_on_where_the_old_token_is_still_taken() {
    on_redis_only!();
    let scene = rotated_and_killed(600).await;
    scene.each_once().await;
    assert_eq!(scene.refreshes().await, [3, 3, 0]);
}

#[tokio::test]
async fn killed_before_the_write_without_grace_the_account_is_held_and_a_new_seed_heals_it() {
    on_redis_only!();
    let scene = rotated_and_killed(0).await;
    // Jumper must say it twice, a minute apart.
    until_within(
        Duration::from_secs(150),
        "the account is held",
        async || {
            let account = scene.b.account().await;
            (account["token"]["state"] == "dead" && !account["held"].is_null()).then_some(())
        },
    )
    .await;
    let ledger = until("all are back in the queue", async || {
        let ledger = scene.b.ledger().await;
        (ledger["held"] == MESSAGES).then_some(ledger)
    })
    .await;
    assert_eq!(
        (&ledger["failed"], &ledger["lost"]),
        (&json!(0), &json!(0)),
        "{ledger}"
    );
    let output = scene.b.process.said(&["token/seed"]).await;
    assert_eq!(output.matches("The account is held").count(), 1);
    assert_eq!(scene.b.ready().await.0, 200);
    assert_eq!(scene.refreshes().await, [2, 2, 2], "the old token, twice");
    // One who joins now tries once more.
    let c = Gateway::start_unheard(scene.stage.setup());
    until("the third knows", async || {
        (c.account().await["token"]["state"] == "dead").then_some(())
    })
    .await;
    assert_eq!(scene.refreshes().await, [2, 2, 3]);
    let seed = scene.stage.sandbox.post("token/new-seed", json!({})).await;
    let seed = json!({ "refresh_token": seed["refresh_token"] });
    assert_eq!(c.ops_send("PUT", SEED, seed).await.0, 200);
    scene.each_once().await;
    assert_eq!(scene.refreshes().await, [3, 3, 3]);
}

#[tokio::test]
async fn killed_after_the_write_the_successor_takes_the_stored_pair_without_a_call() {
    on_redis_only!();
    let mut scene = Scene::new(json!({})).await;
    let redis = scene.stage.redis.clone();
    let fence = || redis.cli(&["HGET", "gw:{default}:token", "fence"]);
    let before = fence();
    let at_a = renew(&scene.a);
    until("the new pair is stored", async || {
        (fence() != before).then_some(())
    })
    .await;
    scene.a.process.kill();
    let _ = at_a.await;
    // As if it had died before it gave the lock back, whichever came first.
    redis.cli(&["SET", LOCK, "dead", "PX", "600000"]);
    // Nobody has to wait for the lock, which would be ten minutes.
    scene.b_sends().await;
    assert_eq!(scene.refreshes().await, [2, 2, 0]);
}
