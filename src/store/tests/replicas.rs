//! Several processes at once on one store: only Redis has that.

use super::*;
use crate::domain::ReplyKind;
use crate::store::QuickReply;

impl World {
    /// Another process on the same data.
    fn beside(&self) -> Self {
        let home = self.home.clone();
        let store = home.open();
        Self { store, home }
    }
}

/// Two processes; what is stored by one is there for the other.
fn pair() -> (World, World) {
    let first = on_redis::world();
    let second = first.beside();
    (first, second)
}

#[tokio::test]
async fn what_one_stores_the_other_knows() {
    let (first, second) = pair();
    first.sent("m1", 1, "P1", 0).await;
    let repeat = Accepted::Repeat { same: true };
    assert_eq!(second.accept("m1", 1, 1).await, repeat);
    assert_eq!(second.event("P1", Status::Sent, None, 2).await.emitted, 1);
    assert_eq!(second.state("m1").await, State::Accepted);
    assert_eq!(first.ledger().await, second.ledger().await);
    let stop = vec![Incoming::Reply(reply(1, "STOP"))];
    second.events(stop, 3).await;
    assert_eq!(first.accept("m2", 1, 4).await, Accepted::OptedOut(OptOut::All));
    assert_eq!(first.statuses(5).await, ["m1 sent"]);
    assert!(second.statuses(5).await.is_empty());
    first.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_message_and_no_callback_is_taken_twice() {
    let (first, second) = pair();
    for n in 0..40 {
        first.accept(&format!("m{n}"), n, 0).await;
    }
    let mut messages = Vec::new();
    while messages.len() < 40 {
        let (one, two) = tokio::join!(first.claims(&["a"], 3, 1), second.claims(&["a"], 3, 1));
        assert!(one.taken.len() + two.taken.len() > 0, "{}", messages.len());
        for claimed in one.taken.into_iter().chain(two.taken) {
            let id = claimed.message.msg_id.to_string();
            first.settle(&claimed, receipt(&format!("P-{id}")), 1).await;
            messages.push(id);
        }
    }
    messages.sort_unstable();
    messages.dedup();
    assert_eq!(messages.len(), 40);
    for id in messages {
        second
            .event(&format!("P-{id}"), Status::Sent, None, 2)
            .await;
    }
    let queue = lane("a", Destination::Status);
    let (one, two) = tokio::join!(first.callbacks(&queue, 3), second.callbacks(&queue, 3));
    let mut handles: Vec<_> = one.iter().chain(&two).map(|one| one.handle).collect();
    assert_eq!(handles.len(), 40);
    handles.sort_unstable();
    handles.dedup();
    assert_eq!(handles.len(), 40);
    first.check().await;
}

#[tokio::test]
async fn what_a_living_process_has_stays_its_own() {
    let (first, second) = pair();
    first.sent("m1", 1, "P1", 0).await;
    first.event("P1", Status::Sent, None, 0).await;
    let queue = lane("a", Destination::Status);
    assert_eq!(first.callbacks(&queue, 1).await.len(), 1);
    let claimed = first.attempt("m2", 2, 1).await;
    // However late it is for the store's own clock: a lease is Redis' matter.
    second.sweep(false, 3600).await;
    assert_eq!(second.state("m2").await, State::Attempting);
    assert!(second.callbacks(&queue, 3600).await.is_empty());
    first.settle(&claimed, receipt("P2"), 3600).await;
    assert_eq!(second.state("m2").await, State::Accepted);
    second.check().await;
}

/// The claim is the fence: what a process knows of its attempt counts as long as nobody has claimed
/// the message since, though it was put down as unknown meanwhile.
#[tokio::test]
async fn what_a_process_that_was_taken_for_dead_knows_of_its_attempt_counts() {
    let told = refusal();
    let ends = [
        (receipt("P1"), State::Accepted),
        (Settlement::retry(at(9)), State::Queued),
        (Settlement::failed(told), State::Failed),
        (unknown_until(9_000), State::Unknown),
    ];
    for (end, state) in ends {
        let (first, second) = pair();
        let claimed = first.attempt("m1", 1, 0).await;
        second.take_over(5, 600).await;
        let record = second.record("m1").await;
        assert_eq!((record.state, record.due), (State::Unknown, Some(at(605))));
        first.settle(&claimed, end, 6).await;
        let record = second.record("m1").await;
        assert_eq!(record.state, state);
        assert!(!record.inferred);
        if state == State::Unknown {
            assert_eq!(record.due, Some(at(605)), "nothing new");
        }
        second.check().await;
    }
}

/// Once it was reported as failed, only a receipt is news.
#[tokio::test]
async fn after_the_verdict_only_a_receipt_counts() {
    let (first, second) = pair();
    let claimed = first.attempt("m1", 1, 0).await;
    second.take_over(5, 600).await;
    assert_eq!(second.sweep(false, 605).await.failed.len(), 1);
    for end in [
        Settlement::retry(at(9)),
        Settlement::failed(refusal()),
        unknown_until(9_000),
    ] {
        assert_eq!(first.settle(&claimed, end, 606).await, Folded::default());
        assert_eq!(second.state("m1").await, State::Failed);
    }
    first.settle(&claimed, receipt("P1"), 607).await;
    assert_eq!(second.state("m1").await, State::Accepted);
    assert_eq!(second.statuses(608).await, ["m1 failed"]);
    second.check().await;
}

#[tokio::test]
async fn a_stale_end_does_not_touch_a_later_claim() {
    let (first, second) = pair();
    let stale = first.attempt("m1", 1, 0).await;
    second.take_over(5, 600).await;
    assert_eq!(second.sweep(true, 605).await.resent.len(), 1);
    let fresh = second.claim(605).await.remove(0);
    assert_ne!(stale.claim, fresh.claim);
    first
        .settle(&stale, Settlement::failed(refusal()), 606)
        .await;
    assert_eq!(second.state("m1").await, State::Attempting);
    second.settle(&fresh, receipt("P2"), 607).await;
    assert_eq!(second.state("m1").await, State::Accepted);
    assert!(
        second.statuses(608).await.is_empty(),
        "nothing was reported"
    );
    second.check().await;
}

#[tokio::test]
async fn late_evidence_counts_after_a_take_over() {
    let (first, second) = pair();
    first.attempt("m1", 1, 0).await;
    second.take_over(5, 600).await;
    assert_eq!(
        second.event("P1", Status::Sent, Some(1), 6).await.inferred,
        1
    );
    assert_eq!(second.statuses(7).await, ["m1 sent"]);
    second.check().await;
}

/// Whoever settles it: the person got the buttons of the attempt.
#[tokio::test]
async fn a_tap_carries_its_payload_also_when_the_answer_came_after_a_take_over() {
    let ends: [fn(Vec<QuickReply>) -> Settlement; 2] = [
        |taps| Settlement::Unknown { until: at(600), taps },
        |taps| match receipt("P1") {
            Settlement::Accepted { receipt, .. } => Settlement::Accepted { receipt, taps },
            other => other,
        },
    ];
    for end in ends {
        let (first, second) = pair();
        let claimed = first.attempt("m1", 1, 0).await;
        second.take_over(5, 600).await;
        second.event("P1", Status::Sent, Some(1), 6).await;
        assert_eq!(second.state("m1").await, State::Accepted);
        let tap = QuickReply {
            label: "Keep it".into(),
            payload: "slot 1".into(),
        };
        first.settle(&claimed, end(vec![tap]), 7).await;
        let tapped = Reply {
            context: Some(provider_id("P1")),
            ..reply(1, "Keep it")
        };
        second.events(vec![Incoming::Reply(tapped)], 8).await;
        let told = second.relayed(&lane("a", Destination::Inbound), 9).await;
        let Callback::Inbound(entry) = &told[0] else {
            panic!("{told:?}")
        };
        let payload = "slot 1".into();
        assert_eq!(entry.kind, ReplyKind::Button { payload });
    }
}

#[tokio::test]
async fn a_callback_that_two_processes_told_is_counted_once() {
    let (first, second) = pair();
    first.sent("m1", 1, "P1", 0).await;
    for status in [Status::Sent, Status::Read] {
        first.event("P1", status, None, 1).await;
    }
    let queue = lane("a", Destination::Status);
    let told = first.callbacks(&queue, 2).await;
    second.take_over(5, 600).await;
    let again = second.callbacks(&queue, 6).await;
    assert_eq!((told.len(), again.len()), (1, 1));
    assert_eq!(told[0].callback, again[0].callback, "a repeat is identical");
    second.end(&queue, again[0].handle, taken(), 7).await;
    first.end(&queue, told[0].handle, taken(), 8).await;
    assert_eq!(second.ledger().await.callbacks_taken, 1);
    assert_eq!(second.statuses(9).await, ["m1 read"]);
    second.check().await;
}

/// A replica of 0.1.0 writes an opt-out under the one number that it sees, and looks for no other.
#[tokio::test]
async fn r_18_an_opt_out_of_an_older_replica_counts_for_both_numbers_and_it_hears_of_ours() {
    let (home, world, _) = on_redis::pair();
    home.say("SADD gw:{acc}:oo:a 5215512345678").await;
    let dialled = |msg_id| Message {
        to: Phone::from_number(525_512_345_678).unwrap(),
        ..message(msg_id, 1)
    };
    let accepted = world.accept_on("a", &dialled("m1"), 1).await;
    assert_eq!(accepted, Accepted::OptedOut(OptOut::All));
    let says = |text| Reply {
        from: Some(dialled("m").to),
        ..reply(1, text)
    };
    world.events(vec![Incoming::Reply(says("START"))], 2).await;
    assert_eq!(home.say("SCARD gw:{acc}:oo:a").await, "0");
    let accepted = world.accept_on("a", &dialled("m1"), 3).await;
    assert_eq!(accepted, Accepted::Stored);
    world.events(vec![Incoming::Reply(says("STOP"))], 4).await;
    assert_eq!(home.say("SISMEMBER gw:{acc}:oo:a 5215512345678").await, "1");
}
