//! Rules over the wire: what is answered, who is concerned, and that lists are made of what there is.

use super::*;

async fn rule(client: &Client, rule: Value) {
    let (status, shown) = client.post("/_sandbox/rules", rule).await;
    assert_eq!(status, 200, "{shown}");
}

#[tokio::test]
async fn one_recipient_is_answered_as_the_rule_says_and_the_others_are_not() {
    let client = Client::start(json!({"event_mode": "none"})).await;
    let wish = json!({"route": "send", "recipient": "+12025550143", "next": 2, "status": 429,
        "headers": {"Retry-After": 7, "X-Wall": "yes"}, "bytes": "hex:7b22ff"});
    rule(&client, wish).await;
    let call = client.send("12025550143", HOURS, &json!({})).send().await;
    let answer = call.unwrap();
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()["retry-after"], "7");
    assert_eq!(answer.headers()["x-wall"], "yes");
    assert_eq!(answer.bytes().await.unwrap().as_ref(), b"{\"\xff");
    assert_eq!(client.hours("12025550100").await.0, 200);
    assert_eq!(client.hours("12025550143").await.0, 429);
    assert_eq!(client.hours("12025550143").await.0, 200);
    let sends = client.sandbox.sends(9);
    let to: Vec<_> = sends.iter().map(|send| send.to.as_str()).collect();
    assert_eq!(to, ["12025550100", "12025550143"]);
    let (_, shown) = client.get("/_sandbox/rules").await;
    let rule = &shown["rules"][0];
    assert_eq!((&rule["used"], &rule["over"]), (&json!(2), &json!(true)));
    assert_eq!(rule["bytes"], "hex:7b22ff");
    assert_eq!(shown["shape"]["routes"]["dlr"], "POST /moengage/dlr");
}

#[tokio::test]
async fn a_callback_is_kept_as_it_came_whatever_it_was_answered() {
    let client = Client::start(json!({})).await;
    let wishes = json!([
        {"route": "dlr", "next": 2, "status": 503, "body": "busy"},
        {"route": "dlr", "next": 1, "outcome": "accept_then_502_html"},
    ]);
    rule(&client, wishes).await;
    let good = json!({"statuses": [{"msg_id": "a", "status": "sent", "timestamp": "1930000000"}]});
    let bad = json!({"statuses": []});
    let mut answers = Vec::new();
    for body in [&good, &bad, &bad, &bad, &good] {
        answers.push(client.post("/moengage/dlr/one", body.clone()).await.0);
    }
    assert_eq!(answers, [503, 503, 502, 400, 200]);
    let (_, posts) = client.get("/_sandbox/posts?endpoint=one&limit=4").await;
    let bodies: Vec<_> = posts
        .as_array()
        .unwrap()
        .iter()
        .map(|post| text(&post["body"]))
        .collect();
    assert_eq!(bodies, [&bad, &bad, &bad, &good].map(ToString::to_string));
    let (_, posts) = client.get("/_sandbox/posts?endpoint=two").await;
    assert_eq!(posts, json!([]));
    assert_eq!(client.sandbox.counts().callback_invalid, 3);
}

#[tokio::test]
async fn a_message_may_be_taken_before_the_rule_answers() {
    let client = Client::start(json!({"event_mode": "none"})).await;
    let wish = json!({"route": "send", "template": "store_hours", "status": 500, "body": "oops",
        "taken": true, "next": 1});
    rule(&client, wish).await;
    let order = client.send("1", ORDER, &json!({}));
    assert_eq!(answer(order).await.0, 200, "another template");
    assert_eq!(client.hours("2").await, (500, json!("oops")));
    assert_eq!(client.sandbox.sends(9).len(), 2);
    let wish = json!({"route": "send", "template": HOURS, "body": {"error": 1}});
    rule(&client, wish).await;
    assert_eq!(client.hours("3").await, (200, json!({"error": 1})));
    assert_eq!(client.sandbox.sends(9).len(), 2);
}

#[tokio::test]
async fn every_route_can_be_ruled_and_rules_are_cleared() {
    let client = Client::start(json!({})).await;
    let routes = [
        "send",
        "list",
        "detail",
        "social",
        "refresh",
        "token",
        "subscribe",
        "list_subscription",
        "dlr",
    ];
    let all = routes.map(|route| json!({"route": route, "status": 418, "body": route}));
    rule(&client, json!(all)).await;
    let teapot = |route: &str| (418, json!(route));
    assert_eq!(client.hours("1").await, teapot("send"));
    for (path, route) in [
        ("/chat/fetch-whatsapp-templates", "list"),
        ("/chat/get-whatsapp-template?id=1", "detail"),
        ("/chat/get-social-channels", "social"),
        ("/app/list-subscription", "list_subscription"),
    ] {
        assert_eq!(client.get(path).await, teapot(route));
    }
    // Who is not known is answered by the rule too, as by a wall in front of the real one.
    assert_eq!(client.refresh("made up").await, teapot("refresh"));
    for (path, route) in [("/oauth/token", "token"), ("/moengage/dlr", "dlr")] {
        let known =
            json!({"statuses": [{"msg_id": "a", "status": "sent", "timestamp": "1930000001"}]});
        assert_eq!(client.post(path, known).await, teapot(route));
    }
    let token = client.token.lock().unwrap().clone();
    let call = client.http.post(client.url("/app/add-subscription"));
    assert_eq!(answer(call.bearer_auth(token)).await, teapot("subscribe"));
    let (_, shown) = client.get("/_sandbox/rules").await;
    let used = shown["rules"].as_array().unwrap();
    assert!(used.iter().all(|one| one["used"] == 1), "{shown}");
    let cleared = client.http.delete(client.url("/_sandbox/rules"));
    assert_eq!(answer(cleared).await.0, 200);
    assert_eq!(client.hours("1").await.0, 200);
    assert_eq!(client.get("/_sandbox/rules").await.1["rules"], json!([]));
}

#[tokio::test]
async fn a_bad_rule_is_refused_by_name_and_none_of_its_list_is_kept() {
    let client = Client::start(json!({})).await;
    let bad =
        json!([{"route": "send", "status": 503}, {"route": "send", "next": "two", "status": 503}]);
    let (status, reason) = client.post("/_sandbox/rules", bad).await;
    assert_eq!(status, 400);
    assert!(text(&reason["error"]).starts_with("next: "), "{reason}");
    assert_eq!(client.get("/_sandbox/rules").await.1["rules"], json!([]));
}

#[tokio::test]
async fn lists_are_emptied_halved_and_cut_with_a_cursor() {
    let client = Client::start(json!({})).await;
    let path = "/chat/fetch-whatsapp-templates?limit=all";
    let names = |list: &Value| -> Vec<String> {
        let data = list["data"].as_array().unwrap();
        data.iter().map(|one| text(&one["template_name"])).collect()
    };
    let whole = names(&client.get(path).await.1);
    for list in ["empty", "half", "next"] {
        rule(&client, json!({"route": "list", "next": 1, "list": list})).await;
    }
    let (_, empty) = client.get(path).await;
    assert_eq!((names(&empty).len(), &empty["next"]), (0, &Value::Null));
    let (_, half) = client.get(path).await;
    assert_eq!(
        (names(&half), &half["next"]),
        (whole[..whole.len() / 2].to_vec(), &Value::Null)
    );
    let (_, first) = client.get(path).await;
    let cursor = text(&first["next"]);
    let (_, rest) = client.get(&format!("{path}&next={cursor}")).await;
    assert_eq!([names(&first), names(&rest)].concat(), whole);
    assert_eq!(names(&client.get(path).await.1), whole);
    let two = json!([{"webhook": "http://a"}, {"webhook": "http://b"}]);
    let put = client.http.put(client.url("/_sandbox/subscriptions"));
    assert_eq!(answer(put.json(&two)).await.0, 200);
    rule(
        &client,
        json!({"route": "list_subscription", "list": "half"}),
    )
    .await;
    let (_, listed) = client.get("/app/list-subscription").await;
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_subscribed_url_is_kept_in_another_spelling() {
    let client = Client::start(json!({"subscription_url": "rewritten"})).await;
    let token = client.token.lock().unwrap().clone();
    let data = json!([{"permission": "livechat", "webhook": "http://Hook.Example:8/In/S"}]);
    let call = client.http.post(client.url("/app/add-subscription"));
    let call = call.bearer_auth(token).form(&[("data", data.to_string())]);
    assert_eq!(answer(call).await.0, 200);
    let (_, listed) = client.get("/app/list-subscription").await;
    assert_eq!(listed["data"][0]["webhook"], "http://hook.example:8/In/S/");
}

#[tokio::test]
async fn replies_come_from_any_number_from_a_user_id_and_as_raw_bytes() {
    let (client, hook) = hooked(json!({"event_mode": "none"})).await;
    let (_, sent) = client.hours("12025550143").await;
    let id = &sent["message_id"];
    let reply = async |wish: Value| client.post("/_sandbox/reply", wish).await;
    for wish in [
        json!({"to": "447700900123", "text": "unasked"}),
        json!({"message_id": id, "to": "447700900123", "text": "forwarded", "kind": "quoted"}),
        json!({"message_id": id, "user_id": "US.20250143", "text": "STOP", "kind": "quoted"}),
    ] {
        let (status, delivery) = reply(wish).await;
        assert_eq!((status, &delivery["status"]), (200, &json!(200)));
    }
    let bodies = hook.bodies();
    let person = |n: usize| bodies[n]["event"]["data"]["mobile"].clone();
    assert_eq!(person(0), "7700900123");
    assert_eq!(person(1), "7700900123");
    assert_eq!(person(2), "US.20250143");
    for n in [1, 2] {
        assert_eq!(
            &bodies[n]["event"]["data"]["replytomessage"]["messageid"],
            id
        );
    }
    assert_eq!(bodies[2]["event"]["data"]["mobilecountrycode"], Value::Null);
    // `S`, half of a pair, and no base64.
    let wish = json!({"to": "12025550143", "bytes": "hex:535c7564383364"});
    assert_eq!(reply(wish).await.0, 200);
    let last = hook.got.lock().unwrap().last().cloned();
    assert!(last.unwrap().contains("\"message\":\"S\\ud83d\""));
    let wish = json!({"to": "1", "bytes": "?"});
    assert_eq!(reply(wish).await.0, 400);
    let raw = json!({"bytes": "e30="});
    assert_eq!(client.post("/_sandbox/events", raw).await.0, 200);
    assert_eq!(hook.got.lock().unwrap().last().unwrap(), "{}");
}
