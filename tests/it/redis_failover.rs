//! Redis resets connections, or another server takes over: callers hear nothing of the first, and
//! within seconds all work goes on at the second. Always on Redis, whatever the other tests use.

use crate::it::replicas::Stage;
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use crate::kit::redis_server::{Options, Redis, on_redis_only};
use serde_json::json;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a failover may keep callers out, and the old server its connections.
const LEFT: Duration = Duration::from_secs(5);

/// What names a Redis: new connections lead to whom it names now, open ones stay where they are.
pub(crate) struct Name {
    dir: tempfile::TempDir,
    to: Arc<Mutex<String>>,
}

impl Name {
    pub(crate) fn of(redis: &Redis) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = std::os::unix::net::UnixListener::bind(dir.path().join("name")).unwrap();
        let to = Arc::new(Mutex::new(redis.socket()));
        let leads = to.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(redis) = UnixStream::connect(&*leads.lock().unwrap()) else {
                    continue;
                };
                for (from, to) in [(&client, &redis), (&redis, &client)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        Self { dir, to }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.dir.path().join("name").display())
    }

    pub(crate) fn leads_to(&self, redis: &Redis) {
        *self.to.lock().unwrap() = redis.socket();
    }
}

fn reset_all(redis: &Redis) {
    redis.cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
}

#[tokio::test]
async fn r_59_a_connection_that_redis_resets_costs_no_caller_a_503() {
    on_redis_only!();
    let stage = Stage::new(json!({ "event_mode": "none" }), Options::every_second()).await;
    let gateway = Gateway::start(&stage.sandbox, stage.setup()).await;
    let id = sent(&gateway, &stage.sandbox, "warm", &number(9_000)).await;
    for n in 0..20 {
        reset_all(&stage.redis);
        let answer = gateway
            .post(&order_update(&format!("m{n}"), &number(n)))
            .await;
        assert_eq!(answer.0, 200, "message {n}: {answer:?}");
        reset_all(&stage.redis);
        assert_eq!(
            gateway
                .event_once(&status(&id, "read", 1_930_000_000))
                .await,
            200
        );
        reset_all(&stage.redis);
        assert_eq!(gateway.ready().await.0, 200);
    }
    let ledger = gateway.drained().await;
    assert_eq!(
        (&ledger["accepted"], &ledger["lost"]),
        (&json!(21), &json!(0))
    );
    let counts = stage.sandbox.counts().await;
    assert_eq!(
        (&counts["sends_accepted"], &counts["recipients_repeated"]),
        (&json!(21), &json!(0))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_59_connections_reset_under_load_cost_no_caller_a_503() {
    on_redis_only!();
    let stage = Stage::new(json!({ "event_mode": "none" }), Options::every_second()).await;
    let gateway = Gateway::start(&stage.sandbox, stage.setup()).await;
    // Knows its templates.
    sent(&gateway, &stage.sandbox, "warm", &number(9_000)).await;
    gateway.channel("pause").await;
    let over = Arc::new(AtomicBool::new(false));
    let done: Arc<[AtomicUsize; 4]> = Arc::default();
    let mut posters = tokio::task::JoinSet::new();
    for poster in 0..done.len() {
        let url = format!("{}/send_whatsapp", gateway.url);
        let (over, done) = (over.clone(), done.clone());
        posters.spawn(async move {
            let http = client();
            while !over.load(Ordering::Relaxed) {
                let posted = done[poster].load(Ordering::Relaxed);
                let body = order_update(&format!("p{poster}-{posted}"), &number(posted));
                let request = http
                    .post(&url)
                    .header("apikey", TOKEN)
                    .body(body.to_string());
                let answer = request.send().await.unwrap();
                let (status, text) = (answer.status(), answer.text().await.unwrap());
                assert_eq!(status, 200, "message {posted}: {text}");
                done[poster].fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let posted = || done.each_ref().map(|done| done.load(Ordering::Relaxed));
    for _ in 0..20 {
        let before = posted();
        // What is repeated is not met again: of two answers the second is that of a call which was begun after
        // the last reset, however late this test hears of the first.
        until("every caller was answered", async || {
            let all = posted()
                .iter()
                .zip(before)
                .all(|(now, then)| *now > then + 1);
            (all || posters.try_join_next().is_some()).then_some(())
        })
        .await;
        // waits because a call that is reset is made again, not one that is reset each time: a connection that
        // breaks while it is made is tried anew after 100 ms
        tokio::time::sleep(Duration::from_millis(300)).await;
        reset_all(&stage.redis);
    }
    over.store(true, Ordering::Relaxed);
    posters.join_all().await;
    let posted: usize = posted().iter().sum();
    let ledger = gateway.ledger().await;
    assert_eq!(
        (&ledger["accepted"], &ledger["lost"]),
        (&json!(posted + 1), &json!(0))
    );
}

#[tokio::test]
async fn r_53_a_demoted_master_is_left_within_seconds() {
    on_redis_only!();
    let stage = Stage::new(json!({ "event_mode": "none" }), Options::every_second()).await;
    let (old, new) = (&stage.redis, Redis::start(Options::every_second()));
    let ports = [own_port(), own_port()];
    old.listen(ports[0]);
    new.listen(ports[1]);
    let name = Name::of(old);
    let setup = stage.setup().by_way_of(&name.url());
    let gateway = Gateway::start(&stage.sandbox, setup).await;
    sent(&gateway, &stage.sandbox, "m0", &number(0)).await;
    new.follow(ports[0]);
    until("the copy has all", async || {
        let told = new.cli(&["INFO", "replication"]);
        let up = told.contains("master_link_status:up");
        (up && new.keys() == old.keys()).then_some(())
    })
    .await;

    assert_eq!(new.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    name.leads_to(&new);
    old.follow(ports[1]);
    let begun = Instant::now();
    let mut refused = 0;
    while gateway.post(&order_update("m1", &number(1))).await.0 != 200 {
        assert!(begun.elapsed() < LEFT, "{refused} were refused");
        refused += 1;
        // waits because MoEngage does not hammer either; bounded
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    gateway.until_sent("m1").await;
    assert_eq!(gateway.ready().await.0, 200);
    // What the old one was told it was told by a repeat of what was sent: nothing goes out again.
    gateway.accept("m0", &number(0)).await;
    until_within(LEFT, "nobody is at the old one any more", async || {
        let there = old.cli(&["CLIENT", "LIST", "TYPE", "normal"]);
        // Whoever asks is there.
        (there.lines().count() == 1).then_some(())
    })
    .await;
    let ledger = gateway.drained().await;
    assert_eq!(
        (&ledger["accepted"], &ledger["lost"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(stage.sandbox.counts().await["recipients_repeated"], 0);
}
