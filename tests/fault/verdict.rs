//! Was anything lost, sent twice, told wrongly? Asks the fakes first, the gateway last: what the
//! provider and MoEngage saw counts, not what the gateway believes. `story.rs` judges one message.

use crate::fault::books::{Books, Heard, Story};
use crate::fault::lost_answers::Doubt;
use crate::fault::people::{self, Said};
use crate::fault::plan::{Class, Harm, Plan};
use crate::fault::policy;
use crate::fault::sampler::Samples;
use crate::fault::stage::Stage;
use crate::fault::story::{Case, is_taken};
use crate::fault::table::Figures;
use crate::fault::traffic::{FIRST, person, twin};
use crate::fault::upset::Lapse;
use crate::kit::harness::{SECRET, TOKEN};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// What no line of a log may hold.
const SECRETS: [&str; 7] = [
    TOKEN,
    SECRET,
    "sandbox-refresh-token",
    "sandbox-secret",
    "c2FuZGJveC1rZXk6c2FuZGJveC1zZWNyZXQ",
    "eyJ",
    // What the fake calls a new refresh token.
    "seed-",
];

/// The faults of one kind that are told one by one.
const TOLD: usize = 5;
/// Statuses of one message.
const MOST_STATUSES: usize = 3;
/// Calls at once that are no sends: templates, tokens, subscriptions.
const MAINTENANCE: usize = 3;

/// Everything that is known of a run at its end.
pub(crate) struct Evidence<'a> {
    pub(crate) stage: &'a Stage,
    /// When answers may have got lost.
    pub(crate) doubts: Vec<Doubt>,
    /// Each harm, from and until when it was done, in milliseconds since 1970.
    pub(crate) times: &'a [(&'a Harm, i64, i64)],
    /// Of when Redis may have forgotten what was stored.
    pub(crate) lapses: Vec<Lapse>,
    pub(crate) said: &'a [Said],
    /// The gateway's ledger, drained or not.
    pub(crate) ledger: Value,
    pub(crate) samples: &'a Samples,
}

impl Evidence<'_> {
    /// Compares all books of a run.
    pub(crate) async fn judge(&self) -> Figures {
        let plan = &self.stage.plan;
        let mut figures = Figures {
            messages: plan.messages,
            ..Figures::default()
        };
        let mut books = Books::read(&self.stage.sandbox, plan.messages).await;
        for story in &mut books.stories {
            figures.again += story.told_again(&self.lapses);
        }
        let posts = self.stage.posted.posts();
        let mut known = Vec::with_capacity(plan.messages);
        for n in 0..plan.messages {
            known.push(self.stage.message(&format!("m{n}")).await);
        }
        for (n, story) in books.stories.iter().enumerate() {
            let case = Case {
                n,
                plan,
                story,
                known: &known[n],
                doubts: &self.doubts,
                lapses: &self.lapses,
                stored_ms: posts.get(&n).copied(),
                twin: twin(n).and_then(|other| known.get(other)),
            };
            case.judge(&mut figures);
        }
        judge_orphans(plan, &mut figures);
        self.policy(&books, &mut figures).await;
        figures
            .faults
            .extend(books.strays.iter().take(TOLD).cloned());
        judge_words(self.said, &books, &self.lapses, &mut figures);
        judge_repeats(plan, &books, &mut figures);
        self.stops(&mut figures).await;
        let counts = self.stage.sandbox.counts().await;
        judge_counts(plan, &counts, &mut figures);
        self.standing_harm(&books, &counts, &mut figures);
        let rate = self.stage.sandbox.get("rate").await;
        let over = self.samples.over(plan.rate as f64);
        judge_rate(plan, &rate, over, &mut figures);
        judge_ledger(&self.ledger, &known, &mut figures);
        self.decisions(&mut figures);
        self.posts(&mut figures);
        for log in self.stage.logs() {
            judge_log(&log, plan.messages, &mut figures);
        }
        figures
    }

    /// Whether harm that stands in the plan, and not in its blows, showed.
    fn standing_harm(&self, books: &Books, counts: &Value, figures: &mut Figures) {
        let plan = &self.stage.plan;
        let bit = match plan.class {
            Class::RedisDistance => self.stage.far_away(),
            Class::Limits => counts["limited"].as_u64() > Some(0),
            Class::Storm => books.stories.iter().any(Story::is_disordered),
            Class::Repeats => self.stage.posted.successes.load(Ordering::Relaxed) > plan.messages,
            _ => return,
        };
        figures.harms += 1;
        figures.bit += usize::from(bit);
    }

    /// Who said STOP gets no more.
    async fn stops(&self, figures: &mut Figures) {
        let door = self.stage.door.addr().to_string();
        for said in self.said.iter().filter(|said| said.taken && said.is_stop()) {
            if self.lapses.iter().any(|lapse| lapse.silences(said.at_ms)) {
                continue;
            }
            if !people::is_refused(&self.stage.sandbox, &door, said).await {
                figures.fault(format!("{said:?}, and yet may be sent to"));
            }
        }
    }

    /// What became of others because of some answers, or of a clock.
    async fn policy(&self, books: &Books, figures: &mut Figures) {
        let logs = self.stage.logs();
        policy::judge_failed(&self.stage.plan, &logs, figures);
        let accepted = self.stage.posted.accepted_at();
        for harm in self.times {
            policy::judge_harm(&self.stage.plan, (books, &accepted), *harm, figures);
        }
        let holds = self.stage.holds().await;
        if !holds.is_empty() {
            figures.fault(format!("held although the provider is well: {holds:?}"));
        }
    }

    /// The operator lets fail what may have been sent, and nobody else does.
    fn decisions(&self, figures: &mut Figures) {
        let decided = self.stage.decided();
        if figures.decided != decided {
            figures.fault(format!(
                "the operator let {decided} messages fail, and {} failed so",
                figures.decided
            ));
        }
    }

    fn posts(&self, figures: &mut Figures) {
        let posted = &self.stage.posted;
        let wrong = posted.wrong.lock().expect("no panic holds it");
        figures.faults.extend(wrong.iter().take(TOLD).cloned());
        if posted.successes.load(Ordering::Relaxed) < self.stage.plan.messages {
            figures.fault("not every message was accepted".to_owned());
        }
    }
}

/// A gateway that dies was sending no more than it may.
pub(crate) fn judge_orphans(plan: &Plan, figures: &mut Figures) {
    let (orphans, most) = (figures.orphans, plan.most_orphans());
    if orphans > most {
        figures.fault(format!(
            "{orphans} sends got lost with gateways, at most {most} expected"
        ));
    }
}

/// What people said: told once, and of the right message.
pub(crate) fn judge_words(said: &[Said], books: &Books, lapses: &[Lapse], figures: &mut Figures) {
    let mut meant = 0;
    for said in said.iter().filter(|said| said.taken) {
        let right = |heard: &&Heard| {
            heard.from.trim_start_matches('+') == &person(said.n)[1..] && heard.text == said.text
        };
        let of = |msg_id: &str| {
            let heard = books.heard.iter().filter(|heard| heard.msg_id == msg_id);
            heard.collect::<Vec<_>>()
        };
        let words = of(&format!("m{}", said.n));
        let alone: Vec<_> = of("").into_iter().filter(right).collect();
        meant += words.len() + alone.len();
        let confused = lapses.iter().any(|lapse| lapse.confuses(said.at_ms));
        let silenced = lapses.iter().any(|lapse| lapse.silences(said.at_ms));
        match (&words[..], &alone[..]) {
            ([one], []) if right(one) => {}
            // Redis did not know the message, or forgot the words.
            ([], [] | [_]) if confused => figures.words += 1,
            ([], []) if silenced => figures.words += 1,
            _ => {
                figures.statuses_lost += usize::from(words.is_empty());
                figures.fault(format!("{said:?} was told as {words:?} {alone:?}"));
            }
        }
    }
    if meant != books.heard.len() {
        figures.fault(format!(
            "MoEngage heard what nobody said: {:?}",
            books.heard
        ));
    }
}

/// MoEngage is told again only what it may not have heard.
pub(crate) fn judge_repeats(plan: &Plan, books: &Books, figures: &mut Figures) {
    figures.repeats += books.heard_again;
    if figures.repeats > 0 && !plan.loses_callbacks() {
        let repeats = figures.repeats;
        figures.fault(format!("{repeats} repeats without an answer that got lost"));
    }
}

/// What the fakes counted.
pub(crate) fn judge_counts(plan: &Plan, counts: &Value, figures: &mut Figures) {
    // What is told again comes after what was told later.
    let again = match figures.again {
        0 => 0,
        again => again + figures.repeats,
    };
    let again = again + figures.disorder * MOST_STATUSES;
    if counts["callback_backwards"].as_u64() > Some(again as u64) {
        figures.fault(format!("statuses went backwards: {counts}"));
    }
    for (name, what) in [
        ("callback_invalid", "callbacks against the contract"),
        ("events_failed", "events were never taken"),
        ("events_pending", "events are still on their way"),
    ] {
        if counts[name] != 0 {
            figures.fault(format!("{what}: {counts}"));
        }
    }
    // Locks live by the clock of Redis: a leap ahead ends them (docs/redis.md "One clock").
    let refreshes = if plan.class == Class::RedisClock {
        2
    } else {
        1
    };
    if counts["max_refreshes_at_once"]
        .as_u64()
        .is_none_or(|most| most > refreshes)
    {
        figures.fault(format!(
            "more than {refreshes} refresh calls at once: {counts}"
        ));
    }
    let most = (plan.most_at_once() + plan.replicas * MAINTENANCE) as u64;
    let seen = counts["max_in_flight"].as_u64().unwrap_or(u64::MAX);
    // Of a call that was given up Jumper may not know.
    if seen > most && !plan.hides_answers() && !plan.is_doubtful() {
        figures.fault(format!("{seen} calls at once, at most {most} expected"));
    }
}

/// The rate, in any second, and over any longer time the calls beyond it.
pub(crate) fn judge_rate(plan: &Plan, rate: &Value, over: f64, figures: &mut Figures) {
    // Calls start at the rate (docs/how-it-works.md); each call under way may be held
    // up on the road and arrive in a later second.
    let held_up = plan.most_at_once() + 1;
    let most = plan.rate + held_up;
    let seen = rate["max_in_any_second"].as_u64().unwrap_or(u64::MAX);
    if seen > most as u64 {
        figures.fault(format!("{seen} calls in a second, at most {most} expected"));
    }
    figures.over_rate = over / held_up as f64;
    if over > held_up as f64 {
        figures.fault(format!(
            "{over:.0} calls more than the rate, at most {held_up} expected"
        ));
    }
}

/// Nothing secret and no phone number in any line.
pub(crate) fn judge_log(log: &str, messages: usize, figures: &mut Figures) {
    let bad = |line: &&str| {
        SECRETS.iter().any(|secret| line.contains(secret))
            || numbers(line).any(|n| n - FIRST < messages)
            || line.contains("panicked")
    };
    for line in log.lines().filter(bad).take(TOLD) {
        figures.fault(format!("this was logged: {line}"));
    }
}

/// The ledger equation, and the counters against the messages one by one.
pub(crate) fn judge_ledger(book: &Value, known: &[Value], figures: &mut Figures) {
    let ledger = &book["total"];
    let count = |name: &str| ledger[name].as_i64().unwrap_or(-1);
    let open: i64 = ["queued", "in_flight", "held", "unknown"]
        .map(count)
        .iter()
        .sum();
    let ended = count("accepted_by_provider") + count("failed");
    let all = (known.len() - figures.tail) as i64;
    if open != 0 || ledger["callbacks"]["waiting"] != 0 {
        figures.fault(format!("not drained: {ledger}"));
    }
    if count("accepted") != all || ended + open != all || count("lost") != 0 {
        figures.fault(format!("the ledger does not add up to {all}: {ledger}"));
    }
    let states = known.iter().filter_map(|one| one["state"].as_str());
    let are = |is: fn(&str) -> bool| states.clone().filter(|state| is(state)).count() as i64;
    for (counter, are) in [
        ("accepted_by_provider", are(is_taken)),
        ("failed", are(|state| state == "failed")),
    ] {
        if count(counter) != are {
            figures.fault(format!("{are} messages are {counter}: {ledger}"));
        }
    }
    if ledger["callbacks"]["dead_letters"] != figures.dead_letters {
        let dead = figures.dead_letters;
        figures.fault(format!("{dead} dead letters expected: {ledger}"));
    }
    let counted = json!({ "queued": 0, "in_flight": 0, "unknown": 0 });
    if book["counted"] != counted {
        figures.fault(format!("rows are open: {book}"));
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
