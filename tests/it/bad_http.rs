//! What is no proper HTTP, on both listeners of the real binary: what is answered, how the connection
//! ends, and that nobody else notices. Limits of one request are tested in `send_route` and `src/http`.

use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How the connection of a case ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It takes the next request.
    Open,
    /// It is closed, after the answers or instead of them.
    Closed,
}
use End::{Closed, Open};

/// One connection, bytes as they are.
struct Raw {
    stream: TcpStream,
    /// What came and was not yet taken for an answer.
    rest: Vec<u8>,
}

impl Raw {
    async fn connect(url: &str) -> Self {
        let addr = url.trim_start_matches("http://");
        Self {
            stream: TcpStream::connect(addr).await.unwrap(),
            rest: Vec::new(),
        }
    }

    /// Writes all of it, or as much as is taken before the other side has had enough.
    async fn say(&mut self, bytes: &[u8]) {
        let said = timeout(PATIENCE, self.stream.write_all(bytes)).await;
        let _ = said.expect("bytes are taken, or the connection is closed");
    }

    /// The next answer with its body; nothing when the connection ends first.
    async fn answer(&mut self) -> Option<(u16, String)> {
        loop {
            if let Some(answer) = self.parsed() {
                return Some(answer);
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.rest)).await;
            match read.expect("an answer, or an end") {
                Ok(1..) => {}
                // A connection that is closed with unread bytes ends in a reset.
                Ok(0) | Err(_) => return None,
            }
        }
    }

    fn parsed(&mut self) -> Option<(u16, String)> {
        let end = self.rest.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8(self.rest[..end].to_vec()).unwrap();
        let head = head.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1);
        let length = length.map_or(0, |text| text.lines().next().unwrap().parse().unwrap());
        if self.rest.len() < end + 4 + length {
            return None;
        }
        let body = self.rest[end + 4..end + 4 + length].to_vec();
        self.rest.drain(..end + 4 + length);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Some((status, String::from_utf8(body).unwrap()))
    }

    /// Whether the connection takes another request.
    async fn end(&mut self) -> End {
        self.say(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            .await;
        match self.answer().await {
            Some((200, _)) => Open,
            _ => Closed,
        }
    }
}

/// A caller as MoEngage and Jumper are, all the time; everything of it must succeed.
struct Normal {
    stop: Arc<AtomicBool>,
    task: JoinHandle<usize>,
}

impl Normal {
    fn start(gateway: &Gateway) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (http, stopped) = (gateway.http.clone(), stop.clone());
        let url = format!("{}/jumper_send_whatsapp", gateway.url);
        let webhook = gateway.webhook();
        let task = tokio::spawn(async move {
            let mut served = 0;
            while !stopped.load(Ordering::Relaxed) {
                let id = format!("normal-{served}");
                let request = http.post(&url).header("authorization", TOKEN);
                let request = request.body(order_update(&id, &number(served % 1000)).to_string());
                let answer = request.send().await.unwrap();
                assert_eq!(answer.text().await.unwrap(), r#"{"status":"success"}"#);
                let event = vonage(&format!("nobody-{served}"), "delivered");
                let answer = http.post(&webhook).json(&event).send().await.unwrap();
                assert_eq!(answer.status(), 200);
                served += 1;
                // waits because a caller that takes all it can get would hide a delay
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            served
        });
        Self { stop, task }
    }

    /// Ends; how often it was served.
    async fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

async fn start() -> (Sandbox, Gateway) {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox)
        .set("http.header_timeout=3s")
        .set("http.body_timeout=3s");
    let gateway = Gateway::start(&sandbox, setup).await;
    gateway.process_templates().await;
    (sandbox, gateway)
}

/// A send with these headers, `{length}` among them, and this body.
fn post(headers: &str, body: &[u8]) -> Vec<u8> {
    let headers = headers.replace("{length}", &format!("content-length: {}\r\n", body.len()));
    let head = format!(
        "POST /jumper_send_whatsapp HTTP/1.1\r\nhost: x\r\nauthorization: {TOKEN}\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn good(id: &str) -> Vec<u8> {
    post(
        "{length}",
        order_update(id, &number(1)).to_string().as_bytes(),
    )
}

fn get(line: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").into_bytes()
}

type Case = (&'static str, Vec<u8>, &'static [u16], End);

/// What no HTTP server may take for a request.
fn no_requests() -> Vec<Case> {
    let hello = [&[0x16, 3, 1, 0, 0xa5, 1, 0, 0, 0xa1, 3, 3][..], &[7; 160]].concat();
    let header = |header: &str| post(&format!("{header}{{length}}"), b"{}");
    let many = (0..200).map(|n| format!("x{n}: y\r\n")).collect::<String>();
    vec![
        (
            "garbage",
            b"\x00\x01\x02\xff\xfe\r\n\r\n".to_vec(),
            &[400],
            Closed,
        ),
        ("much garbage", vec![0x80; 300_000], &[400], Closed),
        ("a TLS hello", hello, &[400], Closed),
        (
            "HTTP/2",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0".to_vec(),
            &[],
            Closed,
        ),
        ("HTTP/0.9", b"GET /\r\n".to_vec(), &[400], Closed),
        (
            "HTTP/1.2",
            b"GET / HTTP/1.2\r\nhost: x\r\n\r\n".to_vec(),
            &[400],
            Closed,
        ),
        ("no colon", header("nonsense\r\n"), &[400], Closed),
        ("a space in a name", header("a b: c\r\n"), &[400], Closed),
        (
            "a space behind a name",
            header("transfer-encoding : chunked\r\n"),
            &[400],
            Closed,
        ),
        ("a null in a header", header("x: a\0b\r\n"), &[400], Closed),
        ("a null in the path", get("GET /\0"), &[400], Closed),
        ("a space in the path", get("GET /a b"), &[400], Closed),
        ("a folded header", header("x: a\r\n b\r\n"), &[400], Closed),
        ("200 headers", header(&many), &[431], Closed),
        (
            "a header of 1 MB",
            header(&format!("x: {}\r\n", "a".repeat(1_000_000))),
            &[431],
            Closed,
        ),
        (
            // A shorter one that comes in one piece is answered 414.
            "a path of 140 KB",
            get(&format!("GET /{}", "a".repeat(140_000))),
            &[431],
            Closed,
        ),
        ("half a head", b"POST /jumper_send".to_vec(), &[], Closed),
        (
            "half a header",
            b"GET / HTTP/1.1\r\nhos".to_vec(),
            &[],
            Closed,
        ),
    ]
}

/// Requests that are understood, odd as they are.
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn odd_requests() -> Vec<Case> {
    let upgrade =
        "GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n";
    let http_1_0 = String::from_utf8(good("old"))
        .unwrap()
        .replace("HTTP/1.1", "HTTP/1.0");
    vec![
        (
            "absolute form",
            get("GET http://other.example/healthz"),
            &[200],
            Open,
        ),
        ("an unknown method", get("BREW /healthz"), &[405], Open),
        (
            "a method of 5 KB",
            get(&format!("{} /healthz", "G".repeat(5000))),
            &[405],
            Open,
        ),
        ("TRACE", get("TRACE /jumper_send_whatsapp"), &[405], Open),
        ("OPTIONS *", get("OPTIONS *"), &[404], Open),
        ("CONNECT", get("CONNECT other.example:443"), &[404], Open),
        ("a path upwards", get("GET /../../etc/passwd"), &[404], Open),
        (
            "a path of 60 KB",
            get(&format!("GET /{}", "a".repeat(60_000))),
            &[404],
            Open,
        ),
        (
            "a path that is no text",
            get("POST /jumper_callback/%ff"),
            &[404],
            Open,
        ),
        (
            "a channel that is no text",
            get("POST /channels/%ff/callback/x"),
            &[404],
            Open,
        ),
        ("an upgrade", upgrade.as_bytes().to_vec(), &[200], Open),
        ("HTTP/1.0", http_1_0.into_bytes(), &[200], Closed),
        (
            "a header of 60 KB",
            [post(
                &format!("x: {}\r\n{{length}}", "a".repeat(60_000)),
                order_update("wide", &number(2)).to_string().as_bytes(),
            )]
            .concat(),
            &[200],
            Open,
        ),
        (
            "empty lines before it",
            [&b"\r\n\r\n"[..], &good("late")].concat(),
            &[200],
            Open,
        ),
        (
            "an expectation",
            post(
                "expect: 100-continue\r\n{length}",
                order_update("asked", &number(3)).to_string().as_bytes(),
            ),
            &[100, 200],
            Open,
        ),
    ]
}

/// Bodies that are not what their headers say.
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn bad_bodies() -> Vec<Case> {
    let body = order_update("never", &number(4)).to_string();
    let sized = |length: &str| post(&format!("content-length: {length}\r\n"), body.as_bytes());
    let coded = |coding: &str, body: &[u8]| post(&format!("transfer-encoding: {coding}\r\n"), body);
    let chunk = |size: &str| {
        coded(
            "chunked",
            format!("{size}\r\n{body}\r\n0\r\n\r\n").as_bytes(),
        )
    };
    let short = post("{length}", body.as_bytes());
    let extension = format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(100_000));
    let trailers = (0..5000)
        .map(|n| format!("x{n}: y\r\n"))
        .collect::<String>();
    vec![
        (
            "two lengths",
            post(
                &format!("content-length: 3\r\ncontent-length: {}\r\n", body.len()),
                body.as_bytes(),
            ),
            &[400],
            Closed,
        ),
        ("a list of lengths", sized("5, 5"), &[400], Closed),
        ("a length below zero", sized("-1"), &[400], Closed),
        ("a length with a sign", sized("+5"), &[400], Closed),
        (
            "a length beyond numbers",
            sized("99999999999999999999999"),
            &[400],
            Closed,
        ),
        (
            "a length beyond the limit",
            sized("10737418240"),
            &[413],
            Closed,
        ),
        ("an unknown coding", coded("gzip", b""), &[400], Closed),
        ("a chunk without size", chunk("zz"), &[400], Closed),
        ("a chunk below zero", chunk("-1"), &[400], Closed),
        (
            "a chunk beyond numbers",
            chunk("fffffffffffffffff"),
            &[400],
            Closed,
        ),
        ("a chunk that goes on", chunk("1"), &[400], Closed),
        (
            "a chunk that never ends",
            chunk("ffffffffffffffff"),
            &[408],
            Closed,
        ),
        (
            "a chunk with 100 KB beside its size",
            coded("chunked", extension.as_bytes()),
            &[400],
            Closed,
        ),
        (
            "5000 trailers",
            coded("chunked", format!("0\r\n{trailers}\r\n").as_bytes()),
            &[400],
            Closed,
        ),
        (
            "a body that stays out",
            short[..short.len() - 20].to_vec(),
            &[408],
            Closed,
        ),
        (
            "a body that goes on",
            [&post("{length}", b"{}"), &b"garbage\r\n\r\n"[..]].concat(),
            &[400, 400],
            Closed,
        ),
    ]
}

#[tokio::test]
async fn what_is_no_proper_http_gets_its_answer_and_its_end_and_hurts_nobody() {
    let (_sandbox, gateway) = start().await;
    let normal = Normal::start(&gateway);
    let cases = no_requests()
        .into_iter()
        .chain(odd_requests())
        .chain(bad_bodies());
    for (what, bytes, statuses, end) in cases {
        let mut raw = Raw::connect(&gateway.url).await;
        raw.say(&bytes).await;
        for wanted in statuses {
            let answer = raw.answer().await;
            let (status, body) = answer.unwrap_or_else(|| panic!("{what}: no {wanted}"));
            assert_eq!(status, *wanted, "{what}: {body}");
            // Who is refused before there is a request gets the bare status.
            let told = serde_json::from_str::<Value>(&body);
            assert!(
                body.is_empty() || told.is_ok_and(|body| body.is_object()),
                "{what}: {body}"
            );
        }
        assert_eq!(raw.end().await, end, "{what}");
    }
    let served = normal.stop().await;
    assert!(served > 0);
    // Four of the odd ones were sends.
    let ledger = gateway.ledger().await;
    assert_eq!(
        (&ledger["accepted"], &ledger["lost"]),
        (&json!(served + 4), &json!(0))
    );
    assert!(!gateway.process.output().contains("panicked"));
}

#[tokio::test]
async fn the_ops_listener_answers_problems_for_what_is_no_proper_http() {
    let (_sandbox, gateway) = start().await;
    for (what, bytes, statuses, end) in no_requests() {
        let mut raw = Raw::connect(&gateway.ops).await;
        raw.say(&bytes).await;
        // A request to a path of the public listener; the same bytes are no request here either.
        let answer = raw.answer().await.map(|(status, _)| status);
        let bare = statuses.first().copied();
        let half = what.starts_with("half");
        assert!(answer == bare || half, "{what}: {answer:?}");
        if !half {
            assert_eq!(raw.end().await, end, "{what}");
        }
    }
    for (line, status) in [
        ("GET /api/messages/%ff", 400),
        ("GET /api/messages/x?channel=a&channel=b", 400),
        ("GET /nope", 404),
        ("TRACE /metrics", 415),
    ] {
        let mut raw = Raw::connect(&gateway.ops).await;
        raw.say(&get(line)).await;
        let (got, body) = raw.answer().await.unwrap();
        assert_eq!(got, status, "{line}: {body}");
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["status"], status, "{line}: {body}");
        assert!(problem["detail"].is_string(), "{line}: {body}");
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let (_sandbox, gateway) = start().await;
    let mut raw = Raw::connect(&gateway.url).await;
    let wrong = post("{length}", b"{}");
    let all = [
        good("p0"),
        wrong.clone(),
        get("GET /healthz"),
        good("p1"),
        wrong,
        good("p0"),
    ];
    raw.say(&all.concat()).await;
    let mut answers = Vec::new();
    for _ in 0..all.len() {
        let (status, body) = raw.answer().await.unwrap();
        answers.push((
            status,
            serde_json::from_str::<Value>(&body).unwrap()["status"].clone(),
        ));
    }
    let success = (200, json!("success"));
    let malformed = (400, Value::Null);
    let alive = (200, json!("alive"));
    let wanted = [&success, &malformed, &alive, &success, &malformed, &success];
    assert_eq!(answers.iter().collect::<Vec<_>>(), wanted);
    assert_eq!(gateway.ledger().await["accepted"], 2);
    assert_eq!(raw.end().await, Open);
}

/// Who hangs up may come again: what was stored is a repeat then, what was not is new.
#[tokio::test]
async fn who_hangs_up_early_leaves_nothing_half_done() {
    const CALLERS: usize = 40;
    let (_sandbox, gateway) = start().await;
    for n in 0..CALLERS {
        let id = format!("gone-{n}");
        let request = good(&id);
        // From the first byte to the last, and the answer never read.
        let said = if n < CALLERS / 2 {
            request.len() * n / (CALLERS / 2)
        } else {
            request.len()
        };
        let mut raw = Raw::connect(&gateway.url).await;
        raw.say(&request[..said]).await;
        if n % 2 == 0 {
            // Without this the end is an orderly one.
            raw.stream.set_zero_linger().unwrap();
        }
        drop(raw);
    }
    for n in 0..CALLERS {
        let mut body = order_update(&format!("gone-{n}"), &number(1));
        gateway.accept_body(&body).await;
        body["to"] = json!(number(1));
        gateway.accept_body(&body).await;
    }
    let ledger = gateway.ledger().await;
    assert_eq!(
        (&ledger["accepted"], &ledger["lost"]),
        (&json!(CALLERS), &json!(0))
    );
    let message = gateway.message("gone-39").await;
    assert_eq!(message["msg_id"], "gone-39");
}

/// Nobody is cut off for being slow while such a test runs.
fn patient(setup: Setup) -> Setup {
    setup
        .set("http.header_timeout=10m")
        .set("http.idle_timeout=10m")
}

/// 500 connections that say nothing more and 500 that said half a request, while all others go on.
#[tokio::test]
async fn idle_and_half_said_connections_cost_the_others_nothing() {
    const EACH: usize = 500;
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, patient(Setup::towards(&sandbox))).await;
    gateway.process_templates().await;
    let normal = Normal::start(&gateway);
    let mut held = Vec::new();
    for n in 0..2 * EACH {
        let mut raw = Raw::connect(&gateway.url).await;
        if n % 2 == 0 {
            assert_eq!(raw.end().await, Open);
        } else {
            raw.say(b"POST /jumper_send_whatsapp HTTP/1.1\r\nhost: x\r\nx: ")
                .await;
        }
        held.push(raw);
    }
    // They may go on saying nothing for ten minutes; who waits for them waits longer than this.
    tokio::time::timeout(PATIENCE, gateway.accept("among-them", &number(1)))
        .await
        .unwrap();
    let served = normal.stop().await;
    assert!(served > 0);
    for raw in held.iter_mut().step_by(2) {
        assert_eq!(raw.end().await, Open, "an idle one was closed without need");
    }
    let ledger = gateway.ledger().await;
    assert_eq!(
        (&ledger["accepted"], &ledger["lost"]),
        (&json!(served + 1), &json!(0))
    );
}

/// A process that may open few files says so, and serves new callers at the cost of idle ones.
#[tokio::test]
async fn more_connections_than_may_be_open_do_not_keep_anybody_out() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = patient(Setup::towards(&sandbox)).files(300);
    let gateway = Gateway::start(&sandbox, setup).await;
    gateway.process_templates().await;
    let few = "the limit of open files allows fewer connections";
    gateway.process.said(&[few]).await;
    let normal = Normal::start(&gateway);
    let mut held = Vec::new();
    for n in 0..600 {
        let mut raw = Raw::connect(&gateway.url).await;
        match n % 3 {
            0 => assert_eq!(raw.end().await, Open),
            1 => raw.say(b"POST /jumper_send_whatsapp HTTP/1.1\r\n").await,
            _ => {}
        }
        held.push(raw);
        if n % 3 == 0 {
            // The operators' listener must not take the files of the others.
            held.push(Raw::connect(&gateway.ops).await);
        }
    }
    let served = normal.stop().await;
    assert!(served > 0);
    let said = gateway.process.said(&["give way"]).await;
    assert!(!said.contains("no connection could be accepted"), "{said}");
    assert_eq!(gateway.ledger().await["lost"], 0);
}

#[tokio::test]
async fn a_webhook_that_is_not_read_is_counted_by_its_reason() {
    let (_sandbox, gateway) = start().await;
    let webhook = gateway.webhook();
    let path = webhook.strip_prefix(&gateway.url).unwrap();
    let beginning = format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1000\r\n\r\n{{\"event\":"
    );
    let huge = vec![b' '; 1_100_000];
    let answer = gateway.http.post(&webhook).body(huge).send().await.unwrap();
    assert_eq!(answer.status(), 413);
    let packed = gateway
        .http
        .post(&webhook)
        .header("content-encoding", "gzip");
    // Bytes that are no text: a body that a proxy inflated is read, whatever its header says.
    let packed = packed.body(vec![0x1f, 0x8b, 8, 0]);
    assert_eq!(packed.send().await.unwrap().status(), 415);
    let mut slow = Raw::connect(&gateway.url).await;
    slow.say(beginning.as_bytes()).await;
    assert_eq!(slow.answer().await.unwrap().0, 408);
    let mut cut = Raw::connect(&gateway.url).await;
    cut.say(beginning.as_bytes()).await;
    drop(cut);
    for outcome in ["too_large", "encoded", "slow", "cut"] {
        let line = format!("gateway_webhooks_total{{channel=\"default\",outcome=\"{outcome}\"}}");
        until(outcome, async || {
            (figure(&gateway.metrics().await, &line) == 1.0).then_some(())
        })
        .await;
    }
    assert_eq!(gateway.ledger().await["events"], 0);
}
