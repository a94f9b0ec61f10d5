//! Does the verdict see? Before the first run each kind of wrong is shown to it, made up.

use crate::fault::books::{Books, Event, Heard, Send, Story, Told};
use crate::fault::lost_answers::{Doubt, With};
use crate::fault::people::Said;
use crate::fault::plan::{Class, Harm, Plan, Store};
use crate::fault::policy;
use crate::fault::run::{Usage, judge_usage};
use crate::fault::story::Case;
use crate::fault::table::Figures;
use crate::fault::traffic::person;
use crate::fault::upset::Lapse;
use crate::fault::verdict::{
    judge_counts, judge_ledger, judge_log, judge_orphans, judge_rate, judge_repeats, judge_words,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// When the made-up message was sent, in milliseconds since 1970.
const SENT_MS: u64 = 1_900_000_000_000;

/// A message with what the gateway says of it.
struct Shown {
    class: Class,
    n: usize,
    story: Story,
    known: Value,
    twin: Option<Value>,
    doubts: Vec<Doubt>,
    lapses: Vec<Lapse>,
}

impl Shown {
    fn new(story: Story, known: Value) -> Self {
        Self {
            class: Class::Repeats,
            n: 9,
            story,
            known,
            twin: None,
            doubts: Vec::new(),
            lapses: Vec::new(),
        }
    }
}

fn event(word: &str, after_ms: u64) -> Event {
    Event {
        word: word.into(),
        at_ms: SENT_MS + after_ms,
        said_s: Some((SENT_MS + after_ms) / 1_000),
    }
}

fn told(word: &str, after_ms: u64, why: Option<&str>) -> Told {
    Told {
        word: word.into(),
        at_ms: SENT_MS + after_ms,
        timestamp: ((SENT_MS + after_ms) / 1_000).to_string(),
        why: why.map(Into::into),
        raw: String::new(),
    }
}

fn moment(what: &str, after_ms: u64) -> Value {
    let at = jiff::Timestamp::from_millisecond((SENT_MS + after_ms) as i64);
    json!({ "what": what, "at": at.expect("a time").to_string() })
}

/// Sent, delivered, and told so.
fn good() -> Shown {
    let sends = vec![Send {
        at_ms: SENT_MS,
        id: "id-1".into(),
    }];
    Shown::new(
        Story {
            sends,
            events: vec![event("sent", 1_000), event("delivered", 3_000)],
            told: vec![told("sent", 1_000, None), told("delivered", 3_000, None)],
            ..Story::default()
        },
        json!({ "state": "read", "provider_id": "id-1", "callbacks": [] }),
    )
}

/// MoEngage refuses all that it is told of this one.
fn dead() -> Shown {
    let mut shown = good();
    (shown.class, shown.n) = (Class::Moengage, 1);
    shown.story.told.clear();
    shown.known["callbacks"] = json!(["sent: given up", "delivered: given up"]);
    shown
}

/// Nobody knew, until the hold of four seconds was over.
fn unknown() -> Shown {
    Shown::new(
        Story {
            sends: good().story.sends,
            spoiled: vec!["accept_then_close".into()],
            told: vec![told("failed", 5_000, Some("Outcome unknown: maybe"))],
            ..Story::default()
        },
        json!({ "state": "failed", "callbacks": [],
            "history": [moment("unknown", 0), moment("failed", 4_500)] }),
    )
}

/// The same, because the gateway was killed.
fn orphan() -> Shown {
    let mut shown = unknown();
    shown.story.spoiled.clear();
    shown.doubts = vec![Doubt {
        with: With::Gateway,
        from_ms: SENT_MS as i64 - 100,
        until_ms: SENT_MS as i64 + 1_000,
    }];
    shown
}

/// The same, and nobody knew of the other message to the same person: a status proves neither.
fn twins() -> Shown {
    let mut shown = unknown();
    shown.story.events = vec![event("delivered", 1_000)];
    shown.twin = Some(json!({ "history": [moment("unknown", 100), moment("failed", 4_600)] }));
    shown
}

/// Refused by the provider, and told so.
fn refused() -> Shown {
    let mut shown = unknown();
    shown.story.sends.clear();
    shown.story.spoiled = vec!["refuse".into()];
    shown.known["history"] = json!([moment("failed", 4_500)]);
    shown.story.told[0].why = Some("The provider refused the message: no".into());
    shown
}

/// Accepted, and Redis forgot it before it was sent.
fn forgotten() -> Shown {
    let mut shown = Shown::new(Story::default(), json!({ "status": 404 }));
    shown.class = Class::TailLost;
    shown.lapses = vec![lapse(-200, 10_000)];
    shown
}

/// Sent, and what was told of it when Redis forgot a status, and nothing before.
fn half_told() -> Shown {
    let mut shown = good();
    shown.story.told.pop();
    shown.lapses = vec![lapse(2_000, 10_000)];
    shown
}

/// A person let it fail that had been sent by those who died, and told of.
fn given_up() -> Shown {
    let mut shown = good();
    shown.class = Class::Restore;
    shown.story.told = vec![told("failed", 9_000, Some("Outcome unknown: maybe"))];
    shown.known = json!({ "state": "failed", "callbacks": [],
        "history": [moment("failed", 9_000)] });
    shown.lapses = vec![lapse(-50, 8_000)];
    shown
}

fn lapse(from_ms: i64, until_ms: i64) -> Lapse {
    let at = SENT_MS as i64;
    Lapse {
        from_ms: at + from_ms,
        until_ms: at + until_ms,
        is_whole: false,
        keeps_answers: false,
        has_two_masters: false,
    }
}

fn faults(shown: &Shown) -> Vec<String> {
    let plan = Plan::new(0, shown.class, Store::Embedded, 100);
    let mut figures = Figures::default();
    let case = Case {
        n: shown.n,
        plan: &plan,
        story: &shown.story,
        known: &shown.known,
        twin: shown.twin.as_ref(),
        doubts: &shown.doubts,
        lapses: &shown.lapses,
        stored_ms: Some((SENT_MS as i64 - 101, SENT_MS as i64 - 100)),
    };
    case.judge(&mut figures);
    figures.faults
}

type Wrong = (&'static str, fn() -> Shown, fn(&mut Shown));

const WRONGS: [Wrong; 32] = [
    ("sent twice", good, |one| {
        one.story.sends.push(one.story.sends[0].clone());
    }),
    ("a status is lost", good, |one| {
        one.story.told.pop();
    }),
    ("a status of nobody", good, |one| {
        one.story.told.push(told("read", 5_000, None));
    }),
    ("out of order", good, |one| one.story.told.reverse()),
    ("a repeat that is not identical", good, |one| {
        one.story.told.push(told("delivered", 9_000, None));
    }),
    ("another time", good, |one| {
        one.story.told[1].timestamp = "1900000009".into();
    }),
    ("the receipt of another", good, |one| {
        one.known["provider_id"] = "id-2".into();
    }),
    ("not at its end", good, |one| {
        one.known["state"] = "waiting".into();
    }),
    ("a status that waits", good, |one| {
        one.known["callbacks"] = json!(["read: waits for MoEngage"]);
    }),
    ("never sent, nobody told", good, |one| {
        one.story = Story::default();
    }),
    ("failed for no reason", unknown, |one| {
        one.story.told[0].why = Some("Not sent in time".into());
    }),
    ("unknown without doubt", unknown, |one| {
        one.story.spoiled = vec!["503".into()];
    }),
    ("given up too early", unknown, |one| {
        one.known["history"][1] = moment("failed", 1_500);
    }),
    ("evidence in time", unknown, |one| {
        one.story.events = vec![event("sent", 1_000)];
    }),
    ("sent after it was given up", unknown, |one| {
        one.story.sends[0].at_ms += 6_000;
    }),
    ("late evidence is not told", unknown, |one| {
        one.story.events = vec![event("delivered", 9_000)];
    }),
    ("refused by nobody", refused, |one| {
        one.story.spoiled.clear();
    }),
    ("a dead letter is missing", dead, |one| {
        one.known["callbacks"] = json!(["sent: given up"]);
    }),
    ("told what is a dead letter", dead, |one| {
        one.story.told.push(told("sent", 1_000, None));
    }),
    ("unknown long after the kill", orphan, |one| {
        one.doubts[0].until_ms = SENT_MS as i64 - 50;
    }),
    (
        "the other one is known, late evidence is not told",
        twins,
        |one| {
            one.story.events[0].at_ms = SENT_MS + 9_000;
            one.twin =
                Some(json!({ "history": [moment("unknown", 100), moment("receipt", 5_000)] }));
        },
    ),
    ("forgotten without a lapse", forgotten, |one| {
        one.lapses[0].from_ms += 150;
    }),
    ("forgotten although a replica had it", forgotten, |one| {
        one.lapses[0].keeps_answers = true;
    }),
    ("a status is lost that a replica had", half_told, |one| {
        one.lapses[0].keeps_answers = true;
    }),
    ("forgotten although it was sent", forgotten, |one| {
        one.story.sends = good().story.sends;
    }),
    ("forgotten and known", forgotten, |one| {
        one.known = json!({ "state": "waiting", "callbacks": [] });
    }),
    ("a status of after the lapse is lost", half_told, |one| {
        one.lapses[0] = lapse(-2_000, 1_900);
    }),
    ("a status of before the lapse is lost", half_told, |one| {
        one.story.told.clear();
    }),
    ("given up without a lapse", given_up, |one| {
        one.lapses.clear();
    }),
    ("a status of before the decision is lost", given_up, |one| {
        one.story.events = vec![event("sent", 500), event("delivered", 3_000)];
        one.lapses[0].until_ms = SENT_MS as i64 + 1_000;
    }),
    ("accepted after the lapse and given up", given_up, |one| {
        one.lapses[0].until_ms = SENT_MS as i64 - 200;
    }),
    ("the other one is known, evidence in time", twins, |one| {
        one.story.told.push(told("delivered", 1_000, None));
        one.twin = Some(json!({ "history": [moment("unknown", 0), moment("receipt", 200)] }));
    }),
];

/// The other books of a run of two messages.
struct Whole {
    ledger: Value,
    known: Vec<Value>,
    counts: Value,
    calls_in_a_second: usize,
    over: f64,
    log: String,
    said: Vec<Said>,
    books: Books,
    lapses: Vec<Lapse>,
    orphans: usize,
    usage: Vec<Usage>,
}

fn whole() -> Whole {
    let heard = Heard {
        msg_id: "m9".into(),
        from: person(9)[1..].into(),
        text: "reply 9".into(),
        raw: String::new(),
    };
    Whole {
        ledger: json!({
            "total": { "accepted": 2, "queued": 0, "in_flight": 0, "held": 0, "unknown": 0, "lost": 0,
                "accepted_by_provider": 1, "failed": 1,
                "callbacks": { "waiting": 0, "dead_letters": 0 } },
            "counted": { "queued": 0, "in_flight": 0, "unknown": 0 },
        }),
        known: vec![json!({ "state": "sent" }), json!({ "state": "failed" })],
        counts: json!({ "callback_backwards": 0, "callback_invalid": 0, "events_failed": 0,
            "events_pending": 0, "max_refreshes_at_once": 1, "max_in_flight": 2 }),
        calls_in_a_second: 20,
        over: 1.0,
        log: "INFO sent to=+1202*******".into(),
        said: vec![Said {
            n: 9,
            text: "reply 9".into(),
            taken: true,
            at_ms: SENT_MS as i64,
        }],
        books: Books {
            heard: vec![heard],
            ..Books::default()
        },
        lapses: Vec::new(),
        orphans: 0,
        usage: vec![(20, 12.0)],
    }
}

fn faults_of_all(whole: &Whole) -> Vec<String> {
    let plan = Plan::new(0, Class::Repeats, Store::Embedded, 100);
    let mut figures = Figures {
        orphans: whole.orphans,
        ..Figures::default()
    };
    let rate = json!({ "max_in_any_second": whole.calls_in_a_second });
    judge_words(&whole.said, &whole.books, &whole.lapses, &mut figures);
    judge_repeats(&plan, &whole.books, &mut figures);
    judge_orphans(&plan, &mut figures);
    judge_counts(&plan, &whole.counts, &mut figures);
    judge_rate(&plan, &rate, whole.over, &mut figures);
    judge_ledger(&whole.ledger, &whole.known, &mut figures);
    judge_log(&whole.log, plan.messages, &mut figures);
    judge_usage(&[(20, 10.0)], &whole.usage, &mut figures);
    figures.faults
}

type WrongOfAll = (&'static str, fn(&mut Whole));

const WRONGS_OF_ALL: [WrongOfAll; 23] = [
    ("a message less in the ledger", |all| {
        all.ledger["total"]["accepted"] = 1.into();
    }),
    ("the ledger counts another end", |all| {
        all.ledger["total"]["accepted_by_provider"] = 2.into();
        all.ledger["total"]["failed"] = 0.into();
    }),
    ("the ledger knows of a loss", |all| {
        all.ledger["total"]["lost"] = 1.into();
    }),
    ("a callback waits", |all| {
        all.ledger["total"]["callbacks"]["waiting"] = 1.into();
    }),
    ("a dead letter that nobody refused", |all| {
        all.ledger["total"]["callbacks"]["dead_letters"] = 1.into();
    }),
    ("a row is open", |all| {
        all.ledger["counted"]["unknown"] = 1.into();
    }),
    ("a status went backwards", |all| {
        all.counts["callback_backwards"] = 1.into();
    }),
    ("two renewals at once", |all| {
        all.counts["max_refreshes_at_once"] = 2.into();
    }),
    ("too many calls at once", |all| {
        all.counts["max_in_flight"] = 100.into();
    }),
    ("too many calls in a second", |all| {
        all.calls_in_a_second = 100;
    }),
    ("too many calls in a while", |all| all.over = 100.0),
    ("a reply is not told", |all| all.books.heard.clear()),
    ("a reply is lost that those who live took", |all| {
        all.lapses = vec![lapse(-500, 10_000)];
        all.books.heard.clear();
    }),
    ("a reply that nobody said", |all| all.said.clear()),
    ("a reply by another", |all| {
        all.books.heard[0].from = person(10)[1..].into();
    }),
    ("a reply is told again", |all| all.books.heard_again = 1),
    ("more lost than were under way", |all| all.orphans = 1),
    ("a phone number in a log", |all| {
        all.log = format!("INFO sent to={}", person(9));
    }),
    ("a secret in a log", |all| {
        all.log.push_str(crate::kit::harness::TOKEN)
    }),
    ("a panic in a log", |all| {
        all.log.push_str("thread panicked")
    }),
    ("files stay open", |all| all.usage[0].0 = 100),
    ("memory stays taken", |all| all.usage[0].1 = 200.0),
    ("a gateway is gone", |all| all.usage.clear()),
];

/// A harm of ten seconds, and the message that is sent while it lasts, or not.
struct Harmed {
    harm: Harm,
    class: Class,
    /// After the beginning of the harm, in milliseconds; negative before.
    accepted_ms: i64,
    sent_ms: Option<i64>,
    /// Good messages that were failed.
    refused: usize,
    log: String,
}

fn harmed(harm: Harm, class: Class) -> Harmed {
    Harmed {
        harm,
        class,
        accepted_ms: -500,
        sent_ms: Some(-100),
        refused: 20,
        log: String::new(),
    }
}

/// One message of another than the recipient who is refused.
fn poison() -> Harmed {
    let answer = json!({ "recipient": person(8)[1..] });
    harmed(Harm::Answer(answer), Class::Poison)
}

fn leap() -> Harmed {
    harmed(Harm::Clock(0, 90_000), Class::Clock)
}

fn node() -> Harmed {
    let mut node = harmed(Harm::Answer(json!({ "status": 403 })), Class::OneNode);
    node.sent_ms = Some(6_000);
    node
}

fn faults_of_harm(harmed: &Harmed) -> Vec<String> {
    let mut plan = Plan::new(0, harmed.class, Store::Embedded, 100);
    (plan.messages, plan.concurrency) = (1, 0);
    let from_ms = SENT_MS as i64;
    let sends = harmed.sent_ms.iter().map(|after| Send {
        at_ms: (from_ms + after) as u64,
        id: "id-1".into(),
    });
    let story = Story {
        sends: sends.collect(),
        ..Story::default()
    };
    let books = Books {
        stories: vec![story],
        ..Books::default()
    };
    let accepted = BTreeMap::from([(0, from_ms + harmed.accepted_ms)]);
    let mut figures = Figures {
        refused: harmed.refused,
        ..Figures::default()
    };
    let done = (&harmed.harm, from_ms, from_ms + 10_000);
    policy::judge_harm(&plan, (&books, &accepted), done, &mut figures);
    policy::judge_failed(&plan, std::slice::from_ref(&harmed.log), &mut figures);
    figures.faults
}

type WrongHarm = (&'static str, fn() -> Harmed, fn(&mut Harmed));

const WRONGS_OF_HARM: [WrongHarm; 5] = [
    ("another waits for a refused recipient", poison, |one| {
        one.sent_ms = Some(11_000);
    }),
    ("another is never sent", poison, |one| one.sent_ms = None),
    ("sent while its age is in doubt", leap, |one| {
        one.sent_ms = Some(5_000);
    }),
    ("the node that works gets nothing", node, |one| {
        one.sent_ms = Some(11_000);
    }),
    ("many good messages fail", node, |one| one.refused = 21),
];

/// What the verdict does not see, or sees where nothing is.
pub(crate) fn blind() -> Vec<String> {
    let mut blind = Vec::new();
    for (name, shown) in [
        ("good", good()),
        ("unknown", unknown()),
        ("refused", refused()),
        ("dead", dead()),
        ("orphan", orphan()),
        ("twins", twins()),
        ("forgotten", forgotten()),
        ("half told", half_told()),
        ("given up", given_up()),
    ] {
        for fault in faults(&shown) {
            blind.push(format!("{name} is called wrong: {fault}"));
        }
    }
    for (name, made, change) in WRONGS {
        let mut shown = made();
        change(&mut shown);
        if faults(&shown).is_empty() {
            blind.push(format!("{name} is called right"));
        }
    }
    for harmed in [poison(), leap(), node()] {
        for fault in faults_of_harm(&harmed) {
            blind.push(format!("a good run is called wrong: {fault}"));
        }
    }
    let mut released = node();
    released.refused = 23;
    released.log = "INFO the provider took the message that was tried; sent".into();
    let leapt = leap();
    let after = Harmed {
        accepted_ms: 100,
        sent_ms: Some(5_000),
        ..leapt
    };
    for harmed in [released, after] {
        for fault in faults_of_harm(&harmed) {
            blind.push(format!("what may be is called wrong: {fault}"));
        }
    }
    for (name, made, change) in WRONGS_OF_HARM {
        let mut harmed = made();
        change(&mut harmed);
        if faults_of_harm(&harmed).is_empty() {
            blind.push(format!("{name} is called right"));
        }
    }
    for fault in faults_of_all(&whole()) {
        blind.push(format!("good books are called wrong: {fault}"));
    }
    for (name, change) in WRONGS_OF_ALL {
        let mut whole = whole();
        change(&mut whole);
        if faults_of_all(&whole).is_empty() {
            blind.push(format!("{name} is called right"));
        }
    }
    blind
}
