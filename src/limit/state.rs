//! What one replica knows of a shared rate, and what it still has to tell. Arithmetic only.

use super::distance::Distance;
use super::pause::Pause;
use super::reading::GAINS;
use super::report::{Asked, Report, Want};
use super::slot::{FURTHEST, GrantedSlot, Late, RedisClock, Start};
use super::{AHEAD, Rate, RateNow};
use crate::store::redis::rate::{self, Ask, Put, RateState, Slot};
use std::time::Duration;
use tokio::time::Instant;

/// Pause after an error.
const PAUSE: Duration = Duration::from_millis(250);
/// How often is looked whether calls elsewhere have ended.
const LOOK: Duration = Duration::from_millis(20);

/// What one replica knows and has to tell.
#[derive(Debug)]
pub(super) struct State {
    set: Rate,
    /// A rate that all shall have, until Redis knows it.
    put: Option<Put>,
    /// Calls per second in force, as last heard.
    effective: Option<f64>,
    clock: RedisClock,
    /// Calls under way here, and what Redis was told of them.
    pub(super) in_flight: usize,
    told_in_flight: usize,
    elsewhere: usize,
    started: u64,
    /// Slots to give back.
    unused: Vec<Slot>,
    /// What the upstream and an operator said and Redis has not been told.
    report: Report,
    /// Calls that ended here and Redis has not been told, less those answered with "too many".
    taken: i64,
    /// No call starts before this: the upstream asked for it here or elsewhere.
    pause: Pause,
    /// When the next slot opens, on the clock of Redis.
    opens: u64,
    /// All calls at once were taken when last asked.
    full: bool,
    /// Asking sooner is of no use.
    ask_at: Instant,
    distance: Distance,
    /// Redis failed last time.
    pub(super) down: bool,
}

impl State {
    pub(super) fn new(rate: Rate, tolerance: Duration) -> Self {
        Self {
            set: rate,
            put: Some(Put::Start),
            effective: rate.per_second,
            clock: RedisClock::new(tolerance),
            in_flight: 0,
            told_in_flight: 0,
            elsewhere: 0,
            started: 0,
            unused: Vec::new(),
            report: Report::default(),
            taken: 0,
            pause: Pause::default(),
            opens: 0,
            full: false,
            ask_at: Instant::now(),
            distance: Distance::new(),
            down: false,
        }
    }

    /// What to say and ask now. Unused slots leave with it: they are given back once or never.
    pub(super) fn ask(&mut self, want: Want, now: Instant) -> Ask {
        let most = if self.clock.is_new(now) { 0 } else { want.most };
        let lead = want.lead + self.distance.trip();
        // Who takes no slot widens nobody's.
        let late = match most {
            0 => Late::default(),
            _ => self.clock.late(lead + want.horizon),
        };
        let horizon = (want.horizon + 3 * self.distance.trip()).min(FURTHEST.saturating_sub(lead));
        let mut unused = std::mem::take(&mut self.unused);
        unused.sort_unstable_by_key(|slot| std::cmp::Reverse(slot.at));
        let begins = |until: Instant| rate::Pause::Begins(until.saturating_duration_since(now));
        let ends = self.report.pause_ends.then_some(rate::Pause::Ends);
        Ask {
            step: 0,
            in_flight: self.in_flight,
            per_second: self.set.per_second,
            concurrency: self.set.concurrency,
            put: self.put,
            most,
            counted: want.counted,
            lead,
            horizon,
            late: late.at_most,
            own: late.own + GAINS,
            too_many: self.report.too_many,
            pause: self.report.pause.map(begins).or(ends),
            taken: std::mem::take(&mut self.taken),
            unused,
        }
    }

    /// Takes in an answer, and what was granted with it.
    pub(super) fn learn(
        &mut self,
        asked: &Asked,
        answer: RateState,
        got: Instant,
    ) -> Vec<GrantedSlot> {
        let Asked { ask, report, sent } = asked;
        self.down = false;
        let took = got.saturating_duration_since(*sent);
        let lead = (ask.most > 0 && ask.counted).then_some(ask.lead);
        self.distance.asked(took, lead);
        let rate = Rate {
            per_second: ask.per_second,
            concurrency: ask.concurrency,
        };
        // What was said or set meanwhile is still to be told.
        if self.report == *report {
            self.report = Report::default();
            // A second may be that of a key that was lost.
            let left = (answer.wait > FURTHEST).then_some(answer.wait);
            self.pause.heard(left, *sent);
        }
        if self.set == rate && self.put == ask.put {
            self.put = None;
        }
        if self.put.is_none() {
            self.set = Rate {
                per_second: answer.per_second,
                concurrency: answer.concurrency,
            };
        }
        self.effective = answer.effective;
        self.elsewhere = answer.elsewhere;
        self.opens = answer.opens;
        self.clock.came_by(answer.by);
        let granted = self.clock.learn(&answer, *sent, got);
        let counted = if ask.counted { answer.slots.len() } else { 0 };
        self.told_in_flight = ask.in_flight + counted;
        if !granted {
            self.ask_at = self.clock.new_until(got);
            return Vec::new();
        }
        self.in_flight += counted;
        let none = answer.slots.is_empty() && ask.most > 0;
        // As it is now: calls that ended since the question was asked wake nobody any more.
        self.full = none && ask.counted && self.in_flight + answer.elsewhere >= answer.concurrency;
        let ask_at = match (self.full, none) {
            (true, _) => got + LOOK,
            (_, true) => (got + Duration::from_millis(1)).max(self.clock.passes(ask, &answer, got)),
            _ => got,
        };
        self.ask_at = self.clock.new_until(ask_at);
        let granted = answer.slots.into_iter();
        let clock = &self.clock;
        let late = Late::of(ask);
        granted.map(|slot| clock.grant(slot, late, got)).collect()
    }

    /// Nobody knows what became of the last step, nor which Redis answers the next one.
    pub(super) fn lose(&mut self, now: Instant) {
        self.down = true;
        self.clock.lose();
        self.ask_at = now + PAUSE;
    }

    /// Whether the clock of Redis shall be learned while no slot is taken yet.
    pub(super) fn is_learning(&self, now: Instant) -> bool {
        self.clock.is_known() && self.clock.is_new(now)
    }

    /// Whether there is something to tell soon.
    pub(super) fn is_pressing(&self, now: Instant) -> bool {
        if self.down && now < self.ask_at {
            return false;
        }
        let open = self.put.is_some() || !self.report.is_empty() || !self.unused.is_empty();
        open || !self.clock.is_known() || self.told_in_flight != self.in_flight
    }

    pub(super) fn may_start(&self, granted: &GrantedSlot, now: Instant) -> Start {
        match self.pause(now) {
            None => self.clock.may_start(granted, now),
            Some(_) => Start::Void,
        }
    }

    /// A call has started.
    pub(super) fn count_start(&mut self, granted: &GrantedSlot, now: Instant) {
        self.clock.came(granted, now);
        self.distance.started(granted.waited(now));
        self.started += 1;
    }

    /// A call came too late for its slot.
    pub(super) fn came_late(&mut self, granted: &GrantedSlot, now: Instant) {
        self.clock.came(granted, now);
        self.give_back(granted);
    }

    pub(super) fn count_end(&mut self) {
        self.taken += 1;
    }

    pub(super) fn give_back(&mut self, granted: &GrantedSlot) {
        self.unused.extend(self.clock.slot_of(granted));
    }

    /// A call has ended: there is room for one that was not asked for yet.
    pub(super) fn end_call(&mut self, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if self.full {
            self.full = false;
            self.ask_at = now;
        }
    }

    /// When the next slot opens, on the clock of Redis.
    pub(super) fn opens(&self) -> u64 {
        self.opens
    }

    pub(super) fn opens_in(&self, lead: Duration, now: Instant) -> Option<Duration> {
        if self.full && self.elsewhere == 0 {
            return None;
        }
        let ahead = lead + 3 * self.distance.trip() + AHEAD;
        let opens = self.clock.surely(self.opens).unwrap_or(now);
        let opens = opens.checked_sub(ahead).unwrap_or(now);
        Some(opens.max(self.ask_at).saturating_duration_since(now))
    }

    /// The upstream said "too many".
    pub(super) fn slow_down(&mut self) {
        self.report.too_many = true;
        self.taken -= 1;
    }

    /// The upstream asked for a pause. Whether a person should be told.
    pub(super) fn wait(&mut self, time: Duration, now: Instant) -> bool {
        let tell = self.pause.ask(time, now);
        self.report.pause = self.pause.left(now).map(|left| now + left);
        tell
    }

    pub(super) fn end_pause(&mut self) {
        self.pause.end();
        self.report.pause = None;
        self.report.pause_ends = true;
    }

    /// What is left of the pause that the upstream asked for.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        self.pause.left(now)
    }

    /// What is to be told with the next step.
    pub(super) fn report(&self) -> Report {
        self.report
    }

    pub(super) fn set(&mut self, rate: Rate) {
        self.set = rate;
        self.put = Some(Put::Operator);
        self.effective = rate.per_second;
        self.end_pause();
    }

    /// How far away Redis is, when that costs some of the rate.
    fn away(&self) -> Option<Duration> {
        self.distance.costs(self.effective, self.set.concurrency)
    }

    /// The rate as it is now, when a person is to be told that Redis is far away.
    pub(super) fn news(&mut self, now: Instant) -> Option<(Duration, RateNow)> {
        let costs = self.away().is_some();
        let news = !self.clock.is_new(now) && self.distance.is_news(costs);
        news.then(|| (self.distance.trip(), self.now(now)))
    }

    pub(super) fn now(&self, now: Instant) -> RateNow {
        let leaves = |rate| self.distance.leaves(rate, self.set.concurrency);
        RateNow {
            set: self.set,
            effective: self.effective.map(leaves),
            away: self.away(),
            pause: self.pause.left(now),
            in_flight: self.in_flight,
            elsewhere: self.elsewhere,
            started: self.started,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn ms(time: u64) -> Duration {
        Duration::from_millis(time)
    }

    /// A replica and the instants of its test. Redis' clock shows an hour at the beginning.
    struct Story {
        state: State,
        zero: Instant,
        /// How far the clock of Redis was set since.
        set_by: i64,
    }

    impl Story {
        fn new() -> Self {
            let rate = Rate {
                per_second: Some(10.0),
                concurrency: 10,
            };
            Self {
                state: State::new(rate, ms(4)),
                zero: Instant::now(),
                set_by: 0,
            }
        }

        fn clock(&self, at: u64) -> u64 {
            (3600 * SECOND + at * 1000).saturating_add_signed(self.set_by)
        }

        /// Asks for two slots at a time; Redis answers within a millisecond, with as many as asked
        /// for, the first of them 10 ms later.
        fn step(&mut self, at: u64) -> Vec<GrantedSlot> {
            let sent = self.zero + ms(at);
            let want = Want {
                most: 2,
                counted: true,
                ..Want::default()
            };
            let ask = self.state.ask(want, sent);
            let now = self.clock(at) + 500;
            let slots = (0..ask.most as u64).map(|n| {
                let at = now + 10_000 + n * 100_000;
                Some(Slot {
                    at,
                    after: at + 100_000,
                })
            });
            let answer = RateState {
                by: 0,
                now,
                opens: now,
                elsewhere: 0,
                concurrency: 10,
                per_second: Some(10.0),
                effective: Some(10.0),
                wait: ms(0),
                slots: slots.collect(),
            };
            let report = Report::default();
            let asked = Asked { ask, report, sent };
            self.state.learn(&asked, answer, sent + ms(1))
        }

        fn may_start(&self, granted: &GrantedSlot, at: u64) -> Start {
            self.state.may_start(granted, self.zero + ms(at))
        }
    }

    #[test]
    fn a_newcomer_takes_no_slot_for_as_long_as_those_of_before_may_be_about() {
        let mut story = Story::new();
        for at in [0, 1, 1000, 1500] {
            assert!(story.step(at).is_empty(), "{at}");
            let wait = story.state.opens_in(ms(0), story.zero + ms(at + 1));
            assert!(wait.unwrap() >= ms(1500 - at), "{at}: {wait:?}");
        }
        assert_eq!(story.step(1550).len(), 2);
    }

    #[test]
    fn calls_that_end_while_redis_is_asked_make_room_that_is_seen() {
        let mut story = Story::new();
        story.step(0);
        let ends = |story: &mut Story, at: u64, ended: usize| {
            story.state.in_flight = 10;
            let (sent, want) = (
                story.zero + ms(at),
                Want {
                    most: 2,
                    counted: true,
                    ..Want::default()
                },
            );
            let ask = story.state.ask(want, sent);
            (0..ended).for_each(|_| story.state.end_call(sent));
            let answer = RateState {
                by: 0,
                now: story.clock(at) + 500,
                opens: 0,
                elsewhere: 0,
                concurrency: 10,
                per_second: Some(10.0),
                effective: Some(10.0),
                wait: ms(0),
                slots: Vec::new(),
            };
            let report = Report::default();
            let asked = Asked { ask, report, sent };
            let none = story.state.learn(&asked, answer, sent + ms(1));
            assert!(none.is_empty());
            story.state.opens_in(ms(0), sent + ms(1))
        };
        assert_eq!(ends(&mut story, 2000, 0), None, "full: who ends wakes");
        for ended in [1, 10] {
            let wait = ends(&mut story, 2100, ended);
            assert!(wait.is_some_and(|wait| wait < ms(5)), "{wait:?}");
        }
    }

    #[test]
    fn a_call_starts_neither_before_its_slot_nor_late() {
        let mut story = Story::new();
        story.step(0);
        let granted = story.step(2000);
        let Start::At(at) = story.may_start(&granted[0], 2001) else {
            panic!("it may not start at once");
        };
        // Whatever the true clock is within its bounds, the slot has come then.
        let wait = at - (story.zero + ms(2010));
        assert!((ms(0)..ms(2)).contains(&wait), "{wait:?}");
        // The clock of Redis may show the slot by now, but nothing proves it.
        assert!(matches!(story.may_start(&granted[0], 2010), Start::At(_)));
        assert_eq!(story.may_start(&granted[0], 2012), Start::Now);
        assert_eq!(story.may_start(&granted[0], 2015), Start::Late);
    }

    #[test]
    fn when_the_clock_of_redis_is_set_nobody_uses_two_clocks_at_once() {
        for set_by in [-3_600_000_000, -50_000, 50_000, 3_600_000_000] {
            let mut story = Story::new();
            story.step(0);
            let before = story.step(2000);
            assert_eq!(before.len(), 2);
            story.set_by = set_by;
            assert!(story.step(2005).is_empty(), "granted on another clock");
            assert_eq!(story.may_start(&before[0], 2012), Start::Void);
            assert!(story.step(3500).is_empty(), "slots of before may be about");
            assert_eq!(story.step(3550).len(), 2);
            assert_eq!(story.state.in_flight, 4);
        }
    }

    #[test]
    fn an_error_voids_what_was_granted_and_begins_anew() {
        let mut story = Story::new();
        story.step(0);
        let before = story.step(2000);
        story.state.lose(story.zero + ms(2001));
        assert_eq!(story.may_start(&before[0], 2012), Start::Void);
        let wait = story.state.opens_in(ms(0), story.zero + ms(2001));
        assert_eq!(wait, Some(PAUSE));
        assert!(story.step(2300).is_empty());
        assert!(story.step(3750).is_empty());
        assert_eq!(story.step(3850).len(), 2);
    }

    #[test]
    fn what_is_said_while_redis_does_not_answer_is_said_again() {
        let mut story = Story::new();
        let now = story.zero;
        story.state.slow_down();
        story.state.wait(ms(7000), now);
        story.state.ask(Want::default(), now);
        story.state.lose(now + ms(1));
        let ask = story.state.ask(Want::default(), now + ms(1000));
        assert!(ask.too_many);
        assert_eq!(ask.pause, Some(rate::Pause::Begins(ms(6000))));
        assert_eq!(ask.put, Some(Put::Start));
    }
}
