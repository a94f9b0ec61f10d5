//! The answer of Redis to a claim that never arrives, or a claim that Redis carries out long after
//! the process gave up on it: what was taken goes back by itself and is done once. Always on Redis,
//! whatever the other tests use.

use crate::it::replicas::{RATE, Stage, accept_all};
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use crate::kit::redis_server::{Options, on_redis_only};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Of all that goes to Redis only a claim holds these words.
const CLAIM: &[u8] = b"opted out";
/// Only the answer to a take of callbacks holds these.
const CALLBACKS: &[u8] = b"\"status\":{\"status\":";
/// A lease is renewed every 3 s; by the second renewal at the latest all is back.
const BACK: Duration = Duration::from_secs(12);
/// How long a claim is held up: longer than the process waits for an answer, and than a renewal.
const HELD_UP: Duration = Duration::from_secs(5);

/// What is to happen on the road.
#[derive(Default)]
struct Plan {
    /// Claims whose answer is lost.
    lose_claims: usize,
    /// Claims that arrive late.
    hold_claims: usize,
    /// Claims that are on their way and have not arrived.
    held: usize,
    /// Takes of callbacks whose answer is lost.
    lose_callbacks: usize,
}

/// A way to Redis on which things get lost. Ends with the test's process.
struct Road {
    url: String,
    plan: Arc<Mutex<Plan>>,
}

impl Road {
    fn to(socket: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let plan = Arc::new(Mutex::new(Plan::default()));
        let shared = plan.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(redis) = UnixStream::connect(PathBuf::from(&socket)) else {
                    continue;
                };
                let one = Arc::new(Connection {
                    client,
                    redis,
                    plan: shared.clone(),
                    doomed: Mutex::new(false),
                });
                let other = one.clone();
                thread::spawn(move || one.forth());
                thread::spawn(move || other.back());
            }
        });
        Self { url, plan }
    }

    fn plan(&self, plan: Plan) {
        *self.plan.lock().unwrap() = plan;
    }

    /// Everything planned has happened.
    async fn done(&self) {
        until("the road did its harm", async || {
            let plan = self.plan.lock().unwrap();
            let left = plan.lose_claims + plan.hold_claims + plan.held + plan.lose_callbacks;
            (left == 0).then_some(())
        })
        .await;
    }
}

struct Connection {
    client: TcpStream,
    redis: UnixStream,
    plan: Arc<Mutex<Plan>>,
    /// The next answer is lost, and the connection with it.
    doomed: Mutex<bool>,
}

fn take(left: &mut usize) -> bool {
    let any = *left > 0;
    *left -= usize::from(any);
    any
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

impl Connection {
    fn forth(&self) {
        let mut bytes = vec![0; 1 << 20];
        while let Ok(read @ 1..) = (&self.client).read(&mut bytes) {
            let bytes = &bytes[..read];
            if holds(bytes, CLAIM) {
                let mut plan = self.plan.lock().unwrap();
                if take(&mut plan.lose_claims) {
                    *self.doomed.lock().unwrap() = true;
                } else if take(&mut plan.hold_claims) {
                    plan.held += 1;
                    drop(plan);
                    let _ = self.client.shutdown(Shutdown::Both);
                    // waits because the claim is to come late
                    thread::sleep(HELD_UP);
                    let _ = (&self.redis).write_all(bytes);
                    self.plan.lock().unwrap().held -= 1;
                    return;
                }
            }
            if (&self.redis).write_all(bytes).is_err() {
                break;
            }
        }
        let _ = self.redis.shutdown(Shutdown::Write);
    }

    fn back(&self) {
        let mut bytes = vec![0; 1 << 20];
        while let Ok(read @ 1..) = (&self.redis).read(&mut bytes) {
            let bytes = &bytes[..read];
            let lost = *self.doomed.lock().unwrap()
                || (holds(bytes, CALLBACKS) && take(&mut self.plan.lock().unwrap().lose_callbacks));
            if lost || (&self.client).write_all(bytes).is_err() {
                break;
            }
        }
        let _ = self.client.shutdown(Shutdown::Both);
    }
}

async fn stage(rate: &str) -> (Stage, Road, Gateway) {
    let stage = Stage::new(json!({ "event_mode": "none" }), Options::every_second()).await;
    let road = Road::to(stage.redis.socket());
    let setup = stage.setup().by_way_of(&road.url);
    let setup = setup.env("RATE_PER_SECOND", rate);
    let gateway = Gateway::start(&stage.sandbox, setup).await;
    // Redis has every script from here on.
    let id = sent(&gateway, &stage.sandbox, "warm", &number(9_000)).await;
    assert_eq!(
        gateway.event(&status(&id, "sent", 1_930_000_000)).await,
        200
    );
    until_told(&stage.sandbox, "warm", &["sent"]).await;
    gateway.channel("pause").await;
    (stage, road, gateway)
}

/// All were sent once, and of some the taking was lost.
async fn each_once(stage: &Stage, gateway: &Gateway, messages: usize) {
    let ledger = until_within(BACK + PATIENCE, "all are sent", async || {
        let ledger = gateway.ledger().await;
        (ledger["accepted_by_provider"] == messages + 1).then_some(ledger)
    })
    .await;
    assert_eq!((&ledger["failed"], &ledger["lost"]), (&json!(0), &json!(0)));
    let counts = stage.sandbox.counts().await;
    assert_eq!(counts["sends_accepted"], messages + 1, "{counts}");
    assert_eq!(counts["recipients_repeated"], 0, "{counts}");
    let mut back = 0;
    for n in 0..messages {
        let history = gateway.message(&format!("m{n}")).await["history"].to_string();
        back += usize::from(history.contains("never given to a sender"));
        assert!(!history.contains("unknown"), "{history}");
    }
    assert!(back > 0, "no claim was lost");
    let lost = "the answer to a claim was lost";
    gateway.process.said(&[lost]).await;
}

#[tokio::test]
async fn what_was_claimed_when_the_answer_was_lost_is_sent_once() {
    on_redis_only!();
    const MESSAGES: usize = 40;
    let (stage, road, gateway) = stage("off").await;
    accept_all(&gateway, 0..MESSAGES).await;
    road.plan(Plan {
        lose_claims: 2,
        ..Plan::default()
    });
    gateway.channel("resume").await;
    road.done().await;
    each_once(&stage, &gateway, MESSAGES).await;
}

#[tokio::test]
async fn a_claim_that_redis_carries_out_late_sends_nothing_twice_and_keeps_nothing() {
    on_redis_only!();
    const MESSAGES: usize = 40;
    // So slow that the late claim still finds messages to take.
    let (stage, road, gateway) = stage("4").await;
    accept_all(&gateway, 0..MESSAGES).await;
    road.plan(Plan {
        hold_claims: 1,
        ..Plan::default()
    });
    gateway.channel("resume").await;
    road.done().await;
    // A busy machine misses slots, and the rest would take longer than anybody waits.
    let wish = json!({ "per_second": "off" });
    assert_eq!(gateway.ops_send("PUT", RATE, wish).await.0, 200);
    each_once(&stage, &gateway, MESSAGES).await;
}

#[tokio::test]
async fn callbacks_taken_when_the_answer_was_lost_are_told_once() {
    on_redis_only!();
    const MESSAGES: usize = 12;
    let (stage, road, gateway) = stage("off").await;
    gateway.channel("resume").await;
    let mut ids = Vec::new();
    for n in 0..MESSAGES {
        ids.push(sent(&gateway, &stage.sandbox, &format!("m{n}"), &number(n)).await);
    }
    road.plan(Plan {
        lose_callbacks: 2,
        ..Plan::default()
    });
    for word in ["sent", "delivered", "read"] {
        for id in &ids {
            // Jumper repeats what was not answered 200: the connection may break under an event.
            until("the event is taken", async || {
                let answer = gateway.event(&status(id, word, 1_930_000_000)).await;
                (answer == 200).then_some(())
            })
            .await;
        }
    }
    road.done().await;
    let ledger = gateway.drained().await;
    assert_eq!(ledger["callbacks"]["taken"], 3 * MESSAGES + 1, "{ledger}");
    for n in 0..MESSAGES {
        let told = stage.sandbox.told(&format!("m{n}")).await;
        assert_eq!(told, ["sent", "delivered", "read"], "m{n}");
    }
    assert_eq!(stage.sandbox.counts().await["callback_repeated"], 0);
    let lost = "the answer to a claim was lost";
    gateway.process.said(&[lost]).await;
}
