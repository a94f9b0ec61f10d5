//! What may happen to Redis under a running gateway: killed, frozen, away for a while, without its
//! scripts, read-only, out of memory. Nothing accepted is lost, callers are told at once, and all
//! heals without a restart. Always on Redis, whatever the other tests use.

use crate::it::crash::fold_or_unknown;
use crate::it::replicas::{Stage, patient_events};
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use crate::kit::redis_server::{Options, on_redis_only};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// MoEngage that goes on posting whatever happens: `m0..` one after another, each until it is
/// answered success. Counts those that were.
struct Poster {
    done: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Poster {
    fn start(url: &str, messages: usize) -> Self {
        let done = Arc::new(AtomicUsize::new(0));
        let counter = done.clone();
        let url = format!("{url}/send_whatsapp");
        let task = tokio::spawn(async move {
            let http = client();
            for n in 0..messages {
                let body = order_update(&format!("m{n}"), &number(n));
                loop {
                    let request = http.post(&url).header("apikey", TOKEN);
                    match request.body(body.to_string()).send().await {
                        Ok(answer) if answer.status() == 200 => break,
                        Ok(answer) => assert_eq!(answer.status(), 503),
                        // A gateway that was killed.
                        Err(_) => {}
                    }
                    // waits because MoEngage does not hammer either
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { done, task }
    }

    async fn until_accepted(&self, least: usize) {
        until(&format!("{least} are accepted"), async || {
            (self.done.load(Ordering::Relaxed) >= least).then_some(())
        })
        .await;
    }
}

/// A stream of sends and statuses during which Redis is killed twice; then everything is counted.
async fn storm(also_the_gateway: bool) -> (Stage, usize) {
    const MESSAGES: usize = 240;
    let stage = Stage::new(patient_events(), Options::always()).await;
    let setup = stage.setup().set(&format!("http.port={}", own_port()));
    let mut gateway = Gateway::start(&stage.sandbox, setup).await;
    let poster = Poster::start(&gateway.url, MESSAGES);
    for accepted in [MESSAGES / 4, MESSAGES / 2] {
        poster.until_accepted(accepted).await;
        if also_the_gateway {
            gateway.process.kill();
        }
        stage.redis.kill9();
        // waits because Redis is to be away for so long
        tokio::time::sleep(Duration::from_secs(2)).await;
        stage.redis.restart();
        if also_the_gateway {
            gateway = gateway.restart(&stage.sandbox).await;
        }
    }
    poster.until_accepted(MESSAGES).await;
    poster.task.await.unwrap();
    let ledger = settled(&gateway, &stage.sandbox).await;
    assert_eq!(
        (&ledger["accepted"], &ledger["lost"]),
        (&json!(MESSAGES), &json!(0))
    );
    let failed = stage.failed_of(&gateway, MESSAGES).await;
    let counts = stage.sandbox.counts().await;
    assert_eq!(counts["events_failed"], 0, "{counts}");
    assert_eq!(
        counts["callback_repeated"], counts["callback_duplicates"],
        "a repeat differs"
    );
    fold_or_unknown(&stage.sandbox, &gateway, MESSAGES).await;
    (stage, failed)
}

#[tokio::test]
async fn redis_killed_in_the_middle_of_everything_loses_nothing_and_repeats_nothing() {
    on_redis_only!();
    let (_stage, failed) = storm(false).await;
    assert_eq!(failed, 0, "no gateway died, so every outcome is known");
}

#[tokio::test]
async fn redis_and_the_gateway_killed_at_once_lose_nothing_and_repeat_nothing() {
    on_redis_only!();
    let (_stage, failed) = storm(true).await;
    assert!(failed <= 2 * 16, "only what was under way: {failed}");
}

/// A stream of sends and statuses, and now and then a command that Redis does not permit for a moment.
#[tokio::test]
async fn r_57_zadd_missing_for_a_moment_loses_nothing() {
    on_redis_only!();
    const MISSING: [&str; 8] = [
        "zadd", "hset", "hincrby", "rpush", "zrem", "hdel", "srem", "set",
    ];
    const MESSAGES: usize = 30 * (MISSING.len() + 1);
    let stage = Stage::new(patient_events(), Options::every_second()).await;
    let gateway = Gateway::start(&stage.sandbox, stage.setup()).await;
    let poster = Poster::start(&gateway.url, MESSAGES);
    for (n, command) in MISSING.into_iter().enumerate() {
        poster.until_accepted(30 * (n + 1)).await;
        let permit = |sign: &str| {
            let rule = format!("{sign}{command}");
            assert_eq!(stage.redis.cli(&["ACL", "SETUSER", "default", &rule]), "OK");
        };
        permit("-");
        let named = async || {
            let (status, shown) = gateway.ready().await;
            let reason = shown["reason"].as_str().unwrap_or_default().to_owned();
            (status == 503 && reason.contains(command)).then_some(())
        };
        until(&format!("{command} is named"), named).await;
        // waits because the command is to be missing for so long
        tokio::time::sleep(Duration::from_millis(300)).await;
        permit("+");
        until_ready(&gateway).await;
    }
    poster.until_accepted(MESSAGES).await;
    poster.task.await.unwrap();
    // In the middle of a script Redis 7.0 gives it another name.
    let refused = stage.redis.cli(&["INFO", "errorstats"]);
    let refusals = ["errorstat_NOPERM", "errorstat_ERR"];
    assert!(
        refusals.iter().any(|one| refused.contains(one)),
        "{refused}"
    );
    let ledger = settled(&gateway, &stage.sandbox).await;
    let counted = (&ledger["accepted"], &ledger["lost"]);
    assert_eq!(counted, (&json!(MESSAGES), &json!(0)));
    assert_eq!(stage.failed_of(&gateway, MESSAGES).await, 0);
    let counts = stage.sandbox.counts().await;
    assert_eq!(counts["events_failed"], 0, "{counts}");
    assert_eq!(counts["callback_repeated"], 0, "{counts}");
    fold_or_unknown(&stage.sandbox, &gateway, MESSAGES).await;
}

/// A gateway that has sent a message; the id of its receipt.
async fn warm(stage: &Stage) -> (Gateway, String) {
    // Whoever is not told by the store's own deadlines waits for this one.
    let setup = stage.setup().env("RESPONSE_TIMEOUT", "10m");
    let gateway = Gateway::start(&stage.sandbox, setup).await;
    let id = sent(&gateway, &stage.sandbox, "warm", &number(9_000)).await;
    (gateway, id)
}

async fn in_time(what: &str, call: impl Future<Output = u16>) {
    let answer = tokio::time::timeout(PATIENCE, call).await;
    assert_eq!(answer, Ok(503), "{what}");
}

/// Everybody is told at once, and `/readyz` says why in these words.
async fn refuses(gateway: &Gateway, id: &str, words: &[&str]) {
    let send = async {
        let answer = gateway.post(&order_update("refused", &number(9_001))).await;
        assert!(answer.1["message"].is_string(), "{answer:?}");
        answer.0
    };
    in_time("a send", send).await;
    let event = status(id, "read", 1_930_000_000);
    in_time("an event", gateway.event_once(&event)).await;
    let ready = async {
        let (status, shown) = gateway.ready().await;
        let reason = shown["reason"].as_str().unwrap_or_default().to_lowercase();
        for word in words {
            assert!(reason.contains(word), "{word} is not in {shown}");
        }
        status
    };
    in_time("/readyz", ready).await;
    let (alive, _) = gateway.ops_get("/healthz").await;
    assert_eq!(alive, 200, "it is alive all the same");
}

async fn until_ready(gateway: &Gateway) {
    until("it is ready again", async || {
        (gateway.ready().await.0 == 200).then_some(())
    })
    .await;
}

/// Ready again by itself, and what it does it does once.
async fn heals(stage: &Stage, gateway: &Gateway, id: &str, round: usize) {
    until_ready(gateway).await;
    sent(
        gateway,
        &stage.sandbox,
        &format!("r{round}"),
        &number(round),
    )
    .await;
    let event = status(id, "read", 1_930_000_000);
    assert_eq!(gateway.event(&event).await, 200);
    until_told(&stage.sandbox, "warm", &["read"]).await;
    let ledger = gateway.drained().await;
    assert_eq!((&ledger["lost"], &ledger["failed"]), (&json!(0), &json!(0)));
    assert_eq!(stage.sandbox.counts().await["recipients_repeated"], 0);
}

/// 10 s; `GATEWAY_TEST_REDIS_DOWN=60` for a minute.
fn outage() -> Duration {
    let seconds = std::env::var("GATEWAY_TEST_REDIS_DOWN").ok();
    Duration::from_secs(seconds.map_or(10, |text| text.parse().unwrap()))
}

fn quiet() -> Value {
    json!({ "event_mode": "none" })
}

#[tokio::test]
async fn while_redis_is_down_all_are_told_at_once_and_afterwards_all_goes_on() {
    on_redis_only!();
    let stage = Stage::new(quiet(), Options::always()).await;
    let (gateway, id) = warm(&stage).await;
    gateway.channel("pause").await;
    gateway.accept("waiting", &number(1)).await;
    stage.redis.kill9();
    let down = Instant::now();
    while down.elapsed() < outage() {
        refuses(&gateway, &id, &["redis"]).await;
    }
    stage.redis.restart();
    until_ready(&gateway).await;
    gateway.channel("resume").await;
    heals(&stage, &gateway, &id, 2).await;
    gateway.until_sent("waiting").await;
    // Which were refused and which were kept before the answer was lost, nobody promises; but
    // whoever repeats it is told the truth.
    gateway.accept("refused", &number(9_001)).await;
    gateway.until_sent("refused").await;
    let sends = stage.sandbox.sends_to(&number(9_001)[1..]).await;
    assert_eq!(sends.len(), 1);
}

#[tokio::test]
async fn a_redis_that_hangs_holds_nobody_up() {
    on_redis_only!();
    let stage = Stage::new(quiet(), Options::every_second()).await;
    let (gateway, id) = warm(&stage).await;
    stage.redis.pause();
    refuses(&gateway, &id, &["redis"]).await;
    stage.redis.resume();
    heals(&stage, &gateway, &id, 1).await;
}

/// A message that was accepted once and whose content is refused now must not be told "failure"
/// because nobody could look it up: MoEngage would believe it, and the message goes out (design.md G3).
#[tokio::test]
async fn a_repeat_that_would_be_refused_now_is_not_refused_while_redis_cannot_be_asked() {
    on_redis_only!();
    let stage = Stage::new(quiet(), Options::always()).await;
    let (gateway, _) = warm(&stage).await;
    let bad_number = |id: &str| order_update(id, "+1202");
    let no_template = |id: &str| send(id, &number(9_000), "no_such_template", "en_US", json!([]));
    let refused = async |body: Value| {
        let answer = gateway.post(&body).await;
        assert_eq!(answer.1["status"], "failure", "{answer:?}");
    };
    let all_known = async || {
        refused(bad_number("fresh")).await;
        gateway.accept_body(&bad_number("warm")).await;
        gateway.accept_body(&no_template("warm")).await;
    };
    let nobody_knows = async || {
        for body in [bad_number("warm"), no_template("warm"), bad_number("fresh")] {
            let answer = async { gateway.post(&body).await.0 };
            in_time(&body.to_string(), answer).await;
        }
    };
    refused(no_template("fresh")).await;
    all_known().await;
    stage.redis.pause();
    nobody_knows().await;
    stage.redis.resume();
    until_ready(&gateway).await;
    all_known().await;
    stage.redis.kill9();
    nobody_knows().await;
    stage.redis.restart();
    until_ready(&gateway).await;
    all_known().await;
    assert_eq!(stage.sandbox.counts().await["sends_accepted"], 1);
}

#[tokio::test]
async fn a_damaged_key_is_logged_without_the_phone_number_that_it_ends_in() {
    on_redis_only!();
    let stage = Stage::new(quiet(), Options::every_second()).await;
    let (mut gateway, _) = warm(&stage).await;
    let person = number(5);
    let key = format!("gw:{{default}}:x:{}", &person[1..]);
    stage.redis.cli(&["SET", &key, "nonsense"]);
    gateway.accept("m1", &person).await;
    gateway.until_sent("m1").await;
    let line = gateway.process.line_with("a value in Redis is damaged");
    assert!(line.contains("gw:{default}:x:12"), "{line}");
    assert!(!line.contains(&person[1..]), "{line}");
}

#[tokio::test]
async fn a_redis_that_forgot_its_scripts_is_not_even_noticed() {
    on_redis_only!();
    // Killed while it syncs, one that syncs every second loses what it has answered.
    let stage = Stage::new(quiet(), Options::always()).await;
    let (gateway, id) = warm(&stage).await;
    stage.redis.flush_scripts();
    gateway.accept("m1", &number(1)).await;
    gateway.until_sent("m1").await;
    stage.redis.flush_scripts();
    assert_eq!(gateway.ready().await.0, 200);
    heals(&stage, &gateway, &id, 2).await;
    stage.redis.kill9();
    stage.redis.restart();
    stage.redis.flush_scripts();
    heals(&stage, &gateway, &id, 3).await;
    assert_eq!(gateway.ledger().await["accepted"], 4);
}

#[tokio::test]
async fn a_redis_that_takes_no_writes_is_named_with_its_reason_and_heals() {
    on_redis_only!();
    let stage = Stage::new(quiet(), Options::every_second()).await;
    let (gateway, id) = warm(&stage).await;
    stage.redis.read_only(true);
    refuses(&gateway, &id, &["redis", "read-only"]).await;
    stage.redis.read_only(false);
    heals(&stage, &gateway, &id, 1).await;
    stage.redis.replicas_to_write(1);
    refuses(&gateway, &id, &["replica"]).await;
    stage.redis.replicas_to_write(0);
    heals(&stage, &gateway, &id, 2).await;
    stage.redis.out_of_memory(true);
    let full = gateway.post(&order_update("refused", &number(9_001))).await;
    assert_eq!(full.0, 503, "{full:?}");
    // What was accepted can still end: there is always room for that.
    assert_eq!(
        gateway.event(&status(&id, "read", 1_930_000_000)).await,
        200
    );
    // An answer stands for a moment, for who asks next.
    until("readyz tells of the memory", async || {
        let (status, ready) = gateway.ready().await;
        let reason = ready["reason"].to_string().to_lowercase();
        (status == 503 && reason.contains("memory")).then_some(())
    })
    .await;
    stage.redis.out_of_memory(false);
    heals(&stage, &gateway, &id, 3).await;
}

#[tokio::test]
async fn a_redis_that_lost_everything_is_served_on() {
    on_redis_only!();
    let stage = Stage::new(quiet(), Options::forgetful()).await;
    let (gateway, _) = warm(&stage).await;
    stage.redis.kill9();
    stage.redis.restart();
    until_ready(&gateway).await;
    // The token pair is gone with the rest, so whether this is sent before a person helps is open;
    // that it is kept, found and counted is not.
    gateway.accept("m1", &number(1)).await;
    let message = gateway.message("m1").await;
    let open = message["state"] == "waiting" || message["state"] == "sending";
    assert!(open || is_sent(&message), "{message}");
    until("what was sent before is put back", async || {
        let ledger = gateway.ledger().await;
        assert_eq!(ledger["lost"], 0, "{ledger}");
        (ledger["accepted"] == 2).then_some(())
    })
    .await;
}

/// What Redis answers to a line on this connection.
fn ask_by(connection: &mut UnixStream, line: &str) -> String {
    writeln!(connection, "{line}\r").unwrap();
    let mut answer = String::new();
    BufReader::new(connection).read_line(&mut answer).unwrap();
    answer.trim().to_owned()
}

/// The one connection that Redis takes is another's.
#[tokio::test]
async fn r_66_maxclients_is_told_in_redis_words() {
    on_redis_only!();
    let stage = Stage::new(quiet(), Options::every_second()).await;
    let (mut gateway, id) = warm(&stage).await;
    let mut other = UnixStream::connect(stage.redis.socket()).unwrap();
    let most = |n: usize| format!("CONFIG SET maxclients {n}");
    assert_eq!(ask_by(&mut other, &most(1)), "+OK");
    let killed = ask_by(&mut other, "CLIENT KILL TYPE normal SKIPME yes");
    assert_ne!(killed, ":0");
    let words = ["max number of clients reached", "maxclients"];
    until("readyz says so", async || {
        let (status, ready) = gateway.ready().await;
        let reason = ready["reason"].as_str().unwrap_or_default();
        (status == 503 && words.iter().all(|one| reason.contains(one))).then_some(())
    })
    .await;
    gateway.process.line_with(words[0]);
    refuses(&gateway, &id, &words).await;
    assert_eq!(ask_by(&mut other, &most(10_000)), "+OK");
    heals(&stage, &gateway, &id, 1).await;
}

#[tokio::test]
async fn r_66_hincrby_missing_for_a_moment_leaves_lost_0() {
    on_redis_only!();
    const MESSAGES: usize = 90;
    let stage = Stage::new(patient_events(), Options::every_second()).await;
    let gateway = Gateway::start(&stage.sandbox, stage.setup()).await;
    let poster = Poster::start(&gateway.url, MESSAGES);
    for accepted in [30, 60] {
        poster.until_accepted(accepted).await;
        stage.redis.cli(&["ACL", "SETUSER", "default", "-hincrby"]);
        until("hincrby is named", async || {
            let (status, shown) = gateway.ready().await;
            let reason = shown["reason"].as_str().unwrap_or_default().to_owned();
            (status == 503 && reason.contains("hincrby")).then_some(())
        })
        .await;
        stage.redis.cli(&["ACL", "SETUSER", "default", "+hincrby"]);
        until_ready(&gateway).await;
    }
    poster.until_accepted(MESSAGES).await;
    poster.task.await.unwrap();
    let ledger = settled(&gateway, &stage.sandbox).await;
    let counted = ["accepted", "accepted_by_provider", "lost", "uncounted"];
    let counted = counted.map(|name| ledger[name].as_u64());
    let all = Some(MESSAGES as u64);
    assert_eq!(counted, [all, all, Some(0), Some(0)], "{ledger}");
}

/// Somebody writes over a counter, and later takes a message out of Redis.
#[tokio::test]
async fn r_66_a_damaged_counter_is_uncounted_and_a_message_deleted_by_hand_shows_beside_it() {
    on_redis_only!();
    const KEYS: &str = "gw:{default}:";
    let stage = Stage::new(quiet(), Options::every_second()).await;
    // The ledgers are looked at ten times in the life of a message.
    let setup = stage.setup().set("policy.max_age=100s");
    let gateway = Gateway::start(&stage.sandbox, setup).await;
    for n in 0..3 {
        sent(&gateway, &stage.sandbox, &format!("m{n}"), &number(n)).await;
    }
    gateway.channel("pause").await;
    let ledger = format!("{KEYS}l:default");
    stage.redis.cli(&["HSET", &ledger, "accepted", "nonsense"]);
    for n in 3..6 {
        gateway.accept(&format!("m{n}"), &number(n)).await;
    }
    let shown = gateway.ledger().await;
    let counted = |shown: &Value| {
        [
            "accepted",
            "held",
            "accepted_by_provider",
            "lost",
            "uncounted",
        ]
        .map(|name| shown[name].as_i64().unwrap())
    };
    assert_eq!(counted(&shown), [3, 3, 3, 0, -3], "{shown}");
    let cause = shown["uncounted_cause"].as_str().unwrap();
    assert!(cause.contains("the counter accepted"), "{shown}");
    assert!(shown["uncounted_at"].is_string(), "{shown}");
    let id = stage.redis.cli(&["GET", &format!("{KEYS}i:default:m4")]);
    let removed = stage.redis.cli(&["ZREM", &format!("{KEYS}q:default"), &id]);
    assert_eq!(removed, "1");
    for key in [format!("m:{id}"), format!("d:{id}"), "i:default:m4".into()] {
        assert_eq!(stage.redis.cli(&["DEL", &format!("{KEYS}{key}")]), "1");
    }
    let shown = until("it is lost", async || {
        let shown = gateway.ledger().await;
        (shown["lost"] != 0).then_some(shown)
    })
    .await;
    assert_eq!(counted(&shown), [3, 2, 3, 1, -3], "{shown}");
    let metrics = gateway.metrics().await;
    for (state, n) in [("lost", 1), ("uncounted", -3)] {
        let line = format!("gateway_messages{{channel=\"default\",state=\"{state}\"}} {n}");
        assert!(metrics.contains(&line), "{metrics}");
    }
}
