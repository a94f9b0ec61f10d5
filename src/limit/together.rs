//! The shared rate against a real Redis: the script step by step, and several limiters at once.

use super::tests::crowd;
use super::*;
use crate::store::redis::rate::{Ask, Pause, Put, RateState, SharedRate, Slot};
use crate::store::testing::{RedisServer, link_by};
use proptest::prelude::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

const TOLERANCE: Duration = Duration::from_millis(4);
const SECOND: u64 = 1_000_000;
const RATE_KEY: &str = "gw:{default}:pace";
const CALLS_KEY: &str = "gw:{default}:calls";

fn account() -> AccountId {
    AccountId::parse("default").unwrap()
}

/// A replica that says what the test wants it to say.
struct Replica {
    link: Connection,
    rate: SharedRate,
    ask: Ask,
}

impl Replica {
    fn of(server: &RedisServer, per_second: Option<f64>, concurrency: usize) -> Self {
        let link = server.link();
        let ask = Ask {
            per_second,
            concurrency,
            put: Some(Put::Start),
            late: TOLERANCE,
            own: TOLERANCE,
            ..Ask::default()
        };
        Self {
            rate: SharedRate::new(link.clone(), &account()),
            link,
            ask,
        }
    }

    async fn say(&mut self, change: impl FnOnce(&mut Ask)) -> RateState {
        let mut ask = self.ask.clone();
        self.ask.step += 1;
        self.ask.put = None;
        ask.step = self.ask.step;
        change(&mut ask);
        self.rate.step(&ask).await.unwrap()
    }

    /// Slots for calls within a time from now on.
    async fn want(&mut self, most: usize, horizon: Duration) -> RateState {
        self.say(|ask| (ask.most, ask.counted, ask.horizon) = (most, true, horizon))
            .await
    }

    async fn command(&self, words: &[&str]) {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        self.link.command::<redis::Value>(&command).await.unwrap();
    }

    /// As if nobody had called for long: the next slot is now.
    async fn rest(&self) {
        self.command(&["HSET", RATE_KEY, "next", "0", "wait", "0"])
            .await;
    }
}

fn slots(report: &RateState) -> Vec<Slot> {
    report.slots.iter().map(|slot| slot.unwrap()).collect()
}

/// The share of the rate that is in force.
fn factor(report: &RateState) -> f64 {
    report.effective.unwrap() / report.per_second.unwrap()
}

fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

#[tokio::test]
async fn after_the_key_was_lost_the_first_slot_is_a_full_second_ahead() {
    let server = RedisServer::start();
    let mut replica = Replica::of(&server, Some(1000.0), 10);
    for _ in 0..2 {
        let report = replica.want(5, ms(20)).await;
        assert!(report.slots.is_empty());
        assert!(report.opens >= report.now + SECOND);
        let far = replica.want(1, ms(1500)).await;
        assert!(slots(&far)[0].at >= report.now + SECOND);
        replica.command(&["FLUSHALL"]).await;
    }
    let mut unlimited = Replica::of(&server, None, 10);
    let report = unlimited.want(5, ms(20)).await;
    assert!(report.slots.is_empty(), "others' calls are not known yet");
}

#[tokio::test]
async fn after_the_key_was_lost_room_is_left_for_a_start_as_late_as_is_allowed() {
    let server = RedisServer::start();
    let (mut one, mut two) = (
        Replica::of(&server, Some(1.1), 10),
        Replica::of(&server, Some(1.1), 10),
    );
    one.ask.late = ms(50);
    one.want(0, ms(0)).await;
    one.rest().await;
    let last = slots(&one.want(2, ms(1000)).await)[1];
    one.command(&["DEL", RATE_KEY]).await;
    // What is known of the loss must outlive the next step.
    one.want(0, ms(0)).await;
    let first = slots(&two.want(1, ms(2500)).await)[0];
    assert!(first.at >= last.at + 50_000 + SECOND, "{last:?} {first:?}");
}

#[tokio::test]
async fn a_damaged_rate_is_neither_no_limit_nor_the_end() {
    let server = RedisServer::start();
    let mut replica = Replica::of(&server, Some(10.0), 10);
    replica.want(1, ms(2000)).await;
    let me = replica.link.replica().to_owned();
    let damages: [&[&str]; 8] = [
        &["HSET", RATE_KEY, "rate", "nonsense"],
        &["HSET", RATE_KEY, "rate", "inf"],
        &["HSET", RATE_KEY, "rate", "-1", "most", "nonsense"],
        &["HSET", RATE_KEY, "next", "nonsense", "factor", "x"],
        &["HSET", CALLS_KEY, "dead", "nonsense"],
        &["HSET", CALLS_KEY, &me, "nonsense"],
        &["SET", RATE_KEY, "nonsense"],
        &["SET", CALLS_KEY, "nonsense"],
    ];
    for words in damages {
        replica.command(&["DEL", words[1]]).await;
        replica.command(words).await;
        let report = replica.want(1, ms(2500)).await;
        assert_eq!(report.per_second, Some(10.0), "{words:?}");
        assert_eq!(report.concurrency, 10, "{words:?}");
        assert_eq!(slots(&report).len(), 1, "{words:?}");
    }
}

#[tokio::test]
async fn a_clock_set_back_stops_nobody_for_longer_than_a_second() {
    let server = RedisServer::start();
    let mut replica = Replica::of(&server, Some(10.0), 10);
    let report = replica.want(1, ms(2000)).await;
    let later = (report.now + 3600 * SECOND).to_string();
    replica
        .command(&[
            "HSET",
            RATE_KEY,
            "next",
            &later,
            "wait_until",
            &later,
            "wait",
            "500000",
        ])
        .await;
    replica
        .command(&["HSET", RATE_KEY, "halved_at", &later, "factor_at", &later])
        .await;
    let entry = format!("10 1 {later}");
    replica.command(&["HSET", CALLS_KEY, "dead", &entry]).await;
    let report = replica.want(1, ms(20)).await;
    assert!(
        report.opens <= report.now + SECOND + SECOND / 9,
        "{report:?}"
    );
    assert_eq!(report.elsewhere, 10);
    let report = replica.say(|ask| ask.too_many = true).await;
    assert_eq!(report.effective, Some(5.0));
    // The dead replica is forgotten ten seconds from now, not in an hour.
    let entries = redis::cmd("HGET").arg(CALLS_KEY).arg("dead").to_owned();
    let entry: String = replica.link.command(&entries).await.unwrap();
    let ends: u64 = entry.split(' ').nth(2).unwrap().parse().unwrap();
    assert!(ends <= report.now + 10 * SECOND);
}

#[tokio::test]
async fn too_many_halves_once_a_second_for_all_and_pauses_all() {
    let server = RedisServer::start();
    let (mut one, mut two) = (
        Replica::of(&server, Some(10.0), 10),
        Replica::of(&server, Some(10.0), 10),
    );
    let first = one.want(0, ms(0)).await;
    for _ in 0..3 {
        one.say(|ask| ask.too_many = true).await;
        two.say(|ask| {
            (ask.too_many, ask.pause) = (true, Some(Pause::Begins(ms(7000))));
        })
        .await;
    }
    let report = one.want(1, ms(100)).await;
    // On a machine so busy that this took long, it may have been halved once a second.
    let seconds = 1 + (report.now - first.now) / SECOND;
    assert!(factor(&report) < 0.6, "{report:?}");
    assert!(factor(&report) >= 0.5f64.powi(seconds as i32), "{report:?}");
    assert!(report.slots.is_empty());
    assert!(report.opens >= first.now + 7 * SECOND);
    let long_ago = (report.now - 4 * SECOND).to_string();
    one.command(&["HSET", RATE_KEY, "factor_at", &long_ago])
        .await;
    let recovered = factor(&two.want(0, ms(0)).await) - factor(&report);
    assert!((0.2..0.5).contains(&recovered), "5 % a second: {recovered}");
}

#[tokio::test]
async fn calls_at_once_are_counted_over_all_and_a_dead_replica_is_forgotten() {
    let server = RedisServer::start();
    let (mut one, mut two) = (
        Replica::of(&server, None, 10),
        Replica::of(&server, None, 10),
    );
    one.want(0, ms(0)).await;
    one.rest().await;
    assert_eq!(one.want(7, ms(0)).await.slots.len(), 7);
    let report = two.want(7, ms(0)).await;
    assert_eq!((report.slots.len(), report.elsewhere), (3, 7));
    // An older step that comes late changes nothing.
    let stale = Ask {
        step: 1,
        ..one.ask.clone()
    };
    assert!(one.rate.step(&stale).await.is_err());
    assert_eq!(two.say(|ask| ask.in_flight = 3).await.elsewhere, 7);
    // The first one tells that five have ended.
    one.say(|ask| ask.in_flight = 2).await;
    two.ask.in_flight = 3;
    assert_eq!(two.want(9, ms(0)).await.slots.len(), 5);
    // It dies; its ten seconds end.
    let entry = format!("2 9 {}", report.now);
    two.command(&["HSET", CALLS_KEY, one.link.replica(), &entry])
        .await;
    two.ask.in_flight = 8;
    assert_eq!(two.want(9, ms(0)).await.slots.len(), 2);
}

#[tokio::test]
async fn an_unused_slot_is_free_again_unless_a_later_one_was_handed_out() {
    let server = RedisServer::start();
    let (mut one, mut two) = (
        Replica::of(&server, Some(3.0), 100),
        Replica::of(&server, Some(3.0), 100),
    );
    one.want(0, ms(0)).await;
    one.rest().await;
    let mut mine = slots(&one.want(3, ms(900)).await);
    mine.reverse();
    let back = mine.clone();
    let report = one.say(|ask| ask.unused = back[..2].to_vec()).await;
    assert_eq!(report.opens, mine[1].at);
    let theirs = slots(&two.want(1, ms(900)).await);
    assert_eq!(theirs[0].at, mine[1].at);
    let report = one.say(|ask| ask.unused = back[2..].to_vec()).await;
    assert_eq!(report.opens, theirs[0].after);
}

/// The test has the clock; each asks as at a round trip of 100 ms.
#[tokio::test]
async fn r_63_a_replica_goes_on_for_its_turn_and_then_another_one_leaves_room_for_the_clocks() {
    let server = RedisServer::start();
    let mut two = [1, 2].map(|_| Replica::of(&server, Some(10.0), 100));
    for replica in &mut two {
        replica.rate = SharedRate::on_a_clock(replica.link.clone(), &account());
        (replica.ask.late, replica.ask.lead) = (ms(120), ms(300));
    }
    let (mut all, mut hands) = (Vec::<(usize, u64)>::new(), 0);
    for n in 0..300 {
        let now = (1000 * SECOND + n * 50_000).to_string();
        two[0].command(&["SET", "gw:{default}:clock", &now]).await;
        // The second one never asks far enough ahead.
        for (who, horizon) in [(0, 400), (1, 20)] {
            let report = two[who].want(100, ms(horizon)).await;
            all.extend(slots(&report).iter().map(|slot| (who, slot.at)));
        }
    }
    for pair in all.windows(2) {
        let room = pair[1].1 - pair[0].1;
        let alone = (SECOND + 500 + 4_000) / 10;
        if pair[0].0 == pair[1].0 {
            assert!(room >= alone, "{pair:?}");
        } else {
            hands += 1;
            assert!(room >= alone + 116_000, "{pair:?}");
        }
    }
    assert!((2..=4).contains(&hands), "{hands} in 13 s");
}

#[tokio::test]
async fn a_rate_set_by_an_operator_is_everybodys_and_one_that_starts_does_not_undo_a_halving() {
    let server = RedisServer::start();
    let (mut one, mut two) = (
        Replica::of(&server, Some(10.0), 10),
        Replica::of(&server, Some(10.0), 10),
    );
    one.say(|ask| ask.too_many = true).await;
    assert!(factor(&two.want(0, ms(0)).await) < 0.6);
    let report = two
        .say(|ask| (ask.put, ask.per_second) = (Some(Put::Operator), Some(0.1)))
        .await;
    assert_eq!(
        (report.per_second, report.effective),
        (Some(0.1), Some(0.1))
    );
    one.rest().await;
    let report = one.want(1, ms(900)).await;
    assert_eq!(report.per_second, Some(0.1));
    assert!(report.opens > report.now + 10 * SECOND);
    let report = one
        .say(|ask| (ask.put, ask.per_second) = (Some(Put::Operator), Some(100.0)))
        .await;
    assert!(
        report.opens < report.now + 2 * SECOND,
        "not after the old interval"
    );
}

#[tokio::test]
async fn r_09_a_pause_of_all_is_shown_to_all_outlives_a_restart_and_ends_for_all() {
    let server = RedisServer::start();
    let mut one = Replica::of(&server, Some(10.0), 10);
    one.say(|ask| ask.pause = Some(Pause::Begins(ms(100_000_000))))
        .await;
    let hour = ms(3_600_000);
    for end in [Some(Pause::Ends), None] {
        // A process that starts finds it, and does not end it.
        let mut two = Replica::of(&server, Some(20.0), 10);
        let report = two.say(|ask| ask.put = Some(Put::Start)).await;
        assert!(
            report.wait > ms(1_000_000) && report.wait <= hour,
            "{report:?}"
        );
        assert!(report.opens > report.now + 1_000 * SECOND);
        let report = two
            .say(|ask| match end {
                Some(end) => ask.pause = Some(end),
                None => ask.put = Some(Put::Operator),
            })
            .await;
        assert!(report.opens <= report.now + 2 * SECOND, "{report:?}");
        assert!(one.want(0, ms(0)).await.wait <= ms(1000), "for all");
        one.say(|ask| ask.pause = Some(Pause::Begins(hour))).await;
    }
    assert_eq!(factor(&one.want(0, ms(0)).await), 1.0, "no rate was cut");
}

#[tokio::test]
async fn r_09_a_replica_hears_of_a_pause_and_of_its_end() {
    let server = RedisServer::start();
    let (one, two) = (
        shared(&server, Some(1000.0), 10),
        shared(&server, Some(1000.0), 10),
    );
    drop(one.maintenance().await);
    one.slow_down(Some(ms(600_000)));
    let report = timeout(ms(20_000), one.long_pause()).await.unwrap();
    assert!(report > ms(500_000));
    until("the other one hears of it", || two.now().pause.is_some()).await;
    assert!(timeout(ms(0), two.long_pause()).await.is_err(), "one tells");
    two.end_pause();
    let sent = timeout(ms(20_000), one.maintenance()).await;
    assert!(sent.is_ok(), "the pause has ended for the first one too");
}

#[tokio::test]
async fn r_10_without_a_rate_too_many_leads_to_the_rate_that_all_took() {
    let server = RedisServer::start();
    let (mut one, mut two) = (
        Replica::of(&server, None, 10),
        Replica::of(&server, None, 10),
    );
    one.say(|ask| ask.taken = 7).await;
    assert_eq!(two.say(|ask| ask.taken = 6).await.effective, None);
    let report = two.say(|ask| (ask.taken, ask.too_many) = (-1, true)).await;
    let rate = report.effective.unwrap();
    // On a machine so busy that this took long, part of it is over.
    assert!((1.0..12.1).contains(&rate), "{report:?}");
    assert_eq!(report.per_second, None);
    assert_eq!(
        one.want(0, ms(0)).await.effective.map(f64::round),
        Some(rate.round())
    );
    // Once a second at most, and never less than one call a second.
    for _ in 0..3 {
        one.say(|ask| ask.too_many = true).await;
    }
    for second in 0..20 {
        one.command(&["HSET", RATE_KEY, "halved_at", "0"]).await;
        let report = one.say(|ask| ask.too_many = true).await;
        assert!(report.effective >= Some(1.0), "{second}: {report:?}");
    }
    one.rest().await;
    let slots = slots(&one.want(3, ms(2500)).await);
    assert!(slots[1].at - slots[0].at > SECOND / 3, "{slots:?}");
    let long_ago = (slots[0].at - 30 * SECOND).to_string();
    one.command(&["HSET", RATE_KEY, "factor_at", &long_ago])
        .await;
    let grown = two.want(0, ms(0)).await.effective;
    assert!(grown.is_none_or(|rate| rate > 2.0), "{grown:?}");
    let report = two.say(|ask| ask.put = Some(Put::Operator)).await;
    assert_eq!(report.effective, None, "an operator ends it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_are_apart_whoever_asks_for_how_many() {
    let server = RedisServer::start();
    let strategy = (
        1u32..2000,
        prop::collection::vec((0usize..3, 0usize..30, 0u64..60, any::<bool>()), 1..40),
    );
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(24));
    let runtime = tokio::runtime::Handle::current();
    let check = |(rate, steps): (u32, Vec<(usize, usize, u64, bool)>)| {
        let story = async {
            let mut replicas: Vec<Replica> = (0..3)
                .map(|_| Replica::of(&server, Some(f64::from(rate)), 10_000))
                .collect();
            replicas[0].command(&["FLUSHALL"]).await;
            replicas[0].want(0, ms(0)).await;
            replicas[0].rest().await;
            let mut used: Vec<u64> = Vec::new();
            for (who, most, horizon, keep) in steps {
                let report = replicas[who].want(most, ms(horizon)).await;
                let granted = slots(&report);
                let last = report.now + horizon * 1000;
                assert!(
                    granted
                        .iter()
                        .all(|slot| (report.now..=last).contains(&slot.at))
                );
                if keep {
                    used.extend(granted.iter().map(|slot| slot.at));
                } else {
                    let back = granted.into_iter().rev().collect();
                    replicas[who].say(|ask| ask.unused = back).await;
                }
            }
            used
        };
        let used = tokio::task::block_in_place(|| runtime.block_on(story));
        let apart = (1.0 + TOLERANCE.as_secs_f64()) / f64::from(rate) * 1e6;
        for pair in used.windows(2) {
            prop_assert!((pair[1] - pair[0]) as f64 >= apart, "{pair:?} at {rate}/s");
        }
        Ok(())
    };
    runner.run(&strategy, check).unwrap();
}

/// The starts of calls, in order.
#[derive(Clone, Default)]
struct Starts(Arc<Mutex<Vec<Instant>>>);

impl Starts {
    fn sorted(&self) -> Vec<Instant> {
        let mut starts = self.0.lock().unwrap().clone();
        starts.sort();
        starts
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// Woken when a test has seen enough: however busy the machine is, it waits for that.
type Over = Arc<AtomicBool>;

/// Does what the worker does, as fast as it is let, until it is over.
async fn hammer(limiter: Limiter, starts: Starts, over: Over) {
    let (lead, horizon) = (ms(1), ms(20));
    let mut calls = JoinSet::new();
    while !over.load(Ordering::Relaxed) {
        match limiter.opens_in(lead) {
            None => drop(timeout(ms(50), limiter.room()).await),
            // waits because the next slot opens then
            Some(wait) if !wait.is_zero() => sleep(wait.min(ms(50))).await,
            Some(_) => {
                for mut permit in limiter.reserve(256, lead, horizon).await {
                    let starts = starts.clone();
                    calls.spawn(async move {
                        if permit.start().await {
                            starts.0.lock().unwrap().push(permit.started().unwrap());
                            // waits because the call takes a while
                            sleep(ms(5)).await;
                        }
                    });
                }
            }
        }
    }
    calls.shutdown().await;
}

fn shared(server: &RedisServer, rate: Option<f64>, concurrency: usize) -> Limiter {
    let rate = Rate {
        per_second: rate,
        concurrency,
    };
    Limiter::shared(server.link(), account(), rate, TOLERANCE)
}

/// Waits until this is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let give_up = Instant::now() + ms(300_000);
    while !is_so() {
        assert!(Instant::now() < give_up, "{what}");
        // waits because another task brings it about; bounded
        sleep(ms(5)).await;
    }
}

/// Replicas join, one dies with its calls under way; never more than the rate.
async fn replicas_come_and_go(rate: u32) {
    let server = RedisServer::start();
    let starts = Starts::default();
    let over = Over::default();
    let mut replicas = JoinSet::new();
    let mut doomed = None;
    for n in 0..4 {
        let limiter = shared(&server, Some(f64::from(rate)), 500);
        let task = replicas.spawn(hammer(limiter, starts.clone(), over.clone()));
        if n == 1 {
            doomed = Some(task);
        }
        // waits because a replica joins while others send
        sleep(ms(400)).await;
    }
    // waits because it is to send before it dies
    sleep(ms(1200)).await;
    until("sends begin", || starts.len() > 20).await;
    doomed.unwrap().abort();
    // waits because a second after its death is to be seen
    sleep(ms(1500)).await;
    let so_far = starts.len();
    until("sends go on", || starts.len() > so_far + 20).await;
    over.store(true, Ordering::Relaxed);
    while replicas.join_next().await.is_some() {}
    let starts = starts.sorted();
    let most = crowd(&starts);
    assert!(most <= rate as usize, "{most} a second, not {rate}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_a_second_however_many_replicas() {
    replicas_come_and_go(10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eighty_a_second_however_many_replicas() {
    replicas_come_and_go(80).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_a_second_however_many_replicas() {
    replicas_come_and_go(1000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_rate_applies_to_all_and_never_adds_to_the_old_one() {
    let server = RedisServer::start();
    let starts = Starts::default();
    let over = Over::default();
    let limiters: Vec<Limiter> = (0..3).map(|_| shared(&server, Some(80.0), 500)).collect();
    let mut replicas = JoinSet::new();
    for limiter in &limiters {
        replicas.spawn(hammer(limiter.clone(), starts.clone(), over.clone()));
    }
    until("sends begin", || starts.len() > 40).await;
    let slower = Rate {
        per_second: Some(20.0),
        concurrency: 400,
    };
    limiters[0].set(slower);
    until("all know the new rate", || {
        limiters.iter().all(|limiter| limiter.now().set == slower)
    })
    .await;
    // What was reserved at the old rate begins within the next moment.
    let changed = Instant::now() + ms(200);
    let faster = Rate {
        per_second: Some(80.0),
        concurrency: 500,
    };
    // waits because the slower rate is to be seen
    sleep(ms(1700)).await;
    let (again, so_far) = (Instant::now(), starts.len());
    limiters[2].set(faster);
    until("it goes on", || starts.len() > so_far + 100).await;
    over.store(true, Ordering::Relaxed);
    while replicas.join_next().await.is_some() {}
    let starts = starts.sorted();
    assert!(crowd(&starts) <= 80);
    let slow = starts.iter().filter(|at| (changed..again).contains(at));
    let slow: Vec<Instant> = slow.copied().collect();
    assert!(crowd(&slow) <= 20, "{}", crowd(&slow));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_redis_and_lost_connections_never_make_it_faster() {
    let server = RedisServer::start();
    let starts = Starts::default();
    let over = Over::default();
    let mut replicas = JoinSet::new();
    for _ in 0..2 {
        let limiter = shared(&server, Some(300.0), 500);
        replicas.spawn(hammer(limiter, starts.clone(), over.clone()));
    }
    let link = server.link();
    for words in [&["FLUSHALL"][..], &["CLIENT", "KILL", "TYPE", "normal"]] {
        let so_far = starts.len();
        until("sends go on", || starts.len() > so_far + 100).await;
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let _: redis::Value = link.command(&command).await.unwrap();
    }
    let so_far = starts.len();
    until("sends go on", || starts.len() > so_far + 100).await;
    over.store(true, Ordering::Relaxed);
    while replicas.join_next().await.is_some() {}
    let most = crowd(&starts.sorted());
    assert!(most <= 300, "{most}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_replicas_together_make_no_more_calls_at_once() {
    let server = RedisServer::start();
    let under_way = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let made = Arc::new(AtomicUsize::new(0));
    let limiters: Vec<Limiter> = (0..3).map(|_| shared(&server, None, 7)).collect();
    let mut replicas = JoinSet::new();
    for limiter in limiters {
        let (under_way, most, made) = (under_way.clone(), most.clone(), made.clone());
        replicas.spawn(async move {
            loop {
                for mut permit in limiter.reserve(5, ms(0), ms(0)).await {
                    let (under_way, most, made) = (under_way.clone(), most.clone(), made.clone());
                    tokio::spawn(async move {
                        assert!(permit.start().await);
                        let now = under_way.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        // waits because the call takes a while
                        sleep(ms(3)).await;
                        under_way.fetch_sub(1, Ordering::SeqCst);
                        made.fetch_add(1, Ordering::SeqCst);
                    });
                }
                // waits because others shall have a turn
                sleep(ms(2)).await;
            }
        });
    }
    until("calls are made", || made.load(Ordering::SeqCst) > 1000).await;
    assert_eq!(most.load(Ordering::SeqCst), 7);
}

/// A server in the place of one that ended; killed when dropped.
struct Again(std::process::Child);

impl Again {
    fn start(socket: &str) -> Self {
        let child = std::process::Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no"])
            .args(["--unixsocket", socket])
            .stdout(std::process::Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn without_redis_there_are_no_permits_and_it_heals_by_itself() {
    let server = RedisServer::start();
    let limiter = shared(&server, None, 10);
    let began = Instant::now();
    drop(limiter.maintenance().await);
    assert!(
        began.elapsed() >= ms(1000),
        "others may hold slots that nobody remembers"
    );
    let down = redis::cmd("SHUTDOWN").arg("NOSAVE").to_owned();
    // Its answer is that the connection ends.
    let _ = server.link().command::<redis::Value>(&down).await;
    assert!(limiter.reserve(3, ms(0), ms(0)).await.is_empty());
    assert!(limiter.opens_in(ms(0)).is_none_or(|wait| !wait.is_zero()));
    assert_eq!(limiter.now().in_flight, 0);
    // Another one at the same place, empty.
    let began = Instant::now();
    let socket = server.url().replace("redis+unix://", "");
    let _again = Again::start(&socket);
    drop(limiter.maintenance().await);
    assert!(began.elapsed() >= ms(1000));
    assert_eq!(limiter.reserve(3, ms(0), ms(0)).await.len(), 3);
}

/// Both servers live, and no step fails: the one that meets the old one is made again at the new one.
#[tokio::test]
async fn another_redis_gives_no_slots_on_top_of_those_of_before() {
    let (old, new) = (RedisServer::start(), RedisServer::start());
    let names = tempfile::tempdir().unwrap();
    let (name, next) = (names.path().join("name"), names.path().join("next"));
    std::os::unix::fs::symlink(old.socket(), &name).unwrap();
    std::os::unix::fs::symlink(new.socket(), &next).unwrap();
    let rate = Rate {
        per_second: Some(4.0),
        concurrency: 10,
    };
    let limiter = Limiter::shared(link_by(&name), account(), rate, TOLERANCE);
    drop(limiter.maintenance().await);
    // The new one knows the rate and has a slot at once.
    let mut other = Replica::of(&new, rate.per_second, rate.concurrency);
    other.say(|_| ()).await;
    other.rest().await;
    let mut before = limiter.reserve(3, ms(0), ms(900)).await;
    assert!(!before.is_empty());
    let moved = Instant::now();
    std::fs::rename(next, name).unwrap();
    old.say("REPLICAOF 127.0.0.1 1").await;
    let after = limiter.reserve(3, ms(0), ms(900)).await;
    assert!(after.is_empty(), "{} more at once", after.len());
    for permit in &mut before {
        assert!(!permit.start().await, "a slot of the old one");
    }
    drop(before);
    drop(limiter.maintenance().await);
    assert!(moved.elapsed() >= ms(1000));
    assert_eq!(
        new.say("HLEN gw:{default}:calls").await,
        "2",
        "nobody is there"
    );
}

#[tokio::test]
async fn a_shared_permit_is_given_back_when_its_deadline_is_before_its_slot() {
    let server = RedisServer::start();
    let limiter = shared(&server, Some(4.0), 10);
    drop(limiter.maintenance().await);
    let mut permits = limiter.reserve(3, ms(0), ms(900)).await;
    assert_eq!(permits.len(), 3);
    assert!(permits[0].start().await);
    for permit in &mut permits[1..] {
        permit.until(Some(Instant::now() + ms(20)));
        assert!(!permit.start().await);
    }
    assert_eq!(limiter.now().started, 2);
    assert_eq!(limiter.now().in_flight, 3);
    drop(permits);
    assert_eq!(limiter.now().in_flight, 0);
    let again = limiter.reserve(3, ms(0), ms(700)).await;
    assert!(again.len() >= 2, "the slots are free again");
    let mut first = again.into_iter().next().unwrap();
    // Calls that are not sends need no room and come before sends that have no slot yet.
    assert!(first.start().await);
}
