//! Several gateways on one Redis: what one of them leaves behind another finishes, and together
//! they are as careful as one. Always on Redis, whatever the other tests use.

use crate::it::crash::fold_or_unknown;
use crate::it::rate::keeps_to;
use crate::it::repeats::together;
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use crate::kit::redis_server::{Options, Redis, on_redis_only};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const RATE: &str = "/api/accounts/default/rate";

/// The fakes, an empty Redis, and how its replicas are set up.
pub(crate) struct Stage {
    pub(crate) sandbox: Sandbox,
    pub(crate) redis: Arc<Redis>,
}

impl Stage {
    pub(crate) async fn new(knobs: Value, options: Options) -> Self {
        let sandbox = Sandbox::start(knobs).await;
        Self::on(sandbox, options)
    }

    pub(crate) fn on(sandbox: Sandbox, options: Options) -> Self {
        let redis = Arc::new(Redis::start(options));
        Self { sandbox, redis }
    }

    pub(crate) fn setup(&self) -> Setup {
        Setup::towards(&self.sandbox)
            .sharing(&self.redis)
            .set("moengage.max_pause=200ms")
            .env("AMBIGUOUS_HOLD", "2s")
    }

    /// Two replicas; Jumper's events come to the second.
    pub(crate) async fn pair(&self) -> (Gateway, Gateway) {
        let a = Gateway::start_unheard(self.setup());
        let b = Gateway::start(&self.sandbox, self.setup()).await;
        (a, b)
    }

    /// Every message `m0..` was sent exactly once, or reported 7004 and never sent; how many were.
    /// Only what was under way when something died may have been.
    pub(crate) async fn failed_of(&self, gateway: &Gateway, messages: usize) -> usize {
        let counts = self.sandbox.counts().await;
        assert_eq!(counts["recipients_repeated"], 0, "sent twice: {counts}");
        assert_eq!(counts["callback_backwards"], 0, "{counts}");
        assert_eq!(counts["callback_invalid"], 0, "{counts}");
        let sends = self.sandbox.get("sends/by-recipient").await;
        let mut failed = 0;
        for n in 0..messages {
            let id = format!("m{n}");
            let message = gateway.message(&id).await;
            let sends = sends[&number(n)[1..]].as_u64().unwrap_or(0);
            match message["state"].as_str() {
                _ if is_sent(&message) => assert_eq!(sends, 1, "{message}"),
                Some("failed") => {
                    assert_eq!(sends, 0, "there was evidence: {message}");
                    let told = self.sandbox.entries(&id).await;
                    assert_eq!(told[0]["error"]["code"], "7004", "{told:?}");
                    let history = gateway.history(&id).await;
                    assert!(history.contains(&"unknown".to_owned()), "{history:?}");
                    failed += 1;
                }
                _ => panic!("{id} is lost: {message}"),
            }
        }
        failed
    }

    /// Jumper takes so many sends.
    pub(crate) async fn until_sent(&self, least: usize) {
        until(&format!("{least} messages are sent"), async || {
            let sent = self.sandbox.counts().await["sends_accepted"].as_u64();
            (sent >= Some(least as u64)).then_some(())
        })
        .await;
    }
}

/// Statuses that are repeated until a gateway takes them.
pub(crate) fn patient_events() -> Value {
    json!({ "share_read": 0.7, "event_delay_ms": 20, "event_jitter_ms": 40, "latency_ms": 20,
        "webhook_retries": 600, "webhook_retry_ms": 20, "webhook_retry_max_ms": 100 })
}

/// Posts `m<from>..m<to>` at a gateway, a few at once.
pub(crate) async fn accept_all(gateway: &Gateway, numbers: impl Iterator<Item = usize>) {
    let bodies = numbers.map(|n| order_update(&format!("m{n}"), &number(n)));
    for answer in together(gateway, bodies.collect()).await {
        assert_eq!(answer, (200, json!({ "status": "success" })));
    }
}

#[tokio::test]
async fn a_replica_killed_in_the_middle_of_a_campaign_costs_nothing_and_the_other_finishes_it() {
    on_redis_only!();
    const MESSAGES: usize = 200;
    let stage = Stage::new(patient_events(), Options::every_second()).await;
    let setup = stage.setup().env("RATE_PER_SECOND", "100");
    let mut a = Gateway::start(&stage.sandbox, setup.clone()).await;
    // Two sends that are certainly under way at the kill: Jumper took the first.
    let outcomes = ["accept_then_slow:60", "hang:60"];
    for (n, outcome) in outcomes.iter().enumerate() {
        stage.sandbox.script("send", &[outcome]).await;
        a.accept(&format!("m{n}"), &number(n)).await;
        a.until_state(&format!("m{n}"), "sending").await;
        // The first outcome is spent before the second is there.
        stage.until_sent(1).await;
    }
    let b = Gateway::start(&stage.sandbox, setup).await;
    accept_all(&a, (2..MESSAGES).step_by(2)).await;
    accept_all(&b, (3..MESSAGES).step_by(2)).await;
    stage.until_sent(MESSAGES / 4).await;
    a.process.kill();
    until_within(2 * TAKE_OVER, "the other has taken over", async || {
        let mut under_way = 0;
        for id in ["m0", "m1"] {
            under_way += usize::from(b.message(id).await["state"] == "sending");
        }
        (under_way == 0).then_some(())
    })
    .await;
    let ledger = b.drained().await;
    idle(&stage.sandbox).await;
    b.drained().await;
    assert_eq!(
        (&ledger["accepted"], &ledger["lost"]),
        (&json!(MESSAGES), &json!(0))
    );
    let m0 = b.message("m0").await;
    assert_eq!(m0["receipt_inferred"], true, "its statuses prove it: {m0}");
    assert_eq!(b.message("m1").await["state"], "failed");
    let failed = stage.failed_of(&b, MESSAGES).await;
    assert!((1..=16).contains(&failed), "{failed} were under way");
    assert_eq!(stage.sandbox.counts().await["events_failed"], 0);
    fold_or_unknown(&stage.sandbox, &b, MESSAGES).await;
}

#[tokio::test]
async fn a_replica_that_is_ordered_to_stop_leaves_nothing_unknown_and_the_other_goes_on() {
    on_redis_only!();
    const MESSAGES: usize = 200;
    let stage = Stage::new(patient_events(), Options::every_second()).await;
    let setup = stage.setup().env("RATE_PER_SECOND", "80");
    let setup = setup.env("CONCURRENT_API_CALLS", "12");
    let mut a = Gateway::start_unheard(setup.clone());
    let b = Gateway::start(&stage.sandbox, setup).await;
    accept_all(&a, (0..MESSAGES).step_by(2)).await;
    accept_all(&b, (1..MESSAGES).step_by(2)).await;
    stage.until_sent(MESSAGES / 4).await;
    a.process.terminate();
    let (a, code) = tokio::task::spawn_blocking(move || {
        let code = a.process.wait();
        (a, code)
    })
    .await
    .unwrap();
    assert_eq!(code, Some(0), "{}", a.process.output());
    let known = stage.redis.cli(&["ZCARD", "gw:{default}:replicas"]);
    assert_eq!(known, "1", "what it left has to wait for its lease");
    let ledger = b.drained().await;
    assert_eq!(
        (&ledger["accepted"], &ledger["failed"], &ledger["lost"]),
        (&json!(MESSAGES), &json!(0), &json!(0))
    );
    for n in 0..MESSAGES {
        let history = b.history(&format!("m{n}")).await;
        assert!(
            !history.contains(&"unknown".to_owned()),
            "m{n}: {history:?}"
        );
    }
    assert_eq!(stage.failed_of(&b, MESSAGES).await, 0);
    idle(&stage.sandbox).await;
    b.drained().await;
    assert_fold(&stage.sandbox, MESSAGES, true).await;
}

#[tokio::test]
async fn a_message_repeated_at_another_replica_is_sent_once() {
    on_redis_only!();
    let stage = Stage::new(json!({ "event_mode": "none" }), Options::every_second()).await;
    let (a, b) = stage.pair().await;
    sent(&a, &stage.sandbox, "m0", &number(0)).await;
    let known = b.message("m0").await;
    assert!(is_sent(&known), "one store for all: {known}");
    b.accept("m0", &number(0)).await;
    // And many at once at both.
    let body = order_update("m1", &number(1));
    let (at_a, at_b) = tokio::join!(
        together(&a, vec![body.clone(); 25]),
        together(&b, vec![body; 25])
    );
    for answer in at_a.into_iter().chain(at_b) {
        assert_eq!(answer, (200, json!({ "status": "success" })));
    }
    assert_eq!(a.drained().await["accepted"], 2);
    assert_eq!(b.ledger().await["accepted"], 2, "one ledger for all");
    assert_eq!(stage.sandbox.counts().await["calls"]["send"], 2);
}

#[tokio::test]
async fn statuses_and_replies_that_come_to_another_replica_are_told_once_and_in_order() {
    on_redis_only!();
    const MESSAGES: usize = 20;
    let stage = Stage::new(json!({ "event_mode": "none" }), Options::every_second()).await;
    let (a, b) = stage.pair().await;
    let mut ids = Vec::new();
    for n in 0..MESSAGES {
        ids.push(sent(&a, &stage.sandbox, &format!("m{n}"), &number(n)).await);
    }
    for word in ["sent", "delivered", "read"] {
        for (n, id) in ids.iter().enumerate() {
            let at = if n % 2 == 0 { &b } else { &a };
            // Jumper repeats what it holds unanswered, and may find another replica.
            for gateway in [at, &b] {
                assert_eq!(gateway.event(&status(id, word, 1_930_000_000)).await, 200);
            }
        }
    }
    b.drained().await;
    for n in 0..MESSAGES {
        let told = stage.sandbox.told(&format!("m{n}")).await;
        assert_eq!(told, ["sent", "delivered", "read"], "m{n}");
    }
    for text in ["one", "two", "three"] {
        let reply = json!({ "message_id": ids[0], "text": text, "kind": "quoted" });
        assert_eq!(stage.sandbox.post("reply", reply).await["status"], 200);
    }
    b.drained().await;
    let entries = stage.sandbox.entries("m0").await;
    let texts = entries.iter().filter(|one| one["text"].is_object());
    let texts: Vec<_> = texts.map(|one| one["text"]["body"].clone()).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    assert_eq!(stage.sandbox.counts().await["callback_repeated"], 0);
}

#[tokio::test]
async fn a_pause_at_one_replica_stops_the_other_and_a_rate_set_at_one_holds_for_both() {
    on_redis_only!();
    const MESSAGES: usize = 60;
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let stage = Stage::on(sandbox, Options::every_second());
    let (a, b) = stage.pair().await;
    sent(&b, &stage.sandbox, "warm", "+12025559999").await;
    a.channel("pause").await;
    let paused = async |wanted: bool| {
        until("the other knows", async || {
            let shown = b.ops_get("/api/channels").await.1;
            (shown["channels"][0]["paused"] == wanted).then_some(())
        })
        .await;
    };
    paused(true).await;
    accept_all(&b, 0..MESSAGES).await;
    // waits because nothing is to happen
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(stage.sandbox.counts().await["sends_accepted"], 1);
    assert_eq!(b.ledger().await["held"], MESSAGES);
    let wish = json!({ "per_second": 20, "concurrency": 4 });
    assert_eq!(a.ops_send("PUT", RATE, wish).await.0, 200);
    until("the other has the rate", async || {
        let rate = b.account().await["rate"].clone();
        (rate["per_second"] == 20.0 && rate["layer"] == "runtime").then_some(())
    })
    .await;
    stage.sandbox.post("reset", json!({})).await;
    a.channel("resume").await;
    paused(false).await;
    b.drained().await;
    assert_eq!(stage.sandbox.counts().await["sends_accepted"], MESSAGES);
    let arrivals = stage.sandbox.get("rate").await;
    keeps_to(20, &arrivals);
    // Who joins later knows it too.
    let c = Gateway::start_unheard(stage.setup());
    assert_eq!(c.account().await["rate"]["per_second"], 20.0);
}

/// Starts so many replicas at the same moment.
async fn start_together(setup: &Setup, many: usize) -> Vec<Gateway> {
    let starts = (0..many).map(|_| {
        let setup = setup.clone();
        tokio::task::spawn_blocking(move || Gateway::start_unheard(setup))
    });
    let mut replicas = Vec::new();
    for one in starts.collect::<Vec<_>>() {
        replicas.push(one.await.unwrap());
    }
    replicas
}

#[tokio::test]
async fn four_replicas_started_at_once_exchange_the_seed_once_and_subscribe_once() {
    on_redis_only!();
    let knobs = json!({ "event_mode": "none", "refresh_slow_ms": 300,
        "subscription_mode": "append" });
    let stage = Stage::new(knobs, Options::every_second()).await;
    let own = "http://127.0.0.1:9/jumper_callback";
    let setup = stage
        .setup()
        .env("SUBSCRIBED_CALLBACK_URL", own)
        .set("jumper.subscription_check=1s");
    let replicas = start_together(&setup, 4).await;
    let ours = format!("{own}/{SECRET}");
    let entries = async || {
        let list = stage.sandbox.get("subscriptions").await;
        let ours = |one: &&Value| one["webhook"] == ours.as_str();
        list.as_array().unwrap().iter().filter(ours).count()
    };
    until("the webhook is there", async || {
        (entries().await > 0).then_some(())
    })
    .await;
    until("every replica has looked once more", async || {
        let counts = stage.sandbox.counts().await;
        (counts["calls"]["list_subscription"].as_u64() >= Some(8)).then_some(())
    })
    .await;
    assert_eq!(entries().await, 1, "one entry for all");
    for (n, replica) in replicas.iter().enumerate() {
        sent(replica, &stage.sandbox, &format!("m{n}"), &number(n)).await;
        assert_eq!(replica.account().await["token"]["state"], "fresh");
    }
    let counts = stage.sandbox.counts().await;
    assert_eq!(
        (&counts["refreshes"], &counts["refreshes_denied"]),
        (&json!(1), &json!(0)),
        "{counts}"
    );
}

#[tokio::test]
async fn four_replicas_and_a_token_that_is_refused_make_one_refresh() {
    on_redis_only!();
    let knobs = json!({ "event_mode": "none", "refresh_slow_ms": 300, "token_ttl_s": 8 });
    let stage = Stage::new(knobs, Options::every_second()).await;
    let replicas = start_together(&stage.setup(), 4).await;
    for (n, replica) in replicas.iter().enumerate() {
        sent(replica, &stage.sandbox, &format!("m{n}"), &number(n)).await;
    }
    let before = stage.sandbox.counts().await;
    stage.sandbox.knobs(json!({ "token_ttl_s": 86_400 })).await;
    // Its end alone would renew nothing within its first minute: it is used until Jumper refuses it.
    stage.sandbox.post("token/revoke-access", json!({})).await;
    let (r, rest) = replicas.split_at(2);
    tokio::join!(
        accept_all(&r[0], 10..30),
        accept_all(&r[1], 30..50),
        accept_all(&rest[0], 50..70),
        accept_all(&rest[1], 70..90),
    );
    let ledger = replicas[0].drained().await;
    assert_eq!(ledger["accepted_by_provider"], 84, "{ledger}");
    let counts = stage.sandbox.counts().await;
    let more = |name: &str| counts[name].as_u64().unwrap() - before[name].as_u64().unwrap();
    assert_eq!((more("refreshes"), more("refreshes_denied")), (1, 0));
    assert_eq!(counts["max_refreshes_at_once"], 1);
    assert_eq!(counts["recipients_repeated"], 0);
}

#[tokio::test]
async fn the_rate_is_never_exceeded_while_replicas_die_and_join() {
    on_redis_only!();
    const MESSAGES: usize = 600;
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let stage = Stage::on(sandbox, Options::every_second());
    let setup = stage.setup().env("RATE_PER_SECOND", "80");
    let setup = setup.env("CONCURRENT_API_CALLS", "12");
    let mut replicas = start_together(&setup, 3).await;
    sent(&replicas[0], &stage.sandbox, "warm", "+12025559999").await;
    replicas[0].channel("pause").await;
    for chunk in 0..6 {
        accept_all(&replicas[chunk % 3], chunk * 100..(chunk + 1) * 100).await;
    }
    stage.sandbox.post("reset", json!({})).await;
    replicas[0].channel("resume").await;
    stage.until_sent(150).await;
    replicas[2].process.kill();
    stage.until_sent(300).await;
    replicas.push(Gateway::start_unheard(setup));
    let ledger = replicas[0].drained().await;
    assert_eq!(
        (&ledger["accepted"], &ledger["lost"]),
        (&json!(MESSAGES + 1), &json!(0))
    );
    let arrivals = stage.sandbox.get("rate").await;
    keeps_to(80, &arrivals);
    let counts = stage.sandbox.counts().await;
    assert_eq!(counts["recipients_repeated"], 0, "{counts}");
}

#[tokio::test]
async fn after_an_outage_of_moengage_two_replicas_tell_each_status_once() {
    on_redis_only!();
    const MESSAGES: usize = 60;
    let knobs = json!({ "moengage_status": 500, "share_read": 1, "event_delay_ms": 20 });
    let stage = Stage::new(knobs, Options::every_second()).await;
    let (a, b) = stage.pair().await;
    accept_all(&a, (0..MESSAGES).step_by(2)).await;
    accept_all(&b, (1..MESSAGES).step_by(2)).await;
    idle(&stage.sandbox).await;
    until("MoEngage has turned them down", async || {
        let turned_down = |one: &Gateway| {
            let output = one.process.output();
            output.contains("MoEngage does not take callbacks")
        };
        (turned_down(&a) || turned_down(&b)).then_some(())
    })
    .await;
    until("one queue for all has every status", async || {
        (a.ledger().await["callbacks"]["waiting"] == 3 * MESSAGES).then_some(())
    })
    .await;
    stage.sandbox.knobs(json!({ "moengage_status": 200 })).await;
    let ledger = a.drained().await;
    assert_eq!(ledger["callbacks"]["taken"], 3 * MESSAGES);
    let counts = stage.sandbox.counts().await;
    assert_eq!(counts["callback_repeated"], 0, "{counts}");
    assert_fold(&stage.sandbox, MESSAGES, false).await;
}
