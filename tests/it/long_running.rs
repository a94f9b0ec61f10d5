//! A gateway that runs for long: retention, open files, a disk that fills up.

use crate::it::repeats::together;
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use serde_json::json;
use std::time::Duration;

fn open_files(gateway: &Gateway) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gateway.process.id()))
        .unwrap()
        .count()
}

fn bytes_kept(gateway: &Gateway) -> u64 {
    let files = gateway.store_files().into_iter();
    files
        .map(|file| file.metadata().map_or(0, |meta| meta.len()))
        .sum()
}

/// Accepts `m<from>..` many at once.
async fn accept_at_once(gateway: &Gateway, numbers: std::ops::Range<usize>) {
    let body = |n| order_update(&format!("m{n}"), &number(n % 10_000));
    let answers = together(gateway, numbers.map(body).collect()).await;
    assert!(answers.iter().all(|(status, _)| *status == 200));
}

#[tokio::test]
async fn settled_messages_go_after_their_time_the_ledger_stays_and_the_directory_does_not_grow() {
    const ROUND: usize = 300;
    let sandbox = Sandbox::start(json!({ "event_delay_ms": 1, "share_odd": 0.3 })).await;
    let setup = Setup::towards(&sandbox)
        .set("store.retention=1s")
        .set("store.event_retention=1s");
    let gateway = Gateway::start(&sandbox, setup).await;
    let mut sizes = Vec::new();
    for round in 0..4 {
        accept_at_once(&gateway, round * ROUND..(round + 1) * ROUND).await;
        settled(&gateway, &sandbox).await;
        for n in [round * ROUND, (round + 1) * ROUND - 1] {
            until("it is forgotten", async || {
                let (status, _) = gateway.ops_get(&format!("/api/messages/m{n}")).await;
                (status == 404).then_some(())
            })
            .await;
        }
        sizes.push(bytes_kept(&gateway));
    }
    let ledger = gateway.ledger().await;
    assert_eq!(
        (&ledger["accepted"], &ledger["lost"]),
        (&json!(4 * ROUND), &json!(0))
    );
    assert_eq!(ledger["accepted_by_provider"], 4 * ROUND);
    if !on_redis() {
        // The log of SQLite is rewound at 4,000 pages; beyond that the directory must stand still.
        let file = std::fs::metadata(gateway.data_dir().join("gateway.db"));
        let file = file.unwrap().len();
        assert!(file < 4_000_000, "the file has {file} bytes: {sizes:?}");
        assert!(sizes[3] < 25_000_000, "{sizes:?}");
    }
    let gateway = gateway.crash_and_restart(&sandbox).await;
    assert_eq!(gateway.ledger().await["accepted"], 4 * ROUND);
}

#[tokio::test]
async fn what_is_not_settled_or_not_told_yet_outlives_the_retention() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none", "moengage_status": 500 })).await;
    let setup = Setup::towards(&sandbox)
        .set("store.retention=5s")
        .set("moengage.max_pause=1s");
    let gateway = Gateway::start(&sandbox, setup).await;
    let told_late = sent(&gateway, &sandbox, "told_late", &number(0)).await;
    assert_eq!(
        gateway
            .event(&status(&told_late, "read", 1_930_000_000))
            .await,
        200
    );
    sent(&gateway, &sandbox, "settled", &number(1)).await;
    gateway
        .ops_send("POST", "/api/channels/default/pause", json!({}))
        .await;
    gateway.accept("queued", &number(2)).await;
    let gone = async |id: &str| gateway.ops_get(&format!("/api/messages/{id}")).await.0 == 404;
    until("the settled one is forgotten", async || {
        gone("settled").await.then_some(())
    })
    .await;
    assert!(!gone("told_late").await && !gone("queued").await);
    sandbox.knobs(json!({ "moengage_status": 200 })).await;
    until_told(&sandbox, "told_late", &["read"]).await;
    until("it goes once it is told", async || {
        gone("told_late").await.then_some(())
    })
    .await;
    assert!(!gone("queued").await);
    // A late status of a forgotten message is kept like one of nobody's, and harms nothing.
    assert_eq!(
        gateway
            .event(&status(&told_late, "delivered", 1_930_000_000))
            .await,
        200
    );
    assert_eq!(sandbox.told("told_late").await, ["read"]);
}

#[tokio::test]
async fn after_two_thousand_messages_no_more_files_are_open_than_before() {
    let sandbox = Sandbox::start(json!({ "event_delay_ms": 1 })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    accept_at_once(&gateway, 0..50).await;
    settled(&gateway, &sandbox).await;
    let before = open_files(&gateway);
    accept_at_once(&gateway, 50..2_050).await;
    let ledger = settled(&gateway, &sandbox).await;
    assert_eq!(ledger["accepted_by_provider"], 2_050);
    until("the files are closed", async || {
        let now = open_files(&gateway);
        // Idle connections of callers and to both fakes may differ by a few.
        (now <= before + 24).then_some(())
    })
    .await;
}

#[tokio::test]
async fn r_39_with_a_disk_nearly_full_callers_get_503_while_the_queue_is_sent() {
    embedded_only!("min_free is about the disk of DATA_DIR");
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let roomy = Setup::towards(&sandbox);
    let gateway = Gateway::start(&sandbox, roomy.clone()).await;
    let id = sent(&gateway, &sandbox, "m0", &number(0)).await;
    gateway
        .ops_send("POST", "/api/channels/default/pause", json!({}))
        .await;
    gateway.accept("waiting", &number(1)).await;

    let full = roomy.clone().set("store.min_free=500000GB");
    let gateway = gateway.restart_with(&sandbox, full).await;
    gateway
        .ops_send("POST", "/api/channels/default/resume", json!({}))
        .await;
    gateway.until_sent("waiting").await;
    let (status_code, answer) = gateway.post(&order_update("m1", &number(2))).await;
    assert_eq!(status_code, 503, "{answer}");
    assert!(
        answer["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{answer}"
    );
    let (ready, why) = gateway.ready().await;
    assert_eq!(ready, 503);
    assert!(
        why["reason"]
            .as_str()
            .is_some_and(|text| text.contains("Make room")),
        "{why}"
    );
    assert_eq!(
        figure(&gateway.metrics().await, "gateway_store_has_room"),
        0.0
    );
    assert_eq!(
        gateway.event(&status(&id, "read", 1_930_000_000)).await,
        200
    );
    until_told(&sandbox, "m0", &["read"]).await;

    let gateway = gateway.restart_with(&sandbox, roomy).await;
    assert_eq!(gateway.ready().await.0, 200);
    assert_eq!(
        gateway.ledger().await["accepted"],
        2,
        "a refused message was kept"
    );
    gateway.accept("m1", &number(2)).await;
    gateway.until_sent("m1").await;
}

/// Keeps the store from writing, as a slow disk or a backup would, until it is dropped.
fn block_writes(gateway: &Gateway) -> rusqlite::Connection {
    let conn = rusqlite::Connection::open(gateway.data_dir().join("gateway.db")).unwrap();
    conn.busy_timeout(PATIENCE).unwrap();
    conn.execute_batch("BEGIN IMMEDIATE").unwrap();
    conn
}

#[tokio::test]
async fn b_39_a_store_that_is_busy_for_a_moment_delays_everybody_and_fails_nobody() {
    embedded_only!("the file is locked from outside");
    let sandbox = Sandbox::start(json!({ "event_mode": "none", "latency_ms": 300 })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let id = sent(&gateway, &sandbox, "m0", &number(0)).await;
    gateway.accept("under_way", &number(1)).await;
    until("Jumper has it", async || {
        let sends = sandbox.sends_to(&number(1)[1..]).await;
        (sends.len() == 1).then_some(())
    })
    .await;
    let busy = block_writes(&gateway);
    let read = status(&id, "read", 1_930_000_000);
    let to = number(2);
    let m1 = order_update("m1", &to);
    let both = async { tokio::join!(gateway.post(&m1), gateway.event_once(&read)) };
    let freed = async {
        // waits because the store is to be busy for so long
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(busy);
    };
    let ((sent_now, event), ()) = tokio::join!(both, freed);
    assert_eq!((sent_now.0, event), (200, 200), "{sent_now:?}");
    until_told(&sandbox, "m0", &["read"]).await;
    let ledger = gateway.drained().await;
    assert_eq!(ledger["accepted_by_provider"], 3);
    assert_eq!(sandbox.counts().await["recipients_repeated"], 0);
}

#[tokio::test]
async fn a_store_that_cannot_write_means_503_for_all_and_heals_without_a_restart() {
    embedded_only!("the file is locked from outside");
    let sandbox = Sandbox::start(json!({ "event_mode": "none", "latency_ms": 300 })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let id = sent(&gateway, &sandbox, "m0", &number(0)).await;
    gateway.accept("under_way", &number(1)).await;
    until("Jumper has it", async || {
        let sends = sandbox.sends_to(&number(1)[1..]).await;
        (sends.len() == 1).then_some(())
    })
    .await;
    let blocked = block_writes(&gateway);
    let read = status(&id, "read", 1_930_000_000);
    let m1 = order_update("m1", &number(2));
    let (sent_now, event) = tokio::join!(gateway.post(&m1), gateway.event_once(&read));
    assert_eq!((sent_now.0, event), (503, 503), "{sent_now:?}");
    assert!(sent_now.1["message"].is_string(), "{sent_now:?}");
    assert_eq!(gateway.ready().await.0, 503);
    drop(blocked);
    until("it is ready again", async || {
        (gateway.ready().await.0 == 200).then_some(())
    })
    .await;
    assert_eq!(gateway.event(&read).await, 200);
    gateway.accept("m1", &number(2)).await;
    let ledger = gateway.drained().await;
    // The receipt of the send under way was kept in memory meanwhile.
    assert_eq!(
        (&ledger["accepted"], &ledger["accepted_by_provider"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(sandbox.told("m0").await, ["read"]);
    assert_eq!(sandbox.counts().await["recipients_repeated"], 0);
}

#[tokio::test]
async fn a_data_file_that_was_deleted_while_it_runs_stops_success_at_once() {
    embedded_only!("there is no data file");
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    gateway.accept("m1", &number(1)).await;
    std::fs::remove_file(gateway.data_dir().join("gateway.db")).unwrap();
    until("it is not ready", async || {
        let (status, ready) = gateway.ready().await;
        (status == 503).then(|| ready.to_string().contains("deleted or replaced"))
    })
    .await;
    let answer = gateway.post(&order_update("m2", &number(2))).await;
    assert_eq!(answer.0, 503, "{answer:?}");
    assert_eq!(
        gateway
            .event_once(&status("P", "read", 1_930_000_000))
            .await,
        503
    );
}
