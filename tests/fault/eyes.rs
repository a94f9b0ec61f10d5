//! Does the verdict see? Before the first run each kind of wrong is shown to it, made up.

use crate::books::{Event, Send, Story, Told};
use crate::plan::{Class, Plan, Store};
use crate::story::Case;
use crate::table::Figures;
use serde_json::{Value, json};

/// When the made-up message was sent, in milliseconds since 1970.
const SENT_MS: u64 = 1_900_000_000_000;

/// A message with what the gateway says of it.
#[derive(Clone)]
struct Shown {
    story: Story,
    known: Value,
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
    Shown {
        story: Story {
            sends,
            events: vec![event("sent", 1_000), event("delivered", 3_000)],
            told: vec![told("sent", 1_000, None), told("delivered", 3_000, None)],
            ..Story::default()
        },
        known: json!({ "state": "accepted", "provider_id": "id-1", "callbacks": [] }),
    }
}

/// Nobody knew, until the hold of four seconds was over.
fn unknown() -> Shown {
    Shown {
        story: Story {
            sends: good().story.sends,
            spoiled: vec!["accept_then_close".into()],
            told: vec![told("failed", 5_000, Some("Outcome unknown: maybe"))],
            ..Story::default()
        },
        known: json!({ "state": "failed", "callbacks": [],
            "history": [moment("unknown", 0), moment("failed", 4_500)] }),
    }
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

fn faults(shown: &Shown) -> Vec<String> {
    let plan = Plan::new(0, Class::Repeats, Store::Embedded, 100);
    let mut figures = Figures::default();
    let case = Case {
        n: 9,
        plan: &plan,
        story: &shown.story,
        known: &shown.known,
        twin: None,
        doubts: &[],
    };
    case.judge(&mut figures);
    figures.faults
}

type Wrong = (&'static str, fn() -> Shown, fn(&mut Shown));

const WRONGS: [Wrong; 17] = [
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
        one.known["state"] = "queued".into();
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
];

/// What the verdict does not see, or sees where nothing is.
pub(crate) fn blind() -> Vec<String> {
    let mut blind = Vec::new();
    for (name, shown) in [
        ("good", good()),
        ("unknown", unknown()),
        ("refused", refused()),
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
    blind
}
