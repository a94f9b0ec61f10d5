//! Records in Datastore: written under the old connector's names, kept while it is down, never taken
//! back, and asked when only Datastore still knows a message.

use crate::it::emulator::*;
use crate::it::scripted_peer::Peer;
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use serde_json::{Value, json};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

/// The same with somebody in between who refuses calls.
async fn guarded(knobs: Value) -> (Sandbox, Emulator, Doorman, Gateway) {
    let sandbox = Sandbox::start(knobs).await;
    let emulator = Emulator::start().await;
    let doorman = Doorman::start(&emulator).await;
    let setup = Setup::towards(&sandbox).recording(&emulator);
    let setup = setup.env("DATASTORE_EMULATOR_HOST", &doorman.host);
    let gateway = Gateway::start(&sandbox, setup).await;
    (sandbox, emulator, doorman, gateway)
}

/// What `/readyz` says about the records, once there is trouble.
async fn trouble(gateway: &Gateway) -> Value {
    until("there is trouble", async || {
        let told = gateway.ready().await.1["datastore"][0].clone();
        told["trouble"].is_object().then_some(told)
    })
    .await
}

async fn until_well(gateway: &Gateway) {
    until("all is well", async || {
        let ready = gateway.ready().await.1;
        (ready["datastore"][0]["state"] == "ok").then_some(())
    })
    .await;
}

async fn recording(knobs: Value) -> (Sandbox, Emulator, Gateway) {
    let sandbox = Sandbox::start(knobs).await;
    let emulator = Emulator::start().await;
    let setup = Setup::towards(&sandbox).recording(&emulator);
    let gateway = Gateway::start(&sandbox, setup.set("datastore.ask_after=1s")).await;
    (sandbox, emulator, gateway)
}

/// How many records wait, as the load balancer would see it.
async fn waiting(gateway: &Gateway) -> Value {
    gateway.ready().await.1["datastore"][0]["waiting"].clone()
}

async fn until_all_written(gateway: &Gateway) {
    until("no record waits", async || {
        (waiting(gateway).await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_record_has_the_old_connectors_names_for_googles_own_client() {
    let (sandbox, emulator, gateway) = recording(json!({ "share_read": 1 })).await;
    let to = person(1);
    let url = format!("{}/jumper_send_whatsapp?campaign_id=c-7", gateway.url);
    let request = gateway.http.post(url).bearer_auth(TOKEN);
    let sent = request
        .json(&order_update("m:1", &to))
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), 200);
    let id = receipt(&gateway, &sandbox, "m:1", &to).await;
    until_told(&sandbox, "m:1", &["sent", "delivered", "read"]).await;
    emulator.until_text("default:m:1", "status", "read").await;
    until_all_written(&gateway).await;
    let read = emulator.read_with_googles_client("default:m:1");
    let properties = &read["properties"];
    for (name, value) in [
        ("mo_msg_id", "m:1"),
        ("mo_waba_number", BRAND),
        ("mo_template_id", "order_update"),
        ("wa_message_id", id.as_str()),
        ("campaign_id", "c-7"),
        ("account", "default"),
        ("channel", "default"),
        ("recipient", digits(&to)),
        ("state", "accepted"),
        ("status", "read"),
    ] {
        assert_eq!(properties[name], value, "{name} of {properties}");
    }
    assert!(properties["wa_conv_id"].is_string(), "{properties}");
    let created = properties["created_date"].as_str().unwrap();
    assert!(created.ends_with('Z') && created.len() == 24, "{created}");
    assert_eq!(properties["attempts"], 1);
    assert!(properties["version"].as_i64() > Some(3), "{properties}");
    let history: Value = serde_json::from_str(properties["history"].as_str().unwrap()).unwrap();
    assert_eq!(history[0]["e"], "accepted");
    let year = 365.0 * 86_400.0;
    let expires = properties["expireAt"]["timestamp"].as_f64().unwrap();
    let status_at = properties["status_at"]["timestamp"].as_f64().unwrap();
    assert!(
        (status_at + year - expires).abs() < 60.0,
        "{status_at} {expires}"
    );
    assert!(
        read["unindexed"]
            .as_array()
            .unwrap()
            .contains(&"history".into()),
        "{read}"
    );
    assert_eq!(read["found_by_msg_id"], json!(["default:m:1"]));
}

#[tokio::test]
async fn the_lane_to_datastore_is_counted() {
    let (sandbox, emulator, gateway) = recording(json!({ "event_mode": "none" })).await;
    sent(&gateway, &sandbox, "m1", &person(1)).await;
    emulator.until_text("default:m1", "state", "accepted").await;
    until_all_written(&gateway).await;
    let metrics = gateway.metrics().await;
    assert!(
        figure(
            &metrics,
            "gateway_datastore_records_total{outcome=\"written\"}"
        ) > 0.0
    );
    let line = "gateway_datastore_waiting{account=\"default\"}";
    assert!(
        metrics.contains(line) && figure(&metrics, line) == 0.0,
        "{metrics}"
    );
}

#[tokio::test]
async fn while_datastore_is_down_all_goes_on_and_nothing_is_missing_later() {
    const MESSAGES: usize = 300;
    let (sandbox, mut emulator, gateway) = recording(json!({ "share_read": 0 })).await;
    gateway.accept("before", &person(9)).await;
    settled(&gateway, &sandbox).await;
    until_all_written(&gateway).await;
    emulator.kill();
    accept_many(&gateway, MESSAGES).await;
    settled(&gateway, &sandbox).await;
    for n in 0..MESSAGES {
        assert_eq!(sandbox.told(&format!("m{n}")).await, ["sent", "delivered"]);
    }
    let (status, ready) = until("its absence is told", async || {
        let ready = gateway.ready().await;
        let told = &ready.1["datastore"][0];
        (told["trouble"].is_object() && told["waiting"].is_number()).then_some(ready)
    })
    .await;
    assert_eq!(status, 200, "{ready}");
    let told = &ready["datastore"][0];
    assert_eq!(
        (&told["state"], &told["waiting"]),
        (&json!("records wait"), &json!(MESSAGES))
    );
    assert!(
        told["trouble"]["reason"]
            .as_str()
            .unwrap()
            .contains("cannot be reached"),
        "{told}"
    );
    // The marks are durable.
    let gateway = gateway.crash_and_restart(&sandbox).await;
    until("the marks are counted", async || {
        (waiting(&gateway).await == MESSAGES).then_some(())
    })
    .await;
    emulator.start_again().await;
    until_all_written(&gateway).await;
    for n in 0..MESSAGES {
        let found = emulator.get(&format!("default:m{n}")).await;
        let found = found.unwrap_or_else(|| panic!("m{n} is not there"));
        assert_eq!(found["status"]["stringValue"], "delivered", "m{n}");
    }
    until_well(&gateway).await;
}

#[tokio::test]
async fn r_61_records_that_datastore_refuses_whole_are_written_seconds_after_the_cure() {
    const MESSAGES: usize = 30;
    let (sandbox, emulator, doorman, gateway) = guarded(json!({ "event_mode": "none" })).await;
    sent(&gateway, &sandbox, "before", &person(1)).await;
    until_all_written(&gateway).await;
    doorman.refuses(Refusal {
        call: "commit",
        holding: "",
        status: 400,
        word: "INVALID_ARGUMENT",
    });
    accept_many(&gateway, MESSAGES).await;
    gateway.drained().await;
    let told = trouble(&gateway).await;
    let reason = told["trouble"]["reason"].as_str().unwrap();
    assert_eq!(told["state"], "records wait");
    for part in [
        "INVALID_ARGUMENT",
        "said the doorman",
        "every record",
        "DT_KIND",
    ] {
        assert!(reason.contains(part), "no {part:?} in {reason}");
    }
    let metrics = gateway.metrics().await;
    let failing = figure(&metrics, "gateway_datastore_failing{account=\"default\"}");
    assert_eq!(
        (failing, figure(&metrics, "gateway_alerts_total")),
        (1.0, 1.0)
    );
    until("all of them wait", async || {
        (waiting(&gateway).await == MESSAGES).then_some(())
    })
    .await;
    doorman.refuses(None);
    until_all_written(&gateway).await;
    for n in 0..MESSAGES {
        let name = format!("default:m{n}");
        assert!(emulator.get(&name).await.is_some(), "{name}");
    }
    until_well(&gateway).await;
}

#[tokio::test]
async fn r_62_one_record_that_is_always_aborted_holds_back_none_of_the_others() {
    const MESSAGES: usize = 350;
    let (_sandbox, emulator, doorman, gateway) = guarded(json!({ "event_mode": "none" })).await;
    let down = |call| Refusal {
        call,
        holding: "",
        status: 503,
        word: "UNAVAILABLE",
    };
    doorman.refuses(down("beginTransaction"));
    accept_many(&gateway, MESSAGES).await;
    gateway.drained().await;
    until("all of them wait", async || {
        (waiting(&gateway).await == MESSAGES).then_some(())
    })
    .await;
    let aborted = Refusal {
        call: "commit",
        holding: "\"default:m7\"",
        status: 409,
        word: "ABORTED",
    };
    doorman.refuses(aborted);
    until("all others are written", async || {
        (waiting(&gateway).await == 1).then_some(())
    })
    .await;
    for n in (0..MESSAGES).filter(|n| *n != 7) {
        let name = format!("default:m{n}");
        assert!(emulator.get(&name).await.is_some(), "{name}");
    }
    assert!(emulator.get("default:m7").await.is_none());
    doorman.refuses(None);
    until_all_written(&gateway).await;
    until_well(&gateway).await;
}

/// Where Google gives no token. Nobody is woken for what may heal by itself: a key that was made just now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_66_the_words_of_the_token_endpoint_reach_the_operator_who_is_not_woken_for_a_moment() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let refusal = r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature"}"#;
    let google = Peer::start("400 Bad Request", refusal).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.json");
    let pair = std::process::Command::new("openssl")
        .args(["genpkey", "-quiet", "-algorithm", "RSA"])
        .args(["-pkeyopt", "rsa_keygen_bits:2048"])
        .output()
        .expect("openssl is installed: tests/run.sh prepare");
    let pem = String::from_utf8(pair.stdout).unwrap();
    let key = json!({
        "type": "service_account", "client_email": "gateway@shop.iam.example",
        "private_key": pem, "token_uri": google.url,
    });
    std::fs::write(&path, key.to_string()).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let setup = Setup::towards(&sandbox)
        .env("DT_PROJECT_ID", PROJECT)
        .env("DT_JSON_PATH", &path.display().to_string());
    let gateway = Gateway::start(&sandbox, setup.clone()).await;
    gateway.accept("m1", &person(1)).await;
    let told = trouble(&gateway).await;
    let alerts = figure(&gateway.metrics().await, "gateway_alerts_total");
    let words = "HTTP 400 invalid_grant: Invalid JWT Signature";
    let reason = told["trouble"]["reason"].as_str().unwrap();
    assert!(
        reason.contains(words) && reason.contains("key.json"),
        "{reason}"
    );
    assert_eq!(alerts, 0.0, "{reason}");
    let (_, out) = run_to_end(&["check"], &setup, dir.path());
    assert!(out.contains(words), "{out}");
}

/// Worse than one that is gone: each call takes as long as it may.
#[tokio::test]
async fn a_datastore_that_hangs_delays_only_itself() {
    let (sandbox, emulator, gateway) = recording(json!({ "share_read": 0 })).await;
    gateway.accept("m0", &person(1)).await;
    until_all_written(&gateway).await;
    emulator.hang(true);
    gateway.accept("m1", &person(2)).await;
    until_told(&sandbox, "m1", &["sent", "delivered"]).await;
    let found = gateway
        .ops_send("POST", "/api/search", json!({ "id": "nobody" }))
        .await;
    let note = found.1["note"].as_str().unwrap_or_default();
    assert!(
        found.0 == 200 && note.contains("did not answer within 2 s"),
        "{found:?}"
    );
    assert_eq!(gateway.ready().await.0, 200);
    emulator.hang(false);
    emulator
        .until_text("default:m1", "status", "delivered")
        .await;
    until_all_written(&gateway).await;
}

#[tokio::test]
async fn check_looks_at_datastore() {
    let (sandbox, mut emulator, _gateway) = recording(json!({})).await;
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::towards(&sandbox).recording(&emulator);
    let line = |setup: &Setup| {
        let (_, out) = run_to_end(&["check"], setup, dir.path());
        let line = out.lines().find(|line| line.starts_with("Datastore "));
        line.unwrap_or_else(|| panic!("{out}")).to_owned()
    };
    let there = line(&setup);
    assert!(there.contains(" ok ") && there.contains(PROJECT), "{there}");
    let words = "in the emulator at 127.0.0.1";
    assert!(
        there.contains(words) && there.contains("reads and writes"),
        "{there}"
    );
    // It wrote no record, and nothing else that is still there.
    for kind in [KIND.to_owned(), format!("{KIND}_GATEWAY")] {
        let query = json!({ "query": { "kind": [{ "name": kind }] } });
        let found = emulator.call("runQuery", query).await;
        let found = &found["batch"]["entityResults"];
        assert!(
            found.as_array().is_none_or(Vec::is_empty),
            "{kind}: {found}"
        );
    }
    // The emulator asks for no key, so any file does.
    let key = dir.path().join("key.json");
    std::fs::write(&key, "{}").unwrap();
    let with_key = setup
        .clone()
        .env("DT_JSON_PATH", &key.display().to_string());
    for (mode, open) in [(0o640, false), (0o644, true), (0o600, false)] {
        std::fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        let said = line(&with_key);
        let advice = "every user of this machine can read its key: chmod 600";
        assert_eq!(said.contains(advice), open, "{mode:o}: {said}");
        assert_eq!(said.contains(" warn "), open, "{mode:o}: {said}");
    }
    emulator.kill();
    let gone = line(&setup);
    assert!(
        gone.contains(" warn ") && gone.contains("Records would wait"),
        "{gone}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_and_the_start_tell_the_rights_to_read_and_to_write_apart() {
    let (sandbox, emulator, doorman, mut gateway) = guarded(json!({})).await;
    let line = gateway.process.line_with("records go to Datastore");
    for part in [PROJECT, KIND, "emulator", "reads and writes"] {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::towards(&sandbox).recording(&emulator);
    let setup = setup.env("DATASTORE_EMULATOR_HOST", &doorman.host);
    for (call, words) in [
        ("commit", "reads, but cannot write: "),
        ("lookup", "writes, but cannot read: "),
    ] {
        doorman.refuses(Refusal {
            call,
            holding: "",
            status: 403,
            word: "PERMISSION_DENIED",
        });
        let (_, out) = run_to_end(&["check"], &setup, dir.path());
        let line = out.lines().find(|line| line.starts_with("Datastore "));
        let line = line.unwrap_or_else(|| panic!("{out}"));
        for part in [
            " warn ",
            words,
            "Cloud Datastore User",
            "Records would wait",
        ] {
            assert!(line.contains(part), "no {part:?} in {line}");
        }
    }
}

/// Another replica, or a repeat that was held up, may have written meanwhile.
#[tokio::test]
async fn an_older_version_never_overwrites_a_newer_one() {
    let (sandbox, emulator, gateway) = recording(json!({ "event_mode": "none" })).await;
    let newer = json!({
        "mo_msg_id": { "stringValue": "m1" }, "status": { "stringValue": "read" },
        "version": { "integerValue": "999", "excludeFromIndexes": true },
    });
    emulator.put("default:m1", newer.clone()).await;
    let older = json!({ "status": { "stringValue": "x" }, "version": { "integerValue": "1" } });
    emulator.put("default:m2", older).await;
    sent(&gateway, &sandbox, "m1", &person(1)).await;
    sent(&gateway, &sandbox, "m2", &person(2)).await;
    emulator.until_text("default:m2", "state", "accepted").await;
    until_all_written(&gateway).await;
    let kept = emulator.get("default:m1").await.unwrap();
    assert_eq!(kept["status"]["stringValue"], "read");
    assert_eq!(kept["version"]["integerValue"], "999");
    let metrics = gateway.metrics().await;
    assert!(
        figure(
            &metrics,
            "gateway_datastore_records_total{outcome=\"superseded\"}"
        ) > 0.0
    );
}

/// The store is gone with its disk, and MoEngage sends the same message once more.
#[tokio::test]
async fn r_65_the_record_of_a_message_that_comes_again_after_the_store_was_lost_is_the_new_one() {
    let (sandbox, emulator, gateway) = recording(json!({ "event_mode": "none" })).await;
    let old = sent(&gateway, &sandbox, "m1", &person(1)).await;
    for (n, word) in ["sent", "delivered", "read"].into_iter().enumerate() {
        let at = ago(7) + n as u64;
        assert_eq!(gateway.event(&status(&old, word, at)).await, 200);
    }
    emulator.until_text("default:m1", "status", "read").await;
    until_all_written(&gateway).await;
    let before = emulator.get("default:m1").await.unwrap();
    let setup = gateway.setup();
    drop(gateway);
    // Tokens are gone with the store.
    let seed = sandbox.post("token/new-seed", json!({})).await;
    let setup = setup.env(
        "SEED_REFRESH_TOKEN",
        seed["refresh_token"].as_str().unwrap(),
    );
    let gateway = Gateway::start(&sandbox, setup).await;
    let new = sent(&gateway, &sandbox, "m1", &person(1)).await;
    assert_ne!(new, old);
    let kept = emulator
        .until_text("default:m1", "wa_message_id", &new)
        .await;
    assert!(kept["status"]["stringValue"].is_null(), "{kept}");
    let accepted = |entity: &Value| {
        entity["created_date"]["stringValue"]
            .as_str()
            .map(str::to_owned)
    };
    assert!(accepted(&kept) > accepted(&before), "{kept}");
    // From here on the new life counts up by itself.
    assert_eq!(gateway.event(&status(&new, "sent", ago(1))).await, 200);
    emulator.until_text("default:m1", "status", "sent").await;
    until_all_written(&gateway).await;
}

/// Somebody else writes between our read and our commit: the emulator refuses the commit, and the
/// whole transaction is made again.
#[tokio::test]
async fn a_transaction_that_loses_is_tried_again() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let emulator = Emulator::start().await;
    let meddler = Meddler::start(&emulator).await;
    let setup = Setup::towards(&sandbox).recording(&emulator);
    let setup = setup.env("DATASTORE_EMULATOR_HOST", &meddler.host);
    let gateway = Gateway::start(&sandbox, setup).await;
    sent(&gateway, &sandbox, "m1", &person(1)).await;
    emulator.until_text("default:m1", "state", "accepted").await;
    until_all_written(&gateway).await;
    let statuses = meddler.commits();
    assert_eq!(statuses[..2], [409, 409], "{statuses:?}");
    assert!(
        statuses[2..].iter().all(|status| *status == 200),
        "{statuses:?}"
    );
    let metrics = gateway.metrics().await;
    let failed = "gateway_datastore_records_total{outcome=\"failed\"}";
    assert!(figure(&metrics, failed) >= 2.0, "{metrics}");
}

/// The entity of a message as the old connector wrote it.
fn old_entity(msg_id: &str, id: &str, to: &str) -> Value {
    let text = |text: &str| json!({ "stringValue": text });
    json!({
        "mo_msg_id": text(msg_id), "mo_waba_number": text("+12025550100"),
        "mo_template_id": { "integerValue": "5629499534213120" },
        "wa_message_id": text(id), "wa_conv_id": text("conv-1"),
        "created_date": text("2026-03-01T10:00:00.123456789Z"),
        "campaign_id": text(""), "uid_shop_name": text("shop"), "receiver_number": text(to),
        "final_status": text("sent"),
        "status": { "entityValue": { "properties": { "sent": { "booleanValue": true } } } },
    })
}

#[tokio::test]
async fn a_status_of_a_message_that_the_old_connector_sent_reaches_moengage() {
    let (sandbox, emulator, gateway) = recording(json!({ "event_mode": "none" })).await;
    emulator
        .put("wa-1", old_entity("old-1", "wa-1", "12025550143"))
        .await;
    let delivered = ago(7);
    for (word, at) in [("sent", delivered - 1), ("delivered", delivered)] {
        assert_eq!(gateway.event(&status("wa-1", word, at)).await, 200);
    }
    assert_eq!(
        gateway
            .event(&status("nobody", "sent", 1_930_000_000))
            .await,
        200
    );
    // `sent` was told by the old connector.
    until_told(&sandbox, "old-1", &["delivered"]).await;
    // From here on it is known like any other.
    assert_eq!(
        gateway.event(&status("wa-1", "read", 1_930_000_009)).await,
        200
    );
    until_told(&sandbox, "old-1", &["delivered", "read"]).await;
    let entries = sandbox.entries("old-1").await;
    assert_eq!(entries[0]["timestamp"], delivered.to_string());
    let ours = emulator.until_text("default:old-1", "status", "read").await;
    assert_eq!(ours["recipient"]["stringValue"], "12025550143");
    let ledger = gateway.drained().await;
    assert_eq!(
        (&ledger["accepted"], &ledger["lost"]),
        (&json!(0), &json!(0))
    );
    // What nobody knows is asked for once.
    until("each was asked for once", async || {
        let metrics = gateway.metrics().await;
        let asked = |outcome: &str| {
            let line = format!("gateway_datastore_asked_total{{outcome=\"{outcome}\"}}");
            figure(&metrics, &line)
        };
        ((asked("found"), asked("not_found")) == (1.0, 1.0)).then_some(())
    })
    .await;
    // Asked for once more by MoEngage, it is not sent twice.
    gateway.accept("old-1", "+12025550143").await;
    gateway.drained().await;
    assert!(sandbox.sends_to("12025550143").await.is_empty());
}

/// A webhook that tells of messages which nobody sent.
fn made_up(ids: std::ops::Range<usize>) -> Value {
    let statuses: Vec<Value> = ids
        .map(|n| meta_status(&format!("made-up-{n}"), "sent", ago(7)))
        .collect();
    meta(&[vec![change(&statuses)]])
}

#[tokio::test]
async fn r_71_made_up_ids_are_asked_for_many_at_once_and_after_the_real_one_that_came_before() {
    const MADE_UP: usize = 150;
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let emulator = Emulator::start().await;
    let counting = Meddler::start(&emulator).await;
    let setup = Setup::towards(&sandbox).recording(&emulator);
    let setup = setup.env("DATASTORE_EMULATOR_HOST", &counting.host);
    let gateway = Gateway::start(&sandbox, setup.set("datastore.ask_after=1s")).await;
    emulator
        .put("wa-1", old_entity("old-1", "wa-1", "12025550143"))
        .await;
    let real = status("wa-1", "delivered", ago(7));
    assert_eq!(gateway.event(&real).await, 200);
    for from in (0..MADE_UP).step_by(50) {
        let body = made_up(from..from + 50);
        assert_eq!(gateway.event(&body).await, 200);
    }
    until_told(&sandbox, "old-1", &["delivered"]).await;
    let queries = counting.queries();
    assert!(
        queries <= 2,
        "{queries} queries before the real one is told"
    );
    let asked = async |outcome: &str| {
        let line = format!("gateway_datastore_asked_total{{outcome=\"{outcome}\"}}");
        figure(&gateway.metrics().await, &line)
    };
    until("each was asked for once", async || {
        (asked("not_found").await == MADE_UP as f64).then_some(())
    })
    .await;
    assert_eq!(asked("found").await, 1.0);
    let queries = counting.queries();
    // Each but the first and the last asks for thirty.
    assert!(queries <= MADE_UP / 30 + 3, "{queries} queries");
    let metrics = gateway.metrics().await;
    let line = "gateway_datastore_behind{account=\"default\"}";
    until("it is no longer behind", async || {
        (figure(&gateway.metrics().await, line) == 0.0).then_some(())
    })
    .await;
    assert!(metrics.contains(line), "{metrics}");
}

/// An id that stands in many records of the old connector hides nobody else's.
#[tokio::test]
async fn r_71_an_id_that_stands_in_many_records_does_not_hide_the_others() {
    let (sandbox, emulator, gateway) = recording(json!({ "event_mode": "none" })).await;
    for n in 0..50 {
        let (name, msg_id) = (format!("bad-{n:02}"), format!("bad-{n}"));
        let entity = old_entity(&msg_id, "undefined", "12025550144");
        emulator.put(&name, entity).await;
    }
    emulator
        .put("wa-1", old_entity("old-1", "wa-1", "12025550143"))
        .await;
    let change = change(&[
        meta_status("undefined", "sent", ago(7)),
        meta_status("wa-1", "delivered", ago(7)),
    ]);
    assert_eq!(gateway.event(&meta(&[vec![change]])).await, 200);
    until_told(&sandbox, "old-1", &["delivered"]).await;
}

/// The store is gone with its disk; Datastore has the records.
#[tokio::test]
async fn a_gateway_with_an_empty_store_goes_on_from_the_record() {
    let (sandbox, emulator, gateway) = recording(json!({ "event_mode": "none" })).await;
    let id = sent(&gateway, &sandbox, "m1", &person(1)).await;
    assert_eq!(
        gateway
            .event(&status(&id, "delivered", 1_930_000_001))
            .await,
        200
    );
    until_told(&sandbox, "m1", &["delivered"]).await;
    emulator
        .until_text("default:m1", "status", "delivered")
        .await;
    until_all_written(&gateway).await;
    let setup = gateway.setup();
    drop(gateway);
    let gateway = Gateway::start(&sandbox, setup).await;
    for (word, at) in [("delivered", 1), ("read", 2)] {
        assert_eq!(
            gateway.event(&status(&id, word, 1_930_000_000 + at)).await,
            200
        );
    }
    until_told(&sandbox, "m1", &["delivered", "read"]).await;
    // Its record goes on where it was, in the same entity.
    emulator.until_text("default:m1", "status", "read").await;
}

#[tokio::test]
async fn trace_reads_what_only_datastore_knows() {
    let (_sandbox, mut emulator, gateway) = recording(json!({ "event_mode": "none" })).await;
    emulator
        .put("wa-7", old_entity("old-7", "wa-7", "12025550147"))
        .await;
    let dir = tempfile::tempdir().unwrap();
    let ops = gateway.ops.trim_start_matches("http://");
    let trace = |id: &str| {
        let setup = gateway.setup().env("OPS_ADDR", ops);
        let setup = Setup {
            set: Vec::new(),
            ..setup
        };
        run_to_end(&["trace", id], &setup, dir.path())
    };
    for id in ["old-7", "wa-7", "+1 202 555 0147"] {
        let (code, out) = trace(id);
        assert_eq!(code, 0, "{id}: {out}");
        for part in [
            "old-7",
            "from Datastore",
            "old connector",
            "sent",
            "12*******47",
        ] {
            assert!(out.contains(part), "{id}: no {part} in {out}");
        }
        assert!(!out.contains("12025550147"), "{out}");
    }
    let message = gateway.message("old-7").await;
    assert_eq!(message["source"], "Datastore");
    // Whose id holds a number is found by the whole id, and shown without the number.
    let mut numbered = old_entity("to_12025550148", "wa-8", "12025550148");
    numbered["campaign_id"] = json!({ "stringValue": "of-12025550148" });
    emulator.put("wa-8", numbered).await;
    let message = gateway.message("to_12025550148").await;
    assert_eq!(message["msg_id"], "to_12*******48");
    assert_eq!(message["campaign_id"], "of-12*******48");
    let (code, out) = trace("+1 202 555 0148");
    assert!(code == 0 && out.contains("to_12*******48"), "{out}");
    assert!(!out.contains("12025550148"), "{out}");
    let (code, out) = trace("nothing");
    assert!(code == 1 && !out.contains("Datastore"), "{out}");
    emulator.kill();
    let (code, out) = trace("old-7");
    assert!(
        code == 1 && out.contains("Datastore could not be asked"),
        "{out}"
    );
}
