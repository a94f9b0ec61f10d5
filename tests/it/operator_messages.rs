//! What a person is told, and what a stranger is not: readiness, alerts, refusals at the door, checks.

use crate::kit::harness::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

/// Runs a command in the gateway's place with its settings and these beside them; code and output.
pub(crate) fn run(setup: &Setup, dir: &std::path::Path, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command
        .args(args)
        .env_clear()
        .envs(&setup.env)
        .current_dir(dir);
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let both = text(&output.stdout) + &text(&output.stderr);
    (output.status.code(), both)
}

/// What `check` says of a running gateway.
fn check_of(gateway: &Gateway) -> String {
    let mut setup = gateway.setup();
    let (name, place) = gateway.store_variable();
    setup.env.entry(name).or_insert(place);
    let ops = gateway.ops.trim_start_matches("http://");
    let setup = setup.env("OPS_ADDR", ops);
    let dir = tempfile::tempdir().unwrap();
    run(&setup, dir.path(), &["check", "--set", "http.port=0"]).1
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "does not say {part:?}:\n{text}");
    }
}

#[track_caller]
fn hides(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(!text.contains(part), "says {part:?}:\n{text}");
    }
}

#[tokio::test]
async fn r_48_a_stranger_learns_only_whether_the_gateway_is_ready() {
    embedded_only!("min_free is about the disk of DATA_DIR");
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let roomy = Setup::towards(&sandbox).set("drain_timeout=1m");
    let gateway = Gateway::start(&sandbox, roomy.clone()).await;
    let seen = gateway.ready_to_strangers().await;
    assert_eq!(seen, (200, json!({ "status": "ready" })));
    let (status, details) = gateway.ready().await;
    assert_eq!(status, 200, "{details}");
    assert_eq!(details["accounts"][0]["account"], "default", "{details}");
    assert!(details["reason"].is_null(), "{details}");
    // Killed in the middle of its first renewal it would leave a dead token behind.
    gateway.accept("first", &person(9)).await;
    gateway.until_sent("first").await;

    let full = roomy.clone().set("store.min_free=500000GB");
    let gateway = gateway.restart_with(&sandbox, full).await;
    let seen = gateway.ready_to_strangers().await;
    let not = |word: &str| (503, json!({ "status": "not ready", "reason": word }));
    assert_eq!(seen, not("store"));
    let (status, details) = gateway.ready().await;
    let reason = details["reason"].as_str().unwrap();
    assert!(status == 503 && reason.contains("free"), "{details}");

    let gateway = gateway.restart_with(&sandbox, roomy).await;
    sandbox.script("send", &["accept_then_slow:10"]).await;
    gateway.accept("m0", &person(0)).await;
    gateway.until_state("m0", "sending").await;
    gateway.process.terminate();
    let seen = until("it is stopping", async || {
        let seen = gateway.ready_to_strangers().await;
        (seen.0 == 503).then_some(seen)
    })
    .await;
    assert_eq!(seen, not("stopping"));
}

/// Every route of the public listener, asked in every way a stranger can.
#[tokio::test]
async fn r_48_nothing_of_the_public_listener_names_an_account() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let mut seen = String::new();
    for path in [
        "/",
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/accounts",
        "/send_whatsapp",
        "/channels/default/send",
        "/channels/other/send",
        "/jumper_callback",
        "/jumper_callback/guess",
        "/channels/default/callback/guess",
        "/channels/other/callback",
        "/nowhere",
    ] {
        for method in ["GET", "POST", "PUT", "HEAD"] {
            let method: reqwest::Method = method.parse().unwrap();
            let request = gateway
                .http
                .request(method, format!("{}{path}", gateway.url));
            let answer = request.body("{}").send().await.unwrap();
            seen += &format!("{:?}", answer.headers());
            seen += &answer.text().await.unwrap();
        }
    }
    for word in [
        "default",
        "account",
        "expires",
        "per_second",
        "queued",
        "breaker",
    ] {
        assert!(!seen.contains(word), "{word}: {seen}");
    }
}

#[tokio::test]
async fn r_42_a_blip_of_the_provider_wakes_nobody_and_its_end_is_no_error() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox)
        .set("breaker.failures=1")
        .set("breaker.open_min=100ms");
    let gateway = Gateway::start(&sandbox, setup).await;
    sandbox.script("send", &["503"]).await;
    gateway.accept("m0", &person(0)).await;
    gateway.until_sent("m0").await;
    let log = until("the end is told", async || {
        let log = gateway.process.output();
        log.contains("the provider works again").then_some(log)
    })
    .await;
    says(&log, &["the provider does not work"]);
    hides(
        &log,
        &[" ERROR ", "ALERT", "RESOLVED", "a person is needed"],
    );
}

#[tokio::test]
async fn r_42_a_blip_of_the_store_wakes_nobody() {
    embedded_only!("the file is locked from outside");
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let file = gateway.data_dir().join("gateway.db");
    let busy = rusqlite::Connection::open(file).unwrap();
    busy.busy_timeout(PATIENCE).unwrap();
    busy.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(gateway.post(&order_update("m0", &person(0))).await.0, 503);
    drop(busy);
    until("it stores again", async || {
        (gateway.post(&order_update("m0", &person(0))).await.0 == 200).then_some(())
    })
    .await;
    let log = gateway.process.said(&["messages are answered 503"]).await;
    hides(&log, &[" ERROR ", "ALERT"]);
}

#[tokio::test]
async fn r_42_what_needs_a_person_is_told_at_once_with_its_code() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    sandbox.post("token/kill-refresh", json!({})).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    // Jumper has to say it twice, a minute apart.
    let two_minutes = std::time::Duration::from_secs(120);
    let line = until_within(two_minutes, "it is told", async || {
        let log = gateway.process.output();
        let line = log.lines().find(|line| line.contains("ALERT"));
        line.map(str::to_owned)
    })
    .await;
    says(
        &line,
        &[" ERROR ", "token_dead", "account default", "token/seed"],
    );
}

#[tokio::test]
async fn r_43_a_moengage_that_refuses_every_callback_is_told_by_check_and_readyz() {
    let sandbox = Sandbox::start(json!({ "moengage_status": 401 })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    assert_eq!(
        gateway.ready().await.1["channels"][0]["callbacks_failing"],
        json!([])
    );
    gateway.accept("m0", &person(0)).await;
    let failing = until("the gateway has noticed", async || {
        let ready = gateway.ready().await.1;
        let failing = ready["channels"][0]["callbacks_failing"][0].clone();
        failing.is_object().then_some(failing)
    })
    .await;
    assert_eq!(failing["lane"], "status", "{failing}");
    assert!(
        failing["since"].as_str().unwrap().starts_with("20"),
        "{failing}"
    );
    says(failing["answer"].as_str().unwrap(), &["HTTP 401"]);
    says(
        &check_of(&gateway),
        &[
            "callbacks of default",
            "FAULT",
            "HTTP 401",
            "MOENGAGE_CALLBACK_URL",
        ],
    );
    let metric = "gateway_callbacks_failing{channel=\"default\"}";
    says(&gateway.metrics().await, &[&format!("{metric} 1")]);
    sandbox.knobs(json!({ "moengage_status": 200 })).await;
    until("it is over", async || {
        let ready = gateway.ready().await.1;
        (ready["channels"][0]["callbacks_failing"] == json!([])).then_some(())
    })
    .await;
    says(&gateway.metrics().await, &[&format!("{metric} 0")]);
}

#[expect(clippy::too_many_lines, reason = "one row per way of being refused")]
#[tokio::test]
async fn r_44_whoever_is_refused_at_the_door_leaves_a_line_and_no_secret() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox).set("http.body_limit=64KB");
    let gateway = Gateway::start(&sandbox, setup).await;
    let huge = "x".repeat(70_000);
    let begun = std::time::Instant::now();
    for _ in 0..50 {
        for (method, path, body) in [
            ("POST", "/jumper-callback/guess-1", "{}"),
            ("POST", "/jumper_callback/guess-2", "{}"),
            ("POST", "/jumper_callback", "{}"),
            ("POST", "/channels/guess-3/callback", "{}"),
            ("GET", "/jumper_send_whatsapp", ""),
            ("GUESS-4", "/send_whatsapp", ""),
            ("POST", "/chat/send-message", huge.as_str()),
            ("POST", "/channels/default/send", "no json"),
        ] {
            let method: reqwest::Method = method.parse().unwrap();
            let request = gateway
                .http
                .request(method, format!("{}{path}", gateway.url));
            let request = request.header("authorization", format!("Bearer {TOKEN}"));
            // A body that is too large may be cut off while it is sent.
            let _ = request.body(body.to_owned()).send().await;
        }
    }
    let seconds = begun.elapsed().as_secs() + 2;
    let log = gateway.process.said(&["/channels/{id}/send"]).await;
    let told: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("refused a request"))
        .collect();
    for parts in [
        ["unmatched", "POST", "404", "No such route"],
        [
            "/jumper_callback/{secret}",
            "POST",
            "404",
            "wrong webhook secret",
        ],
        [
            "/jumper_callback",
            "POST",
            "404",
            "lacks the webhook secret",
        ],
        ["/channels/{id}/callback", "POST", "404", "names no channel"],
        [
            "/jumper_send_whatsapp",
            "GET",
            "405",
            "does not take that method",
        ],
        [
            "/send_whatsapp",
            "other",
            "405",
            "does not take that method",
        ],
        ["/chat/send-message", "POST", "413", "larger than"],
        ["/channels/{id}/send", "POST", "400", ""],
    ] {
        let of_kind = |line: &&&str| parts.iter().all(|part| line.contains(part));
        let lines = told.iter().filter(of_kind).count() as u64;
        assert!(
            (1..=2 * seconds).contains(&lines),
            "{lines} of {parts:?}:\n{log}"
        );
    }
    hides(
        &told.join("\n"),
        &["guess-1", "guess-2", "guess-3", "GUESS-4", TOKEN],
    );
}

#[test]
fn r_45_no_part_of_a_password_is_printed_as_the_host() {
    let dir = tempfile::tempdir().unwrap();
    let none = Setup {
        env: BTreeMap::new(),
        set: Vec::new(),
        redis: None,
        road: None,
        files: None,
        log: None,
    };
    for between in ["#", "?", "@", "/"] {
        for user in ["user", ""] {
            let url = format!("redis://{user}:hunter{between}letmein@r.test:6379/0");
            let setup = none.clone().env("REDIS_URL", &url);
            for command in ["check", "config", "serve"] {
                let (code, said) = run(&setup, dir.path(), &[command]);
                assert_eq!(code, Some(1), "{said}");
                hides(&said, &["hunter", "letmein"]);
                says(&said, &["REDIS_URL", "percent-encoded"]);
            }
        }
    }
    for (name, value) in [
        ("JUMPER_API_URL", "https://user:hunter#letmein@jumper.test"),
        ("MOENGAGE_CALLBACK_URL", "https://user:12#letmein@m.test/x"),
        (
            "SLACK_WEBHOOK_URL",
            "https://user:hunter?letmein@slack.test",
        ),
        ("DATASTORE_EMULATOR_HOST", "user:hunter@letmein:8081"),
        (
            "SUBSCRIBED_CALLBACK_URL",
            "https://user:hunter/letmein@gw.test",
        ),
    ] {
        let setup = none
            .clone()
            .env(name, value)
            .env("DT_PROJECT_ID", "a-project");
        for command in ["check", "config"] {
            let said = run(&setup, dir.path(), &[command]).1;
            hides(&said, &["hunter", "letmein", ":12"]);
        }
    }
}

/// Answers every call with this Date.
fn with_date(date: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            // What is asked does not matter.
            let _ = stream.read(&mut [0; 4096]);
            let head = format!("HTTP/1.1 401 No\r\ndate: {date}\r\ncontent-length: 0\r\n");
            let _ = write!(stream, "{head}connection: close\r\n\r\n");
        }
    });
    format!("http://{addr}")
}

#[tokio::test]
async fn r_46_check_names_what_this_machine_lacks_with_the_variable_and_the_cure() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let dir = tempfile::tempdir().unwrap();
    let base = || Setup::towards(&sandbox).env("OPS_ADDR", &nowhere().to_string());
    let check = |setup: &Setup, more: &[&str]| {
        let mut args = vec!["check"];
        args.extend(more);
        run(setup, dir.path(), &args).1
    };

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = check(
        &base().env("PORT", &port),
        &["--set", "http.bind=127.0.0.1"],
    );
    says(
        &said,
        &["public port", "FAULT", &port, "another program", "set PORT"],
    );

    if !on_redis() {
        let (name, place) = gateway.store_variable();
        let said = check(&base().env(&name, &place), &["--set", "http.port=0"]);
        let owner = gateway.process.id().to_string();
        says(&said, &["data directory lock", "FAULT", &owner, "DATA_DIR"]);
        says(&check_of(&gateway), &["held by the running gateway"]);
    }

    let other = with_date("Sun, 06 Nov 1994 08:49:37 GMT".to_owned());
    let said = check(
        &base().env("JUMPER_API_URL", &other),
        &["--set", "http.port=0"],
    );
    says(&said, &["clock", "warn", "ahead of Jumper's", "NTP"]);

    let tls = sandbox.url.replace("http://", "https://");
    let setup = base().env("JUMPER_API_URL", &tls);
    let said = check(&setup, &["--set", "http.port=0"]);
    says(&said, &["JUMPER_API_URL", "speaks no TLS", "http://"]);

    let bare = setup
        .env("SSL_CERT_FILE", "/dev/null")
        .env("SSL_CERT_DIR", "/nowhere");
    let said = check(&bare, &["--set", "http.port=0"]);
    says(
        &said,
        &["TLS", "FAULT", "install ca-certificates", "SSL_CERT_FILE"],
    );
    let (code, said) = run(&bare, dir.path(), &["serve", "--set", "http.port=0"]);
    assert_eq!(code, Some(1), "{said}");
    says(&said, &["ca-certificates", "SSL_CERT_FILE"]);
}

#[test]
fn r_46_health_needs_no_ca_certificates() {
    let setup = Setup {
        env: BTreeMap::new(),
        set: Vec::new(),
        redis: None,
        road: None,
        files: None,
        log: None,
    };
    let setup = setup
        .env("SSL_CERT_FILE", "/dev/null")
        .env("SSL_CERT_DIR", "/nowhere")
        .env("PORT", &nowhere().port().to_string());
    let dir = tempfile::tempdir().unwrap();
    let said = run(&setup, dir.path(), &["health"]).1;
    says(&said, &["nothing listens there"]);
}

#[tokio::test]
async fn r_47_a_variable_one_letter_away_is_asked_about_where_the_start_fails() {
    let sandbox = Sandbox::start(json!({})).await;
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::towards(&sandbox)
        .without("MOENGAGE_CALLBACK_URL")
        .env("MOENGAGE_CALBACK_URL", "https://hunter2.test/x");
    for command in ["serve", "check"] {
        let (code, said) = run(&setup, dir.path(), &[command]);
        assert_eq!(code, Some(1), "{said}");
        says(
            &said,
            &[
                "MOENGAGE_CALBACK_URL (environment)",
                "did you mean MOENGAGE_CALLBACK_URL?",
            ],
        );
        hides(&said, &["hunter2"]);
    }
    std::fs::write(dir.path().join("gw.toml"), "[http]\nport = \n").unwrap();
    let setup = setup.env("GATEWAY_CONFIG", "gw.toml");
    let (_, said) = run(&setup, dir.path(), &["serve"]);
    says(&said, &["1 fault in the configuration", "TOML (gw.toml:2)"]);
}
