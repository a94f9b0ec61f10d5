//! Write B: who is served, in which order, and who is failed instead.

use super::*;

stories! {
    the_oldest_come_first_and_each_once,
    messages_of_one_moment_keep_their_order,
    channels_share_and_leave_nothing_unused,
    a_channel_without_a_turn_keeps_its_queue,
    what_is_not_due_waits,
    the_old_and_the_opted_out_are_failed_and_told,
    failed_ones_do_not_use_up_a_claim,
    many_tries_do_not_make_a_record_grow_without_end,
    what_was_tried_before_does_not_wait_behind_the_backlog,
}

fn ids(claimed: &[ClaimedMessage]) -> Vec<String> {
    let name = |one: &ClaimedMessage| format!("{}/{}", one.channel, one.message.msg_id);
    claimed.iter().map(name).collect()
}

async fn fill(world: &World, name: &str, count: usize) {
    for number in 0..count {
        let message = message(&format!("m{number}"), 1);
        world.accept_on(name, &message, number as i64).await;
    }
}

async fn the_oldest_come_first_and_each_once(new: NewWorld) {
    let world = new();
    fill(&world, "a", 5).await;
    let first = world.claims(&["a"], 2, 100).await;
    assert_eq!(ids(&first.taken), ["a/m0", "a/m1"]);
    assert_eq!(ids(&world.claim(100).await), ["a/m2", "a/m3", "a/m4"]);
    assert!(world.claim(100).await.is_empty());
    assert_eq!(world.ledger().await.attempting, 5);
    let history = world.record("m0").await.history;
    let told: Vec<_> = history
        .iter()
        .map(|line| (&*line.what, &*line.detail))
        .collect();
    assert_eq!(told, [("accepted", ""), ("attempt", "1")]);
    world.check().await;
}

async fn messages_of_one_moment_keep_their_order(new: NewWorld) {
    let world = new();
    for number in 0..30 {
        world.accept(&format!("m{number:02}"), 1, 7).await;
    }
    let claimed = ids(&world.claim(7).await);
    assert!(claimed.is_sorted(), "{claimed:?}");
}

async fn channels_share_and_leave_nothing_unused(new: NewWorld) {
    let world = new();
    fill(&world, "a", 9).await;
    fill(&world, "b", 2).await;
    fill(&world, "c", 9).await;
    let claims = world.claims(&["b", "a", "c"], 9, 100).await;
    let count = |name: &str| {
        ids(&claims.taken)
            .iter()
            .filter(|id| id.starts_with(name))
            .count()
    };
    assert_eq!((count("b"), count("a"), count("c")), (2, 4, 3));
    let claims = world.claims(&["c", "a"], 1, 100).await;
    assert_eq!(ids(&claims.taken), ["c/m3"]);
    let claims = world.claims(&["b", "a"], 2, 100).await;
    assert_eq!(ids(&claims.taken), ["a/m4", "a/m5"]);
    assert!(world.claims(&[], 5, 100).await.taken.is_empty());
    assert!(world.claims(&["a"], 0, 100).await.taken.is_empty());
    world.check().await;
}

async fn a_channel_without_a_turn_keeps_its_queue(new: NewWorld) {
    let world = new();
    fill(&world, "a", 1).await;
    fill(&world, "b", 1).await;
    assert_eq!(ids(&world.claims(&["b"], 9, 100).await.taken), ["b/m0"]);
    assert_eq!(world.ledger().await.queued, 1);
}

async fn what_is_not_due_waits(new: NewWorld) {
    let world = new();
    let next = |names: &[&str]| {
        let channels = names.iter().map(|name| channel(name)).collect();
        world.store.next_due(channels)
    };
    assert_eq!(next(&["a"]).await.unwrap(), None);
    let claimed = world.attempt("m1", 1, 0).await;
    world.settle(&claimed, Settlement::retry(at(50)), 1).await;
    assert!(world.claim(49).await.is_empty());
    assert_eq!(next(&["b", "a"]).await.unwrap(), Some(at(50)));
    assert_eq!(next(&["b"]).await.unwrap(), None);
    world.accept("m2", 1, 60).await;
    let claimed = world.claim(60).await;
    assert_eq!(ids(&claimed), ["a/m1", "a/m2"], "by the time they were due");
    assert_eq!((claimed[0].attempt, claimed[1].attempt), (2, 1));
    assert_eq!(claimed[0].accepted_at, at(0));
}

async fn the_old_and_the_opted_out_are_failed_and_told(new: NewWorld) {
    let world = new();
    world.accept("old", 1, 0).await;
    world.accept("stopped", 2, 10).await;
    world.accept("good", 3, 20).await;
    world
        .events(vec![Incoming::Reply(reply(2, "STOP"))], 30)
        .await;
    let claims = world.claims(&["a"], 9, DAY + 1).await;
    assert_eq!(ids(&claims.taken), ["a/good"]);
    let failed: Vec<_> = claims
        .failed
        .iter()
        .map(|(_, id, refusal)| (id.as_str(), refusal.kind))
        .collect();
    assert_eq!(
        failed,
        [
            ("old", RefusalKind::Other),
            ("stopped", RefusalKind::OptedOut)
        ]
    );
    assert_eq!(world.state("old").await, State::Failed);
    assert_eq!(world.state("stopped").await, State::Failed);
    world.failed_with("old", "7004 Not sent in time").await;
    world.failed_with("stopped", "7003 Recipient").await;
    let queue = lane("a", Destination::Status);
    let told: Vec<_> = world
        .relayed(&queue, DAY + 1)
        .await
        .into_iter()
        .map(|callback| match callback {
            Callback::Status(entry) => {
                assert_eq!((entry.status, entry.at), (Status::Failed, at(DAY + 1)));
                (entry.msg_id.to_string(), entry.error.unwrap().kind)
            }
            Callback::Inbound(_) => panic!(),
        })
        .collect();
    let expected = [
        ("old", RefusalKind::Other),
        ("stopped", RefusalKind::OptedOut),
    ];
    assert_eq!(told, expected.map(|(id, code)| (id.to_owned(), code)));
    assert_eq!(world.ledger().await.failed, 2);
    world.check().await;
}

async fn failed_ones_do_not_use_up_a_claim(new: NewWorld) {
    let world = new();
    world.accept("old1", 1, 0).await;
    world.accept("old2", 1, 0).await;
    world.accept("m1", 1, DAY).await;
    let mut taken = Vec::new();
    for _ in 0..3 {
        let claims = world.claims(&["a"], 1, DAY + 1).await;
        taken.extend(ids(&claims.taken));
    }
    assert_eq!(taken, ["a/m1"]);
    world.check().await;
}

async fn many_tries_do_not_make_a_record_grow_without_end(new: NewWorld) {
    let world = new();
    world.accept("m1", 1, 0).await;
    for second in 0..150 {
        let claimed = world.claim(second).await.remove(0);
        let end = Settlement::retry(at(second));
        let settled = world
            .store
            .settle(&claimed, end, "x".repeat(300), at(second));
        settled.await.unwrap();
    }
    let claimed = world.claim(200).await.remove(0);
    world.settle(&claimed, receipt("P1"), 200).await;
    let record = world.record("m1").await;
    assert_eq!(record.attempts, 151);
    assert_eq!(record.history.last().unwrap().what, "receipt");
    let size: usize = record.history.iter().map(|line| line.detail.len()).sum();
    assert!(size < 20_000, "{size}");
}

async fn what_was_tried_before_does_not_wait_behind_the_backlog(new: NewWorld) {
    let world = new();
    let claimed = world.attempt("tried", 1, 0).await;
    for n in 2..50 {
        world.accept(&format!("m{n}"), n, 1).await;
    }
    world.settle(&claimed, Settlement::retry(at(60)), 2).await;
    let early = world.claims(&["a"], 1, 59).await.taken;
    assert_eq!(
        early[0].message.msg_id.as_str(),
        "m2",
        "not before it is due"
    );
    let first = world.claims(&["a"], 1, 60).await.taken;
    assert_eq!(first[0].message.msg_id.as_str(), "tried");
}
