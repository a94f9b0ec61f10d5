//! A Redis that is far away: what that leaves of the rate is told. Always on Redis. That the rate is kept at
//! a distance, and never passed, is tested in a time of its own (`src/limit/late_together.rs`).

use crate::it::operator_messages::run;
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use crate::kit::proxy::{Direction, Road, Target, Way};
use crate::kit::redis_server::{Options, Redis, on_redis_only};
use serde_json::json;
use std::sync::Arc;

const TOLD: &str = "Redis is far away";

fn slow(delay_ms: u64) -> Way {
    Way::Slow {
        delay_ms,
        bytes_per_second: 100_000_000,
        direction: Direction::Both,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_63_farther_away_the_effective_rate_is_told() {
    on_redis_only!();
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let redis = Arc::new(Redis::start(Options::every_second()));
    let road = Road::to(Target::Unix(redis.socket().into())).await;
    let url = format!("redis://{}", road.addr());
    let setup = Setup::towards(&sandbox)
        .sharing(&redis)
        .by_way_of(&url)
        .env("RATE_PER_SECOND", "20")
        .env("CONCURRENT_API_CALLS", "10");
    let gateway = Gateway::start(&sandbox, setup.clone()).await;
    gateway.accept("near", &number(0)).await;
    gateway.until_sent("near").await;
    assert_eq!(gateway.account().await["rate"]["effective"], 20.0);
    assert!(!gateway.process.output().contains(TOLD));

    gateway.channel("pause").await;
    for n in 1..100 {
        gateway.accept(&format!("m{n}"), &number(n)).await;
    }
    road.set(slow(150));
    gateway.channel("resume").await;
    let account = until("the account is slowed", async || {
        let account = gateway.account().await;
        (account["why"]["code"] == "slowed").then_some(account)
    })
    .await;
    let words = account["why"]["words"].as_str().unwrap();
    assert!(words.contains("ms to answer"), "{words}");
    let effective = account["rate"]["effective"].as_f64().unwrap();
    assert!(effective > 2.0 && effective < 19.0, "{account}");
    let metrics = gateway.metrics().await;
    let name = "gateway_rate_per_second{";
    let shown = metrics.lines().find(|line| line.starts_with(name));
    let shown: f64 = shown.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(shown < 19.0, "{shown}");
    gateway.drained().await;
    crate::it::rate::keeps_to(20, &sandbox.get("rate").await);
    assert_eq!(gateway.process.output().matches(TOLD).count(), 1);

    road.set(slow(55));
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::towards(&sandbox).env("REDIS_URL", &url);
    let (_, told) = run(&setup, dir.path(), &["check", "--set", "http.port=0"]);
    assert!(told.contains("the rate is kept up to 100 ms"), "{told}");

    road.set(Way::Open);
    // What it sends tells it how far away Redis is.
    for n in 100..200 {
        gateway.accept(&format!("m{n}"), &number(n)).await;
    }
    until("it is near again", async || {
        let account = gateway.account().await;
        (account["rate"]["effective"] == 20.0 && account["why"].is_null()).then_some(())
    })
    .await;
}
