//! What time alone brings about.

use super::*;

#[tokio::test]
async fn a_hold_ends_in_a_failure_that_is_told() {
    let rig = Rig::new();
    rig.lost("m1", 1, 0, 600).await;
    assert!(rig.sweep(false, 599).await.failed.is_empty());
    let swept = rig.sweep(false, 600).await;
    let (channel, id, refusal) = &swept.failed[0];
    assert_eq!(
        (channel.as_str(), id.as_str(), refusal.code),
        ("a", "m1", Code::Other)
    );
    assert!(refusal.reason.contains("unknown"), "{refusal}");
    assert!(rig.sweep(false, 601).await.failed.is_empty());
    assert_eq!(rig.statuses(601).await, ["m1 failed"]);
    rig.check(&["a"]);
}

#[tokio::test]
async fn a_resend_happens_once() {
    let rig = Rig::new();
    rig.lost("m1", 1, 0, 600).await;
    let swept = rig.sweep(true, 600).await;
    assert_eq!((swept.resent.len(), swept.failed.len()), (1, 0));
    let again = rig.claim(600).await.remove(0);
    assert_eq!(again.attempt, 2);
    rig.settle(again.handle, unknown_until(1200), 601).await;
    let swept = rig.sweep(true, 1200).await;
    assert_eq!((swept.resent.len(), swept.failed.len()), (0, 1));
    assert_eq!(rig.state("m1").await, State::Failed);
    assert_eq!(rig.statuses(1200).await, ["m1 failed"]);
    rig.check(&["a"]);
}

#[tokio::test]
async fn what_is_too_old_is_not_resent() {
    let rig = Rig::new();
    rig.lost("m1", 1, 0, 600).await;
    let swept = rig.sweep(true, DAY + 1).await;
    assert_eq!((swept.resent.len(), swept.failed.len()), (0, 1));
}

/// A last look before the verdict: what stood in the way of the evidence may be gone.
#[tokio::test]
async fn evidence_is_weighed_before_the_verdict() {
    let rig = Rig::new();
    rig.lost("m1", 1, 0, 300).await;
    rig.lost("m2", 1, 0, 600).await;
    rig.event("P1", Status::Read, Some(1), 5).await;
    let swept = rig.sweep(false, 300).await;
    assert_eq!((swept.failed.len(), swept.inferred), (1, 0));
    rig.check(&["a"]);
}

#[tokio::test]
async fn the_old_are_failed_also_while_nothing_is_sent() {
    let rig = Rig::new();
    rig.accept("m1", 1, 0).await;
    rig.accept("m2", 1, 10).await;
    assert!(rig.sweep(false, DAY).await.failed.is_empty());
    let swept = rig.sweep(false, DAY + 5).await;
    assert_eq!(swept.failed.len(), 1);
    assert_eq!(rig.statuses(DAY + 5).await, ["m1 failed"]);
    assert_eq!(rig.claim(DAY + 5).await.len(), 1);
    rig.check(&["a"]);
}

/// A sweep is bounded, and says when there is more to do.
#[tokio::test]
async fn a_large_backlog_of_old_messages_is_swept_in_steps() {
    let rig = Rig::new();
    let messages: Vec<_> = (0..1200).map(|n| message(&format!("m{n}"), n)).collect();
    let (channel, account) = (channel("a"), account());
    let mut all = tokio::task::JoinSet::new();
    for message in messages {
        let (store, channel, account) = (rig.store.clone(), channel.clone(), account.clone());
        all.spawn(async move { store.accept(&channel, &account, &message, at(0)).await });
    }
    while let Some(one) = all.join_next().await {
        one.unwrap().unwrap();
    }
    let mut failed = Vec::new();
    loop {
        let swept = rig.sweep(false, DAY + 1).await;
        failed.push(swept.failed.len());
        if !swept.more {
            break;
        }
    }
    assert_eq!(failed, [500, 500, 200]);
    rig.check(&["a"]);
}

#[tokio::test]
async fn a_clock_that_was_a_day_ahead_holds_nothing_back() {
    let rig = Rig::new();
    rig.lost("lost", 2, DAY, DAY + 600).await;
    rig.accept("m", 1, DAY).await;
    assert!(rig.claim(0).await.is_empty());
    rig.sweep(false, 0).await;
    assert_eq!(rig.record("lost").await.due, Some(at(600)));
    let claimed = rig.claim(1).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].accepted_at, at(0));
}
