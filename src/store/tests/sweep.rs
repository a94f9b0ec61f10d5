//! What time alone brings about.

use super::*;
use crate::domain::proof::LastProof;

stories! {
    a_hold_ends_in_a_failure_that_is_told,
    a_resend_happens_once,
    what_is_too_old_is_not_resent,
    a_receipt_is_inferred_before_the_verdict,
    the_old_are_failed_also_while_nothing_is_sent,
    a_large_backlog_of_old_messages_is_swept_in_steps,
    a_clock_that_was_a_day_ahead_holds_nothing_back,
    what_was_never_tried_does_not_wait_for_a_clock_that_was_set_back,
    after_the_clock_was_set_back_nothing_waits_for_a_time_to_come_once_more,
    after_the_clock_was_set_back_no_hold_of_many_is_longer_than_meant,
    r_11_a_message_about_whose_age_the_clocks_disagree_is_neither_failed_nor_sent,
    r_11_a_message_that_is_too_old_for_both_clocks_is_failed,
    r_11_no_hold_ends_by_one_clock_alone,
}

/// The wall clock shows `latest`, the steady one `earliest`, or the other way round.
fn between(earliest: i64, latest: i64) -> Moment {
    Moment {
        latest: at(latest),
        earliest: at(earliest),
    }
}

async fn r_11_a_message_about_whose_age_the_clocks_disagree_is_neither_failed_nor_sent(
    new: NewWorld,
) {
    let world = new();
    let tried = world.attempt("tried", 1, 0).await;
    world.settle(&tried, Settlement::retry(at(5)), 1).await;
    let aside = world.attempt("aside", 2, 1).await;
    let put_aside = Settlement::Retry {
        due: at(5),
        aside: true,
        proof: LastProof::NotTaken,
    };
    world.settle(&aside, put_aside, 1).await;
    for n in 0..300 {
        world.accept(&format!("old{n}"), 10 + n, 2).await;
    }
    world.accept("young", 3, DAY + 100).await;
    let now = between(10, DAY + 100);
    let (ages, latest) = (now.ages(secs(DAY)), now.latest);
    let trial = Trial {
        channels: vec![(channel("a"), ages)],
        tried: None,
    };
    // Put back: a trial tells nothing more here.
    let tried = world
        .store
        .claim_trial(trial.clone(), latest)
        .await
        .unwrap();
    assert_eq!(names(&tried), ["young"]);
    world
        .settle(&tried.taken[0], Settlement::retry(latest), DAY + 100)
        .await;
    for expected in [vec!["young"], vec![], vec![]] {
        let queue = ClaimFrom {
            channel: channel("a"),
            ages,
            retries: 10,
            aside: 10,
        };
        let claims = world.store.claim(vec![queue], 100, latest).await.unwrap();
        assert_eq!((names(&claims), claims.failed.len()), (expected, 0));
    }
    let none = world.store.claim_trial(trial, latest).await.unwrap();
    assert_eq!((names(&none).len(), none.failed.len()), (0, 0));
    assert!(world.sweep_by(now).await.failed.is_empty());
    // The leap was wrong: nobody has lost anything.
    world.set_back(11).await;
    let mut sent = 0;
    while let claims @ 1.. = world.claims(&["a"], 100, 11).await.taken.len() {
        sent += claims;
    }
    assert_eq!(sent, 302);
    world.check().await;
}

async fn r_11_a_message_that_is_too_old_for_both_clocks_is_failed(new: NewWorld) {
    let world = new();
    world.accept("m1", 1, 0).await;
    assert!(
        world
            .sweep_by(between(DAY, DAY + 100))
            .await
            .failed
            .is_empty()
    );
    let swept = world.sweep_by(between(DAY + 1, DAY + 100)).await;
    assert_eq!(swept.failed.len(), 1);
    world.check().await;
}

fn names(claims: &Claims) -> Vec<&str> {
    let taken = claims.taken.iter();
    taken.map(|one| one.message.msg_id.as_str()).collect()
}

async fn r_11_no_hold_ends_by_one_clock_alone(new: NewWorld) {
    for resend in [false, true] {
        let world = new();
        world.lost("m1", 1, 0, 600).await;
        for (earliest, over) in [(10, false), (599, false), (600, true)] {
            let swept = world.resend_by(resend, between(earliest, HOUR)).await;
            let ended = swept.failed.len() + swept.resent.len();
            assert_eq!(ended > 0, over, "{resend} {earliest}");
        }
        world.check().await;
    }
}

async fn a_hold_ends_in_a_failure_that_is_told(new: NewWorld) {
    let world = new();
    world.lost("m1", 1, 0, 600).await;
    assert!(world.sweep(false, 599).await.failed.is_empty());
    let swept = world.sweep(false, 600).await;
    let (channel, id, refusal) = &swept.failed[0];
    assert_eq!(
        (channel.as_str(), id.as_str(), refusal.kind),
        ("a", "m1", RefusalKind::Other)
    );
    assert!(refusal.reason.contains("unknown"), "{refusal:?}");
    world.failed_with("m1", "7004 Outcome unknown").await;
    assert!(world.sweep(false, 601).await.failed.is_empty());
    assert_eq!(world.statuses(601).await, ["m1 failed"]);
    world.check().await;
}

async fn a_resend_happens_once(new: NewWorld) {
    let world = new();
    world.lost("m1", 1, 0, 600).await;
    let swept = world.sweep(true, 600).await;
    assert_eq!((swept.resent.len(), swept.failed.len()), (1, 0));
    let again = world.claim(600).await.remove(0);
    assert_eq!(again.attempt, 2);
    world.settle(&again, unknown_until(1200), 601).await;
    let swept = world.sweep(true, 1200).await;
    assert_eq!((swept.resent.len(), swept.failed.len()), (0, 1));
    assert_eq!(world.state("m1").await, State::Failed);
    assert_eq!(world.statuses(1200).await, ["m1 failed"]);
    world.check().await;
}

async fn what_is_too_old_is_not_resent(new: NewWorld) {
    let world = new();
    world.lost("m1", 1, 0, 600).await;
    let swept = world.sweep(true, DAY + 1).await;
    assert_eq!((swept.resent.len(), swept.failed.len()), (0, 1));
}

/// A last look before the verdict: what stood in the way of the evidence may be gone.
async fn a_receipt_is_inferred_before_the_verdict(new: NewWorld) {
    let world = new();
    world.lost("m1", 1, 0, 300).await;
    world.lost("m2", 1, 0, 600).await;
    world.event("P1", Status::Read, Some(1), 5).await;
    let swept = world.sweep(false, 300).await;
    assert_eq!((swept.failed.len(), swept.inferred), (1, 0));
    world.check().await;
}

async fn the_old_are_failed_also_while_nothing_is_sent(new: NewWorld) {
    let world = new();
    world.accept("m1", 1, 0).await;
    world.accept("m2", 1, 10).await;
    assert!(world.sweep(false, DAY).await.failed.is_empty());
    let swept = world.sweep(false, DAY + 5).await;
    assert_eq!(swept.failed.len(), 1);
    assert_eq!(world.statuses(DAY + 5).await, ["m1 failed"]);
    assert_eq!(world.claim(DAY + 5).await.len(), 1);
    world.check().await;
}

/// A sweep is bounded, and says when there is more to do.
async fn a_large_backlog_of_old_messages_is_swept_in_steps(new: NewWorld) {
    let world = new();
    let messages: Vec<_> = (0..1200).map(|n| message(&format!("m{n}"), n)).collect();
    let (channel, account) = (channel("a"), account());
    let mut all = tokio::task::JoinSet::new();
    for message in messages {
        let (store, channel, account) = (world.store.clone(), channel.clone(), account.clone());
        all.spawn(async move { store.accept(&channel, &account, &message, at(0)).await });
    }
    while let Some(one) = all.join_next().await {
        one.unwrap().unwrap();
    }
    let mut failed = Vec::new();
    loop {
        let swept = world.sweep(false, DAY + 1).await;
        failed.push(swept.failed.len());
        if !swept.more {
            break;
        }
    }
    assert!(failed.iter().all(|step| *step <= 500), "{failed:?}");
    assert_eq!(failed.iter().sum::<usize>(), 1200);
    world.check().await;
}

async fn a_clock_that_was_a_day_ahead_holds_nothing_back(new: NewWorld) {
    let world = new();
    world.lost("lost", 2, DAY, DAY + 600).await;
    world.accept("m", 1, DAY).await;
    assert!(world.claim(0).await.is_empty());
    world.sweep(false, 0).await;
    assert_eq!(world.record("lost").await.due, Some(at(600)));
    let claimed = world.claim(1).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].accepted_at, at(0));
}

const HOUR: i64 = 3600;

async fn after_the_clock_was_set_back_no_hold_of_many_is_longer_than_meant(new: NewWorld) {
    let world = new();
    for n in 0..250 {
        let until = HOUR + 600;
        world.lost(&format!("m{n}"), n + 1, HOUR, until).await;
    }
    world.set_back(0).await;
    let mut failed = 0;
    loop {
        let swept = world.sweep(false, 601).await;
        failed += swept.failed.len();
        if !swept.more {
            break;
        }
    }
    assert_eq!(failed, 250);
    world.check().await;
}

async fn what_was_never_tried_does_not_wait_for_a_clock_that_was_set_back(new: NewWorld) {
    let world = new();
    for n in 0..250 {
        world.accept(&format!("m{n}"), n + 1, HOUR).await;
    }
    assert!(world.claim(0).await.is_empty());
    world.set_back(0).await;
    let mut claimed = 0;
    loop {
        let some = world.claims(&["a"], 100, 0).await.taken;
        if some.is_empty() {
            break;
        }
        assert!(some.iter().all(|one| one.accepted_at == at(0)));
        claimed += some.len();
    }
    assert_eq!(claimed, 250);
    world.check().await;
}

async fn after_the_clock_was_set_back_nothing_waits_for_a_time_to_come_once_more(new: NewWorld) {
    let world = new();
    let queue = lane("a", Destination::Status);
    world.lost("lost", 1, HOUR, HOUR + 600).await;
    world.sent("told", 2, "P2", HOUR).await;
    world.event("P2", Status::Sent, None, HOUR).await;
    let callback = world.callbacks(&queue, HOUR).await.remove(0).handle;
    let later = RelayOutcome::Later {
        due: at(HOUR + 900),
    };
    world.end(&queue, callback, later, HOUR).await;
    let retried = world.attempt("retried", 3, HOUR).await;
    let due = at(HOUR + 300);
    world.settle(&retried, Settlement::retry(due), HOUR).await;
    // A sweep that knows nothing of it lets them wait: the pause may be meant.
    world.sweep(false, 0).await;
    assert!(world.claim(0).await.is_empty());
    assert!(world.callbacks(&queue, 0).await.is_empty());
    world.set_back(0).await;
    assert_eq!(world.claim(0).await[0].message.msg_id.as_str(), "retried");
    assert_eq!(world.callbacks(&queue, 0).await.len(), 1);
    assert_eq!(world.record("lost").await.due, Some(at(600)));
    world.check().await;
}
