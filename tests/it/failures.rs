//! The failure policy, row by row: what MoEngage is told, what the ledger says, how often it was sent.

use crate::it::tap::Tap;
use crate::kit::event_bodies::own_addr;
use crate::kit::harness::*;
use serde_json::{Value, json};

/// A breaker that never opens, retries and probes at once, holds that end soon.
fn impatient(sandbox: &Sandbox) -> Setup {
    Setup::towards(sandbox)
        .env("AMBIGUOUS_HOLD", "1s")
        .set("breaker.failures=10000")
        .set("policy.retry_max=200ms")
        .set("policy.hold_probe=200ms")
}

async fn pair() -> (Sandbox, Gateway) {
    pair_with(|setup| setup).await
}

async fn pair_with(change: impl Fn(Setup) -> Setup) -> (Sandbox, Gateway) {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, change(impatient(&sandbox))).await;
    // The template and its detail are known before anything goes wrong.
    gateway.accept("warm", "+12025559999").await;
    gateway.until_sent("warm").await;
    (sandbox, gateway)
}

/// The only thing that MoEngage was told.
async fn failed_entry(sandbox: &Sandbox, id: &str) -> Value {
    let mut entries = until(&format!("{id} is told"), async || {
        let entries = sandbox.entries(id).await;
        (!entries.is_empty()).then_some(entries)
    })
    .await;
    assert_eq!(entries.len(), 1, "{entries:?}");
    let entry = entries.remove(0);
    assert_eq!(entry["status"], "failed");
    entry
}

#[tokio::test]
async fn b_25_what_proves_that_nothing_was_handed_on_is_sent_again_and_arrives_once() {
    let (sandbox, gateway) = pair().await;
    let flow = "messaging.adaptors.http.flow";
    let rows = [
        "503".to_owned(),
        format!("fault:503:{flow}.ServiceUnavailable"),
        format!("fault:500:{flow}.NoActiveTargets"),
        format!("fault:502:{flow}.SslHandshakeFailed"),
        "429".to_owned(),
        "fault:429:policies.ratelimit.QuotaViolation".to_owned(),
        "fault:500:policies.ratelimit.SpikeArrestViolation".to_owned(),
    ];
    for (n, outcome) in rows.iter().enumerate() {
        let (id, to) = (format!("m{n}"), person(n));
        sandbox.script("send", &[outcome, outcome]).await;
        gateway.accept(&id, &to).await;
        let message = gateway.until_sent(&id).await;
        assert_eq!(message["attempts"], 3, "{outcome}: {message}");
        assert_eq!(sandbox.sends_to(digits(&to)).await.len(), 1, "{outcome}");
        assert!(sandbox.told(&id).await.is_empty(), "{outcome}");
    }
    let ledger = gateway.drained().await;
    assert_eq!((&ledger["failed"], &ledger["lost"]), (&json!(0), &json!(0)));
}

/// Other calls are taken with the same token, so the refusal is about the message.
#[tokio::test]
async fn r_05_a_refused_token_that_other_calls_go_through_with_concerns_one_message() {
    let (sandbox, gateway) = pair().await;
    let rows = [
        "401",
        "fault:401:keymanagement.service.invalid_access_token",
        "fault:401:steps.jwt.TokenExpired",
    ];
    for (n, outcome) in rows.iter().enumerate() {
        let (id, to) = (format!("m{n}"), person(n));
        sandbox.script("send", &[outcome]).await;
        gateway.accept(&id, &to).await;
        gateway.until_sent(&id).await;
        assert_eq!(sandbox.sends_to(digits(&to)).await.len(), 1, "{outcome}");
        assert!(sandbox.told(&id).await.is_empty(), "{outcome}");
    }
    let output = gateway.process.output();
    assert!(!output.contains("ALERT"), "{output}");
    let refreshes = sandbox.counts().await["calls"]["refresh"].clone();
    assert_eq!(refreshes, 1, "the token is good");
    assert_eq!(gateway.drained().await["failed"], 0);
}

#[tokio::test]
async fn b_06_what_jumper_refuses_is_reported_failed_with_code_and_reason() {
    let (sandbox, gateway) = pair().await;
    let said = "The provider refused the message: ";
    let rows = [
        ("refuse_200", "Message could not be sent"),
        ("refuse_400", "Message could not be sent"),
        ("refuse:No such page: abc", "No such page: abc"),
        ("400", ""),
        ("422", ""),
    ];
    for (n, (outcome, words)) in rows.iter().enumerate() {
        let (id, to) = (format!("m{n}"), person(n));
        sandbox.script("send", &[outcome]).await;
        gateway.accept(&id, &to).await;
        let message = gateway.until_state(&id, "failed").await;
        assert_eq!(message["attempts"], 1, "{outcome}");
        let entry = failed_entry(&sandbox, &id).await;
        assert_eq!(entry["error"]["code"], "7004", "{entry}");
        let description = entry["error"]["description"].as_str().unwrap();
        assert!(description.starts_with(said), "{outcome}: {description}");
        assert!(description.contains(words), "{outcome}: {description}");
        assert!(sandbox.sends_to(digits(&to)).await.is_empty(), "{outcome}");
    }
    let ledger = gateway.drained().await;
    assert_eq!(ledger["failed"], rows.len());
    assert_eq!(
        (&ledger["accepted_by_provider"], &ledger["lost"]),
        (&json!(1), &json!(0))
    );
}

#[tokio::test]
async fn b_23_an_answer_that_nobody_can_read_is_unknown_and_never_sent_again() {
    let (sandbox, gateway) = pair_with(|setup| setup.env("SOCKET_TIMEOUT", "1500")).await;
    let rows = [
        ("accept_then_close", 1),
        ("accept_then_502_html", 1),
        ("accept_then_truncated", 1),
        ("accept_then_half_json", 1),
        ("accept_non_json", 1),
        ("accept_then_slow:4", 1),
        ("hang:4", 0),
        ("close_before", 0),
        ("500_before", 0),
        ("502", 0),
        ("504", 0),
        ("fault:504:messaging.adaptors.http.flow.GatewayTimeout", 0),
    ];
    for (n, (outcome, _)) in rows.iter().enumerate() {
        let id = format!("m{n}");
        sandbox.script("send", &[outcome]).await;
        gateway.accept(&id, &person(n)).await;
        until(&format!("{outcome} is attempted"), async || {
            let words = gateway.history(&id).await;
            words.contains(&"attempt".to_owned()).then_some(())
        })
        .await;
        // The script is one queue: the next one only after this one has been taken.
        until(&format!("{outcome} has arrived"), async || {
            let sends = sandbox.counts().await["calls"]["send"].as_u64().unwrap();
            (sends == n as u64 + 2).then_some(())
        })
        .await;
    }
    for (n, (outcome, sends)) in rows.iter().enumerate() {
        let id = format!("m{n}");
        let message = gateway.until_state(&id, "failed").await;
        assert_eq!(message["attempts"], 1, "{outcome}: {message}");
        let words = gateway.history(&id).await;
        assert!(
            words.contains(&"unknown".to_owned()),
            "{outcome}: {words:?}"
        );
        let entry = failed_entry(&sandbox, &id).await;
        assert_eq!(entry["error"]["code"], "7004", "{outcome}");
        let description = entry["error"]["description"].as_str().unwrap();
        assert!(
            description.starts_with("Outcome unknown"),
            "{outcome}: {description}"
        );
        let sent = sandbox.sends_to(digits(&person(n))).await.len();
        assert_eq!(sent, *sends, "{outcome}");
    }
    let ledger = gateway.drained().await;
    assert_eq!(ledger["failed"], rows.len());
    assert_eq!(ledger["lost"], 0);
    assert_eq!(sandbox.counts().await["recipients_repeated"], 0);
}

#[tokio::test]
async fn a_jumper_that_refuses_connections_for_a_while_costs_nothing() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let addr = own_addr();
    let wire = Tap::open(addr, &sandbox.url).await;
    let setup = impatient(&sandbox).env("JUMPER_API_URL", &wire.url());
    let gateway = Gateway::start(&sandbox, setup).await;
    gateway.accept("warm", "+12025559999").await;
    gateway.until_sent("warm").await;
    wire.cut().await;
    for n in 0..10 {
        gateway.accept(&format!("m{n}"), &person(n)).await;
    }
    // Of all together: whose turn it is while the breaker tests itself is nobody's promise.
    until("the outage is felt", async || {
        let mut tries = 0;
        for n in 0..10 {
            let words = gateway.history(&format!("m{n}")).await;
            tries += words.iter().filter(|word| *word == "retry").count();
        }
        (tries >= 3).then_some(())
    })
    .await;
    assert_eq!(sandbox.counts().await["sends_accepted"], 1);
    let _wire = Tap::open(addr, &sandbox.url).await;
    let ledger = gateway.drained().await;
    assert_eq!(ledger["accepted_by_provider"], 11, "{ledger}");
    let counts = sandbox.counts().await;
    assert_eq!(counts["sends_accepted"], 11);
    assert_eq!(counts["recipients_repeated"], 0);
}

#[tokio::test]
async fn a_refusal_that_the_operator_listed_is_tried_again() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = impatient(&sandbox).set("policy.retryable_texts=try again later, come back");
    let gateway = Gateway::start(&sandbox, setup).await;
    sandbox
        .script("send", &["refuse:Busy, TRY AGAIN LATER please"])
        .await;
    gateway.accept("m1", &person(1)).await;
    gateway.until_sent("m1").await;
    assert_eq!(sandbox.sends_to(digits(&person(1))).await.len(), 1);
    assert_eq!(sandbox.counts().await["refused"], 1);
}
