//! Names, ids, phones, replies and errors as an enemy would write them: they are data wherever they
//! come out. In JSON of the ops listener, at the terminal, in the log, at MoEngage.

use crate::it::scripted_peer::Peer;
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What stands in every field that takes a text.
const HOSTILE: [&str; 10] = [
    "<script>alert(1)</script>",
    "'\"><img src=x onerror=alert(1)>",
    "a\nb\r\n2031-03-03T10:00:00Z ERROR forged\n",
    "\u{1b}[31mred\u{1b}[2J\u{1b}]0;title\u{7}",
    "\u{202e}gnp.exe\u{2066}\u{200f}",
    "nul\u{0}back\u{8}del\u{7f}c1\u{9b}2J",
    "line\u{2028}para\u{2029}next\u{85}",
    "x level=ERROR msg=\"forged\" alert=true",
    "\",\"level\":\"ERROR\",\"forged\":\"",
    "${jndi:ldap://x} {{7*7}} %s%n '; DROP TABLE messages; --",
];

/// Whether a character does anything but stand there.
fn steers(c: char) -> bool {
    c.is_control()
        || "\u{2028}\u{2029}\u{200e}\u{200f}\u{61c}".contains(c)
        || ('\u{202a}'..='\u{202e}').contains(&c)
        || ('\u{2066}'..='\u{2069}').contains(&c)
}

/// A gateway whose Jumper is away: every template may exist, and every message waits.
async fn waiting() -> (Sandbox, Gateway, Setup) {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox).env("JUMPER_API_URL", &format!("http://{}", nowhere()));
    let gateway = Gateway::start_unheard(setup.clone());
    (sandbox, gateway, setup)
}

/// A send with a hostile text everywhere.
fn hostile_send(n: usize) -> Value {
    let text = HOSTILE[n];
    send(
        text,
        &number(n),
        text,
        text,
        json!([
            { "type": "header", "parameters": [{ "type": "document", "document": {
                "link": "https://cdn.test/x.pdf", "filename": text } }] },
            { "type": "body", "parameters": [{ "type": "text", "text": text }] },
        ]),
    )
}

#[tokio::test]
async fn hostile_texts_come_out_of_the_ops_api_as_json_strings_and_not_at_all_out_of_the_metrics() {
    let (_sandbox, gateway, _) = waiting().await;
    for (n, text) in HOSTILE.iter().enumerate() {
        let url = format!("{}/jumper_send_whatsapp", gateway.url);
        let request = gateway.http.post(url).query(&[("campaign_id", text)]);
        let request = request.header("authorization", format!("Bearer {TOKEN}"));
        let answer = request.json(&hostile_send(n)).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "{\"status\":\"success\"}");
        for by in [text.to_string(), number(n)] {
            let url = format!("{}/api/search", gateway.ops);
            let request = gateway.http.post(url).json(&json!({ "id": by }));
            let answer = request.send().await.unwrap();
            assert_eq!(answer.headers()["content-type"], "application/json");
            assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
            let raw = answer.text().await.unwrap();
            assert!(!raw.chars().any(|c| c < ' '), "{raw:?}");
            let found: Value = serde_json::from_str(&raw).unwrap();
            let found = &found["messages"][0];
            for name in ["msg_id", "template", "language", "campaign_id"] {
                assert_eq!(found[name], *text, "{name}");
            }
        }
    }
    let metrics = gateway.metrics().await;
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        assert!(line.is_empty() || name.starts_with("gateway_"), "{line}");
        for part in [
            "script", "forged", "jndi", "onerror", "title", "gnp", "para",
        ] {
            assert!(!line.contains(part), "{line}");
        }
    }
}

/// What a command prints, byte for byte.
fn printed(args: &[&str], setup: &Setup) -> (String, String) {
    let place = tempfile::tempdir().unwrap();
    let ended = std::process::Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(args)
        .env_clear()
        .envs(&setup.env)
        .current_dir(place.path())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(ended.stdout), text(ended.stderr))
}

#[tokio::test]
async fn hostile_texts_do_not_steer_the_terminal_of_who_traces_them() {
    let (_sandbox, gateway, setup) = waiting().await;
    let setup = setup.env("OPS_ADDR", gateway.ops.trim_start_matches("http://"));
    gateway.accept("plain", &number(50)).await;
    let (plain, _) = printed(&["trace", "plain"], &setup);
    assert!(plain.starts_with("plain  waiting: "), "{plain}");
    for n in 0..HOSTILE.len() {
        gateway.accept_body(&hostile_send(n)).await;
        let (out, err) = printed(&["trace", &number(n)], &setup);
        assert!(!out.is_empty() && err.is_empty(), "{err}");
        let bad = out.chars().find(|c| *c != '\n' && steers(*c));
        assert_eq!(bad, None, "{out:?}");
        assert_eq!(
            out.lines().count(),
            plain.lines().count(),
            "a line was forged: {out}"
        );
    }
}

/// Something that is no gateway, no Jumper and no Redis, and answers everything with this.
async fn liar(answer: Vec<u8>) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut piece = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut piece).await {
                    // Redis is asked several things at once, each of which begins with a star.
                    let asked = piece[..length].iter().filter(|byte| **byte == b'*').count();
                    let is_redis = piece[0] == b'*';
                    for _ in 0..if is_redis { asked } else { 1 } {
                        let _ = stream.write_all(&answer).await;
                    }
                }
            });
        }
    });
    (addr, task)
}

/// Nothing in what was printed steers a terminal, forges a line or goes on without end.
fn assert_harmless(said: &str) {
    let bad = said.chars().find(|c| *c != '\n' && steers(*c));
    assert_eq!(bad, None, "{said:?}");
    let longest = said.lines().map(str::len).max();
    assert!(longest < Some(5000), "a line of {longest:?} bytes");
    assert!(
        said.contains("Redis: "),
        "Redis' own words are told: {said}"
    );
    let forged = said.lines().find(|line| line.starts_with("2031-03-03"));
    assert_eq!(forged, None, "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_servers_do_not_steer_the_terminal_of_who_checks_them() {
    let sandbox = Sandbox::start(json!({})).await;
    let text = HOSTILE.join(" ");
    let problem = json!({ "detail": text, "note": text, "messages": [], "status": text,
        "reason": text, "accounts": [{ "account": text, "token": { "state": text, "reason": text },
        "held": { "since": text, "reason": text } }], "channels": [], "total": {} });
    let body = problem.to_string();
    let http = |status| {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
    };
    let (web, _web) = liar(http("200 OK")).await;
    let (refuses, _refuses) = liar(http("500 Oh")).await;
    let line = text.replace(['\r', '\n'], " ").repeat(100);
    let (redis, _redis) = liar(format!("-ERR {line}\r\n").into_bytes()).await;
    let setup = |ops: &str| {
        Setup::towards(&sandbox)
            .env("OPS_ADDR", ops)
            .env("PORT", ops.rsplit(':').next().unwrap())
            .env("JUMPER_API_URL", &format!("http://{web}"))
            .env("REDIS_URL", &format!("redis://{redis}"))
            .env("DT_PROJECT_ID", "p")
            .env("DATASTORE_EMULATOR_HOST", &refuses)
    };
    for ops in [&web, &refuses] {
        let mut said = String::new();
        for args in [
            vec!["check"],
            vec!["trace", "x"],
            vec!["config"],
            vec!["health"],
        ] {
            let mut setup = setup(ops);
            let other = if args[0] == "health" {
                "OPS_ADDR"
            } else {
                "PORT"
            };
            setup.env.remove(other);
            let (out, err) = printed(&args, &setup);
            assert!(!out.is_empty() || !err.is_empty(), "{args:?}");
            said += &(out + &err);
        }
        assert_harmless(&said);
    }
}

/// Head lines as no library would send them.
async fn raw_requests(gateway: &Gateway) {
    let addr = gateway.url.trim_start_matches("http://");
    for odd in [
        "\u{1b}[2J",
        "\u{9b}2J",
        "x level=ERROR msg=\"forged\"",
        "\u{202e}x",
        "\",\"forged\":\"",
    ] {
        let path = odd.replace(' ', "%20").replace('\u{1b}', "%1b");
        for at in [
            format!("/{path}"),
            format!("/jumper_send_whatsapp?campaign_id={path}"),
            format!("/jumper_callback/{path}"),
            format!("/channels/{path}/send"),
        ] {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            let head = format!(
                "POST {at} HTTP/1.1\r\nhost: {odd}\r\nuser-agent: {odd}\r\nx-forwarded-for: {odd}\r\n\
                 referer: {odd}\r\nauthorization: Bearer {odd}\r\ncontent-length: 0\r\n\
                 connection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
        }
    }
}

/// Everything that comes from outside says something hostile, and what is logged of it is logged.
async fn provoke(format: &str) -> (String, Sandbox) {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let refuses = |text| json!({ "route": "dlr", "next": 1, "status": 400, "body": text });
    let mut rules = HOSTILE.map(refuses).to_vec();
    // Replies of a hostile kind are no more MoEngage's than ours; it takes them here.
    rules.push(json!({ "route": "dlr", "status": 200 }));
    sandbox.rule(json!(rules)).await;
    let setup = Setup::towards(&sandbox)
        .env("LOG_FORMAT", format)
        .env(
            "RUST_LOG",
            "trace,hyper=info,hyper_util=info,reqwest=info,rustls=info,mio=info",
        )
        .set("moengage.max_pause=50ms")
        .set("moengage.batch_entries=1");
    let mut gateway = Gateway::start(&sandbox, setup).await;
    raw_requests(&gateway).await;
    gateway.process_templates().await;
    for (n, text) in HOSTILE.iter().enumerate() {
        // Refused: no such template.
        gateway.post(&hostile_send(n)).await;
        // Accepted, then refused by Jumper in these words, then refused by MoEngage in others.
        let words = text.replace(['\n', '\r'], " ");
        sandbox
            .script(
                "send",
                &[&format!("refuse:{words} {}", "long ".repeat(5000))],
            )
            .await;
        let mut message = order_update("m", &number(n));
        message["msg_id"] = json!(format!("{n}{text}"));
        gateway.accept_body(&message).await;
        let reply = json!({ "event": { "type": "NEW", "data": {
            "messageid": text, "mobile": "12025550001", "message": text, "type": text } } });
        let unknown = json!({ "event": { "type": text, "subscription_type": text, "data": {} } });
        for event in [reply, unknown, vonage(text, "read"), vonage(text, text)] {
            assert_eq!(gateway.event(&event).await, 200);
        }
        gateway
            .ops_send("POST", "/api/search", json!({ "id": text }))
            .await;
    }
    until("all ended", async || {
        let ledger = gateway.ledger().await;
        let dead = &ledger["callbacks"]["dead_letters"];
        (ledger["failed"] == HOSTILE.len() && *dead == HOSTILE.len()).then_some(())
    })
    .await;
    // At last it is held, for a reason in Jumper's words.
    let words = "x level=ERROR msg=\"forged\" alert=false";
    refuse_five_alike(&sandbox, &gateway, words).await;
    until("a person is told", async || {
        let log = gateway.process.output();
        log.contains("The provider answers alike").then_some(())
    })
    .await;
    gateway.process.terminate();
    gateway.process.wait();
    (gateway.process.output(), sandbox)
}

/// Five people's messages are answered alike, in these words: then they are held.
async fn refuse_five_alike(sandbox: &Sandbox, gateway: &Gateway, words: &str) {
    let outcome = format!("fault:403:{words}");
    sandbox
        .rule(json!({ "route": "send", "outcome": outcome }))
        .await;
    for n in 80..85 {
        gateway.accept(&format!("last{n}"), &number(n)).await;
    }
}

/// What a line is made of: when, how bad, the rest.
fn parts(line: &str) -> Option<(&str, &str, &str)> {
    let (time, rest) = line.split_once(' ')?;
    let (level, rest) = rest.trim_start().split_once(' ')?;
    let is_time = time.len() > 20 && time.ends_with('Z') && time.starts_with("20");
    let is_level = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"].contains(&level);
    (is_time && is_level).then_some((time, level, rest))
}

#[tokio::test]
async fn no_text_from_outside_forges_a_line_a_field_or_a_command_in_the_text_log() {
    let (log, _sandbox) = provoke("text").await;
    let mut told = 0;
    for line in log.split('\n') {
        assert!(!line.contains(steers), "{line:?}");
        assert!(line.len() < 8000, "{} bytes: {:.200}", line.len(), line);
        let Some((_, level, rest)) = parts(line) else {
            panic!("no line of ours: {line}");
        };
        told += usize::from(rest.contains("forged"));
        let alert = rest.starts_with("ALERT alert=true code=\"");
        assert!(level != "ERROR" || alert, "{line}");
        // Outside of quotes there are no words of others.
        let mut plain = String::new();
        for (n, piece) in rest
            .replace("\\\\", "")
            .replace("\\\"", "")
            .split('"')
            .enumerate()
        {
            plain += if n % 2 == 0 { piece } else { "" };
        }
        for part in ["forged", "level=", "msg=", "alert=false", "DROP TABLE"] {
            assert!(!plain.contains(part), "{part} is outside of quotes: {line}");
        }
    }
    assert!(told > 2, "the hostile words are in the log: {told}");
}

#[tokio::test]
async fn no_text_from_outside_forges_a_line_a_field_or_a_command_in_the_json_log() {
    let (log, _sandbox) = provoke("json").await;
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    for line in log.split('\n') {
        assert!(!line.contains(steers), "{line:?}");
        assert!(line.len() < 8000, "{} bytes", line.len());
        let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let event = event.as_object().unwrap();
        assert!(
            event.contains_key("timestamp") && event.contains_key("level"),
            "{line}"
        );
        assert!(!event.contains_key("forged"), "{line}");
        let message = event["message"].as_str().unwrap_or_default();
        assert!(!message.contains("forged"), "{line}");
        for (name, value) in event {
            let text = value.as_str().unwrap_or_default();
            for hostile in HOSTILE {
                if text.contains(hostile.trim()) {
                    *told.entry(hostile).or_default() += 1;
                    assert!(
                        ["msg_id", "reason", "refusal", "answer", "id", "what"]
                            .contains(&name.as_str()),
                        "{line}"
                    );
                }
            }
        }
    }
    // Those with a number in them are masked, or white space is one space in them.
    assert!(told.len() >= 8, "what came is told as it came: {told:?}");
}

/// Refusals travel on as JSON, whole and bounded.
#[tokio::test]
async fn moengage_is_told_hostile_words_as_json_and_not_without_end() {
    let (_, sandbox) = provoke("text").await;
    let posts = until("ten were told", async || {
        let mut posts = sandbox.posts().await;
        // Replies are told too, also those that come before the answer to the send.
        posts.retain(|post| post.body.contains("\"statuses\""));
        (posts.len() >= HOSTILE.len()).then_some(posts)
    })
    .await;
    for post in posts {
        let body: Value = serde_json::from_str(&post.body).expect("JSON");
        let entry = &body["statuses"][0];
        assert_eq!(entry["status"], "failed", "{body}");
        assert!(
            HOSTILE
                .iter()
                .any(|text| entry["msg_id"].as_str().unwrap().ends_with(text))
        );
        let words = entry["error"]["description"].as_str().unwrap();
        assert!((1..=400).contains(&words.chars().count()), "{words}");
        assert!(!words.contains('\n'), "{words}");
    }
}

/// A spelling of a number is kept as it came; one without end is no number.
#[tokio::test]
async fn a_number_written_without_end_is_refused() {
    let (_sandbox, gateway, _) = waiting().await;
    let endless = format!("1202{}5550143", " ".repeat(100_000));
    let mut message = order_update("m", "+12025550143");
    message["from"] = json!(endless);
    assert_eq!(code_of(&gateway.post(&message).await), "7000");
    let message = order_update("m", &endless);
    assert_eq!(code_of(&gateway.post(&message).await), "7002");
    assert_eq!(gateway.ledger().await["accepted"], 0);
    gateway.accept("m", "+1 (202) 555-0143").await;
}

#[tokio::test]
async fn slack_is_told_hostile_words_and_obeys_none_of_them() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let slack = Peer::start("200 OK", "ok").await;
    let setup = Setup::towards(&sandbox).env("SLACK_WEBHOOK_URL", &slack.url);
    let gateway = Gateway::start(&sandbox, setup).await;
    gateway.process_templates().await;
    let words = "<!channel> <@U1> <https://evil.test|click> &lt;!here&gt;";
    refuse_five_alike(&sandbox, &gateway, words).await;
    let told = until("Slack is told", async || slack.bodies().first().cloned()).await;
    let body: Value = serde_json::from_str(&told).unwrap();
    let text = body["text"].as_str().unwrap();
    assert!(
        text.contains("The provider answers alike") && text.contains("!channel"),
        "{text}"
    );
    assert!(
        !text.contains(['<', '>']) && text.contains("&amp;lt;!here"),
        "{text}"
    );
    assert_eq!(
        (&body["mrkdwn"], &body["unfurl_links"]),
        (&json!(false), &json!(false))
    );
}
