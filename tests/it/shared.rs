//! Several gateways on one Redis that are not configured alike, and one that starts anew.

use crate::it::account_files;
use crate::it::replicas::Stage;
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use crate::kit::redis_server::{Options, on_redis_only};
use serde_json::json;

#[tokio::test]
async fn a_resume_at_one_replica_holds_at_another_whose_file_says_paused() {
    on_redis_only!();
    let stage = Stage::new(json!({ "event_mode": "none" }), Options::every_second()).await;
    let dir = tempfile::tempdir().unwrap();
    let url = &stage.sandbox.url;
    let start = |name: &str, more: &str| {
        let file = dir.path().join(name);
        let door = format!("auth_against = \"token-of-channel-uk\"\n{more}");
        let tables = account_files::account("acme", url, "")
            + &account_files::channel("uk", "acme", url, &door);
        std::fs::write(&file, tables).unwrap();
        let mut setup = stage
            .setup()
            .env("GATEWAY_CONFIG", &file.display().to_string());
        for name in [
            "MOENGAGE_CALLBACK_URL",
            "MOENGAGE_AUTH_AGAINST",
            "JUMPER_BASIC_AUTH",
            "SEED_REFRESH_TOKEN",
            "WEBHOOK_SECRET",
        ] {
            setup = setup.without(name);
        }
        Gateway::start_unheard(setup)
    };
    let (stands, sends) = (
        start("stands.toml", "paused = true"),
        start("sends.toml", ""),
    );
    let is_paused = async |gateway: &Gateway, wanted: bool| {
        until("it is told", async || {
            let shown = gateway.ops_get("/api/channels").await.1;
            (shown["channels"][0]["paused"] == wanted).then_some(())
        })
        .await;
    };
    is_paused(&stands, true).await;
    is_paused(&sends, false).await;
    let resume = sends.ops_send("POST", "/api/channels/uk/resume", json!({}));
    assert_eq!(resume.await.0, 200);
    is_paused(&stands, false).await;
    let pause = stands.ops_send("POST", "/api/channels/uk/pause", json!({}));
    assert_eq!(pause.await.0, 200);
    is_paused(&sends, true).await;
}

/// MoEngage asked for ten minutes of rest; whoever starts the gateway anew asks at once.
#[tokio::test]
async fn after_a_restart_on_redis_what_was_to_rest_for_minutes_is_told_at_once() {
    on_redis_only!();
    let stage = Stage::new(json!({ "event_mode": "none" }), Options::every_second()).await;
    let rest = json!({ "Retry-After": 600 });
    stage
        .sandbox
        .rule(json!({ "route": "dlr", "next": 1, "status": 503, "headers": rest }))
        .await;
    let setup = stage.setup().set("moengage.max_pause=15m");
    let mut gateway = Gateway::start(&stage.sandbox, setup).await;
    let id = sent(&gateway, &stage.sandbox, "m0", &number(0)).await;
    let read = status(&id, "read", 1_930_000_000);
    assert_eq!(gateway.event(&read).await, 200);
    until("MoEngage asks for rest", async || {
        let tries = gateway.message("m0").await.to_string();
        tries.contains("1 attempt").then_some(())
    })
    .await;
    gateway.process.terminate();
    let (code, gateway) = tokio::task::spawn_blocking(move || (gateway.process.wait(), gateway))
        .await
        .unwrap();
    assert_eq!(code, Some(0), "{}", gateway.process.output());
    let gateway = gateway.restart(&stage.sandbox).await;
    gateway.drained().await;
    assert_eq!(stage.sandbox.posts().await.len(), 2);
}
