//! The rate that replicas share under injected lateness, in virtual time: what a replica knows
//! (`state`) and the script at a real Redis, whose clock the test sets. Never over the rate, whatever is
//! late; nearly all of it used where it is late as on a busy machine.

use super::late::{all_together, each_by_itself};
use super::report::{Asked, Report, Want};
use super::shared::{GATHER, LEARN, RENEW};
use super::slot::{GrantedSlot, Start};
use super::state::State;
use super::tests::{TOLERANCE, crowd};
use super::*;
use crate::store::redis::rate::{Ask, RateState, SharedRate};
use crate::store::testing::RedisServer;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use tokio::time::Instant;

const LEAD: Duration = Duration::from_millis(1);
const HORIZON: Duration = Duration::from_millis(20);
/// The worker's longest lead.
const MOST_LEAD: Duration = Duration::from_millis(250);
/// How long Redis takes to hear and to be heard, and a call to be answered.
const WAY: Duration = Duration::from_micros(200);
const CALL: Duration = Duration::from_millis(20);
/// What the clock of Redis shows at the beginning, in microseconds.
const EPOCH: u64 = 1_700_000_000_000_000;

/// Who is woken.
enum Who {
    Worker,
    /// A call that waits for its slot.
    Call(GrantedSlot),
    /// A call whose answer comes.
    Answer,
    /// Who tells Redis what has ended.
    Teller,
    /// A question comes to Redis, and its answer back.
    Asked(Box<Step>),
    Heard(Box<Step>, RateState),
}

/// A step on its way.
struct Step {
    why: Why,
    ask: Ask,
    report: Report,
    sent: Instant,
    /// How long the way back takes.
    back: Duration,
}

/// Who asks Redis.
#[derive(Clone, Copy)]
enum Why {
    Worker,
    /// A call that came too late for its slot.
    Late,
    Teller,
}

struct Replica {
    state: State,
    rate: SharedRate,
    steps: u64,
    /// A step is under way; who waits for the next one.
    talks: bool,
    waiting: VecDeque<Why>,
    /// How far ahead the worker takes slots.
    lead: Duration,
    /// Whether the teller is awake, and was woken again.
    woken: bool,
}

/// Workers under backlog and their calls. Each timer is late by what `late` says.
pub(super) struct Story<L> {
    server: RedisServer,
    clock: Connection,
    rate: f64,
    replicas: Vec<Replica>,
    late: L,
    /// How long Redis takes to hear and to be heard, in turn.
    ways: Vec<(Duration, Duration)>,
    /// How much faster its clock is, in millionths.
    drift: i64,
    /// How long a call takes to be answered.
    call: Duration,
    begin: Instant,
    wakes: BTreeMap<(Instant, u64), (usize, Who)>,
    starts: Vec<Instant>,
    /// Timers set so far.
    set: u64,
    /// Redis loses the rate before these steps of all.
    lost: Vec<usize>,
    steps: usize,
    heard_by_redis: usize,
}

impl<L: FnMut(Instant) -> Duration> Story<L> {
    fn new(per_second: f64, replicas: usize, begin: Instant, late: L) -> Self {
        let (server, account) = (RedisServer::start(), AccountId::parse("default").unwrap());
        let rate = Rate {
            per_second: Some(per_second),
            concurrency: 10_000,
        };
        let replica = |_| Replica {
            state: State::new(rate, TOLERANCE),
            rate: SharedRate::on_a_clock(server.link(), &account),
            steps: 0,
            talks: false,
            waiting: VecDeque::new(),
            lead: LEAD,
            woken: false,
        };
        Self {
            replicas: (0..replicas).map(replica).collect(),
            clock: server.link(),
            rate: per_second,
            server,
            late,
            ways: vec![(WAY, WAY)],
            drift: 0,
            call: CALL,
            begin,
            wakes: BTreeMap::new(),
            starts: Vec::new(),
            set: 0,
            lost: Vec::new(),
            steps: 0,
            heard_by_redis: 0,
        }
    }

    fn wake(&mut self, at: Instant, who: (usize, Who)) {
        let at = at + (self.late)(at);
        self.happens(at, who);
    }

    fn happens(&mut self, at: Instant, who: (usize, Who)) {
        self.set += 1;
        self.wakes.insert((at, self.set), who);
    }

    /// Asks Redis, one step at a time.
    fn step(&mut self, n: usize, why: Why, now: Instant) {
        if self.replicas[n].talks {
            self.replicas[n].waiting.push_back(why);
            return;
        }
        self.steps += 1;
        let (there, back) = self.ways[self.steps % self.ways.len()];
        let replica = &mut self.replicas[n];
        let want = match why {
            Why::Worker => Want {
                most: 256,
                counted: true,
                lead: replica.lead,
                horizon: HORIZON.max(replica.lead),
            },
            Why::Late => Want {
                most: 1,
                horizon: Duration::from_secs(1),
                ..Want::default()
            },
            Why::Teller => Want::default(),
        };
        let report = replica.state.report();
        let mut ask = replica.state.ask(want, now);
        replica.steps += 1;
        replica.talks = true;
        ask.step = replica.steps;
        let step = Step {
            why,
            ask,
            report,
            sent: now,
            back,
        };
        self.happens(now + there, (n, Who::Asked(Box::new(step))));
    }

    /// Redis hears a question.
    async fn asked(&mut self, n: usize, step: Box<Step>, now: Instant) {
        let passed = (now - self.begin).as_micros() as i64;
        let shows = EPOCH + passed.saturating_add(passed * self.drift / 1_000_000) as u64;
        let mut set = redis::cmd("SET");
        set.arg("gw:{default}:clock").arg(shows);
        self.clock.command::<redis::Value>(&set).await.unwrap();
        self.heard_by_redis += 1;
        if self.lost.contains(&self.heard_by_redis) {
            self.server.say("DEL gw:{default}:pace").await;
        }
        let report = self.replicas[n].rate.step(&step.ask).await.unwrap();
        self.happens(now + step.back, (n, Who::Heard(step, report)));
    }

    /// When its calls started in that time.
    async fn live_for(mut self, time: Duration) -> Vec<Instant> {
        let end = self.begin + time;
        for n in 0..self.replicas.len() {
            self.wake(self.begin, (n, Who::Worker));
            self.wake(self.begin, (n, Who::Teller));
        }
        while let Some(((now, _), (n, who))) = self.wakes.pop_first() {
            if now >= end {
                break;
            }
            match who {
                Who::Worker => self.work(n, now),
                Who::Answer => {
                    self.replicas[n].state.count_end();
                    self.ended(n, now);
                }
                Who::Call(granted) => self.call(n, granted, now),
                Who::Teller => self.tell(n, now),
                Who::Asked(step) => self.asked(n, step, now).await,
                Who::Heard(step, report) => self.hear(n, *step, report, now),
            }
        }
        self.starts
    }

    fn work(&mut self, n: usize, now: Instant) {
        let replica = &self.replicas[n];
        match replica.state.opens_in(replica.lead, now) {
            None => self.wake(now + CALL, (n, Who::Worker)),
            Some(wait) if !wait.is_zero() => self.wake(now + wait, (n, Who::Worker)),
            Some(_) => self.step(n, Why::Worker, now),
        }
    }

    fn hear(&mut self, n: usize, step: Step, answer: RateState, now: Instant) {
        let replica = &mut self.replicas[n];
        replica.talks = false;
        let Step {
            why,
            ask,
            report,
            sent,
            back,
        } = step;
        let asked = Asked { ask, report, sent };
        let granted = replica.state.learn(&asked, answer, now);
        let next = replica.waiting.pop_front();
        if let Some(next) = next {
            self.step(n, next, now);
        }
        match why {
            Why::Worker if granted.is_empty() => {
                let replica = &self.replicas[n];
                let wait = replica.state.opens_in(replica.lead, now);
                self.wake(now + wait.unwrap_or(CALL), (n, Who::Worker));
            }
            Why::Worker => {
                let claim = LEAD.max(2 * back);
                let lead = &mut self.replicas[n].lead;
                *lead = ((*lead * 7 + claim * 2) / 8).clamp(LEAD, MOST_LEAD);
                for slot in granted {
                    self.wait_for_slot(n, slot, now + claim);
                }
                self.wake(now + claim, (n, Who::Worker));
            }
            Why::Late => match granted.into_iter().next() {
                Some(slot) => self.wait_for_slot(n, slot, now),
                None => self.ended(n, now),
            },
            Why::Teller => {
                let replica = &mut self.replicas[n];
                let soon = replica.woken && replica.state.is_pressing(now);
                let rest = match replica.state.is_learning(now) {
                    _ if soon => GATHER,
                    true => LEARN,
                    false => RENEW,
                };
                replica.woken = soon;
                self.wake(now + rest, (n, Who::Teller));
            }
        }
    }

    fn tell(&mut self, n: usize, now: Instant) {
        self.replicas[n].woken = false;
        self.step(n, Why::Teller, now);
    }

    /// A call has ended, or was never made.
    fn ended(&mut self, n: usize, now: Instant) {
        self.replicas[n].state.end_call(now);
        if !std::mem::replace(&mut self.replicas[n].woken, true) {
            let teller = |(of, who): &(usize, Who)| *of == n && matches!(who, Who::Teller);
            let at = self.wakes.iter().find(|(_, who)| teller(who));
            let at = at.map(|(at, _)| *at);
            // None while its step is under way.
            if let Some(at) = at {
                self.wakes.remove(&at);
                self.wake(now + GATHER, (n, Who::Teller));
            }
        }
    }

    fn wait_for_slot(&mut self, n: usize, granted: GrantedSlot, from: Instant) {
        let at = match self.replicas[n].state.may_start(&granted, from) {
            Start::At(at) => at,
            _ => from,
        };
        self.wake(at, (n, Who::Call(granted)));
    }

    /// What a permit does when its timer goes off.
    fn call(&mut self, n: usize, granted: GrantedSlot, now: Instant) {
        let state = &mut self.replicas[n].state;
        match state.may_start(&granted, now) {
            Start::At(at) => self.wake(at, (n, Who::Call(granted))),
            Start::Void => self.ended(n, now),
            Start::Now => {
                state.count_start(&granted, now);
                self.starts.push(now);
                self.wake(now + self.call, (n, Who::Answer));
            }
            Start::Late => {
                state.came_late(&granted, now);
                self.step(n, Why::Late, now);
            }
        }
    }
}

/// The share of the rate that is used once it has settled.
async fn used<L: FnMut(Instant) -> Duration>(story: Story<L>) -> f64 {
    const SECONDS: u64 = 30;
    let (rate, begin) = (story.rate, story.begin);
    let starts = story.live_for(Duration::from_secs(SECONDS)).await;
    let most = crowd(&starts);
    assert!(most <= rate as usize, "{most} at {rate}/s");
    // The first seconds are those of a newcomer, and of what it has to learn.
    let from = begin + Duration::from_secs(10);
    let counted = starts.iter().filter(|at| **at >= from).count();
    counted as f64 / ((SECONDS - 10) as f64 * rate)
}

#[tokio::test]
async fn r_49_with_replicas_a_late_start_keeps_its_slot() {
    for (rate, least) in [(80.0, 0.95), (1000.0, 0.90)] {
        for replicas in [1, 2] {
            let begin = Instant::now();
            let dice = fastrand::Rng::with_seed(replicas as u64);
            let by_itself = each_by_itself(dice.clone());
            let by_itself = used(Story::new(rate, replicas, begin, by_itself)).await;
            let together = all_together(dice, rate, begin);
            let together = used(Story::new(rate, replicas, begin, together)).await;
            assert!(by_itself >= least, "{replicas} at {rate}/s: {by_itself}");
            assert!(
                together >= least,
                "{replicas} at {rate}/s, together: {together}"
            );
        }
    }
}

#[tokio::test]
async fn on_a_machine_at_rest_nothing_is_given_up_for_lateness() {
    for (rate, least) in [(10.0, 0.98), (80.0, 0.99), (1000.0, 0.99)] {
        let used = used(Story::new(rate, 2, Instant::now(), |_| Duration::ZERO)).await;
        assert!(used >= least, "{rate}/s: {used}");
    }
}

/// Where the ways there and back differ, the clock is known no better and nothing tells it.
#[tokio::test]
async fn r_63_at_100_ms_the_rate_is_kept_and_never_passed() {
    for (there, back) in [(50, 50), (80, 20), (5, 95)] {
        for replicas in [1, 2] {
            for rate in [10.0, 50.0, 80.0] {
                let mut story = Story::new(rate, replicas, Instant::now(), |_| Duration::ZERO);
                let ms = Duration::from_millis;
                story.ways = vec![(ms(there), ms(back))];
                let used = used(story).await;
                assert!(
                    used >= 0.95,
                    "{replicas} at {rate}/s, {there} and {back} ms: {used}"
                );
            }
        }
    }
}

/// The rate, replicas, how late the timers are, and before which steps Redis loses the rate.
type Harm = (u32, usize, Vec<u64>, Vec<usize>);

/// However late whatever is, at however many replicas, and however far away Redis is: also by more than a
/// second, also when Redis loses the rate in the middle.
#[test]
fn r_49_over_all_replicas_a_second_never_holds_more_starts_than_the_rate() {
    let harm = (
        prop_oneof![1u32..100, 1u32..1500],
        1usize..4,
        prop_oneof![
            prop::collection::vec(
                prop_oneof![60 => Just(0u64), 20 => 0u64..60_000, 2 => 0u64..1_500_000],
                1..400,
            ),
            // All as late as is allowed: no slot is lost, so no second has room to spare.
            prop::collection::vec(prop_oneof![3 => Just(0u64), 1 => 0u64..20_000], 1..400),
        ],
        prop::collection::vec(1usize..1000, 0..3),
    );
    let strategy = (
        harm,
        prop_oneof![
            Just(vec![(200, 200)]),
            prop::collection::vec((100u64..20_000, 100u64..20_000), 1..10),
            prop::collection::vec((100u64..100_000, 100u64..100_000), 1..10),
        ],
        -500i64..500,
    );
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(cases()));
    runner.run(&strategy, holds_the_rate).unwrap();
}

/// How many cases a run tries; more where that is wished.
fn cases() -> u32 {
    let wished = std::env::var("LATE_TOGETHER_CASES").ok();
    wished.and_then(|cases| cases.parse().ok()).unwrap_or(24)
}

/// A replica whose calls were late, then less, then late and then less again, beside one that is never late: the
/// slots that it took for less lateness followed too soon on those for more.
#[test]
fn r_49_a_replica_that_is_late_by_turns_keeps_the_rate() {
    let lates = [
        0, 0, 0, 0, 0, 1631, 0, 0, 0, 0, 0, 2677, 0, 17460, 7092, 0, 6494, 0, 0, 11306, 767, 0, 0,
        3218, 0,
    ];
    let ways = [
        (34607, 35102),
        (61149, 30544),
        (5271, 40128),
        (95318, 54126),
        (76982, 90003),
        (91194, 72840),
        (98867, 94238),
        (54307, 87833),
    ];
    let harm = (38, 2, lates.to_vec(), Vec::new());
    holds_the_rate((harm, ways.to_vec(), 199)).unwrap();
}

/// Whether no second had more starts than the rate.
fn holds_the_rate(
    ((rate, replicas, lates, lost), ways, drift): (Harm, Vec<(u64, u64)>, i64),
) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let begin = Instant::now();
    let mut late = lates.iter().cycle();
    let late = move |_: Instant| Duration::from_micros(*late.next().unwrap());
    let starts = runtime.block_on(async {
        let mut story = Story::new(f64::from(rate), replicas, begin, late);
        let us = Duration::from_micros;
        story.ways = ways.into_iter().map(|(a, b)| (us(a), us(b))).collect();
        (story.lost, story.drift) = (lost, drift);
        story.live_for(Duration::from_secs(8)).await
    });
    let most = crowd(&starts);
    prop_assert!(most <= rate as usize, "{most} at {rate}/s over {replicas}");
    Ok(())
}
