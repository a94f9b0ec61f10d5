//! Sending, events, ambiguous answers, the rate.

use super::*;

#[tokio::test]
async fn a_send_is_answered_flat_and_its_events_follow_in_order() {
    let (client, hook) = hooked(json!({"event_shapes": ["gen2"], "share_read": 1})).await;
    let params = json!({"BODY": [{"Ana": "text"}, {"A-1": "text"}], "HEADER": [], "BUTTONS": []});
    let (status, first) = answer(client.send("+12025550143", ORDER, &params)).await;
    assert_eq!((status, &first["success"]), (200, &json!(true)));
    let (_, again) = answer(client.send("12025550143", ORDER, &params)).await;
    assert_eq!(first["conversationid"], again["conversationid"]);
    assert_ne!(first["message_id"], again["message_id"]);
    assert!(client.sandbox.quiesced(Duration::from_secs(5)).await);
    let of_first = |body: &Value| body["event"]["data"]["message_uuid"] == first["message_id"];
    let words: Vec<_> = hook
        .bodies()
        .iter()
        .filter(|body| of_first(body))
        .map(|body| text(&body["event"]["data"]["status"]))
        .collect();
    assert_eq!(words, ["submitted", "delivered", "read"]);
    let counts = client.sandbox.counts();
    assert_eq!(
        (
            counts.sends_accepted,
            counts.recipients,
            counts.recipients_repeated
        ),
        (2, 1, 1)
    );
    assert_eq!((counts.events_planned, counts.events_acknowledged), (6, 6));
    let (_, by) = client.get("/_sandbox/sends/by-recipient").await;
    assert_eq!(by, json!({"12025550143": 2}));
    let (_, sends) = client
        .get("/_sandbox/sends?to=%2B12025550143&limit=1")
        .await;
    assert_eq!(sends[0]["message_id"], again["message_id"]);
    assert_eq!(sends[0]["message_params"], params);
    let id = text(&first["message_id"]);
    let (_, events) = client
        .get(&format!("/_sandbox/events?message_id={id}"))
        .await;
    assert_eq!(events.as_array().unwrap().len(), 3);
    assert_eq!(events[2]["acknowledged"], 200);
    client.sandbox.stop().await;
}

#[tokio::test]
async fn weak_validation_accepts_what_is_rejected_later() {
    let (client, hook) = hooked(json!({"event_shapes": ["gen2"]})).await;
    let (_, sent) = answer(client.send("1", ORDER, &json!({"BODY": []}))).await;
    assert_eq!(sent["success"], true);
    let (status, unknown) = answer(client.send("1", "404", &json!({}))).await;
    assert_eq!((status, &unknown["success"]), (200, &json!(false)));
    let (_, pending) = answer(client.send("1", "5000000000000011", &json!({}))).await;
    assert!(text(&pending["errorMessage"]).contains("approved"));
    assert!(client.sandbox.quiesced(Duration::from_secs(5)).await);
    let bodies = hook.bodies();
    assert_eq!(bodies.len(), 1);
    assert_eq!(bodies[0]["event"]["data"]["status"], "rejected");
    assert_eq!(bodies[0]["event"]["data"]["error"]["title"], "132000");
    assert_eq!(client.sandbox.counts().refused, 2);
}

#[tokio::test]
async fn legacy_urlencoded_addressing_is_accepted() {
    let client = Client::start(json!({"event_mode": "none", "ids_as_numbers": true})).await;
    let token = client.token.lock().unwrap().clone();
    let message = format!("s3ndt3mpl4te_{HOURS}");
    let form = [
        ("pageid", "7"),
        ("conversationid", "12025550143"),
        ("message", message.as_str()),
    ];
    let call = client
        .http
        .post(client.url("/chat/send-message"))
        .bearer_auth(token)
        .form(&form);
    let (_, sent) = answer(call).await;
    assert!(sent["conversationid"].is_u64(), "{sent}");
    assert_eq!(client.sandbox.sends(1)[0].to, "12025550143");
    let (status, _) = client.get("/fetch-whatsapp-templates").await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn an_ambiguous_answer_is_spoiled_after_the_effect() {
    let client = Client::start(json!({"event_mode": "none"})).await;
    let outcomes = [
        "accept_then_close",
        "close_before",
        "accept_then_truncated",
        "accept_then_502_html",
        "accept_non_json",
        "accept_then_half_json",
        "503",
        "refuse:no such page",
        "refuse_400",
        "fault:500:policies.ratelimit.QuotaViolation",
        "401",
        "accept_then_slow:0.05",
        "hang:0.05",
    ];
    let rules = outcomes.map(|name| json!({"route": "send", "next": 1, "outcome": name}));
    assert_eq!(client.post("/_sandbox/rules", json!(rules)).await.0, 200);
    let mut got = Vec::new();
    for (n, _) in outcomes.iter().enumerate() {
        let call = client.send(&n.to_string(), HOURS, &json!({}));
        got.push(appearance(call).await);
    }
    assert_eq!(
        got,
        [
            "no answer",
            "no answer",
            "200 cut",
            "502 other",
            "200 other",
            "200 other",
            "503 other",
            "200 json",
            "400 json",
            "500 json",
            "401 json",
            "200 json",
            "no answer",
        ]
    );
    let accepted: Vec<_> = client
        .sandbox
        .sends(99)
        .into_iter()
        .map(|send| send.to)
        .collect();
    assert_eq!(accepted, ["0", "2", "3", "4", "5", "11"]);
    let bad = json!({"route": "send", "outcome": "explode"});
    let (status, reason) = client.post("/_sandbox/rules", bad).await;
    assert!(
        status == 400 && text(&reason["error"]).contains("explode"),
        "{reason}"
    );
}

/// How an answer looks to a client.
async fn appearance(call: RequestBuilder) -> String {
    let Ok(response) = call.send().await else {
        return "no answer".to_owned();
    };
    let status = response.status().as_u16();
    match response.text().await {
        Err(_) => format!("{status} cut"),
        Ok(body) if serde_json::from_str::<Value>(&body).is_ok() => format!("{status} json"),
        Ok(_) => format!("{status} other"),
    }
}

#[tokio::test]
async fn a_call_over_the_rate_has_no_effect() {
    let knobs =
        json!({"event_mode": "none", "rate_per_second": 5, "rate_status": 500, "retry_after_s": 2});
    let client = Client::start(knobs).await;
    let mut limited = 0;
    for n in 0..8 {
        let (status, body) = client.hours(&n.to_string()).await;
        if status == 500 {
            limited += 1;
            let code = text(&body["fault"]["detail"]["errorcode"]);
            assert!(code.starts_with("policies.ratelimit."), "{code}");
        }
    }
    assert_eq!(limited, 3);
    assert_eq!(client.sandbox.counts().sends_accepted, 5);
    let (_, rate) = client.get("/_sandbox/rate").await;
    assert_eq!(
        (&rate["max_in_any_second"], &rate["limited"]),
        (&json!(8), &json!(3))
    );
}

#[tokio::test]
async fn an_event_may_arrive_before_the_answer_and_is_repeated_when_refused() {
    let knobs = json!({
        "event_first": 1, "event_shapes": ["gen3"], "share_read": 0, "event_delay_ms": 100,
        "webhook_retries": 2, "webhook_retry_ms": 1,
    });
    let (client, hook) = hooked(knobs).await;
    *hook.answers.lock().unwrap() = vec![503, 503];
    let (_, sent) = client.hours("12025550143").await;
    assert_eq!(hook.bodies().len(), 3);
    assert!(client.sandbox.quiesced(Duration::from_secs(5)).await);
    let bodies = hook.bodies();
    assert_eq!((bodies.len(), &bodies[0]), (4, &bodies[2]));
    let statuses = &bodies[3]["event"]["data"]["entry"][0]["changes"][0]["value"]["statuses"];
    assert_eq!(statuses[0]["id"], sent["message_id"]);
    assert_eq!(statuses[0]["status"], "delivered");
    assert_eq!(statuses[0]["recipient_id"], "12025550143");
    let counts = client.sandbox.counts();
    assert_eq!((counts.events_posted, counts.events_acknowledged), (4, 2));
}

#[tokio::test]
async fn the_same_seed_gives_the_same_ids_whatever_the_order() {
    let mut ids = Vec::new();
    for order in [["1", "2", "3"], ["3", "1", "2"]] {
        let client = Client::start(json!({"event_mode": "none"})).await;
        for to in order {
            client.hours(to).await;
        }
        let mut pairs: Vec<_> = client
            .sandbox
            .sends(9)
            .into_iter()
            .map(|send| (send.to, send.message_id))
            .collect();
        pairs.sort();
        ids.push(pairs);
    }
    assert_eq!(ids[0], ids[1]);
}
