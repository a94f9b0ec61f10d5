//! Private by default: no secret and no whole phone number where people and machines look.

use crate::it::tap::Tap;
use crate::kit::event_bodies::{own_addr, said_at};
use crate::kit::harness::*;
use serde_json::json;
use std::collections::BTreeSet;

/// Every token of Jumper's that the gateway stored: they all begin like this.
fn minted(gateway: &Gateway) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in gateway.store_files() {
        let bytes = std::fs::read(file).unwrap();
        let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
        for (at, _) in text.match_indices("eyJhbGciOi") {
            let rest = &text[at..];
            let is_jwt = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            let end = rest.find(|c| !is_jwt(c)).unwrap_or(rest.len());
            found.insert(rest[..end].to_owned());
        }
    }
    found
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one long day, then one search")]
async fn b_45_no_secret_and_no_whole_number_is_in_logs_metrics_ops_answers_or_urls() {
    let sandbox = Sandbox::start(json!({ "share_odd": 0.5, "share_failed": 0.2 })).await;
    let wire = Tap::open(own_addr(), &sandbox.url).await;
    let setup = Setup::towards(&sandbox)
        .env("JUMPER_API_URL", &wire.url())
        .env("WABA_NUMBER", BRAND)
        .env(
            "RUST_LOG",
            "trace,hyper=info,hyper_util=info,reqwest=info,rustls=info,mio=info",
        )
        .env("AMBIGUOUS_HOLD", "1s")
        .set("policy.hold_probe=200ms");
    let mut gateway = Gateway::start(&sandbox, setup).await;
    let denied = "Bearer a-token-that-is-wrong-777";
    let body = order_update("x", &person(99)).to_string();
    gateway.post_as(&[("authorization", denied)], body).await;
    let outcomes = [
        "refuse:+12025550001 is not on WhatsApp, ask +1 (202) 555 - 0001",
        "accept_then_close",
        "503",
        "500_before",
        "403",
        "fault:400:oddly.12025550004",
    ];
    for (n, outcome) in outcomes.iter().enumerate() {
        sandbox.script("send", &[outcome]).await;
        gateway.accept(&format!("m{n}"), &person(n)).await;
        until("it is under way or done", async || {
            (gateway.message(&format!("m{n}")).await["attempts"] != 0).then_some(())
        })
        .await;
    }
    for n in 10..40 {
        gateway.accept(&format!("m{n}"), &person(n)).await;
    }
    gateway
        .post(&order_update("bad", "+1202555000111222"))
        .await;
    sandbox
        .post(
            "reply",
            json!({ "to": person(10), "text": "call +12025550011" }),
        )
        .await;
    sandbox
        .post("reply", json!({ "to": person(11), "text": "STOP" }))
        .await;
    let odd = json!({ "event": { "type": "12025550012", "subscription_type": "livechat",
        "data": { "mobile": person(12), "to": 12025550012_u64 } } });
    gateway.event(&odd).await;
    gateway.event(&json!([person(13)])).await;
    gateway.drained().await;
    let fresh = minted(&gateway);
    let path = "/api/accounts/default/token/refresh";
    assert_eq!(gateway.ops_send("POST", path, json!({})).await.0, 200);
    let seed = sandbox.post("token/new-seed", json!({})).await["refresh_token"].clone();
    let wish = json!({ "refresh_token": seed });
    let path = "/api/accounts/default/token/seed";
    let mut shown = gateway.ops_send("PUT", path, wish).await.1.to_string();
    let wish = json!({ "refresh_token": "a-seed-that-is-wrong-888" });
    shown += &gateway.ops_send("PUT", path, wish).await.1.to_string();
    // Redis may write what it has acknowledged to its file some moments later.
    let mut secrets = until("two pairs at least were kept", async || {
        let mut secrets = minted(&gateway);
        secrets.extend(fresh.iter().cloned());
        (secrets.len() >= 4).then_some(secrets)
    })
    .await;
    for path in [
        "/api/ledger",
        "/api/accounts",
        "/api/channels",
        "/api/messages/m10",
    ] {
        shown += &gateway.ops_get(path).await.1.to_string();
    }
    for n in 0..40 {
        shown += &gateway.message(&format!("m{n}")).await.to_string();
    }
    let found = gateway
        .ops_send("POST", "/api/search", json!({ "id": person(10) }))
        .await;
    assert_eq!(found.1["messages"][0]["msg_id"], "m10", "{found:?}");
    shown += &found.1.to_string();
    shown += &gateway.ready().await.1.to_string();
    shown += &gateway.metrics().await;
    gateway.process.terminate();
    assert_eq!(gateway.process.wait(), Some(0));
    let output = gateway.process.output();
    assert!(
        output.lines().count() > 70,
        "the log is there to be searched"
    );

    let known = [
        TOKEN,
        SECRET,
        "a-token-that-is-wrong-777",
        "a-seed-that-is-wrong-888",
        "sandbox-refresh-token",
        "c2FuZGJveC1rZXk6c2FuZGJveC1zZWNyZXQ",
        "sandbox-secret",
        seed.as_str().unwrap(),
        "eyJhbGciOi",
        BRAND,
        "12025550001112",
    ];
    secrets.extend(known.map(str::to_owned));
    secrets.extend((0..100).map(|n| digits(&person(n)).to_owned()));
    let said = wire.said();
    // A form has no line break at its end: the next request begins on its line.
    let url = |line: &str| {
        let line = line.strip_suffix(" HTTP/1.1")?;
        let at = line.rfind("GET /").max(line.rfind("POST /"))?;
        Some(line[at..].to_owned())
    };
    let urls: Vec<String> = said.lines().filter_map(url).collect();
    assert!(urls.len() > 30, "{urls:?}");
    let urls = urls.join("\n");
    for secret in &secrets {
        for (place, text) in [("log", &output), ("answers", &shown), ("urls", &urls)] {
            // The public address with the secret in its path is told to nobody here.
            let is_number = secret.bytes().all(|byte| byte.is_ascii_digit());
            let at = match is_number {
                true => said_at(text, secret),
                false => text.find(secret.as_str()),
            };
            let around = at.map(|at| &text[at.saturating_sub(200)..(at + 80).min(text.len())]);
            assert!(at.is_none(), "{secret} is in the {place}: {around:?}");
        }
    }
    assert!(
        said.contains("eyJhbGciOi"),
        "the wire carries tokens, in headers"
    );
}
