//! The main job, end to end.

use crate::kit::harness::*;
use serde_json::json;

#[tokio::test]
async fn b_27_a_send_goes_out_and_its_statuses_come_back() {
    let sandbox = Sandbox::start(json!({ "share_read": 1 })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    gateway.accept("m1", "+12025550143").await;
    until("m1 is read", async || {
        (sandbox.told("m1").await == ["sent", "delivered", "read"]).then_some(())
    })
    .await;
    let ledger = gateway.drained().await;
    assert_eq!(
        (&ledger["accepted"], &ledger["accepted_by_provider"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(ledger["lost"], 0);
    assert_eq!(sandbox.sends_to("12025550143").await.len(), 1);
}

#[tokio::test]
async fn killed_at_random_moments_under_load_nothing_is_lost_and_nothing_sent_twice() {
    const MESSAGES: usize = 300;
    let sandbox = Sandbox::start(json!({ "latency_ms": 5 })).await;
    let setup = Setup::towards(&sandbox).env("AMBIGUOUS_HOLD", "2s");
    let mut gateway = Gateway::start(&sandbox, setup).await;
    let mut dice = fastrand::Rng::with_seed(7);
    let mut accepted = Vec::new();
    for n in 0..MESSAGES {
        let (id, to) = (format!("m{n}"), format!("+1202555{n:04}"));
        gateway.accept(&id, &to).await;
        accepted.push((id, to));
        if dice.usize(..60) == 0 {
            gateway = gateway.crash_and_restart(&sandbox).await;
        }
    }
    gateway = gateway.crash_and_restart(&sandbox).await;
    let ledger = gateway.drained().await;
    assert_eq!(ledger["accepted"], MESSAGES);
    assert_eq!(ledger["lost"], 0);
    for (id, to) in &accepted {
        let sends = sandbox.sends_to(&to[1..]).await.len();
        assert!(sends <= 1, "{id} was sent {sends} times");
        let message = gateway.message(id).await;
        let told = sandbox.told(id).await;
        let fine = match message["state"].as_str().unwrap() {
            _ if is_sent(&message) => sends == 1,
            "failed" => told.contains(&"failed".to_owned()),
            other => panic!("{id} is {other}"),
        };
        assert!(fine, "{id}: {sends} sends, told {told:?}, {message}");
    }
}
