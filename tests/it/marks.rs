//! A mark outside of the store says how far it had come. After an older copy of the store was put back while no
//! gateway ran, the next start holds what waits in it: it may have been sent since.

use crate::it::emulator::Emulator;
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const HOLD: &str = "store:default";
const MARK: &str = "mark-default";

/// A copy of the store of a gateway that does not run; with all that lies in the data directory, or without.
pub(crate) struct Copy {
    files: tempfile::TempDir,
    is_whole: bool,
}

/// What the store has in the data directory.
fn of_store(dir: &Path, is_whole: bool) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let is_part = |path: &PathBuf| is_whole || path.display().to_string().contains("gateway.db");
    paths.filter(is_part).collect()
}

pub(crate) fn copy(gateway: &Gateway, is_whole: bool) -> Copy {
    let Some(redis) = gateway.redis() else {
        let files = tempfile::tempdir().unwrap();
        for path in of_store(&gateway.aside(), is_whole) {
            std::fs::copy(&path, files.path().join(path.file_name().unwrap())).unwrap();
        }
        return Copy { files, is_whole };
    };
    let files = redis.copy();
    Copy { files, is_whole }
}

pub(crate) fn put_back(gateway: &Gateway, copy: &Copy) {
    let Some(redis) = gateway.redis() else {
        let old = of_store(&gateway.aside(), copy.is_whole);
        old.iter()
            .for_each(|path| std::fs::remove_file(path).unwrap());
        for file in std::fs::read_dir(copy.files.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), gateway.aside().join(file.file_name())).unwrap();
        }
        return;
    };
    redis.put_back(&copy.files);
    if copy.is_whole {
        // Redis is elsewhere, so what is lost with the machine is lost.
        std::fs::remove_file(gateway.aside().join(MARK)).unwrap();
    }
}

fn mark(gateway: &Gateway) -> String {
    std::fs::read_to_string(gateway.aside().join(MARK)).unwrap_or_default()
}

/// The last claim that a mark tells of.
fn last_claim(mark: &str) -> String {
    let mark: Value = serde_json::from_str(mark).unwrap();
    let steps = mark["steps"].as_object().unwrap().values();
    let steps = steps.map(|step| step.as_str().unwrap().to_owned());
    steps.max().unwrap_or_default()
}

pub(crate) fn stop(gateway: &mut Gateway) {
    gateway.process.terminate();
    assert_eq!(
        gateway.process.wait(),
        Some(0),
        "{}",
        gateway.process.output()
    );
}

/// Five messages wait in a copy. They were sent since, and the gateway stopped, or was killed a moment later.
async fn sent_since(
    sandbox: &Sandbox,
    setup: Setup,
    (is_whole, kill): (bool, bool),
) -> (Gateway, Copy) {
    let mut gateway = Gateway::start(sandbox, setup).await;
    gateway.accept("m0", &number(0)).await;
    gateway.until_sent("m0").await;
    gateway.channel("pause").await;
    for n in 1..6 {
        gateway.accept(&format!("m{n}"), &number(n)).await;
    }
    stop(&mut gateway);
    let copy = copy(&gateway, is_whole);
    let before = mark(&gateway);
    assert!(before.contains("\"store\""), "{before:?}");
    let mut gateway = gateway.restart(sandbox).await;
    gateway.channel("resume").await;
    assert_eq!(gateway.drained().await["accepted_by_provider"], 6);
    if kill {
        until("the mark is written", async || {
            (last_claim(&mark(&gateway)) > last_claim(&before)).then_some(())
        })
        .await;
        gateway.process.kill();
    } else {
        stop(&mut gateway);
    }
    (gateway, copy)
}

/// It is held, and what came since is sent when an operator decided.
async fn held(gateway: &Gateway, sandbox: &Sandbox) {
    let hold = until("it is held", async || gateway.holds().await.pop()).await;
    assert_eq!(
        (&hold["id"], &hold["waiting"]),
        (&json!(HOLD), &json!(5)),
        "{hold}"
    );
    let words = hold["words"].as_str().unwrap();
    assert!(words.contains("went back"), "{words}");
    until("an operator is told", async || {
        let said = gateway.process.output();
        let is_told = |line: &str| line.contains("ALERT") && line.contains("store:default/release");
        said.lines().any(is_told).then_some(())
    })
    .await;
    gateway.accept("m6", &number(6)).await;
    let waits = gateway.message("m6").await;
    assert_eq!(waits["why"]["code"], "store_went_back", "{waits}");
    let path = format!("/api/holds/{HOLD}/fail");
    let right = gateway
        .ops_send("POST", &path, json!({ "confirm": 5 }))
        .await;
    assert_eq!(right.0, 202, "{right:?}");
    gateway.until_sent("m6").await;
    let ledger = gateway.drained().await;
    assert_eq!(
        (&ledger["failed"], &ledger["lost"]),
        (&json!(5), &json!(0)),
        "{ledger}"
    );
    assert_eq!(sandbox.counts().await["recipients_repeated"], 0);
}

#[tokio::test]
async fn r_52_restarted_over_an_older_copy_it_holds_what_waits_in_it() {
    for kill in [false, true] {
        let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
        let (gateway, copy) = sent_since(&sandbox, Setup::towards(&sandbox), (false, kill)).await;
        put_back(&gateway, &copy);
        let gateway = gateway.restart(&sandbox).await;
        gateway.channel("resume").await;
        held(&gateway, &sandbox).await;
        // It is decided for good, also where something waits at the next start.
        gateway.channel("pause").await;
        gateway.accept("m7", &number(7)).await;
        let gateway = gateway.restart(&sandbox).await;
        gateway.channel("resume").await;
        gateway.until_sent("m7").await;
        assert!(gateway.holds().await.is_empty());
    }
}

#[tokio::test]
async fn r_52_the_mark_in_datastore_is_there_when_the_whole_directory_was_put_back() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let emulator = Emulator::start().await;
    let setup = Setup::towards(&sandbox).recording(&emulator);
    let (gateway, copy) = sent_since(&sandbox, setup, (true, false)).await;
    put_back(&gateway, &copy);
    let gateway = gateway.restart(&sandbox).await;
    gateway.channel("resume").await;
    held(&gateway, &sandbox).await;
}

#[tokio::test]
async fn r_52_over_an_empty_store_it_goes_on_and_tells() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let (gateway, _) = sent_since(&sandbox, Setup::towards(&sandbox), (false, false)).await;
    match gateway.redis() {
        Some(redis) => drop(redis.cli(&["FLUSHALL"])),
        None => of_store(&gateway.aside(), false)
            .iter()
            .for_each(|path| std::fs::remove_file(path).unwrap()),
    }
    let gateway = gateway.restart(&sandbox).await;
    // Its tokens are gone too.
    let seed = sandbox.post("token/new-seed", json!({})).await;
    let path = "/api/accounts/default/token/seed";
    let wish = json!({ "refresh_token": seed["refresh_token"] });
    assert_eq!(gateway.ops_send("PUT", path, wish).await.0, 200);
    gateway.accept("m6", &number(6)).await;
    gateway.until_sent("m6").await;
    assert!(gateway.holds().await.is_empty());
    gateway.process.said(&["store_is_another"]).await;
    // From then on it is its own, also where something waits at the next start.
    gateway.channel("pause").await;
    gateway.accept("m7", &number(7)).await;
    let gateway = gateway.restart(&sandbox).await;
    gateway.channel("resume").await;
    gateway.until_sent("m7").await;
    assert!(!gateway.process.output().contains("ALERT"));
}

#[tokio::test]
async fn r_52_a_mark_that_cannot_be_read_stops_nothing() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let (gateway, _) = sent_since(&sandbox, Setup::towards(&sandbox), (false, false)).await;
    let file = gateway.aside().join(MARK);
    let good = std::fs::read_to_string(&file).unwrap();
    let mark: Value = serde_json::from_str(&good).unwrap();
    let wrong = mark["steps"]
        .as_object()
        .unwrap()
        .keys()
        .next()
        .unwrap()
        .clone();
    let later = good.replace(mark["steps"][&wrong].as_str().unwrap(), "9999999999999999");
    let mut gateway = gateway;
    for text in ["", "no mark", "\u{0}", &later] {
        // A step that is still to come counts in the embedded store, where it is a number of claims.
        if text == later && gateway.redis().is_none() {
            continue;
        }
        std::fs::write(&file, text).unwrap();
        gateway = gateway.restart(&sandbox).await;
        assert!(gateway.holds().await.is_empty(), "{text}");
        gateway
            .accept(&format!("n{}", text.len()), &number(9))
            .await;
        gateway.until_sent(&format!("n{}", text.len())).await;
        stop(&mut gateway);
        assert!(
            self::mark(&gateway).contains("\"store\""),
            "it is written anew"
        );
    }
}
