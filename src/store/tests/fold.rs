//! Statuses go forwards only, once each (design.md G4).

use super::*;
use Status::{Delivered, Failed, Read, Sent};

stories! {
    duplicates_and_lower_ranks_are_not_told,
    what_is_not_told_is_recorded,
    a_failure_after_acceptance_carries_its_text_and_stays_accepted,
    the_time_of_the_event_is_told,
    other_events_are_kept_and_counted,
    endless_repeats_do_not_make_a_record_grow_without_end,
    a_status_dated_before_1970_is_told_like_any_other,
}

async fn told(new: NewWorld, events: &[Status]) -> (Vec<String>, World) {
    let world = new();
    world.sent("m1", 1, "P1", 0).await;
    for status in events {
        world.event("P1", *status, Some(1), 1).await;
    }
    world.check().await;
    (world.statuses(1).await, world)
}

async fn duplicates_and_lower_ranks_are_not_told(new: NewWorld) {
    let cases: [(&[Status], &[&str]); 5] = [
        (&[Sent, Delivered, Read], &["sent", "delivered", "read"]),
        (&[Read, Delivered, Sent, Read], &["read"]),
        (&[Delivered, Failed], &["delivered"]),
        (&[Failed, Delivered], &["failed", "delivered"]),
        (&[Sent, Sent, Failed, Failed], &["sent", "failed"]),
    ];
    for (events, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|word| format!("m1 {word}")).collect();
        assert_eq!(told(new, events).await.0, expected, "{events:?}");
    }
}

async fn what_is_not_told_is_recorded(new: NewWorld) {
    let (_, world) = told(new, &[Read, Sent]).await;
    let history = world.record("m1").await.history;
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

async fn a_failure_after_acceptance_carries_its_text_and_stays_accepted(new: NewWorld) {
    let world = new();
    world.sent("m1", 1, "P1", 0).await;
    world.event("P1", Failed, None, 1).await;
    let told = world.relayed(&lane("a", Destination::Status), 1).await;
    let Callback::Status(entry) = &told[0] else {
        panic!()
    };
    let error = entry.error.clone().unwrap();
    assert_eq!(error.kind, RefusalKind::Other);
    assert!(error.reason.contains("1013 not on WhatsApp"), "{error:?}");
    assert_eq!(world.state("m1").await, State::Accepted);
    assert_eq!(
        (
            world.ledger().await.accepted_by_provider,
            world.ledger().await.failed
        ),
        (1, 0)
    );
}

async fn the_time_of_the_event_is_told(new: NewWorld) {
    let world = new();
    world.sent("m1", 1, "P1", 0).await;
    let dated = Incoming::Status(StatusEvent {
        provider_id: provider_id("P1"),
        status: Read,
        at: Some(at(-5)),
        recipient: None,
        user: None,
        error: None,
    });
    world.events(vec![event("P1", Sent, None), dated], 7).await;
    let told = world.relayed(&lane("a", Destination::Status), 7).await;
    let times: Vec<_> = told
        .iter()
        .map(|callback| match callback {
            Callback::Status(entry) => entry.at,
            Callback::Inbound(entry) => entry.at,
        })
        .collect();
    assert_eq!(times, [at(7), at(-5)]);
}

async fn other_events_are_kept_and_counted(new: NewWorld) {
    let world = new();
    let other = Incoming::Other {
        kind: "media",
        raw: "{}".into(),
        times: 3,
    };
    let folded = world.events(vec![other], 0).await;
    assert_eq!(folded.other, [("media", 3)]);
    assert_eq!(world.ledger().await.events, 3);
}

async fn endless_repeats_do_not_make_a_record_grow_without_end(new: NewWorld) {
    let world = new();
    world.sent("m1", 1, "P1", 0).await;
    world.event("P1", Read, None, 1).await;
    let many = (0..2000).map(|_| event("P1", Sent, None)).collect();
    assert_eq!(world.events(many, 2).await.superseded, 2000);
    let history = world.record("m1").await.history;
    assert!(history.len() < 500, "{} lines", history.len());
    let size: usize = history.iter().map(|line| line.detail.len()).sum();
    assert!(size < 20_000, "{size}");
}

/// Whoever wrote that date.
async fn a_status_dated_before_1970_is_told_like_any_other(new: NewWorld) {
    let world = new();
    let dated = |id: &str, status| match event(id, status, Some(1)) {
        Incoming::Status(event) => Incoming::Status(StatusEvent {
            at: Some(UnixMs(-62_135_596_800_000)),
            ..event
        }),
        other => other,
    };
    let claimed = world.attempt("m1", 1, 0).await;
    world.events(vec![dated("P1", Status::Sent)], 1).await;
    world.event("P1", Status::Read, Some(1), 2).await;
    world.settle(&claimed, receipt("P1"), 3).await;
    assert_eq!(world.statuses(4).await, ["m1 sent", "m1 read"]);
    // Evidence, and retention.
    world.lost("m2", 2, 5, 600).await;
    let proof = event("P2", Status::Sent, Some(2));
    world
        .events(vec![dated("X1", Status::Sent), proof], 6)
        .await;
    assert_eq!(world.state("m2").await, State::Accepted);
    assert_eq!(world.statuses(7).await, ["m2 sent"]);
    let purged = world.store.purge(at(0), at(100)).await.unwrap();
    assert_eq!(purged.early_statuses, 1);
    assert_eq!(world.ledger().await.expired_events, 1);
    world.check().await;
}
