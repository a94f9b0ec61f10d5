//! Sends over real sockets: every row of the decision table of contracts/moengage.md section 4.

use super::gateway::{AUTH, Gateway, channel, named, open_channel};
use super::*;
use crate::accounts::Channel;
use crate::domain::{AccountId, ChannelId, Incoming, Keywords, Phone, Refusal, RefusalKind};
use crate::doors::moengage::reply::Reply;
use crate::http::testing::Answer;
use crate::store::EventRules;
use crate::telemetry::testing::Log;
use axum::response::IntoResponse;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

#[track_caller]
fn succeeded(answer: &Answer) {
    assert_eq!(
        (answer.status, &*answer.body),
        (200, r#"{"status":"success"}"#)
    );
    assert!(answer.head.contains("content-type: application/json"));
}

#[track_caller]
fn failed(answer: &Answer, code: &str, message: &str) {
    let error = json!({ "code": code, "message": message });
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        json!({ "status": "failure", "error": error })
    );
}

#[tokio::test]
async fn accepted_and_repeated_sends_are_a_success() {
    let gateway = Gateway::single().await;
    let samples = [
        e1(),
        e2(),
        e3(),
        e4(),
        e5(),
        e6(),
        e7_text(),
        e8(),
        e9(),
        e10(),
        e11(),
    ];
    for (number, sample) in samples.into_iter().enumerate() {
        succeeded(&gateway.send(&named(sample, &format!("m{number}"))).await);
    }
    assert_eq!(gateway.kept(), 11);
    succeeded(&gateway.send(&named(e1(), "m0")).await);
    succeeded(&gateway.send(&named(e2(), "m0")).await);
    assert_eq!(gateway.kept(), 11);
}

#[tokio::test]
async fn refusals_carry_their_code() {
    let gateway = Gateway::single().await;
    let mut nobody = e1();
    nobody["to"] = json!("not a number");
    failed(
        &gateway.send(&nobody).await,
        "7002",
        "Recipient is not an E.164 number: it holds a character that no phone number has",
    );
    failed(
        &gateway.send(&with_body(json!([{ "type": "text" }]))).await,
        "7001",
        "body parameter 1 has no text",
    );
    failed(
        &gateway.send(&e12()).await,
        "7004",
        "Carousel is not supported by this gateway",
    );
    failed(
        &gateway.send(&e7_location()).await,
        "7004",
        "header parameter of type location is not supported by this gateway",
    );
    assert_eq!(gateway.kept(), 0);
}

/// A person who wrote STOP is refused, on the channel that was answered alone.
#[tokio::test]
async fn who_opted_out_is_refused() {
    let gateway = Gateway::start(vec![
        channel("shop", &["tok_shop"], None),
        channel("bank", &["tok_bank"], None),
    ])
    .await;
    let rules = EventRules {
        channel: ChannelId::parse("shop").unwrap(),
        account: AccountId::parse("default").unwrap(),
        keywords: Keywords::new::<&str>(&[], &[], &[]),
        reply_window: Duration::from_secs(60),
        kept: Duration::from_secs(31 * 86_400),
        clock_doubt: Duration::ZERO,
        vouched: true,
        relay_unmatched: true,
        waba_number: None,
    };
    let stop = crate::domain::Reply {
        id: None,
        from: Phone::parse(e1()["to"].as_str().unwrap()).ok(),
        user: None,
        context: None,
        text: "stop".into(),
        at: None,
        dated: String::new(),
    };
    let now = crate::clock::now();
    let events = vec![Incoming::Reply(stop)];
    let taken = gateway.store.take_events(
        Arc::new(rules),
        events,
        now,
        crate::store::testing::in_time(),
    );
    assert_eq!(taken.await.unwrap().opted_out, 1);
    let body = e1().to_string();
    let answer = gateway
        .post("/send_whatsapp", "apikey: tok_shop", body.as_bytes())
        .await;
    failed(&answer, "7003", "Recipient opted out");
    assert_eq!(gateway.kept(), 0);
    let answer = gateway
        .post("/send_whatsapp", "apikey: tok_bank", body.as_bytes())
        .await;
    succeeded(&answer);
}

#[track_caller]
fn come_again(answer: &Answer, status: u16, message: &str, seconds: u32) {
    assert_eq!((answer.status, &*answer.message()), (status, message));
    let header = format!("retry-after: {seconds}\r\n");
    assert!(
        format!("{}\r\n", answer.head).contains(&header),
        "{}",
        answer.head
    );
}

#[tokio::test]
async fn our_own_trouble_has_its_status_and_a_time_to_come_back() {
    let full = |most| {
        vec![Arc::new(Channel {
            max_queue: Some(most),
            ..open_channel("default", &["tok_example"], None)
        })]
    };
    let gateway = Gateway::start(full(1)).await;
    succeeded(&gateway.send(&e1()).await);
    let too_many = "Too many requests, try again later";
    come_again(&gateway.send(&named(e1(), "m2")).await, 429, too_many, 10);
    succeeded(&gateway.send(&e1()).await);
    gateway.intake.close();
    let stopping = "Gateway is shutting down: try again";
    come_again(&gateway.send(&named(e1(), "m2")).await, 503, stopping, 5);
    assert_eq!(gateway.kept(), 1);

    let channels = vec![channel("default", &["tok_example"], None)];
    let gateway = Gateway::with(channels, |settings| settings.min_free = u64::MAX).await;
    let away = "Message store unavailable: try again";
    come_again(&gateway.send(&e1()).await, 503, away, 2);
    assert_eq!(gateway.kept(), 0);
}

#[test]
fn a_time_to_come_back_is_rounded_up() {
    let header = |wait| {
        let full = Reply::Full { retry_after: wait };
        full.into_response().headers()["retry-after"].clone()
    };
    assert_eq!(header(Duration::from_millis(2100)), "3");
    assert_eq!(header(Duration::ZERO), "1");
}

#[test]
fn a_refusal_at_the_door_keeps_code_and_reason() {
    let refusal = Refusal::new(
        RefusalKind::Template,
        "Template confirm_slot (en_US) is unknown",
    );
    let reply = Reply::from(crate::intake::Entry::Refused(refusal.clone()));
    assert_eq!(reply, Reply::Failure(refusal));
}

#[tokio::test]
async fn what_cannot_be_understood_is_a_4xx_with_a_message() {
    let gateway = Gateway::single().await;
    let huge = vec![b' '; 200_001];
    let deep = "[".repeat(100_000);
    let wrong = br#"{"msg_id":5}"#;
    let cases: [(&[u8], u16, &str); 8] = [
        (
            b"",
            400,
            "Body is not valid JSON: EOF while parsing a value at line 1 column 0",
        ),
        (
            b"msg_id=1",
            400,
            "Body is not valid JSON: expected value at line 1 column 1",
        ),
        (
            b"{\"msg_id\":\"\xc3\x28\"}",
            400,
            "msg_id has a character that is no valid Unicode",
        ),
        (b"{}", 400, "msg_id is missing"),
        (br#"{"msg_id":"a"}"#, 400, "template is missing"),
        (wrong, 400, "msg_id must be a string, not a number"),
        (
            deep.as_bytes(),
            400,
            "Body is not valid JSON: EOF while parsing a list at line 1 column 100000",
        ),
        (&huge, 413, "Body is larger than 200000 bytes"),
    ];
    for (body, status, message) in cases {
        let answer = gateway.post("/jumper_send_whatsapp", AUTH, body).await;
        assert_eq!((answer.status, &*answer.message()), (status, message));
    }
    assert_eq!(gateway.kept(), 0);
    succeeded(&gateway.send(&e1()).await);
}

/// Q1: four headers, with and without a scheme, any letter case, several valid tokens.
#[tokio::test]
async fn a_token_is_found_wherever_it_stands() {
    let basic = "Basic dG9rOmVu";
    let gateway = Gateway::start(vec![channel(
        "default",
        &["tok_example", "tok_next", basic],
        None,
    )])
    .await;
    let body = e1().to_string();
    for header in [
        "Authorization: Bearer tok_example",
        "authorization: tok_example",
        "AUTHORIZATION: bEaReR   tok_example ",
        "Authentication: Bearer tok_example",
        "Authentication: tok_next",
        "X-Api-Key: tok_example",
        "x-api-key: Bearer tok_next",
        "apikey: tok_example",
        "Authorization: Basic tok_example",
        "Authorization: Basic dG9rOmVu",
        "Authorization: Bearer wrong\r\nAuthentication: Bearer tok_example",
        "Authorization: wrong\r\nAuthorization: tok_example",
    ] {
        succeeded(
            &gateway
                .post("/send_whatsapp", header, body.as_bytes())
                .await,
        );
    }
}

/// B-42 and its kind: nothing opens by being empty, cut short or dressed up.
#[tokio::test]
async fn a_wrong_token_is_7000_with_http_200() {
    let gateway = Gateway::start(vec![
        channel("default", &["tok_example"], None),
        channel("closed", &[], None),
        channel("blank", &[""], None),
    ])
    .await;
    let cases = [
        ("", "Token missing"),
        ("authorization: ", "Token missing"),
        ("cookie: tok_example", "Token missing"),
        ("authorization: Bearer", "Token does not match any channel"),
        (
            "authorization: undefined",
            "Token does not match any channel",
        ),
        (
            "authorization: Bearer tok_exampl",
            "Token does not match any channel",
        ),
        (
            "authorization: Bearer tok_example2",
            "Token does not match any channel",
        ),
        (
            "authorization: Bearer TOK_EXAMPLE",
            "Token does not match any channel",
        ),
        (
            "authorization: Digest tok_example",
            "Token does not match any channel",
        ),
        (
            "authorization: Bearer Bearer tok_example",
            "Token does not match any channel",
        ),
    ];
    for (header, reason) in cases {
        for body in [e1().to_string(), "not JSON".into()] {
            let answer = gateway
                .post("/chat/send-message", header, body.as_bytes())
                .await;
            failed(&answer, "7000", reason);
        }
    }
    assert_eq!(gateway.kept(), 0);
}

#[tokio::test]
async fn the_channel_is_found_by_token_and_number() {
    let gateway = Gateway::start(vec![
        channel("shop", &["tok_shop", "tok_both"], Some("+1 202 555 0100")),
        channel("bank", &["tok_bank", "tok_both"], Some("12025550200")),
        channel("any", &["tok_both"], None),
    ])
    .await;
    let from = |number: &str, msg_id: &str| {
        let mut send = named(e1(), msg_id);
        send["from"] = json!(number);
        send.to_string()
    };
    let cases = [
        ("tok_shop", "12025550100", Some("shop")),
        ("tok_bank", "+12025550200", Some("bank")),
        ("tok_both", "12025550200", Some("bank")),
        ("tok_both", "12025550999", Some("any")),
        ("tok_shop", "12025550200", None),
        ("tok_bank", "12025550100", None),
    ];
    for (token, number, expected) in cases {
        let header = format!("apikey: {token}");
        let msg_id = format!("{token}-{number}");
        let body = from(number, &msg_id);
        let answer = gateway
            .post("/send_whatsapp", &header, body.as_bytes())
            .await;
        match expected {
            Some(id) => {
                succeeded(&answer);
                assert_eq!(gateway.seen(&msg_id).await, [(id.to_owned(), None)]);
            }
            None => failed(
                &answer,
                "7000",
                "No channel of this token sends from this number",
            ),
        }
    }
    let both = "apikey: tok_bank\r\nauthorization: tok_shop";
    succeeded(
        &gateway
            .post("/send_whatsapp", both, from("12025550100", "m9").as_bytes())
            .await,
    );
    assert_eq!(gateway.seen("m9").await, [("shop".to_owned(), None)]);
}

#[tokio::test]
async fn a_channel_named_in_the_url_must_be_opened_by_the_token() {
    let gateway = Gateway::start(vec![
        channel("shop", &["tok_example"], None),
        channel("bank", &["tok_bank"], None),
    ])
    .await;
    let body = e1().to_string();
    succeeded(
        &gateway
            .post("/channels/shop/send", AUTH, body.as_bytes())
            .await,
    );
    let seen = gateway.seen("6650f1c2_wa_000001").await;
    assert_eq!(seen, [("shop".to_owned(), None)]);
    for path in [
        "/channels/bank/send",
        "/channels/nobody/send",
        "/channels/%FF/send",
    ] {
        let answer = gateway.post(path, AUTH, body.as_bytes()).await;
        failed(&answer, "7000", "Token does not match any channel");
    }
    assert_eq!(gateway.kept(), 1);
}

#[tokio::test]
async fn the_campaign_is_kept_and_a_bad_query_harms_nothing() {
    let gateway = Gateway::single().await;
    let long = "x".repeat(257);
    let cases = [
        ("campaign_id=spring-7", Some("spring-7")),
        ("userId=1&campaign_id=a%20b%2Bc&shopName=x", Some("a b+c")),
        (
            &format!("campaign_id={}", "x".repeat(256)),
            Some(&long[1..]),
        ),
        (&format!("campaign_id={long}"), None),
        ("campaign_id=", None),
        ("campaign_id=a&campaign_id=b", None),
        ("%", None),
        ("&&==%zz", None),
        ("", None),
    ];
    for (number, (query, expected)) in cases.into_iter().enumerate() {
        let path = format!("/jumper_send_whatsapp?{query}");
        let msg_id = format!("m{number}");
        let body = named(e1(), &msg_id).to_string();
        succeeded(&gateway.post(&path, AUTH, body.as_bytes()).await);
        let expected = ("default".to_owned(), expected.map(str::to_owned));
        assert_eq!(gateway.seen(&msg_id).await, [expected], "{query}");
    }
}

/// design.md G3: an accepted id answers success whatever its content is now.
#[tokio::test]
async fn a_repeat_with_refused_content_is_still_a_success() {
    let gateway = Gateway::single().await;
    failed(
        &gateway.send(&e12()).await,
        "7004",
        "Carousel is not supported by this gateway",
    );
    succeeded(&gateway.send(&e1()).await);
    succeeded(&gateway.send(&e12()).await);
    assert_eq!(gateway.kept(), 1);
    failed(
        &gateway.send(&named(e12(), "6650f1c2_wa_000002")).await,
        "7004",
        "Carousel is not supported by this gateway",
    );
}

#[tokio::test]
async fn other_methods_are_405() {
    let gateway = Gateway::single().await;
    for path in ["/jumper_send_whatsapp", "/channels/default/send"] {
        let answer = gateway
            .server
            .ask(&format!("GET {path} HTTP/1.1"), b"")
            .await;
        assert_eq!(answer.status, 405);
        assert!(answer.head.contains("allow: post"));
        answer.message();
    }
}

/// B-45: the log of the old connector held tokens, bodies and numbers.
#[test]
fn the_log_holds_no_token_and_no_whole_number() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let text = Log::of(|| {
        runtime.block_on(async {
            let gateway = Gateway::single().await;
            let mut send = e12();
            send["msg_id"] = json!("to-12025550143-1");
            gateway.send(&send).await;
            let body = send.to_string();
            gateway
                .post("/send_whatsapp", "apikey: tok_wrong", body.as_bytes())
                .await;
        });
    });
    assert!(text.contains("refused a send"), "{text}");
    assert!(text.contains("to-12*******43-1"), "{text}");
    for secret in ["tok_", "2025550143", "cdn.shop.example"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}
