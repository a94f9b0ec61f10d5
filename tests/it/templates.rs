//! Templates: unknown, not approved, new, changed, cached; and a Jumper that cannot be asked.

use crate::it::tap::Tap;
use crate::kit::event_bodies::own_addr;
use crate::kit::harness::*;
use serde_json::{Value, json};

fn one(n: usize, template: &str, language: &str) -> Value {
    let values = json!([{ "type": "body", "parameters": [{ "type": "text", "text": "Ana" }] }]);
    send(&format!("m{n}"), &person(n), template, language, values)
}

async fn lists(sandbox: &Sandbox) -> u64 {
    sandbox.counts().await["calls"]["list"]
        .as_u64()
        .unwrap_or(0)
}

/// Waits until a list that was asked for after this moment is in use: lists follow one another.
async fn renewed(sandbox: &Sandbox) {
    let before = lists(sandbox).await;
    until("two more lists", async || {
        (lists(sandbox).await >= before + 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_template_or_language_that_is_not_approved_is_refused_with_7001() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    gateway.process_templates().await;
    for (template, language) in [
        ("no_such_template", "en"),
        ("coming_soon", "en"),
        ("refused_offer", "en"),
        ("welcome_back", "fr"),
        ("welcome_back", "EN"),
        ("welcome_back", "de"),
        ("Welcome_back", "en"),
    ] {
        let answer = gateway.post(&one(1, template, language)).await;
        assert_eq!(code_of(&answer), "7001", "{template}");
        let reason = format!("Template {template} ({language}) is not approved at the provider");
        assert_eq!(answer.1["error"]["message"], reason);
    }
    gateway.accept_body(&one(1, "welcome_back", "en")).await;
    gateway.until_sent("m1").await;
    sandbox.put("templates", json!([])).await;
    assert_eq!(gateway.drained().await["accepted"], 1);
}

#[tokio::test]
async fn b_22_a_new_template_a_new_language_and_a_changed_id_are_seen_without_a_restart() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox).set("jumper.template_refresh=1s");
    let gateway = Gateway::start(&sandbox, setup).await;
    gateway.process_templates().await;
    assert_eq!(
        code_of(&gateway.post(&one(1, "brand_new", "en")).await),
        "7001"
    );
    let variant =
        |id: &str, language: &str| json!({ "id": id, "language": language, "body": "Hi {{1}}" });
    let put = async |variants: Value| {
        let set = json!([{ "name": "brand_new", "variants": variants }]);
        sandbox.put("templates", set).await;
        renewed(&sandbox).await;
    };
    put(json!([variant("71", "en")])).await;
    gateway.accept_body(&one(1, "brand_new", "en")).await;
    gateway.until_sent("m1").await;
    put(json!([variant("72", "en"), variant("73", "fr")])).await;
    gateway.accept_body(&one(2, "brand_new", "en")).await;
    gateway.accept_body(&one(3, "brand_new", "fr")).await;
    gateway.drained().await;
    gateway.drained().await;
    for (n, id) in [(1, "71"), (2, "72"), (3, "73")] {
        let sends = sandbox.sends_to(digits(&person(n))).await;
        assert_eq!(
            sends.len(),
            1,
            "{}",
            gateway.message(&format!("m{n}")).await
        );
        assert_eq!(sends[0]["template_id"], id);
    }
}

#[tokio::test]
async fn b_12_two_variants_of_one_language_send_once() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none", "ids_as_numbers": true })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    gateway.accept_body(&one(1, "twice_approved", "en")).await;
    gateway.until_sent("m1").await;
    gateway.drained().await;
    let sends = sandbox.sends_to(digits(&person(1))).await;
    assert_eq!(sends.len(), 1, "{sends:?}");
    let set = sandbox.get("templates").await;
    let set = set.as_array().unwrap();
    let twice = set
        .iter()
        .find(|one| one["name"] == "twice_approved")
        .unwrap();
    assert_eq!(
        sends[0]["template_id"], twice["variants"][0]["id"],
        "the first one wins"
    );
}

#[tokio::test]
async fn b_13_buttons_are_judged_by_the_language_that_is_sent() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let variant = |language: &str, button: Value| json!({ "language": language, "body": "Hi {{1}}", "buttons": [button] });
    let set = json!([{ "name": "both", "variants": [
        variant("en", json!({ "type": "URL", "text": "Go", "url": "https://a.example/{{1}}" })),
        variant("de", json!({ "type": "QUICK_REPLY", "text": "Ja", "payload": "#ja" })),
        variant("fr", json!({ "type": "PHONE_NUMBER", "text": "Appeler", "phone_number": "+1" })) ] }]);
    sandbox.put("templates", set).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let reply = json!({ "type": "button", "sub_type": "quick_reply", "index": 0,
        "parameters": [{ "type": "payload", "payload": "#p" }] });
    for (n, language) in ["en", "de", "fr"].into_iter().enumerate() {
        let mut body = one(n, "both", language);
        let components = body["template"]["components"].as_array_mut().unwrap();
        components.push(reply.clone());
        gateway.accept_body(&body).await;
    }
    let buttons = async |n: usize| {
        gateway.until_sent(&format!("m{n}")).await;
        sandbox.sends_to(digits(&person(n))).await[0]["message_params"]["BUTTONS"].clone()
    };
    assert_eq!(buttons(1).await, json!([reply]));
    assert_eq!(buttons(2).await, json!([]), "a static button is left out");
    gateway.until_state("m0", "failed").await;
    assert!(sandbox.sends_to(digits(&person(0))).await.is_empty());
}

#[tokio::test]
async fn b_21_list_and_details_are_not_fetched_for_each_message() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    for n in 0..60 {
        let template = if n % 2 == 0 {
            "twice_approved"
        } else {
            "welcome_back"
        };
        gateway.accept_body(&one(n, template, "en")).await;
    }
    assert_eq!(gateway.drained().await["accepted_by_provider"], 60);
    let calls = sandbox.counts().await["calls"].clone();
    assert_eq!(calls["send"], 60);
    assert_eq!(
        (&calls["list"], &calls["detail"]),
        (&json!(1), &json!(2)),
        "{calls}"
    );
}

#[tokio::test]
async fn while_jumper_cannot_be_reached_at_start_messages_are_taken_and_sent_later() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let addr = own_addr();
    let setup = Setup::towards(&sandbox)
        .env("JUMPER_API_URL", &format!("http://{addr}"))
        .set("jumper.template_refresh=1s")
        .set("policy.retry_max=500ms");
    let gateway = Gateway::start(&sandbox, setup).await;
    for n in 0..5 {
        gateway.accept_body(&one(n, "welcome_back", "en")).await;
    }
    // Nobody can tell yet that there is no such template.
    gateway.accept_body(&one(5, "no_such_template", "en")).await;
    assert_eq!(gateway.ready().await.0, 200);
    let ledger = gateway.ledger().await;
    assert_eq!(
        (&ledger["accepted"], &ledger["lost"]),
        (&json!(6), &json!(0))
    );
    assert_eq!(
        (&ledger["accepted_by_provider"], &ledger["failed"]),
        (&json!(0), &json!(0))
    );
    let _wire = Tap::open(addr, &sandbox.url).await;
    let ledger = gateway.drained().await;
    assert_eq!(ledger["accepted_by_provider"], 5, "{ledger}");
    gateway.until_state("m5", "failed").await;
    let entry = &sandbox.entries("m5").await[0];
    assert_eq!(entry["error"]["code"], "7001", "{entry}");
    assert_eq!(sandbox.counts().await["recipients_repeated"], 0);
}

#[tokio::test]
async fn a_restart_while_jumper_is_down_uses_the_stored_list() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let addr = own_addr();
    let wire = Tap::open(addr, &sandbox.url).await;
    let setup = Setup::towards(&sandbox)
        .env("JUMPER_API_URL", &wire.url())
        .set("policy.retry_max=500ms");
    let gateway = Gateway::start(&sandbox, setup).await;
    gateway.accept_body(&one(0, "welcome_back", "en")).await;
    gateway.until_sent("m0").await;
    wire.cut().await;
    let gateway = gateway.crash_and_restart(&sandbox).await;
    assert_eq!(
        code_of(&gateway.post(&one(1, "no_such_template", "en")).await),
        "7001"
    );
    gateway.accept_body(&one(2, "welcome_back", "en")).await;
    until("the outage is felt", async || {
        gateway
            .history("m2")
            .await
            .contains(&"retry".to_owned())
            .then_some(())
    })
    .await;
    let _wire = Tap::open(addr, &sandbox.url).await;
    gateway.until_sent("m2").await;
    assert_eq!(sandbox.sends_to(digits(&person(2))).await.len(), 1);
}

/// Waits until the gateway has been answered by the first rule.
async fn ruled(sandbox: &Sandbox, times: u64) {
    until("the rule is used", async || {
        let rules = sandbox.get("rules").await;
        let used = rules["rules"][0]["used"].as_u64();
        used.is_some_and(|used| used >= times).then_some(())
    })
    .await;
}

/// Messages that wait while the list is not what it was.
const QUEUED: usize = 2000;

#[tokio::test]
async fn r_07_an_empty_list_fails_nothing_that_is_queued_and_a_second_one_is_believed() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    // The store knows both templates, and messages for both are queued.
    gateway.accept_body(&one(0, "welcome_back", "en")).await;
    gateway.until_sent("m0").await;
    gateway.channel("pause").await;
    let every_fourth = async |from| {
        for n in (from..=QUEUED).step_by(4) {
            gateway.accept_body(&one(n, "welcome_back", "en")).await;
        }
    };
    tokio::join!(
        every_fourth(1),
        every_fourth(2),
        every_fourth(3),
        every_fourth(4)
    );
    gateway.accept("gone", &person(QUEUED + 1)).await;
    // One empty list, the first after a start; then one that lacks one of the two.
    let set = sandbox.get("templates").await;
    let rest = set.as_array().unwrap().iter();
    let rest: Vec<_> = rest.filter(|one| one["name"] != "order_update").collect();
    sandbox.put("templates", json!(rest)).await;
    let empty = json!({ "route": "list", "list": "empty", "next": 1 });
    sandbox.post("rules", empty).await;
    let gateway = gateway.crash_and_restart(&sandbox).await;
    ruled(&sandbox, 1).await;
    gateway.channel("resume").await;
    let ledger = until_within(PATIENCE * 6, "all are settled", async || {
        let ledger = gateway.ledger().await;
        let settled = ledger["queued"] == 0 && ledger["in_flight"] == 0;
        settled.then_some(ledger)
    })
    .await;
    assert_eq!(ledger["accepted_by_provider"], QUEUED + 1, "{ledger}");
    assert_eq!((&ledger["failed"], &ledger["lost"]), (&json!(1), &json!(0)));
    gateway.until_state("gone", "failed").await;
    let entry = until("MoEngage is told", async || {
        sandbox.entries("gone").await.first().cloned()
    })
    .await;
    assert_eq!(entry["error"]["code"], "7001", "{entry}");
    let lost = "the provider's template list lost templates";
    gateway.process.said(&[lost]).await;
    // The maintenance asked a second time by itself: the usual pause is an hour.
    assert_eq!(
        code_of(
            &gateway
                .post(&one(QUEUED + 2, "order_update", "en_US"))
                .await
        ),
        "7001"
    );
}

#[tokio::test]
async fn r_07_a_list_with_a_cursor_or_without_data_proves_no_absence() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let set = sandbox.get("templates").await;
    let set = set.as_array().unwrap();
    let place = set.iter().position(|one| one["name"] == "welcome_back");
    let variant = json!({ "language": "en", "body": "Hi {{1}}" });
    let mut all = set.clone();
    let first = all.remove(place.unwrap());
    all.insert(0, first);
    all.push(json!({ "name": "the_last_one", "variants": [variant] }));
    sandbox.put("templates", json!(all)).await;
    let cut = json!({ "route": "list", "list": "next" });
    sandbox.post("rules", cut).await;
    let setup = Setup::towards(&sandbox).set("jumper.template_refresh=1s");
    let gateway = Gateway::start(&sandbox, setup).await;
    ruled(&sandbox, 2).await;
    gateway.accept_body(&one(1, "welcome_back", "en")).await;
    gateway.until_sent("m1").await;
    gateway.accept_body(&one(2, "the_last_one", "en")).await;
    until("it is tried and waits", async || {
        let history = gateway.history("m2").await;
        history.contains(&"retry".to_owned()).then_some(())
    })
    .await;
    sandbox.delete("rules").await;
    gateway.until_sent("m2").await;
    // From now on both are known, and an answer without a list takes nothing away.
    let nothing = json!({ "route": "list", "body": { "success": true, "data": null } });
    sandbox.post("rules", nothing).await;
    ruled(&sandbox, 2).await;
    gateway.accept_body(&one(3, "the_last_one", "en")).await;
    gateway.until_sent("m3").await;
}

#[tokio::test]
async fn r_07_a_detail_of_an_older_list_refuses_nothing() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox).set("jumper.template_refresh=1s");
    let gateway = Gateway::start(&sandbox, setup).await;
    // It takes one value.
    gateway.accept_body(&one(1, "welcome_back", "en")).await;
    gateway.until_sent("m1").await;
    let nothing =
        json!({ "route": "detail", "for_s": 600, "body": { "success": true, "data": {} } });
    sandbox.rule(nothing).await;
    renewed(&sandbox).await;
    // Edited, it takes two, and nothing is told of that yet.
    let text = |text: &str| json!({ "type": "text", "text": text });
    let values = json!([{ "type": "body", "parameters": [text("Ana"), text("A-7")] }]);
    let body = send("m2", &person(2), "welcome_back", "en", values);
    gateway.accept_body(&body).await;
    gateway.until_sent("m2").await;
    assert_eq!(sandbox.sends_to(digits(&person(2))).await.len(), 1);
}
