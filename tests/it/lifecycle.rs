//! Start and stop: who may start, and what an orderly end leaves behind.

use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use serde_json::json;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The end of an ordered stop; how long it took and with which code.
async fn ended(mut gateway: Gateway) -> (Gateway, Option<i32>) {
    tokio::task::spawn_blocking(move || {
        let code = gateway.process.wait();
        (gateway, code)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_second_gateway_on_the_same_data_says_so_and_exits_1() {
    embedded_only!("replicas share a Redis");
    let sandbox = Sandbox::start(json!({})).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let setup = gateway
        .setup()
        .env("DATA_DIR", &gateway.data_dir().display().to_string());
    let dir = tempfile::tempdir().unwrap();
    let (code, said) = run_to_end(&["serve"], &setup, dir.path());
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("another gateway") && said.contains("DATA_DIR"),
        "{said}"
    );
    assert!(
        said.contains(&gateway.process.id().to_string()),
        "it does not say which: {said}"
    );
    gateway.accept("m0", &number(0)).await;
    gateway.until_sent("m0").await;
}

/// As that version wrote them: its `config/default.toml` with one value changed, and its `.env.sample`.
#[tokio::test]
async fn the_sample_files_of_0_1_0_start_it_and_keep_their_meaning() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    let toml = include_str!("files_of_0_1_0/default.toml");
    let changed = toml.replace("\nrate_per_second = 10\n", "\nrate_per_second = 70\n");
    assert_ne!(changed, toml);
    std::fs::write(&file, changed).unwrap();
    let dotenv = include_str!("files_of_0_1_0/env.sample");
    std::fs::write(dir.path().join(".env"), dotenv).unwrap();
    let setup = Setup::towards(&sandbox)
        .without("RATE_PER_SECOND")
        .env("GATEWAY_CONFIG", &file.display().to_string());
    let (code, said) = run_to_end(&["config"], &setup, dir.path());
    assert_eq!(code, 0, "{said}");
    let row = |key: &str| said.lines().find(|line| line.starts_with(key)).unwrap();
    for (key, value) in [
        ("sending.rate_per_second", "70"),
        ("sending.max_sockets", "100"),
        ("sending.template_refresh", "10m"),
    ] {
        let words: Vec<_> = row(key).split_whitespace().collect();
        assert_eq!(words[1..3], [value, "file"], "{said}");
    }
    let gateway = Gateway::start(&sandbox, setup).await;
    assert_eq!(gateway.account().await["rate"]["per_second"], 70.0);
    gateway.accept("m0", &number(0)).await;
    gateway.until_sent("m0").await;
}

#[tokio::test]
async fn a_start_that_cannot_work_says_why_and_exits_1() {
    let sandbox = Sandbox::start(json!({})).await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "x").unwrap();
    let below = dir.path().join("file/data").display().to_string();
    let base = Setup::towards(&sandbox);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let fresh = dir.path().join("fresh").display().to_string();
    let cases = [
        (base.clone().env("DATA_DIR", &below), vec![below.as_str()]),
        (
            base.clone()
                .env("OPS_ADDR", "0.0.0.0:0")
                .env("DATA_DIR", &fresh),
            vec!["OPS_TOKEN"],
        ),
        (
            base.clone()
                .env("DATA_DIR", &fresh)
                .set(&format!("http.port={port}")),
            vec!["cannot listen", "PORT"],
        ),
        (
            base.clone()
                .without("MOENGAGE_CALLBACK_URL")
                .without("MOENGAGE_AUTH_AGAINST")
                .env("RATE_PER_SECOND", "fast")
                .env("MAX_AGE", "1 fortnight")
                .set("no.such_key=1"),
            vec![
                "MOENGAGE_CALLBACK_URL",
                "MOENGAGE_AUTH_AGAINST",
                "RATE_PER_SECOND",
                "MAX_AGE",
                "no.such_key",
            ],
        ),
    ];
    for (mut setup, parts) in cases {
        // OPS_ADDR as a flag would win over the variable.
        setup
            .set
            .retain(|pair| !pair.starts_with("ops.addr") || !setup.env.contains_key("OPS_ADDR"));
        let (code, said) = run_to_end(&["serve"], &setup, dir.path());
        assert_eq!(code, 1, "{said}");
        for part in parts {
            assert!(said.contains(part), "{part} is not in: {said}");
        }
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[tokio::test]
async fn ordered_to_stop_under_load_it_ends_in_time_and_loses_and_repeats_nothing() {
    const MESSAGES: usize = 300;
    let sandbox =
        Sandbox::start(json!({ "latency_ms": 80, "webhook_retries": 10, "webhook_retry_ms": 50 }))
            .await;
    // The rate, and that it begins when all are taken, leave something to do when the order comes.
    let setup = Setup::towards(&sandbox)
        .env("RATE_PER_SECOND", "40")
        .set("drain_timeout=5m")
        .set(&format!("http.port={}", own_port()));
    let gateway = Gateway::start(&sandbox, setup).await;
    gateway.channel("pause").await;
    accept_many(&gateway, MESSAGES).await;
    gateway.channel("resume").await;
    gateway.process.terminate();
    let asked = Instant::now();
    let refused = until("new sends are refused", async || {
        let request = gateway
            .http
            .post(format!("{}/jumper_send_whatsapp", gateway.url))
            .header("authorization", format!("Bearer {TOKEN}"))
            .body(order_update("late", &number(9000)).to_string());
        match request.send().await {
            Ok(answer) if answer.status() == 200 => None,
            Ok(answer) => Some(answer.status().as_u16()),
            Err(_) => Some(0),
        }
    })
    .await;
    assert!([0, 503].contains(&refused), "{refused}");
    match gateway
        .http
        .get(format!("{}/readyz", gateway.url))
        .send()
        .await
    {
        Ok(answer) => assert_eq!(answer.status(), 503),
        Err(error) => assert!(error.is_connect() || error.is_request(), "{error}"),
    }
    let (gateway, code) = ended(gateway).await;
    assert_eq!(code, Some(0), "{}", gateway.process.output());
    assert!(
        asked.elapsed() < 2 * PATIENCE,
        "it took {:?}",
        asked.elapsed()
    );
    let at_the_stop = sandbox.counts().await["sends_accepted"].as_u64().unwrap();
    assert!(at_the_stop < MESSAGES as u64, "nothing was left to do");
    let gateway = gateway.restart(&sandbox).await;
    idle(&sandbox).await;
    let ledger = gateway.drained().await;
    idle(&sandbox).await;
    gateway.drained().await;
    assert!(ledger["accepted"].as_u64() >= Some(MESSAGES as u64));
    assert_eq!(
        (&ledger["lost"], &ledger["failed"], &ledger["unknown"]),
        (&json!(0), &json!(0), &json!(0))
    );
    let counts = sandbox.counts().await;
    assert_eq!(counts["recipients_repeated"], 0);
    assert_eq!(counts["sends_accepted"], ledger["accepted"]);
    assert_fold(&sandbox, MESSAGES, true).await;
}

#[tokio::test]
async fn a_request_that_is_still_coming_in_when_it_stops_is_answered_503() {
    let sandbox = Sandbox::start(json!({})).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let body = order_update("late", &number(0)).to_string();
    let mut stream = tokio::net::TcpStream::connect(&gateway.url["http://".len()..])
        .await
        .unwrap();
    let head = format!(
        "POST /jumper_send_whatsapp HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // This says that it reads the body.
    let mut go = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut go).await.unwrap();
    assert!(go.starts_with(b"HTTP/1.1 100"), "{go:?}");
    stream.write_all(&body.as_bytes()[..10]).await.unwrap();
    gateway.process.terminate();
    until("it is stopping", async || {
        gateway.process.output().contains("stopping").then_some(())
    })
    .await;
    stream.write_all(&body.as_bytes()[10..]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("\"message\""), "{answer}");
    let (gateway, code) = ended(gateway).await;
    assert_eq!(code, Some(0));
    let gateway = gateway.restart(&sandbox).await;
    assert_eq!(gateway.ledger().await["accepted"], 0, "refused and kept");
}

#[tokio::test]
async fn a_provider_that_hangs_does_not_hold_up_the_stop_and_its_messages_are_unknown_afterwards() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox)
        .set("drain_timeout=1s")
        .env("AMBIGUOUS_HOLD", "1s");
    let gateway = Gateway::start(&sandbox, setup).await;
    sent(&gateway, &sandbox, "before", &number(1)).await;
    sandbox.script("send", &["hang:600"]).await;
    gateway.accept("m0", &number(0)).await;
    gateway.until_state("m0", "sending").await;
    let asked = Instant::now();
    gateway.process.terminate();
    let (gateway, code) = ended(gateway).await;
    assert_eq!(code, Some(0));
    assert!(asked.elapsed() < PATIENCE, "it took {:?}", asked.elapsed());
    let gateway = gateway.restart(&sandbox).await;
    until_told(&sandbox, "m0", &["failed"]).await;
    assert_eq!(sandbox.entries("m0").await[0]["error"]["code"], "7004");
    assert!(gateway.history("m0").await.contains(&"unknown".to_owned()));
    assert!(
        sandbox.sends_to(&number(0)[1..]).await.is_empty(),
        "it was sent again"
    );
    let ledger = gateway.drained().await;
    assert_eq!((&ledger["lost"], &ledger["failed"]), (&json!(0), &json!(1)));
}

#[tokio::test]
async fn moengage_that_hangs_does_not_hold_up_the_stop_and_is_told_after_the_next_start() {
    let sandbox =
        Sandbox::start(json!({ "event_mode": "none", "moengage_latency_ms": 600_000 })).await;
    let setup = Setup::towards(&sandbox)
        .set("drain_timeout=1s")
        .set("moengage.callback_timeout=5m");
    let gateway = Gateway::start(&sandbox, setup).await;
    let id = sent(&gateway, &sandbox, "m0", &number(0)).await;
    assert_eq!(
        gateway.event(&status(&id, "read", 1_930_000_000)).await,
        200
    );
    until("MoEngage is asked", async || {
        (sandbox.counts().await["callback_posts"] == 1).then_some(())
    })
    .await;
    let asked = Instant::now();
    gateway.process.terminate();
    let (gateway, code) = ended(gateway).await;
    assert_eq!(code, Some(0));
    assert!(asked.elapsed() < PATIENCE, "it took {:?}", asked.elapsed());
    sandbox.knobs(json!({ "moengage_latency_ms": 0 })).await;
    let _gateway = gateway.restart(&sandbox).await;
    until_told(&sandbox, "m0", &["read"]).await;
}

#[tokio::test]
async fn b_50_each_route_answers_once_and_a_wrong_token_gets_moengages_own_answer() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let routes = [
        "/jumper_send_whatsapp",
        "/send_whatsapp",
        "/chat/send-message",
        "/channels/default/send",
    ];
    for (n, route) in routes.iter().enumerate() {
        let url = format!("{}{route}", gateway.url);
        let body = order_update(&format!("m{n}"), &number(n));
        for (token, status, code) in [
            ("wrong", "failure", json!("7000")),
            (TOKEN, "success", json!(null)),
        ] {
            let answer = gateway
                .http
                .post(&url)
                .bearer_auth(token)
                .json(&body)
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), 200, "{route}");
            let answer: serde_json::Value = answer.json().await.unwrap();
            assert_eq!(
                (&answer["status"], &answer["error"]["code"]),
                (&json!(status), &code),
                "{route}"
            );
        }
    }
    let ledger = gateway.drained().await;
    assert_eq!(ledger["accepted"], routes.len());
    assert_eq!(sandbox.counts().await["sends_accepted"], routes.len());
}

#[tokio::test]
async fn while_it_stops_it_is_not_ready_takes_no_sends_and_still_stores_webhooks() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox)
        .set("drain_timeout=5m")
        .env("AMBIGUOUS_HOLD", "1s");
    let gateway = Gateway::start(&sandbox, setup).await;
    let id = sent(&gateway, &sandbox, "before", &number(1)).await;
    // So long it keeps its listeners open.
    sandbox.script("send", &["accept_then_slow:10"]).await;
    gateway.accept("m0", &number(0)).await;
    gateway.until_state("m0", "sending").await;
    gateway.process.terminate();
    let why = until("it is not ready", async || {
        let (status, why) = gateway.ready().await;
        (status == 503).then_some(why)
    })
    .await;
    assert!(
        why["reason"].as_str().unwrap().contains("stopping"),
        "{why}"
    );
    let (status_code, answer) = gateway.post(&order_update("late", &number(2))).await;
    assert_eq!(status_code, 503, "{answer}");
    assert!(answer["message"].is_string(), "{answer}");
    assert_eq!(
        gateway.event(&status(&id, "read", 1_930_000_000)).await,
        200
    );
    let (gateway, code) = ended(gateway).await;
    assert_eq!(code, Some(0));
    let gateway = gateway.restart(&sandbox).await;
    until_told(&sandbox, "before", &["read"]).await;
    // The send under way was waited for, so its receipt is known.
    let ledger = gateway.drained().await;
    assert_eq!(ledger["accepted_by_provider"], 2);
    assert!(!gateway.history("m0").await.contains(&"unknown".to_owned()));
    assert_eq!(sandbox.sends_to(&number(0)[1..]).await.len(), 1);
}
