//! The door: routes, tokens, the decision table, hostile bodies, patience.

use crate::kit::harness::*;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// A sandbox whose events do not matter, and a gateway that knows its templates.
async fn ready(setup: impl Fn(Setup) -> Setup) -> (Sandbox, Gateway) {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, setup(Setup::towards(&sandbox))).await;
    gateway.process_templates().await;
    (sandbox, gateway)
}

impl Gateway {
    /// Waits until the first list has come.
    pub(crate) async fn process_templates(&self) {
        until("the templates are here", async || {
            self.process
                .output()
                .contains("fetched the templates")
                .then_some(())
        })
        .await;
    }

    async fn post_to(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.url));
        let request = request.header("authorization", format!("Bearer {TOKEN}"));
        let answer = request.body(body.to_string()).send().await.unwrap();
        let status = answer.status().as_u16();
        assert_eq!(answer.headers()["content-type"], "application/json");
        (status, answer.json().await.unwrap())
    }
}

fn failure(code: &str, message: &str) -> (u16, Value) {
    let error = json!({ "code": code, "message": message });
    (200, json!({ "status": "failure", "error": error }))
}

fn success() -> (u16, Value) {
    (200, json!({ "status": "success" }))
}

#[tokio::test]
async fn r_30_every_route_of_the_old_connector_takes_a_send_and_keeps_its_campaign() {
    let (sandbox, gateway) = ready(|setup| setup).await;
    let routes = [
        "/jumper_send_whatsapp",
        "/send_whatsapp",
        "/chat/send-message",
        "/channels/default/send",
        "/send_whatsapp_task_queue",
        "/jumper_send_whatsapp/",
        "/Jumper_Send_WhatsApp",
        "/CHAT/send-message/",
        "/Channels/default/Send/",
    ];
    for (n, route) in routes.iter().enumerate() {
        let (id, to) = (format!("m{n}"), person(n));
        let path = format!("{route}?userId=7&campaign_id=spring-{n}&shopName=a");
        let answer = gateway.post_to(&path, &order_update(&id, &to)).await;
        assert_eq!(answer, success(), "{route}");
        let message = gateway.until_sent(&id).await;
        assert_eq!(message["campaign_id"], format!("spring-{n}"));
        assert_eq!(sandbox.sends_to(digits(&to)).await.len(), 1, "{route}");
    }
    let body = order_update("x", &person(90));
    for other in ["/channels/other/send", "/channels/Default/send"] {
        assert_eq!(
            gateway.post_to(other, &body).await,
            failure("7000", "Token does not match any channel")
        );
    }
    let (status, body) = gateway.post_to("/jumper_send_whatsap", &body).await;
    assert_eq!((status, body), (404, json!({ "message": "No such route" })));
    let url = format!("{}/jumper_send_whatsapp", gateway.url);
    let answer = gateway.http.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 405);
    assert!(answer.json::<Value>().await.unwrap()["message"].is_string());
}

#[tokio::test]
async fn each_valid_token_lets_moengage_in_under_each_header_with_and_without_bearer() {
    let (old, new) = ("the-old-token-0000", "the-new-token-1111");
    let both = format!("{old}, {new}");
    let (_sandbox, gateway) = ready(|setup| setup.env("MOENGAGE_AUTH_AGAINST", &both)).await;
    let mut n = 0;
    for header in ["Authorization", "Authentication", "X-Api-Key", "apikey"] {
        for token in [old, new] {
            for form in [
                token.to_owned(),
                format!("Bearer {token}"),
                format!("bearer {token}"),
            ] {
                n += 1;
                let body = order_update(&format!("m{n}"), &person(n)).to_string();
                let answer = gateway.post_as(&[(header, &form)], body).await;
                assert_eq!(answer, success(), "{header}: {form}");
            }
        }
    }
    assert_eq!(gateway.ledger().await["accepted"], n);
}

#[tokio::test]
async fn b_42_a_wrong_or_missing_token_gets_7000_and_nothing_is_kept() {
    let (sandbox, gateway) = ready(|setup| setup).await;
    let body = order_update("m1", &person(1)).to_string();
    let missing = failure("7000", "Token missing");
    assert_eq!(gateway.post_as(&[], body.clone()).await, missing);
    let wrong = failure("7000", "Token does not match any channel");
    for value in [
        "undefined",
        "Bearer",
        "Bearer undefined",
        "null",
        &TOKEN[1..],
        &TOKEN[..TOKEN.len() - 1],
        &format!("{TOKEN},"),
        &format!("{TOKEN} {TOKEN}"),
        &TOKEN.to_uppercase(),
        &format!("Token {TOKEN}"),
    ] {
        for header in ["authorization", "authentication", "x-api-key", "apikey"] {
            let answer = gateway.post_as(&[(header, value)], body.clone()).await;
            assert_eq!(answer, wrong, "{header}: {value}");
        }
    }
    assert_eq!(gateway.post_as(&[("apikey", "")], body).await, missing);
    assert_eq!(gateway.ledger().await["accepted"], 0);
    assert_eq!(sandbox.counts().await["sends_accepted"], 0);
}

#[tokio::test]
async fn each_row_of_the_decision_table_has_exactly_its_body() {
    let (sandbox, gateway) = ready(|setup| setup.env("WABA_NUMBER", BRAND)).await;
    gateway.accept("first", &person(1)).await;
    gateway.until_sent("first").await;
    let body = |value: &str| json!([{ "type": "body", "parameters": [{ "type": "text", "text": value }] }]);
    let order = |components| send("m", "+12025550143", "order_update", "en_US", components);
    let mut other = order_update("m", "+12025550143");
    other["from"] = json!("12025550199");
    let link = json!([{ "type": "header", "parameters": [
        { "type": "image", "image": { "link": "ftp://cdn.example/a.jpg" } }] }]);
    let rows = [
        (
            other,
            "7000",
            "No channel of this token sends from this number",
        ),
        (
            send("m", "+12025550143", "nope", "en_US", json!([])),
            "7001",
            "Template nope (en_US) is not approved at the provider",
        ),
        (
            order(body("one")),
            "7001",
            "Template order_update (en_US) needs 2 body values, got 1",
        ),
        (
            send("m", "+12025550143", "spring_sale", "en_GB", link),
            "7001",
            "link of the header image does not begin with http:// or https://",
        ),
        (
            order_update("m", "+1202555"),
            "7002",
            "Recipient is not a possible number: wrong country code or length",
        ),
        (
            order(json!([{ "type": "carousel", "cards": [] }])),
            "7004",
            "Carousel is not supported by this gateway",
        ),
    ];
    for (body, code, reason) in rows {
        assert_eq!(gateway.post(&body).await, failure(code, reason), "{body}");
    }
    let (status, answer) = gateway.post(&order_update("m", "call me")).await;
    assert_eq!((status, &answer["error"]["code"]), (200, &json!("7002")));
    let stop = json!({ "to": person(1), "text": "STOP" });
    assert_eq!(sandbox.post("reply", stop).await["status"], 200);
    assert_eq!(
        gateway.post(&order_update("m", &person(1))).await,
        failure("7003", "Recipient opted out")
    );
    assert_eq!(gateway.ledger().await["accepted"], 1);
    // Refused ids are not remembered.
    gateway.accept("m", &person(2)).await;
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table reads best in one piece")]
async fn what_is_no_send_gets_its_4xx_with_a_message_at_once() {
    let (_sandbox, gateway) = ready(|setup| setup).await;
    let deep = format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000));
    let with = |name: &str, value: Value| {
        let mut body = order_update("m", "+12025550143");
        body[name] = value;
        body.to_string().into_bytes()
    };
    let inside = |name: &str, value: Value| {
        let mut body = order_update("m", "+12025550143");
        body["template"][name] = value;
        body.to_string().into_bytes()
    };
    let whole = order_update("m", "+12025550143").to_string();
    let broken = |what: &str| whole.replace(what, "@").into_bytes();
    let broken = |what| {
        broken(what)
            .into_iter()
            .map(|byte| if byte == b'@' { 0xff } else { byte })
    };
    let bodies: [(&str, u16, Vec<u8>); 22] = [
        ("empty", 400, vec![]),
        ("half", 400, b"{\"msg_id\":".to_vec()),
        ("a form", 400, b"msg_id=m&to=1".to_vec()),
        ("null", 400, b"null".to_vec()),
        ("array", 400, b"[]".to_vec()),
        ("text", 400, b"\"send\"".to_vec()),
        ("trailing", 400, b"{} {}".to_vec()),
        ("bytes", 400, vec![0xff, 0xfe, 0x00]),
        (
            "a recipient that is not UTF-8",
            400,
            broken("0143").collect(),
        ),
        (
            "a name that is not UTF-8",
            400,
            broken("components").collect(),
        ),
        ("deep", 400, deep.into_bytes()),
        ("no msg_id", 400, with("msg_id", Value::Null)),
        ("msg_id number", 400, with("msg_id", json!(7))),
        ("msg_id empty", 400, with("msg_id", json!(""))),
        ("no template", 400, with("template", Value::Null)),
        (
            "template text",
            400,
            with("template", json!("order_update")),
        ),
        ("to number", 400, with("to", json!(12025550143_u64))),
        ("from list", 400, with("from", json!([BRAND]))),
        ("name number", 400, inside("name", json!(1))),
        ("language text", 400, inside("language", json!("en"))),
        ("components number", 400, inside("components", json!(3))),
        (
            "too large",
            413,
            with("extra", json!("x".repeat(1_100_000))),
        ),
    ];
    let token = format!("Bearer {TOKEN}");
    for (what, status, body) in bodies {
        let answer = gateway.post_as(&[("authorization", &token)], body).await;
        assert_eq!(answer.0, status, "{what}: {answer:?}");
        let message = answer.1["message"].as_str().unwrap_or_default();
        assert!(!message.is_empty(), "{what}: {answer:?}");
        assert_eq!(answer.1.as_object().unwrap().len(), 1, "{what}");
        assert!(!message.contains("Ana"), "{what} echoes the body");
    }
    assert_eq!(gateway.ledger().await["accepted"], 0);
    gateway.accept("m", "+12025550143").await;
    gateway.until_sent("m").await;
}

#[tokio::test]
async fn who_dawdles_over_head_or_body_is_cut_off_and_hurts_nobody() {
    let cut = |setup: Setup| {
        setup
            .set("http.header_timeout=3s")
            .set("http.body_timeout=3s")
    };
    let (_sandbox, gateway) = ready(cut).await;
    let addr = gateway.url.trim_start_matches("http://").to_owned();
    let head =
        format!("POST /jumper_send_whatsapp HTTP/1.1\r\nhost: x\r\nauthorization: {TOKEN}\r\n");
    let mut dawdlers = JoinSet::new();
    for n in 0..40 {
        let (addr, mut said) = (addr.clone(), head.clone());
        if n % 2 == 0 {
            said.push_str("content-length: 500\r\n\r\n{\"msg_id\":");
        }
        dawdlers.spawn(async move {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(said.as_bytes()).await.unwrap();
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer).await;
            (n, answer)
        });
    }
    for n in 0..10 {
        gateway.accept(&format!("m{n}"), &person(n)).await;
    }
    let ended = tokio::time::timeout(PATIENCE, dawdlers.join_all()).await;
    for (n, answer) in ended.expect("every dawdler is cut off") {
        if n % 2 == 0 {
            assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        }
        assert!(!answer.contains("success"), "{answer}");
    }
}

#[tokio::test]
async fn moengage_is_answered_at_once_while_jumper_is_slow() {
    let (sandbox, gateway) = ready(|setup| setup).await;
    gateway.accept("first", &person(0)).await;
    gateway.until_sent("first").await;
    sandbox.knobs(json!({ "latency_ms": 60_000 })).await;
    for n in 1..60 {
        let began = Instant::now();
        gateway.accept(&format!("m{n}"), &person(n)).await;
        assert!(
            began.elapsed() < Duration::from_secs(40),
            "it waited for Jumper: {:?}",
            began.elapsed()
        );
    }
    let ledger = gateway.ledger().await;
    assert_eq!(
        (&ledger["accepted"], &ledger["lost"]),
        (&json!(60), &json!(0))
    );
}
