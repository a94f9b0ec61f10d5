//! Who opted out stays out when the store is emptied, put back or left for another one: by Datastore, or by a
//! list that an operator keeps.

use crate::it::emulator::{Doorman, Emulator, KIND};
use crate::it::marks::{copy, put_back, stop};
use crate::it::people::says;
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use crate::kit::redis_server::{Options, Redis};
use serde_json::{Value, json};
use std::sync::Arc;

const OPS_TOKEN: &str = "ops-token-for-tests";

async fn writes(gateway: &Gateway, n: usize, text: &str) {
    let said = says(&number(n)[1..], text, None);
    assert_eq!(gateway.event(&said).await, 200);
}

/// For a store that begins without the account's tokens.
async fn seeded(sandbox: &Sandbox, setup: Setup) -> Setup {
    let seed = sandbox.post("token/new-seed", json!({})).await;
    let seed = seed["refresh_token"].as_str().unwrap();
    setup.env("SEED_REFRESH_TOKEN", seed)
}

/// What Datastore has of a person.
async fn entity(emulator: &Emulator, n: usize) -> Option<Value> {
    let name = format!("optout:default:all:{}", digits(&number(n)));
    let key = json!({ "path": [{ "kind": format!("{KIND}_GATEWAY"), "name": name }] });
    let answer = emulator.call("lookup", json!({ "keys": [key] })).await;
    Some(answer["found"].get(0)?["entity"]["properties"].clone())
}

async fn until_kept(emulator: &Emulator, n: usize, is_out: bool) {
    until("Datastore has what was said", async || {
        let entity = entity(emulator, n).await?;
        (entity["opted_out"]["booleanValue"] == is_out).then_some(())
    })
    .await;
}

/// One wrote STOP, another STOP and then START.
async fn said(gateway: &Gateway, emulator: &Emulator) {
    writes(gateway, 0, "STOP").await;
    writes(gateway, 1, "STOP").await;
    writes(gateway, 1, "START").await;
    until_kept(emulator, 0, true).await;
    until_kept(emulator, 1, false).await;
}

/// The first gets nothing, the second everything. A message may be taken before the store knows; then it fails.
async fn obeyed(gateway: &Gateway, sandbox: &Sandbox, round: &str) {
    let [stopped, other] = [0, 1].map(|n| format!("{round}{n}"));
    let answer = gateway.post(&order_update(&stopped, &number(0))).await;
    gateway.accept(&other, &number(1)).await;
    gateway.until_sent(&other).await;
    if answer.1["status"] == "success" {
        let failed = gateway.until_state(&stopped, "failed").await;
        let history = failed["history"].to_string();
        assert!(history.contains("7003"), "{history}");
    }
    assert!(sandbox.sends_to(digits(&number(0))).await.is_empty());
}

async fn refused(gateway: &Gateway, msg_id: &str, n: usize) {
    let answer = gateway.post(&order_update(msg_id, &number(n))).await;
    assert_eq!(code_of(&answer), "7003", "{answer:?}");
}

#[tokio::test]
async fn r_60_a_redis_that_is_emptied_while_a_gateway_runs_keeps_no_opt_out_and_nobody_gets_a_message()
 {
    let (sandbox, emulator) = (
        Sandbox::start(json!({ "event_mode": "none" })).await,
        Emulator::start().await,
    );
    let redis = Arc::new(Redis::start(Options::every_second()));
    let setup = Setup::towards(&sandbox)
        .recording(&emulator)
        .sharing(&redis);
    let gateway = Gateway::start(&sandbox, setup).await;
    gateway.accept("first", &number(2)).await;
    gateway.until_sent("first").await;
    said(&gateway, &emulator).await;
    // A process that heard it would say it again.
    let gateway = gateway.restart(&sandbox).await;
    gateway.accept("next", &number(2)).await;
    gateway.until_sent("next").await;
    redis.cli(&["FLUSHALL"]);
    obeyed(&gateway, &sandbox, "a").await;
    assert_eq!(
        redis.cli(&["SISMEMBER", "gw:{default}:oo:default", digits(&number(0))]),
        "1"
    );
}

#[tokio::test]
async fn r_60_an_embedded_store_that_is_left_for_redis_leaves_no_opt_out_behind() {
    embedded_only!("the other way round is the test of a Redis that is emptied");
    let (sandbox, emulator) = (
        Sandbox::start(json!({ "event_mode": "none" })).await,
        Emulator::start().await,
    );
    let setup = Setup::towards(&sandbox).recording(&emulator);
    let mut gateway = Gateway::start(&sandbox, setup.clone()).await;
    writes(&gateway, 0, "STOP").await;
    // The last word goes to Datastore before the process ends.
    writes(&gateway, 1, "STOP").await;
    writes(&gateway, 1, "START").await;
    stop(&mut gateway);
    let redis = Arc::new(Redis::start(Options::every_second()));
    let setup = seeded(&sandbox, setup.sharing(&redis)).await;
    let gateway = Gateway::start(&sandbox, setup).await;
    obeyed(&gateway, &sandbox, "a").await;
    refused(&gateway, "b", 0).await;
}

#[tokio::test]
async fn r_60_after_a_copy_was_put_back_the_later_word_counts() {
    let (sandbox, emulator) = (
        Sandbox::start(json!({ "event_mode": "none" })).await,
        Emulator::start().await,
    );
    let setup = Setup::towards(&sandbox).recording(&emulator);
    let mut gateway = Gateway::start(&sandbox, setup).await;
    writes(&gateway, 1, "STOP").await;
    until_kept(&emulator, 1, true).await;
    stop(&mut gateway);
    let copy = copy(&gateway, false);
    let mut gateway = gateway.restart(&sandbox).await;
    refused(&gateway, "m1", 1).await;
    said(&gateway, &emulator).await;
    stop(&mut gateway);
    put_back(&gateway, &copy);
    let gateway = gateway.restart(&sandbox).await;
    // Until then the word of the copy counts, which is that the second wants none.
    gateway.process.said(&["opt_outs_merged"]).await;
    obeyed(&gateway, &sandbox, "a").await;
    refused(&gateway, "b", 0).await;
}

#[tokio::test]
async fn r_60_sending_waits_for_datastore_and_goes_on_after_30_s_with_an_alert() {
    let (sandbox, emulator) = (
        Sandbox::start(json!({ "event_mode": "none" })).await,
        Emulator::start().await,
    );
    let doorman = Doorman::start(&emulator).await;
    let setup = Setup::towards(&sandbox).recording(&emulator);
    let setup = setup.env("DATASTORE_EMULATOR_HOST", &doorman.host);
    let gateway = Gateway::start(&sandbox, setup.clone()).await;
    said(&gateway, &emulator).await;
    drop(gateway);
    // The next one has an empty store, and Datastore answers nothing.
    emulator.hang(true);
    let setup = seeded(&sandbox, setup).await;
    let gateway = Gateway::start(&sandbox, setup).await;
    let began = std::time::Instant::now();
    gateway.accept("a", &number(2)).await;
    let why = until("it says why", async || {
        let why = gateway.message("a").await["why"].clone();
        (why["code"] == "reading_opt_outs").then_some(why)
    })
    .await;
    assert!(
        why["words"].as_str().unwrap().contains("opted out"),
        "{why}"
    );
    let told = until_within(
        std::time::Duration::from_secs(60),
        "it is told",
        async || {
            let said = gateway.process.output();
            let line = said.lines().find(|line| line.contains("ALERT"));
            line.map(str::to_owned)
        },
    )
    .await;
    assert!(told.contains("optouts_not_merged"), "{told}");
    assert!(began.elapsed().as_secs() >= 20, "nothing was sent before");
    gateway.until_sent("a").await;
    emulator.hang(false);
    // Each with an id of its own: what was taken once stays taken.
    let mut tries = 0;
    until_within(
        std::time::Duration::from_secs(60),
        "they are read",
        async || {
            tries += 1;
            let body = order_update(&format!("b{tries}"), &number(0));
            (gateway.post(&body).await.1["status"] == "failure").then_some(())
        },
    )
    .await;
    refused(&gateway, "c", 0).await;
    gateway
        .process
        .said(&["RESOLVED", "has the opt-outs that Datastore keeps"])
        .await;
}

/// A command against the ops listener of this gateway.
fn command(gateway: &Gateway, args: &[&str]) -> (i32, String) {
    let dir = tempfile::tempdir().unwrap();
    let setup = gateway.setup();
    let setup = setup.env("OPS_ADDR", gateway.ops.trim_start_matches("http://"));
    let setup = Setup {
        set: Vec::new(),
        ..setup
    };
    run_to_end(args, &setup, dir.path())
}

async fn ops(gateway: &Gateway, method: &str, path: &str, body: Value) -> (u16, Value) {
    let method: reqwest::Method = method.parse().unwrap();
    let request = gateway
        .http
        .request(method, format!("{}{path}", gateway.ops));
    let answer = request
        .bearer_auth(OPS_TOKEN)
        .json(&body)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn r_60_without_datastore_a_list_is_written_and_taken_in_by_another_store() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox).env("OPS_TOKEN", OPS_TOKEN);
    let gateway = Gateway::start(&sandbox, setup.clone()).await;
    writes(&gateway, 0, "STOP").await;
    writes(&gateway, 1, "STOP").await;
    writes(&gateway, 1, "START").await;
    writes(&gateway, 2, "STOP").await;
    let (code, list) = command(&gateway, &["optouts", "export"]);
    assert_eq!(code, 0, "{list}");
    let list = list + "\n";
    let mut lines: Vec<&str> = list.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines[0], "channel,number,scope,since,source", "{list}");
    assert_eq!(lines.len(), 3, "{list}");
    for (line, n) in lines[1..].iter().zip([0, 2]) {
        let begins = format!("default,{},all,20", digits(&number(n)));
        assert!(
            line.starts_with(&begins) && line.ends_with("Z,reply"),
            "{line}"
        );
    }
    gateway.process.said(&["an operator read opt-outs"]).await;
    let checked = command(&gateway, &["check"]).1;
    assert!(
        checked.contains("in the store alone") && checked.contains("optouts export"),
        "{checked}"
    );

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("list.csv");
    std::fs::write(&file, &list).unwrap();
    let path = file.display().to_string();
    // Another store, in which one of them wrote later.
    let other = Gateway::start(&sandbox, setup).await;
    writes(&other, 2, "START").await;
    let (code, said) = command(&other, &["optouts", "import", &path]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("2 rows read: 1 people opted out"), "{said}");
    refused(&other, "a", 0).await;
    other.accept("b", &number(2)).await;
    // A line that is wrong leaves all as it was.
    let row = format!("default,{},all,,\n", digits(&number(3)));
    std::fs::write(&file, format!("{list}{row}default,call me,all,,\n")).unwrap();
    let (code, said) = command(&other, &["optouts", "import", &path]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("nothing was imported: line 5"), "{said}");
    other.accept("c", &number(3)).await;
    let log = other.process.said(&["an operator imported opt-outs"]).await;
    for n in 0..4 {
        assert!(said_at(&log, digits(&number(n))).is_none(), "{log}");
    }
}

#[tokio::test]
async fn r_60_an_operator_adds_and_lifts_an_opt_out_and_only_a_token_shows_the_list() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let (status, told) = gateway.ops_get("/api/optouts").await;
    assert_eq!(status, 403);
    assert!(
        told["detail"].as_str().unwrap().contains("OPS_TOKEN"),
        "{told}"
    );
    let setup = gateway.setup().env("OPS_TOKEN", OPS_TOKEN);
    let gateway = gateway.restart_with(&sandbox, setup).await;
    let person = json!({ "number": number(0) });
    for (method, changed) in [("PUT", true), ("PUT", false)] {
        let (status, said) = ops(&gateway, method, "/api/optouts/default", person.clone()).await;
        assert_eq!((status, &said["changed"]), (200, &json!(changed)), "{said}");
    }
    refused(&gateway, "m0", 0).await;
    let (_, list) = ops(&gateway, "GET", "/api/optouts?channel=default", json!({})).await;
    let item = &list["items"][0];
    assert_eq!(
        (&item["number"], &item["source"], &list["next"]),
        (&json!(digits(&number(0))), &json!("operator"), &Value::Null),
        "{list}"
    );
    let (status, said) = ops(&gateway, "DELETE", "/api/optouts/default", person).await;
    assert_eq!((status, &said["changed"]), (200, &json!(true)), "{said}");
    gateway.accept("m1", &number(0)).await;
    let (_, list) = ops(&gateway, "GET", "/api/optouts", json!({})).await;
    assert_eq!(list["items"], json!([]));
    for (path, body, status) in [
        ("/api/optouts/nobody", json!({ "number": number(0) }), 404),
        ("/api/optouts/default", json!({ "number": "call me" }), 400),
        (
            "/api/optouts/default",
            json!({ "number": number(0), "scope": "some" }),
            400,
        ),
        ("/api/optouts/default", json!({ "phone": number(0) }), 400),
    ] {
        let said = ops(&gateway, "PUT", path, body).await;
        assert_eq!(said.0, status, "{said:?}");
        assert!(
            said_at(&said.1.to_string(), digits(&number(0))).is_none(),
            "{said:?}"
        );
    }
    for query in ["?after=default", "?after=nobody:0", "?what=1"] {
        let (status, _) = ops(&gateway, "GET", &format!("/api/optouts{query}"), json!({})).await;
        assert_eq!(status, 400, "{query}");
    }
    let log = gateway
        .process
        .said(&["an operator changed an opt-out"])
        .await;
    assert!(said_at(&log, digits(&number(0))).is_none(), "{log}");
}
