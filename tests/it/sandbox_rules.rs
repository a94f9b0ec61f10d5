//! The sandbox's rules with the real binary: what `--help` promises is what the control API takes.

use crate::kit::harness::*;
use serde_json::json;
use std::collections::BTreeMap;

#[tokio::test]
async fn a_rule_answers_for_one_recipient_and_is_counted() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    let body = json!({ "success": false, "errorMessage": "Not this number" });
    let rule = json!({ "route": "send", "recipient": person(1), "template": "order_update",
        "status": 200, "body": body });
    sandbox.post("rules", rule).await;
    for n in 0..3 {
        gateway.accept(&format!("m{n}"), &person(n)).await;
    }
    gateway.until_state("m1", "failed").await;
    for id in ["m0", "m2"] {
        gateway.until_sent(id).await;
    }
    assert!(sandbox.sends_to(digits(&person(1))).await.is_empty());
    let shown = sandbox.get("rules").await;
    assert_eq!(shown["rules"][0]["used"], 1, "{shown}");
}

#[tokio::test]
async fn help_names_every_member_and_route_that_the_control_api_shows() {
    let sandbox = Sandbox::start(json!({})).await;
    let dir = tempfile::tempdir().unwrap();
    let mut help = Process::start(&["sandbox", "--help"], &BTreeMap::new(), dir.path());
    assert_eq!(help.wait(), Some(0));
    let shape = sandbox.get("rules").await["shape"].clone();
    let help = help.output();
    for table in ["members", "routes"] {
        for name in shape[table].as_object().unwrap().keys() {
            assert!(help.contains(&format!("\n  {name} ")), "{name}: {help}");
        }
    }
}
