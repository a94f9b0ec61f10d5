//! Several accounts and channels on one Redis, served by two replicas: each account's limit is its
//! own, whoever took the message, and what a dead replica leaves is taken over for all of them.
//! Always on Redis, whatever the other tests use.

use crate::it::account_files::*;
use crate::it::rate::keeps_to;
use crate::kit::harness::*;
use crate::kit::redis_server::{Options, Redis, on_redis_only};
use serde_json::{Value, json};
use std::sync::Arc;

/// Calls a second of `acme`, and of `birch`.
const RATES: [u64; 2] = [10, 40];
const CHANNELS: [&str; 3] = ["uk", "us", "birch"];
/// Messages of each channel.
const MANY: usize = 45;

/// `acme` has two channels and is slow, `birch` has one and is faster.
fn tables(a: &Sandbox, b: &Sandbox) -> String {
    // What is under way at a moment stays far below half a second's rate: a provider that stood still
    // sees it all at once.
    let rate =
        |rate: u64, calls: u32| format!("rate_per_second = {rate}\nconcurrent_api_calls = {calls}");
    [
        account("acme", &a.url, &rate(RATES[0], 2)),
        account("birch", &b.url, &rate(RATES[1], 8)),
        channel(
            "uk",
            "acme",
            &a.url,
            "auth_against = \"token-of-channel-uk\"",
        ),
        channel(
            "us",
            "acme",
            &a.url,
            "auth_against = \"token-of-channel-us\"",
        ),
        channel(
            "birch",
            "birch",
            &b.url,
            "auth_against = \"token-of-channel-birch\"",
        ),
    ]
    .concat()
}

/// Two replicas with these tables.
async fn two(a: &Sandbox, b: &Sandbox) -> (House, House) {
    let redis = Arc::new(Redis::start(Options::every_second()));
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let file = dir.path().join("gateway.toml");
    std::fs::write(&file, tables(a, b)).unwrap();
    let setup = House::setup(a, &file)
        .sharing(&redis)
        .env("AMBIGUOUS_HOLD", "2s");
    let house = || House {
        gateway: Gateway::start_unheard(setup.clone()),
        setup: setup.clone(),
        dir: dir.clone(),
    };
    (house(), house())
}

/// Fills the queues of all channels at this replica, when both know that they stand.
async fn fill(house: &House, other: &House) {
    for id in CHANNELS {
        house.channel(id, "pause").await;
    }
    until("the other replica knows what stands", async || {
        (other.stands().await == CHANNELS).then_some(())
    })
    .await;
    for (at, id) in CHANNELS.iter().enumerate() {
        house.load(id, 100 * at, MANY).await;
    }
}

async fn sent_by(sandbox: &Sandbox) -> usize {
    let sent = sandbox.counts().await["sends_accepted"].as_u64().unwrap();
    usize::try_from(sent).unwrap()
}

/// Every message is sent once or reported as failed, in all channels.
async fn accounts_for_all(house: &House, sandboxes: [&Sandbox; 2], failed_at_most: u64) {
    let total = house.gateway.drained().await;
    assert_eq!(total["accepted"], 3 * MANY, "{total}");
    assert_eq!(total["lost"], 0, "{total}");
    assert!(total["failed"].as_u64() <= Some(failed_at_most), "{total}");
    for sandbox in sandboxes {
        let counts = sandbox.counts().await;
        assert_eq!(counts["recipients_repeated"], 0, "{counts}");
    }
    for id in CHANNELS {
        let ledger = house.ledger(id).await;
        let ended = ledger["accepted_by_provider"].as_u64().unwrap();
        let ended = ended + ledger["failed"].as_u64().unwrap();
        assert_eq!(ended, MANY as u64, "{id}: {ledger}");
    }
}

#[tokio::test]
async fn what_one_replica_took_for_two_accounts_is_sent_at_each_ones_own_rate_by_both() {
    on_redis_only!();
    let acme = Sandbox::start(json!({ "event_mode": "none" })).await;
    let birch = Sandbox::start(json!({ "event_mode": "none" })).await;
    let (a, b) = two(&acme, &birch).await;
    fill(&a, &b).await;
    for sandbox in [&acme, &birch] {
        sandbox.post("reset", json!({})).await;
    }
    for id in CHANNELS {
        b.channel(id, "resume").await;
    }
    until("birch is through", async || {
        (sent_by(&birch).await == MANY).then_some(())
    })
    .await;
    // Its neighbour is slower by far, and did not hold it up.
    assert!(sent_by(&acme).await < MANY, "{}", sent_by(&acme).await);
    // Both channels of the other account have their share of its rate.
    until("half of acme's is sent", async || {
        (sent_by(&acme).await >= MANY).then_some(())
    })
    .await;
    let sent = async |id| a.ledger(id).await["accepted_by_provider"].as_u64().unwrap();
    let (uk, us) = (sent("uk").await, sent("us").await);
    assert!(
        uk.min(us) >= 15 && uk.abs_diff(us) <= 15,
        "{uk} and {us} of {MANY}"
    );
    accounts_for_all(&b, [&acme, &birch], 0).await;
    for (sandbox, rate) in [(&acme, RATES[0]), (&birch, RATES[1])] {
        let arrivals: Value = sandbox.get("rate").await;
        keeps_to(rate, &arrivals);
    }
}

#[tokio::test]
async fn a_killed_replica_hands_over_the_work_of_every_account() {
    on_redis_only!();
    let knobs = json!({ "event_mode": "none", "latency_ms": 200 });
    let acme = Sandbox::start(knobs.clone()).await;
    let birch = Sandbox::start(knobs).await;
    let (mut a, b) = two(&acme, &birch).await;
    fill(&a, &b).await;
    for id in CHANNELS {
        a.channel(id, "resume").await;
    }
    until("both accounts are at work", async || {
        let at_work = sent_by(&acme).await > 2 && sent_by(&birch).await > 4;
        at_work.then_some(())
    })
    .await;
    a.gateway.process.kill();
    accounts_for_all(&b, [&acme, &birch], 2 * 16).await;
    // What was under way at the kill has an outcome in both accounts; nobody still has it in hand.
    let total = b.gateway.ledger().await;
    assert_eq!(
        (&total["in_flight"], &total["unknown"]),
        (&json!(0), &json!(0))
    );
}
