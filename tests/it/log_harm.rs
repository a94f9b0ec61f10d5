//! The log is not part of the work: whatever standard error leads to may break, fill up or stand
//! still, and costs lines of the log and nothing else.

use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use crate::kit::log::{Log, Reader};
use serde_json::json;
use std::time::{Duration, Instant};

const MESSAGES: usize = 200;
const LOST: &str = "gateway_log_lines_lost_total";

/// Sends messages and waits for everything: each is sent once, its statuses are told, nothing waits.
async fn everything_works(gateway: &Gateway, sandbox: &Sandbox, messages: usize) {
    accept_many(gateway, messages).await;
    let ledger = settled(gateway, sandbox).await;
    assert_eq!(ledger["accepted_by_provider"], messages, "{ledger}");
    assert_eq!(ledger["lost"], 0, "{ledger}");
    assert_fold(sandbox, messages, false).await;
    let (ready, why) = gateway.ready().await;
    assert_eq!(ready, 200, "{why}");
}

async fn lost(gateway: &Gateway) -> f64 {
    figure(&gateway.metrics().await, LOST)
}

/// An ordered stop; how long it took.
async fn stopped(mut gateway: Gateway) -> Duration {
    gateway.process.terminate();
    let asked = Instant::now();
    let ended = tokio::task::spawn_blocking(move || gateway.process.wait());
    assert_eq!(ended.await.unwrap(), Some(0));
    asked.elapsed()
}

#[tokio::test]
async fn r_01_a_log_reader_that_went_away_costs_lines_and_nothing_else() {
    let sandbox = Sandbox::start(json!({})).await;
    let log = Log::pipe();
    let setup = Setup::towards(&sandbox).log_to(&log);
    let gateway = Gateway::start(&sandbox, setup).await;
    assert_eq!(lost(&gateway).await, 0.0);
    log.set(Reader::Gone);
    everything_works(&gateway, &sandbox, MESSAGES).await;
    assert!(lost(&gateway).await >= MESSAGES as f64);
    log.set(Reader::Reads);
    until("the log says what was lost", async || {
        let output = gateway.process.output();
        output.contains(" log lines were lost since ").then_some(())
    })
    .await;
    stopped(gateway).await;
}

#[tokio::test]
async fn r_01_a_log_on_a_full_disk_costs_lines_and_nothing_else() {
    let sandbox = Sandbox::start(json!({})).await;
    let setup = Setup::towards(&sandbox).log_to(&Log::on_a_full_disk());
    let gateway = Gateway::start_mute(&sandbox, setup).await;
    everything_works(&gateway, &sandbox, MESSAGES).await;
    assert!(lost(&gateway).await >= MESSAGES as f64);
    stopped(gateway).await;
}

#[tokio::test]
async fn r_02_a_full_log_that_nobody_reads_delays_neither_work_nor_stop() {
    const MANY: usize = 1_000;
    let sandbox = Sandbox::start(json!({})).await;
    let log = Log::pipe();
    log.fill();
    let setup = Setup::towards(&sandbox)
        .log_to(&log)
        .env("RUST_LOG", "trace")
        .set("drain_timeout=5m");
    let gateway = Gateway::start_mute(&sandbox, setup).await;
    everything_works(&gateway, &sandbox, MANY).await;
    assert!(lost(&gateway).await > 0.0);
    let took = stopped(gateway).await;
    assert!(took < 2 * PATIENCE, "{took:?}");
}

#[tokio::test]
async fn r_04_without_anywhere_to_log_to_it_starts_and_serves() {
    let gone = Log::pipe();
    gone.set(Reader::Gone);
    let full = Log::pipe();
    full.fill();
    for (format, log) in [
        ("text", gone),
        ("json", full),
        ("json", Log::on_a_full_disk()),
    ] {
        let sandbox = Sandbox::start(json!({})).await;
        let setup = Setup::towards(&sandbox)
            .log_to(&log)
            .env("LOG_FORMAT", format);
        let gateway = Gateway::start_mute(&sandbox, setup).await;
        everything_works(&gateway, &sandbox, 3).await;
        stopped(gateway).await;
    }
}

#[tokio::test]
async fn a_start_that_fails_ends_although_nobody_reads_why() {
    let log = Log::pipe();
    log.fill();
    let dir = tempfile::tempdir().unwrap();
    let ended = tokio::task::spawn_blocking(move || {
        let mut process = Process::logging_to(&log, &["serve"], dir.path());
        process.wait()
    });
    assert_eq!(ended.await.unwrap(), Some(1));
}

#[tokio::test]
async fn r_04_a_level_that_does_not_exist_is_refused_like_any_wrong_setting() {
    let sandbox = Sandbox::start(json!({})).await;
    let dir = tempfile::tempdir().unwrap();
    for wrong in ["loud", "info,loud", "hyper"] {
        let setup = Setup::towards(&sandbox).env("RUST_LOG", wrong);
        let (code, said) = run_to_end(&["serve"], &setup, dir.path());
        assert_eq!(code, 1, "{said}");
        for part in ["RUST_LOG", wrong, "debug", "warn,hyper=debug"] {
            assert!(said.contains(part), "{part} is not in: {said}");
        }
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[tokio::test]
async fn r_38_sighup_does_not_end_it() {
    let sandbox = Sandbox::start(json!({})).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    gateway.process.signal("-HUP");
    until("the signal is heard", async || {
        let output = gateway.process.output();
        output.contains("SIGHUP changes nothing").then_some(())
    })
    .await;
    everything_works(&gateway, &sandbox, 3).await;
    stopped(gateway).await;
}

#[tokio::test]
async fn r_38_an_ordered_stop_ends_the_wait_for_redis_at_the_start() {
    let sandbox = Sandbox::start(json!({})).await;
    // One that refuses, and one that takes the connection and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for addr in [nowhere(), silent.local_addr().unwrap()] {
        let setup = Setup::towards(&sandbox).env("REDIS_URL", &format!("redis://{addr}"));
        let dir = tempfile::tempdir().unwrap();
        let waited = tokio::task::spawn_blocking(move || {
            let mut args = vec!["serve"];
            for pair in &setup.set {
                args.extend(["--set", pair]);
            }
            let mut process = Process::start(&args, &setup.env, dir.path());
            process.line_with("waiting for Redis");
            process.terminate();
            let code = process.wait();
            (code, process.output())
        });
        // Waited for to its end, Redis would be missed, with code 1.
        let (code, said) = waited.await.unwrap();
        assert_eq!(code, Some(0), "{said}");
    }
}
