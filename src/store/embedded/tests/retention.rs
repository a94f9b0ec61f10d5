//! What is settled and old goes; what somebody still waits for stays.

use super::*;
use crate::store::Purged;

async fn purge(rig: &Rig, settled_before: i64, received_before: i64) -> Purged {
    let purged = rig.store.purge(at(settled_before), at(received_before));
    purged.await.unwrap()
}

async fn is_kept(rig: &Rig, id: &str) -> bool {
    let id = MsgId::parse(id).unwrap();
    rig.store.is_accepted(&channel("a"), &id).await.unwrap()
}

#[tokio::test]
async fn settled_and_old_goes_and_the_ledger_stays() {
    let rig = Rig::new();
    rig.sent("done", 1, "P1", 0).await;
    let handle = rig.attempt("refused", 1, 0).await;
    rig.settle(handle, Settlement::Failed(refusal()), 0).await;
    rig.statuses(0).await;
    rig.attempt("late", 2, 0).await;
    let handle = rig.lost("unknown", 3, 0, 600).await;
    rig.accept("queued", 1, 0).await;
    let before = rig.ledger();
    assert_eq!(purge(&rig, 0, 0).await, Purged::default());
    let purged = purge(&rig, 100, 100).await;
    assert_eq!((purged.messages, purged.early_statuses), (2, 0));
    assert_eq!(rig.ledger(), before, "untouched by retention");
    for (id, kept) in [
        ("done", false),
        ("refused", false),
        ("late", true),
        ("unknown", true),
        ("queued", true),
    ] {
        assert_eq!(is_kept(&rig, id).await, kept, "{id}");
    }
    assert_eq!(purge(&rig, 100, 100).await, Purged::default());
    let _ = handle;
    rig.check(&["a"]);
}

/// The age counts from the settlement, not from the accept.
#[tokio::test]
async fn a_message_settled_late_stays_its_time() {
    let rig = Rig::new();
    let handle = rig.attempt("m1", 1, 0).await;
    rig.settle(handle, receipt("P1"), 500).await;
    assert_eq!(purge(&rig, 400, 0).await.messages, 0);
    assert_eq!(purge(&rig, 501, 0).await.messages, 1);
}

#[tokio::test]
async fn a_message_with_a_waiting_callback_or_a_dead_letter_stays() {
    let rig = Rig::new();
    rig.sent("m1", 1, "P1", 0).await;
    rig.event("P1", Status::Read, None, 50).await;
    assert_eq!(purge(&rig, 49, 49).await, Purged::default());
    assert_eq!(purge(&rig, 50, 50).await.messages, 0);
    let queue = lane("a", Lane::Status);
    let handle = rig.callbacks(&queue, 60).await[0].handle;
    let dead = RelayOutcome::Dead {
        reason: "refused".into(),
    };
    rig.end(&queue, handle, dead, 60).await;
    let purged = purge(&rig, 50, 50).await;
    assert_eq!(
        (purged.messages, purged.others),
        (0, 0),
        "it can be replayed"
    );
    let purged = purge(&rig, 51, 51).await;
    assert_eq!((purged.messages, purged.others), (1, 1));
    assert_eq!(rig.ledger().dead_letters, 1);
    rig.check(&["a"]);
}

#[tokio::test]
async fn early_statuses_without_a_receipt_go_and_are_counted() {
    let rig = Rig::new();
    let media = Incoming::Other {
        kind: "media",
        raw: "{}".into(),
    };
    rig.events(vec![media], 0).await;
    rig.event("P1", Status::Sent, Some(1), 0).await;
    rig.event("P2", Status::Sent, Some(1), 50).await;
    let purged = purge(&rig, 0, 10).await;
    assert_eq!((purged.early_statuses, purged.others), (1, 1));
    assert_eq!(rig.ledger().expired_events, 1);
    let handle = rig.attempt("m1", 1, 60).await;
    assert_eq!(rig.settle(handle, receipt("P2"), 60).await.emitted, 1);
}

#[tokio::test]
async fn ids_of_replies_are_forgotten_in_time() {
    let rig = Rig::new();
    let named = || {
        vec![Incoming::Reply(Reply {
            id: Some(provider_id("R1")),
            ..reply(1, "Hello")
        })]
    };
    rig.events(named(), 0).await;
    assert_eq!(rig.events(named(), 5).await.repeated_replies, 1);
    purge(&rig, 0, 0).await;
    assert_eq!(rig.events(named(), 5).await.repeated_replies, 1);
    assert_eq!(purge(&rig, 10, 0).await.others, 1);
    assert_eq!(rig.events(named(), 15).await.repeated_replies, 0);
}

/// Retention works in steps; no step forgets what the one before it left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_go_in_one_round() {
    let rig = Rig::new();
    let mut all = tokio::task::JoinSet::new();
    for n in 0..1300 {
        let store = rig.store.clone();
        let (message, channel, account) = (message(&format!("m{n}"), n), channel("a"), account());
        all.spawn(async move { store.accept(&channel, &account, &message, at(0)).await });
    }
    while let Some(one) = all.join_next().await {
        one.unwrap().unwrap();
    }
    rig.accept("young", 1, 90).await;
    let claims = rig.claims(&["a"], 1200, 1).await;
    for (n, one) in claims.taken.into_iter().enumerate() {
        let store = rig.store.clone();
        let end = receipt(&format!("P{n}"));
        all.spawn(async move {
            store
                .settle(one.handle, end, String::new(), at(1))
                .await
                .unwrap();
            Ok(Accepted::Stored)
        });
    }
    while let Some(one) = all.join_next().await {
        one.unwrap().unwrap();
    }
    let events = (0..1200).map(|n| event(&format!("X{n}"), Status::Sent, None));
    rig.events(events.collect(), 1).await;
    let purged = purge(&rig, 80, 80).await;
    assert_eq!((purged.messages, purged.early_statuses), (1200, 1200));
    assert_eq!(rig.store.count_open().await.unwrap(), [101, 0, 0]);
    rig.check(&["a"]);
}
