//! The queues towards MoEngage.

use super::*;
use Status::{Delivered, Read, Sent};

fn queue() -> LaneOf {
    lane("a", Lane::Status)
}

fn later(seconds: i64) -> RelayOutcome {
    RelayOutcome::Later { due: at(seconds) }
}

fn dead() -> RelayOutcome {
    RelayOutcome::Dead {
        reason: "refused with HTTP 400".into(),
    }
}

/// A message with three statuses to tell.
async fn three() -> Rig {
    let rig = Rig::new();
    rig.sent("m1", 1, "P1", 0).await;
    for status in [Sent, Delivered, Read] {
        rig.event("P1", status, None, 1).await;
    }
    rig
}

fn status(one: &PendingCallback) -> Status {
    match &one.callback {
        Callback::Status(entry) => entry.status,
        Callback::Inbound(_) => panic!(),
    }
}

#[tokio::test]
async fn one_of_a_message_is_under_way_at_a_time() {
    let rig = three().await;
    for expected in [Sent, Delivered, Read] {
        let due = rig.callbacks(&queue(), 5).await;
        assert_eq!(due.len(), 1);
        assert_eq!(status(&due[0]), expected);
        assert!(rig.callbacks(&queue(), 5).await.is_empty(), "it is taken");
        rig.end(&queue(), due[0].handle, taken(), 5).await;
        rig.check(&["a"]);
    }
    let ledger = rig.ledger();
    assert_eq!((ledger.callbacks_waiting, ledger.callbacks_taken), (0, 3));
}

#[tokio::test]
async fn a_message_that_waits_holds_back_its_own_only() {
    let rig = three().await;
    rig.sent("m2", 2, "P2", 2).await;
    rig.event("P2", Sent, None, 2).await;
    let due = rig.callbacks(&queue(), 5).await;
    assert_eq!(due.len(), 2);
    rig.end(&queue(), due[0].handle, later(60), 5).await;
    rig.end(&queue(), due[1].handle, taken(), 5).await;
    rig.event("P2", Read, None, 6).await;
    assert_eq!(rig.statuses(59).await, ["m2 read"]);
    let next = rig.store.next_callback_due(&queue()).await.unwrap();
    assert_eq!(next, Some(at(60)));
    let due = rig.callbacks(&queue(), 60).await;
    assert_eq!(
        (status(&due[0]), due[0].tries, due[0].created),
        (Sent, 1, at(1))
    );
    assert_eq!(rig.store.next_callback_due(&queue()).await.unwrap(), None);
    rig.check(&["a"]);
}

#[tokio::test]
async fn a_dead_letter_makes_way_for_the_next() {
    let rig = three().await;
    let due = rig.callbacks(&queue(), 5).await;
    rig.end(&queue(), due[0].handle, dead(), 5).await;
    rig.check(&["a"]);
    let shown = rig.record("m1").await.callbacks;
    assert_eq!(
        shown,
        [
            "sent: given up, refused with HTTP 400",
            "delivered: waits for MoEngage, tried 0 times",
            "read: waits for the one before it",
        ]
    );
    assert_eq!(rig.statuses(5).await, ["m1 delivered", "m1 read"]);
    let ledger = rig.ledger();
    assert_eq!(
        (
            ledger.callbacks_waiting,
            ledger.callbacks_taken,
            ledger.dead_letters
        ),
        (0, 2, 1)
    );
    // New events of the message do not wait for what is dead.
    rig.sent("m2", 1, "P2", 6).await;
    rig.event("P2", Read, None, 6).await;
    assert_eq!(rig.statuses(6).await, ["m2 read"]);
    rig.check(&["a"]);
}

#[tokio::test]
async fn a_second_end_of_a_callback_changes_nothing() {
    for first in [taken(), dead()] {
        for second in [taken(), dead(), later(9)] {
            let rig = three().await;
            let handle = rig.callbacks(&queue(), 5).await[0].handle;
            rig.end(&queue(), handle, first.clone(), 5).await;
            let before = rig.ledger();
            rig.end(&queue(), handle, second, 6).await;
            assert_eq!(rig.ledger(), before);
            rig.check(&["a"]);
        }
    }
}

#[tokio::test]
async fn one_success_makes_the_others_due() {
    let rig = three().await;
    let handle = rig.callbacks(&queue(), 5).await[0].handle;
    rig.end(&queue(), handle, later(900), 5).await;
    assert!(rig.callbacks(&queue(), 6).await.is_empty());
    rig.store
        .hasten_callbacks(&lane("b", Lane::Status), at(6))
        .await
        .unwrap();
    rig.store
        .hasten_callbacks(&lane("a", Lane::Inbound), at(6))
        .await
        .unwrap();
    assert!(rig.callbacks(&queue(), 6).await.is_empty());
    rig.store.hasten_callbacks(&queue(), at(6)).await.unwrap();
    assert_eq!(rig.callbacks(&queue(), 6).await.len(), 1);
}

#[tokio::test]
async fn after_a_restart_everything_is_due_and_nothing_is_taken() {
    let rig = three().await;
    rig.sent("m2", 2, "P2", 1).await;
    rig.event("P2", Sent, None, 1).await;
    let due = rig.callbacks(&queue(), 5).await;
    assert_eq!(due.len(), 2);
    rig.end(&queue(), due[0].handle, later(9_000), 5).await;
    let rig = rig.reopened();
    let due = rig.callbacks(&queue(), 6).await;
    assert_eq!(due.len(), 2);
    assert_eq!(due.iter().map(|one| one.tries).collect::<Vec<_>>(), [1, 0]);
    rig.check(&["a"]);
}

/// Handles are leases: one that was given back must not hide another's callback.
#[tokio::test]
async fn a_handle_is_never_used_twice() {
    let rig = Rig::new();
    rig.sent("m1", 1, "P1", 0).await;
    let mut handles = Vec::new();
    for status in [Sent, Delivered, Read] {
        rig.event("P1", status, None, 1).await;
        let handle = rig.callbacks(&queue(), 5).await[0].handle;
        rig.end(&queue(), handle, taken(), 5).await;
        handles.push(handle);
    }
    handles.dedup();
    assert_eq!(handles.len(), 3, "{handles:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn takers_at_once_never_take_the_same() {
    let rig = Rig::new();
    for number in 0..40 {
        let id = format!("P{number}");
        rig.sent(&format!("m{number}"), number, &id, 0).await;
        rig.event(&id, Sent, None, 1).await;
    }
    for _ in 0..20 {
        let all = (0..20).map(|_| {
            let store = rig.store.clone();
            tokio::spawn(async move { store.take_callbacks(&queue(), 7, at(5)).await.unwrap() })
        });
        let mut handles = Vec::new();
        for one in all.collect::<Vec<_>>() {
            handles.extend(one.await.unwrap().iter().map(|one| one.handle));
        }
        let count = handles.len();
        handles.sort_unstable();
        handles.dedup();
        assert_eq!((count, handles.len()), (40, 40));
        let ends = handles.into_iter().map(|handle| (handle, later(5)));
        let queue = queue();
        let settled = rig.store.settle_callbacks(&queue, ends.collect(), at(5));
        settled.await.unwrap();
    }
}

/// What cannot be read must not hold back its lane.
#[tokio::test]
async fn a_callback_that_cannot_be_read_becomes_a_dead_letter() {
    let rig = three().await;
    rig.sent("m2", 2, "P2", 2).await;
    rig.event("P2", Sent, None, 2).await;
    let damage = "UPDATE callback SET body = '{}' WHERE id = (SELECT min(id) FROM callback)";
    testing::beside(rig.dir.path()).execute(damage, []).unwrap();
    assert_eq!(
        rig.statuses(5).await,
        ["m2 sent", "m1 delivered", "m1 read"]
    );
    let ledger = rig.ledger();
    assert_eq!((ledger.callbacks_waiting, ledger.dead_letters), (0, 1));
    rig.check(&["a"]);
}

/// The queue of one channel never waits for another's, even for the same person.
#[tokio::test]
async fn replies_of_one_person_wait_per_channel() {
    let rig = Rig::new();
    for name in ["a", "b"] {
        let rules = EventRules {
            relay_unmatched: true,
            ..rules(name)
        };
        for text in ["one", "two"] {
            let events = vec![Incoming::Reply(reply(1, text))];
            rig.events_with(rules.clone(), events, 1).await;
        }
    }
    let first = rig.callbacks(&lane("a", Lane::Inbound), 5).await;
    assert_eq!(first.len(), 1);
    assert_eq!(rig.relayed(&lane("b", Lane::Inbound), 5).await.len(), 2);
    rig.end(&lane("a", Lane::Inbound), first[0].handle, taken(), 6)
        .await;
    assert_eq!(rig.relayed(&lane("a", Lane::Inbound), 6).await.len(), 1);
    rig.check(&["a", "b"]);
}
