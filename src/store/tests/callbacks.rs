//! The queues towards MoEngage.

use super::*;
use Status::{Delivered, Read, Sent};

stories! {
    one_of_a_message_is_under_way_at_a_time,
    a_message_that_waits_holds_back_its_own_only,
    a_dead_letter_makes_way_for_the_next,
    a_second_end_of_a_callback_changes_nothing,
    one_success_makes_the_others_due,
    a_handle_is_never_used_twice,
    replies_of_one_person_wait_per_channel;
    at_once: takers_at_once_never_take_the_same,
}

fn queue() -> CallbackQueue {
    lane("a", Destination::Status)
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
async fn three(new: NewWorld) -> World {
    let world = new();
    world.sent("m1", 1, "P1", 0).await;
    for status in [Sent, Delivered, Read] {
        world.event("P1", status, None, 1).await;
    }
    world
}

fn status(one: &PendingCallback) -> Status {
    match &one.callback {
        Callback::Status(entry) => entry.status,
        Callback::Inbound(_) => panic!(),
    }
}

async fn one_of_a_message_is_under_way_at_a_time(new: NewWorld) {
    let world = three(new).await;
    for expected in [Sent, Delivered, Read] {
        let due = world.callbacks(&queue(), 5).await;
        assert_eq!(due.len(), 1);
        assert_eq!(status(&due[0]), expected);
        assert!(world.callbacks(&queue(), 5).await.is_empty(), "it is taken");
        world.end(&queue(), due[0].handle, taken(), 5).await;
        world.check().await;
    }
    let ledger = world.ledger().await;
    assert_eq!((ledger.callbacks_waiting, ledger.callbacks_taken), (0, 3));
}

async fn a_message_that_waits_holds_back_its_own_only(new: NewWorld) {
    let world = three(new).await;
    world.sent("m2", 2, "P2", 2).await;
    world.event("P2", Sent, None, 2).await;
    let due = world.callbacks(&queue(), 5).await;
    assert_eq!(due.len(), 2);
    world.end(&queue(), due[0].handle, later(60), 5).await;
    world.end(&queue(), due[1].handle, taken(), 5).await;
    world.event("P2", Read, None, 6).await;
    assert_eq!(world.statuses(59).await, ["m2 read"]);
    let next = world.store.next_callback_due(&queue()).await.unwrap();
    assert_eq!(next, Some(at(60)));
    let due = world.callbacks(&queue(), 60).await;
    assert_eq!(
        (status(&due[0]), due[0].tries, due[0].created),
        (Sent, 1, at(1))
    );
    assert_eq!(world.store.next_callback_due(&queue()).await.unwrap(), None);
    world.check().await;
}

async fn a_dead_letter_makes_way_for_the_next(new: NewWorld) {
    let world = three(new).await;
    let due = world.callbacks(&queue(), 5).await;
    world.end(&queue(), due[0].handle, dead(), 5).await;
    world.check().await;
    let shown = world.record("m1").await.callbacks;
    assert_eq!(
        shown,
        [
            "sent: given up, refused with HTTP 400",
            "delivered: waits for MoEngage, 0 attempts",
            "read: waits for the one before it",
        ]
    );
    assert_eq!(world.statuses(5).await, ["m1 delivered", "m1 read"]);
    let ledger = world.ledger().await;
    assert_eq!(
        (
            ledger.callbacks_waiting,
            ledger.callbacks_taken,
            ledger.dead_letters
        ),
        (0, 2, 1)
    );
    // New events of the message do not wait for what is dead.
    world.sent("m2", 1, "P2", 6).await;
    world.event("P2", Read, None, 6).await;
    assert_eq!(world.statuses(6).await, ["m2 read"]);
    world.check().await;
}

async fn a_second_end_of_a_callback_changes_nothing(new: NewWorld) {
    for first in [taken(), dead()] {
        for second in [taken(), dead(), later(9)] {
            let world = three(new).await;
            let handle = world.callbacks(&queue(), 5).await[0].handle;
            world.end(&queue(), handle, first.clone(), 5).await;
            let before = world.ledger().await;
            world.end(&queue(), handle, second, 6).await;
            assert_eq!(world.ledger().await, before);
            world.check().await;
        }
    }
}

async fn one_success_makes_the_others_due(new: NewWorld) {
    let world = three(new).await;
    let handle = world.callbacks(&queue(), 5).await[0].handle;
    world.end(&queue(), handle, later(900), 5).await;
    assert!(world.callbacks(&queue(), 6).await.is_empty());
    for other in [
        lane("b", Destination::Status),
        lane("a", Destination::Inbound),
    ] {
        world.store.hasten_callbacks(&other, at(6)).await.unwrap();
    }
    assert!(world.callbacks(&queue(), 6).await.is_empty());
    world.store.hasten_callbacks(&queue(), at(6)).await.unwrap();
    assert_eq!(world.callbacks(&queue(), 6).await.len(), 1);
}

/// Handles are leases: one that was given back must not hide another's callback.
async fn a_handle_is_never_used_twice(new: NewWorld) {
    let world = new();
    world.sent("m1", 1, "P1", 0).await;
    let mut handles = Vec::new();
    for status in [Sent, Delivered, Read] {
        world.event("P1", status, None, 1).await;
        let handle = world.callbacks(&queue(), 5).await[0].handle;
        world.end(&queue(), handle, taken(), 5).await;
        handles.push(handle);
    }
    handles.dedup();
    assert_eq!(handles.len(), 3, "{handles:?}");
}

async fn takers_at_once_never_take_the_same(new: NewWorld) {
    let world = new();
    for number in 0..40 {
        let id = format!("P{number}");
        world.sent(&format!("m{number}"), number, &id, 0).await;
        world.event(&id, Sent, None, 1).await;
    }
    for _ in 0..20 {
        let all = (0..20).map(|_| {
            let store = world.store.clone();
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
        let settled = world.store.settle_callbacks(&queue, ends.collect(), at(5));
        settled.await.unwrap();
    }
}

/// The queue of one channel never waits for another's, even for the same person.
async fn replies_of_one_person_wait_per_channel(new: NewWorld) {
    let world = new();
    for name in ["a", "b"] {
        let rules = EventRules {
            relay_unmatched: true,
            ..rules(name)
        };
        for text in ["one", "two"] {
            let events = vec![Incoming::Reply(reply(1, text))];
            world.events_with(rules.clone(), events, 1).await;
        }
    }
    let first = world.callbacks(&lane("a", Destination::Inbound), 5).await;
    assert_eq!(first.len(), 1);
    assert_eq!(
        world
            .relayed(&lane("b", Destination::Inbound), 5)
            .await
            .len(),
        2
    );
    world
        .end(
            &lane("a", Destination::Inbound),
            first[0].handle,
            taken(),
            6,
        )
        .await;
    assert_eq!(
        world
            .relayed(&lane("a", Destination::Inbound), 6)
            .await
            .len(),
        1
    );
    world.check().await;
}
