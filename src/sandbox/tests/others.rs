//! Tokens, templates, subscriptions, replies, merchants, and the MoEngage side.

use super::*;

#[tokio::test]
async fn refreshing_rotates_and_the_used_token_is_dead() {
    let client = Client::start(json!({"event_mode": "none"})).await;
    assert_eq!(client.hours("1").await.0, 200);
    let (status, replayed) = client.refresh("sandbox-refresh-token").await;
    assert_eq!((status, &replayed["access_token"]), (401, &Value::Null));
    let (_, seed) = client.post("/_sandbox/token/new-seed", json!({})).await;
    let (status, pair) = client.refresh(&text(&seed["refresh_token"])).await;
    assert_eq!((status, &pair["expires_in"]), (200, &json!(7_776_000)));
    let (status, fault) = client.hours("1").await;
    assert_eq!(status, 401);
    assert_eq!(
        fault["fault"]["detail"]["errorcode"],
        "keymanagement.service.invalid_access_token"
    );
    *client.token.lock().unwrap() = text(&pair["access_token"]);
    assert_eq!(client.hours("1").await.0, 200);
    client
        .post("/_sandbox/token/revoke-access", json!({}))
        .await;
    assert_eq!(client.hours("1").await.0, 401);
    client.post("/_sandbox/token/kill-refresh", json!({})).await;
    assert_eq!(client.refresh(&text(&pair["refresh_token"])).await.0, 401);
    let (status, unknown) = client.refresh("made-up").await;
    assert_eq!((status, &unknown["error"]), (400, &json!("invalid_grant")));
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", "made-up"),
    ];
    let call = client.http.post(client.url("/oauth/refresh")).form(&form);
    let wrong = call.basic_auth("sandbox-key", Some("wrong")).send().await;
    let wrong = wrong.unwrap();
    assert_eq!(wrong.status(), 401);
    let wrong: Value = wrong.json().await.unwrap();
    assert_eq!(wrong["error"], "invalid_client");
    let counts = client.sandbox.counts();
    assert_eq!((counts.refreshes, counts.refreshes_denied), (2, 2));
    assert_eq!(counts.refreshes_unknown, 1);
    assert_eq!(counts.calls["unauthorized"], 2);
}

#[tokio::test]
async fn a_lost_refresh_answer_rotates_all_the_same() {
    let client = Client::start(json!({})).await;
    let (_, seed) = client.post("/_sandbox/token/new-seed", json!({})).await;
    let seed = text(&seed["refresh_token"]);
    client.sandbox.turn(|knobs| {
        knobs.refresh_lost_answer = 1;
        knobs.refresh_grace_s = 60;
    });
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", seed.as_str()),
    ];
    let call = client.http.post(client.url("/oauth/refresh"));
    let lost = call
        .basic_auth("sandbox-key", Some("sandbox-secret"))
        .form(&form)
        .send()
        .await;
    assert!(lost.is_err());
    assert_eq!(client.get("/chat/fetch-whatsapp-templates").await.0, 401);
    // The grace period makes the old token good once more.
    assert_eq!(client.refresh(&seed).await.0, 200);
    assert_eq!(client.sandbox.knobs().refresh_lost_answer, 0);
}

#[tokio::test]
async fn templates_are_paged_detailed_and_replaced() {
    let client = Client::start(json!({})).await;
    let (_, page) = client.get("/chat/fetch-whatsapp-templates").await;
    assert_eq!(page["data"].as_array().unwrap().len(), 10);
    let next = text(&page["next"]);
    let (_, rest) = client
        .get(&format!("/chat/fetch-whatsapp-templates?next={next}"))
        .await;
    let (_, all) = client.get("/chat/fetch-whatsapp-templates?limit=all").await;
    let count = |body: &Value| body["data"].as_array().unwrap().len();
    assert_eq!(count(&all), count(&page) + count(&rest));
    assert_eq!((&all["next"], &rest["next"]), (&Value::Null, &Value::Null));
    let slot = all["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["template_name"] == "confirm_slot");
    let id = text(&slot.unwrap()["templates"][0]["id"]);
    let (_, detail) = client
        .get(&format!("/chat/get-whatsapp-template?id={id}"))
        .await;
    assert_eq!(detail["data"]["message"]["BUTTONS"][1]["text"], "Move it");
    assert_eq!(
        detail["data"]["message_params"]["BODY"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let set = json!([{"name": "only", "variants": [{"id": 77, "language": "en", "body": "Hi"}]}]);
    let (status, _) = answer(
        client
            .http
            .put(client.url("/_sandbox/templates"))
            .json(&set),
    )
    .await;
    assert_eq!(status, 200);
    let (_, list) = client.get("/chat/fetch-whatsapp-templates?limit=1").await;
    assert_eq!(list["data"][0]["templates"][0]["id"], "77");
    let (_, social) = client.get("/chat/get-social-channels").await;
    assert!(social["whatsapp"]["id"].is_string());
}

#[tokio::test]
async fn subscriptions_are_replaced_and_foreign_ones_are_not_posted_to() {
    let hook = Hook::default();
    let ours = hook.start().await;
    let foreign = Hook::default();
    let theirs = foreign.start().await;
    let client = Client::start(json!({"event_shapes": ["gen3"], "share_read": 0})).await;
    let seeded = json!([{"permission": "livechat", "webhook": theirs}]);
    answer(
        client
            .http
            .put(client.url("/_sandbox/subscriptions"))
            .json(&seeded),
    )
    .await;
    let data = json!([
        {"permission": "livechat", "webhook": theirs},
        {"permission": "livechat", "webhook": ours},
    ]);
    let token = client.token.lock().unwrap().clone();
    let call = client
        .http
        .post(client.url("/app/add-subscription"))
        .bearer_auth(token);
    let (_, added) = answer(call.form(&[("data", data.to_string())])).await;
    assert_eq!(added["success"], true);
    let (_, listed) = client.get("/app/list-subscription").await;
    assert_eq!(
        listed["data"][1],
        json!({"subscription_type": "livechat", "webhook": ours})
    );
    client.hours("12025550143").await;
    assert!(client.sandbox.quiesced(Duration::from_secs(5)).await);
    assert_eq!((hook.bodies().len(), foreign.bodies().len()), (2, 0));
}

#[tokio::test]
async fn replies_statuses_and_raw_bodies_are_posted_on_demand() {
    let (client, hook) = hooked(json!({"event_mode": "none"})).await;
    let (_, sent) = client.hours("12025550143").await;
    let wish = json!({"to": "+12025550143", "text": "Keep it", "kind": "click"});
    let (status, delivery) = client.post("/_sandbox/reply", wish).await;
    assert_eq!((status, &delivery["status"]), (200, &json!(200)));
    let wish = json!({"message_id": sent["message_id"], "status": "failed", "shape": "gen1", "timestamp": 1_930_000_000});
    assert_eq!(client.post("/_sandbox/status", wish).await.0, 200);
    hook.answers.lock().unwrap().push(400);
    let (_, delivery) = client
        .post("/_sandbox/events", json!({"body": {"raw": "\"no event\""}}))
        .await;
    assert_eq!(delivery["status"], 400);
    let bodies = hook.bodies();
    let click = &bodies[0]["event"]["data"];
    assert_eq!(click["replytomessage"]["messageid"], sent["message_id"]);
    assert_eq!(
        (&click["mobilecountrycode"], &click["mobile"]),
        (&json!("1"), &json!("2025550143"))
    );
    assert_eq!(bodies[1]["event"]["data"]["status"], "rejected");
    assert_eq!(
        bodies[1]["event"]["data"]["timestamp"],
        "2031-02-27T23:06:40Z"
    );
    assert_eq!(bodies[2], "no event");
    let (status, _) = client.post("/_sandbox/reply", json!({"text": "?"})).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn merchants_are_isolated() {
    let client = Client::start(json!({"event_mode": "none"})).await;
    let other =
        json!({"client_key": "k", "client_secret": "s", "refresh_token": "r", "merchant_id": "9"});
    assert_eq!(
        client.post("/_sandbox/merchants", other.clone()).await.0,
        200
    );
    assert_eq!(client.post("/_sandbox/merchants", other).await.0, 400);
    // The other application's refresh token is no good with our credentials.
    assert_eq!(client.refresh("r").await.0, 401);
    let (_, templates) = client.get("/_sandbox/templates?merchant=9").await;
    let id = text(&templates[0]["variants"][0]["id"]);
    let (status, _) = answer(client.send("1", &id, &json!({}))).await;
    assert_eq!(status, 401);
    client.hours("1").await;
    let (_, theirs) = client.get("/_sandbox/counts?merchant=9").await;
    assert_eq!(theirs["sends_accepted"], 0);
    assert_eq!(client.get("/_sandbox/counts?merchant=8").await.0, 404);
}

#[tokio::test]
async fn moengage_checks_stores_and_misbehaves() {
    let client = Client::start(json!({})).await;
    let entry = |id: &str| json!({"statuses": [{"msg_id": id, "status": "sent", "timestamp": "1930000001"}]});
    assert_eq!(
        client.post("/moengage/dlr", entry("a")).await,
        (200, json!({"status": "success"}))
    );
    client.post("/moengage/dlr", entry("a")).await;
    assert_eq!(
        client
            .post("/moengage/dlr", json!({"statuses": [{}]}))
            .await
            .0,
        400
    );
    client.sandbox.turn(|knobs| {
        knobs.moengage_reject_msg_ids = vec!["bad".into()];
        knobs.moengage_lying = true;
        knobs.moengage_only = Some("one".into());
    });
    assert_eq!(client.post("/moengage/dlr/one", entry("bad")).await.0, 400);
    assert_eq!(
        client.post("/moengage/dlr/two", entry("bad")).await,
        (200, json!({"status": "success"}))
    );
    let (status, lie) = client.post("/moengage/dlr/one", entry("b")).await;
    assert_eq!((status, &lie["status"]), (200, &json!("failure")));
    client
        .sandbox
        .turn(|knobs| knobs.moengage_lose_answer_share = 1.0);
    let lost = client
        .http
        .post(client.url("/moengage/dlr/one"))
        .json(&entry("c"))
        .send()
        .await;
    assert!(lost.is_err());
    let counts = client.sandbox.counts();
    assert_eq!(
        (
            counts.callback_posts,
            counts.callback_duplicates,
            counts.callback_invalid
        ),
        (7, 1, 1)
    );
    assert_eq!(counts.callback_entries["sent"], 5);
    let (_, found) = client.get("/_sandbox/callbacks?msg_id=c").await;
    assert_eq!(
        (&found[0]["endpoint"], &found[0]["status"]),
        (&json!("one"), &json!("sent"))
    );
    client.post("/_sandbox/reset", json!({})).await;
    assert_eq!(client.sandbox.counts().callback_posts, 0);
}

#[tokio::test]
async fn knobs_are_read_and_patched_at_run_time() {
    let client = Client::start(json!({})).await;
    let patch = |body: Value| answer(client.http.patch(client.url("/_sandbox/knobs")).json(&body));
    let (status, knobs) = patch(json!({"latency_ms": 3, "webhook_parallel": 2})).await;
    assert_eq!((status, &knobs["latency_ms"]), (200, &json!(3)));
    let (status, reason) = patch(json!({"latencyms": 3})).await;
    assert!(
        status == 400 && text(&reason["error"]).contains("latencyms"),
        "{reason}"
    );
    let (_, knobs) = client.get("/_sandbox/knobs").await;
    assert_eq!(knobs["webhook_parallel"], 2);
    assert_eq!(client.get("/_sandbox/idle").await.1["idle"], true);
}
