//! Random stories of several processes, each step compared with the model: where every message is,
//! what the ledger says, what may be relayed. A story that fails is made shorter until nothing in it
//! is too much.
//!
//! `GATEWAY_MODEL_CASES` is how many stories are told; then it is said how many steps that were.

mod book;
mod found;
mod rig;
mod story;

use super::*;
use crate::store::Purged;
use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};
use rig::Rig;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// Something that happens. Processes, claims and takes are counted from the newest, and around.
#[derive(Debug, Clone)]
enum Op {
    /// MoEngage sends the nth message, to person `n / 2 % 2` on channel `n % 2`.
    Accept {
        n: u64,
        lost: bool,
    },
    /// A process claims from both channels.
    Claim {
        by: usize,
        most: usize,
        lost: bool,
    },
    /// The end of an attempt is told, the same one as before if it was told before.
    End {
        claim: usize,
        end: End,
        lost: bool,
    },
    /// A webhook.
    Events {
        channel: usize,
        events: Vec<Event>,
        lost: bool,
    },
    /// A person writes, by one of their numbers.
    Reply {
        channel: usize,
        person: u64,
        word: &'static str,
        lost: bool,
    },
    /// A process takes what may be relayed.
    CallbackLease {
        by: usize,
        channel: usize,
        lane: Destination,
        most: usize,
        lost: bool,
    },
    /// The end of a try to relay, the same one as before if it was told before.
    Relayed {
        take: usize,
        end: Told,
        lost: bool,
    },
    Hasten {
        channel: usize,
        lane: Destination,
    },
    Sweep {
        by: usize,
        resend: bool,
        ages: bool,
        lost: bool,
    },
    Purge {
        by: usize,
        age: i64,
        events: bool,
    },
    Renew {
        by: usize,
    },
    /// The lease of a process is over; whether it lives or not.
    LeaseEnds {
        process: usize,
    },
    /// It is killed, and another starts in its place.
    Kill {
        by: usize,
    },
    /// It stops orderly, and another starts in its place.
    Leave {
        by: usize,
    },
    Pass {
        seconds: i64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Receipt,
    /// Nothing was sent; where it was, nobody knows.
    Retry,
    /// The same; where it was, with its receipt.
    Fail,
    Lose,
}

#[derive(Debug, Clone, Copy)]
enum Told {
    Taken,
    Later,
    Dead,
}

/// A status of the id of a claim, or of an id that is nobody's.
#[derive(Debug, Clone)]
struct Event {
    of: Of,
    said: Said,
    named: bool,
}

/// A status, and whether it says that the person stopped promotions, which only a failure does.
type Said = (Status, bool);

#[derive(Debug, Clone, Copy)]
enum Of {
    Claim(usize),
    /// The same, and it names its person by the other number of the first or the second.
    ClaimAs(usize, u64),
    Nobody(u64, u64),
}

fn any_lane() -> impl Strategy<Value = Destination> {
    prop_oneof![4 => Just(Destination::Status), 1 => Just(Destination::Inbound)]
}

/// Mostly not.
fn seldom() -> impl Strategy<Value = bool> {
    prop_oneof![6 => Just(false), 1 => Just(true)]
}

fn any_event() -> impl Strategy<Value = Event> {
    let of = prop_oneof![
        6 => (0..6usize).prop_map(Of::Claim),
        1 => (0..6usize, 0..2u64).prop_map(|(which, other)| Of::ClaimAs(which, other)),
        1 => (0..2u64, 0..4u64).prop_map(|(which, person)| Of::Nobody(which, person)),
    ];
    let named = prop_oneof![3 => Just(true), 1 => Just(false)];
    let said = prop_oneof![
        6 => prop::sample::select(Status::ALL.to_vec()).prop_map(|status| (status, false)),
        1 => Just((Status::Failed, true)),
    ];
    (of, said, named).prop_map(|(of, said, named)| Event { of, said, named })
}

fn any_op() -> impl Strategy<Value = Op> {
    let most = prop_oneof![2 => Just(1usize), 1 => Just(2), 2 => Just(100)];
    let end = prop_oneof![
        4 => Just(End::Receipt), 3 => Just(End::Retry), 1 => Just(End::Fail), 3 => Just(End::Lose),
    ];
    let told = prop_oneof![4 => Just(Told::Taken), 2 => Just(Told::Later), 1 => Just(Told::Dead)];
    let by = || 0..3usize;
    let events = prop::collection::vec(any_event(), 1..4);
    let words = prop::sample::select(vec!["stop", "stop promotions", "start", "hello"]);
    let ages = prop::sample::select(vec![0, 100, 2 * DAY]);
    let passed = prop::sample::select(vec![1, 60, HOLD_OVER, DAY / 2, 2 * DAY, -1, -400, -DAY]);
    prop_oneof![
        8 => (0..8u64, seldom()).prop_map(|(n, lost)| Op::Accept { n, lost }),
        9 => (by(), most.clone(), seldom())
            .prop_map(|(by, most, lost)| Op::Claim { by, most, lost }),
        12 => (0..5usize, end, seldom()).prop_map(|(claim, end, lost)| Op::End { claim, end, lost }),
        8 => (0..2usize, events, seldom())
            .prop_map(|(channel, events, lost)| Op::Events { channel, events, lost }),
        2 => (0..2usize, 0..4u64, words, seldom()).prop_map(
            |(channel, person, word, lost)| Op::Reply { channel, person, word, lost }
        ),
        5 => (by(), 0..2usize, any_lane(), most, seldom()).prop_map(
            |(by, channel, lane, most, lost)| Op::CallbackLease { by, channel, lane, most, lost }
        ),
        6 => (0..4usize, told, seldom())
            .prop_map(|(take, end, lost)| Op::Relayed { take, end, lost }),
        1 => (0..2usize, any_lane()).prop_map(|(channel, lane)| Op::Hasten { channel, lane }),
        6 => (by(), any::<bool>(), any::<bool>(), seldom())
            .prop_map(|(by, resend, ages, lost)| Op::Sweep { by, resend, ages, lost }),
        1 => (by(), ages, any::<bool>()).prop_map(|(by, age, events)| Op::Purge { by, age, events }),
        2 => by().prop_map(|by| Op::Renew { by }),
        3 => (0..4usize).prop_map(|process| Op::LeaseEnds { process }),
        1 => by().prop_map(|by| Op::Kill { by }),
        1 => by().prop_map(|by| Op::Leave { by }),
        4 => passed.prop_map(|seconds| Op::Pass { seconds }),
    ]
}

/// A little longer than a hold.
const HOLD_OVER: i64 = book::HOLD + 100;

/// Steps made in all stories.
static STEPS: AtomicU64 = AtomicU64::new(0);

/// How many stories somebody wants.
fn wanted() -> Option<u32> {
    std::env::var("GATEWAY_MODEL_CASES").ok()?.parse().ok()
}

/// Tells stories; fails with the shortest that does what it should not.
fn tell_stories(backend: &str, rig: fn() -> Rig, cases: u32) {
    let cases = wanted().unwrap_or(cases);
    let config = ProptestConfig {
        cases,
        // What is found becomes a test in `found.rs`.
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    };
    let stories = prop::collection::vec(any_op(), 1..80);
    let told = TestRunner::new(config).run(&stories, |ops| {
        tell(rig, &ops);
        Ok(())
    });
    if let Err(TestError::Fail(reason, ops)) = &told {
        let lines: Vec<String> = ops.iter().map(|op| format!("    Op::{op:?},")).collect();
        panic!("{reason}\nafter\n{}", lines.join("\n"));
    }
    told.unwrap();
    if wanted().is_some() {
        let steps = STEPS.load(Ordering::Relaxed);
        let line = format!("{backend}: {cases} stories, {steps} steps compared\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

fn tell(rig: fn() -> Rig, ops: &[Op]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut story = story::Story::new(rig()).await;
        for op in ops {
            story.step(op).await;
            story.compare().await;
            STEPS.fetch_add(1, Ordering::Relaxed);
        }
        story.end().await;
    });
}

#[test]
fn embedded_does_what_the_model_says() {
    tell_stories("embedded", rig::embedded, 64);
}

on_redis! {
    // Fewer: every step is some trips to another process.
    #[test]
    fn redis_does_what_the_model_says() {
        tell_stories("redis", rig::redis, 24);
    }
}
