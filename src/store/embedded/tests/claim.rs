//! Write B: who is served, in which order, and who is failed instead.

use super::*;

fn ids(claimed: &[ClaimedMessage]) -> Vec<String> {
    let name = |one: &ClaimedMessage| format!("{}/{}", one.channel, one.message.msg_id);
    claimed.iter().map(name).collect()
}

async fn fill(rig: &Rig, name: &str, count: usize) {
    for number in 0..count {
        let message = message(&format!("m{number}"), 1);
        rig.accept_on(name, &message, number as i64).await;
    }
}

#[tokio::test]
async fn the_oldest_come_first_and_each_once() {
    let rig = Rig::new();
    fill(&rig, "a", 5).await;
    let first = rig.claims(&["a"], 2, 100).await;
    assert_eq!(ids(&first.taken), ["a/m0", "a/m1"]);
    assert_eq!(ids(&rig.claim(100).await), ["a/m2", "a/m3", "a/m4"]);
    assert!(rig.claim(100).await.is_empty());
    assert_eq!(rig.ledger().attempting, 5);
    let history = rig.record("m0").await.history;
    let told: Vec<_> = history
        .iter()
        .map(|line| (&*line.what, &*line.detail))
        .collect();
    assert_eq!(told, [("accepted", ""), ("attempt", "1")]);
    rig.check(&["a"]);
}

#[tokio::test]
async fn messages_of_one_moment_keep_their_order() {
    let rig = Rig::new();
    for number in 0..30 {
        rig.accept(&format!("m{number:02}"), 1, 7).await;
    }
    let claimed = ids(&rig.claim(7).await);
    assert!(claimed.is_sorted(), "{claimed:?}");
}

#[tokio::test]
async fn channels_share_and_leave_nothing_unused() {
    let rig = Rig::new();
    fill(&rig, "a", 9).await;
    fill(&rig, "b", 2).await;
    fill(&rig, "c", 9).await;
    let claims = rig.claims(&["b", "a", "c"], 9, 100).await;
    let count = |name: &str| {
        ids(&claims.taken)
            .iter()
            .filter(|id| id.starts_with(name))
            .count()
    };
    assert_eq!((count("b"), count("a"), count("c")), (2, 4, 3));
    let claims = rig.claims(&["c", "a"], 1, 100).await;
    assert_eq!(ids(&claims.taken), ["c/m3"]);
    let claims = rig.claims(&["b", "a"], 2, 100).await;
    assert_eq!(ids(&claims.taken), ["a/m4", "a/m5"]);
    assert!(rig.claims(&[], 5, 100).await.taken.is_empty());
    assert!(rig.claims(&["a"], 0, 100).await.taken.is_empty());
    rig.check(&["a", "b", "c"]);
}

#[tokio::test]
async fn a_channel_without_a_turn_keeps_its_queue() {
    let rig = Rig::new();
    fill(&rig, "a", 1).await;
    fill(&rig, "b", 1).await;
    assert_eq!(ids(&rig.claims(&["b"], 9, 100).await.taken), ["b/m0"]);
    assert_eq!(rig.ledger().queued, 1);
}

#[tokio::test]
async fn what_is_not_due_waits() {
    let rig = Rig::new();
    let next = |names: &[&str]| {
        let channels = names.iter().map(|name| channel(name)).collect();
        rig.store.next_due(channels)
    };
    assert_eq!(next(&["a"]).await.unwrap(), None);
    let handle = rig.attempt("m1", 1, 0).await;
    rig.settle(handle, Settlement::Retry { due: at(50) }, 1)
        .await;
    assert!(rig.claim(49).await.is_empty());
    assert_eq!(next(&["b", "a"]).await.unwrap(), Some(at(50)));
    assert_eq!(next(&["b"]).await.unwrap(), None);
    rig.accept("m2", 1, 60).await;
    let claimed = rig.claim(60).await;
    assert_eq!(ids(&claimed), ["a/m1", "a/m2"], "by the time they were due");
    assert_eq!((claimed[0].attempt, claimed[1].attempt), (2, 1));
    assert_eq!(claimed[0].accepted_at, at(0));
}

#[tokio::test]
async fn the_old_and_the_opted_out_are_failed_and_told() {
    let rig = Rig::new();
    rig.accept("old", 1, 0).await;
    rig.accept("stopped", 2, 10).await;
    rig.accept("good", 3, 20).await;
    rig.events(vec![Incoming::Reply(reply(2, "STOP"))], 30)
        .await;
    let claims = rig.claims(&["a"], 9, DAY + 1).await;
    assert_eq!(ids(&claims.taken), ["a/good"]);
    let failed: Vec<_> = claims
        .failed
        .iter()
        .map(|(_, id, refusal)| (id.as_str(), refusal.code))
        .collect();
    assert_eq!(failed, [("old", Code::Other), ("stopped", Code::OptedOut)]);
    assert_eq!(rig.state("old").await, State::Failed);
    assert_eq!(rig.state("stopped").await, State::Failed);
    let queue = lane("a", Lane::Status);
    let told: Vec<_> = rig
        .relayed(&queue, DAY + 1)
        .await
        .into_iter()
        .map(|callback| match callback {
            Callback::Status(entry) => {
                assert_eq!((entry.status, entry.at), (Status::Failed, at(DAY + 1)));
                (entry.msg_id.to_string(), entry.error.unwrap().code)
            }
            Callback::Inbound(_) => panic!(),
        })
        .collect();
    let expected = [("old", Code::Other), ("stopped", Code::OptedOut)];
    assert_eq!(told, expected.map(|(id, code)| (id.to_owned(), code)));
    assert_eq!(rig.ledger().failed, 2);
    rig.check(&["a"]);
}

#[tokio::test]
async fn failed_ones_do_not_use_up_a_claim() {
    let rig = Rig::new();
    rig.accept("old1", 1, 0).await;
    rig.accept("old2", 1, 0).await;
    rig.accept("m1", 1, DAY).await;
    let mut taken = Vec::new();
    for _ in 0..3 {
        let claims = rig.claims(&["a"], 1, DAY + 1).await;
        taken.extend(ids(&claims.taken));
    }
    assert_eq!(taken, ["a/m1"]);
    rig.check(&["a"]);
}

/// A row that cannot be read must not hold back its channel, nor the others of the account.
#[tokio::test]
async fn a_row_that_cannot_be_read_is_failed_and_blocks_nobody() {
    let rig = Rig::new();
    fill(&rig, "a", 3).await;
    fill(&rig, "b", 1).await;
    let damage = "UPDATE message SET body = '{}' WHERE channel = 'a' AND msg_id = 'm0'";
    testing::beside(rig.dir.path()).execute(damage, []).unwrap();
    let claims = rig.claims(&["a", "b"], 9, 100).await;
    assert_eq!(ids(&claims.taken), ["a/m1", "a/m2", "b/m0"]);
    assert_eq!(claims.failed[0].1.as_str(), "m0");
    assert_eq!(rig.statuses(100).await, ["m0 failed"]);
    rig.check(&["a", "b"]);
}

#[tokio::test]
async fn many_tries_do_not_make_a_record_grow_without_end() {
    let rig = Rig::new();
    rig.accept("m1", 1, 0).await;
    for second in 0..150 {
        let handle = rig.claim(second).await.remove(0).handle;
        let end = Settlement::Retry { due: at(second) };
        let settled = rig.store.settle(handle, end, "x".repeat(300), at(second));
        settled.await.unwrap();
    }
    let handle = rig.claim(200).await.remove(0).handle;
    rig.settle(handle, receipt("P1"), 200).await;
    let record = rig.record("m1").await;
    assert_eq!(record.attempts, 151);
    assert_eq!(record.history.last().unwrap().what, "receipt");
    let size: usize = record.history.iter().map(|line| line.detail.len()).sum();
    assert!(size < 20_000, "{size}");
}

#[tokio::test]
async fn what_was_tried_before_does_not_wait_behind_the_backlog() {
    let rig = Rig::new();
    let handle = rig.attempt("tried", 1, 0).await;
    for n in 2..50 {
        rig.accept(&format!("m{n}"), n, 1).await;
    }
    rig.settle(handle, Settlement::Retry { due: at(60) }, 2)
        .await;
    let early = rig.claims(&["a"], 1, 59).await.taken;
    assert_eq!(
        early[0].message.msg_id.as_str(),
        "m2",
        "not before it is due"
    );
    let first = rig.claims(&["a"], 1, 60).await.taken;
    assert_eq!(first[0].message.msg_id.as_str(), "tried");
}
