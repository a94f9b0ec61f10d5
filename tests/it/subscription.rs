//! Our webhook at Jumper: added once, kept, renewed, and nobody else's is touched.

use crate::kit::event_bodies::own_port;
use crate::kit::harness::*;
use serde_json::{Value, json};

const FOREIGN: &str = "https://crm.example/hooks/jumper";

fn entry(webhook: &str) -> Value {
    json!({ "permission": "livechat", "webhook": webhook, "deliver": false })
}

async fn webhooks(sandbox: &Sandbox) -> Vec<String> {
    let list = sandbox.get("subscriptions").await;
    let list = list.as_array().unwrap().iter();
    list.map(|one| one["webhook"].as_str().unwrap().to_owned())
        .collect()
}

/// A gateway that subscribes itself at the port it is really at.
fn setup(sandbox: &Sandbox) -> (Setup, String) {
    let port = own_port();
    let url = format!("http://127.0.0.1:{port}/jumper_callback");
    let setup = Setup::towards(sandbox)
        .env("SUBSCRIBED_CALLBACK_URL", &url)
        .set(&format!("http.port={port}"))
        .set("jumper.subscription_check=1s");
    (setup, url)
}

async fn calls(sandbox: &Sandbox, name: &str) -> u64 {
    sandbox.counts().await["calls"][name].as_u64().unwrap_or(0)
}

async fn until_webhooks(sandbox: &Sandbox, wanted: &[&str]) {
    until(&format!("the webhooks are {wanted:?}"), async || {
        (webhooks(sandbox).await == wanted).then_some(())
    })
    .await;
}

/// Statuses come in, and the subscriptions are looked at again.
async fn works(sandbox: &Sandbox, gateway: &Gateway) {
    gateway.accept("m", &person(1)).await;
    until("its statuses have come", async || {
        (sandbox.told("m").await == ["sent", "delivered"]).then_some(())
    })
    .await;
    until("it was looked at again", async || {
        (calls(sandbox, "list_subscription").await >= 3).then_some(())
    })
    .await;
}

#[tokio::test]
async fn b_17_the_webhook_is_added_once_beside_foreign_ones_and_statuses_come() {
    for (mode, member) in [("replace", "subscription_type"), ("append", "permission")] {
        let knobs = json!({ "subscription_mode": mode, "subscription_member": member,
            "share_read": 0 });
        let sandbox = Sandbox::start(knobs).await;
        sandbox.put("subscriptions", json!([entry(FOREIGN)])).await;
        let (setup, url) = setup(&sandbox);
        let gateway = Gateway::start_unheard(setup);
        let ours = format!("{url}/{SECRET}");
        until_webhooks(&sandbox, &[FOREIGN, &ours]).await;
        works(&sandbox, &gateway).await;
        assert_eq!(webhooks(&sandbox).await, [FOREIGN, &ours], "{mode}");
        assert_eq!(calls(&sandbox, "subscribe").await, 1, "{mode}");
        let output = gateway.process.output();
        assert!(!output.contains(SECRET), "{output}");
    }
}

#[tokio::test]
async fn r_32_an_address_that_jumper_keeps_in_its_own_spelling_is_ours_and_is_served() {
    let knobs = json!({ "subscription_url": "rewritten", "share_read": 0 });
    let sandbox = Sandbox::start(knobs).await;
    let (setup, url) = setup(&sandbox);
    let setup = setup.env("SUBSCRIBED_CALLBACK_URL", &url.replace("http", "HTTP"));
    let gateway = Gateway::start_unheard(setup);
    let kept = format!("{url}/{SECRET}/");
    until_webhooks(&sandbox, &[&kept]).await;
    works(&sandbox, &gateway).await;
    assert_eq!(webhooks(&sandbox).await, [kept]);
    assert_eq!(calls(&sandbox, "subscribe").await, 1);
}

#[tokio::test]
async fn b_17_an_entry_of_ours_with_an_old_secret_is_replaced_and_a_lost_one_comes_back() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let (setup, url) = setup(&sandbox);
    let (old, bare) = (format!("{url}/the-old-secret-0000"), url.clone());
    let near = format!("{url}_of_somebody_else/x");
    let seeded = json!([entry(FOREIGN), entry(&old), entry(&bare), entry(&near)]);
    sandbox.put("subscriptions", seeded).await;
    let gateway = Gateway::start_unheard(setup);
    let ours = format!("{url}/{SECRET}");
    until_webhooks(&sandbox, &[FOREIGN, &near, &ours]).await;
    // Somebody removes it at Jumper.
    sandbox.put("subscriptions", json!([entry(FOREIGN)])).await;
    until_webhooks(&sandbox, &[FOREIGN, &ours]).await;
    assert_eq!(calls(&sandbox, "subscribe").await, 2);
    // The next process finds it there and leaves it.
    let before = calls(&sandbox, "list_subscription").await;
    let _gateway = gateway.crash_and_restart_unheard();
    until("the next process has looked", async || {
        (calls(&sandbox, "list_subscription").await > before + 1).then_some(())
    })
    .await;
    assert_eq!(webhooks(&sandbox).await, [FOREIGN, &ours]);
    assert_eq!(calls(&sandbox, "subscribe").await, 2);
}

#[tokio::test]
async fn b_18_a_subscription_that_cannot_be_made_is_tried_again_and_sending_goes_on() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    sandbox.script("list_subscription", &["500_before"]).await;
    sandbox.script("subscribe", &["refuse:not now"]).await;
    let (setup, url) = setup(&sandbox);
    let gateway = Gateway::start_unheard(setup);
    gateway.accept("m", &person(1)).await;
    gateway.until_sent("m").await;
    until_webhooks(&sandbox, &[&format!("{url}/{SECRET}")]).await;
    let again = "could not verify the webhook subscription";
    gateway.process.said(&[again]).await;
    assert_eq!(calls(&sandbox, "subscribe").await, 2);
}

#[tokio::test]
async fn without_an_address_of_ours_no_subscription_is_touched() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    sandbox.put("subscriptions", json!([entry(FOREIGN)])).await;
    let gateway = Gateway::start_unheard(Setup::towards(&sandbox));
    gateway.accept("m", &person(1)).await;
    gateway.until_sent("m").await;
    assert_eq!(calls(&sandbox, "list_subscription").await, 0);
    assert_eq!(webhooks(&sandbox).await, [FOREIGN]);
}

#[tokio::test]
async fn r_24_a_list_with_an_entry_that_cannot_be_read_is_not_written_back() {
    let sandbox = Sandbox::start(json!({ "share_read": 0 })).await;
    let list = r#"{"success":true,"data":[{"permission":"livechat","webhook":"https://crm.example/\ud83d"}]}"#;
    sandbox
        .rule(json!({ "route": "list_subscription", "body": list }))
        .await;
    let (setup, url) = setup(&sandbox);
    let gateway = Gateway::start_unheard(setup);
    until("it was looked at again", async || {
        (calls(&sandbox, "list_subscription").await >= 3).then_some(())
    })
    .await;
    assert_eq!(calls(&sandbox, "subscribe").await, 0);
    gateway.process.said(&["not valid Unicode"]).await;
    sandbox.no_rules().await;
    until_webhooks(&sandbox, &[&format!("{url}/{SECRET}")]).await;
}
