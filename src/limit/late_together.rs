//! The pace that replicas share under injected lateness, in virtual time: what a replica knows
//! (`state`) and the script at a real Redis, whose clock the test sets. Never over the rate, whatever is
//! late; nearly all of it used where it is late as on a busy machine.

use super::late::{all_together, each_by_itself};
use super::slot::{Grant, Start};
use super::state::{State, Want};
use super::tests::{TOLERANCE, crowd};
use super::*;
use crate::store::redis::pace::SharedPace;
use crate::store::testing::RedisServer;
use proptest::prelude::*;
use std::collections::BTreeMap;
use tokio::time::Instant;

const LEAD: Duration = Duration::from_millis(1);
const HORIZON: Duration = Duration::from_millis(20);
/// How long Redis takes to hear and to be heard, and a call to be answered.
const WAY: Duration = Duration::from_micros(200);
const CALL: Duration = Duration::from_millis(20);
/// What the clock of Redis shows at the beginning, in microseconds.
const EPOCH: u64 = 1_700_000_000_000_000;

/// Who is woken.
enum Who {
    Worker,
    /// A call that waits for its slot.
    Call(Grant),
    /// A call whose answer comes.
    Answer,
}

struct Replica {
    state: State,
    pace: SharedPace,
    steps: u64,
}

/// Workers under backlog and their calls. Each timer is late by what `late` says.
struct Story<L> {
    server: RedisServer,
    replicas: Vec<Replica>,
    late: L,
    begin: Instant,
    wakes: BTreeMap<(Instant, u64), (usize, Who)>,
    starts: Vec<Instant>,
    /// Timers set so far.
    set: u64,
    /// Redis loses the pace before these steps of all.
    lost: Vec<usize>,
    steps: usize,
}

impl<L: FnMut(Instant) -> Duration> Story<L> {
    fn new(per_second: f64, replicas: usize, begin: Instant, late: L) -> Self {
        let (server, account) = (RedisServer::start(), AccountId::parse("default").unwrap());
        let pace = Pace {
            per_second: Some(per_second),
            concurrency: 10_000,
        };
        let replica = |_| Replica {
            state: State::new(pace, TOLERANCE),
            pace: SharedPace::on_a_clock(server.link(), &account),
            steps: 0,
        };
        Self {
            replicas: (0..replicas).map(replica).collect(),
            server,
            late,
            begin,
            wakes: BTreeMap::new(),
            starts: Vec::new(),
            set: 0,
            lost: Vec::new(),
            steps: 0,
        }
    }

    fn wake(&mut self, at: Instant, who: (usize, Who)) {
        let at = at + (self.late)(at);
        self.set += 1;
        self.wakes.insert((at, self.set), who);
    }

    /// Asks Redis; what it grants, and when the answer is there.
    async fn step(&mut self, n: usize, want: Want, now: Instant) -> (Vec<Grant>, Instant) {
        let heard = now + WAY;
        let shows = EPOCH + (heard - self.begin).as_micros() as u64;
        self.server
            .say(&format!("SET gw:{{default}}:clock {shows}"))
            .await;
        self.steps += 1;
        if self.lost.contains(&self.steps) {
            self.server.say("DEL gw:{default}:pace").await;
        }
        let replica = &mut self.replicas[n];
        let said = replica.state.said();
        let mut ask = replica.state.ask(want, now);
        replica.steps += 1;
        ask.step = replica.steps;
        let told = replica.pace.step(&ask).await.unwrap();
        let got = heard + WAY;
        let grants = replica.state.learn((&ask, told), said, (now, got));
        (grants, got)
    }

    /// Lives until `end`; when its calls started.
    async fn live(mut self, end: Instant) -> Vec<Instant> {
        for n in 0..self.replicas.len() {
            self.wake(self.begin, (n, Who::Worker));
        }
        while let Some(((now, _), (n, who))) = self.wakes.pop_first() {
            if now >= end {
                break;
            }
            match who {
                Who::Worker => self.work(n, now).await,
                Who::Answer => {
                    self.replicas[n].state.count_end();
                    self.replicas[n].state.end_call(now);
                }
                Who::Call(grant) => self.call(n, grant, now).await,
            }
        }
        self.starts
    }

    async fn work(&mut self, n: usize, now: Instant) {
        match self.replicas[n].state.opens_in(LEAD, now) {
            None => self.wake(now + CALL, (n, Who::Worker)),
            Some(wait) if !wait.is_zero() => self.wake(now + wait, (n, Who::Worker)),
            Some(_) => {
                let want = Want {
                    most: 256,
                    counted: true,
                    lead: LEAD,
                    horizon: HORIZON,
                };
                let (grants, got) = self.step(n, want, now).await;
                for grant in grants {
                    self.wait_for_slot(n, grant, got + LEAD);
                }
                self.wake(got + LEAD, (n, Who::Worker));
            }
        }
    }

    fn wait_for_slot(&mut self, n: usize, grant: Grant, from: Instant) {
        let at = match self.replicas[n].state.may_start(&grant, from) {
            Start::At(at) => at,
            _ => from,
        };
        self.wake(at, (n, Who::Call(grant)));
    }

    /// What a ticket does when its timer goes off.
    async fn call(&mut self, n: usize, grant: Grant, now: Instant) {
        let state = &mut self.replicas[n].state;
        match state.may_start(&grant, now) {
            Start::At(at) => self.wake(at, (n, Who::Call(grant))),
            Start::Void => state.end_call(now),
            Start::Now => {
                state.count_start(&grant, now);
                self.starts.push(now);
                self.wake(now + CALL, (n, Who::Answer));
            }
            Start::Late => {
                state.came_late(&grant, now);
                let want = Want {
                    most: 1,
                    horizon: Duration::from_secs(1),
                    ..Want::default()
                };
                let (grants, got) = self.step(n, want, now).await;
                match grants.into_iter().next() {
                    Some(grant) => self.wait_for_slot(n, grant, got),
                    None => self.replicas[n].state.end_call(got),
                }
            }
        }
    }
}

/// The share of the rate that is used once it has settled, over `replicas`.
async fn used<L: FnMut(Instant) -> Duration>(
    rate: f64,
    replicas: usize,
    late: L,
    begin: Instant,
) -> f64 {
    const SECONDS: u64 = 30;
    let story = Story::new(rate, replicas, begin, late);
    let starts = story.live(begin + Duration::from_secs(SECONDS)).await;
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
            let by_itself = used(rate, replicas, by_itself, begin).await;
            let together = all_together(dice, rate, begin);
            let together = used(rate, replicas, together, begin).await;
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
        let used = used(rate, 2, |_| Duration::ZERO, Instant::now()).await;
        assert!(used >= least, "{rate}/s: {used}");
    }
}

/// However late whatever is, at however many replicas: also by more than a second, also when Redis
/// loses the pace in the middle.
#[test]
fn r_49_over_all_replicas_a_second_never_holds_more_starts_than_the_rate() {
    let strategy = (
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
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(24));
    let check = |(rate, replicas, lates, lost): (u32, usize, Vec<u64>, Vec<usize>)| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let begin = Instant::now();
        let mut late = lates.iter().cycle();
        let late = move |_: Instant| Duration::from_micros(*late.next().unwrap());
        let starts = runtime.block_on(async {
            let mut story = Story::new(f64::from(rate), replicas, begin, late);
            story.lost = lost;
            story.live(begin + Duration::from_secs(8)).await
        });
        let most = crowd(&starts);
        prop_assert!(most <= rate as usize, "{most} at {rate}/s over {replicas}");
        Ok(())
    };
    runner.run(&strategy, check).unwrap();
}
