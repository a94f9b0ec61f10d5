//! The gateway talks to whom it was told to, and to nobody else: whatever addresses stand in
//! messages, templates, events and answers. And nobody talks to it without end.

use crate::it::hostile_upstream::{Does, Trap, Upstream};
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use serde_json::{Value, json};

/// A pair of tokens as Jumper gives it.
fn tokens() -> Does {
    let pair = json!({ "access_token": "a-1", "refresh_token": "r-1", "expires_in": 7_776_000 });
    Does::Says(pair.to_string())
}

fn header(kind: &str, link: &str) -> Value {
    json!({ "type": "header", "parameters": [{ "type": kind, kind: { "link": link } }] })
}

#[tokio::test]
async fn b_49_no_link_in_a_message_a_template_or_an_event_is_ever_fetched() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let trap = Trap::set().await;
    let link = format!("{}/link.jpg", trap.url);
    let mut templates = sandbox.get("templates").await;
    let linked = json!({ "name": "linked", "category": "UTILITY", "variants": [
        { "language": "en", "header": { "format": "IMAGE" }, "body": "See.",
          "buttons": [{ "type": "URL", "text": "Go", "url": format!("{link}/{{{{1}}}}"), "example": [link] }] }] });
    templates.as_array_mut().unwrap().push(linked);
    sandbox.put("templates", templates).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let button = json!({ "type": "button", "sub_type": "url", "index": "0",
        "parameters": [{ "type": "text", "text": link }] });
    let one = json!({ "type": "body", "parameters": [{ "type": "text", "text": link }] });
    let sends = [
        ("linked", "en", json!([header("image", &link), button])),
        ("spring_sale", "en_GB", json!([header("image", &link), one])),
        ("how_to_start", "pt_BR", json!([header("video", &link)])),
        (
            "invoice_ready",
            "de",
            json!([header("document", &link), one]),
        ),
    ];
    let mut ids = Vec::new();
    for (n, (template, language, components)) in sends.into_iter().enumerate() {
        let (msg_id, to) = (format!("m{n}"), number(n));
        let body = send(&msg_id, &to, template, language, components);
        gateway.accept_body(&body).await;
        ids.push(receipt(&gateway, &sandbox, &msg_id, &to).await);
        let sent = sandbox.sends_to(&to[1..]).await;
        assert!(sent[0].to_string().contains("link.jpg"), "{sent:?}");
    }
    let mut read: Value = status(&ids[0], "read", 1_930_000_000);
    let mut media = json!({ "event": { "type": "NEW", "data": {
        "messageid": "in-1", "mobile": "12025550001", "message": null } } });
    let mut reply = json!({ "event": { "type": "NEW", "data": {
        "messageid": "in-2", "mobile": "12025550001", "message": link,
        "replytomessage": { "messageid": ids[1] } } } });
    for event in [&mut read, &mut media, &mut reply] {
        for name in [
            "callback_url",
            "webhook",
            "url",
            "image",
            "media_url",
            "file",
            "profile_pic",
        ] {
            event["event"]["data"][name] = json!(link);
            event[name] = json!(link);
        }
        assert_eq!(gateway.event(event).await, 200);
    }
    until_told(&sandbox, "m0", &["read"]).await;
    until_told(&sandbox, "m1", &["inbound"]).await;
    gateway.drained().await;
    trap.assert_empty().await;
}

/// A gateway whose every upstream is this one.
async fn among(upstream: &Upstream, sandbox: &Sandbox) -> (Gateway, Setup) {
    let url = |path: &str| format!("{}{path}", upstream.url);
    let setup = Setup::towards(sandbox)
        .env("JUMPER_API_URL", &upstream.url)
        .env("MOENGAGE_CALLBACK_URL", &url("/dlr"))
        .env("SLACK_WEBHOOK_URL", &url("/slack"))
        .env("DT_PROJECT_ID", "p")
        .env("DATASTORE_EMULATOR_HOST", upstream.host())
        .env(
            "SUBSCRIBED_CALLBACK_URL",
            "http://127.0.0.1:9/jumper_callback",
        )
        .set("inbound.relay_unmatched=true")
        .set("policy.hold_probe=200ms");
    let gateway = Gateway::start_unheard(setup.clone());
    gateway.accept("m0", &number(0)).await;
    let reply = json!({ "event": { "type": "NEW", "data": {
        "messageid": "in-1", "mobile": "12025550001", "message": "hello" } } });
    assert_eq!(gateway.event(&reply).await, 200);
    (gateway, setup)
}

/// Waits until each of these calls was made.
async fn until_called(upstream: &Upstream, calls: &[&str]) {
    for call in calls {
        until(&format!("{call} is called"), async || {
            upstream.head_with(call)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_redirect_is_followed_and_no_credential_leaves_with_one() {
    let sandbox = Sandbox::start(json!({})).await;
    let trap = Trap::set().await;
    let away = || Does::Moves(trap.url.clone());
    // Nothing works; then there are tokens to be stolen; then there is a send.
    let upstream = Upstream::start(&[("/", away())]).await;
    let (gateway, setup) = among(&upstream, &sandbox).await;
    until_called(
        &upstream,
        &["/oauth/refresh", "/dlr", "/slack", "/v1/projects/p:"],
    )
    .await;
    let basic = upstream.head_with("/oauth/refresh").unwrap();
    assert!(basic.contains("authorization: Basic "), "{basic}");
    until("Slack's answer is told", async || {
        let log = gateway.process.output();
        log.contains("did not reach Slack").then_some(())
    })
    .await;
    // A directory of its own: the store is in use.
    let place = tempfile::tempdir().unwrap();
    let (_, told) = run_to_end(&["check"], &setup, place.path());
    assert!(told.contains("Jumper API"), "{told}");
    drop(gateway);

    let upstream = Upstream::start(&[("/oauth/refresh", tokens()), ("/", away())]).await;
    let (gateway, _) = among(&upstream, &sandbox).await;
    let calls = ["/chat/fetch-whatsapp-templates", "/app/list-subscription"];
    until_called(&upstream, &calls).await;
    for call in calls {
        let head = upstream.head_with(call).unwrap();
        assert!(head.contains("authorization: Bearer a-1"), "{head}");
    }
    drop(gateway);

    let list = templates(&sandbox).await.unwrap();
    let upstream = Upstream::start(&[
        ("/oauth/refresh", tokens()),
        ("/chat/fetch-whatsapp-templates", Does::Says(list)),
        ("/", away()),
    ])
    .await;
    let (_gateway, _) = among(&upstream, &sandbox).await;
    until_called(&upstream, &["/chat/send-message"]).await;
    // What would follow a redirect does so at once; everything else was called after the send.
    until_called(&upstream, &["/dlr", "/v1/projects/p:", "/slack"]).await;
    trap.assert_empty().await;
}

/// The list of templates as the sandbox gives it.
async fn templates(sandbox: &Sandbox) -> Option<String> {
    let seed = sandbox.post("token/new-seed", json!({})).await;
    let form = format!(
        "grant_type=refresh_token&refresh_token={}",
        seed["refresh_token"].as_str()?
    );
    let request = sandbox.http.post(format!("{}/oauth/refresh", sandbox.url));
    let request = request
        .header(
            "authorization",
            "Basic c2FuZGJveC1rZXk6c2FuZGJveC1zZWNyZXQ=",
        )
        .header("content-type", "application/x-www-form-urlencoded");
    let pair: Value = request.body(form).send().await.ok()?.json().await.ok()?;
    let url = format!("{}/chat/fetch-whatsapp-templates?limit=all", sandbox.url);
    let request = sandbox
        .http
        .get(url)
        .bearer_auth(pair["access_token"].as_str()?);
    request.send().await.ok()?.text().await.ok()
}

/// What lies in sockets and buffers on the way.
const ON_THE_WAY: usize = 16 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_does_not_end_is_given_up_after_its_limit() {
    let sandbox = Sandbox::start(json!({})).await;
    let routes = ["/oauth/refresh", "/dlr", "/v1/projects", "/slack", "/"];
    let upstream = Upstream::start(&routes.map(|route| (route, Does::Pours))).await;
    let (gateway, setup) = among(&upstream, &sandbox).await;
    let ends = async |upstream: &Upstream, route: &str, limit: usize| {
        let bytes = until(&format!("{route} is given up"), async || {
            upstream.poured(route)
        })
        .await;
        assert!(bytes < limit + ON_THE_WAY, "{bytes} bytes of {route}");
    };
    for (route, limit) in [
        ("/oauth/refresh", 64 << 10),
        ("/dlr", 4 << 10),
        ("/v1/projects", 32 << 20),
        ("/slack", 0),
    ] {
        ends(&upstream, route, limit).await;
    }
    let place = tempfile::tempdir().unwrap();
    let (_, told) = run_to_end(&["check"], &setup, place.path());
    assert!(told.contains("Jumper API"), "{told}");
    drop(gateway);

    let calls = [
        ("/chat/fetch-whatsapp-templates", 32 << 20),
        ("/app/list-subscription", 256 << 10),
    ];
    let mut routes = vec![("/oauth/refresh", tokens())];
    routes.extend(calls.map(|(route, _)| (route, Does::Pours)));
    routes.push(("/", Does::Pours));
    let upstream = Upstream::start(&routes).await;
    let (gateway, _) = among(&upstream, &sandbox).await;
    for (route, limit) in calls {
        ends(&upstream, route, limit).await;
    }
    drop(gateway);

    let mut routes = vec![("/oauth/refresh", tokens())];
    let list = templates(&sandbox).await.unwrap();
    routes.push(("/chat/fetch-whatsapp-templates", Does::Says(list)));
    let calls = [
        ("/chat/get-whatsapp-template", 256 << 10),
        ("/chat/send-message", 256 << 10),
    ];
    routes.extend(calls.map(|(route, _)| (route, Does::Pours)));
    routes.push(("/", Does::Pours));
    let upstream = Upstream::start(&routes).await;
    let (_gateway, _) = among(&upstream, &sandbox).await;
    for (route, limit) in calls {
        ends(&upstream, route, limit).await;
    }
}

/// The client commands ask an address; something else may listen there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_gives_up_on_an_answer_that_does_not_end() {
    let sandbox = Sandbox::start(json!({})).await;
    let upstream = Upstream::start(&[("/", Does::Pours)]).await;
    let port = upstream.host().rsplit(':').next().unwrap();
    let setup = Setup::towards(&sandbox)
        .set(&format!("ops.addr={}", upstream.host()))
        .set(&format!("http.port={port}"));
    // Both at one port are a fault of the configuration, so each is asked alone.
    let place = tempfile::tempdir().unwrap();
    let trace = Setup {
        set: vec![setup.set[4].clone()],
        ..setup.clone()
    };
    let (code, told) = run_to_end(&["trace", "x"], &trace, place.path());
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("is it another program?"), "{told}");
    let health = Setup {
        set: vec![setup.set[5].clone()],
        ..setup
    };
    let (code, told) = run_to_end(&["health"], &health, place.path());
    assert_eq!(code, 0, "{told}");
    let bytes = upstream.poured("/").unwrap();
    assert!(bytes < (16 << 20) + ON_THE_WAY, "{bytes} bytes");
}
