//! Callbacks: the samples S1 to S5 and I1 to I4 of contracts/moengage.md section 7, and what each
//! kind of answer means.

use crate::domain::callback::Delivery;
use crate::domain::{
    Callback, InboundEntry, MsgId, Phone, Refusal, RefusalKind, ReplyKind, Status, StatusEntry,
    UnixMs,
};
use crate::doors::moengage::batch::{Batch, MAX_BYTES, MAX_ENTRIES, cut};
use crate::doors::moengage::callback::{CallbackSettings, Callbacks};
use crate::doors::moengage::timestamp::TimestampUnit;
use crate::http::outgoing::testing::dropping;
use crate::http::testing::Server;
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use axum::response::IntoResponse;
use axum::routing::post;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

fn status(id: u32, status: Status, seconds: i64) -> Callback {
    Callback::Status(StatusEntry {
        msg_id: MsgId::parse(&format!("6650f1c2_wa_{id:06}")).unwrap(),
        status,
        at: UnixMs(seconds * 1000 + 217),
        error: None,
    })
}

fn failed(id: u32, seconds: i64, kind: RefusalKind, reason: &str) -> Callback {
    let Callback::Status(entry) = status(id, Status::Failed, seconds) else {
        unreachable!()
    };
    Callback::Status(StatusEntry {
        error: Some(Refusal::new(kind, reason)),
        ..entry
    })
}

fn reply(kind: ReplyKind, text: &str, seconds: i64, id: Option<u32>) -> Callback {
    Callback::Inbound(InboundEntry {
        from: Phone::parse("12025550143").unwrap(),
        waba_number: "12025550100".into(),
        at: UnixMs(seconds * 1000),
        kind,
        text: text.into(),
        msg_id: id.map(|id| MsgId::parse(&format!("6650f1c2_wa_{id:06}")).unwrap()),
    })
}

fn rendered(entries: &[Callback]) -> Value {
    serde_json::from_slice(&Batch::new(entries, TimestampUnit::Seconds).bytes()).unwrap()
}

#[test]
fn statuses_render_as_the_samples() {
    for (word, at) in [
        (Status::Sent, 1930000001),
        (Status::Delivered, 1930000004),
        (Status::Read, 1930000090),
    ] {
        let expected = json!({ "statuses": [ { "msg_id": "6650f1c2_wa_000001",
            "status": word.as_str(), "timestamp": at.to_string() } ] });
        assert_eq!(rendered(&[status(1, word, at)]), expected);
    }
    let reason = "Upstream refused the message (upstream code 1234)";
    let expected = json!({ "statuses": [ { "msg_id": "6650f1c2_wa_000004", "status": "failed",
        "timestamp": "1930000005", "error": { "code": "7004", "description": reason } } ] });
    assert_eq!(
        rendered(&[failed(4, 1930000005, RefusalKind::Other, reason)]),
        expected
    );
    let batch = [
        status(5, Status::Sent, 1930000010),
        status(5, Status::Delivered, 1930000013),
        failed(
            6,
            1930000014,
            RefusalKind::Other,
            "Number is not on WhatsApp",
        ),
    ];
    let expected = concat!(
        r#"{"statuses":[{"msg_id":"6650f1c2_wa_000005","status":"sent","timestamp":"1930000010"},"#,
        r#"{"msg_id":"6650f1c2_wa_000005","status":"delivered","timestamp":"1930000013"},"#,
        r#"{"msg_id":"6650f1c2_wa_000006","status":"failed","timestamp":"1930000014","#,
        r#""error":{"code":"7004","description":"Number is not on WhatsApp"}}]}"#
    );
    assert_eq!(Batch::new(&batch, TimestampUnit::Seconds).bytes(), expected);
    let millis = Batch::new(&batch[..1], TimestampUnit::Milliseconds).bytes();
    assert!(String::from_utf8_lossy(&millis).contains(r#""timestamp":"1930000010217""#));
}

#[test]
fn an_error_is_told_with_a_failure_only() {
    let Callback::Status(entry) = failed(1, 5, RefusalKind::Other, "x") else {
        unreachable!()
    };
    let entry = StatusEntry {
        status: Status::Read,
        ..entry
    };
    assert!(
        rendered(&[Callback::Status(entry)])["statuses"][0]
            .get("error")
            .is_none()
    );
}

#[test]
fn replies_render_as_the_samples() {
    let text = |body: &str, at: i64, id: &str| {
        json!({ "from": "+12025550143",
        "waba_number": "12025550100", "timestamp": at.to_string(), "type": "text",
        "context": { "msg_id": id }, "text": { "body": body } })
    };
    let cases = [
        (
            reply(ReplyKind::Text, "When does it arrive?", 1930000200, Some(1)),
            text("When does it arrive?", 1930000200, "6650f1c2_wa_000001"),
        ),
        (
            reply(ReplyKind::Text, "STOP", 1930000210, Some(12)),
            text("STOP", 1930000210, "6650f1c2_wa_000012"),
        ),
        (
            reply(ReplyKind::Text, "Hello", 1930000230, None),
            text("Hello", 1930000230, ""),
        ),
    ];
    for (entry, expected) in cases {
        assert_eq!(rendered(&[entry]), expected);
    }
    let payload = "{'slot':'10:30','reply':'keep'}";
    let kind = ReplyKind::Button {
        payload: payload.into(),
    };
    let expected = json!({ "from": "+12025550143", "waba_number": "12025550100",
        "timestamp": "1930000220", "type": "button",
        "context": { "msg_id": "6650f1c2_wa_000010" },
        "button": { "payload": payload, "text": "Keep it" } });
    assert_eq!(
        rendered(&[reply(kind, "Keep it", 1930000220, Some(10))]),
        expected
    );
}

#[test]
fn a_batch_is_cut_by_kind_number_and_size() {
    let tap = || reply(ReplyKind::Text, "x", 1, None);
    let sent = |n: u32| {
        (0..n)
            .map(|id| status(id, Status::Sent, 1))
            .collect::<Vec<_>>()
    };
    assert_eq!(cut(&[], 50, 1000), 0);
    assert_eq!(cut(&[tap(), tap()], 50, 1000), 1);
    assert_eq!(cut(&sent(50), MAX_ENTRIES, MAX_BYTES), 50);
    assert_eq!(cut(&sent(51), MAX_ENTRIES, MAX_BYTES), 50);
    let mixed = [sent(3), vec![tap()], sent(3)].concat();
    assert_eq!(cut(&mixed, 50, 1000), 3);
    let one = Batch::new(&sent(1), TimestampUnit::Milliseconds)
        .bytes()
        .len();
    let two = Batch::new(&sent(2), TimestampUnit::Milliseconds)
        .bytes()
        .len();
    assert_eq!(cut(&sent(3), 50, two), 2);
    assert_eq!(cut(&sent(3), 50, two - 1), 1);
    assert_eq!(cut(&sent(3), 50, one - 1), 1);
    assert_eq!(cut(&sent(3), 0, 1000), 1);
}

proptest! {
    #[test]
    fn a_cut_batch_fits_and_a_repeat_is_identical(
        reasons in prop::collection::vec(".{0,400}", 1..60), limit in 100usize..20_000, ms in any::<bool>(),
    ) {
        let unit = if ms { TimestampUnit::Milliseconds } else { TimestampUnit::Seconds };
        let entries: Vec<_> = reasons.iter().enumerate()
            .map(|(i, reason)| failed(i as u32, 1930000000, RefusalKind::Other, reason)).collect();
        let (mut rest, mut told) = (&entries[..], 0);
        while !rest.is_empty() {
            let n = cut(rest, MAX_ENTRIES, limit);
            prop_assert!((1..=MAX_ENTRIES).contains(&n));
            let batch = Batch::new(&rest[..n], unit);
            prop_assert!(n == 1 || batch.bytes().len() <= limit);
            prop_assert_eq!(&batch, &Batch::new(&rest[..n], unit));
            let json: Value = serde_json::from_slice(&batch.bytes()).unwrap();
            told += json["statuses"].as_array().unwrap().len();
            rest = &rest[n..];
        }
        prop_assert_eq!(told, entries.len());
    }
}

fn callbacks(timeout: Duration) -> Callbacks {
    // The second test of a process finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Callbacks::new(CallbackSettings {
        timeout,
        ..CallbackSettings::default()
    })
    .unwrap()
}

const PATIENT: Duration = Duration::from_secs(20);

type Script = (StatusCode, HeaderMap, String);

async fn deliver(script: Script) -> Delivery {
    let router = Router::new().route("/dlr", post(async move || script.into_response()));
    let server = Server::plain(router).await;
    let client = callbacks(PATIENT);
    let batch = client.batch(&[status(1, Status::Sent, 1)]);
    client.post(&server.url("/dlr"), &batch).await
}

fn answer(code: u16, body: &str) -> Script {
    (
        StatusCode::from_u16(code).unwrap(),
        HeaderMap::new(),
        body.into(),
    )
}

#[tokio::test]
async fn every_answer_means_one_thing() {
    for (code, body) in [
        (200, ""),
        (204, ""),
        (202, "ok"),
        (200, r#"{"status":"success"}"#),
        (200, r#"{"success":true}"#),
        (200, "[1]"),
    ] {
        let taken = Delivery::Taken {
            http: code,
            warning: None,
        };
        assert_eq!(deliver(answer(code, body)).await, taken, "{code} {body}");
    }
    for body in [
        r#"{"status":"failure"}"#,
        r#"{"status":"ERROR","x":1}"#,
        r#"{"success":false}"#,
    ] {
        let warning = Some(format!(
            "MoEngage answered HTTP 200 but speaks of a failure: {body}"
        ));
        assert_eq!(
            deliver(answer(200, body)).await,
            Delivery::Taken { http: 200, warning }
        );
    }
    for code in [400, 409, 413, 422] {
        let text = "bad entry for 12*******43".to_owned();
        let refused = Delivery::Refused { http: code, text };
        assert_eq!(
            deliver(answer(code, "bad entry\n for 12025550143")).await,
            refused
        );
    }
    // 401 to 410: about the address or the access, not about an entry.
    for code in [401, 403, 404, 405, 408, 410, 429, 500, 502, 503, 504] {
        let reason = format!("HTTP {code} busy");
        let later = Delivery::Later {
            reason,
            retry_after: None,
        };
        assert_eq!(deliver(answer(code, "busy")).await, later);
    }
}

#[tokio::test]
async fn retry_after_is_read_as_seconds_and_as_a_date() {
    let wait = async |value: &str| {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
        match deliver((StatusCode::SERVICE_UNAVAILABLE, headers, String::new())).await {
            Delivery::Later { retry_after, .. } => retry_after,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(wait("120").await, Some(Duration::from_secs(120)));
    assert_eq!(
        wait("Wed, 21 Oct 2015 07:28:00 GMT").await,
        Some(Duration::ZERO)
    );
    let far = wait("Fri, 01 Jan 2100 00:00:00 GMT").await.unwrap();
    assert_eq!(far, Duration::from_secs(3600), "an hour at most");
    assert_eq!(wait("18446744073709551615").await, Some(far));
    assert_eq!(wait("soon").await, None);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let location = format!("http://{}/", target.local_addr().unwrap());
    for code in [301, 302, 307, 308] {
        let headers = HeaderMap::from_iter([(LOCATION, location.parse().unwrap())]);
        let script = (StatusCode::from_u16(code).unwrap(), headers, String::new());
        let reason = format!("HTTP {code}");
        let later = Delivery::Later {
            reason,
            retry_after: None,
        };
        assert_eq!(deliver(script).await, later);
    }
    let followed = tokio::time::timeout(Duration::ZERO, target.accept()).await;
    assert!(followed.is_err());
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let Delivery::Refused { text, .. } = deliver(answer(400, &"x".repeat(5_000_000))).await else {
        panic!("a 400 is a refusal");
    };
    assert_eq!(text, "x".repeat(300));
}

fn reason(delivery: Delivery) -> String {
    match delivery {
        Delivery::Later {
            reason,
            retry_after: None,
        } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn no_answer_means_later_and_names_no_url() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/dlr/secret", silent.local_addr().unwrap());
    let client = callbacks(Duration::from_millis(150));
    let batch = client.batch(&[status(1, Status::Sent, 1)]);
    let late = reason(client.post(&url, &batch).await);
    assert!(late.starts_with("no answer in time"), "{late}");
    drop(silent);
    let (listener, waiting) = dropping(([127, 0, 0, 1], 0).into()).await;
    let url = format!("http://{}/dlr/secret", listener.local_addr().unwrap());
    let unheard = reason(client.post(&url, &batch).await);
    assert!(unheard.starts_with("no answer in time"), "{unheard}");
    drop((listener, waiting));
    let gone = reason(client.post(&url, &batch).await);
    assert!(gone.starts_with("no connection"), "{gone}");
    let broken = reason(client.post("no url/secret", &batch).await);
    for text in [late, unheard, gone, broken] {
        assert!(!text.contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn what_arrives_is_what_was_rendered() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    let handler = async move |headers: HeaderMap, body: String| {
        kept.lock()
            .unwrap()
            .push((headers[CONTENT_TYPE].clone(), body));
    };
    let server = Server::plain(Router::new().route("/dlr", post(handler))).await;
    let client = callbacks(PATIENT);
    let batch = client.batch(&[status(1, Status::Sent, 1), status(2, Status::Read, 2)]);
    for _ in 0..2 {
        let taken = Delivery::Taken {
            http: 200,
            warning: None,
        };
        assert_eq!(client.post(&server.url("/dlr"), &batch).await, taken);
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0].0, "application/json");
    assert_eq!(seen[0].1.as_bytes(), batch.bytes());
    assert_eq!(seen[0], seen[1]);
}
