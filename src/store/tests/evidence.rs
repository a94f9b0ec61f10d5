//! Unknown outcomes and what proves them (design.md G3).

use super::*;
use Status::{Delivered, Read, Sent};

stories! {
    one_id_and_one_unknown_message_belong_together,
    the_event_may_come_before_the_outcome_is_lost,
    two_unknown_messages_prove_nothing,
    two_ids_prove_nothing,
    other_people_and_nobody_prove_nothing,
    an_attempt_to_the_same_person_blocks_until_it_ends,
    an_event_before_the_attempt_does_not_count,
    late_evidence_moves_a_failed_message,
    a_refused_message_needs_no_evidence,
    evidence_from_before_a_restart_counts_at_the_restart,
    an_id_that_was_seen_before_the_attempt_never_proves_it,
    a_clock_set_back_between_the_attempt_and_its_status_hides_no_evidence,
    an_id_seen_before_the_attempt_proves_nothing_wherever_the_clock_went,
}

async fn a_clock_set_back_between_the_attempt_and_its_status_hides_no_evidence(new: NewWorld) {
    let world = new();
    world.lost("m1", 1, 3600, 4200).await;
    world.set_back(0).await;
    assert_eq!(world.event("P1", Sent, Some(1), 5).await.inferred, 1);
    assert_eq!(world.statuses(5).await, ["m1 sent"]);
    world.check().await;
}

async fn an_id_seen_before_the_attempt_proves_nothing_wherever_the_clock_went(new: NewWorld) {
    let world = new();
    world.event("P1", Sent, None, 3600).await;
    world.set_back(0).await;
    world.lost("m1", 1, 0, 600).await;
    assert_eq!(world.event("P1", Delivered, Some(1), 5).await.inferred, 0);
    // Its own is told apart from it, also when what was counted before has gone.
    assert_eq!(world.event("P2", Sent, Some(1), 6).await.inferred, 1);
    world.check().await;
}

async fn one_id_and_one_unknown_message_belong_together(new: NewWorld) {
    let world = new();
    world.lost("m1", 1, 0, 600).await;
    let folded = world.event("P1", Sent, Some(1), 5).await;
    assert_eq!((folded.inferred, folded.emitted), (1, 1));
    assert_eq!(folded.wake, [channel("a")]);
    let record = world.record("m1").await;
    assert_eq!(record.state, State::Accepted);
    assert_eq!(
        (record.provider_id.as_deref(), record.inferred),
        (Some("P1"), true)
    );
    world.event("P1", Read, None, 6).await;
    assert_eq!(world.statuses(6).await, ["m1 sent", "m1 read"]);
    assert!(world.sweep(false, 700).await.failed.is_empty());
    world.check().await;
}

async fn the_event_may_come_before_the_outcome_is_lost(new: NewWorld) {
    let world = new();
    let claimed = world.attempt("m1", 1, 0).await;
    assert_eq!(world.event("P1", Sent, Some(1), 1).await.inferred, 0);
    let folded = world.settle(&claimed, unknown_until(600), 2).await;
    assert_eq!((folded.inferred, folded.emitted), (1, 1));
    assert_eq!(world.statuses(2).await, ["m1 sent"]);
}

async fn two_unknown_messages_prove_nothing(new: NewWorld) {
    let world = new();
    world.lost("m1", 1, 0, 600).await;
    world.lost("m2", 1, 0, 600).await;
    assert_eq!(world.event("P1", Sent, Some(1), 5).await.inferred, 0);
    assert_eq!(world.state("m1").await, State::Unknown);
    assert_eq!(world.state("m2").await, State::Unknown);
    let swept = world.sweep(false, 600).await;
    assert_eq!((swept.failed.len(), swept.inferred), (2, 0));
    assert_eq!(world.statuses(600).await, ["m1 failed", "m2 failed"]);
    world.check().await;
}

async fn two_ids_prove_nothing(new: NewWorld) {
    let world = new();
    let claimed = world.attempt("m1", 1, 0).await;
    world.event("P1", Sent, Some(1), 1).await;
    world.event("P2", Sent, Some(1), 1).await;
    assert_eq!(
        world.settle(&claimed, unknown_until(600), 2).await.inferred,
        0
    );
    assert_eq!(world.event("P1", Read, Some(1), 3).await.inferred, 0);
    assert_eq!(world.sweep(false, 600).await.failed.len(), 1);
    assert_eq!(world.state("m1").await, State::Failed);
    world.check().await;
}

async fn other_people_and_nobody_prove_nothing(new: NewWorld) {
    let world = new();
    world.lost("m1", 1, 0, 600).await;
    for (id, to) in [("P1", Some(2)), ("P2", None)] {
        assert_eq!(world.event(id, Sent, to, 5).await.inferred, 0);
    }
    assert_eq!(world.state("m1").await, State::Unknown);
}

/// While another message to the same person is being sent, an id may be that one's.
async fn an_attempt_to_the_same_person_blocks_until_it_ends(new: NewWorld) {
    let world = new();
    world.lost("m1", 1, 0, 600).await;
    let other = world.attempt("m2", 1, 1).await;
    assert_eq!(world.event("P1", Sent, Some(1), 5).await.inferred, 0);
    let folded = world.settle(&other, receipt("P2"), 6).await;
    assert_eq!(folded.inferred, 1);
    assert_eq!(world.record("m1").await.provider_id.as_deref(), Some("P1"));

    let world = new();
    world.lost("m1", 1, 0, 600).await;
    let other = world.attempt("m2", 1, 1).await;
    world.event("P1", Sent, Some(1), 5).await;
    let folded = world.settle(&other, receipt("P1"), 6).await;
    assert_eq!((folded.inferred, folded.emitted), (0, 1));
    assert_eq!(world.state("m1").await, State::Unknown);
    assert_eq!(world.statuses(6).await, ["m2 sent"]);
    world.check().await;
}

async fn an_event_before_the_attempt_does_not_count(new: NewWorld) {
    let world = new();
    world.event("P0", Sent, Some(1), 0).await;
    world.lost("m1", 1, 10, 600).await;
    assert_eq!(world.state("m1").await, State::Unknown);
    assert_eq!(world.event("P1", Sent, Some(1), 11).await.inferred, 1);
    assert_eq!(world.record("m1").await.provider_id.as_deref(), Some("P1"));
}

/// Whatever was reported, a proof that it was delivered is told.
async fn late_evidence_moves_a_failed_message(new: NewWorld) {
    let world = new();
    world.lost("m1", 1, 0, 600).await;
    world.sweep(false, 600).await;
    assert_eq!(world.statuses(600).await, ["m1 failed"]);
    assert_eq!(world.ledger().await.failed, 1);
    for status in [Sent, Delivered, Read] {
        world.event("P1", status, Some(1), 900).await;
    }
    assert_eq!(world.statuses(900).await, ["m1 delivered", "m1 read"]);
    let record = world.record("m1").await;
    assert_eq!((record.state, record.inferred), (State::Accepted, true));
    assert_eq!(
        (
            world.ledger().await.failed,
            world.ledger().await.accepted_by_provider
        ),
        (0, 1)
    );
    world.check().await;
}

async fn a_refused_message_needs_no_evidence(new: NewWorld) {
    let world = new();
    let claimed = world.attempt("m1", 1, 0).await;
    world
        .settle(&claimed, Settlement::failed(refusal()), 1)
        .await;
    assert_eq!(world.event("P1", Sent, Some(1), 5).await.inferred, 0);
    assert_eq!(world.state("m1").await, State::Failed);
}

/// After a kill the event is there already; nobody has to wait for the end of the hold.
async fn evidence_from_before_a_restart_counts_at_the_restart(new: NewWorld) {
    let world = new();
    world.attempt("m1", 1, 0).await;
    world.attempt("m2", 2, 0).await;
    world.attempt("m3", 2, 0).await;
    world.event("P1", Delivered, Some(1), 1).await;
    world.event("P2", Delivered, Some(2), 1).await;
    let world = world.died(5, 595).await;
    assert_eq!(world.state("m1").await, State::Accepted);
    for id in ["m2", "m3"] {
        assert_eq!(world.state(id).await, State::Unknown, "two unknown, one id");
    }
    assert_eq!(world.statuses(5).await, ["m1 delivered"]);
    world.check().await;
}

async fn an_id_that_was_seen_before_the_attempt_never_proves_it(new: NewWorld) {
    let world = new();
    world.event("X", Status::Sent, Some(1), 0).await;
    world.lost("m", 1, 10, 610).await;
    world.event("X", Status::Read, Some(1), 20).await;
    assert_eq!(world.state("m").await, State::Unknown);
    world.event("P", Status::Sent, Some(1), 30).await;
    assert_eq!(world.record("m").await.provider_id.as_deref(), Some("P"));
}
