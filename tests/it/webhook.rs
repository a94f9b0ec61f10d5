//! Jumper's webhook at the door: who may post, what is answered, and how soon.

use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use serde_json::{Value, json};

const PATH: &str = "/jumper_callback/webhook-secret-for-tests";

#[tokio::test]
async fn b_04_b_32_events_that_nobody_understands_are_stored_counted_and_answered_200() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let id = sent(&gateway, &sandbox, "m0", &number(0)).await;
    let strange = [
        update(json!({ "entry": [{ "changes": [{ "value": { "statuses": [] } }] }] })),
        update(json!({ "entry": [] })),
        update(json!({ "entry": 7 })),
        update(json!({})),
        update(json!({ "message_uuid": id })),
        update(json!({ "message_uuid": id, "status": 7 })),
        update(json!({ "message_uuid": id, "status": "teleported" })),
        update(json!({ "message_uuid": { "a": 1 }, "status": "read" })),
        json!({ "event": { "type": "ARCHIVE", "data": { "messageid": id, "delivered": true } } }),
        json!({ "event": { "type": "UPDATE" } }),
        json!({ "event": null }),
        json!({}),
        json!([]),
        json!(null),
        json!("text"),
        json!(7),
    ];
    let before = gateway.ledger().await["events"].as_u64().unwrap();
    for body in &strange {
        assert_eq!(
            post_raw(&gateway, PATH, body.to_string()).await,
            (200, json!({ "status": "success" })),
            "{body}"
        );
    }
    let after = gateway.ledger().await["events"].as_u64().unwrap();
    assert!(
        after >= before + strange.len() as u64,
        "{before} then {after}"
    );
    let metrics = gateway.metrics().await;
    for kind in ["no_status", "unknown_status", "unknown_type", "unreadable"] {
        let line = format!("gateway_other_events_total{{kind=\"{kind}\"}}");
        assert!(figure(&metrics, &line) >= 1.0, "{kind} is not counted");
    }
    // The next good one works as if nothing had been.
    assert_eq!(
        gateway.event(&status(&id, "read", 1_930_000_000)).await,
        200
    );
    until_told(&sandbox, "m0", &["read"]).await;
    gateway.drained().await;
    assert_eq!(sandbox.counts().await["callback_posts"], 1);
}

#[tokio::test]
async fn b_11_what_is_no_json_gets_400_what_is_too_large_413_and_the_next_one_works() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    for bad in ["", "{", "not json", "{\"event\":", "\u{0}"] {
        let (status, body) = post_raw(&gateway, PATH, bad).await;
        assert_eq!(
            (status, body["status"].as_str()),
            (400, Some("error")),
            "{bad:?}: {body}"
        );
        assert!(body["message"].is_string());
    }
    assert_eq!(
        post_raw(&gateway, PATH, b"\xff\xfe{}".to_vec()).await.0,
        400
    );
    let deep = "[".repeat(100_000);
    assert_eq!(post_raw(&gateway, PATH, deep).await.0, 400);
    let huge = format!("{{\"event\":\"{}\"}}", "x".repeat(1_100_000));
    let (status, body) = post_raw(&gateway, PATH, huge).await;
    assert_eq!(status, 413, "{body}");
    assert!(body["message"].is_string(), "{body}");
    assert_eq!(gateway.ledger().await["events"], 0);
    assert_eq!(gateway.event(&vonage("x", "sent")).await, 200);
    assert_eq!(gateway.ledger().await["events"], 1);
}

#[tokio::test]
async fn r_67_a_body_of_half_a_million_elements_is_refused_and_2000_statuses_are_taken() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let zeros = format!("[{}0]", "0,".repeat(500_000));
    let (status, body) = post_raw(&gateway, PATH, zeros).await;
    assert_eq!(status, 413, "{body}");
    assert!(body["message"].as_str().unwrap().contains("2000"), "{body}");
    assert_eq!(gateway.ledger().await["events"], 0);
    // Of what cannot be read one sample is kept; all of it is counted.
    assert_eq!(gateway.event(&json!([0, 1, "x"])).await, 200);
    assert_eq!(gateway.ledger().await["events"], 3);
    let many: Vec<Value> = (0..2000)
        .map(|n| vonage(&format!("x{n}"), "sent"))
        .collect();
    assert_eq!(gateway.event(&json!(many)).await, 200);
    assert_eq!(gateway.ledger().await["events"], 2003);
}

#[tokio::test]
async fn r_30_the_webhook_of_the_old_connector_has_its_other_address_and_spellings() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let event = vonage("x", "sent").to_string();
    let open = [
        format!("/jumper_callback_2/{SECRET}"),
        format!("/jumper_callback_2?key={SECRET}"),
        format!("/jumper_callback/?key={SECRET}"),
        format!("/Jumper_Callback/{SECRET}/"),
        format!("/Channels/default/Callback/{SECRET}"),
    ];
    for (n, path) in open.iter().enumerate() {
        let (status, body) = post_raw(&gateway, path, event.clone()).await;
        assert_eq!(status, 200, "{path}: {body}");
        assert_eq!(gateway.ledger().await["events"], n + 1, "{path}");
    }
    let capitals = SECRET.to_uppercase();
    for shut in [
        format!("/jumper_callback/{capitals}"),
        format!("/jumper_callback_2/{capitals}/"),
        "/jumper_callback_2".to_owned(),
        "/jumper_callback_2/".to_owned(),
    ] {
        assert_eq!(
            post_raw(&gateway, &shut, event.clone()).await.0,
            404,
            "{shut}"
        );
    }
}

#[tokio::test]
async fn b_49_with_a_webhook_secret_only_the_secret_url_takes_events() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let event = vonage("x", "sent").to_string();
    for shut in [
        "/jumper_callback",
        "/jumper_callback/",
        "/jumper_callback/wrong",
        "/jumper_callback/webhook-secret-for-test",
        "/jumper_callback?key=wrong",
        "/jumper_callback?key=",
        "/jumper_callback/wrong?key=webhook-secret-for-tests",
        "/channels/default/callback",
        "/channels/default/callback/wrong",
        "/channels/other/callback/webhook-secret-for-tests",
    ] {
        assert_eq!(
            post_raw(&gateway, shut, event.clone()).await.0,
            404,
            "{shut}"
        );
    }
    assert_eq!(gateway.ledger().await["events"], 0);
    for open in [
        PATH,
        "/jumper_callback?key=webhook-secret-for-tests",
        "/channels/default/callback/webhook-secret-for-tests",
        "/channels/default/callback?key=webhook-secret-for-tests",
    ] {
        assert_eq!(
            post_raw(&gateway, open, event.clone()).await.0,
            200,
            "{open}"
        );
    }
    assert_eq!(gateway.ledger().await["events"], 4);
    for seen in ["/jumper_callback", PATH] {
        let answer = gateway
            .http
            .get(format!("{}{seen}", gateway.url))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "GET {seen}");
    }
}

#[tokio::test]
async fn where_the_webhook_is_open_the_plain_url_takes_events() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox)
        .without("WEBHOOK_SECRET")
        .env("WEBHOOK_OPEN", "true");
    let gateway = Gateway::start(&sandbox, setup).await;
    let id = sent(&gateway, &sandbox, "m0", &number(0)).await;
    let (code, _) = post_raw(
        &gateway,
        "/jumper_callback",
        status(&id, "read", 1_930_000_000).to_string(),
    )
    .await;
    assert_eq!(code, 200);
    until_told(&sandbox, "m0", &["read"]).await;
}

#[tokio::test]
async fn b_37_jumper_is_answered_before_moengage_is_asked() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    // MoEngage says nothing for longer than Jumper may be kept waiting.
    let setup = Setup::towards(&sandbox).set("moengage.callback_timeout=5m");
    let gateway = Gateway::start(&sandbox, setup).await;
    let id = sent(&gateway, &sandbox, "m0", &number(0)).await;
    sandbox.script("dlr", &["hang:600"]).await;
    for word in ["sent", "delivered", "read"] {
        assert_eq!(gateway.event(&status(&id, word, 1_930_000_000)).await, 200);
    }
    assert_eq!(sandbox.told("m0").await, Vec::<String>::new());
    let _gateway = gateway.crash_and_restart(&sandbox).await;
    until_told(&sandbox, "m0", &["sent", "delivered", "read"]).await;
}

/// What a request is answered, but for the time.
async fn whole(gateway: &Gateway, method: &str, path: &str) -> (u16, Vec<String>, String) {
    let url = format!("{}{path}", gateway.url);
    let request = gateway.http.request(method.parse().unwrap(), url);
    let answer = request.body("{}").send().await.unwrap();
    let status = answer.status().as_u16();
    let headers = answer.headers().iter().filter(|(name, _)| *name != "date");
    let mut headers: Vec<String> = headers.map(|one| format!("{one:?}")).collect();
    headers.sort();
    (status, headers, answer.text().await.unwrap())
}

/// The secret, every character as its code.
fn spelled() -> String {
    let codes = SECRET.bytes().map(|byte| format!("%{byte:02x}"));
    codes.collect()
}

/// What follows the path of the webhook.
fn wrong_ends() -> (Vec<String>, Vec<String>) {
    let half = &SECRET[..SECRET.len() - 1];
    let ends = [
        "/wrong".to_owned(),
        format!("/{half}"),
        format!("/{SECRET}x"),
        format!("/{}", SECRET.to_uppercase()),
        format!("/{SECRET}%2f"),
        format!("/{SECRET}%00"),
        format!("/{SECRET}%20"),
        format!("/%20{SECRET}"),
        format!("/x/{SECRET}"),
        format!("/..%2f{SECRET}"),
        "/%ff%fe".to_owned(),
        "/%".to_owned(),
        "//".to_owned(),
        format!("/wrong?key={SECRET}"),
    ];
    let by_query = [
        "?key=wrong".to_owned(),
        "?key=".to_owned(),
        "?key=%ff".to_owned(),
        format!("?key={half}"),
        format!("?Key={SECRET}"),
        format!("?key={SECRET}&key={SECRET}"),
        format!("?key[]={SECRET}"),
        String::new(),
        "/".to_owned(),
    ];
    (ends.into(), by_query.into())
}

#[tokio::test]
async fn a_wrong_secret_is_answered_exactly_like_a_path_that_is_not_there() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let (ends, by_query) = wrong_ends();
    for base in [
        "/jumper_callback",
        "/channels/default/callback",
        "/channels/%ff/callback",
    ] {
        for (method, ends) in [
            ("POST", &ends[..]),
            ("POST", &by_query[..]),
            ("GET", &ends[..]),
        ] {
            let unknown = whole(&gateway, method, "/no/such/route").await;
            assert_eq!(
                (unknown.0, unknown.2.as_str()),
                (404, "{\"message\":\"No such route\"}")
            );
            for end in ends {
                let path = format!("{base}{end}");
                assert_eq!(
                    whole(&gateway, method, &path).await,
                    unknown,
                    "{method} {path}"
                );
            }
        }
    }
    assert_eq!(gateway.ledger().await["events"], 0);
    // The same bytes in another spelling are the same path.
    let spelled: String = SECRET.bytes().map(|byte| format!("%{byte:02x}")).collect();
    assert_eq!(
        whole(&gateway, "POST", &format!("/jumper_callback/{spelled}"))
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn nobody_who_may_look_is_shown_the_secret_in_any_spelling() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let half = &SECRET[..SECRET.len() - 1];
    let spelled = spelled();
    for path in [half, SECRET, &spelled] {
        whole(&gateway, "POST", &format!("/jumper_callback/{path}")).await;
        whole(&gateway, "POST", &format!("/jumper_callback?key={path}")).await;
    }
    let mut shown = gateway.metrics().await + &gateway.process.output();
    for path in ["/api/accounts", "/api/channels", "/api/ledger"] {
        shown += &gateway.ops_get(path).await.1.to_string();
    }
    let place = tempfile::tempdir().unwrap();
    let setup = gateway
        .setup()
        .env("SUBSCRIBED_CALLBACK_URL", &gateway.webhook());
    for command in ["config", "check"] {
        shown += &run_to_end(&[command], &setup, place.path()).1;
    }
    assert!(
        shown.contains("jumper_callback"),
        "the address itself is shown"
    );
    for secret in [SECRET, half, &spelled] {
        assert!(!shown.contains(secret), "{secret}");
    }
}
