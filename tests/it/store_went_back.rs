//! Redis goes back to an older state while gateways run on it: a copy is put back, the end of its file is lost, a
//! replica that lagged takes over. Nobody gets a message twice, and sending goes on by itself.

use crate::it::redis_failover::Name;
use crate::it::replicas::{Stage, accept_all};
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use crate::kit::redis_server::{Options, Redis, on_redis_only};
use serde_json::{Value, json};
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

/// How many sends this gateway made.
async fn sends(gateway: &Gateway) -> f64 {
    let line = "gateway_send_seconds_count{account=\"default\"}";
    let metrics = gateway.metrics().await;
    // Whoever sent nothing has no such line.
    if metrics.contains(line) {
        figure(&metrics, line)
    } else {
        0.0
    }
}

/// Sixty messages wait in a copy. Two gateways send them, and the one that sends more dies before the copy is put
/// back. The hold of the other, and how many sends died.
async fn held(stage: &Stage) -> (Gateway, Value, f64) {
    let [a, b] = pair(stage, "30").await;
    // Else one may be under way in the copy, and then nobody knows of that one.
    a.channel("pause").await;
    b.channel("pause").await;
    accept_all(&b, 0..60).await;
    let copy = stage.redis.copy();
    a.channel("resume").await;
    b.channel("resume").await;
    stage.until_sent(60).await;
    b.drained().await;
    // waits because a gateway looks at what others did every 3 s, when it renews its lease
    tokio::time::sleep(Duration::from_secs(4)).await;
    let shares = [sends(&a).await, sends(&b).await];
    let (mut dead, b) = if shares[0] < shares[1] {
        (b, a)
    } else {
        (a, b)
    };
    dead.process.kill();
    stage.redis.put_back(&copy);
    // It is paused in the copy too.
    b.channel("resume").await;
    let hold = until_within(2 * CALLED, "sending is held", async || {
        let (status, holds) = b.ops_get("/api/holds").await;
        let hold = holds["items"][0].clone();
        (status == 200 && hold.is_object()).then_some(hold)
    })
    .await;
    assert_eq!(hold["id"], "store:default", "{hold}");
    assert_eq!(hold["code"], "store_went_back", "{hold}");
    assert!(
        hold["words"].as_str().unwrap().contains("does not answer"),
        "{hold}"
    );
    (b, hold, shares[0].max(shares[1]))
}

#[tokio::test]
async fn r_52_a_process_that_sent_and_died_leads_to_a_hold_and_what_waited_may_fail() {
    on_redis_only!();
    let stage = stage().await;
    let (b, hold, died) = held(&stage).await;
    assert_eq!(hold["waiting"].as_f64(), Some(died), "{hold}");
    let path = "/api/holds/store:default/fail";
    until("an operator is told", async || {
        let said = b.process.output();
        (said.contains("store_went_back") && said.contains(path.trim_end_matches("/fail")))
            .then_some(())
    })
    .await;
    b.accept("m60", &number(60)).await;
    let waits = b.message("m60").await;
    assert_eq!(waits["why"]["code"], "store_went_back", "{waits}");
    let account = b.account().await;
    assert_eq!(account["why"]["code"], "store_went_back", "{account}");
    assert_eq!(b.ready().await.0, 200);
    // It is held over a restart too.
    let b = b.restart(&stage.sandbox).await;
    until("it is held still", async || {
        (b.holds().await.len() == 1).then_some(())
    })
    .await;
    let wrong = b.ops_send("POST", path, json!({ "confirm": 1 })).await;
    assert_eq!(wrong.0, 409, "{wrong:?}");
    let confirm = json!({ "confirm": hold["waiting"] });
    assert_eq!(b.ops_send("POST", path, confirm).await.0, 202);
    b.until_sent("m60").await;
    let ledger = b.drained().await;
    assert_eq!(ledger["lost"], 0, "{ledger}");
    let counts = stage.sandbox.counts().await;
    assert_eq!(counts["recipients_repeated"], 0, "{counts}");
    assert_eq!(ledger["failed"].as_f64(), Some(died), "{ledger}");
    assert!(b.holds().await.is_empty());
    for n in 0..60 {
        let id = format!("m{n}");
        let message = b.message(&id).await;
        if !is_sent(&message) {
            assert_eq!(message["state"], "failed", "{message}");
            assert_eq!(stage.sandbox.entries(&id).await[0]["error"]["code"], "7004");
        }
    }
}

#[tokio::test]
async fn r_52_what_is_held_for_a_store_that_went_back_is_sent_when_it_is_released() {
    on_redis_only!();
    let stage = stage().await;
    let (b, ..) = held(&stage).await;
    b.accept("m60", &number(60)).await;
    let ledger = b.ledger().await;
    assert!(ledger["held"].as_u64() > Some(1), "{ledger}");
    let path = "/api/holds/store:default/release";
    assert_eq!(b.ops_send("POST", path, json!({})).await.0, 202);
    assert_eq!(b.ops_send("POST", path, json!({})).await.0, 404);
    b.until_sent("m60").await;
    let ledger = b.drained().await;
    assert_eq!(ledger["accepted_by_provider"], 61, "{ledger}");
    assert_eq!(ledger["lost"], 0, "{ledger}");
    until("the alert is over", async || {
        let said = b.process.output();
        let is_over = |line: &str| line.contains("RESOLVED") && line.contains("store_went_back");
        said.lines().any(is_over).then_some(())
    })
    .await;
}
