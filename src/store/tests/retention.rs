//! What is settled and old goes; what somebody still waits for stays.

use super::*;
use crate::store::Purged;
use tokio::task::JoinSet;

stories! {
    settled_and_old_goes_and_the_ledger_stays,
    a_message_settled_late_stays_its_time,
    a_message_with_a_waiting_callback_or_a_dead_letter_stays,
    early_statuses_without_a_receipt_go_and_are_counted,
    ids_of_replies_are_forgotten_in_time,
    ids_of_many_replies_are_forgotten_in_one_round;
    at_once: many_go_in_one_round,
}

async fn purge(world: &World, settled_before: i64, received_before: i64) -> Purged {
    let purged = world.store.purge(at(settled_before), at(received_before));
    purged.await.unwrap()
}

async fn is_kept(world: &World, id: &str) -> bool {
    let id = MsgId::parse(id).unwrap();
    world.store.is_accepted(&channel("a"), &id).await.unwrap()
}

async fn settled_and_old_goes_and_the_ledger_stays(new: NewWorld) {
    let world = new();
    world.sent("done", 1, "P1", 0).await;
    let claimed = world.attempt("refused", 1, 0).await;
    world
        .settle(&claimed, Settlement::failed(refusal()), 0)
        .await;
    world.statuses(0).await;
    world.attempt("late", 2, 0).await;
    world.lost("unknown", 3, 0, 600).await;
    world.accept("queued", 1, 0).await;
    let before = world.ledger().await;
    assert_eq!(purge(&world, 0, 0).await, Purged::default());
    let purged = purge(&world, 100, 100).await;
    assert_eq!((purged.messages, purged.early_statuses), (2, 0));
    assert_eq!(world.ledger().await, before, "untouched by retention");
    for (id, kept) in [
        ("done", false),
        ("refused", false),
        ("late", true),
        ("unknown", true),
        ("queued", true),
    ] {
        assert_eq!(is_kept(&world, id).await, kept, "{id}");
    }
    assert_eq!(purge(&world, 100, 100).await, Purged::default());
    world.check().await;
}

/// The age counts from the settlement, not from the accept.
async fn a_message_settled_late_stays_its_time(new: NewWorld) {
    let world = new();
    let claimed = world.attempt("m1", 1, 0).await;
    world.settle(&claimed, receipt("P1"), 500).await;
    assert_eq!(purge(&world, 400, 0).await.messages, 0);
    assert_eq!(purge(&world, 501, 0).await.messages, 1);
}

async fn a_message_with_a_waiting_callback_or_a_dead_letter_stays(new: NewWorld) {
    let world = new();
    world.sent("m1", 1, "P1", 0).await;
    world.event("P1", Status::Read, None, 50).await;
    assert_eq!(purge(&world, 49, 49).await, Purged::default());
    assert_eq!(purge(&world, 50, 50).await.messages, 0);
    let queue = lane("a", Destination::Status);
    let handle = world.callbacks(&queue, 60).await[0].handle;
    let dead = RelayOutcome::Dead {
        reason: "refused".into(),
    };
    world.end(&queue, handle, dead, 60).await;
    let purged = purge(&world, 50, 50).await;
    assert_eq!(
        (purged.messages, purged.others),
        (0, 0),
        "it can be replayed"
    );
    let purged = purge(&world, 51, 51).await;
    assert_eq!((purged.messages, purged.others), (1, 1));
    assert_eq!(world.ledger().await.dead_letters, 1);
    world.check().await;
}

async fn early_statuses_without_a_receipt_go_and_are_counted(new: NewWorld) {
    let world = new();
    let media = Incoming::Other {
        kind: "media",
        raw: "{}".into(),
        times: 1,
    };
    world.events(vec![media], 0).await;
    world.event("P1", Status::Sent, Some(1), 0).await;
    world.event("P2", Status::Sent, Some(1), 50).await;
    let purged = purge(&world, 0, 10).await;
    assert_eq!((purged.early_statuses, purged.others), (1, 1));
    assert_eq!(world.ledger().await.expired_events, 1);
    let claimed = world.attempt("m1", 1, 60).await;
    assert_eq!(world.settle(&claimed, receipt("P2"), 60).await.emitted, 1);
}

async fn ids_of_replies_are_forgotten_in_time(new: NewWorld) {
    let world = new();
    let named = || {
        vec![Incoming::Reply(Reply {
            id: Some(provider_id("R1")),
            ..reply(1, "Hello")
        })]
    };
    world.events(named(), 0).await;
    assert_eq!(world.events(named(), 5).await.repeated_replies, 1);
    purge(&world, 0, 0).await;
    assert_eq!(world.events(named(), 5).await.repeated_replies, 1);
    assert_eq!(purge(&world, 10, 0).await.others, 1);
    assert_eq!(world.events(named(), 15).await.repeated_replies, 0);
}

async fn ids_of_many_replies_are_forgotten_in_one_round(new: NewWorld) {
    let world = new();
    let named = |n: u64| {
        Incoming::Reply(Reply {
            id: Some(provider_id(&format!("R{n}"))),
            ..reply(n, "Hello")
        })
    };
    world.events((0..250).map(named).collect(), 0).await;
    let purged = purge(&world, 10, 0).await;
    assert_eq!(purged.others, 250);
    assert_eq!(purge(&world, 10, 0).await.others, 0);
}

/// Retention works in steps; no step forgets what the one before it left.
/// A hundred at a time: Redis has two seconds for each, on a busy machine too.
async fn in_waves(mut work: impl Iterator<Item = impl Future<Output = ()> + Send + 'static>) {
    loop {
        let wave = JoinSet::from_iter(work.by_ref().take(100));
        if wave.is_empty() {
            return;
        }
        wave.join_all().await;
    }
}

async fn many_go_in_one_round(new: NewWorld) {
    let world = new();
    in_waves((0..1300).map(|n| {
        let store = world.store.clone();
        let message = message(&format!("m{n}"), n);
        async move {
            let (channel, account) = (channel("a"), account());
            let accepted = store.accept(&channel, &account, &message, at(0));
            accepted.await.unwrap();
        }
    }))
    .await;
    world.accept("young", 1, 90).await;
    let claims = world.claims(&["a"], 1200, 1).await;
    in_waves(claims.taken.into_iter().enumerate().map(|(n, one)| {
        let store = world.store.clone();
        let end = receipt(&format!("P{n}"));
        async move {
            let settled = store.settle(&one, end, String::new(), at(1));
            settled.await.unwrap();
        }
    }))
    .await;
    let events = (0..1200).map(|n| event(&format!("X{n}"), Status::Sent, None));
    world.events(events.collect(), 1).await;
    let purged = purge(&world, 80, 80).await;
    assert_eq!((purged.messages, purged.early_statuses), (1200, 1200));
    assert_eq!(world.store.count_open().await.unwrap(), [101, 0, 0]);
    world.check().await;
}
