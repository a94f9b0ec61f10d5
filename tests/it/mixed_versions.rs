//! Rows of a newer version in a Redis that an older gateway serves too, as in a rolling upgrade or
//! after one was taken back: they are left for the newer, and everything else goes on. Always on
//! Redis, whatever the other tests use.

use crate::it::replicas::{Stage, accept_all};
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use crate::kit::redis_server::{Options, Redis, on_redis_only};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const KEYS: &str = "gw:{default}:";

/// Rewrites a value as a program of the next version would have written it, or back.
fn rewrite(redis: &Redis, key: &str, newer: bool) {
    // Another version, and a member that the older program cannot do without has another name.
    let script = "local text, n = redis.call('GET', KEYS[1]), 0
        for at = 1, #ARGV, 2 do
          text, n = string.gsub(text, ARGV[at], ARGV[at + 1], 1)
          if n ~= 1 then return 'no ' .. ARGV[at] end
        end
        redis.call('SET', KEYS[1], text) return 'done'";
    let forth = ["{\"v\":1,", "{\"v\":9,", "\"at\":", "\"moment\":"];
    let back = ["{\"v\":9,", "{\"v\":1,", "\"moment\":", "\"at\":"];
    let words = if newer { forth } else { back };
    let of_message = words.map(|word| word.replace("at", "lang").replace("moment", "tongue"));
    let words = if key.starts_with(&format!("{KEYS}d:")) {
        of_message.each_ref().map(String::as_str)
    } else {
        words
    };
    assert_eq!(redis.eval(script, key, &words), "done", "{key}");
}

/// Where the row of a message is.
fn row_of(redis: &Redis, msg_id: &str) -> String {
    let id = redis.cli(&["GET", &format!("{KEYS}i:default:{msg_id}")]);
    format!("{KEYS}d:{id}")
}

/// How many scripts Redis has run.
fn scripts(redis: &Redis) -> u64 {
    let stats = redis.cli(&["INFO", "commandstats"]);
    let calls = stats.split("cmdstat_evalsha:calls=").nth(1).unwrap();
    calls.split(',').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn messages_of_a_newer_version_are_left_and_all_others_are_sent() {
    on_redis_only!();
    const NEWER: usize = 300;
    const OURS: usize = 20;
    let stage = Stage::new(json!({ "event_mode": "none" }), Options::every_second()).await;
    let gateway = Gateway::start_unheard(stage.setup().env("RATE_PER_SECOND", "5"));
    sent(&gateway, &stage.sandbox, "warm", &number(9_000)).await;
    gateway.channel("pause").await;
    accept_all(&gateway, 0..NEWER).await;
    accept_all(&gateway, NEWER..NEWER + OURS).await;
    for n in 0..NEWER {
        rewrite(&stage.redis, &row_of(&stage.redis, &format!("m{n}")), true);
    }
    gateway.channel("resume").await;
    // They stand before ours, and at five a second ours would wait a minute longer for their permits:
    // none may be used up for them.
    let began = Instant::now();
    stage.until_sent(1 + OURS).await;
    assert!(
        began.elapsed() < Duration::from_secs(45),
        "{OURS} at 5 a second took {:?}",
        began.elapsed()
    );
    let wish = json!({ "per_second": "off" });
    let path = "/api/accounts/default/rate";
    assert_eq!(gateway.ops_send("PUT", path, wish).await.0, 200);
    let before = scripts(&stage.redis);
    // waits because a busy loop shows in time alone
    tokio::time::sleep(Duration::from_secs(5)).await;
    let runs = scripts(&stage.redis) - before;
    assert!(runs < 250, "{runs} scripts in 5 s with nothing to do");
    let ledger = gateway.ledger().await;
    assert_eq!(
        (&ledger["queued"], &ledger["failed"], &ledger["lost"]),
        (&json!(NEWER), &json!(0), &json!(0)),
        "{ledger}"
    );
    let output = gateway.process.said(&["Upgrade this process"]).await;
    let told = output.matches("written by a newer version").count();
    assert_eq!(told, 1, "told once, not for each: {output}");
    // Readable again: sent soon, and before what came later.
    accept_all(&gateway, NEWER + OURS..NEWER + OURS + 5).await;
    for n in 0..NEWER {
        rewrite(&stage.redis, &row_of(&stage.redis, &format!("m{n}")), false);
    }
    until("the first of them is sent", async || {
        let sends = stage.sandbox.sends_to(&number(0)[1..]).await;
        (sends.len() == 1).then_some(())
    })
    .await;
    let ledger = gateway.drained().await;
    assert_eq!(ledger["accepted_by_provider"], 1 + NEWER + OURS + 5);
    assert_eq!(gateway.message("m0").await["attempts"], 1);
    assert_eq!(stage.sandbox.counts().await["recipients_repeated"], 0);
}

#[tokio::test]
async fn whoever_asks_for_a_message_of_a_newer_version_is_told_what_is_known() {
    on_redis_only!();
    let stage = Stage::new(json!({ "event_mode": "none" }), Options::every_second()).await;
    let gateway = Gateway::start_unheard(stage.setup());
    sent(&gateway, &stage.sandbox, "old", &number(1)).await;
    gateway.channel("pause").await;
    gateway.accept("new", &number(1)).await;
    rewrite(&stage.redis, &row_of(&stage.redis, "new"), true);
    let (status, found) = gateway.ops_get("/api/messages/new").await;
    assert_eq!(
        (status, &found["state"]),
        (200, &json!("waiting")),
        "{found}"
    );
    let reason = found["template"].as_str().unwrap();
    assert!(reason.contains("newer version (9)"), "{reason}");
    // And who asks for the person is told of the other one too.
    let person = json!({ "id": &number(1)[1..] });
    let (status, found) = gateway.ops_send("POST", "/api/search", person).await;
    assert_eq!(status, 200, "{found}");
    let text = found.to_string();
    assert!(
        text.contains("\"old\"") && text.contains("\"new\""),
        "{text}"
    );
    // A status of its receipt, and a repeat, are what they always were.
    gateway.accept("new", &number(1)).await;
    assert_eq!(gateway.ledger().await["accepted"], 2);
}

#[tokio::test]
async fn callbacks_of_a_newer_version_are_left_and_all_others_are_told() {
    on_redis_only!();
    const MESSAGES: usize = 5;
    let knobs = json!({ "event_mode": "none", "moengage_status": 500 });
    let stage = Stage::new(knobs, Options::every_second()).await;
    let mut gateway = Gateway::start(&stage.sandbox, stage.setup()).await;
    for n in 0..MESSAGES {
        let id = sent(&gateway, &stage.sandbox, &format!("m{n}"), &number(n)).await;
        for word in ["sent", "read"] {
            assert_eq!(gateway.event(&status(&id, word, 1_930_000_000)).await, 200);
        }
    }
    // A process that runs may have read the row before it is rewritten, and would tell it.
    gateway.process.terminate();
    assert_eq!(gateway.process.wait(), Some(0));
    let mine = |key: &&String| {
        let row = stage.redis.cli(&["GET", key]);
        row.contains("\"m0\"") && row.contains("\"sent\"")
    };
    let keys = stage.redis.keys();
    let mut callbacks = keys
        .iter()
        .filter(|key| key.starts_with(&format!("{KEYS}c:")));
    let first = callbacks.find(mine).unwrap();
    rewrite(&stage.redis, first, true);
    stage.sandbox.knobs(json!({ "moengage_status": 200 })).await;
    let mut gateway = gateway.restart(&stage.sandbox).await;
    for n in 1..MESSAGES {
        until_told(&stage.sandbox, &format!("m{n}"), &["sent", "read"]).await;
    }
    until("it was looked at and left", async || {
        let output = gateway.process.output();
        let told = output.contains("callbacks were written by a newer version");
        (told && output.contains("Upgrade this process")).then_some(())
    })
    .await;
    // MoEngage has heard of the others before the store hears that it did.
    let ledger = until("the two of the newer version wait", async || {
        let ledger = gateway.ledger().await;
        (ledger["callbacks"]["waiting"] == 2).then_some(ledger)
    })
    .await;
    assert_eq!(ledger["callbacks"]["dead_letters"], 0, "{ledger}");
    let told = stage.sandbox.told("m0").await;
    assert!(told.is_empty(), "what follows waits behind it: {told:?}");
    let shown = gateway.message("m0").await["callbacks"].to_string();
    assert!(shown.contains("newer version"), "{shown}");
    // Upgraded, so that it can read them: told in order, and once.
    gateway.process.terminate();
    assert_eq!(gateway.process.wait(), Some(0));
    rewrite(&stage.redis, first, false);
    let gateway = gateway.restart(&stage.sandbox).await;
    until_told(&stage.sandbox, "m0", &["sent", "read"]).await;
    gateway.drained().await;
    assert_eq!(stage.sandbox.counts().await["callback_repeated"], 0);
}

/// What stands beside the queue may be of a newer version too: it is used as far as it can be read.
#[tokio::test]
async fn tokens_templates_and_settings_of_a_newer_version_stop_no_process() {
    on_redis_only!();
    let stage = Stage::new(json!({ "event_mode": "none" }), Options::every_second()).await;
    let first = Gateway::start_unheard(stage.setup());
    sent(&first, &stage.sandbox, "m0", &number(0)).await;
    drop(first);
    let redis = &stage.redis;
    redis.cli(&[
        "HSET",
        &format!("{KEYS}token"),
        "v",
        "2",
        "scopes",
        "[\"a\"]",
    ]);
    redis.cli(&["SET", &format!("{KEYS}templates"), "{\"v\":2,\"lists\":{}}"]);
    redis.cli(&["HSET", "gw:runtime", "paused:default", "{\"until\":5}"]);
    redis.cli(&["HSET", "gw:runtime", "pace:default", "{\"per_day\":5}"]);
    redis.cli(&["HSET", "gw:runtime", "what_nobody_knows:default", "1"]);
    let gateway = Gateway::start_unheard(stage.setup());
    assert_eq!(gateway.ready().await.0, 200);
    sent(&gateway, &stage.sandbox, "m1", &number(1)).await;
    // A refresh leaves what it does not know as it is.
    let path = "/api/accounts/default/token/refresh";
    assert_eq!(gateway.ops_send("POST", path, json!({})).await.0, 200);
    assert_eq!(
        redis.cli(&["HGET", &format!("{KEYS}token"), "scopes"]),
        "[\"a\"]"
    );
    drop(gateway);

    // A pair that cannot be read at all: everything but sending goes on, and nothing is thrown away.
    let token = format!("{KEYS}token");
    let kept = redis.cli(&["HGET", &token, "expires_at"]);
    redis.cli(&["HSET", &token, "expires_at", "2031-01-01T00:00:00Z"]);
    let gateway = Gateway::start_unheard(stage.setup());
    gateway.accept("m2", &number(2)).await;
    assert_eq!(gateway.ready().await.0, 200);
    assert_eq!(
        redis.cli(&["HGET", &token, "expires_at"]),
        "2031-01-01T00:00:00Z"
    );
    redis.cli(&["HSET", &token, "expires_at", &kept]);
    let sent = until("it heals by itself", async || {
        let sends = stage.sandbox.sends_to(&number(2)[1..]).await;
        (!sends.is_empty()).then_some(sends)
    })
    .await;
    assert_eq!(sent.len(), 1);
    let counts: Value = stage.sandbox.counts().await;
    assert_eq!(
        (&counts["refreshes"], &counts["refreshes_denied"]),
        (&json!(2), &json!(0))
    );
}
