//! Not twice: repeats of a `msg_id`, and the queue that is full.

use crate::kit::harness::*;
use serde_json::{Value, json};

async fn pair() -> (Sandbox, Gateway) {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    (sandbox, gateway)
}

/// Posts all at once; the answers.
pub(crate) async fn together(gateway: &Gateway, bodies: Vec<Value>) -> Vec<(u16, Value)> {
    let request = |body: Value| {
        let request = gateway.http.post(format!("{}/send_whatsapp", gateway.url));
        request.header("apikey", TOKEN).body(body.to_string())
    };
    answers(bodies.into_iter().map(request)).await
}

#[tokio::test]
async fn b_07_the_same_message_fifty_times_at_once_is_sent_once() {
    let (sandbox, gateway) = pair().await;
    for round in 0..3 {
        let (id, to) = (format!("m{round}"), person(round));
        let answers = together(&gateway, vec![order_update(&id, &to); 50]).await;
        assert_eq!(answers.len(), 50);
        for answer in answers {
            assert_eq!(answer, (200, json!({ "status": "success" })));
        }
        gateway.until_sent(&id).await;
        assert_eq!(sandbox.sends_to(digits(&to)).await.len(), 1);
    }
    assert_eq!(gateway.drained().await["accepted"], 3);
    let counts = sandbox.counts().await;
    assert_eq!(counts["calls"]["send"], 3, "{counts}");
}

#[tokio::test]
async fn b_07_a_repeat_answers_success_whatever_became_of_the_first() {
    let (sandbox, gateway) = pair().await;
    gateway.accept("sent", &person(1)).await;
    gateway.until_sent("sent").await;
    sandbox.script("send", &["refuse_200"]).await;
    gateway.accept("refused", &person(2)).await;
    gateway.until_state("refused", "failed").await;
    // A callback whose answer is not recorded is repeated after a crash, by design.
    gateway.drained().await;
    gateway.channel("pause").await;
    gateway.accept("waits", &person(3)).await;
    let gateway = gateway.crash_and_restart(&sandbox).await;
    for (id, n) in [("sent", 1), ("refused", 2), ("waits", 3)] {
        gateway.accept(id, &person(n)).await;
        // Other content, and content that would be refused today, under the same id.
        gateway.accept(id, &person(9)).await;
        for bad in [
            order_update(id, "+1202"),
            send(id, &person(n), "no_such_template", "en", json!([])),
            send(
                id,
                &person(n),
                "order_update",
                "en_US",
                json!([{ "type": "carousel" }]),
            ),
        ] {
            gateway.accept_body(&bad).await;
        }
    }
    gateway.channel("resume").await;
    gateway.until_sent("waits").await;
    assert_eq!(gateway.drained().await["accepted"], 3);
    for (n, sends) in [(1, 1), (2, 0), (3, 1), (9, 0)] {
        let sent = sandbox.sends_to(digits(&person(n))).await;
        assert_eq!(sent.len(), sends, "person {n}: {sent:?}");
    }
    assert_eq!(sandbox.told("refused").await, ["failed"]);
    let metrics = gateway.metrics().await;
    assert!(metrics.contains("gateway_repeats_total"), "{metrics}");
}

#[tokio::test]
async fn a_refused_send_may_be_corrected_under_the_same_id() {
    let (sandbox, gateway) = pair().await;
    for bad in [
        order_update("m", "+1202"),
        send(
            "m",
            &person(1),
            "order_update",
            "en_US",
            json!([{ "type": "carousel" }]),
        ),
    ] {
        assert_eq!(gateway.post(&bad).await.1["status"], "failure");
    }
    gateway.accept("m", &person(1)).await;
    gateway.until_sent("m").await;
    assert_eq!(sandbox.sends_to(digits(&person(1))).await.len(), 1);
    assert_eq!(sandbox.told("m").await, [""; 0]);
}

#[tokio::test]
async fn a_full_queue_asks_moengage_to_come_again_and_takes_more_when_it_has_drained() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox).env("MAX_QUEUE", "3");
    let gateway = Gateway::start(&sandbox, setup).await;
    gateway.channel("pause").await;
    for n in 0..3 {
        gateway.accept(&format!("m{n}"), &person(n)).await;
    }
    let body = order_update("m3", &person(3)).to_string();
    let url = format!("{}/jumper_send_whatsapp", gateway.url);
    let request = gateway.http.post(url).header("apikey", TOKEN).body(body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 429);
    let wait: u32 = answer.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(
        body,
        json!({ "message": "Too many requests, try again later" })
    );
    // What was accepted stays accepted, also for a caller that asks again.
    gateway.accept("m0", &person(0)).await;
    gateway.channel("resume").await;
    gateway.drained().await;
    gateway.accept("m3", &person(3)).await;
    assert_eq!(gateway.drained().await["accepted"], 4);
    assert_eq!(sandbox.counts().await["sends_accepted"], 4);
}

#[tokio::test]
async fn b_01_messages_that_come_together_keep_their_own_content() {
    let (sandbox, gateway) = pair().await;
    let body = |n: usize| {
        let values = json!([{ "type": "body", "parameters": [
            { "type": "text", "text": format!("name {n}") },
            { "type": "text", "text": format!("order {n}") } ] }]);
        send(
            &format!("m{n}"),
            &person(n),
            "order_update",
            "en_US",
            values,
        )
    };
    let answers = together(&gateway, (0..200).map(body).collect()).await;
    assert!(answers.iter().all(|(status, _)| *status == 200));
    assert_eq!(gateway.drained().await["accepted_by_provider"], 200);
    for n in 0..200 {
        let sends = sandbox.sends_to(digits(&person(n))).await;
        assert_eq!(sends.len(), 1);
        let values = json!([{ format!("name {n}"): "text" }, { format!("order {n}"): "text" }]);
        assert_eq!(sends[0]["message_params"]["BODY"], values);
    }
}
