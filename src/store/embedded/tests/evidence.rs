//! Unknown outcomes and what proves them (DESIGN G3).

use super::*;
use Status::{Delivered, Read, Sent};

#[tokio::test]
async fn one_id_and_one_unknown_message_belong_together() {
    let rig = Rig::new();
    rig.lost("m1", 1, 0, 600).await;
    let folded = rig.event("P1", Sent, Some(1), 5).await;
    assert_eq!((folded.inferred, folded.emitted), (1, 1));
    assert_eq!(folded.ring, [channel("a")]);
    let record = rig.record("m1").await;
    assert_eq!(record.state, State::Accepted);
    assert_eq!(
        (record.provider_id.as_deref(), record.inferred),
        (Some("P1"), true)
    );
    rig.event("P1", Read, None, 6).await;
    assert_eq!(rig.statuses(6).await, ["m1 sent", "m1 read"]);
    assert!(rig.sweep(false, 700).await.failed.is_empty());
    rig.check(&["a"]);
}

#[tokio::test]
async fn the_event_may_come_before_the_outcome_is_lost() {
    let rig = Rig::new();
    let handle = rig.attempt("m1", 1, 0).await;
    assert_eq!(rig.event("P1", Sent, Some(1), 1).await.inferred, 0);
    let folded = rig.settle(handle, unknown_until(600), 2).await;
    assert_eq!((folded.inferred, folded.emitted), (1, 1));
    assert_eq!(rig.statuses(2).await, ["m1 sent"]);
}

#[tokio::test]
async fn two_unknown_messages_prove_nothing() {
    let rig = Rig::new();
    rig.lost("m1", 1, 0, 600).await;
    rig.lost("m2", 1, 0, 600).await;
    assert_eq!(rig.event("P1", Sent, Some(1), 5).await.inferred, 0);
    assert_eq!(rig.state("m1").await, State::Unknown);
    assert_eq!(rig.state("m2").await, State::Unknown);
    let swept = rig.sweep(false, 600).await;
    assert_eq!((swept.failed.len(), swept.inferred), (2, 0));
    assert_eq!(rig.statuses(600).await, ["m1 failed", "m2 failed"]);
    rig.check(&["a"]);
}

#[tokio::test]
async fn two_ids_prove_nothing() {
    let rig = Rig::new();
    let handle = rig.attempt("m1", 1, 0).await;
    rig.event("P1", Sent, Some(1), 1).await;
    rig.event("P2", Sent, Some(1), 1).await;
    assert_eq!(rig.settle(handle, unknown_until(600), 2).await.inferred, 0);
    assert_eq!(rig.event("P1", Read, Some(1), 3).await.inferred, 0);
    assert_eq!(rig.sweep(false, 600).await.failed.len(), 1);
    assert_eq!(rig.state("m1").await, State::Failed);
    rig.check(&["a"]);
}

#[tokio::test]
async fn other_people_and_nobody_prove_nothing() {
    let rig = Rig::new();
    rig.lost("m1", 1, 0, 600).await;
    for (id, to) in [("P1", Some(2)), ("P2", None)] {
        assert_eq!(rig.event(id, Sent, to, 5).await.inferred, 0);
    }
    assert_eq!(rig.state("m1").await, State::Unknown);
}

/// While another message to the same person is being sent, an id may be that one's.
#[tokio::test]
async fn an_attempt_to_the_same_person_blocks_until_it_ends() {
    let rig = Rig::new();
    rig.lost("m1", 1, 0, 600).await;
    let other = rig.attempt("m2", 1, 1).await;
    assert_eq!(rig.event("P1", Sent, Some(1), 5).await.inferred, 0);
    let folded = rig.settle(other, receipt("P2"), 6).await;
    assert_eq!(folded.inferred, 1);
    assert_eq!(rig.record("m1").await.provider_id.as_deref(), Some("P1"));

    let rig = Rig::new();
    rig.lost("m1", 1, 0, 600).await;
    let other = rig.attempt("m2", 1, 1).await;
    rig.event("P1", Sent, Some(1), 5).await;
    let folded = rig.settle(other, receipt("P1"), 6).await;
    assert_eq!((folded.inferred, folded.emitted), (0, 1));
    assert_eq!(rig.state("m1").await, State::Unknown);
    assert_eq!(rig.statuses(6).await, ["m2 sent"]);
    rig.check(&["a"]);
}

#[tokio::test]
async fn an_event_before_the_attempt_does_not_count() {
    let rig = Rig::new();
    rig.event("P0", Sent, Some(1), 0).await;
    rig.lost("m1", 1, 10, 600).await;
    assert_eq!(rig.state("m1").await, State::Unknown);
    assert_eq!(rig.event("P1", Sent, Some(1), 11).await.inferred, 1);
    assert_eq!(rig.record("m1").await.provider_id.as_deref(), Some("P1"));
}

/// Whatever was reported, a proof that it was delivered is told.
#[tokio::test]
async fn late_evidence_moves_a_failed_message() {
    let rig = Rig::new();
    rig.lost("m1", 1, 0, 600).await;
    rig.sweep(false, 600).await;
    assert_eq!(rig.statuses(600).await, ["m1 failed"]);
    assert_eq!(rig.ledger().failed, 1);
    for status in [Sent, Delivered, Read] {
        rig.event("P1", status, Some(1), 900).await;
    }
    assert_eq!(rig.statuses(900).await, ["m1 delivered", "m1 read"]);
    let record = rig.record("m1").await;
    assert_eq!((record.state, record.inferred), (State::Accepted, true));
    assert_eq!(
        (rig.ledger().failed, rig.ledger().accepted_by_provider),
        (0, 1)
    );
    rig.check(&["a"]);
}

#[tokio::test]
async fn a_refused_message_needs_no_evidence() {
    let rig = Rig::new();
    let handle = rig.attempt("m1", 1, 0).await;
    rig.settle(handle, Settlement::Failed(refusal()), 1).await;
    assert_eq!(rig.event("P1", Sent, Some(1), 5).await.inferred, 0);
    assert_eq!(rig.state("m1").await, State::Failed);
}

/// After a kill the event is there already; nobody has to wait for the end of the hold.
#[tokio::test]
async fn evidence_from_before_a_restart_counts_at_the_restart() {
    let rig = Rig::new();
    rig.attempt("m1", 1, 0).await;
    rig.attempt("m2", 2, 0).await;
    rig.attempt("m3", 2, 0).await;
    rig.event("P1", Delivered, Some(1), 1).await;
    rig.event("P2", Delivered, Some(2), 1).await;
    let rig = rig.reopened();
    let lost = rig.store.recover(&account(), at(600), at(5)).await.unwrap();
    assert_eq!(lost, 3);
    assert_eq!(rig.state("m1").await, State::Accepted);
    assert_eq!(rig.state("m2").await, State::Unknown, "two unknown, one id");
    assert_eq!(rig.statuses(5).await, ["m1 delivered"]);
    rig.check(&["a"]);
}

#[tokio::test]
async fn an_id_that_was_seen_before_the_attempt_never_proves_it() {
    let rig = Rig::new();
    rig.event("X", Status::Sent, Some(1), 0).await;
    rig.lost("m", 1, 10, 610).await;
    rig.event("X", Status::Read, Some(1), 20).await;
    assert_eq!(rig.state("m").await, State::Unknown);
    rig.event("P", Status::Sent, Some(1), 30).await;
    assert_eq!(rig.record("m").await.provider_id.as_deref(), Some("P"));
}
