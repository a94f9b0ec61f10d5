//! Write C: each end of an attempt, once.

use super::*;

#[tokio::test]
async fn each_end_has_its_state() {
    let cases = [
        (receipt("P1"), State::Accepted, "receipt"),
        (Settlement::Failed(refusal()), State::Failed, "failed"),
        (Settlement::Retry { due: at(9) }, State::Queued, "retry"),
        (unknown_until(600), State::Unknown, "unknown"),
    ];
    for (end, state, word) in cases {
        let rig = Rig::new();
        let handle = rig.attempt("m1", 1, 0).await;
        rig.settle(handle, end, 5).await;
        let record = rig.record("m1").await;
        assert_eq!(record.state, state);
        let last = record.history.last().unwrap();
        assert_eq!((&*last.what, last.at), (word, at(5).0));
        let due = match state {
            State::Queued => Some(at(9)),
            State::Unknown => Some(at(600)),
            _ => None,
        };
        assert_eq!(record.due, due);
        rig.check(&["a"]);
    }
}

#[tokio::test]
async fn a_second_end_changes_nothing() {
    let ends = || {
        [
            receipt("P2"),
            Settlement::Failed(refusal()),
            Settlement::Retry { due: at(9) },
            unknown_until(600),
        ]
    };
    for first in ends() {
        for second in ends() {
            let rig = Rig::new();
            let handle = rig.attempt("m1", 1, 0).await;
            rig.settle(handle, first.clone(), 1).await;
            let (state, ledger) = (rig.state("m1").await, rig.ledger());
            assert_eq!(rig.settle(handle, second, 2).await, Folded::default());
            assert_eq!((rig.state("m1").await, rig.ledger()), (state, ledger));
        }
    }
}

#[tokio::test]
async fn an_end_of_nothing_changes_nothing() {
    let rig = Rig::new();
    assert_eq!(rig.settle(77, receipt("P1"), 0).await, Folded::default());
    assert_eq!(rig.ledger(), Ledger::default());
}

#[tokio::test]
async fn a_failure_is_told_with_its_reason() {
    let rig = Rig::new();
    let handle = rig.attempt("m1", 1, 0).await;
    let folded = rig.settle(handle, Settlement::Failed(refusal()), 5).await;
    assert_eq!(folded.ring, [channel("a")]);
    let told = rig.relayed(&lane("a", Lane::Status), 5).await;
    let Callback::Status(entry) = &told[0] else {
        panic!()
    };
    assert_eq!((entry.status, entry.at), (Status::Failed, at(5)));
    assert_eq!(entry.error, Some(refusal()));
    assert_eq!(told.len(), 1);
    rig.check(&["a"]);
}

/// Events may overtake the answer to the send they are about.
#[tokio::test]
async fn early_events_wait_for_their_receipt_and_keep_their_order() {
    let rig = Rig::new();
    let handle = rig.attempt("m1", 1, 0).await;
    let early = vec![
        event("P1", Status::Sent, Some(1)),
        event("P2", Status::Read, Some(1)),
        event("P1", Status::Delivered, None),
        event("P1", Status::Sent, None),
    ];
    let folded = rig.events(early, 1).await;
    assert_eq!((folded.unmatched, folded.emitted), (4, 0));
    rig.event("P1", Status::Read, None, 2).await;
    assert!(rig.statuses(2).await.is_empty());
    let folded = rig.settle(handle, receipt("P1"), 3).await;
    assert_eq!((folded.emitted, folded.superseded), (3, 1));
    assert_eq!(folded.ring, [channel("a")]);
    let told = rig.relayed(&lane("a", Lane::Status), 3).await;
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
    assert_eq!(rig.ledger().events, 5);
    let folded = rig.event("P1", Status::Read, None, 9).await;
    assert_eq!((folded.superseded, folded.unmatched), (1, 0));
    rig.check(&["a"]);
}

/// Ids belong to an account: another account's event of the same id is another message's.
#[tokio::test]
async fn ids_of_another_account_match_nothing() {
    let rig = Rig::new();
    rig.sent("m1", 1, "P1", 0).await;
    let foreign = EventRules {
        account: AccountId::parse("other").unwrap(),
        ..rules("b")
    };
    let events = vec![event("P1", Status::Read, Some(1))];
    assert_eq!(rig.events_with(foreign, events, 1).await.unmatched, 1);
    // In through another channel of the same account it is ours, and told on its own channel.
    let events = vec![event("P1", Status::Sent, Some(1))];
    let folded = rig.events_with(rules("b"), events, 1).await;
    assert_eq!(folded.ring, [channel("a")]);
    assert_eq!(rig.statuses(1).await, ["m1 sent"]);
    rig.check(&["a", "b"]);
}
