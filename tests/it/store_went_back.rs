//! Redis goes back to an older state while gateways run on it: a copy is put back, the end of its file is lost, a
//! replica that lagged takes over. Nobody gets a message twice, and sending goes on by itself.

use crate::aids::*;
use crate::harness::*;
use crate::redis_failover::Name;
use crate::redis_server::{Options, Redis, on_redis_only};
use crate::replicas::{Stage, accept_all};
use serde_json::json;
use std::time::{Duration, Instant};

/// How long a roll call may take: whoever does not answer is waited for 15 s.
const CALLED: Duration = Duration::from_secs(20);
/// The same when all answer; a busy machine included.
const ALL_ANSWER: Duration = Duration::from_secs(8);

async fn stage() -> Stage {
    Stage::new(json!({ "event_mode": "none" }), Options::every_second()).await
}

async fn pair(stage: &Stage, rate: &str) -> [Gateway; 2] {
    let setup = stage.setup().env("RATE_PER_SECOND", rate);
    let first = Gateway::start_unheard(setup.clone());
    let second = Gateway::start(&stage.sandbox, setup).await;
    [first, second]
}

/// A new message is sent within this time; how long it took.
async fn sends_again(gateway: &Gateway, n: usize, most: Duration) -> Duration {
    let begun = Instant::now();
    let id = format!("m{n}");
    let body = order_update(&id, &number(n));
    while gateway.post(&body).await.0 != 200 {
        assert!(begun.elapsed() < most, "nothing is accepted");
        // waits because MoEngage comes again too; bounded
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    gateway.until_sent(&id).await;
    let took = begun.elapsed();
    assert!(took < most, "{took:?}");
    took
}

/// All of these were sent, each once.
async fn each_once(stage: &Stage, gateway: &Gateway, messages: usize) {
    let ledger = gateway.drained_within(CALLED).await;
    let counts = stage.sandbox.counts().await;
    assert_eq!(counts["recipients_repeated"], 0, "{counts}\n{ledger}");
    assert_eq!(counts["sends_accepted"], messages, "{counts}\n{ledger}");
    assert_eq!(ledger["lost"], 0, "{ledger}");
    assert_eq!(ledger["accepted"], messages, "{ledger}");
    for n in 0..messages {
        let message = gateway.message(&format!("m{n}")).await;
        assert!(is_sent(&message), "{message}");
    }
}

#[tokio::test]
async fn r_52_a_copy_put_back_while_two_gateways_run_sends_nothing_twice() {
    on_redis_only!();
    let stage = stage().await;
    let [a, b] = pair(&stage, "20").await;
    accept_all(&a, 0..60).await;
    let copy = stage.redis.copy();
    accept_all(&b, 60..65).await;
    stage.until_sent(65).await;
    stage.redis.put_back(&copy);
    // In the copy most of them wait.
    let took = sends_again(&a, 65, CALLED).await;
    assert!(took < ALL_ANSWER, "{took:?}");
    each_once(&stage, &b, 66).await;
}

#[tokio::test]
async fn r_52_a_restore_within_a_running_server() {
    on_redis_only!();
    let stage = stage().await;
    let backup = Redis::start(Options::every_second());
    let ports = [own_port(), own_port()];
    stage.redis.listen(ports[0]);
    backup.listen(ports[1]);
    let [a, b] = pair(&stage, "20").await;
    accept_all(&a, 0..40).await;
    follows(&backup, ports[0]).await;
    assert_eq!(backup.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    accept_all(&b, 40..45).await;
    stage.until_sent(45).await;
    b.drained().await;
    let run = |redis: &Redis| {
        let told = redis.cli(&["INFO", "server"]);
        let run = told.lines().find(|line| line.starts_with("run_id"));
        run.unwrap().to_owned()
    };
    let before = run(&stage.redis);
    follows(&stage.redis, ports[1]).await;
    assert_eq!(stage.redis.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    assert_eq!(run(&stage.redis), before, "it is the same server");
    sends_again(&a, 45, CALLED).await;
    each_once(&stage, &b, 46).await;
}

async fn follows(redis: &Redis, port: u16) {
    redis.follow(port);
    until("the copy has all", async || {
        let told = redis.cli(&["INFO", "replication"]);
        told.contains("master_link_status:up").then_some(())
    })
    .await;
}

#[tokio::test]
async fn r_55_the_last_second_of_the_append_only_file() {
    on_redis_only!();
    let stage = stage().await;
    let [a, b] = pair(&stage, "60").await;
    accept_all(&a, 0..90).await;
    stage.until_sent(20).await;
    let length = stage.redis.length();
    accept_all(&b, 90..100).await;
    stage.until_sent(80).await;
    stage.redis.cut_to(length);
    sends_again(&a, 100, CALLED).await;
    // Of those accepted since, what was not sent yet is nowhere: nobody remembers it.
    until_within(CALLED, "all that is known ends", async || {
        let ledger = b.ledger().await;
        let open = ["queued", "in_flight", "held", "unknown"];
        open.iter().all(|name| ledger[*name] == 0).then_some(())
    })
    .await;
    let counts = stage.sandbox.counts().await;
    assert_eq!(counts["recipients_repeated"], 0, "{counts}");
    let ledger = b.ledger().await;
    assert_eq!(ledger["lost"], 0, "{ledger}");
    assert_eq!(
        ledger["accepted"], counts["sends_accepted"],
        "{ledger} {counts}"
    );
}

#[tokio::test]
async fn r_55_a_lagging_replica_takes_over() {
    on_redis_only!();
    let stage = stage().await;
    let (old, new) = (&stage.redis, Redis::start(Options::every_second()));
    let ports = [own_port(), own_port()];
    old.listen(ports[0]);
    new.listen(ports[1]);
    let name = Name::of(old);
    let setup = stage.setup().by_way_of(&name.url());
    let setup = setup.env("RATE_PER_SECOND", "60");
    let a = Gateway::start_unheard(setup.clone());
    let b = Gateway::start(&stage.sandbox, setup).await;
    follows(&new, ports[0]).await;
    accept_all(&a, 0..90).await;
    stage.until_sent(20).await;
    // From here on nothing reaches it.
    assert_eq!(new.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    stage.until_sent(90).await;
    old.kill9();
    name.leads_to(&new);
    sends_again(&a, 90, CALLED).await;
    each_once(&stage, &b, 91).await;
}

#[tokio::test]
async fn r_52_a_redis_that_is_restarted_hands_out_work_at_once() {
    on_redis_only!();
    let stage = stage().await;
    let [a, b] = pair(&stage, "50").await;
    accept_all(&a, 0..100).await;
    stage.until_sent(30).await;
    stage.redis.kill9();
    stage.redis.restart();
    let took = sends_again(&a, 100, CALLED).await;
    assert!(took < ALL_ANSWER, "{took:?}");
    each_once(&stage, &b, 101).await;
}

#[tokio::test]
async fn r_52_who_died_with_redis_is_waited_for_and_no_longer() {
    on_redis_only!();
    let stage = stage().await;
    let [mut a, b] = pair(&stage, "50").await;
    accept_all(&a, 0..10).await;
    b.drained().await;
    a.process.kill();
    stage.redis.kill9();
    stage.redis.restart();
    let took = sends_again(&b, 10, CALLED).await;
    assert!(took > Duration::from_secs(14), "{took:?}");
    each_once(&stage, &b, 11).await;
}
