//! One message: was it sent at most once, and was MoEngage told all of it and nothing else? What the
//! fakes saw counts. The gateway is asked only for what nobody else can know, and must agree.

use crate::fault::books::{Story, Told};
use crate::fault::lost_answers::{Doubt, With};
use crate::fault::plan::Plan;
use crate::fault::table::Figures;
use crate::fault::upset::{Lapse, may_be_forgotten};
use crate::kit::event_bodies::fold;
use serde_json::Value;
use std::collections::BTreeMap;

/// How a `failed` begins that a status of the provider brought about.
const BY_STATUS: &str = "Failed after acceptance";
/// How one begins that a refusal of the provider brought about.
const REFUSED: &str = "The provider refused the message";
/// How one begins that nothing at all brought about.
const UNKNOWN: &str = "Outcome unknown";
/// Evidence this long before the end of a hold counts, whatever the machine is busy with.
const IN_TIME_MS: i64 = 500;
/// Statuses of one message that Redis may have forgotten, one by one, at the most.
const MOST_EVENTS: usize = 8;
/// What an outcome may be that leaves no doubt: the provider did not take it.
const CLEAR: [&str; 4] = ["refuse", "503", "401", "rule"];

/// A message with all that is known of it.
pub(crate) struct Case<'a> {
    pub(crate) n: usize,
    pub(crate) plan: &'a Plan,
    /// What the fakes know.
    pub(crate) story: &'a Story,
    /// What the gateway says.
    pub(crate) known: &'a Value,
    /// What it says of the other message to the same person, if there is one.
    pub(crate) twin: Option<&'a Value>,
    /// When an answer may have got lost.
    pub(crate) doubts: &'a [Doubt],
    /// Of when Redis may have forgotten what was stored.
    pub(crate) lapses: &'a [Lapse],
    /// From and until when it was stored, as MoEngage saw it, in milliseconds since 1970.
    pub(crate) stored_ms: Option<(i64, i64)>,
}

impl Case<'_> {
    /// Judges it; what is wrong goes into the figures.
    pub(crate) fn judge(&self, figures: &mut Figures) {
        let mut faults = Vec::new();
        let sends = self.story.sends.len();
        figures.repeats += self.story.repeats;
        if sends > 1 {
            figures.twice += 1;
            faults.push(format!("sent {sends} times"));
        }
        if self.is_forgotten() {
            figures.tail += 1;
            figures.tail_statuses += self
                .expected(false)
                .len()
                .saturating_sub(self.story.told.len());
        } else {
            self.judge_remembered(figures, &mut faults);
        }
        if !faults.is_empty() {
            let (n, faults) = (self.n, faults.join("; "));
            figures.fault(format!("m{n}: {faults}: {:?} {}", self.story, self.known));
        }
    }

    fn judge_remembered(&self, figures: &mut Figures, faults: &mut Vec<String>) {
        if self.n < self.plan.refused {
            self.judge_dead(figures, faults);
        } else {
            self.judge_told(figures, faults);
        }
        self.judge_unknown(figures, faults);
        self.judge_times(faults);
        self.judge_known(figures, faults);
    }

    /// Whether Redis forgot that it was accepted, and nobody who lived could remember that: it was not
    /// sent, or all gateways died.
    fn is_forgotten(&self) -> bool {
        let forgot = |lapse: &Lapse| {
            let could = self.stored_ms.is_some_and(|time| lapse.takes(time));
            could && (self.story.sends.is_empty() || lapse.is_whole)
        };
        let is_known = !self.known["state"].is_null();
        let told: Vec<String> = self.told();
        !is_known
            && self.lapses.iter().any(forgot)
            // What comes of it later is of nobody's message.
            && fold(&told) == told
    }

    fn told(&self) -> Vec<String> {
        let told = self.story.told.iter();
        told.map(|one| one.word.clone()).collect()
    }

    /// Whether this is what MoEngage has to be told where Redis forgot some of the statuses that it may
    /// have forgotten.
    fn is_but_for_the_forgotten(&self, told: &[String], own_failure: bool) -> bool {
        let events = &self.story.events;
        let may = |n: &usize| may_be_forgotten(self.lapses, events[*n].at_ms as i64);
        let some: Vec<usize> = (0..events.len()).filter(may).take(MOST_EVENTS).collect();
        (0..1u32 << some.len()).any(|choice| {
            let forgotten = |n: usize| {
                let place = some.iter().position(|one| *one == n);
                place.is_some_and(|place| choice >> place & 1 == 1)
            };
            let left = (0..events.len()).filter(|n| !forgotten(*n));
            let left = left.map(|n| events[n].word.clone());
            let failed = own_failure.then(|| "failed".to_owned());
            fold(&failed.into_iter().chain(left).collect::<Vec<_>>()) == told
        })
    }

    /// Whether all of its statuses came while Redis may have forgotten some.
    fn has_forgettable(&self) -> bool {
        let mut at = self.story.events.iter().map(|event| event.at_ms as i64);
        at.all(|at_ms| may_be_forgotten(self.lapses, at_ms))
    }

    /// Whether an operator let it fail: nothing was tried in this life.
    fn is_given_up(&self) -> bool {
        let accepted = |lapse: &Lapse| {
            self.stored_ms
                .is_some_and(|(from, _)| from < lapse.until_ms)
        };
        self.lapses.iter().any(accepted)
            && when(self.known, "failed").is_some()
            && when(self.known, "unknown").is_none()
    }

    /// The `failed` that no status brought about, if MoEngage was told one: the last, where an operator let
    /// fail what Redis forgot to have been refused.
    fn own_failure(&self) -> Option<&Told> {
        let own = |told: &&Told| told.word == "failed" && is_own(told);
        self.story.told.iter().rfind(own)
    }

    /// What MoEngage has to be told, after a `failed` of our own or without one.
    fn expected(&self, own_failure: bool) -> Vec<String> {
        let events = self.story.events.iter().map(|one| one.word.clone());
        let failed = own_failure.then(|| "failed".to_owned());
        fold(&failed.into_iter().chain(events).collect::<Vec<_>>())
    }

    fn judge_told(&self, figures: &mut Figures, faults: &mut Vec<String>) {
        let own = self.own_failure();
        if let Some(failure) = own {
            figures.unclear += usize::from(!self.story.sends.is_empty());
            self.judge_failure(failure, figures, faults);
        } else if self.story.sends.is_empty() {
            figures.lost += 1;
            faults.push("never sent, and nobody was told".to_owned());
        }
        let mut told = self.told();
        let anew = self.lapses.iter().any(|lapse| lapse.is_whole);
        if own.is_some() && (anew || self.is_given_up()) {
            // What was told of it before, when Redis or those who died knew more, comes before that.
            let earlier = self.story.told.iter().rposition(is_own).unwrap_or(0);
            figures.again += earlier;
            told.drain(..earlier);
        }
        let expected = self.expected(own.is_some());
        // Of two to one person that nobody ever knew of, a status proves neither (design.md G3).
        if told == expected || own.is_some() && self.is_twin_lost() && told.len() == 1 {
            return;
        }
        if self.is_but_for_the_forgotten(&told, own.is_some()) {
            figures.tail_statuses += expected.len().saturating_sub(told.len());
            return;
        }
        let count = |words: &[String]| {
            words.iter().fold(BTreeMap::new(), |mut all, word| {
                *all.entry(word.clone()).or_insert(0) += 1;
                all
            })
        };
        match count(&told) == count(&expected) {
            // Each of them tells in order what it knows (docs/redis.md "Failover").
            true if self.plan.has_two_masters() && self.has_forgettable() => {
                figures.disorder += 1;
                return;
            }
            true => figures.out_of_order += 1,
            false => figures.statuses_lost += 1,
        }
        faults.push(format!("should be told as {expected:?}"));
    }

    /// MoEngage refuses whatever it is told of this one: all of that is kept for a person.
    fn judge_dead(&self, figures: &mut Figures, faults: &mut Vec<String>) {
        let expected = self.expected(when(self.known, "failed").is_some()).len();
        figures.dead_letters += expected;
        let dead = self.callbacks().filter(|line| line.contains("given up"));
        if !self.story.told.is_empty() || dead.count() != expected {
            faults.push(format!("refused, and not {expected} dead letters"));
        }
    }

    /// Was there a reason for a `failed` of our own?
    fn judge_failure(&self, failure: &Told, figures: &mut Figures, faults: &mut Vec<String>) {
        let why = failure.why.as_deref().unwrap_or_default();
        let spoiled = &self.story.spoiled;
        if why.starts_with(REFUSED) {
            let by_rule = self.plan.refuses_good_ones() && spoiled.iter().any(|by| by == "rule");
            figures.refused += usize::from(by_rule);
            if !by_rule && !spoiled.iter().any(|outcome| outcome == "refuse") {
                faults.push("nobody refused it".to_owned());
            }
        } else if why.starts_with(UNKNOWN) && self.is_given_up() {
            figures.decided += 1;
        } else if why.starts_with(UNKNOWN) {
            self.judge_hold(failure, faults);
        } else {
            faults.push(format!("no reason to fail: {why}"));
        }
    }

    /// Was there a reason, whenever nobody knew?
    fn judge_unknown(&self, figures: &mut Figures, faults: &mut Vec<String>) {
        let doubt = |outcome: &String| !CLEAR.contains(&outcome.as_str());
        if self.story.spoiled.iter().any(doubt) {
            return;
        }
        let shifted = self.plan.shifts_clocks();
        let mut is_orphan = false;
        for at in moments(self.known, "unknown") {
            let lost = |with: With| {
                let mut doubts = self.doubts.iter().filter(|doubt| doubt.with == with);
                doubts.any(|doubt| shifted || doubt.holds(at))
            };
            match (lost(With::Road), lost(With::Gateway)) {
                (true, _) => {}
                (false, true) => is_orphan = true,
                (false, false) => faults.push(format!("no answer was in doubt at {at}")),
            }
        }
        figures.orphans += usize::from(is_orphan);
    }

    /// Was evidence waited for, and taken when it came?
    fn judge_hold(&self, failure: &Told, faults: &mut Vec<String>) {
        let late = |send: &&crate::fault::books::Send| send.at_ms > failure.at_ms;
        if let Some(send) = self.story.sends.iter().find(late) {
            faults.push(format!("sent after it was given up: {send:?}"));
        }
        let (Some(unknown), Some(failed)) =
            (when(self.known, "unknown"), when(self.known, "failed"))
        else {
            return faults.push("given up and never unknown".to_owned());
        };
        // The rest is told by the gateway's clock.
        if self.plan.shifts_clocks() {
            return;
        }
        if failed - unknown < self.plan.least_hold_ms() {
            faults.push(format!("given up after {} ms", failed - unknown));
        }
        let events = self.story.events.iter().map(|event| event.at_ms);
        let first = events
            .filter(|at| !may_be_forgotten(self.lapses, *at as i64))
            .min();
        let in_time = first.is_some_and(|first| (first as i64) < failed - IN_TIME_MS);
        if in_time && !self.is_twin_open(failed - IN_TIME_MS) {
            faults.push("a status proved it in time".to_owned());
        }
    }

    /// Whether of the other message to the same person nobody knew, and then it was given up too.
    fn is_twin_lost(&self) -> bool {
        // Of what Redis forgot nobody needs to have seen that it is unknown; an operator let it fail, untried.
        let unseen = self.is_given_up();
        let anew = self.lapses.iter().any(|lapse| lapse.is_whole);
        let lost = |twin: &Value| {
            let untried = anew && twin["attempts"] == 0;
            let is_unknown = unseen || untried || when(twin, "unknown").is_some();
            is_unknown && when(twin, "failed").is_some()
        };
        self.twin.is_some_and(lost)
    }

    /// Whether the other message to the same person stood in the way of evidence at that moment: it
    /// had not come to its end, or is in doubt for good.
    fn is_twin_open(&self, at: i64) -> bool {
        let end = |twin| when(twin, "receipt").or_else(|| when(twin, "failed"));
        let open = |twin| end(twin).is_none_or(|end| end > at);
        self.is_twin_lost() || self.twin.is_some_and(open)
    }

    /// A status is told with the time at which it happened.
    fn judge_times(&self, faults: &mut Vec<String>) {
        for told in self.story.told.iter().filter(|told| !is_own(told)) {
            let events = self.story.events.iter();
            let same = events.filter(|event| event.word == told.word);
            let said: Vec<Option<u64>> = same.map(|event| event.said_s).collect();
            // One that does not say when it happened gets the time of the gateway's clock.
            let right = |said: &Option<u64>| said.is_none_or(|s| s.to_string() == told.timestamp);
            if !said.is_empty() && !said.iter().any(right) {
                faults.push(format!("{} did not happen then", told.word));
            }
        }
    }

    /// The gateway's own book must say the same.
    fn judge_known(&self, figures: &mut Figures, faults: &mut Vec<String>) {
        let state = self.known["state"].as_str().unwrap_or("nothing");
        let id = self.known["provider_id"].as_str().unwrap_or_default();
        // Long numbers in an id are masked.
        let same = |own: &str| {
            let mut pairs = own.chars().zip(id.chars());
            own.len() == id.len() && pairs.all(|(a, b)| a == b || b == '*')
        };
        match state {
            _ if is_taken(state) && self.story.sends.iter().any(|send| same(&send.id)) => {}
            _ if is_taken(state) => faults.push("its receipt is not the provider's".to_owned()),
            "failed" if self.n < self.plan.refused || self.own_failure().is_some() => {}
            _ => {
                figures.lost += 1;
                faults.push(format!("the gateway says {state}"));
            }
        }
        if self.callbacks().any(|line| !line.contains("given up")) {
            faults.push("a status still waits".to_owned());
        }
    }

    fn callbacks(&self) -> impl Iterator<Item = &str> {
        let lines = self.known["callbacks"].as_array().into_iter().flatten();
        lines.filter_map(Value::as_str)
    }
}

/// Whether a state says that the provider took the message. `accepted` is the word of 0.1.0, which can
/// be judged too.
pub(crate) fn is_taken(state: &str) -> bool {
    [
        "sent",
        "delivered",
        "read",
        "failed_at_whatsapp",
        "accepted",
    ]
    .contains(&state)
}

/// When something happened to a message, by the gateway's clock, in milliseconds since 1970.
fn moments(known: &Value, what: &str) -> Vec<i64> {
    let history = known["history"].as_array().into_iter().flatten();
    let found = history.filter(|moment| moment["what"] == what);
    let at = |moment: &Value| moment["at"].as_str()?.parse::<jiff::Timestamp>().ok();
    found
        .filter_map(at)
        .map(jiff::Timestamp::as_millisecond)
        .collect()
}

/// The same, for the last time.
fn when(known: &Value, what: &str) -> Option<i64> {
    moments(known, what).pop()
}

/// Whether no status of the provider brought this about.
fn is_own(told: &Told) -> bool {
    let why = told.why.as_deref();
    why.is_some_and(|why| !why.starts_with(BY_STATUS))
}
