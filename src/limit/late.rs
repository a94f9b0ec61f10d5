//! The rate under injected lateness, in virtual time: every timer of the worker and of the calls
//! goes off late, as on a busy machine. Never over the rate, and nearly all of it used.

use super::gate::{Gate, Slot, Start};
use super::tests::{TOLERANCE, crowd};
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use tokio::time::Instant;

const LEAD: Duration = Duration::from_millis(1);
const HORIZON: Duration = Duration::from_millis(20);
const CLAIM: Duration = Duration::from_millis(1);
/// How long a call takes.
const CALL: Duration = Duration::from_millis(20);

/// Who is woken.
enum Who {
    Worker,
    /// A call that waits for its slot.
    Call(Option<Slot>),
    /// A call whose answer comes.
    Answer,
}

/// A worker under backlog and its calls. Each timer is late by what `late` says.
struct Story<L> {
    gate: Gate,
    late: L,
    wakes: BTreeMap<(Instant, u64), Who>,
    starts: Vec<Instant>,
    /// Timers set so far.
    set: u64,
}

impl<L: FnMut(Instant) -> Duration> Story<L> {
    fn new(per_second: f64, now: Instant, late: L) -> Self {
        let rate = Rate {
            per_second: Some(per_second),
            concurrency: 1000,
        };
        Self {
            gate: Gate::new(rate, TOLERANCE, now),
            late,
            wakes: BTreeMap::new(),
            starts: Vec::new(),
            set: 0,
        }
    }

    fn wake(&mut self, at: Instant, who: Who) {
        let at = at + (self.late)(at);
        self.set += 1;
        self.wakes.insert((at, self.set), who);
    }

    /// Lives until `end`; when its calls started.
    fn live(mut self, begin: Instant, end: Instant) -> Vec<Instant> {
        self.wake(begin, Who::Worker);
        while let Some(((now, _), who)) = self.wakes.pop_first() {
            if now >= end {
                break;
            }
            match who {
                Who::Worker => self.work(now),
                Who::Answer => self.gate.end(true, true, now),
                Who::Call(slot) => match self.gate.start(slot, now) {
                    Start::At(at) => self.wake(at, Who::Call(slot)),
                    Start::Now => {
                        self.starts.push(now);
                        self.wake(now + CALL, Who::Answer);
                    }
                },
            }
        }
        self.starts
    }

    fn work(&mut self, now: Instant) {
        match self.gate.opens_in(LEAD, now) {
            None => self.wake(now + CALL, Who::Worker),
            Some(wait) if !wait.is_zero() => self.wake(now + wait, Who::Worker),
            Some(_) => {
                for slot in self.gate.reserve(256, LEAD, HORIZON, now) {
                    let at = slot.map_or(now, |slot| slot.at.max(now + CLAIM));
                    self.wake(at, Who::Call(slot));
                }
                self.wake(now + CLAIM, Who::Worker);
            }
        }
    }
}

/// Each timer late by itself: exponential, one in a hundred by more than 10 ms.
pub(super) fn each_by_itself(mut dice: fastrand::Rng) -> impl FnMut(Instant) -> Duration {
    move |_| Duration::from_secs_f64(-(1.0 - dice.f64()).ln() * 0.010 / 100f64.ln())
}

/// All timers late together: one call in a hundred comes upon a process that stands still for 10 ms.
pub(super) fn all_together(
    mut dice: fastrand::Rng,
    per_second: f64,
    begin: Instant,
) -> impl FnMut(Instant) -> Duration {
    const REST: Duration = Duration::from_millis(10);
    let (mut rests, mut at) = (Vec::new(), begin);
    while at < begin + Duration::from_secs(31) {
        at += Duration::from_secs_f64(-(1.0 - dice.f64()).ln() * 100.0 / per_second);
        rests.push(at);
        at += REST;
    }
    move |at| {
        let before = rests.partition_point(|begins| *begins <= at);
        let ends = before.checked_sub(1).map_or(begin, |n| rests[n] + REST);
        ends.saturating_duration_since(at)
    }
}

#[test]
fn r_49_a_late_start_costs_its_lateness_and_not_its_slot() {
    for (rate, least) in [(80.0, 0.95), (1000.0, 0.90)] {
        for seed in 0..3 {
            let begin = Instant::now();
            let end = begin + Duration::from_secs(30);
            let dice = fastrand::Rng::with_seed(seed);
            let by_itself = Story::new(rate, begin, each_by_itself(dice.clone()));
            let together = Story::new(rate, begin, all_together(dice, rate, begin));
            for starts in [by_itself.live(begin, end), together.live(begin, end)] {
                let used = starts.len() as f64 / (30.0 * rate);
                assert!(used >= least, "{rate}/s: {used}");
                let most = crowd(&starts);
                assert!(most <= rate as usize, "{most} at {rate}/s");
            }
        }
    }
}

proptest! {
    /// However late whatever is: also by more than a second, also when the rate falls and recovers.
    #[test]
    fn r_49_a_second_never_holds_more_starts_than_the_rate(
        rate in prop_oneof![1u32..100, 1u32..1500],
        lates in prop::collection::vec(prop_oneof![
            60 => Just(0u64), 20 => 0u64..12_000, 2 => 0u64..1_500_000
        ], 1..400),
        slow_downs in prop::collection::vec(0usize..400, 0..3),
    ) {
        let begin = Instant::now();
        let mut late = lates.iter().cycle();
        let late = |_: Instant| Duration::from_micros(*late.next().unwrap());
        let mut story = Story::new(f64::from(rate), begin, late);
        for n in slow_downs {
            story.gate.slow_down(begin + Duration::from_millis(n as u64 * 10));
        }
        let starts = story.live(begin, begin + Duration::from_secs(4));
        prop_assert!(crowd(&starts) <= rate as usize, "{} at {rate}/s", crowd(&starts));
    }

    /// Slots that are dropped, given back or used by calls that are no sends change nothing of it.
    #[test]
    fn slots_never_crowd_a_second(
        rate in 1u32..2000,
        steps in prop::collection::vec((0u64..50_000, 0usize..4, any::<bool>()), 1..300),
    ) {
        let mut now = Instant::now();
        let set = Rate { per_second: Some(f64::from(rate)), concurrency: 1000 };
        let mut gate = Gate::new(set, TOLERANCE, now);
        let (mut held, mut starts) = (Vec::new(), Vec::new());
        for (gap, many, used) in steps {
            now += Duration::from_micros(gap);
            held.extend(gate.reserve(many, LEAD, HORIZON, now));
            held.push(gate.take_slot(now, now));
            let kept = held.split_off(held.len() / 2);
            for slot in held.into_iter().chain(kept.clone()) {
                if used && gate.start(slot, now) == Start::Now {
                    starts.push(now);
                } else if !used && let Some(slot) = slot {
                    gate.give_back(slot);
                }
            }
            held = kept;
        }
        prop_assert!(crowd(&starts) <= rate as usize);
    }
}
