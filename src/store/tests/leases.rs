//! What a process may still do with what it has taken, when its lease is over or Redis was silent.

use super::on_redis::pair;
use super::*;
use tokio::time::Instant;

fn queue() -> CallbackQueue {
    lane("a", Destination::Status)
}

fn later(seconds: i64) -> RelayOutcome {
    RelayOutcome::Later { due: at(seconds) }
}

impl World {
    async fn renew(&self) {
        self.store.renew().await.unwrap();
    }

    fn may_begin(&self, claimed: &ClaimedMessage) -> bool {
        self.store.lease_until(claimed).unwrap() > Instant::now()
    }

    /// A status of `m1` waits for MoEngage, and this process has taken it.
    async fn takes_a_status(&self) -> PendingCallback {
        self.sent("m1", 1, "P1", 0).await;
        self.event("P1", Status::Sent, None, 0).await;
        self.callbacks(&queue(), 1).await.remove(0)
    }
}

/// The renewal was asked for before the claim and comes after it.
#[tokio::test]
async fn a_message_claimed_while_the_lease_is_renewed_is_not_claimed_by_another_too() {
    let (redis, first, second) = pair();
    first.renew().await;
    first.accept("m1", 1, 0).await;
    // Redis forgets the scripts and has the claim's alone again: a renewal takes three ways, a claim
    // one.
    second.claims(&["b"], 1, 0).await;
    redis.say("SCRIPT FLUSH").await;
    second.claims(&["b"], 1, 0).await;
    let (renewed, claimed) = tokio::join!(first.store.renew(), first.claim(1));
    renewed.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(second.claims(&["a"], 10, 2).await.taken.len(), 0);
    first.settle(&claimed[0], receipt("P1"), 3).await;
    assert_eq!(second.state("m1").await, State::Accepted);
    second.check().await;
}

/// Its answer was lost, and the message was claimed again before it was said once more.
#[tokio::test]
async fn an_end_that_is_said_twice_leaves_no_message_being_sent_for_ever() {
    let (_redis, first, second) = pair();
    let claimed = first.attempt("m1", 1, 0).await;
    let retry = || Settlement::retry(at(1));
    first.settle(&claimed, retry(), 1).await;
    assert_eq!(first.claim(2).await.len(), 1);
    first.settle(&claimed, retry(), 3).await;
    assert_eq!(second.state("m1").await, State::Attempting);
    second.take_over(5, 600).await;
    assert_eq!(second.state("m1").await, State::Unknown);
    second.check().await;
}

#[tokio::test]
async fn callbacks_of_two_accounts_with_one_number_are_told_once_each() {
    let (redis, first, second) = pair();
    for account in ["acc", "other"] {
        // Far ahead of what the clock would give.
        redis
            .say(&format!("SET gw:{{{account}}}:cseq 8000000000000000"))
            .await;
    }
    let of_a = first.takes_a_status().await;
    let other = AccountId::parse("other").unwrap();
    let mx = first.attempt_of(&other).await;
    first.settle(&mx, receipt("PX"), 0).await;
    let on_x = EventRules {
        account: other,
        ..rules("x")
    };
    let sent = vec![event("PX", Status::Sent, None)];
    first.events_with(on_x, sent, 0).await;
    let queue_x = lane("x", Destination::Status);
    let of_x = first.callbacks(&queue_x, 1).await.remove(0);
    assert_eq!(of_a.handle.callback, of_x.handle.callback);
    first.renew().await;
    for queue in [&queue(), &queue_x] {
        assert!(second.callbacks(queue, 2).await.is_empty());
    }
    first.end(&queue(), of_a.handle, taken(), 2).await;
    first.renew().await;
    assert!(second.callbacks(&queue_x, 3).await.is_empty());
    first.end(&queue_x, of_x.handle, taken(), 4).await;
    let ledger = second.ledger_of("x").await;
    assert_eq!((ledger.callbacks_waiting, ledger.callbacks_taken), (0, 1));
}

#[tokio::test]
async fn a_callback_that_another_has_taken_over_is_not_told_by_the_first() {
    let (_redis, first, second) = pair();
    let taken_first = first.takes_a_status().await;
    assert!(first.store.may_relay(&queue(), &taken_first));
    second.take_over(5, 600).await;
    first.renew().await;
    assert!(!first.store.may_relay(&queue(), &taken_first));
    assert_eq!(second.statuses(6).await, ["m1 sent"]);
    first.renew().await;
    assert!(first.statuses(7).await.is_empty());
    second.check().await;
}

#[tokio::test]
async fn a_callback_of_a_lease_that_was_over_comes_back_when_nobody_took_over() {
    let (redis, first, _second) = pair();
    let before = first.takes_a_status().await;
    redis.expire(0).await;
    first.renew().await;
    assert!(!first.store.may_relay(&queue(), &before));
    assert!(first.callbacks(&queue(), 2).await.is_empty());
    first.renew().await;
    let again = first.callbacks(&queue(), 3).await.remove(0);
    assert!(first.store.may_relay(&queue(), &again));
    assert!(!first.store.may_relay(&queue(), &before));
    // What was said of the older take does not let the newer one go.
    first.renew().await;
    assert!(first.callbacks(&queue(), 4).await.is_empty());
    first.end(&queue(), again.handle, taken(), 5).await;
    assert_eq!(first.ledger().await.callbacks_waiting, 0);
    first.check().await;
}

/// The answer to the first end was lost; it is said again when the callback was taken once more.
#[tokio::test]
async fn an_end_of_an_older_try_does_not_touch_the_try_under_way() {
    let (_redis, first, second) = pair();
    let before = first.takes_a_status().await;
    first.end(&queue(), before.handle, later(2), 1).await;
    let again = first.callbacks(&queue(), 2).await.remove(0);
    assert_eq!(before.handle.callback, again.handle.callback);
    for end in [
        later(2),
        RelayOutcome::Dead {
            reason: "old".into(),
        },
    ] {
        first.end(&queue(), before.handle, end, 3).await;
        first.renew().await;
        second.renew().await;
        assert!(second.callbacks(&queue(), 4).await.is_empty());
    }
    first.end(&queue(), again.handle, taken(), 5).await;
    let ledger = second.ledger().await;
    assert_eq!((ledger.callbacks_taken, ledger.dead_letters), (1, 0));
    second.check().await;
}

#[tokio::test]
async fn after_a_silence_of_redis_the_living_keep_their_work_and_the_dead_lose_it() {
    let (redis, first, second) = pair();
    let mine = first.takes_a_status().await;
    first.attempt("m2", 2, 1).await;
    second.renew().await;
    redis.expire(0).await;
    redis.expire(1).await;
    redis.silent_since(12).await;
    // The first to sweep comes before anybody could renew.
    second.sweep(false, 5).await;
    assert_eq!(first.state("m2").await, State::Attempting);
    second.renew().await;
    assert!(second.callbacks(&queue(), 5).await.is_empty());
    first.end(&queue(), mine.handle, taken(), 5).await;
    // The first never renews: it is dead. The calm ends by itself within four seconds.
    let calm: i64 = redis.say("PTTL gw:{acc}:calm").await.parse().unwrap();
    assert!((1..=4000).contains(&calm), "{calm}");
    redis.say("DEL gw:{acc}:calm").await;
    second.sweep(false, 8).await;
    assert_eq!(second.state("m2").await, State::Unknown);
    second.check().await;
}

#[tokio::test]
async fn a_process_that_renews_first_after_a_silence_of_redis_does_not_take_the_others_for_dead() {
    let (redis, first, second) = pair();
    first.attempt("m1", 1, 0).await;
    redis.expire(0).await;
    redis.silent_since(12).await;
    second.renew().await;
    second.sweep(false, 5).await;
    assert_eq!(first.state("m1").await, State::Attempting);
}

/// Sweeps may be slow, with many accounts and a Redis in trouble; renewals are not.
#[tokio::test]
async fn the_dead_are_noticed_also_when_sweeps_are_seldom() {
    let (redis, first, second) = pair();
    first.attempt("m1", 1, 0).await;
    redis.expire(0).await;
    redis.silent_since(12).await;
    second.renew().await;
    // The calm is over.
    redis.say("DEL gw:{acc}:calm").await;
    second.sweep(false, 5).await;
    assert_eq!(first.state("m1").await, State::Unknown);
}

#[tokio::test]
async fn what_was_claimed_before_the_lease_began_anew_is_not_begun() {
    let (redis, first, _second) = pair();
    first.renew().await;
    let before = first.attempt("m1", 1, 0).await;
    assert!(first.may_begin(&before));
    first.renew().await;
    assert!(first.may_begin(&before), "it went on");
    redis.expire(0).await;
    first.renew().await;
    assert!(!first.may_begin(&before));
    let after = first.attempt("m2", 2, 1).await;
    assert!(first.may_begin(&after));
    assert!(!first.may_begin(&before));
}
