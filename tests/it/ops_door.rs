//! Who gets nothing at the ops listener, and what a browser may do with its answers: nothing.

use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use reqwest::Response;
use serde_json::{Value, json};
use std::time::Instant;

/// One gateway and one way to ask its ops listener.
async fn gateway(change: impl Fn(Setup) -> Setup) -> (Sandbox, Gateway) {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, change(Setup::towards(&sandbox))).await;
    (sandbox, gateway)
}

async fn ask(gateway: &Gateway, line: &str, headers: &[(&str, &str)]) -> Response {
    let (method, path) = line.split_once(' ').unwrap();
    let url = format!("{}{path}", gateway.ops);
    let mut request = gateway.http.request(method.parse().unwrap(), url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body("{}").send().await.unwrap()
}

const JSON: (&str, &str) = ("content-type", "application/json");

/// Headers of a request.
type Headers = &'static [(&'static str, &'static str)];

const ALWAYS: [(&str, &str); 6] = [
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    (
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Requests with their answers' status. A foreign page that asks first whether it may is not told how
/// it could.
const ROWS: [(&str, u16, Headers); 21] = [
    ("GET /healthz", 200, &[]),
    ("GET /readyz", 200, &[]),
    ("HEAD /healthz", 200, &[]),
    ("POST /healthz", 405, &[JSON]),
    ("GET /metrics", 200, &[]),
    ("GET /api/ledger", 200, &[]),
    ("HEAD /api/ledger", 200, &[]),
    ("GET /api/accounts", 200, &[]),
    ("GET /api/channels", 200, &[]),
    ("GET /api/messages/nobody", 404, &[]),
    ("GET /api/messages/%ff", 400, &[]),
    ("GET /api/messages/x?channel=a&channel=b", 400, &[]),
    ("GET /nowhere", 404, &[]),
    ("DELETE /api/ledger", 405, &[JSON]),
    ("POST /api/search", 400, &[JSON]),
    ("POST /api/channels/default/resume", 200, &[JSON]),
    ("POST /api/channels/default/resume", 415, &[]),
    ("PUT /api/accounts/default/token/seed", 400, &[JSON]),
    (
        "OPTIONS /api/channels/default/pause",
        403,
        &[("origin", "http://evil.test")],
    ),
    ("GET /api/ledger", 403, &[("host", "evil.test")]),
    ("GET /api/ledger", 403, &[("origin", "https://evil.test")]),
];

#[tokio::test]
async fn every_answer_is_for_programs_and_says_so_to_browsers() {
    let (_sandbox, gateway) = gateway(|setup| setup).await;
    for (line, status, headers) in ROWS {
        let answer = ask(&gateway, line, headers).await;
        assert_eq!(answer.status().as_u16(), status, "{line}");
        for (name, value) in ALWAYS {
            let found = answer
                .headers()
                .get(name)
                .map(|found| found.to_str().unwrap());
            assert_eq!(found, Some(value), "{name} of {line}");
        }
        for name in answer.headers().keys() {
            assert!(
                !name.as_str().starts_with("access-control-"),
                "{name} of {line}"
            );
        }
        let kind = answer.headers().get("content-type").cloned();
        let kind = kind
            .map(|kind| kind.to_str().unwrap().to_owned())
            .unwrap_or_default();
        let is_api = line.contains("/api/") || line.contains("nowhere");
        if is_api && !line.starts_with("HEAD") {
            let body: Value = answer.json().await.expect("JSON");
            let expected = match status {
                200 => "application/json",
                _ => "application/problem+json",
            };
            assert_eq!(kind, expected, "{line}");
            assert!(
                status == 200 || body["detail"].is_string(),
                "{line}: {body}"
            );
        }
    }
}

/// What browsers add to a request of a page, in the years since they do and in those before.
const FOREIGN: [Headers; 6] = [
    &[
        ("origin", "https://evil.test"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "cors"),
    ],
    &[
        ("origin", "http://127.0.0.1:8080"),
        ("sec-fetch-site", "same-site"),
    ],
    &[
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "no-cors"),
    ],
    &[("origin", "https://evil.test")],
    &[("origin", "null")],
    &[("origin", "http://127.0.0.1.evil.test")],
];

#[tokio::test]
async fn a_page_of_another_site_can_neither_change_nor_read_anything() {
    for token in [None, Some("ops-token-for-tests")] {
        let (_sandbox, gateway) = gateway(|setup| match token {
            Some(token) => setup.env("OPS_TOKEN", token),
            None => setup,
        })
        .await;
        let bearer = token
            .map(|token| format!("Bearer {token}"))
            .unwrap_or_default();
        let mut ours = vec![JSON];
        if token.is_some() {
            ours.push(("authorization", bearer.as_str()));
        }
        for foreign in FOREIGN {
            let headers = [&ours, foreign].concat();
            for line in [
                "POST /api/channels/default/pause",
                "GET /api/ledger",
                "GET /metrics",
            ] {
                let answer = ask(&gateway, line, &headers).await;
                assert_eq!(answer.status(), 403, "{line} {foreign:?}");
                assert!(!answer.text().await.unwrap().contains("accepted"));
            }
        }
        let kinds = [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonp",
            "text/plain; application/json",
            "multipart/form-data; boundary=application/json",
        ];
        for kind in kinds {
            let mut headers = ours.clone();
            headers[0] = ("content-type", kind);
            let answer = ask(&gateway, "POST /api/channels/default/pause", &headers).await;
            assert_eq!(answer.status(), 415, "{kind}");
        }
        let answer = ask(&gateway, "GET /api/channels", &ours).await;
        let channels: Value = answer.json().await.unwrap();
        assert_eq!(channels["channels"][0]["paused"], false);
        // A page of this listener, and programs, can.
        let own = [
            ("sec-fetch-site", "same-origin"),
            ("origin", gateway.ops.as_str()),
        ];
        for headers in [ours.clone(), [&ours[..], &own[..]].concat()] {
            let answer = ask(&gateway, "POST /api/channels/default/pause", &headers).await;
            assert_eq!(answer.status(), 200, "{headers:?}");
        }
    }
}

#[tokio::test]
async fn what_is_asked_for_comes_back_in_an_error_only_in_part() {
    let (_sandbox, gateway) = gateway(|setup| setup).await;
    let long = "x".repeat(20_000);
    let lines = [
        format!("POST /api/channels/{long}/pause"),
        format!("PUT /api/accounts/{long}/rate"),
        format!("GET /api/messages/{long}"),
        format!("GET /{long}"),
    ];
    for line in lines {
        let answer = ask(&gateway, &line, &[JSON]).await;
        assert!(answer.status().is_client_error());
        let text = answer.text().await.unwrap();
        assert!(text.len() < 2000, "{} bytes", text.len());
    }
    let wish = json!({ long.clone(): 1 });
    let (status, problem) = gateway
        .ops_send("PUT", "/api/accounts/default/rate", wish)
        .await;
    assert_eq!(status, 400);
    assert!(problem.to_string().len() < 2000);
    // The same limits of a listener as the public one has. Headers are refused for sure from twice
    // the 64 KiB that a connection buffers.
    let huge = json!({ "id": "x".repeat(2_000_000) });
    assert_eq!(gateway.ops_send("POST", "/api/search", huge).await.0, 413);
    let answer = ask(
        &gateway,
        "GET /api/ledger",
        &[("x-long", &"x".repeat(140_000))],
    )
    .await;
    assert_eq!(answer.status(), 431);
}

/// Lines of the log that have this in them.
fn lines(gateway: &Gateway, part: &str) -> usize {
    let log = gateway.process.output();
    log.lines().filter(|line| line.contains(part)).count()
}

#[tokio::test]
async fn who_is_refused_is_counted_each_time_and_logged_once_a_second() {
    const TIMES: usize = 300;
    let (_sandbox, gateway) = gateway(|setup| setup.env("OPS_TOKEN", "ops-token-for-tests")).await;
    let (sends, asks) = (
        "refused a caller of the send route",
        "refused a caller of the ops",
    );
    let began = Instant::now();
    for n in 0..TIMES {
        let wrong = format!("Bearer guess-{n}");
        let denied = [("authorization", wrong.as_str())];
        gateway.post_as(&denied, "{}").await;
        let answer = ask(&gateway, "GET /api/ledger", &denied).await;
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        post_raw(&gateway, &format!("/jumper_callback/guess-{n}"), "{}").await;
    }
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
    for part in [sends, asks] {
        let told = lines(&gateway, part);
        assert!(
            (1..=seconds + 2).contains(&told),
            "{told} lines in {seconds} s: {part}"
        );
    }
    assert_eq!(lines(&gateway, "guess-"), 0);
    let right = [("authorization", "Bearer ops-token-for-tests")];
    let metrics = ask(&gateway, "GET /metrics", &right)
        .await
        .text()
        .await
        .unwrap();
    for line in [
        "gateway_callers_refused_total",
        "gateway_ops_refused_total{reason=\"token\"}",
        "gateway_webhooks_total{channel=\"\",outcome=\"no_secret\"}",
    ] {
        assert_eq!(figure(&metrics, line), TIMES as f64, "{line}");
    }
}

/// A stranger may ask as often as he likes; the store is looked at now and then.
#[tokio::test]
async fn readyz_does_not_let_a_stranger_keep_the_store_busy() {
    crate::kit::redis_server::on_redis_only!();
    let stage = crate::it::replicas::Stage::new(
        json!({ "event_mode": "none" }),
        crate::kit::redis_server::Options::every_second(),
    )
    .await;
    let gateway = Gateway::start(&stage.sandbox, stage.setup()).await;
    let proofs = || {
        let stats = stage.redis.cli(&["INFO", "commandstats"]);
        let line = stats.lines().find(|line| line.starts_with("cmdstat_del:"));
        let calls = line.and_then(|line| line.split("calls=").nth(1)?.split(',').next());
        calls.map_or(0, |calls| calls.parse::<u128>().unwrap())
    };
    let (before, began) = (proofs(), Instant::now());
    let mut askers = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (http, url) = (gateway.http.clone(), format!("{}/readyz", gateway.url));
        askers.spawn(async move {
            for _ in 0..50 {
                assert_eq!(http.get(&url).send().await.unwrap().status(), 200);
            }
        });
    }
    askers.join_all().await;
    let most = began.elapsed().as_millis() / 50 + 2;
    let looked = proofs() - before;
    assert!(
        looked <= most,
        "500 questions, {looked} looks, {most} are allowed"
    );
}

/// The fakes obey whoever reaches them: nobody does from outside, unless told so.
#[tokio::test]
async fn sandbox_and_ops_listener_are_on_loopback_only() {
    let (sandbox, gateway) = gateway(|setup| setup).await;
    for url in [&sandbox.url, &gateway.ops] {
        let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
        assert!(url.starts_with("http://127.0.0.1:"), "{url}");
        // Every listener on all addresses answers at this one too.
        let other = tokio::net::TcpStream::connect(("127.0.0.2", port)).await;
        assert!(other.is_err(), "{url} listens beyond 127.0.0.1");
    }
    let mut open = Process::start(
        &["sandbox", "--port", "0", "--bind", "0.0.0.0"],
        &std::collections::BTreeMap::new(),
        std::env::temp_dir().as_path(),
    );
    let line = open.line_with("Jumper at");
    let port: u16 = line.rsplit(':').next().unwrap().parse().unwrap();
    let other = tokio::net::TcpStream::connect(("127.0.0.2", port)).await;
    assert!(other.is_ok(), "or this test shows nothing");
}
