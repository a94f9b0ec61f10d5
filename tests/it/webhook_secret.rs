//! Nobody but Jumper tells the gateway what became of a message, though nobody set a secret (cases
//! R-68); and whatever address Jumper is told is served.

use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use crate::kit::redis_server::{Options, Redis, on_redis_only};
use serde_json::{Value, json};
use std::sync::Arc;

/// Letters of a secret that the gateway makes.
const MADE: usize = 48;

/// A gateway without a secret that subscribes itself, the address that it was given, and its port.
fn setup(sandbox: &Sandbox, path: &str) -> (Setup, String) {
    let port = own_port();
    let url = format!("http://127.0.0.1:{port}{path}");
    let setup = Setup::towards(sandbox)
        .without("WEBHOOK_SECRET")
        .env("SUBSCRIBED_CALLBACK_URL", &url)
        .set(&format!("http.port={port}"))
        .set("jumper.subscription_check=1s");
    (setup, url)
}

fn entry(webhook: &str) -> Value {
    json!({ "permission": "livechat", "webhook": webhook, "deliver": false })
}

/// The one address that Jumper is told, once it is another than this.
async fn registered(sandbox: &Sandbox, before: &str) -> String {
    until("the address is registered", async || {
        let list = sandbox.get("subscriptions").await;
        let list = list.as_array().unwrap();
        let url = list.first()?["webhook"].as_str().unwrap();
        (list.len() == 1 && url != before).then(|| url.to_owned())
    })
    .await
}

/// The path of an address.
fn path(url: &str) -> &str {
    let (_, rest) = url.split_once("://").unwrap();
    &rest[rest.find('/').unwrap()..]
}

fn says(from: &str, text: &str) -> String {
    let data = json!({ "messageid": format!("R-{from}-{text}"), "message": text, "mobile": from,
        "mobilecountrycode": "", "type": "text" });
    json!({ "event": { "type": "NEW", "subscription_type": "livechat", "data": data } }).to_string()
}

async fn is_refused(gateway: &Gateway, path: &str) {
    let body = status("P-none", "read", 1_930_000_000).to_string();
    until(&format!("{path} is no route"), async || {
        let (code, _) = post_raw(gateway, path, body.clone()).await;
        (code == 404).then_some(())
    })
    .await;
}

#[tokio::test]
async fn r_68_without_a_setting_a_secret_is_made_kept_and_registered() {
    let sandbox = Sandbox::start(json!({ "share_read": 0 })).await;
    let (setup, url) = setup(&sandbox, "/jumper_callback");
    let gateway = Gateway::start_unheard(setup);
    let ours = registered(&sandbox, "").await;
    let secret = ours.strip_prefix(&format!("{url}/")).unwrap().to_owned();
    assert_eq!(secret.len(), MADE, "{}", secret.len());
    // Nobody was told an address without it, so none is served.
    is_refused(&gateway, "/jumper_callback").await;
    is_refused(&gateway, "/jumper_callback/webhook-secret-for-tests").await;
    gateway.accept("m0", &number(0)).await;
    until_told(&sandbox, "m0", &["sent", "delivered"]).await;
    let (_, shown) = gateway.ops_get("/api/channels/default/webhook").await;
    assert_eq!(
        (&shown["secret"], &shown["made_by_gateway"], &shown["open"]),
        (&json!(secret), &json!(true), &json!("no"))
    );
    assert!(!gateway.process.output().contains(&secret));
    let gateway = gateway.crash_and_restart_unheard();
    is_refused(&gateway, "/jumper_callback").await;
    assert_eq!(registered(&sandbox, "").await, ours, "the same as before");
    let body = status("P-none", "read", 1_930_000_000).to_string();
    assert_eq!(post_raw(&gateway, path(&ours), body).await.0, 200);
}

#[tokio::test]
async fn r_68_an_address_without_secret_is_served_until_jumper_has_the_new_one_and_a_while_on() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let (setup, url) = setup(&sandbox, "/jumper_callback");
    sandbox.put("subscriptions", json!([entry(&url)])).await;
    let gateway = Gateway::start_unheard(setup);
    let ours = registered(&sandbox, &url).await;
    let id = sent(&gateway, &sandbox, "m0", &number(0)).await;
    for at in [&url, &ours] {
        let body = status(&id, "read", ago(0)).to_string();
        assert_eq!(post_raw(&gateway, path(at), body).await.0, 200, "{at}");
    }
    until_told(&sandbox, "m0", &["read"]).await;
    let (_, shown) = gateway.ops_get("/api/channels/default/webhook").await;
    assert_eq!(
        shown["open"],
        "until the address with the secret is confirmed"
    );
    // A restart in that time changes nothing.
    let gateway = gateway.crash_and_restart_unheard();
    let body = status(&id, "read", ago(0)).to_string();
    assert_eq!(post_raw(&gateway, path(&url), body).await.0, 200);
}

/// Where anybody may post, what is made up harms nobody who was not written to.
#[tokio::test]
async fn r_68_without_a_secret_made_up_events_prove_nothing_and_opt_out_nobody_unknown() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox)
        .without("WEBHOOK_SECRET")
        .env("WEBHOOK_OPEN", "true");
    let mut gateway = Gateway::start(&sandbox, setup).await;
    gateway.process.line_with("WEBHOOK_OPEN is true");
    let open = "/jumper_callback";
    sandbox.script("send", &["accept_then_close"]).await;
    gateway.accept("m0", &number(0)).await;
    gateway.until_state("m0", "unknown").await;
    let mut made_up = meta_status("P-made-up", "delivered", ago(0));
    made_up["recipient_id"] = json!(&number(0)[1..]);
    let made_up = meta(&[vec![change(&[made_up])]]).to_string();
    assert_eq!(post_raw(&gateway, open, made_up).await.0, 200);
    for n in 100..300 {
        let stop = says(&number(n)[1..], "STOP");
        assert_eq!(post_raw(&gateway, open, stop).await.0, 200);
    }
    let stop = says(&number(0)[1..], "STOP");
    assert_eq!(post_raw(&gateway, open, stop).await.0, 200);
    assert_eq!(gateway.message("m0").await["state"], "unknown");
    // What they made up lifts nothing either.
    for msg_id in ["m1", "m2"] {
        let answer = gateway.post(&order_update(msg_id, &number(0))).await;
        assert_eq!(code_of(&answer), "7003");
        let start = says(&number(0)[1..], "START");
        assert_eq!(post_raw(&gateway, open, start).await.0, 200);
    }
    for n in [100, 200, 299] {
        gateway.accept(&format!("n{n}"), &number(n)).await;
    }
    let (_, channels) = gateway.ops_get("/api/channels").await;
    assert_eq!(
        channels["channels"][0]["webhook_open"],
        "yes (WEBHOOK_OPEN)"
    );
}

#[tokio::test]
async fn r_68_the_secret_is_changed_while_both_count() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let (setup, url) = setup(&sandbox, "/channels/default/callback");
    let gateway = Gateway::start_unheard(setup);
    let old = registered(&sandbox, "").await;
    let id = sent(&gateway, &sandbox, "m0", &number(0)).await;
    let (code, shown) = gateway
        .ops_send("POST", "/api/channels/default/webhook/rotate", json!({}))
        .await;
    assert_eq!(code, 200, "{shown}");
    let new = registered(&sandbox, &old).await;
    assert_eq!(new, format!("{url}/{}", shown["secret"].as_str().unwrap()));
    for (at, word) in [(&old, "sent"), (&new, "delivered"), (&old, "read")] {
        let body = status(&id, word, ago(0)).to_string();
        assert_eq!(post_raw(&gateway, path(at), body).await.0, 200, "{word}");
    }
    until_told(&sandbox, "m0", &["sent", "delivered", "read"]).await;
    is_refused(&gateway, "/channels/default/callback").await;
}

#[tokio::test]
async fn r_68_a_configured_secret_is_changed_by_a_list_and_not_by_the_gateway() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let both = format!("the-new-secret-0000,{SECRET}");
    let (setup, url) = setup(&sandbox, "/jumper_callback");
    let gateway = Gateway::start_unheard(setup.env("WEBHOOK_SECRET", &both));
    let ours = registered(&sandbox, "").await;
    assert_eq!(ours, format!("{url}/the-new-secret-0000"));
    for secret in ["the-new-secret-0000", SECRET] {
        let body = status("P-none", "read", ago(0)).to_string();
        let path = format!("/jumper_callback/{secret}");
        assert_eq!(post_raw(&gateway, &path, body).await.0, 200, "{path}");
    }
    is_refused(&gateway, "/jumper_callback").await;
    let rotate = "/api/channels/default/webhook/rotate";
    let (code, told) = gateway.ops_send("POST", rotate, json!({})).await;
    assert_eq!(code, 409, "{told}");
}

#[tokio::test]
async fn r_68_replicas_share_the_secret_and_follow_its_change() {
    on_redis_only!();
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let redis = Arc::new(Redis::start(Options::every_second()));
    let setup = Setup::towards(&sandbox)
        .without("WEBHOOK_SECRET")
        .sharing(&redis);
    let (a, b) = (
        Gateway::start_unheard(setup.clone()),
        Gateway::start_unheard(setup),
    );
    let route = "/api/channels/default/webhook";
    let (first, second) = (a.ops_get(route).await.1, b.ops_get(route).await.1);
    assert_eq!(first["secret"], second["secret"]);
    let (code, new) = a
        .ops_send("POST", &format!("{route}/rotate"), json!({}))
        .await;
    assert_eq!(code, 200, "{new}");
    for shown in [&new, &first] {
        let path = shown["path"].as_str().unwrap();
        let body = status("P-none", "read", ago(0)).to_string();
        for gateway in [&a, &b] {
            let (code, _) = post_raw(gateway, path, body.clone()).await;
            assert_eq!(code, 200, "both secrets at both");
        }
    }
    is_refused(&b, "/channels/default/callback").await;
}

#[tokio::test]
async fn r_31_whatever_path_jumper_is_told_is_served() {
    for path in ["/old/hook.php", "/Old/Jumper", "/channels"] {
        let sandbox = Sandbox::start(json!({ "share_read": 0 })).await;
        let (setup, url) = setup(&sandbox, path);
        let gateway = Gateway::start_unheard(setup.env("WEBHOOK_SECRET", SECRET));
        assert_eq!(registered(&sandbox, "").await, format!("{url}/{SECRET}"));
        gateway.accept("m0", &number(0)).await;
        until_told(&sandbox, "m0", &["sent", "delivered"]).await;
        is_refused(&gateway, &format!("{path}/wrong")).await;
        is_refused(&gateway, &format!("{path}/x/{SECRET}")).await;
    }
}

#[tokio::test]
async fn r_31_an_address_with_the_secret_in_its_middle_or_its_query_is_served() {
    for path in [
        format!("/hooks/{SECRET}/jumper"),
        format!("/hooks/jumper?key={SECRET}"),
    ] {
        let sandbox = Sandbox::start(json!({ "share_read": 0 })).await;
        let (setup, url) = setup(&sandbox, &path);
        let gateway = Gateway::start_unheard(setup.env("WEBHOOK_SECRET", SECRET));
        assert_eq!(registered(&sandbox, "").await, url);
        gateway.accept("m0", &number(0)).await;
        until_told(&sandbox, "m0", &["sent", "delivered"]).await;
        is_refused(&gateway, "/hooks").await;
    }
}

#[tokio::test]
async fn r_31_an_address_at_which_something_else_is_served_stops_the_start() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    for path in [
        "/jumper_send_whatsapp",
        "/healthz/",
        "/Channels/default/Send",
    ] {
        let (setup, _) = setup(&sandbox, path);
        let dir = tempfile::tempdir().unwrap();
        let mut process = Process::start(&["serve"], &setup.env, dir.path());
        assert_eq!(process.wait(), Some(1), "{path}");
        let told = process.output();
        assert!(
            told.contains("SUBSCRIBED_CALLBACK_URL") && told.contains("serves something else"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn r_68_more_than_a_hundred_opt_outs_a_minute_are_told_to_a_person() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let mut gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    for n in 0..101 {
        assert!(
            !gateway.process.output().contains("many_opt_outs"),
            "told at {n}"
        );
        let stop: Value = serde_json::from_str(&says(&number(n)[1..], "STOP")).unwrap();
        assert_eq!(gateway.event(&stop).await, 200);
    }
    let line = gateway.process.line_with("many_opt_outs");
    assert!(line.contains("101 within a minute"), "{line}");
}
