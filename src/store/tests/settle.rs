//! Write C: each end of an attempt, once.

use super::*;

stories! {
    each_end_has_its_state,
    a_second_end_changes_nothing,
    an_end_of_nothing_changes_nothing,
    a_failure_is_told_with_its_reason,
    early_events_wait_for_their_receipt_and_keep_their_order,
    ids_of_another_account_match_nothing,
}

async fn each_end_has_its_state(new: NewWorld) {
    let cases = [
        (receipt("P1"), State::Accepted, "receipt"),
        (Settlement::failed(refusal()), State::Failed, "failed"),
        (Settlement::retry(at(9)), State::Queued, "retry"),
        (unknown_until(600), State::Unknown, "unknown"),
    ];
    for (end, state, word) in cases {
        let world = new();
        let claimed = world.attempt("m1", 1, 0).await;
        world.settle(&claimed, end, 5).await;
        let record = world.record("m1").await;
        assert_eq!(record.state, state);
        let last = record.history.last().unwrap();
        assert_eq!((&*last.what, last.at), (word, at(5).0));
        let due = match state {
            State::Queued => Some(at(9)),
            State::Unknown => Some(at(600)),
            _ => None,
        };
        assert_eq!(record.due, due);
        if state == State::Failed {
            world.failed_with("m1", "7004 Template paused").await;
        }
        world.check().await;
    }
}

async fn a_second_end_changes_nothing(new: NewWorld) {
    let ends = || {
        [
            receipt("P2"),
            Settlement::failed(refusal()),
            Settlement::retry(at(9)),
            unknown_until(600),
        ]
    };
    for first in ends() {
        for second in ends() {
            let world = new();
            let claimed = world.attempt("m1", 1, 0).await;
            world.settle(&claimed, first.clone(), 1).await;
            let told = async || {
                let record = world.record("m1").await;
                (record.state, record.history.len(), world.ledger().await)
            };
            let before = told().await;
            assert_eq!(world.settle(&claimed, second, 2).await, Folded::default());
            assert_eq!(told().await, before);
        }
    }
}

async fn an_end_of_nothing_changes_nothing(new: NewWorld) {
    let world = new();
    let nothing = ClaimedMessage {
        term: 0,
        handle: 77,
        claim: 1,
        channel: channel("a"),
        message: message("m1", 1),
        attempt: 1,
        aside: false,
        no_marketing: false,
        accepted_at: at(0),
    };
    let settled = world.settle(&nothing, receipt("P1"), 0).await;
    assert_eq!(settled, Folded::default());
    assert_eq!(world.ledger().await, Ledger::default());
}

async fn a_failure_is_told_with_its_reason(new: NewWorld) {
    let world = new();
    let claimed = world.attempt("m1", 1, 0).await;
    let folded = world
        .settle(&claimed, Settlement::failed(refusal()), 5)
        .await;
    assert_eq!(folded.wake, [channel("a")]);
    let told = world.relayed(&lane("a", Destination::Status), 5).await;
    let Callback::Status(entry) = &told[0] else {
        panic!()
    };
    assert_eq!((entry.status, entry.at), (Status::Failed, at(5)));
    assert_eq!(entry.error, Some(refusal()));
    assert_eq!(told.len(), 1);
    world.check().await;
}

/// Events may overtake the answer to the send they are about.
async fn early_events_wait_for_their_receipt_and_keep_their_order(new: NewWorld) {
    let world = new();
    let claimed = world.attempt("m1", 1, 0).await;
    let early = vec![
        event("P1", Status::Sent, Some(1)),
        event("P2", Status::Read, Some(1)),
        event("P1", Status::Delivered, None),
        event("P1", Status::Sent, None),
    ];
    let folded = world.events(early, 1).await;
    assert_eq!((folded.unmatched, folded.emitted), (3, 0));
    assert_eq!(folded.superseded, 1, "said twice");
    world.event("P1", Status::Read, None, 2).await;
    assert!(world.statuses(2).await.is_empty());
    let folded = world.settle(&claimed, receipt("P1"), 3).await;
    assert_eq!((folded.emitted, folded.superseded), (3, 0));
    assert_eq!(folded.wake, [channel("a")]);
    let told = world.relayed(&lane("a", Destination::Status), 3).await;
    let told: Vec<_> = told
        .iter()
        .map(|callback| match callback {
            Callback::Status(entry) => (entry.status, entry.at),
            Callback::Inbound(_) => panic!(),
        })
        .collect();
    let expected = [
        (Status::Sent, at(1)),
        (Status::Delivered, at(1)),
        (Status::Read, at(2)),
    ];
    assert_eq!(told, expected, "with the time of their receipt");
    assert_eq!(world.ledger().await.events, 5);
    let folded = world.event("P1", Status::Read, None, 9).await;
    assert_eq!((folded.superseded, folded.unmatched), (1, 0));
    world.check().await;
}

/// Ids belong to an account: another account's event of the same id is another message's.
async fn ids_of_another_account_match_nothing(new: NewWorld) {
    let world = new();
    world.sent("m1", 1, "P1", 0).await;
    let foreign = EventRules {
        account: AccountId::parse("other").unwrap(),
        ..rules("x")
    };
    let events = vec![event("P1", Status::Read, Some(1))];
    assert_eq!(world.events_with(foreign, events, 1).await.unmatched, 1);
    // In through another channel of the same account it is ours, and told on its own channel.
    let events = vec![event("P1", Status::Sent, Some(1))];
    let folded = world.events_with(rules("b"), events, 1).await;
    assert_eq!(folded.wake, [channel("a")]);
    assert_eq!(world.statuses(1).await, ["m1 sent"]);
    world.check().await;
}
