//! Calls of an account over real sockets, each judged by the failure policy.

use super::client::ClientSettings;
use super::fake::{Fake, Reaction, Seen};
use super::token::TokenSettings;
use super::*;
use crate::domain::{AccountId, BusinessNumber, Names, Phone, Template, Transport};
use crate::limit::Rate;
use crate::store::{self, Aside, testing};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;

fn limiter() -> Limiter {
    Limiter::new(
        Rate {
            per_second: None,
            concurrency: 50,
        },
        Duration::ZERO,
    )
}

pub(crate) fn settings(api_url: &str) -> ClientSettings {
    ClientSettings {
        api_url: api_url.into(),
        request_timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(10),
        max_sockets: 2,
        max_free_sockets: 2,
        free_socket_keepalive: Duration::from_secs(3),
    }
}

/// An account whose tokens come from `auth` and are kept in `store`, and whose calls go to
/// `settings`.
pub(crate) async fn account(
    auth: &Fake,
    settings: &ClientSettings,
    store: store::Tokens,
) -> Account {
    let limiter = limiter();
    let token_settings = TokenSettings {
        account: AccountId::parse("default").unwrap(),
        api_url: auth.url.clone(),
        basic: "Basic a2V5OnNlY3JldA==".into(),
        seed: Some("seed".into()),
        refresh_timeout: Duration::from_secs(5),
        longest_probe: None,
        owner: String::new(),
        aside: Aside::of("/dev/null/nowhere".as_ref()),
    };
    let tokens = Tokens::new(token_settings, store, limiter.clone()).unwrap();
    tokens.start().await.unwrap();
    Account::new(Client::new(settings).unwrap(), tokens, limiter)
}

/// A server of tokens that never refuses.
pub(crate) async fn tokens() -> Fake {
    Fake::start(|number, _| {
        let access = format!("access-{number}");
        Reaction::Json(
            200,
            json!({ "access_token": access, "refresh_token": "r", "expires_in": 3600 }),
        )
    })
    .await
}

async fn account_with(auth: &Fake, settings: &ClientSettings) -> (TempDir, Account) {
    let (dir, store) = testing::store();
    let account = account(auth, settings, store::Tokens::Embedded(store)).await;
    (dir, account)
}

async fn account_at(fake: &Fake) -> (TempDir, Account) {
    account_with(&tokens().await, &settings(&fake.url)).await
}

fn outgoing() -> Outgoing {
    Outgoing {
        to: Phone::parse("+919876543210").unwrap(),
        from: BusinessNumber::parse("+1 202-555-0100").ok(),
        variant: "5000000000000001".into(),
        template: Template {
            name: "t".into(),
            language: "en".into(),
            header: None,
            body: vec!["Asha\r\n--x".into()],
            buttons: Vec::new(),
            names: Names::default(),
        },
    }
}

async fn send(account: &Account) -> Answer {
    let permit = account
        .limiter
        .reserve(1, Duration::ZERO, Duration::ZERO)
        .await
        .pop()
        .unwrap();
    account.send(permit, &outgoing()).await.0
}

fn judged(answer: &Answer) -> (Proof, About) {
    let judgement = classify(answer, &[]);
    (judgement.proof, judgement.about)
}

fn proof(answer: &Answer) -> Proof {
    judged(answer).0
}

fn sent() -> Reaction {
    Reaction::Json(
        200,
        json!({ "success": true, "message_id": "M1", "conversationid": "C1" }),
    )
}

#[tokio::test]
async fn a_send_looks_as_jumper_wants_it() {
    let fake = Fake::start(|_, _| sent()).await;
    let (_dir, account) = account_at(&fake).await;
    let answer = send(&account).await;
    assert!(matches!(proof(&answer), Proof::Taken(_)), "{answer:?}");
    let rate = account.limiter.now();
    assert_eq!(
        (rate.started, rate.in_flight),
        (2, 0),
        "a refresh and a send"
    );
    let seen = fake.seen().remove(0);
    assert_eq!(seen.line, "POST /chat/send-message");
    assert!(seen.head.contains("authorization: Bearer access-0"));
    assert!(seen.head.contains("content-length: "));
    let boundary = seen
        .head
        .split("boundary=")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
    let part = |name: &str, value: &str| {
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        )
    };
    let expected = [
        part("to", "919876543210"),
        part("channel", "whatsapp"),
        part("messagetype", "template"),
        part("message", "s3ndt3mpl4te_5000000000000001"),
        part(
            "message_params",
            r#"{"BODY":[{"Asha\r\n--x":"text"}],"BUTTONS":[],"HEADER":[]}"#,
        ),
        part("source", "moengage"),
        part("from", "12025550100"),
        format!("--{boundary}--\r\n"),
    ];
    assert_eq!(seen.body, expected.concat());
}

#[tokio::test]
async fn a_late_answer_is_unknown() {
    let late = |_, _: &Seen| Reaction::After(Duration::from_secs(20), Box::new(sent()));
    let fake = Fake::start(late).await;
    let impatient = ClientSettings {
        request_timeout: Duration::from_millis(300),
        ..settings(&fake.url)
    };
    let (_dir, account) = account_with(&tokens().await, &impatient).await;
    let answer = send(&account).await;
    assert_eq!(answer.transport, Some(Transport::Timeout), "{answer:?}");
    assert_eq!(proof(&answer), Proof::Unclear);
    assert_eq!(fake.calls(), 1);
}

/// Every way of failing, as reqwest and the wire really produce it.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one row per way of failing")]
async fn failures_are_told_apart() {
    let unclear = (Proof::Unclear, About::Way);
    type Case = (
        fn() -> Reaction,
        Option<u16>,
        Option<Transport>,
        (Proof, About),
    );
    let cases: Vec<Case> = vec![
        (
            || Reaction::Close,
            None,
            Some(Transport::Lost),
            unclear.clone(),
        ),
        (
            || Reaction::Cut(200, "{\"success\":true"),
            Some(200),
            Some(Transport::Lost),
            unclear.clone(),
        ),
        (
            || Reaction::Cut(200, "{\"success\":true,\"message_id\":\"M\"}"),
            Some(200),
            Some(Transport::Lost),
            unclear.clone(),
        ),
        (
            || Reaction::Cut(503, "<html>"),
            Some(503),
            Some(Transport::Lost),
            (Proof::NotTaken, About::Way),
        ),
        (
            || Reaction::Cut(502, "<html>"),
            Some(502),
            Some(Transport::Lost),
            unclear.clone(),
        ),
        (
            || Reaction::Raw(200, "", "{\"success\":tr".into()),
            Some(200),
            None,
            unclear.clone(),
        ),
        (
            || Reaction::Raw(200, "", " ".repeat(300_000)),
            Some(200),
            None,
            unclear.clone(),
        ),
        (
            || Reaction::Raw(502, "", "<html>Bad Gateway</html>".into()),
            Some(502),
            None,
            unclear.clone(),
        ),
        (
            || Reaction::Raw(302, "location: /chat/send-message\r\n", String::new()),
            Some(302),
            None,
            (Proof::NotTaken, About::Unsaid),
        ),
        (
            || Reaction::Raw(429, "retry-after: 7\r\n", String::new()),
            Some(429),
            None,
            (Proof::NotTaken, About::Rate),
        ),
        (
            || Reaction::Json(400, json!({ "success": false })),
            Some(400),
            None,
            (Proof::Refused, About::Message),
        ),
    ];
    for (number, (reaction, http, transport, expected)) in cases.into_iter().enumerate() {
        let fake = Fake::start(move |_, _| reaction()).await;
        let (_dir, account) = account_at(&fake).await;
        let answer = send(&account).await;
        assert_eq!(
            (answer.http, answer.transport),
            (http, transport),
            "{number} {answer:?}"
        );
        assert_eq!(judged(&answer), expected, "{number} {answer:?}");
        assert_eq!(fake.calls(), 1, "{number}: nothing is sent twice");
    }
}

#[tokio::test]
async fn no_connection_proves_that_nothing_was_handed_on() {
    let fake = Fake::start(|_, _| sent()).await;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let no_tls = fake.url.replace("http:", "https:");
    for url in [
        format!("http://{free}"),
        no_tls,
        "http://no-such-host.invalid".into(),
    ] {
        // The server of plain HTTP leaves the handshake waiting.
        let hasty = ClientSettings {
            connect_timeout: Duration::from_millis(300),
            ..settings(&url)
        };
        let (_dir, account) = account_with(&tokens().await, &hasty).await;
        let answer = send(&account).await;
        assert_eq!(answer.transport, Some(Transport::Connect), "{answer:?}");
        assert_eq!(judged(&answer), (Proof::NotTaken, About::Way));
        assert!(!answer.summary().contains("://"), "{}", answer.summary());
    }
    assert_eq!(fake.calls(), 0);
}

#[tokio::test]
async fn a_send_waits_for_its_slot() {
    let fake = Fake::start(|_, _| sent()).await;
    let (_dir, account) = account_at(&fake).await;
    account.tokens.access().await.unwrap();
    let wait = Duration::from_millis(200);
    let permit = {
        account.limiter.slow_down(Some(wait));
        account
            .limiter
            .reserve(1, Duration::ZERO, wait)
            .await
            .pop()
            .unwrap()
    };
    let begun = std::time::Instant::now();
    account.send(permit, &outgoing()).await;
    assert!(begun.elapsed() >= Duration::from_millis(150));
    assert_eq!(fake.calls(), 1);
}

#[tokio::test]
async fn without_a_token_no_call_is_made() {
    let refusing =
        Fake::start(|_, _| Reaction::Json(400, json!({ "error": "invalid_grant" }))).await;
    let fake = Fake::start(|_, _| sent()).await;
    let (_dir, account) = account_with(&refusing, &settings(&fake.url)).await;
    let answer = send(&account).await;
    assert_eq!(judged(&answer), (Proof::NotTaken, About::Token));
    assert_eq!(fake.calls(), 0);
    assert_eq!(account.limiter.now().in_flight, 0);
}

#[tokio::test]
async fn calls_at_once_are_bounded_by_the_sockets() {
    let slow = |_, _: &Seen| Reaction::After(Duration::from_millis(40), Box::new(sent()));
    let fake = Fake::start(slow).await;
    let (_dir, account) = account_at(&fake).await;
    let account = Arc::new(account);
    let all = (0..8).map(|_| {
        tokio::spawn({
            let account = account.clone();
            async move { send(&account).await }
        })
    });
    for one in all.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap().success, Some(true));
    }
    assert_eq!((fake.calls(), fake.most_at_once()), (8, 2));
}

#[tokio::test]
async fn addresses_are_checked() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    for bad in ["", "api.jumper.ai", "ftp://x", "http://", "https://x?a=b"] {
        let error = Client::new(&settings(bad)).unwrap_err();
        assert_eq!(error, BuildError::Address, "{bad}");
    }
}

fn templates() -> Reaction {
    Reaction::Json(
        200,
        json!({ "success": true, "data": [{ "template_name": "a", "templates": [
            { "id": 7, "language": "en", "status": "APPROVED" }] }] }),
    )
}

#[tokio::test]
async fn a_list_falls_back_to_a_number() {
    let fake = Fake::start(|number, _| match number {
        0 => Reaction::Json(
            400,
            json!({ "success": false, "errorMessage": "bad limit" }),
        ),
        _ => templates(),
    })
    .await;
    let (_dir, account) = account_at(&fake).await;
    let list = account.list_templates().await.unwrap();
    assert_eq!(list.variants[0].id, "7");
    let lines: Vec<_> = fake.seen().into_iter().map(|seen| seen.line).collect();
    let path = "GET /chat/fetch-whatsapp-templates?limit=";
    assert_eq!(lines, [format!("{path}all"), format!("{path}1000")]);
    // One refresh and two calls: all are counted.
    assert_eq!(account.limiter.now().started, 3);
}

/// B-14: an expired or revoked token failed every call.
#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    let fault = json!({ "fault": { "detail": { "errorcode": "steps.jwt.TokenExpired" } } });
    let only_new = move |_, seen: &Seen| {
        if seen.head.contains("Bearer access-1") {
            templates()
        } else {
            Reaction::Json(401, fault.clone())
        }
    };
    let fake = Fake::start(only_new).await;
    let auth = tokens().await;
    let (_dir, account) = account_with(&auth, &settings(&fake.url)).await;
    // A pair that a restart found in the store: its age is no reason to doubt the refusal.
    account.tokens.access().await.unwrap();
    account.tokens.forget_age().await;
    account.verify().await.unwrap();
    assert_eq!((auth.calls(), fake.calls()), (2, 2));
    assert_eq!(
        fake.seen()[1].line,
        "GET /chat/fetch-whatsapp-templates?limit=1"
    );
}

#[tokio::test]
async fn a_limit_slows_the_account_down() {
    let fake = Fake::start(|_, _| Reaction::Json(429, json!({}))).await;
    let (_dir, account) = account_at(&fake).await;
    account.limiter.set(Rate {
        per_second: Some(100.0),
        concurrency: 5,
    });
    assert!(account.verify().await.is_err());
    assert!(
        account
            .limiter
            .now()
            .effective
            .is_some_and(|rate| rate < 60.0)
    );
}

#[tokio::test]
async fn a_detail_names_its_variant() {
    let fake = Fake::start(|_, _| {
        Reaction::Json(
            200,
            json!({ "success": true, "data": { "message": { "HEADER": { "format": "VIDEO" } } } }),
        )
    })
    .await;
    let (_dir, account) = account_at(&fake).await;
    let detail = account.template_detail("5&x").await.unwrap();
    assert_eq!(
        detail.header,
        Some(crate::domain::template::HeaderNeeds::Video)
    );
    assert_eq!(
        fake.seen()[0].line,
        "GET /chat/get-whatsapp-template?id=5%26x"
    );
}

#[tokio::test]
async fn a_subscription_is_added_to_those_of_others() {
    let fake = Fake::start(|number, _| match number {
        0 => Reaction::Json(
            200,
            json!({ "success": true, "data": [
            { "subscription_type": "livechat", "webhook": "https://crm.example/hook?a=1&b" }] }),
        ),
        1 => Reaction::Json(200, json!({ "success": true, "data": [] })),
        _ => Reaction::Json(
            200,
            json!({ "success": true, "data": [
            { "permission": "livechat", "webhook": "https://g/cb/s3" }] }),
        ),
    })
    .await;
    let (_dir, account) = account_at(&fake).await;
    let secret = SecretString::from("s3");
    let state = account
        .ensure_subscription(&"https://g/cb".into(), Some(&secret))
        .await;
    assert_eq!(state, Ok(SubscriptionState::Added));
    let state = account
        .ensure_subscription(&"https://g/cb".into(), Some(&secret))
        .await;
    assert_eq!(state, Ok(SubscriptionState::Present));
    let seen = fake.seen();
    assert_eq!(seen[0].line, "GET /app/list-subscription");
    assert_eq!(seen[1].line, "POST /app/add-subscription");
    assert!(seen[1].head.contains("application/x-www-form-urlencoded"));
    let url = reqwest::Url::parse(&format!("http://x/?{}", seen[1].body)).unwrap();
    let (name, data) = url.query_pairs().next().unwrap();
    assert_eq!(name, "data");
    let expected = json!([
        { "permission": "livechat", "webhook": "https://crm.example/hook?a=1&b" },
        { "permission": "livechat", "webhook": "https://g/cb/s3" },
    ]);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&data).unwrap(),
        expected
    );
    assert_eq!(seen.len(), 3);
}

/// Four replicas start at once: one of them adds the entry, the others find it.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_replicas_one_adds_the_subscription() {
    let server = testing::RedisServer::start();
    let added = Arc::new(AtomicUsize::new(0));
    let fake = Fake::start({
        let added = added.clone();
        move |_, seen| {
            let ours = json!([{ "permission": "livechat", "webhook": "https://g/cb/s3" }]);
            let pause = Duration::from_millis(100);
            if seen.line.starts_with("POST") {
                added.fetch_add(1, Ordering::SeqCst);
                return Reaction::Json(200, json!({ "success": true, "data": [] }));
            }
            let there = added.load(Ordering::SeqCst) > 0;
            let list = if there { ours } else { json!([]) };
            let answer = Reaction::Json(200, json!({ "success": true, "data": list }));
            Reaction::After(pause, Box::new(answer))
        }
    })
    .await;
    let (auth, settings) = (tokens().await, settings(&fake.url));
    let mut replicas = Vec::new();
    for _ in 0..4 {
        let store = store::Tokens::Redis(server.link());
        replicas.push(account(&auth, &settings, store).await);
    }
    let all = replicas.into_iter().map(|replica| {
        tokio::spawn(async move {
            let secret = SecretString::from("s3");
            let url = "https://g/cb".into();
            let ensured = replica.ensure_subscription(&url, Some(&secret));
            ensured.await.unwrap()
        })
    });
    let mut states = Vec::new();
    for one in all.collect::<Vec<_>>() {
        states.push(one.await.unwrap());
    }
    let count = |state| states.iter().filter(|one| **one == state).count();
    assert_eq!(count(SubscriptionState::Added), 1, "{states:?}");
    assert_eq!(count(SubscriptionState::Present), 3, "{states:?}");
    assert_eq!(added.load(Ordering::SeqCst), 1);
    assert_eq!(auth.calls(), 1);
}

/// R-7, a relative: what a bad list left out was overwritten.
#[tokio::test]
async fn r_07_a_subscription_list_that_lost_entries_is_read_again_before_one_is_written() {
    let list = |webhooks: &[&str]| {
        let entry = |webhook: &&str| json!({ "permission": "livechat", "webhook": webhook });
        let data: Vec<_> = webhooks.iter().map(entry).collect();
        Reaction::Json(200, json!({ "success": true, "data": data }))
    };
    let (ours, theirs) = ("https://g/cb/s3", "https://crm.example/hook");
    let fake = Fake::start(move |number, _| match number {
        0 => list(&[theirs, ours]),
        1 => list(&[]),
        _ => list(&[theirs]),
    })
    .await;
    let (_dir, account) = account_at(&fake).await;
    let secret = SecretString::from("s3");
    let url = "https://g/cb".into();
    let ensure = || account.ensure_subscription(&url, Some(&secret));
    assert_eq!(ensure().await, Ok(SubscriptionState::Present));
    assert!(ensure().await.is_err(), "nothing is written on its word");
    assert_eq!(ensure().await, Ok(SubscriptionState::Added));
    let seen = fake.seen();
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert!(seen[3].body.contains("crm.example"), "{seen:?}");
}
