//! People as they are: numbers that WhatsApp spells in another way than MoEngage, a STOP as people
//! write it, and numbers inside ids.

use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use serde_json::{Value, json};

async fn quiet() -> (Sandbox, Gateway) {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    (sandbox, gateway)
}

/// A chat message of whoever this is, with what it answers, as Jumper tells it.
pub(crate) fn says(from: &str, text: &str, answers: Option<&str>) -> Value {
    let mut data =
        json!({ "message": text, "mobilecountrycode": null, "mobile": from, "agent": null });
    if let Some(id) = answers {
        data["replytomessage"] = json!({ "messageid": id, "replied": true });
    }
    json!({ "event": { "type": "NEW", "subscription_type": "livechat", "data": data } })
}

/// What MoEngage was told of the latest reply to a message.
async fn reply(sandbox: &Sandbox, msg_id: &str) -> Value {
    until(&format!("a reply to {msg_id}"), async || {
        let entries = sandbox.entries(msg_id).await;
        entries.into_iter().rfind(|entry| entry["type"].is_string())
    })
    .await
}

/// Sends; the provider's id, which older versions show as well.
async fn taken(gateway: &Gateway, msg_id: &str, to: &str) -> String {
    gateway.accept(msg_id, to).await;
    receipt_of(gateway, msg_id).await
}

async fn receipt_of(gateway: &Gateway, msg_id: &str) -> String {
    until(&format!("{msg_id} has a receipt"), async || {
        let message = gateway.message(msg_id).await;
        message["provider_id"].as_str().map(str::to_owned)
    })
    .await
}

async fn is_refused(gateway: &Gateway, msg_id: &str, to: &str) {
    assert_eq!(
        code_of(&gateway.post(&order_update(msg_id, to)).await),
        "7003",
        "{msg_id} to {to}"
    );
}

/// The number that is dialled, and WhatsApp's id of the person; and the other way round.
const SPELLINGS: [(&str, &str); 8] = [
    ("525512345678", "5215512345678"),
    ("5216641234567", "526641234567"),
    ("541123456789", "5491123456789"),
    ("5492214567890", "542214567890"),
    ("5511987654321", "551187654321"),
    ("556199998888", "5561999998888"),
    ("22995123456", "2290195123456"),
    ("2290161123456", "22961123456"),
];

#[tokio::test]
async fn r_18_a_stop_counts_however_whatsapp_spells_the_number_that_was_dialled() {
    let (sandbox, gateway) = quiet().await;
    for (n, (dialled, whatsapp)) in SPELLINGS.into_iter().enumerate() {
        let first = format!("m{n}");
        let to = format!("+{dialled}");
        taken(&gateway, &first, &to).await;
        let sends = sandbox.sends_to(dialled).await;
        assert_eq!(sends.len(), 1, "dialled as MoEngage wrote it");
        assert_eq!(gateway.event(&says(whatsapp, "STOP", None)).await, 200);
        let told = reply(&sandbox, &first).await;
        assert_eq!(told["context"]["msg_id"], first.as_str());
        assert_eq!(
            told["from"],
            to.as_str(),
            "the person as MoEngage knows them"
        );
        is_refused(&gateway, &format!("a{n}"), &to).await;
        is_refused(&gateway, &format!("b{n}"), &format!("+{whatsapp}")).await;
        assert_eq!(gateway.event(&says(whatsapp, "START", None)).await, 200);
        taken(&gateway, &format!("c{n}"), &to).await;
        taken(&gateway, &format!("d{n}"), &format!("+{whatsapp}")).await;
    }
}

#[tokio::test]
async fn r_18_a_status_that_names_the_other_number_proves_an_unknown_send() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let setup = Setup::towards(&sandbox).set("breaker.failures=100");
    let gateway = Gateway::start(&sandbox, setup).await;
    for (n, (dialled, whatsapp)) in SPELLINGS.into_iter().enumerate() {
        let msg_id = format!("m{n}");
        sandbox.script("send", &["accept_then_close"]).await;
        gateway.accept(&msg_id, &format!("+{dialled}")).await;
        gateway.until_state(&msg_id, "unknown").await;
        let mut one = meta_status(&format!("P{n}"), "delivered", 1_930_125_600);
        one["recipient_id"] = json!(whatsapp);
        assert_eq!(gateway.event(&meta(&[vec![change(&[one])]])).await, 200);
        until_told(&sandbox, &msg_id, &["delivered"]).await;
    }
}

#[tokio::test]
async fn r_18_whoever_asks_for_a_person_finds_them_by_either_number() {
    let (_sandbox, gateway) = quiet().await;
    for (n, (dialled, whatsapp)) in SPELLINGS.into_iter().enumerate() {
        gateway
            .accept(&format!("m{n}"), &format!("+{dialled}"))
            .await;
        let (status, found) = gateway
            .ops_send("POST", "/api/search", json!({ "id": whatsapp }))
            .await;
        assert_eq!(status, 200, "{found}");
        assert!(found.to_string().contains(&format!("\"m{n}\"")), "{found}");
    }
}

#[tokio::test]
async fn r_18_of_a_person_with_many_messages_the_newest_to_either_number_are_shown() {
    let (_sandbox, gateway) = quiet().await;
    let (dialled, whatsapp) = SPELLINGS[0];
    for n in 0..50 {
        let to = if n % 2 == 0 { dialled } else { whatsapp };
        gateway.accept(&format!("m{n}"), &format!("+{to}")).await;
    }
    let (status, found) = gateway
        .ops_send("POST", "/api/search", json!({ "id": dialled }))
        .await;
    assert_eq!(status, 200, "{found}");
    let shown = found["messages"].as_array().unwrap();
    let of = |name: &str| -> Vec<&str> {
        shown
            .iter()
            .map(|one| one[name].as_str().unwrap())
            .collect()
    };
    let ids = of("msg_id");
    assert_eq!(ids.len(), 20);
    // A fraction of a second may be of any length.
    let times: Vec<jiff::Timestamp> = of("accepted_at")
        .iter()
        .map(|time| time.parse().unwrap())
        .collect();
    assert!(
        times.is_sorted_by(|newer, older| newer >= older),
        "{times:?}"
    );
    for n in 40..50 {
        assert!(ids.contains(&&*format!("m{n}")), "{ids:?}");
    }
}

#[tokio::test]
async fn r_18_a_stop_by_the_number_of_before_the_plan_grew_counts() {
    let (sandbox, gateway) = quiet().await;
    let to = "+2250707081234";
    taken(&gateway, "m0", to).await;
    assert_eq!(gateway.event(&says("22507081234", "STOP", None)).await, 200);
    assert_eq!(reply(&sandbox, "m0").await["from"], to);
    is_refused(&gateway, "m1", to).await;
}

#[tokio::test]
async fn r_19_a_national_zero_in_brackets_is_neither_dialled_nor_another_person() {
    let (sandbox, gateway) = quiet().await;
    for (n, (to, dialled)) in [
        ("+44 (0) 7911 123456", "447911123456"),
        ("+49 (0) 1512 3456789", "4915123456789"),
        ("+39 06 1234 5678", "390612345678"),
        ("+48 (0) 512 345 678", "48512345678"),
        ("+39 (0) 347 123 4567", "393471234567"),
        ("+375 (8) 029 123-45-67", "375291234567"),
    ]
    .into_iter()
    .enumerate()
    {
        taken(&gateway, &format!("m{n}"), to).await;
        assert_eq!(sandbox.sends_to(dialled).await.len(), 1, "{to}");
        assert_eq!(gateway.event(&says(dialled, "STOP", None)).await, 200);
        assert_eq!(
            reply(&sandbox, &format!("m{n}")).await["from"],
            format!("+{dialled}")
        );
        is_refused(&gateway, &format!("a{n}"), to).await;
        is_refused(&gateway, &format!("b{n}"), &format!("+{dialled}")).await;
    }
}

#[tokio::test]
async fn r_20_a_stop_is_heard_however_it_is_written() {
    let (_sandbox, gateway) = quiet().await;
    for (n, text) in [
        "\"STOP\"",
        "*STOP*",
        "STOP 🛑",
        "\u{200f}ST\u{200b}OP",
        "ＳＴＯＰ",
        "Arre\u{302}ter les messages",
        "UNSUBSCRİBE",
        "opt\u{2011}out",
        "退订短信",
    ]
    .into_iter()
    .enumerate()
    {
        let to = number(n);
        assert_eq!(gateway.event(&says(&to[1..], text, None)).await, 200);
        is_refused(&gateway, &format!("m{n}"), &to).await;
    }
    for (n, text) in ["please stop by", "no", "alto", "fin", "🛑", "退订"]
        .into_iter()
        .enumerate()
    {
        let to = number(100 + n);
        assert_eq!(gateway.event(&says(&to[1..], text, None)).await, 200);
        gateway.accept(&format!("o{n}"), &to).await;
    }
}

/// A message of a template that Jumper lists as MARKETING.
fn promotion(msg_id: &str, to: &str) -> Value {
    let name = json!({ "type": "body", "parameters": [{ "type": "text", "text": "Ana" }] });
    send(msg_id, to, "welcome_back", "en", json!([name]))
}

/// Promotions are refused, with this text, also after a START, and order updates go.
async fn promotions_alone_are_refused(gateway: &Gateway, id: &str, to: &str) {
    for n in 0..2 {
        let answer = gateway.post(&promotion(&format!("{id}-p{n}"), to)).await;
        assert_eq!(code_of(&answer), "7003", "{id}");
        let text = answer.1["error"]["message"].as_str();
        assert_eq!(text, Some("Recipient opted out of marketing messages"));
        taken(gateway, &format!("{id}-u{n}"), to).await;
        assert_eq!(gateway.event(&says(&to[1..], "START", None)).await, 200);
    }
}

#[tokio::test]
async fn r_21_the_text_of_whatsapps_own_button_stops_promotions_only() {
    let (sandbox, gateway) = quiet().await;
    for (n, text) in ["Stop promotions", "*STOP PROMOTIONS!*", "Parar promoções"]
        .into_iter()
        .enumerate()
    {
        let (id, to) = (format!("m{n}"), number(n));
        let quoted = taken(&gateway, &id, &to).await;
        let tap = says(&to[1..], text, Some(&quoted));
        assert_eq!(gateway.event(&tap).await, 200);
        assert_eq!(reply(&sandbox, &id).await["context"]["msg_id"], id.as_str());
        promotions_alone_are_refused(&gateway, &id, &to).await;
        let history = gateway.message(&id).await["history"].to_string();
        assert!(history.contains("who opts out (marketing)"), "{history}");
        // STOP is about everything, as before.
        assert_eq!(gateway.event(&says(&to[1..], "STOP", None)).await, 200);
        is_refused(&gateway, &format!("{id}-s"), &to).await;
    }
    let metrics = gateway.metrics().await;
    for counted in [r#"{scope="marketing"} 3"#, r#"{scope="all"} 3"#] {
        let line = format!("gateway_opt_outs_total{counted}");
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
    until("both scopes are logged", async || {
        let output = gateway.process.output();
        let scopes = ["scope=\"marketing\"", "scope=\"all\""];
        let named =
            |scope: &str| output.contains(scope) || output.contains(&scope.replace('"', ""));
        scopes.into_iter().all(named).then_some(())
    })
    .await;
}

/// A failure of a message because the person stopped promotions, in the shapes of a webhook; also where
/// numbers beside the code look like one of a phone, or the code comes late.
fn stopped(id: &str) -> [Value; 8] {
    let title = "User has stopped marketing messages";
    let mut one = meta_status(id, "failed", ago(0));
    one["errors"] = json!([{ "code": 131_050, "title": title }]);
    let by_vonage = |title: &str, detail: &str| {
        let mut data = vonage(id, "rejected");
        data["event"]["data"]["error"] = json!({ "title": title, "detail": detail });
        data
    };
    let because = |reason: &str| {
        update(json!({ "messageid": id, "agent": 7, "status": "failed", "fail_reason": reason }))
    };
    [
        meta(&[vec![change(&[one])]]),
        by_vonage("131050", title),
        because(&format!("(#131050) {title}")),
        update(json!({ "messageid": id, "agent": 7, "status": "failed",
            "error": { "code": "131050", "message": title } })),
        by_vonage("1340", &format!("131050 {title}")),
        because("HTTP 400 131050"),
        because("131050 (24h)"),
        because(&format!("{}131050", "not sent ".repeat(40))),
    ]
}

#[tokio::test]
async fn r_21_a_failed_status_with_131050_stops_promotions_in_each_shape_of_a_webhook() {
    let (sandbox, gateway) = quiet().await;
    for n in 0..stopped("").len() {
        let (id, to) = (format!("m{n}"), number(n));
        let provider_id = taken(&gateway, &id, &to).await;
        assert_eq!(gateway.event(&stopped(&provider_id)[n]).await, 200);
        until_told(&sandbox, &id, &["failed"]).await;
        let error = &sandbox.entries(&id).await[0]["error"];
        assert_eq!(error["code"], "7003", "{error}");
        let message = gateway.message(&id).await.to_string();
        assert!(message.contains("opted out of marketing"), "{message}");
        promotions_alone_are_refused(&gateway, &id, &to).await;
    }
}

#[tokio::test]
async fn r_21_a_promotion_that_waits_is_failed_and_not_sent_and_others_are_sent() {
    let (sandbox, gateway) = quiet().await;
    let (to, other) = (number(0), number(1));
    taken(&gateway, "m0", &to).await;
    gateway.channel("pause").await;
    for (msg_id, to) in [("p0", &to), ("p1", &other)] {
        gateway.accept_body(&promotion(msg_id, to)).await;
    }
    gateway.accept("u0", &to).await;
    let tap = says(&to[1..], "Stop promotions", None);
    assert_eq!(gateway.event(&tap).await, 200);
    gateway.channel("resume").await;
    receipt_of(&gateway, "u0").await;
    receipt_of(&gateway, "p1").await;
    until_told(&sandbox, "p0", &["failed"]).await;
    let told = sandbox.entries("p0").await;
    assert_eq!(told[0]["error"]["code"], "7003", "{told:?}");
    assert_eq!(sandbox.sends_to(&to[1..]).await.len(), 2, "m0 and u0");
    assert_eq!(gateway.drained().await["lost"], 0);
}

#[tokio::test]
async fn r_22_a_stop_of_a_user_id_counts_for_whom_the_quoted_message_went_to() {
    let (sandbox, gateway) = quiet().await;
    let to = number(0);
    let id = taken(&gateway, "m0", &to).await;
    let user = "US.13491208655302741918";
    // Without a message of ours nobody knows whose it is: kept, and nobody is opted out.
    for answers in [None, Some("unheard-of")] {
        assert_eq!(gateway.event(&says(user, "STOP", answers)).await, 200);
    }
    taken(&gateway, "m1", &to).await;
    assert_eq!(gateway.event(&says(user, "STOP", Some(&id))).await, 200);
    let told = reply(&sandbox, "m0").await;
    assert_eq!(
        (&told["from"], &told["text"]["body"]),
        (&json!(to), &json!("STOP"))
    );
    is_refused(&gateway, "m2", &to).await;
    assert_eq!(gateway.event(&says(user, "START", Some(&id))).await, 200);
    taken(&gateway, "m3", &to).await;
}

/// What WhatsApp calls the person of number(0) as well: no rule leads from one to the other.
const OTHER_NUMBER: &str = "12025550777";
const USER: &str = "US.13491208655302741918";

/// A status that names its person so.
fn names(id: &str, word: &str, number: Option<&str>, user: Option<&str>) -> Value {
    let mut one = meta_status(id, word, 1_930_125_600);
    one["recipient_id"] = json!(number);
    one["recipient_user_id"] = json!(user);
    meta(&[vec![change(&[one])]])
}

#[tokio::test]
async fn r_18_a_stop_by_a_number_that_a_status_named_counts_for_the_one_that_was_dialled() {
    let (sandbox, gateway) = quiet().await;
    let to = number(0);
    // Before anybody knows whose it is.
    assert_eq!(gateway.event(&says(OTHER_NUMBER, "STOP", None)).await, 200);
    let id = taken(&gateway, "m0", &to).await;
    let delivered = names(&id, "delivered", Some(OTHER_NUMBER), None);
    assert_eq!(gateway.event(&delivered).await, 200);
    is_refused(&gateway, "m1", &to).await;
    // Undone and done again under the learnt number, after a restart too; by another text, as the same one
    // within a minute is told once.
    let start = says(OTHER_NUMBER, "START", None);
    assert_eq!(gateway.event(&start).await, 200);
    taken(&gateway, "m2", &to).await;
    let sends = sandbox.sends_to(OTHER_NUMBER).await;
    assert!(sends.is_empty(), "what is dialled is what MoEngage wrote");
    let gateway = gateway.restart(&sandbox).await;
    assert_eq!(gateway.event(&says(OTHER_NUMBER, "stop", None)).await, 200);
    let told = reply(&sandbox, "m2").await;
    assert_eq!(told["from"], to.as_str(), "as MoEngage knows them");
    is_refused(&gateway, "m3", &to).await;
    is_refused(&gateway, "m4", &format!("+{OTHER_NUMBER}")).await;
    let person = json!({ "id": OTHER_NUMBER });
    let (_, found) = gateway.ops_send("POST", "/api/search", person).await;
    let found = found.to_string();
    assert!(
        found.contains("\"m0\"") && found.contains("\"m2\""),
        "{found}"
    );
}

#[tokio::test]
async fn r_22_a_stop_of_a_user_id_alone_counts_once_it_was_said_whose_it_is() {
    let (sandbox, gateway) = quiet().await;
    let (to, also) = (number(0), number(1));
    let id = taken(&gateway, "m0", &to).await;
    assert_eq!(gateway.event(&says(USER, "Hello", Some(&id))).await, 200);
    reply(&sandbox, "m0").await;
    assert_eq!(gateway.event(&says(USER, "STOP", None)).await, 200);
    is_refused(&gateway, "m1", &to).await;
    let told = until("the STOP is told", async || {
        let told = reply(&sandbox, "m0").await;
        (told["text"]["body"] == "STOP").then_some(told)
    })
    .await;
    assert_eq!(told["from"], to.as_str());
    // A STOP that came before counts once a status names both.
    let other = "US.ENT.77Ab20";
    assert_eq!(gateway.event(&says(other, "STOP", None)).await, 200);
    let id = taken(&gateway, "m2", &also).await;
    let read = names(&id, "read", Some(&also[1..]), Some(other));
    assert_eq!(gateway.event(&read).await, 200);
    is_refused(&gateway, "m3", &also).await;
    let output = gateway.process.output();
    for id in [USER, other] {
        assert!(!output.contains(&id[3..]), "{id} in\n{output}");
    }
}

#[tokio::test]
async fn r_18_a_number_that_two_people_are_called_by_is_one_s_and_counted() {
    let (_sandbox, gateway) = quiet().await;
    let (to, also) = (number(0), number(1));
    for (msg_id, to) in [("m0", &to), ("m1", &also)] {
        let id = taken(&gateway, msg_id, to).await;
        let delivered = names(&id, "delivered", Some(OTHER_NUMBER), None);
        assert_eq!(gateway.event(&delivered).await, 200);
    }
    let metrics = gateway.metrics().await;
    let conflicts = "gateway_alias_conflicts_total{account=\"default\"}";
    assert_eq!(figure(&metrics, conflicts), 1.0);
    assert_eq!(gateway.event(&says(OTHER_NUMBER, "STOP", None)).await, 200);
    is_refused(&gateway, "m2", &to).await;
    taken(&gateway, "m3", &also).await;
}

#[tokio::test]
async fn r_23_a_number_between_letters_is_masked_in_logs_and_lists() {
    let (_sandbox, gateway) = quiet().await;
    let id = "27ab8b96-1234-4d7c-8bcf-123456789012";
    for msg_id in ["u12025550143-x", "camp+1 202 555 0143", "u39066982-x", id] {
        // Refused and said so in the log.
        assert_eq!(
            code_of(&gateway.post(&order_update(msg_id, "+120255")).await),
            "7002"
        );
    }
    let shown = ["u12*******43-x", "camp+1 2** *** **43", "u39****82-x", id];
    until("all are told", async || {
        let output = gateway.process.output();
        (shown.iter().all(|shown| output.contains(shown))).then_some(())
    })
    .await;
    let output = gateway.process.output();
    for number in ["12025550143", "202 555 0143", "39066982"] {
        assert!(!output.contains(number), "{number}");
    }
}
