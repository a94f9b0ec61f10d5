//! What docs/redis.md and `config/compose.yaml` tell an operator to do, done: a user of Redis with no
//! more than it needs, the tokens of the old connector taken over and given back, the installation
//! of the compose file. Always on Redis, whatever the other tests use.

use crate::it::emulator::Emulator;
use crate::it::replicas::Stage;
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use crate::kit::redis_server::{Options, on_redis_only};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const PAGE: &str = include_str!("../../docs/redis.md");
const COMPOSE: &str = include_str!("../../config/compose.yaml");

/// What the line of the page permits, as `ACL SETUSER` takes it.
fn rules() -> Vec<&'static str> {
    let line = PAGE.lines().find(|l| l.starts_with("user gateway on "));
    let line = line.expect("the page has a line for the user of Redis");
    line.split_whitespace().skip(2).collect()
}

/// What Redis refused to its users, without what the client only offers (Redis 7.2).
fn refused(stage: &Stage) -> Vec<String> {
    let log = stage.redis.cli(&["ACL", "LOG"]);
    let lines: Vec<&str> = log.lines().collect();
    let objects = lines.windows(2).filter(|pair| pair[0] == "object");
    let objects = objects.map(|pair| pair[1].to_owned());
    objects.filter(|one| one != "client|setinfo").collect()
}

#[tokio::test]
async fn a_redis_user_with_the_rules_of_the_readme_may_do_all_that_the_gateway_does() {
    on_redis_only!();
    let stage = Stage::new(json!({ "share_read": 1 }), Options::every_second()).await;
    let mut limited = vec!["ACL", "SETUSER", "gateway"];
    limited.extend(rules());
    assert_eq!(stage.redis.cli(&limited), "OK");
    let emulator = Emulator::start().await;
    let url = format!("{}?user=gateway&pass=PASSWORD&db=1", stage.redis.url());
    let setup = stage.setup().env("REDIS_URL", &url).recording(&emulator);
    let mut gateway = Gateway::start(&stage.sandbox, setup).await;
    let id = sent(&gateway, &stage.sandbox, "m0", &number(0)).await;
    until_told(&stage.sandbox, "m0", &["sent", "delivered", "read"]).await;
    let stop = json!({ "message_id": id, "text": "STOP", "kind": "quoted" });
    assert_eq!(stage.sandbox.post("reply", stop).await["status"], 200);
    let again = gateway.post(&order_update("m1", &number(0))).await;
    assert_eq!(code_of(&again), "7003");
    gateway.channel("pause").await;
    gateway.channel("resume").await;
    // Redis forgets its user for a while; that heals by itself.
    stage.redis.cli(&["ACL", "DELUSER", "gateway"]);
    until("it is told that Redis refuses us", async || {
        let (status, ready) = gateway.ready().await;
        let reason = ready["reason"].as_str().unwrap_or_default().to_owned();
        (status == 503 && reason.contains("refuses the user")).then_some(())
    })
    .await;
    assert_eq!(stage.redis.cli(&limited), "OK");
    until("it is ready again", async || {
        (gateway.ready().await.0 == 200).then_some(())
    })
    .await;
    stage.redis.cli(&["ACL", "LOG", "RESET"]);
    // A send that nobody ends, taken over by the next process.
    stage.sandbox.script("send", &["accept_then_slow:60"]).await;
    gateway.accept("m2", &number(2)).await;
    gateway.until_state("m2", "sending").await;
    stage.until_sent(2).await;
    gateway = gateway.crash_and_restart(&stage.sandbox).await;
    // Accepted or failed: its statuses may have come while nobody listened.
    gateway.drained().await;
    assert!(gateway.history("m2").await.contains(&"unknown".to_owned()));
    let mut setup = gateway.setup();
    for pair in ["store.retention=1s", "store.event_retention=1s"] {
        setup = setup.set(pair);
    }
    let _gateway = gateway.restart_with(&stage.sandbox, setup).await;
    until("what is old is gone", async || {
        let key = "gw:{default}:i:default:m0";
        (stage.redis.cli(&["-n", "1", "EXISTS", key]) == "0").then_some(())
    })
    .await;
    assert_eq!(
        stage.redis.cli(&["DBSIZE"]),
        "0",
        "it used the database it was told"
    );
    assert_eq!(refused(&stage), Vec::<String>::new());
}

#[tokio::test]
async fn r_57_check_names_each_missing_command() {
    on_redis_only!();
    let stage = Stage::new(json!({}), Options::every_second()).await;
    let url = format!("{}?user=gateway&pass=PASSWORD", stage.redis.url());
    let permit = |changes: &[String]| {
        let mut words = vec!["ACL", "SETUSER", "gateway"];
        words.extend(changes.iter().map(String::as_str));
        assert_eq!(stage.redis.cli(&words), "OK");
    };
    let dir = tempfile::tempdir().unwrap();
    let check = || {
        let setup = stage.setup().env("REDIS_URL", &url);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gateway"));
        command
            .arg("check")
            .current_dir(dir.path())
            .env_clear()
            .envs(&setup.env);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let rules: Vec<String> = rules().into_iter().map(str::to_owned).collect();
    permit(&rules);
    let said = check();
    assert!(said.contains("a durable write took"), "{said}");
    // For replicas, for a database of another number; and `check` tells less without the last.
    let optional = ["wait", "select", "config|get"];
    let needed = rules.iter().filter_map(|rule| rule.strip_prefix('+'));
    let needed: Vec<&str> = needed.filter(|name| !optional.contains(name)).collect();
    let (alone, together): (Vec<&str>, Vec<&str>) = needed
        .into_iter()
        .partition(|name| ["evalsha", "script|load", "info"].contains(name));
    assert_eq!(alone.len(), 3);
    let missing: Vec<Vec<&str>> = alone.into_iter().map(|name| vec![name]).collect();
    for missing in missing.into_iter().chain([vec!["zadd"], together]) {
        permit(
            &missing
                .iter()
                .map(|name| format!("-{name}"))
                .collect::<Vec<_>>(),
        );
        let said = check();
        let told = said.lines().find(|line| line.contains("does not permit"));
        let told = told.unwrap_or_else(|| panic!("without {missing:?}: {said}"));
        let words: Vec<&str> = told
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '|')
            .collect();
        for name in &missing {
            assert!(words.contains(name), "{name} is not named: {told}");
        }
        assert!(told.contains("FAULT"), "{told}");
        permit(
            &missing
                .iter()
                .map(|name| format!("+{name}"))
                .collect::<Vec<_>>(),
        );
    }
}

/// The commands that a file of the store gives to Redis.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for opening in ["call('", "cmd(\""] {
        for rest in text.split(opening).skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_uppercase()).unwrap_or(0);
            found.extend((end > 0).then(|| rest[..end].to_lowercase()));
        }
    }
    found
}

#[test]
fn the_rules_of_the_readme_name_every_command_of_the_store_and_no_other() {
    let store = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/redis");
    let mut used: Vec<String> = ["evalsha", "script|load", "select"]
        .map(str::to_owned)
        .into();
    for dir in [store.to_owned(), format!("{store}/lua")] {
        for file in std::fs::read_dir(dir).unwrap() {
            let path = file.unwrap().path();
            let is_test = path.ends_with("tests.rs") || path.ends_with("denied.rs");
            if path.is_file() && !is_test {
                let source = std::fs::read_to_string(path).unwrap();
                let shipped = source.split("#[cfg(test)]").next().unwrap();
                used.extend(commands(shipped));
            }
        }
    }
    for name in &mut used {
        if name == "config" {
            name.push_str("|get");
        }
    }
    used.sort();
    used.dedup();
    let rules = rules();
    let mut named: Vec<String> = rules
        .iter()
        .filter_map(|rule| rule.strip_prefix('+').map(str::to_owned))
        .collect();
    named.sort();
    assert_eq!(named, used);
}

/// What Jumper answers to somebody who renews a pair without us.
async fn renew(sandbox: &Sandbox, refresh: &str) -> (String, String) {
    let request = sandbox.http.post(format!("{}/oauth/refresh", sandbox.url));
    let request = request
        .header(
            "authorization",
            "Basic c2FuZGJveC1rZXk6c2FuZGJveC1zZWNyZXQ=",
        )
        .header("content-type", "application/x-www-form-urlencoded");
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    let answer = request.body(form).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    (text("access_token"), text("refresh_token"))
}

/// Stores a pair where and as the old connector does.
fn keep_as_the_old_one(stage: &Stage, (access, refresh): &(String, String)) {
    stage
        .redis
        .cli(&["SET", "jumper_auth_token", access, "EX", "2000000"]);
    stage.redis.cli(&["SET", "jumper_refresh_token", refresh]);
}

#[tokio::test]
async fn the_old_connectors_tokens_are_taken_over_and_given_back() {
    on_redis_only!();
    let stage = Stage::new(json!({ "event_mode": "none" }), Options::every_second()).await;
    let seed = stage.sandbox.post("token/new-seed", json!({})).await;
    let old = renew(&stage.sandbox, seed["refresh_token"].as_str().unwrap()).await;
    keep_as_the_old_one(&stage, &old);
    let setup = stage.setup().without("SEED_REFRESH_TOKEN");
    let gateway = Gateway::start(&stage.sandbox, setup).await;
    sent(&gateway, &stage.sandbox, "m0", &number(0)).await;
    // The pair that was there does: it is not renewed for the move.
    assert_eq!(stage.sandbox.counts().await["refreshes"], 1);
    // Both side by side, and the old one renews: its pair is found when ours is refused.
    let old = renew(&stage.sandbox, &old.1).await;
    keep_as_the_old_one(&stage, &old);
    sent(&gateway, &stage.sandbox, "m1", &number(1)).await;
    assert_eq!(stage.sandbox.counts().await["refreshes"], 2);
    // What the gateway renews is there for the old one, so going back is possible.
    let path = "/api/accounts/default/token/refresh";
    assert_eq!(gateway.ops_send("POST", path, json!({})).await.0, 200);
    let mirrored = stage.redis.cli(&["GET", "jumper_refresh_token"]);
    assert_ne!(mirrored, old.1);
    let life: i64 = stage
        .redis
        .cli(&["TTL", "jumper_auth_token"])
        .parse()
        .unwrap();
    assert!((1..=2_000_000).contains(&life), "{life}");
    let access = stage.redis.cli(&["GET", "jumper_auth_token"]);
    let url = format!("{}/chat/get-social-channels", stage.sandbox.url);
    let request = stage.sandbox.http.get(url).bearer_auth(access);
    assert_eq!(request.send().await.unwrap().status(), 200);
    renew(&stage.sandbox, &mirrored).await;
}

/// The variables of the gateway in the compose file.
fn compose_environment() -> BTreeMap<String, String> {
    let block = COMPOSE.split("environment:\n").nth(1).unwrap();
    let block = block.split("    depends_on:").next().unwrap();
    let lines = block.lines().filter(|line| !line.trim().starts_with('#'));
    lines
        .filter_map(|line| line.trim().split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[tokio::test]
async fn the_installation_of_the_compose_file_does_the_main_job() {
    on_redis_only!();
    for flag in [
        "--appendonly yes",
        "--appendfsync always",
        "--maxmemory-policy noeviction",
    ] {
        assert!(COMPOSE.contains(flag), "{flag}");
    }
    let stage = Stage::new(json!({ "share_read": 1 }), Options::always()).await;
    let emulator = Emulator::start().await;
    let port = own_port();
    let mut setup = stage.setup().set(&format!("http.port={port}"));
    let places = [
        ("redis://redis:6379/0", stage.redis.url()),
        ("datastore:8081", emulator.host.clone()),
        ("http://sandbox:4010", stage.sandbox.url.clone()),
        ("http://gateway:3001", format!("http://127.0.0.1:{port}")),
    ];
    setup.env.clear();
    for (name, value) in compose_environment() {
        let place = |text: String, (from, to): &(&str, String)| text.replace(from, to);
        setup = setup.env(&name, &places.iter().fold(value, place));
    }
    let gateway = Gateway::start_unheard(setup);
    until("it is subscribed", async || {
        let known = stage.sandbox.get("subscriptions").await;
        (!known.as_array()?.is_empty()).then_some(())
    })
    .await;
    let message = order_update("m0", &number(0)).to_string();
    let token = [("authorization", "Bearer compose-token-for-moengage")];
    let answer = gateway.post_as(&token, message).await;
    assert_eq!(answer, (200, json!({ "status": "success" })));
    // The gateway has subscribed itself with the secret of the file.
    until_told(&stage.sandbox, "m0", &["sent", "delivered", "read"]).await;
    gateway.drained().await;
    until("its record is written", async || {
        let ready = gateway.ready().await.1;
        assert_eq!(ready["store_warnings"], json!([]), "{ready}");
        (ready["datastore"][0]["waiting"] == 0).then_some(())
    })
    .await;
}
