//! Where a message stands and why it waits: one answer, told alike by all who are asked.

use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use serde_json::{Value, json};
use std::process::Command;

/// What a command says, run beside the gateway.
fn said(gateway: &Gateway, args: &[&str]) -> String {
    let mut setup = gateway.setup();
    let (name, place) = gateway.store_variable();
    setup.env.entry(name).or_insert(place);
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(args)
        .env_clear()
        .envs(&setup.env)
        .env("OPS_ADDR", gateway.ops.trim_start_matches("http://"))
        .current_dir(dir.path())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A way to make a message wait, and what is to be said of it.
struct Case {
    code: &'static str,
    /// What the words must name.
    words: &'static str,
    setup: fn(Setup) -> Setup,
    /// What the provider answers to sends, if not the usual.
    answer: Option<Value>,
    paused: bool,
    /// Whether the account itself says so too.
    of_account: bool,
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn cases() -> Vec<Case> {
    let plain = || Case {
        code: "turn",
        words: "behind",
        setup: |setup| setup.env("RATE_PER_SECOND", "0.1"),
        answer: None,
        paused: false,
        of_account: false,
    };
    vec![
        plain(),
        Case {
            code: "paused",
            words: "an operator paused channel default",
            paused: true,
            ..plain()
        },
        Case {
            code: "no_token",
            words: "account default has no token to send with: no refresh token is known",
            setup: |setup| setup.without("SEED_REFRESH_TOKEN"),
            of_account: true,
            ..plain()
        },
        Case {
            code: "held",
            words: "channel default is held: ",
            setup: |setup| setup,
            answer: Some(json!({ "status": 403, "body": "<html>Forbidden</html>" })),
            ..plain()
        },
        Case {
            code: "circuit_open",
            words: "the provider of account default does not work; the gateway tries it again at ",
            setup: |setup| {
                setup
                    .set("breaker.failures=1")
                    .set("breaker.open_min=1m")
                    .set("breaker.open_max=5m")
            },
            answer: Some(json!({ "status": 503, "body": {} })),
            of_account: true,
            ..plain()
        },
        Case {
            code: "asked_to_wait",
            words: "the provider asked account default to wait until ",
            setup: |setup| setup,
            answer: Some(json!({
                "status": 429, "headers": { "retry-after": "600" }, "body": {},
            })),
            of_account: true,
            ..plain()
        },
        Case {
            code: "retry_pause",
            words: "the provider did not take the last try of this message; the next try comes at ",
            setup: |setup| {
                setup
                    .set("breaker.failures=1000")
                    .set("policy.retry_base=1h")
                    .set("policy.retry_max=1h")
            },
            answer: Some(json!({ "status": 503, "body": {} })),
            ..plain()
        },
    ]
}

#[tokio::test]
async fn r_41_trace_check_readyz_metrics_and_the_api_say_alike_why_a_message_waits() {
    for case in cases() {
        let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
        let setup = (case.setup)(Setup::towards(&sandbox));
        let gateway = Gateway::start(&sandbox, setup).await;
        if case.paused {
            gateway.channel("pause").await;
        }
        if let Some(mut rule) = case.answer.clone() {
            rule["route"] = json!("send");
            sandbox.rule(rule).await;
        }
        for n in 0..8 {
            gateway.accept(&format!("m{n}"), &person(n)).await;
        }
        let code = case.code;
        let message = until(code, async || {
            for n in (0..8).rev() {
                let message = gateway.message(&format!("m{n}")).await;
                if message["why"]["code"] == code {
                    return Some(message);
                }
            }
            None
        })
        .await;
        assert_eq!(message["state"], "waiting", "{code}: {message}");
        let words = message["why"]["words"].as_str().unwrap();
        assert!(words.contains(case.words), "{code}: {words}");
        alike(&gateway, &case, &message).await;
    }
}

/// Everybody else says the same.
async fn alike(gateway: &Gateway, case: &Case, message: &Value) {
    let (code, words) = (case.code, message["why"]["words"].as_str().unwrap());
    // Times may be a second apart, and a place moves.
    let stem = &words[..case.words.len().min(words.len())];
    let traced = said(gateway, &["trace", message["msg_id"].as_str().unwrap()]);
    assert!(
        traced.contains("  waiting: ") && traced.contains(stem),
        "{code}: {traced}"
    );
    if code == "turn" || code == "retry_pause" {
        // Of one message alone.
        return;
    }
    let (_, ready) = gateway.ready().await;
    let channels = gateway.ops_get("/api/channels").await.1;
    for channel in [&ready["channels"][0], &channels["channels"][0]] {
        assert_eq!(channel["why"]["code"], code, "{channel}");
    }
    let own = if case.of_account {
        json!(code)
    } else {
        Value::Null
    };
    for account in [&ready["accounts"][0], &gateway.account().await] {
        assert_eq!(account["why"]["code"], own, "{account}");
    }
    let checked = said(gateway, &["check", "--set", "http.port=0"]);
    assert!(
        checked.contains(&format!("{code}: {stem}")),
        "{code}: {checked}"
    );
    let metric = format!("gateway_blocked{{account=\"default\",reason=\"{code}\"}} 1");
    assert_eq!(
        gateway.metrics().await.contains(&metric),
        case.of_account,
        "{code}"
    );
    until(&format!("the log says {code} too"), async || {
        let log = gateway.process.output();
        let mut lines = log.lines();
        lines
            .any(|line| line.contains("messages of this channel wait") && line.contains(code))
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn r_41_who_waits_for_its_turn_is_told_its_place_and_its_time() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox).env("RATE_PER_SECOND", "0.01");
    let gateway = Gateway::start(&sandbox, setup).await;
    for n in 0..10 {
        gateway.accept(&format!("m{n}"), &person(n)).await;
    }
    // A hundred seconds lie between two calls, so nothing moves on while it is looked at.
    let why = until("the last one is the last", async || {
        let why = gateway.message("m9").await["why"].clone();
        why["position"]
            .as_u64()
            .is_some_and(|place| place >= 8)
            .then_some(why)
    })
    .await;
    assert_eq!(why["code"], "turn", "{why}");
    let expected: jiff::Timestamp = why["expected_at"].as_str().unwrap().parse().unwrap();
    let ahead = expected.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((600..=900).contains(&ahead), "{ahead} s: {why}");
    let traced = said(&gateway, &["trace", "m9"]);
    assert!(traced.contains("place"), "{traced}");
}

#[tokio::test]
async fn r_40_a_message_that_whatsapp_failed_does_not_look_well() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let mut ids = Vec::new();
    for n in 0..4 {
        let name = format!("m{n}");
        ids.push(sent(&gateway, &sandbox, &name, &person(n)).await);
        let message = gateway.until_state(&name, "sent").await;
        assert!(message["code"].is_null(), "{message}");
    }
    let mut failed = meta_status(&ids[0], "failed", 1_930_000_000);
    failed["errors"] = json!([{ "code": 131_047, "title": "Re-engagement message" }]);
    assert_eq!(gateway.event(&meta(&[vec![change(&[failed])]])).await, 200);
    let message = gateway.until_state("m0", "failed_at_whatsapp").await;
    assert_eq!(message["code"], "131047", "{message}");
    let traced = said(&gateway, &["trace", "m0"]);
    let heading = traced.lines().next().unwrap();
    assert!(
        heading.contains("WhatsApp could not deliver it: 131047"),
        "{heading}"
    );
    for (n, word) in [(1, "delivered"), (2, "read")] {
        let event = status(&ids[n], word, 1_930_000_000);
        assert_eq!(gateway.event(&event).await, 200);
        gateway.until_state(&format!("m{n}"), word).await;
    }
    // What the provider says about it may name the person.
    let mut failed = meta_status(&ids[3], "failed", 1_930_000_000);
    let named = format!("cannot reach {}", digits(&person(3)));
    failed["errors"] = json!([{ "code": 131_026, "title": named }]);
    assert_eq!(gateway.event(&meta(&[vec![change(&[failed])]])).await, 200);
    let message = gateway.until_state("m3", "failed_at_whatsapp").await;
    let traced = said(&gateway, &["trace", "m3"]) + &message.to_string();
    assert!(
        traced.contains("131026") && !traced.contains(digits(&person(3))),
        "{traced}"
    );
    // Refused by the provider: failed here, with our code and its words.
    let refusal = json!({ "success": false, "errorMessage": "no such person" });
    sandbox
        .rule(json!({ "route": "send", "next": 1, "status": 200, "body": refusal }))
        .await;
    gateway.accept("refused", &person(9)).await;
    let message = gateway.until_state("refused", "failed").await;
    assert_eq!(message["code"], "7004", "{message}");
    let traced = said(&gateway, &["trace", "refused"]);
    assert!(
        traced.lines().next().unwrap().contains("no such person"),
        "{traced}"
    );
}
