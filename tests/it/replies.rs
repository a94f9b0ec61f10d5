//! What people write back: matched to a message, echoed to MoEngage, opt-outs kept.

use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use serde_json::{Value, json};
use tokio::task::JoinSet;

async fn quiet() -> (Sandbox, Gateway) {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    (sandbox, gateway)
}

/// The last reply that MoEngage was told for a message.
async fn reply(sandbox: &Sandbox, msg_id: &str) -> Value {
    until(&format!("a reply to {msg_id}"), async || {
        let entries = sandbox.entries(msg_id).await;
        entries.into_iter().rfind(|entry| entry["type"].is_string())
    })
    .await
}

async fn says(sandbox: &Sandbox, wish: Value) {
    let delivery = sandbox.post("reply", wish).await;
    assert_eq!(delivery["status"], 200, "{delivery}");
}

fn slot(msg_id: &str, to: &str, buttons: Value) -> Value {
    let mut components =
        vec![json!({ "type": "body", "parameters": [{ "type": "text", "text": "10:30" }] })];
    components.extend(buttons.as_array().unwrap().clone());
    send(msg_id, to, "confirm_slot", "en_US", json!(components))
}

#[tokio::test]
async fn b_33_a_tap_echoes_moengages_payload_byte_for_byte_with_the_label() {
    let (sandbox, gateway) = quiet().await;
    let payload = "{'slot':'10:30',  'reply':\"keep\", 'ü':\t'\\u00e9\u{1f44d}'}";
    let button = json!([{ "type": "button", "sub_type": "quick_reply", "index": "0",
        "parameters": [{ "type": "payload", "payload": payload }] }]);
    let mut body = slot("m0", &number(0), button);
    body["from"] = json!("+12025550100");
    gateway.accept_body(&body).await;
    let id = receipt(&gateway, &sandbox, "m0", &number(0)).await;
    says(
        &sandbox,
        json!({ "message_id": id, "text": "Keep it", "kind": "click" }),
    )
    .await;
    let told = reply(&sandbox, "m0").await;
    assert_eq!(told["type"], "button");
    assert_eq!(
        told["button"],
        json!({ "payload": payload, "text": "Keep it" })
    );
    assert_eq!(told["from"], "+12025550000");
    assert_eq!(
        told["waba_number"], "+12025550100",
        "exactly as written in the send"
    );
    assert_eq!(told["context"], json!({ "msg_id": "m0" }));
}

#[tokio::test]
async fn a_tap_on_a_button_without_payload_repeats_the_label() {
    let (sandbox, gateway) = quiet().await;
    gateway
        .accept_body(&slot("m0", &number(0), json!([])))
        .await;
    let id = receipt(&gateway, &sandbox, "m0", &number(0)).await;
    says(
        &sandbox,
        json!({ "message_id": id, "text": "Move it", "kind": "click" }),
    )
    .await;
    let told = reply(&sandbox, "m0").await;
    assert_eq!(
        told["button"],
        json!({ "payload": "Move it", "text": "Move it" })
    );
}

#[tokio::test]
async fn b_33_b_34_a_quoted_text_is_text_for_the_quoted_message_and_free_text_for_the_latest() {
    let (sandbox, gateway) = quiet().await;
    let to = number(0);
    let first = sent(&gateway, &sandbox, "m0", &to).await;
    sent(&gateway, &sandbox, "m1", &to).await;
    says(
        &sandbox,
        json!({ "message_id": first, "text": " When?\n", "kind": "quoted" }),
    )
    .await;
    let told = reply(&sandbox, "m0").await;
    assert_eq!(
        (&told["type"], &told["text"]["body"]),
        (&json!("text"), &json!(" When?\n"))
    );
    assert_eq!(told["waba_number"], BRAND);
    for (kind, text) in [
        ("free", "Hello"),
        ("gen1", "Hello again"),
        ("null_country_code", "And again"),
    ] {
        says(&sandbox, json!({ "to": to, "text": text, "kind": kind })).await;
        until(
            &format!("{kind} is told for the latest message"),
            async || {
                let told = sandbox.entries("m1").await;
                told.iter()
                    .any(|one| one["text"]["body"] == text && one["from"] == to.as_str())
                    .then_some(())
            },
        )
        .await;
    }
    assert_eq!(
        sandbox.entries("m0").await.len(),
        1,
        "the newest campaign gets the credit"
    );
}

#[tokio::test]
async fn a_label_that_is_only_typed_is_text_when_it_quotes_nothing() {
    let (sandbox, gateway) = quiet().await;
    gateway
        .accept_body(&slot("m0", &number(0), json!([])))
        .await;
    receipt(&gateway, &sandbox, "m0", &number(0)).await;
    says(
        &sandbox,
        json!({ "to": number(0), "text": "Keep it", "kind": "free" }),
    )
    .await;
    assert_eq!(reply(&sandbox, "m0").await["type"], "text");
}

#[tokio::test]
async fn b_35_b_36_agents_bots_pictures_and_strangers_are_kept_and_counted_but_not_relayed() {
    let (sandbox, gateway) = quiet().await;
    let id = sent(&gateway, &sandbox, "m0", &number(0)).await;
    for kind in ["agent", "bot", "media"] {
        says(
            &sandbox,
            json!({ "message_id": id, "text": "Can I help?", "kind": kind }),
        )
        .await;
    }
    says(
        &sandbox,
        json!({ "to": number(9), "text": "Who are you?", "kind": "free" }),
    )
    .await;
    // A real one last: what is not told by then was not going to be.
    says(
        &sandbox,
        json!({ "message_id": id, "text": "Thanks", "kind": "quoted" }),
    )
    .await;
    reply(&sandbox, "m0").await;
    gateway.drained().await;
    assert_eq!(sandbox.counts().await["callback_inbound"], 1);
    let metrics = gateway.metrics().await;
    for kind in ["agent", "bot", "media"] {
        let line = format!("gateway_other_events_total{{kind=\"{kind}\"}}");
        assert_eq!(figure(&metrics, &line), 1.0, "{kind}");
    }
    assert_eq!(
        figure(&metrics, "gateway_replies_total{outcome=\"unmatched\"}"),
        1.0
    );
    assert_eq!(gateway.ledger().await["events"], 5);
}

#[tokio::test]
async fn free_text_to_nobody_is_told_without_context_where_the_setting_says_so() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox)
        .set("inbound.relay_unmatched=true")
        .env("WABA_NUMBER", "+12025550100");
    let gateway = Gateway::start(&sandbox, setup).await;
    says(
        &sandbox,
        json!({ "to": number(9), "text": "Who are you?", "kind": "free" }),
    )
    .await;
    let told = reply(&sandbox, "").await;
    assert_eq!(
        (&told["text"]["body"], &told["waba_number"]),
        (&json!("Who are you?"), &json!("+12025550100"))
    );
    gateway.drained().await;
}

#[tokio::test]
async fn free_text_long_after_the_last_message_belongs_to_nobody() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(
        &sandbox,
        Setup::towards(&sandbox).set("inbound.reply_window=1s"),
    )
    .await;
    let id = sent(&gateway, &sandbox, "m0", &number(0)).await;
    until("the window is over", async || {
        says(
            &sandbox,
            json!({ "to": number(0), "text": "Hm", "kind": "free" }),
        )
        .await;
        let metrics = gateway.metrics().await;
        (figure(&metrics, "gateway_replies_total{outcome=\"unmatched\"}") > 0.0).then_some(())
    })
    .await;
    // A quote names its message, however old.
    says(
        &sandbox,
        json!({ "message_id": id, "text": "Quoted", "kind": "quoted" }),
    )
    .await;
    until("the quote is told", async || {
        let told = sandbox.entries("m0").await;
        told.iter()
            .any(|one| one["text"]["body"] == "Quoted")
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn stop_is_told_and_obeyed_and_start_undoes_it() {
    let (sandbox, gateway) = quiet().await;
    let to = number(0);
    let id = sent(&gateway, &sandbox, "m0", &to).await;
    gateway
        .ops_send("POST", "/api/channels/default/pause", json!({}))
        .await;
    gateway.accept("waiting", &to).await;
    gateway.accept("others", &number(1)).await;
    says(
        &sandbox,
        json!({ "message_id": id, "text": " stop. ", "kind": "quoted" }),
    )
    .await;
    assert_eq!(reply(&sandbox, "m0").await["text"]["body"], " stop. ");
    let refused = gateway.post(&order_update("m1", &to)).await;
    assert_eq!(code_of(&refused), "7003");
    // Accepted before: a repeat is still a success, and nothing is sent.
    gateway.accept("m0", &to).await;
    gateway
        .ops_send("POST", "/api/channels/default/resume", json!({}))
        .await;
    until_told(&sandbox, "waiting", &["failed"]).await;
    let told = sandbox.entries("waiting").await;
    assert_eq!(told[0]["error"]["code"], "7003");
    gateway.until_sent("others").await;
    assert_eq!(
        sandbox.sends_to(&to[1..]).await.len(),
        1,
        "sent to a person who opted out"
    );

    let gateway = gateway.crash_and_restart(&sandbox).await;
    assert_eq!(
        code_of(&gateway.post(&order_update("m2", &to)).await),
        "7003",
        "forgotten"
    );
    says(
        &sandbox,
        json!({ "to": to, "text": "Start", "kind": "free" }),
    )
    .await;
    sent(&gateway, &sandbox, "m3", &to).await;
    // Refusals are not remembered: the same id may come again.
    sent(&gateway, &sandbox, "m1", &to).await;
    assert_eq!(sandbox.sends_to(&to[1..]).await.len(), 3);
}

#[tokio::test]
async fn stop_of_a_person_we_never_wrote_to_is_told_with_an_empty_id_and_obeyed() {
    let (sandbox, gateway) = quiet().await;
    sent(&gateway, &sandbox, "m0", &number(0)).await;
    says(
        &sandbox,
        json!({ "to": number(9), "text": "STOP", "kind": "free" }),
    )
    .await;
    let told = reply(&sandbox, "").await;
    assert_eq!(told["context"]["msg_id"], "");
    assert_eq!(
        (&told["from"], &told["waba_number"]),
        (&json!(number(9)), &json!(BRAND))
    );
    assert_eq!(
        code_of(&gateway.post(&order_update("m1", &number(9))).await),
        "7003"
    );
}

#[tokio::test]
async fn a_reply_that_comes_twice_is_told_once() {
    let (sandbox, gateway) = quiet().await;
    let id = sent(&gateway, &sandbox, "m0", &number(0)).await;
    let at = ago(7);
    let event = |reply_id: &str| {
        json!({ "event": { "type": "NEW", "subscription_type": "livechat", "data": {
            "messageid": reply_id, "message": "Yes", "mobilecountrycode": "+1", "mobile": "2025550000",
            "created": written(at, "%FT%TZ"), "agent": null,
            "replytomessage": { "messageid": id, "replied": true } } } })
    };
    for reply_id in ["u1", "u1", "u2", "u1"] {
        assert_eq!(gateway.event(&event(reply_id)).await, 200);
    }
    gateway.drained().await;
    assert_eq!(sandbox.told("m0").await, ["inbound", "inbound"]);
    assert_eq!(
        sandbox.entries("m0").await[0]["timestamp"],
        at.to_string(),
        "the time of the reply"
    );
}

#[tokio::test]
async fn r_72_a_reply_without_an_id_that_comes_again_within_a_minute_is_told_once() {
    let (sandbox, gateway) = quiet().await;
    let id = sent(&gateway, &sandbox, "m0", &number(0)).await;
    let event = |text: &str| {
        json!({ "event": { "type": "NEW", "subscription_type": "livechat", "data": {
            "message": text, "mobilecountrycode": "+1", "mobile": "2025550000", "agent": null,
            "replytomessage": { "messageid": id, "replied": true } } } })
    };
    for text in ["Yes", "No", "Yes"] {
        let mut same = JoinSet::new();
        for _ in 0..10 {
            let post = gateway.http.post(gateway.webhook()).json(&event(text));
            same.spawn(async { post.send().await.unwrap().status() });
        }
        let answers = same.join_all().await;
        assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
    }
    gateway.drained().await;
    let told = sandbox.entries("m0").await;
    let texts: Vec<&Value> = told.iter().map(|one| &one["text"]["body"]).collect();
    assert_eq!(texts, [&json!("Yes"), &json!("No")]);
}

/// A large body is stored in pieces, so a kill may leave a part of it.
#[tokio::test]
async fn r_72_a_body_of_replies_that_a_kill_cut_is_told_once_when_it_comes_again() {
    const REPLIES: usize = 1000;
    let knobs = json!({ "event_mode": "none", "moengage_fail_share": 1.0 });
    let sandbox = Sandbox::start(knobs).await;
    let setup = Setup::towards(&sandbox).set("moengage.max_pause=30ms");
    let gateway = Gateway::start(&sandbox, setup).await;
    let id = sent(&gateway, &sandbox, "m0", &number(0)).await;
    let reply = |n| {
        json!({ "event": { "type": "NEW", "subscription_type": "livechat", "data": {
            "message": format!("line {n}"), "mobilecountrycode": "+1", "mobile": "2025550000",
            "agent": null, "replytomessage": { "messageid": id, "replied": true } } } })
    };
    let body: Value = (0..REPLIES).map(reply).collect();
    let post = gateway.http.post(gateway.webhook()).json(&body).send();
    let post = tokio::spawn(post);
    until("a part is stored", async || {
        (gateway.ledger().await["events"] != 0).then_some(())
    })
    .await;
    let gateway = gateway.crash_and_restart(&sandbox).await;
    // Whatever was said in the end; who hears nothing says it again.
    let _ = post.await.unwrap();
    assert_eq!(gateway.event(&body).await, 200);
    sandbox.knobs(json!({ "moengage_fail_share": 0 })).await;
    gateway.drained().await;
    let told = sandbox.entries("m0").await;
    let texts: Vec<&str> = told
        .iter()
        .map(|one| one["text"]["body"].as_str().unwrap())
        .collect();
    let lines: Vec<String> = (0..REPLIES).map(|n| format!("line {n}")).collect();
    assert_eq!(texts, lines);
}

#[tokio::test]
async fn replies_of_one_person_keep_their_order_while_moengage_fails() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none", "moengage_fail_share": 0.5 })).await;
    let setup = Setup::towards(&sandbox).set("moengage.max_pause=30ms");
    let gateway = Gateway::start(&sandbox, setup).await;
    let id = sent(&gateway, &sandbox, "m0", &number(0)).await;
    let texts: Vec<String> = (0..12).map(|n| format!("line {n}")).collect();
    for text in &texts {
        says(
            &sandbox,
            json!({ "message_id": id, "text": text, "kind": "quoted" }),
        )
        .await;
    }
    gateway.drained().await;
    let told = sandbox.entries("m0").await;
    let told: Vec<_> = told
        .iter()
        .map(|one| one["text"]["body"].as_str().unwrap())
        .collect();
    assert_eq!(told, texts);
}
