//! Redis goes back to an older state (a copy is put back, the end of its file is lost, a replica that lagged takes
//! over) while the processes that sent live: nobody gets anything twice, and nothing is lost.

mod quoted;

use super::on_redis::{OnRedis, pair};
use super::*;

/// All that Redis has.
struct Copy(Vec<(String, Vec<u8>)>);

/// Which server the older state is on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum On {
    Same,
    Another,
}

impl OnRedis {
    async fn ask<T: ::redis::FromRedisValue>(&self, words: &[&[u8]]) -> T {
        let mut command = ::redis::Cmd::new();
        words.iter().for_each(|word| {
            command.arg(*word);
        });
        self.server.link().command(&command).await.unwrap()
    }

    async fn copy(&self) -> Copy {
        let keys: Vec<String> = self.ask(&[b"KEYS", b"*"]).await;
        let mut all = Vec::new();
        for key in keys {
            let kept = self.ask(&[b"DUMP", key.as_bytes()]).await;
            all.push((key, kept));
        }
        Copy(all)
    }

    /// Redis says what it said then.
    async fn put_back(&self, copy: &Copy, on: On, worlds: [&World; 2]) {
        match on {
            On::Same => drop(self.say("FLUSHDB").await),
            On::Another => self.server.restart(),
        }
        for (key, kept) in &copy.0 {
            let words: [&[u8]; 4] = [b"RESTORE", key.as_bytes(), b"0", kept];
            let _: String = self.ask(&words).await;
        }
        for world in worlds {
            // Whoever asks first meets connections that are broken.
            world.store.look().await.unwrap();
            world.store.count_open().await.unwrap();
        }
    }

    /// A new start that lost nothing.
    async fn restarted(&self, worlds: [&World; 2]) {
        self.put_back(&self.copy().await, On::Another, worlds).await;
    }
}

async fn renewed(worlds: [&World; 2]) {
    for world in worlds {
        world.store.renew().await.unwrap();
    }
}

impl World {
    fn is_open(&self) -> bool {
        self.store.is_open(&account())
    }

    async fn until_state(&self, id: &str, state: State) {
        let give_up = tokio::time::Instant::now() + secs(10);
        while self.state(id).await != state {
            assert!(
                tokio::time::Instant::now() < give_up,
                "{id} is {:?}, not {state:?}",
                self.state(id).await
            );
            // waits because ends are stored beside everything else; bounded
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// The roll is called until all answered.
async fn called(worlds: [&World; 2]) {
    for _ in 0..3 {
        renewed(worlds).await;
    }
    assert!(worlds.iter().all(|world| world.is_open()));
}

/// What the older state says of the message.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Was {
    Absent,
    Queued,
    Taken,
    /// Being sent by the other process, which gave it back since.
    TakenByAnother,
    /// Of an earlier attempt, which was repeated since.
    Unknown,
    Ended,
}

const WAS: [Was; 6] = [
    Was::Absent,
    Was::Queued,
    Was::Taken,
    Was::TakenByAnother,
    Was::Unknown,
    Was::Ended,
];

/// How the attempt ended, if it did, and the state then.
fn ends() -> [(Option<Settlement>, State); 5] {
    let failed = Settlement::failed(refusal());
    [
        (None, State::Attempting),
        (Some(receipt("P1")), State::Accepted),
        (Some(Settlement::retry(at(20))), State::Queued),
        (Some(failed), State::Failed),
        (Some(unknown_until(900)), State::Unknown),
    ]
}

/// The first process sends `m1`; what it took, and the state that Redis goes back to.
async fn sends(
    redis: &OnRedis,
    [first, second]: [&World; 2],
    was: Was,
    end: Option<&Settlement>,
) -> (ClaimedMessage, Copy) {
    let mut copy = redis.copy().await;
    first.accept("m1", 1, 0).await;
    if was == Was::Queued {
        copy = redis.copy().await;
    }
    if let Was::TakenByAnother | Was::Unknown = was {
        let theirs = second.claim(1).await.remove(0);
        if was == Was::Unknown {
            second.settle(&theirs, unknown_until(2), 1).await;
            copy = redis.copy().await;
            second.sweep(true, 3).await;
        } else {
            copy = redis.copy().await;
            second.settle(&theirs, Settlement::retry(at(2)), 1).await;
        }
    }
    let taken = first.claim(5).await.remove(0);
    if was == Was::Taken {
        copy = redis.copy().await;
    }
    if let Some(end) = end {
        first.settle(&taken, end.clone(), 6).await;
    }
    if was == Was::Ended {
        copy = redis.copy().await;
    }
    (taken, copy)
}

async fn one_of_each(was: Was, (end, state): (Option<Settlement>, State), on: On, order: bool) {
    let case = format!("{was:?} {end:?} {on:?} {order}");
    let (redis, first, second) = pair();
    renewed([&first, &second]).await;
    let (taken, copy) = sends(&redis, [&first, &second], was, end.as_ref()).await;
    renewed([&first, &second]).await;
    redis.put_back(&copy, on, [&first, &second]).await;
    if on == On::Another {
        assert!(second.claim(30).await.is_empty(), "{case}: before anybody noticed");
    }
    let mut worlds = [&first, &second];
    if order {
        worlds.reverse();
    }
    called(worlds).await;
    first.until_state("m1", state).await;
    first.check().await;
    let ledger = first.ledger().await;
    assert_eq!(ledger.accepted, 1, "{case}");
    let again = second.claim(30).await;
    assert_eq!(again.len(), usize::from(state == State::Queued), "{case}");
    if end.is_none() {
        first.settle(&taken, receipt("P1"), 31).await;
        assert_eq!(second.state("m1").await, State::Accepted, "{case}");
    }
    let failed = if state == State::Failed { vec!["m1 failed"] } else { vec![] };
    assert_eq!(second.statuses(40).await, failed, "{case}");
    second.check().await;
}

#[tokio::test]
async fn r_52_r_55_what_was_sent_is_put_back_as_it_was() {
    for was in WAS {
        for end in ends() {
            one_of_each(was, end, On::Another, false).await;
        }
    }
}

#[tokio::test]
async fn r_52_a_copy_put_back_on_a_running_server_is_noticed() {
    for was in [Was::Absent, Was::Queued, Was::Unknown, Was::TakenByAnother] {
        for end in ends() {
            one_of_each(was, end, On::Same, true).await;
        }
    }
}

/// Both remember an attempt of one message; whoever answers first, the later one counts.
#[tokio::test]
async fn r_55_of_two_attempts_that_are_remembered_the_later_one_counts() {
    for order in [false, true] {
        let (redis, first, second) = pair();
        renewed([&first, &second]).await;
        let copy = redis.copy().await;
        let before = first.attempt("m1", 1, 0).await;
        first.settle(&before, Settlement::retry(at(1)), 1).await;
        let taken = second.claim(2).await.remove(0);
        second.settle(&taken, receipt("P1"), 3).await;
        redis.put_back(&copy, On::Another, [&first, &second]).await;
        let mut worlds = [&first, &second];
        if order {
            worlds.reverse();
        }
        called(worlds).await;
        second.until_state("m1", State::Accepted).await;
        // The first says its end too, and nothing comes of it.
        first.store.leave(&[]).await.unwrap();
        assert_eq!(second.state("m1").await, State::Accepted, "{order}");
        second.check().await;
    }
}

/// MoEngage repeats a message that the older state does not know, before the roll was called.
#[tokio::test]
async fn r_55_a_message_that_was_accepted_once_more_is_not_sent_once_more() {
    let (redis, first, second) = pair();
    renewed([&first, &second]).await;
    let copy = redis.copy().await;
    first.sent("m1", 1, "P1", 0).await;
    let taken = first.attempt("m2", 2, 0).await;
    redis.put_back(&copy, On::Another, [&first, &second]).await;
    for (id, to) in [("m1", 1), ("m2", 2)] {
        assert_eq!(second.accept(id, to, 1).await, Accepted::Stored);
    }
    called([&first, &second]).await;
    assert!(second.claim(2).await.is_empty());
    first.until_state("m1", State::Accepted).await;
    first.settle(&taken, receipt("P2"), 3).await;
    assert_eq!(second.state("m2").await, State::Accepted);
    assert_eq!(second.ledger().await.accepted, 2);
    second.check().await;
}

#[tokio::test]
async fn r_55_an_attempt_that_nobody_remembers_is_unknown_and_never_queued() {
    let (redis, first, second) = pair();
    renewed([&first, &second]).await;
    first.accept("m1", 1, 0).await;
    let by = redis.replica(0);
    let id = redis.say("GET gw:{acc}:i:a:m1").await;
    for words in [
        format!("ZREM gw:{{acc}}:q:a {id}"),
        format!("HSET gw:{{acc}}:m:{id} s 1 ow {by}:7 n 1"),
        format!("HSET gw:{{acc}}:att:{by} {id} 7"),
        "HINCRBY gw:{acc}:l:a queued -1".to_owned(),
        "HINCRBY gw:{acc}:l:a attempting 1".to_owned(),
    ] {
        redis.say(&words).await;
    }
    renewed([&first, &second]).await;
    assert_eq!(first.state("m1").await, State::Attempting);
    redis.restarted([&first, &second]).await;
    called([&first, &second]).await;
    assert_eq!(first.state("m1").await, State::Unknown);
    first.check().await;
}

#[tokio::test]
async fn r_52_nothing_is_handed_out_until_all_answered_or_are_gone() {
    let (redis, first, second) = pair();
    renewed([&first, &second]).await;
    first.lost("m2", 2, 0, 1).await;
    first.accept("m1", 1, 0).await;
    redis.restarted([&first, &second]).await;
    for _ in 0..3 {
        first.store.renew().await.unwrap();
        assert!(first.claim(2).await.is_empty());
        assert!(!first.is_open());
    }
    // Not by time either.
    let swept = first.sweep(true, 10).await;
    assert!(swept.resent.is_empty() && swept.failed.is_empty());
    assert_eq!(first.state("m2").await, State::Unknown);
    // Accepts and ends go on.
    assert_eq!(first.accept("m3", 3, 2).await, Accepted::Stored);
    let time = redis.say("TIME").await;
    let now: u64 = time.split(' ').next().unwrap().parse().unwrap();
    let silent = format!("HSET gw:{{acc}}:roll w:{} {}000", redis.replica(1), now - 16);
    redis.say(&silent).await;
    first.store.renew().await.unwrap();
    assert!(first.is_open());
    assert_eq!(first.claim(11).await.len(), 2);
    // It was only slow.
    second.store.renew().await.unwrap();
    assert!(second.is_open());
}

/// The roll was over before a process that slept came back: what it sent ends as it did.
#[tokio::test]
async fn r_55_whoever_comes_when_the_roll_is_over_still_puts_back_what_it_remembers() {
    let (redis, first, second) = pair();
    renewed([&first, &second]).await;
    let taken = second.attempt("m1", 1, 0).await;
    renewed([&first, &second]).await;
    let copy = redis.copy().await;
    second.settle(&taken, receipt("P1"), 1).await;
    redis.put_back(&copy, On::Another, [&first, &second]).await;
    first.store.renew().await.unwrap();
    let silent = format!("HSET gw:{{acc}}:roll w:{} 1", redis.replica(1));
    redis.say(&silent).await;
    first.store.renew().await.unwrap();
    assert!(first.is_open());
    assert_eq!(first.state("m1").await, State::Attempting);
    second.store.renew().await.unwrap();
    second.until_state("m1", State::Accepted).await;
    assert!(second.is_open());
}

/// The clock of the server that takes over is far behind.
#[tokio::test]
async fn r_55_a_server_whose_clock_is_behind_calls_the_roll_once() {
    let (redis, first, second) = pair();
    renewed([&first, &second]).await;
    let copy = redis.copy().await;
    // Steps of the year 2100.
    redis.say("SET gw:{acc}:oseq 4102444800000000").await;
    first.sent("m1", 1, "P1", 0).await;
    redis.put_back(&copy, On::Another, [&first, &second]).await;
    called([&first, &second]).await;
    for n in 2..5 {
        first.sent(&format!("m{n}"), n, &format!("P{n}"), 1).await;
        renewed([&first, &second]).await;
        assert!(first.is_open() && second.is_open());
    }
    first.check().await;
}

/// Whoever ends says first what only it remembers.
#[tokio::test]
async fn r_55_a_process_that_leaves_is_not_waited_for() {
    let (redis, first, second) = pair();
    renewed([&first, &second]).await;
    let copy = redis.copy().await;
    first.sent("m1", 1, "P1", 0).await;
    redis.put_back(&copy, On::Another, [&first, &second]).await;
    first.store.leave(&[]).await.unwrap();
    second.store.renew().await.unwrap();
    assert!(second.is_open());
    assert_eq!(second.state("m1").await, State::Accepted);
    second.check().await;
}

/// A plain restart puts back what may be missing only, and changes nothing.
#[tokio::test]
async fn r_55_a_server_that_forgot_nothing_is_told_nothing_anew() {
    let (redis, first, second) = pair();
    for n in 1..=3 {
        first.sent(&format!("m{n}"), n, &format!("P{n}"), 0).await;
    }
    let taken = first.attempt("m4", 4, 0).await;
    renewed([&first, &second]).await;
    let before = redis.copy().await;
    redis.restarted([&first, &second]).await;
    called([&first, &second]).await;
    let after = redis.copy().await;
    let of = |copy: &Copy| {
        let mut rows: Vec<_> = copy.0.iter().filter(|(key, _)| key.contains(":d:") || key.contains(":m:")).cloned().collect();
        rows.sort();
        rows
    };
    assert_eq!(of(&before), of(&after));
    first.settle(&taken, receipt("P4"), 1).await;
    assert_eq!(second.state("m4").await, State::Accepted);
    second.check().await;
}

/// The second process shows no sign of life, so the first one ends the roll call without it.
async fn ends_without_second(redis: &OnRedis, first: &World) {
    let silent = format!("HSET gw:{{acc}}:roll w:{} 1", redis.replica(1));
    redis.say(&silent).await;
    for _ in 0..2 {
        first.store.renew().await.unwrap();
    }
}

/// Two messages waited in a copy; the second process sent them since, and died. What the first one makes of it.
async fn held() -> (std::rc::Rc<OnRedis>, World, World) {
    held_after(false).await
}

/// The same; Redis may be restarted once more when the first process has answered.
async fn held_after(a_restart: bool) -> (std::rc::Rc<OnRedis>, World, World) {
    let (redis, first, second) = pair();
    renewed([&first, &second]).await;
    for n in 1..=2 {
        first.accept(&format!("m{n}"), n, 0).await;
    }
    let copy = redis.copy().await;
    for (n, taken) in (1..).zip(second.claim(1).await) {
        second.settle(&taken, receipt(&format!("P{n}")), 1).await;
    }
    renewed([&first, &second]).await;
    redis
        .put_back(&copy, On::Another, [&first, &second])
        .await;
    first.store.renew().await.unwrap();
    assert_eq!(first.store.went_back(&account()), None, "it may be slow");
    if a_restart {
        redis.restarted([&first, &second]).await;
        first.store.renew().await.unwrap();
    }
    ends_without_second(&redis, &first).await;
    (redis, first, second)
}

#[tokio::test]
async fn r_52_what_a_process_sent_that_died_is_held_until_an_operator_releases_it() {
    let (redis, first, second) = held().await;
    let back = first.store.went_back(&account()).unwrap();
    assert_eq!((back.waited, back.silent), (2, 1));
    assert!(back.since.0 > 0);
    assert!(first.claim(2).await.is_empty());
    assert_eq!(first.accept("m3", 3, 2).await, Accepted::Stored);
    // A further restart ends nothing, nor does a new process.
    redis.restarted([&first, &second]).await;
    let third = World {
        store: redis.open(),
        home: redis.clone(),
    };
    for world in [&first, &third] {
        redis
            .say(&format!("HSET gw:{{acc}}:roll w:{} 1", redis.replica(1)))
            .await;
        world.store.renew().await.unwrap();
    }
    redis
        .say(&format!("HSET gw:{{acc}}:roll w:{} 1", redis.replica(1)))
        .await;
    for world in [&first, &third] {
        world.store.renew().await.unwrap();
        let still = world.store.went_back(&account()).unwrap();
        assert_eq!((still.waited, still.since), (2, back.since));
        assert!(world.claim(3).await.is_empty());
    }
    assert!(third.store.open_again(&account()).await.unwrap());
    assert!(!third.store.open_again(&account()).await.unwrap());
    first.store.renew().await.unwrap();
    assert_eq!(first.store.went_back(&account()), None);
    assert_eq!(first.claim(4).await.len(), 3);
    first.check().await;
}

/// A process dies together with the end of the file, long before the next renewal of another.
#[tokio::test]
async fn r_52_what_a_process_sent_right_before_it_died_is_held() {
    let (redis, first, second) = pair();
    renewed([&first, &second]).await;
    first.accept("m1", 1, 0).await;
    let copy = redis.copy().await;
    first.accept("m2", 2, 1).await;
    let taken = second.claims(&["a"], 1, 1).await.taken.remove(0);
    second.settle(&taken, receipt("P1"), 1).await;
    // Its own claim is the last one.
    assert_eq!(first.claim(1).await.len(), 1);
    first.store.look().await.unwrap();
    redis
        .put_back(&copy, On::Another, [&first, &second])
        .await;
    first.store.renew().await.unwrap();
    ends_without_second(&redis, &first).await;
    let back = first.store.went_back(&account()).unwrap();
    assert_eq!((back.waited, back.silent), (1, 1));
    assert!(first.claim(2).await.is_empty());
}

#[tokio::test]
async fn r_52_a_restart_of_redis_during_the_roll_call_forgets_nothing() {
    let (_redis, first, second) = held_after(true).await;
    let back = first.store.went_back(&account()).unwrap();
    assert_eq!((back.waited, back.silent), (2, 1));
    assert!(first.claim(2).await.is_empty());
    // Who was silent comes back and says what it sent: nobody need decide.
    for world in [&second, &first] {
        world.store.renew().await.unwrap();
    }
    for id in ["m1", "m2"] {
        second.until_state(id, State::Accepted).await;
    }
    first.store.renew().await.unwrap();
    assert_eq!(first.store.went_back(&account()), None);
    assert!(first.is_open());
    assert!(first.claim(3).await.is_empty());
    first.check().await;
}

#[tokio::test]
async fn r_52_what_waited_in_the_older_state_fails_and_what_came_since_is_sent() {
    let (_redis, first, second) = held().await;
    assert_eq!(first.accept("m3", 3, 2).await, Accepted::Stored);
    assert_eq!(first.store.fail_copy(&account(), &channel("a"), at(3)).await.unwrap(), 2);
    assert_eq!(first.store.fail_copy(&account(), &channel("a"), at(3)).await.unwrap(), 0);
    assert_eq!(first.statuses(3).await, ["m1 failed", "m2 failed"]);
    assert!(first.store.open_again(&account()).await.unwrap());
    let taken = first.claim(4).await;
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].message.msg_id.as_str(), "m3");
    assert_eq!(
        first.store.fail_copy(&account(), &channel("a"), at(5)).await.unwrap(),
        0,
        "nothing is held"
    );
    // Evidence still counts: it was sent.
    first.event("P1", Status::Delivered, Some(1), 6).await;
    assert_eq!(first.state("m1").await, State::Accepted);
    assert_eq!(first.state("m2").await, State::Failed);
    // It was not dead after all.
    second.store.renew().await.unwrap();
    second.until_state("m2", State::Accepted).await;
    first.check().await;
}

/// A status came while it was held, of a message that is given up then.
#[tokio::test]
async fn r_52_what_came_while_it_was_held_says_what_was_sent() {
    let (_redis, first, _second) = held().await;
    first.event("P1", Status::Delivered, Some(1), 2).await;
    assert_eq!(first.store.fail_copy(&account(), &channel("a"), at(3)).await.unwrap(), 2);
    assert_eq!(first.state("m1").await, State::Failed);
    first.store.infer_receipts(&account(), at(3)).await.unwrap();
    assert_eq!(first.state("m1").await, State::Accepted);
    assert_eq!(first.state("m2").await, State::Failed);
    assert_eq!(first.statuses(4).await, ["m1 failed", "m2 failed", "m1 delivered"]);
    first.check().await;
}

/// What had come before the copy was made is of something else.
#[tokio::test]
async fn r_52_what_came_before_the_copy_proves_nothing_of_what_was_sent_since() {
    let (redis, first, second) = pair();
    renewed([&first, &second]).await;
    first.sent("m0", 9, "P0", 0).await;
    first.event("of-an-agent", Status::Delivered, Some(1), 0).await;
    first.accept("m1", 1, 0).await;
    renewed([&first, &second]).await;
    let copy = redis.copy().await;
    let taken = second.claim(1).await.remove(0);
    second.settle(&taken, receipt("P1"), 1).await;
    renewed([&first, &second]).await;
    redis.put_back(&copy, On::Another, [&first, &second]).await;
    first.store.renew().await.unwrap();
    ends_without_second(&redis, &first).await;
    assert!(first.store.went_back(&account()).is_some());
    assert_eq!(first.store.fail_copy(&account(), &channel("a"), at(3)).await.unwrap(), 1);
    first.store.infer_receipts(&account(), at(3)).await.unwrap();
    assert_eq!(first.state("m1").await, State::Failed);
    first.event("P1", Status::Delivered, Some(1), 4).await;
    assert_eq!(first.state("m1").await, State::Accepted);
    first.check().await;
}

/// The second process sends `m1` and `m2`; then the first one tries `m3` in vain, and the second one may send it after
/// that. It dies, and Redis goes back to where all of them waited.
async fn one_in_vain(is_sent: bool) -> (std::rc::Rc<OnRedis>, World, World) {
    let (redis, first, second) = pair();
    renewed([&first, &second]).await;
    first.sent("m0", 9, "P0", 0).await;
    for n in 1..=3 {
        first.accept(&format!("m{n}"), n, 0).await;
    }
    let copy = redis.copy().await;
    let mut theirs = second.claims(&["a"], 2, 1).await.taken;
    let mine = first.claim(1).await.remove(0);
    assert_eq!(mine.message.msg_id.as_str(), "m3");
    first.settle(&mine, Settlement::retry(at(20)), 1).await;
    if is_sent {
        theirs.extend(second.claim(21).await);
    }
    for (n, taken) in (1..).zip(theirs) {
        second.settle(&taken, receipt(&format!("P{n}")), 21).await;
    }
    renewed([&first, &second]).await;
    redis
        .put_back(&copy, On::Another, [&first, &second])
        .await;
    first.store.renew().await.unwrap();
    ends_without_second(&redis, &first).await;
    first.until_state("m3", State::Queued).await;
    // It is judged when the ends are stored.
    super::shared::until("sending is held", async || {
        first.store.renew().await.unwrap();
        first.store.went_back(&account()).is_some()
    })
    .await;
    let waited = first.store.went_back(&account()).unwrap().waited;
    assert_eq!(waited, if is_sent { 3 } else { 2 });
    (redis, first, second)
}

async fn given_up(world: &World) -> usize {
    let given_up = world.store.fail_copy(&account(), &channel("a"), at(3)).await;
    assert!(world.store.open_again(&account()).await.unwrap());
    world.check().await;
    given_up.unwrap()
}

#[tokio::test]
async fn r_52_what_a_process_knows_that_nobody_sent_is_not_given_up() {
    let (_redis, first, _second) = one_in_vain(false).await;
    assert_eq!(given_up(&first).await, 2);
    assert_eq!(first.statuses(3).await, ["m1 failed", "m2 failed"]);
    let taken = first.claim(30).await;
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].message.msg_id.as_str(), "m3");
}

#[tokio::test]
async fn r_52_what_somebody_else_may_have_sent_after_it_was_tried_in_vain_is_given_up() {
    let (_redis, first, _second) = one_in_vain(true).await;
    assert_eq!(given_up(&first).await, 3);
    assert!(first.claim(30).await.is_empty());
}

/// What the third process saw the dead one send, the first one did not see.
#[tokio::test]
async fn r_52_who_saw_less_takes_nothing_back() {
    let (redis, first, second) = pair();
    let third = World {
        store: redis.open(),
        home: redis.clone(),
    };
    renewed([&first, &second]).await;
    third.store.renew().await.unwrap();
    first.sent("m0", 9, "P0", 0).await;
    first.accept("n1", 7, 0).await;
    first.accept("m1", 1, 5).await;
    let copy = redis.copy().await;
    let early = second.claim(1).await.remove(0);
    second.settle(&early, receipt("N1"), 1).await;
    first.store.look().await.unwrap();
    let mine = first.claim(6).await.remove(0);
    first.settle(&mine, Settlement::retry(at(20)), 6).await;
    let theirs = second.claim(21).await.remove(0);
    assert_eq!(theirs.message.msg_id, mine.message.msg_id);
    second.settle(&theirs, receipt("P1"), 21).await;
    third.store.look().await.unwrap();
    redis
        .put_back(&copy, On::Another, [&first, &third])
        .await;
    third.store.renew().await.unwrap();
    ends_without_second(&redis, &first).await;
    first.until_state("m1", State::Queued).await;
    first.store.renew().await.unwrap();
    assert!(first.store.went_back(&account()).is_some());
    assert_eq!(given_up(&first).await, 2);
    assert!(first.claim(30).await.is_empty());
}

/// Where nothing waits nothing can be sent twice.
#[tokio::test]
async fn r_52_a_store_that_is_empty_is_held_for_nobody() {
    let (redis, first, second) = pair();
    renewed([&first, &second]).await;
    second.sent("m1", 1, "P1", 0).await;
    renewed([&first, &second]).await;
    redis
        .put_back(&Copy(Vec::new()), On::Another, [&first, &second])
        .await;
    for _ in 0..2 {
        first.store.renew().await.unwrap();
        let silent = format!("HSET gw:{{acc}}:roll w:{} 1", redis.replica(1));
        redis.say(&silent).await;
    }
    first.store.renew().await.unwrap();
    assert!(first.is_open());
    assert_eq!(first.store.went_back(&account()), None);
}

/// What came since a wipe was sent by nobody, however much was sent before.
#[tokio::test]
async fn r_52_what_came_after_a_wipe_is_sent_though_somebody_does_not_answer() {
    let (redis, first, second) = pair();
    renewed([&first, &second]).await;
    second.sent("m1", 1, "P1", 0).await;
    renewed([&first, &second]).await;
    redis
        .put_back(&Copy(Vec::new()), On::Another, [&first, &second])
        .await;
    // By the clock of Redis, as a message that comes now.
    let now = crate::clock::now();
    let (channel, account, message) = (channel("a"), account(), message("m2", 2));
    let accepted = first.store.accept(&channel, &account, &message, now);
    assert_eq!(accepted.await.unwrap(), Accepted::Stored);
    for _ in 0..2 {
        first.store.renew().await.unwrap();
        let silent = format!("HSET gw:{{acc}}:roll w:{} 1", redis.replica(1));
        redis.say(&silent).await;
    }
    first.store.renew().await.unwrap();
    assert!(first.is_open());
    assert_eq!(first.store.went_back(&account), None);
}

/// Everybody who sent left in order, and a new process came: it knows that somebody claimed later than the copy says.
#[tokio::test]
async fn r_52_what_was_sent_by_who_left_before_the_copy_was_put_back_is_held() {
    let (redis, first, second) = pair();
    renewed([&first, &second]).await;
    first.accept("m1", 1, 0).await;
    first.accept("m2", 2, 0).await;
    let copy = redis.copy().await;
    for (n, taken) in (1..).zip(second.claim(1).await) {
        second.settle(&taken, receipt(&format!("P{n}")), 1).await;
    }
    for world in [&first, &second] {
        world.store.leave(&[]).await.unwrap();
    }
    let third = World {
        store: redis.open(),
        home: redis.clone(),
    };
    third.store.renew().await.unwrap();
    redis.put_back(&copy, On::Another, [&third, &third]).await;
    third.store.renew().await.unwrap();
    for n in 0..2 {
        let silent = format!("HSET gw:{{acc}}:roll w:{} 1", redis.replica(n));
        redis.say(&silent).await;
    }
    for _ in 0..2 {
        third.store.renew().await.unwrap();
    }
    assert!(third.store.went_back(&account()).is_some());
    assert!(third.claim(2).await.is_empty());
}

/// Who posted a webhook was told that it is stored.
#[tokio::test]
async fn r_55_statuses_and_replies_that_redis_forgot_are_told_all_the_same() {
    for on in [On::Same, On::Another] {
        let (redis, first, second) = pair();
        renewed([&first, &second]).await;
        first.sent("m1", 1, "P1", 0).await;
        renewed([&first, &second]).await;
        let copy = redis.copy().await;
        // Its receipt is forgotten too.
        second.sent("m2", 2, "P2", 1).await;
        first.event("P1", Status::Delivered, None, 2).await;
        for status in [Status::Delivered, Status::Read] {
            first.event("P2", status, None, 2).await;
        }
        let said = Incoming::Reply(reply(1, "fine"));
        first.events(vec![said, Incoming::Reply(reply(2, "STOP"))], 3).await;
        redis.put_back(&copy, on, [&first, &second]).await;
        called([&first, &second]).await;
        first.until_state("m2", State::Accepted).await;
        super::shared::until("all of it is there", async || {
            let ledger = first.ledger().await;
            // Delivered; read, which was told after delivered, perhaps; two replies.
            ledger.callbacks_waiting == 4
        })
        .await;
        let told = first.statuses(4).await;
        assert!(told.contains(&"m1 delivered".to_owned()), "{told:?}");
        assert!(told.contains(&"m2 read".to_owned()), "{told:?}");
        assert_eq!(first.accept("m3", 2, 4).await, Accepted::OptedOut(OptOut::All));
        second.check().await;
    }
}

/// What Redis knows still is told once.
#[tokio::test]
async fn r_55_what_redis_knows_is_not_told_again() {
    let (redis, first, second) = pair();
    first.sent("m1", 1, "P1", 0).await;
    first.event("P1", Status::Delivered, None, 1).await;
    first.event("P9", Status::Delivered, None, 1).await;
    first.events(vec![Incoming::Reply(reply(1, "fine"))], 1).await;
    renewed([&first, &second]).await;
    let before = first.ledger().await;
    redis.restarted([&first, &second]).await;
    called([&first, &second]).await;
    // Whoever leaves waits for it.
    first.store.leave(&[]).await.unwrap();
    let after = second.ledger().await;
    assert_eq!(before.callbacks_waiting, after.callbacks_waiting);
    assert_eq!(second.statuses(2).await, ["m1 delivered"]);
    second.check().await;
}

/// Who wrote START and then STOP through another process does not get messages again.
#[tokio::test]
async fn r_55_a_start_that_redis_forgot_lifts_no_later_stop() {
    let (redis, first, second) = pair();
    first.sent("m1", 1, "P1", 0).await;
    renewed([&first, &second]).await;
    let copy = redis.copy().await;
    first.events(vec![Incoming::Reply(reply(1, "START"))], 1).await;
    second.events(vec![Incoming::Reply(reply(1, "STOP"))], 2).await;
    redis.put_back(&copy, On::Another, [&first, &second]).await;
    for worlds in [[&second, &first], [&first, &second]] {
        called(worlds).await;
    }
    for world in [&second, &first] {
        world.store.leave(&[]).await.unwrap();
    }
    assert_eq!(first.accept("m2", 1, 3).await, Accepted::OptedOut(OptOut::All));
}

#[tokio::test]
async fn r_55_messages_that_redis_lost_before_anybody_sent_them_are_counted() {
    let (redis, first, second) = pair();
    renewed([&first, &second]).await;
    first.accept("m1", 1, 0).await;
    let copy = redis.copy().await;
    for n in 2..=5 {
        first.accept(&format!("m{n}"), n, 0).await;
    }
    second.accept("n1", 9, 0).await;
    // One is sent by the other process: who is first in line.
    let taken = second.claims(&["a"], 2, 1).await.taken;
    assert_eq!(taken[1].message.msg_id.as_str(), "m2");
    for (n, taken) in (1..).zip(taken) {
        second.settle(&taken, receipt(&format!("P{n}")), 1).await;
    }
    redis.put_back(&copy, On::Another, [&first, &second]).await;
    // Nobody waits for the roll call to accept.
    first.accept("n2", 8, 1).await;
    called([&first, &second]).await;
    let lost = || [&first, &second].map(|world| world.store.lost(&account()));
    let mut told = [0, 0];
    super::shared::until("both have counted", async || {
        let more = lost();
        told = [told[0] + more[0], told[1] + more[1]];
        told == [3, 1]
    })
    .await;
    assert_eq!(lost(), [0, 0], "each is told once");
    // A restart that loses nothing tells of none.
    first.accept("m6", 6, 1).await;
    renewed([&first, &second]).await;
    redis.restarted([&first, &second]).await;
    called([&first, &second]).await;
    assert_eq!(lost(), [0, 0]);
}

/// Also where a STOP is known by its words alone, which may be another one's each time.
#[tokio::test]
async fn r_55_a_stop_that_redis_knows_is_not_taken_again_after_a_start() {
    let (redis, first, second) = pair();
    first.sent("m1", 1, "P1", 0).await;
    let said = |text| {
        let mut reply = reply(1, text);
        reply.id = None;
        vec![Incoming::Reply(reply)]
    };
    first.events(said("STOP"), 1).await;
    first.events(said("START"), 2).await;
    renewed([&first, &second]).await;
    redis.restarted([&first, &second]).await;
    called([&first, &second]).await;
    first.store.leave(&[]).await.unwrap();
    assert_eq!(second.accept("m2", 1, 3).await, Accepted::Stored);
}
