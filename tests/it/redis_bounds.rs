//! What bounds a gateway on Redis: copies that must confirm, the longest queue, and what is left in
//! Redis when everything was settled long ago. Always on Redis, whatever the other tests use.

use crate::it::replicas::{Stage, accept_all};
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use crate::kit::redis_server::{Options, Redis, on_redis_only};
use reqwest::StatusCode;
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a caller may have to wait while a copy does not confirm: it is asked for 1 s, and a few
/// others may be asking.
const UNCONFIRMED: Duration = PATIENCE;

#[tokio::test]
async fn what_a_replica_of_redis_does_not_confirm_is_not_accepted() {
    on_redis_only!();
    let stage = Stage::new(json!({ "event_mode": "none" }), Options::every_second()).await;
    let port = own_port();
    stage.redis.listen(port);
    let copy = Redis::start(Options::every_second());
    copy.follow(port);
    let setup = stage.setup().env("REDIS_WAIT_REPLICAS", "1");
    // Whoever is not told by the store's own deadline waits for this.
    let setup = setup.env("RESPONSE_TIMEOUT", "10m");
    let gateway = Gateway::start(&stage.sandbox, setup).await;
    until("the copy confirms", async || {
        (gateway.ready().await.0 == 200).then_some(())
    })
    .await;
    sent(&gateway, &stage.sandbox, "m0", &number(0)).await;
    // It hangs, then it is gone: both are told in words, and both heal.
    for (round, hangs) in [(1, true), (2, false)] {
        if hangs {
            copy.pause();
        } else {
            copy.kill9();
        }
        let id = format!("m{round}");
        let asked = Instant::now();
        let (status, body) = gateway.post(&order_update(&id, &number(round))).await;
        assert_eq!(status, 503, "{body}");
        assert!(body["message"].is_string(), "{body}");
        assert!(asked.elapsed() < UNCONFIRMED, "{:?}", asked.elapsed());
        let (status, shown) = gateway.ready().await;
        let reason = shown["reason"].as_str().unwrap_or_default();
        assert_eq!(status, 503, "{shown}");
        assert!(
            reason.contains("0 of 1 Redis replicas confirmed"),
            "{shown}"
        );
        assert!(stage.sandbox.sends_to(&number(round)[1..]).await.is_empty());
        if hangs {
            copy.resume();
        } else {
            copy.restart();
            copy.follow(port);
        }
        until("it is ready again", async || {
            (gateway.ready().await.0 == 200).then_some(())
        })
        .await;
        // MoEngage comes again, whatever became of the first.
        sent(&gateway, &stage.sandbox, &id, &number(round)).await;
    }
    let ledger = gateway.drained().await;
    assert_eq!(
        (
            &ledger["accepted_by_provider"],
            &ledger["failed"],
            &ledger["lost"]
        ),
        (&json!(3), &json!(0), &json!(0))
    );
    assert_eq!(stage.sandbox.counts().await["recipients_repeated"], 0);
}

/// Posts at a gateway until it is told to come again later; when each was taken.
async fn flood(url: String, who: usize, taken: Arc<Mutex<Vec<Instant>>>) {
    let http = client();
    let mut n = 0;
    while n < 5_000 {
        let person = 1_000 * who + n % 1_000;
        let body = order_update(&format!("f{who}-{n}"), &number(person));
        let request = http.post(format!("{url}/send_whatsapp"));
        let request = request.header("apikey", TOKEN).body(body.to_string());
        let answer = request.send().await.unwrap();
        match answer.status() {
            StatusCode::OK => {
                n += 1;
                taken.lock().unwrap().push(Instant::now());
                // waits because it must take longer than the replicas need to hear of each other
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            StatusCode::TOO_MANY_REQUESTS => {
                let wait = answer.headers()["retry-after"].to_str().unwrap();
                assert!((1..=60).contains(&wait.parse::<u32>().unwrap()), "{wait}");
                return;
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                // waits because a Redis that was slow for a moment is asked again later, for the same
                // message: it may have been stored
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            other => panic!("{other}"),
        }
    }
    panic!("nobody bounds the queue");
}

/// Replicas count what the others take five times a second, so a queue may grow beyond its bound by
/// what all take within 0.2 s and what they are just taking.
#[tokio::test]
async fn two_replicas_fill_one_queue_hardly_beyond_its_bound() {
    on_redis_only!();
    const MOST: usize = 1_000;
    const CALLERS: usize = 4;
    let stage = Stage::new(json!({ "event_mode": "none" }), Options::every_second()).await;
    let setup = stage.setup().env("MAX_QUEUE", &MOST.to_string());
    let a = Gateway::start_unheard(setup.clone());
    let b = Gateway::start_unheard(setup);
    sent(&a, &stage.sandbox, "warm", &number(9_999)).await;
    a.channel("pause").await;
    until("the other knows", async || {
        let shown = b.ops_get("/api/channels").await.1;
        (shown["channels"][0]["paused"] == true).then_some(())
    })
    .await;
    let taken = Arc::new(Mutex::new(Vec::new()));
    let floods = (0..CALLERS).map(|who| {
        let gateway = if who % 2 == 0 { &a } else { &b };
        tokio::spawn(flood(gateway.url.clone(), who, taken.clone()))
    });
    for one in floods.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    let mut taken = std::mem::take(&mut *taken.lock().unwrap());
    taken.sort();
    // What a look has seen already and whose answer comes after it counts twice until the next look.
    assert!(taken.len() + CALLERS >= MOST, "{}", taken.len());
    let full = taken[MOST.min(taken.len()) - 1];
    let beyond = taken[taken.len() - 1] - full;
    // A machine that stood still takes its time for what is few.
    let extra = taken.len().saturating_sub(MOST);
    assert!(
        beyond < Duration::from_secs(1) || extra <= 200,
        "{extra} beyond the bound, within {beyond:?}"
    );
    // From now on nobody takes anything, and both say so.
    for gateway in [&a, &b] {
        let answer = gateway.post(&order_update("late", &number(9_998))).await;
        assert_eq!(answer.0, 429, "{answer:?}");
    }
    until("both count the same", async || {
        let held = [a.ledger().await, b.ledger().await].map(|ledger| ledger["held"].clone());
        held.iter().all(|n| *n == taken.len()).then_some(())
    })
    .await;
    a.channel("resume").await;
    let ledger = a.drained().await;
    assert_eq!(ledger["accepted_by_provider"], taken.len() + 1);
    until("there is room again at the other one too", async || {
        let answer = b.post(&order_update("late", &number(9_998))).await;
        (answer.0 == 200).then_some(())
    })
    .await;
}

/// Keys of the two replicas that come and go with time alone.
fn passing(key: &str) -> bool {
    ["replicas", ":lock:", ":b:", ":pace", "gw:proof:"]
        .iter()
        .any(|part| key.contains(part))
}

fn lasting(redis: &Redis) -> Vec<String> {
    let keys = redis.keys();
    keys.into_iter().filter(|key| !passing(key)).collect()
}

#[tokio::test]
async fn of_messages_settled_long_ago_nothing_is_left_in_redis() {
    on_redis_only!();
    const MESSAGES: usize = 40;
    let stage = Stage::new(json!({ "share_read": 1 }), Options::every_second()).await;
    let setup = stage
        .setup()
        .set("store.retention=10s")
        .set("store.event_retention=1s")
        .env("AMBIGUOUS_SEND", "resend")
        .env("AMBIGUOUS_HOLD", "1s");
    let gateway = Gateway::start(&stage.sandbox, setup).await;
    gateway.accept("warm", &number(9_000)).await;
    until_told(&stage.sandbox, "warm", &["sent", "delivered", "read"]).await;
    let gone = async |what: &str, ids: &[String]| {
        until(what, async || {
            for id in ids {
                if gateway.ops_get(&format!("/api/messages/{id}")).await.0 != 404 {
                    return None;
                }
            }
            Some(())
        })
        .await;
    };
    gone("the first is forgotten", &["warm".into()]).await;
    let constant = lasting(&stage.redis);

    // Every end there is: told, refused by Jumper, sent twice as configured, never answered.
    let outcomes = ["refuse_200", "503", "accept_then_close", "500_before"];
    stage.sandbox.script("send", &outcomes).await;
    accept_all(&gateway, 0..MESSAGES).await;
    let known = gateway.drained().await;
    assert!(
        known["accepted"].as_u64() > Some(MESSAGES as u64),
        "{known}"
    );
    idle(&stage.sandbox).await;
    // Replies, with and without context; early and foreign statuses; what is none of ours.
    let reply = json!({ "to": &number(5)[1..], "text": "Thanks", "kind": "free" });
    stage.sandbox.post("reply", reply).await;
    for (id, word) in [("nobody-1", "read"), ("nobody-2", "sent")] {
        assert_eq!(gateway.event(&status(id, word, 1_930_000_000)).await, 200);
    }
    assert_eq!(gateway.event(&update(json!({ "odd": true }))).await, 200);
    gateway.drained().await;
    let ids: Vec<String> = (0..MESSAGES).map(|n| format!("m{n}")).collect();
    gone("all are forgotten", &ids).await;
    until("their keys are gone", async || {
        let left = lasting(&stage.redis);
        let more: Vec<_> = left.iter().filter(|key| !constant.contains(key)).collect();
        if !more.is_empty() {
            return None;
        }
        Some(())
    })
    .await;
    let ledger = gateway.ledger().await;
    assert_eq!(ledger["lost"], 0, "the ledger forgets nothing: {ledger}");
    assert_eq!(ledger["accepted"], MESSAGES + 1, "{ledger}");
}
