//! What an operator sees and can do: messages, ledger, metrics, pause, rate.

use crate::it::repeats::together;
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use tokio::task::JoinSet;

async fn search(gateway: &Gateway, id: &str) -> Vec<Value> {
    let (status, found) = gateway
        .ops_send("POST", "/api/search", json!({ "id": id }))
        .await;
    assert_eq!(status, 200, "{found}");
    found["messages"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_message_is_found_by_its_id_the_providers_id_and_the_phone_with_its_whole_story() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    sandbox.script("send", &["503"]).await;
    let to = number(42);
    let id = sent(&gateway, &sandbox, "m0", &to).await;
    sent(&gateway, &sandbox, "other", &number(7)).await;
    for word in ["delivered", "sent"] {
        assert_eq!(gateway.event(&status(&id, word, 1_930_000_000)).await, 200);
    }
    says_hello(&sandbox, &id).await;
    gateway.drained().await;
    for by in ["m0", &id, &to, "1 (202) 555-0042"] {
        let found = search(&gateway, by).await;
        assert_eq!(found.len(), 1, "{by}");
        assert_eq!(found[0]["msg_id"], "m0", "{by}");
    }
    let words = gateway.history("m0").await;
    let steps = [
        "accepted",
        "attempt",
        "retry",
        "attempt",
        "receipt",
        "status",
        "superseded",
        "relayed",
        "reply",
    ];
    for step in steps {
        assert!(
            words.iter().any(|word| word == step),
            "{step} is missing: {words:?}"
        );
    }
    assert_eq!(words.iter().filter(|word| *word == "attempt").count(), 2);
    let shown = gateway.message("m0").await.to_string();
    assert!(!shown.contains(&to[1..]), "a whole phone number: {shown}");
    assert!(search(&gateway, "+12025559999").await.is_empty());
}

#[tokio::test]
async fn a_number_in_an_id_is_masked_where_it_is_shown_and_the_whole_id_is_still_found() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let (id, to) = ("camp_12025550042_7", number(42));
    let url = format!("{}/send_whatsapp?campaign_id=of-12025550042", gateway.url);
    let request = gateway.http.post(url).header("apikey", TOKEN);
    let request = request.body(order_update(id, &to).to_string());
    assert_eq!(request.send().await.unwrap().status(), 200);
    gateway.accept("6650f1c2_wa_000001", &to).await;
    gateway.drained().await;
    let found = search(&gateway, &to).await;
    let mut shown: Vec<&str> = found
        .iter()
        .map(|one| one["msg_id"].as_str().unwrap())
        .collect();
    shown.sort_unstable();
    assert_eq!(shown, ["6650f1c2_wa_000001", "camp_12*******42_7"]);
    let whole = gateway.message(id).await;
    assert_eq!(search(&gateway, id).await, std::slice::from_ref(&whole));
    assert_eq!(whole["campaign_id"], "of-12*******42");
    for shown in [json!(found).to_string(), whole.to_string()] {
        assert_eq!(
            said_at(&shown, &to[1..]),
            None,
            "a whole phone number: {shown}"
        );
    }
}

async fn says_hello(sandbox: &Sandbox, id: &str) {
    sandbox
        .post(
            "reply",
            json!({ "message_id": id, "text": "hello", "kind": "quoted" }),
        )
        .await;
}

#[tokio::test]
async fn metrics_are_well_formed_and_never_hold_an_id_or_a_number() {
    let sandbox =
        Sandbox::start(json!({ "share_odd": 0.5, "share_failed": 0.1, "share_503": 0.1 })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    for n in 0..40 {
        gateway
            .accept(&format!("unmistakable-{n}"), &number(n))
            .await;
    }
    gateway.ops_get("/api/messages/unmistakable-1").await;
    post_raw(&gateway, "/jumper_callback/some-guess", "{}").await;
    post_raw(&gateway, "/nowhere/unmistakable", "{}").await;
    settled(&gateway, &sandbox).await;
    let metrics = gateway.metrics().await;
    for banned in ["unmistakable", "2025550", SECRET, "some-guess", TOKEN] {
        assert!(!metrics.contains(banned), "{banned} is in the metrics");
    }
    assert_eq!(found_by_promtool(&metrics), "", "{metrics}");
    assert_ne!(
        found_by_promtool("gateway_things 1\n"),
        "",
        "it has no HELP"
    );
    let mut series = BTreeSet::new();
    for line in metrics
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (name, value) = line.rsplit_once(' ').unwrap();
        value
            .parse::<f64>()
            .unwrap_or_else(|_| panic!("no number: {line}"));
        assert!(name.starts_with("gateway_"), "{line}");
        assert!(series.insert(name.to_owned()), "twice: {line}");
    }
    assert!(series.len() < 400, "{} series", series.len());
    assert_eq!(
        figure(
            &metrics,
            "gateway_messages{channel=\"default\",state=\"lost\"}"
        ),
        0.0
    );
    assert_eq!(
        figure(&metrics, "gateway_accepted_total{channel=\"default\"}"),
        40.0
    );
}

/// What Prometheus' own checker says of metrics.
fn found_by_promtool(metrics: &str) -> String {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool: tests/run.sh prepare installs it");
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(metrics.as_bytes()).unwrap();
    drop(stdin);
    let said = promtool.wait_with_output().unwrap();
    String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned()
}

/// No step of any kind failed.
fn assert_no_fault_in(log: &str) {
    let faults = [
        "cannot be stored",
        "cannot be read",
        "could not be stored",
        "cannot be claimed",
        "does not answer",
        "locked",
        " ERROR ",
        "panicked",
    ];
    for fault in faults {
        assert!(
            !log.contains(fault),
            "{fault}: {}",
            log.lines().find(|line| line.contains(fault)).unwrap()
        );
    }
}

#[tokio::test]
async fn b_39_under_load_no_step_fails_for_others_sake_and_the_ledger_adds_up_at_every_moment() {
    const MESSAGES: usize = 400;
    let sandbox = Sandbox::start(
        json!({ "share_read": 1, "share_503": 0.05, "event_first": 0.3, "share_refuse_200": 0.05 }),
    )
    .await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let body = |n| order_update(&format!("m{n}"), &number(n));
    let posts = together(&gateway, (0..MESSAGES).map(body).collect());
    let mut looks = 0;
    let look = until_within(3 * PATIENCE, "all came to an end", async || {
        let ledger = gateway.ledger().await;
        let n = |name: &str| ledger[name].as_i64().unwrap();
        let sum: i64 = [
            "queued",
            "in_flight",
            "held",
            "unknown",
            "accepted_by_provider",
            "failed",
        ]
        .map(n)
        .iter()
        .sum();
        assert_eq!((n("accepted") - sum, n("lost")), (0, 0), "{ledger}");
        looks += 1;
        (n("accepted_by_provider") + n("failed") == MESSAGES as i64).then_some(())
    });
    let (answers, ()) = tokio::join!(posts, look);
    assert!(looks > 5, "the load was over too soon to see anything");
    assert!(answers.iter().all(|(status, _)| *status == 200));
    settled(&gateway, &sandbox).await;
    let counted = gateway.ops_get("/api/ledger").await.1["counted"].clone();
    assert_eq!(
        counted,
        json!({ "queued": 0, "in_flight": 0, "unknown": 0 })
    );
    assert_no_fault_in(&gateway.process.output());
    assert_eq!(sandbox.counts().await["events_failed"], 0);
}

#[tokio::test]
async fn a_paused_channel_holds_its_queue_over_a_restart_and_goes_on_when_resumed() {
    let sandbox = Sandbox::start(json!({})).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let (status, shown) = gateway
        .ops_send("POST", "/api/channels/default/pause", json!({}))
        .await;
    assert_eq!((status, &shown["paused"]), (200, &json!(true)));
    accept_many(&gateway, 5).await;
    let gateway = gateway.crash_and_restart(&sandbox).await;
    accept_many(&gateway, 8).await;
    let ledger = gateway.ops_get("/api/ledger").await.1;
    assert_eq!(
        (&ledger["total"]["held"], &ledger["total"]["queued"]),
        (&json!(8), &json!(0))
    );
    assert_eq!(ledger["counted"]["queued"], 8);
    assert_eq!(sandbox.counts().await["sends_accepted"], 0);
    gateway
        .ops_send("POST", "/api/channels/default/resume", json!({}))
        .await;
    let ledger = gateway.drained().await;
    assert_eq!(
        (&ledger["accepted_by_provider"], &ledger["held"]),
        (&json!(8), &json!(0))
    );
    let gateway = gateway.crash_and_restart(&sandbox).await;
    gateway.accept("after", &number(99)).await;
    gateway.until_sent("after").await;
}

/// Makes these changes all at once.
async fn all_at_once(gateway: &Gateway, changes: Vec<(&str, &str, Value)>) {
    let mut posts = JoinSet::new();
    for (method, path, body) in changes {
        let url = format!("{}{path}", gateway.ops);
        let request = gateway.http.request(method.parse().unwrap(), url);
        let request = request.json(&body);
        posts.spawn(async move { request.send().await.unwrap().status().as_u16() });
    }
    assert!(posts.join_all().await.iter().all(|status| *status == 200));
}

#[tokio::test]
async fn whatever_is_changed_at_once_a_restart_reads_what_holds() {
    let sandbox = Sandbox::start(json!({})).await;
    let mut gateway = Gateway::start_unheard(Setup::towards(&sandbox));
    let shown = async |gateway: &Gateway| {
        let channels = gateway.ops_get("/api/channels").await.1["channels"].clone();
        let rate = gateway.account().await["rate"].clone();
        json!([
            channels[0]["paused"],
            rate["per_second"],
            rate["concurrency"]
        ])
    };
    let rate = "/api/accounts/default/rate";
    for _ in 0..8 {
        let changes = (0..40).map(|n| match n % 4 {
            0 => ("POST", "/api/channels/default/pause", json!({})),
            1 => ("POST", "/api/channels/default/resume", json!({})),
            2 => ("PUT", rate, json!({ "per_second": 100 + n })),
            _ => ("PUT", rate, json!({ "concurrency": 1 + n })),
        });
        all_at_once(&gateway, changes.collect()).await;
        let held = shown(&gateway).await;
        gateway = gateway.crash_and_restart_unheard();
        assert_eq!(shown(&gateway).await, held);
    }
    // Half a wish leaves the other half as it is.
    for n in 1..=20 {
        let changes = [
            ("PUT", rate, json!({ "per_second": 200 + n })),
            ("PUT", rate, json!({ "concurrency": 50 + n })),
        ];
        all_at_once(&gateway, changes.to_vec()).await;
        let now = gateway.account().await["rate"].clone();
        let both = json!([f64::from(200 + n), 50 + n]);
        assert_eq!(json!([now["per_second"], now["concurrency"]]), both);
    }
}

#[tokio::test]
async fn a_rate_set_at_run_time_survives_a_restart_and_is_shown_as_runtime_until_reset() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(
        &sandbox,
        Setup::towards(&sandbox).env("RATE_PER_SECOND", "50"),
    )
    .await;
    let rate = async |gateway: &Gateway| {
        gateway.ops_get("/api/accounts").await.1["accounts"][0]["rate"].clone()
    };
    assert_eq!(rate(&gateway).await["layer"], "configured");
    let path = "/api/accounts/default/rate";
    let (status, _) = gateway
        .ops_send("PUT", path, json!({ "per_second": 7.5, "concurrency": 3 }))
        .await;
    assert_eq!(status, 200);
    for wrong in [
        json!({ "per_second": 0 }),
        json!({ "per_second": -1 }),
        json!({ "per_second": 1e-30 }),
        json!({ "per_second": 1e300 }),
        json!({ "per_second": "fast" }),
        json!({ "concurrency": 0 }),
        json!({ "rate": 5 }),
        json!([]),
    ] {
        let (status, problem) = gateway.ops_send("PUT", path, wrong.clone()).await;
        assert_eq!((status, &problem["status"]), (400, &json!(400)), "{wrong}");
    }
    let gateway = gateway.crash_and_restart(&sandbox).await;
    let shown = rate(&gateway).await;
    assert_eq!(
        (&shown["per_second"], &shown["concurrency"], &shown["layer"]),
        (&json!(7.5), &json!(3), &json!("runtime"))
    );
    let (status, _) = gateway.ops_send("DELETE", path, json!({})).await;
    assert_eq!(status, 200);
    let gateway = gateway.crash_and_restart(&sandbox).await;
    let shown = rate(&gateway).await;
    assert_eq!(
        (&shown["per_second"], &shown["layer"]),
        (&json!(50.0), &json!("configured"))
    );
}

#[tokio::test]
async fn what_does_not_exist_is_a_404_that_says_so() {
    let sandbox = Sandbox::start(json!({})).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    for path in [
        "/",
        "/api",
        "/api/openapi.json",
        "/api/dead-letters",
        "/api/stream",
        "/api/messages",
        "/api/messages/nobody",
        "/api/channels/other",
        "/console",
    ] {
        let answer = gateway
            .http
            .get(format!("{}{path}", gateway.ops))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(
            answer.headers()["content-type"],
            "application/problem+json",
            "{path}"
        );
        let problem: Value = answer.json().await.unwrap();
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{path}"
        );
    }
    for (method, path) in [
        ("POST", "/api/channels/other/pause"),
        ("POST", "/api/channels/other/resume"),
        ("PUT", "/api/accounts/other/rate"),
        ("DELETE", "/api/accounts/other/rate"),
        ("POST", "/api/accounts/other/token/refresh"),
        ("POST", "/api/replay"),
    ] {
        let (status, problem) = gateway
            .ops_send(method, path, json!({ "per_second": 5 }))
            .await;
        assert_eq!(status, 404, "{method} {path}: {problem}");
    }
    let (status, _) = gateway
        .ops_send(
            "PUT",
            "/api/accounts/other/token/seed",
            json!({ "refresh_token": "x" }),
        )
        .await;
    assert_eq!(status, 404);
    assert_eq!(gateway.ops_get("/api/channels/default/pause").await.0, 405);
}

#[tokio::test]
async fn a_web_page_cannot_change_anything_by_a_form() {
    let sandbox = Sandbox::start(json!({})).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let url = format!("{}/api/channels/default/pause", gateway.ops);
    for kind in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data"),
    ] {
        let mut request = gateway.http.post(&url).body("{}");
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        assert_eq!(request.send().await.unwrap().status(), 415, "{kind:?}");
    }
    assert_eq!(
        gateway.ops_get("/api/channels").await.1["channels"][0]["paused"],
        false
    );
}

#[tokio::test]
async fn with_a_token_the_ops_listener_shows_nothing_but_healthz_without_it() {
    let sandbox = Sandbox::start(json!({})).await;
    let setup = Setup::towards(&sandbox)
        .env("OPS_TOKEN", "ops-token-for-tests")
        .set("ops.addr=0.0.0.0:0");
    let gateway = Gateway::start(&sandbox, setup).await;
    let ops = gateway.ops.replace("0.0.0.0", "127.0.0.1");
    let ask = async |path: &str, token: Option<&str>| {
        let mut request = gateway.http.get(format!("{ops}{path}"));
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask("/healthz", None).await, 200);
    for path in [
        "/metrics",
        "/api/ledger",
        "/api/messages/x",
        "/api/accounts",
        "/nowhere",
    ] {
        for wrong in [
            None,
            Some("Bearer wrong"),
            Some("ops-token-for-tests"),
            Some("Bearer "),
            Some("Basic ops-token-for-tests"),
        ] {
            assert_eq!(ask(path, wrong).await, 401, "{path} with {wrong:?}");
        }
    }
    assert_eq!(
        ask("/metrics", Some("Bearer ops-token-for-tests")).await,
        200
    );
    assert_eq!(
        ask("/api/ledger", Some("Bearer ops-token-for-tests")).await,
        200
    );
}

#[tokio::test]
async fn a_page_under_a_foreign_name_cannot_ask_a_loopback_listener() {
    let sandbox = Sandbox::start(json!({})).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let ask = async |host: &str| {
        let url = format!("{}/api/ledger", gateway.ops);
        let request = gateway.http.get(url).header("host", host);
        request.send().await.unwrap().status().as_u16()
    };
    for host in [
        "evil.example",
        "evil.example:3002",
        "127.0.0.1.evil.example",
    ] {
        assert_eq!(ask(host).await, 403, "{host}");
    }
    for host in ["127.0.0.1:3002", "localhost", "[::1]:3002"] {
        assert_eq!(ask(host).await, 200, "{host}");
    }
}
