//! Was anything lost, sent twice, told wrongly? Asks the fakes first, the gateway last: what the
//! provider and MoEngage saw counts, not what the gateway believes.

use crate::aids::{events_by_recipient, fold, told_by_message};
use crate::harness::{SECRET, TOKEN};
use crate::plan::{Class, Plan};
use crate::stage::Stage;
use crate::table::Figures;
use crate::traffic::{FIRST, Posted, person};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// What no line of a log may hold.
const SECRETS: [&str; 6] = [
    TOKEN,
    SECRET,
    "sandbox-refresh-token",
    "sandbox-secret",
    "c2FuZGJveC1rZXk6c2FuZGJveC1zZWNyZXQ",
    "eyJ",
];

/// The faults of one kind that are told one by one.
const TOLD: usize = 5;

/// Everything that is known of a run at its end.
pub(crate) struct Evidence<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) posted: &'a Posted,
    /// The gateway's ledger, drained or not.
    pub(crate) ledger: Value,
}

impl Evidence<'_> {
    /// Compares all books of a run.
    pub(crate) async fn judge(&self) -> Figures {
        let mut figures = Figures {
            messages: self.stage.plan.messages,
            ..Figures::default()
        };
        self.messages(&mut figures).await;
        self.counts(&mut figures).await;
        self.ledger(&mut figures);
        self.posts(&mut figures);
        self.logs(&mut figures);
        figures
    }

    /// Each message: sent at most once, and told as it was.
    async fn messages(&self, figures: &mut Figures) {
        let sandbox = &self.stage.sandbox;
        let sends = sandbox.get("sends/by-recipient").await;
        let events = events_by_recipient(sandbox).await;
        let told = told_by_message(sandbox).await;
        let refused = refused(&self.stage.plan);
        for n in 0..self.stage.plan.messages {
            let msg_id = format!("m{n}");
            let digits = &person(n)[1..];
            let one = Story {
                sends: sends[digits].as_u64().unwrap_or(0),
                events: events.get(digits).cloned().unwrap_or_default(),
                told: told.get(&msg_id).cloned().unwrap_or_default(),
            };
            if one.sends > 1 {
                figures.twice += 1;
                figures.fault(format!("{msg_id} was sent {} times", one.sends));
            }
            if refused.contains(&msg_id) {
                if !one.told.is_empty() {
                    figures.fault(format!("{msg_id} was refused and yet told: {one:?}"));
                }
                continue;
            }
            let known = match one.needs_the_gateway() {
                true => Some(self.stage.message(&msg_id).await),
                false => None,
            };
            one.judge(&msg_id, known.as_ref(), figures);
        }
    }

    /// What the fakes counted.
    async fn counts(&self, figures: &mut Figures) {
        let plan = &self.stage.plan;
        let counts = self.stage.sandbox.counts().await;
        let count = |name: &str| counts[name].as_u64().unwrap_or(u64::MAX);
        if count("callback_backwards") > 0 {
            figures.fault(format!("statuses went backwards: {counts}"));
        }
        if count("callback_invalid") > 0 {
            figures.fault(format!("callbacks against the contract: {counts}"));
        }
        if count("callback_repeated") != count("callback_duplicates") {
            figures.fault(format!("a repeat was not identical: {counts}"));
        }
        if count("max_refreshes_at_once") > 1 {
            figures.fault(format!("two refresh calls at once: {counts}"));
        }
        figures.repeats = usize::try_from(count("callback_duplicates")).unwrap_or(usize::MAX);
        if figures.repeats > 0 && !answers_get_lost(plan.class) {
            figures.fault(format!(
                "{} repeats without an answer that got lost",
                figures.repeats
            ));
        }
        // Calls start at the rate (README "How the rate is kept"); each call under way may be held
        // up on the road and arrive in a later second.
        let most = plan.rate + plan.concurrency * plan.replicas + 1;
        let rate = self.stage.sandbox.get("rate").await;
        let seen = rate["max_in_any_second"].as_u64().unwrap_or(0);
        if seen > most as u64 {
            figures.fault(format!("{seen} calls in a second, at most {most} expected"));
        }
    }

    /// The ledger equation.
    fn ledger(&self, figures: &mut Figures) {
        let ledger = &self.ledger["total"];
        let count = |name: &str| ledger[name].as_i64().unwrap_or(-1);
        let open: i64 = ["queued", "in_flight", "held", "unknown"]
            .map(count)
            .iter()
            .sum();
        let ended = count("accepted_by_provider") + count("failed");
        let all = i64::try_from(self.stage.plan.messages).unwrap_or(i64::MAX);
        if open != 0 || ledger["callbacks"]["waiting"] != 0 {
            figures.fault(format!("not drained: {ledger}"));
        }
        if count("accepted") != all || ended + open != all || count("lost") != 0 {
            let lost = usize::try_from(all - ended - open).unwrap_or(0);
            figures.lost += lost;
            figures.fault(format!("the ledger does not add up to {all}: {ledger}"));
        }
        for (name, counted) in self.ledger["counted"].as_object().into_iter().flatten() {
            if *counted != ledger[name] {
                figures.fault(format!("{name}: {counted} rows, ledger {ledger}"));
            }
        }
    }

    fn posts(&self, figures: &mut Figures) {
        let wrong = self.posted.wrong.lock().expect("no panic holds it");
        figures.faults.extend(wrong.iter().take(TOLD).cloned());
        if self.posted.successes.load(Ordering::Relaxed) < self.stage.plan.messages {
            figures.fault("not every message was accepted".to_owned());
        }
    }

    /// Nothing secret and no phone number in any line.
    fn logs(&self, figures: &mut Figures) {
        for log in self.stage.logs() {
            let bad = |line: &&str| {
                SECRETS.iter().any(|secret| line.contains(secret))
                    || numbers(line).any(|n| n - FIRST < self.stage.plan.messages)
                    || line.contains("panicked")
            };
            for line in log.lines().filter(bad).take(TOLD) {
                figures.fault(format!("this was logged: {line}"));
            }
        }
    }
}

impl Figures {
    pub(crate) fn fault(&mut self, what: String) {
        self.faults.push(what);
    }
}

/// The recipients that a line of a log names, without the area.
fn numbers(line: &str) -> impl Iterator<Item = usize> {
    line.match_indices("1202").filter_map(|(at, area)| {
        let rest = line.get(at + area.len()..at + area.len() + 7)?;
        rest.parse().ok().filter(|n| *n >= FIRST)
    })
}

fn refused(plan: &Plan) -> Vec<String> {
    (0..plan.refused).map(|n| format!("m{n}")).collect()
}

/// Whether a class of faults lets the answer to a callback get lost, or keeps the gateway from
/// writing it down.
fn answers_get_lost(class: Class) -> bool {
    !matches!(
        class,
        Class::RoadJumper
            | Class::RoadIn
            | Class::DiskSlow
            | Class::Clock
            | Class::Ambiguous
            | Class::Limits
            | Class::Tokens
            | Class::Storm
            | Class::Repeats
            | Class::Config
    )
}

/// What the world knows of a message.
#[derive(Debug)]
struct Story {
    /// Times that the provider took it.
    sends: u64,
    /// Statuses that the gateway answered 200 for, in order.
    events: Vec<String>,
    /// What MoEngage received, in order, as it came.
    told: Vec<String>,
}

impl Story {
    /// Whether only the gateway can tell if this is right.
    fn needs_the_gateway(&self) -> bool {
        self.sends > 0 && (self.told.is_empty() || self.events != self.told)
    }

    fn judge(&self, msg_id: &str, known: Option<&Value>, figures: &mut Figures) {
        let mut told = self.told.clone();
        told.dedup();
        if self.sends == 0 {
            // Refused, or its outcome could not be known.
            if told != ["failed"] {
                figures.lost += usize::from(told.is_empty());
                figures.fault(format!("{msg_id} was never sent: {self:?}"));
            }
            return;
        }
        let was = |word: &str| {
            let history = known.and_then(|known| known["history"].as_array());
            history
                .into_iter()
                .flatten()
                .any(|moment| moment["what"] == word)
        };
        if told.is_empty() && known.is_none_or(|known| known["state"] != "accepted") {
            figures.lost += 1;
            return figures.fault(format!("{msg_id} ended nowhere: {self:?} {known:?}"));
        }
        let mut events = self.events.clone();
        if told != fold(&events) && was("unknown") {
            // Reported failed when the time for evidence was over; what came later is told too.
            figures.unclear += 1;
            events.insert(0, "failed".to_owned());
        }
        let expected = fold(&events);
        if told == expected {
            return;
        }
        let count = |words: &[String]| {
            words.iter().fold(BTreeMap::new(), |mut all, word| {
                *all.entry(word.clone()).or_insert(0) += 1;
                all
            })
        };
        match count(&told) == count(&expected) {
            true => figures.out_of_order += 1,
            false => figures.statuses_lost += 1,
        }
        figures.fault(format!(
            "{msg_id} should be told as {expected:?}: {self:?} {known:?}"
        ));
    }
}
