//! What an enemy could put into Redis: by our own door, as an id or a text, or by another user of the
//! same server. It stays data; nobody's program runs.

use crate::it::replicas::Stage;
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use crate::kit::redis_server::{Options, on_redis_only};
use serde_json::json;

const KEYS: &str = "gw:{default}:";

/// Texts that would be more than texts to a careless script, protocol or key.
const TEXTS: [&str; 8] = [
    "' .. redis.call('SET','pwned','1') .. '",
    "]] redis.call('SET','pwned','1') --[[",
    "*3\r\n$3\r\nSET\r\n$5\r\npwned\r\n$1\r\n1\r\n",
    "m} {other}:x",
    "1|0|0|x|y",
    "\",\"s\":\"4\",\"x\":\"",
    "nul\u{0}and\u{1b}\u{2028}",
    "%d%s%n",
];

#[tokio::test]
async fn ids_and_texts_of_others_stay_data_in_keys_values_and_scripts() {
    on_redis_only!();
    let stage = Stage::new(json!({ "event_mode": "none" }), Options::every_second()).await;
    let gateway = Gateway::start(&stage.sandbox, stage.setup()).await;
    for (n, text) in TEXTS.iter().enumerate() {
        let to = number(n);
        let mut message = order_update("m", &to);
        message["msg_id"] = json!(text);
        message["template"]["components"][0]["parameters"][0]["text"] = json!(text);
        gateway.accept_body(&message).await;
        gateway.accept_body(&message).await;
        let sent = until("it is sent", async || {
            stage.sandbox.sends_to(&to[1..]).await.first().cloned()
        })
        .await;
        let id = sent["message_id"].as_str().unwrap();
        assert_eq!(sent["message_params"]["BODY"][0][text], "text", "{sent}");
        // Early and unmatched ones under hostile ids, then its own.
        let mut early = vonage(text, "failed");
        early["event"]["data"]["error"] = json!(text);
        let reply = json!({ "event": { "type": "NEW", "data": { "messageid": text,
            "mobile": &to[1..], "message": text, "replytomessage": { "messageid": id } } } });
        for event in [early, reply, status(id, "read", 1_930_000_000)] {
            assert_eq!(gateway.event(&event).await, 200);
        }
    }
    let ledger = gateway.drained().await;
    assert_eq!(
        (&ledger["accepted"], &ledger["accepted_by_provider"]),
        (&json!(8), &json!(8))
    );
    let told = stage.sandbox.get("callbacks?limit=1000").await;
    for text in TEXTS {
        let of_it = |one: &&serde_json::Value| {
            one["raw"]["msg_id"] == text || one["raw"]["context"]["msg_id"] == text
        };
        assert_eq!(
            told.as_array().unwrap().iter().filter(of_it).count(),
            2,
            "{text:?} {told}"
        );
    }
    assert_eq!(stage.redis.cli(&["EXISTS", "pwned"]), "0");
    // The first braces of a key decide where it lives, and they are ours.
    for key in stage.redis.keys() {
        let ours = key.starts_with(KEYS) || key.starts_with("gw:") && !key.contains('{');
        let old = ["jumper_auth_token", "jumper_refresh_token"].contains(&key.as_str());
        let goes_on = TEXTS
            .iter()
            .any(|text| text.contains('\n') && text.contains(&key));
        assert!(ours || old || goes_on, "{key:?}");
    }
}

#[tokio::test]
async fn what_another_user_of_the_server_writes_over_our_values_runs_nothing_and_stops_nobody_else()
{
    on_redis_only!();
    let stage = Stage::new(json!({ "event_mode": "none" }), Options::every_second()).await;
    let gateway = Gateway::start(&stage.sandbox, stage.setup()).await;
    sent(&gateway, &stage.sandbox, "first", &number(90)).await;
    gateway.channel("pause").await;
    for n in 0..TEXTS.len() {
        gateway.accept(&format!("m{n}"), &number(n)).await;
    }
    gateway.accept("good", &number(91)).await;
    for (n, text) in TEXTS
        .iter()
        .enumerate()
        .filter(|(_, text)| !text.contains('\0'))
    {
        let id = stage.redis.cli(&["GET", &format!("{KEYS}i:default:m{n}")]);
        stage.redis.cli(&["SET", &format!("{KEYS}d:{id}"), text]);
        stage
            .redis
            .cli(&["RPUSH", &format!("{KEYS}e:evil-{n}"), text]);
        stage
            .redis
            .cli(&["HSET", "gw:runtime", &format!("what:{n}"), text]);
    }
    stage
        .redis
        .cli(&["HSET", "gw:runtime", "pace:default", TEXTS[0]]);
    stage
        .redis
        .cli(&["SET", &format!("{KEYS}templates"), TEXTS[1]]);
    stage
        .redis
        .cli(&["HSET", &format!("{KEYS}token"), "access", "x\r\nx-evil: 1"]);
    let gateway = gateway.crash_and_restart(&stage.sandbox).await;
    gateway.channel("resume").await;
    gateway.until_sent("good").await;
    sent(&gateway, &stage.sandbox, "next", &number(92)).await;
    assert_eq!(gateway.ready().await.0, 200);
    assert_eq!(stage.redis.cli(&["EXISTS", "pwned"]), "0");
    let log = gateway.process.output();
    assert!(!log.contains("panicked"), "{log}");
    assert!(!log.contains('\u{1b}'));
}

/// A script is known by its text alone; what differs from call to call are its arguments.
#[test]
fn no_script_of_the_store_makes_a_program_of_a_value() {
    let place = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/redis");
    let mut seen = 0;
    for dir in [place.to_owned(), format!("{place}/lua")] {
        for file in std::fs::read_dir(dir).unwrap() {
            let path = file.unwrap().path();
            if !path.is_file() || path.ends_with("tests.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            seen += text.matches("redis.call").count();
            for word in [
                "loadstring(",
                " load(",
                "dofile(",
                "setfenv(",
                "getfenv(",
                "debug.",
                "EVAL\"",
            ] {
                let called = text.lines().find(|line| line.contains(word));
                assert_eq!(called, None, "{word} in {}", path.display());
            }
        }
    }
    assert!(seen > 10, "the scripts were found");
}
