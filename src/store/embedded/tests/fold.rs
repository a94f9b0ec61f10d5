//! Statuses go forwards only, once each (DESIGN G4).

use super::*;
use Status::{Delivered, Failed, Read, Sent};

async fn told(events: &[Status]) -> (Vec<String>, Rig) {
    let rig = Rig::new();
    rig.sent("m1", 1, "P1", 0).await;
    for status in events {
        rig.event("P1", *status, Some(1), 1).await;
    }
    rig.check(&["a"]);
    (rig.statuses(1).await, rig)
}

#[tokio::test]
async fn duplicates_and_lower_ranks_are_not_told() {
    let cases: [(&[Status], &[&str]); 5] = [
        (&[Sent, Delivered, Read], &["sent", "delivered", "read"]),
        (&[Read, Delivered, Sent, Read], &["read"]),
        (&[Delivered, Failed], &["delivered"]),
        (&[Failed, Delivered], &["failed", "delivered"]),
        (&[Sent, Sent, Failed, Failed], &["sent", "failed"]),
    ];
    for (events, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|word| format!("m1 {word}")).collect();
        assert_eq!(told(events).await.0, expected, "{events:?}");
    }
}

#[tokio::test]
async fn what_is_not_told_is_recorded() {
    let (_, rig) = told(&[Read, Sent]).await;
    let history = rig.record("m1").await.history;
    let told: Vec<_> = history
        .iter()
        .skip(3)
        .map(|line| format!("{} {}", line.what, line.detail))
        .collect();
    let expected = [
        "status read",
        "superseded sent after read",
        "relayed read, HTTP 200, try 1",
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_failure_after_acceptance_carries_its_text_and_stays_accepted() {
    let rig = Rig::new();
    rig.sent("m1", 1, "P1", 0).await;
    rig.event("P1", Failed, None, 1).await;
    let told = rig.relayed(&lane("a", Lane::Status), 1).await;
    let Callback::Status(entry) = &told[0] else {
        panic!()
    };
    let error = entry.error.clone().unwrap();
    assert_eq!(error.code, Code::Other);
    assert!(error.reason.contains("1013 not on WhatsApp"), "{error}");
    assert_eq!(rig.state("m1").await, State::Accepted);
    assert_eq!(
        (rig.ledger().accepted_by_provider, rig.ledger().failed),
        (1, 0)
    );
}

#[tokio::test]
async fn the_time_of_the_event_is_told() {
    let rig = Rig::new();
    rig.sent("m1", 1, "P1", 0).await;
    let dated = Incoming::Status(StatusEvent {
        provider_id: provider_id("P1"),
        status: Read,
        at: Some(at(-5)),
        recipient: None,
        error: None,
    });
    rig.events(vec![event("P1", Sent, None), dated], 7).await;
    let told = rig.relayed(&lane("a", Lane::Status), 7).await;
    let times: Vec<_> = told
        .iter()
        .map(|callback| match callback {
            Callback::Status(entry) => entry.at,
            Callback::Inbound(entry) => entry.at,
        })
        .collect();
    assert_eq!(times, [at(7), at(-5)]);
}

#[tokio::test]
async fn other_events_are_kept_and_counted() {
    let rig = Rig::new();
    let other = Incoming::Other {
        kind: "media",
        raw: "{}".into(),
    };
    let folded = rig.events(vec![other], 0).await;
    assert_eq!(folded.other, ["media"]);
    let kept: String = testing::beside(rig.dir.path())
        .query_row("SELECT kind || raw FROM event", [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, "media{}");
    assert_eq!(rig.ledger().events, 1);
}

#[tokio::test]
async fn endless_repeats_do_not_make_a_record_grow_without_end() {
    let rig = Rig::new();
    rig.sent("m1", 1, "P1", 0).await;
    rig.event("P1", Read, None, 1).await;
    let many = (0..2000).map(|_| event("P1", Sent, None)).collect();
    assert_eq!(rig.events(many, 2).await.superseded, 2000);
    let size: i64 = testing::beside(rig.dir.path())
        .query_row("SELECT length(history) FROM message", [], |row| row.get(0))
        .unwrap();
    assert!(size < 20_000, "{size}");
}
