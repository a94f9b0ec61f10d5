//! What both fakes wrote down, put together by message. Every message carries its number in a
//! parameter of its template, so a send is known whoever its recipient is.

use crate::fault::traffic::person;
use crate::fault::upset::{Lapse, may_go_unwritten};
use crate::kit::event_bodies::fold;
use crate::kit::harness::Sandbox;
use serde_json::Value;
use std::collections::HashMap;

/// A send that the provider took.
#[derive(Debug, Clone)]
pub(crate) struct Send {
    pub(crate) at_ms: u64,
    pub(crate) id: String,
}

/// A status that the gateway answered 2xx for.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) word: String,
    /// When it was answered.
    pub(crate) at_ms: u64,
    /// When it happened, in seconds, if it says so.
    pub(crate) said_s: Option<u64>,
}

/// A status that MoEngage received.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) word: String,
    pub(crate) at_ms: u64,
    pub(crate) timestamp: String,
    /// Why it failed, in the gateway's words.
    pub(crate) why: Option<String>,
    pub(crate) raw: String,
}

/// What the fakes know of one message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Story {
    /// Times that the provider took it.
    pub(crate) sends: Vec<Send>,
    /// What became of sends that did not simply go well.
    pub(crate) spoiled: Vec<String>,
    /// In the order in which they were answered.
    pub(crate) events: Vec<Event>,
    /// In the order in which it came, identical repeats left out.
    pub(crate) told: Vec<Told>,
    /// Entries that came again, identical.
    pub(crate) repeats: usize,
}

impl Story {
    /// Whether some status came twice, or after a later one.
    pub(crate) fn is_disordered(&self) -> bool {
        let words: Vec<String> = self.events.iter().map(|one| one.word.clone()).collect();
        fold(&words) != words
    }

    /// Leaves out what MoEngage was told again, identical, because Redis forgot that it was told. How
    /// many these are.
    pub(crate) fn told_again(&mut self, lapses: &[Lapse]) -> usize {
        let mut once: Vec<Told> = Vec::new();
        let told = std::mem::take(&mut self.told);
        let all = told.len();
        for one in told {
            let same = once.iter().find(|before| before.raw == one.raw);
            if !same.is_some_and(|before| may_go_unwritten(lapses, before.at_ms as i64)) {
                once.push(one);
            }
        }
        self.told = once;
        self.repeats += all - self.told.len();
        all - self.told.len()
    }
}

/// A person's words that MoEngage received.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Heard {
    pub(crate) msg_id: String,
    pub(crate) from: String,
    pub(crate) text: String,
    pub(crate) raw: String,
}

/// Both fakes' books.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// By number of the message.
    pub(crate) stories: Vec<Story>,
    /// What people said, identical repeats left out, and how many those were.
    pub(crate) heard: Vec<Heard>,
    pub(crate) heard_again: usize,
    /// What belongs to no message of this run, or to another person.
    pub(crate) strays: Vec<String>,
}

/// The parameter by which a message is known again.
pub(crate) fn tag(n: usize) -> String {
    format!("A-{n}.")
}

/// The number of the message whose parameters these are.
fn number(params: &Value) -> Option<usize> {
    let text = params.to_string();
    let (_, rest) = text.split_once("A-")?;
    rest.split_once('.')?.0.parse().ok()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Books {
    /// Reads them all.
    pub(crate) async fn read(sandbox: &Sandbox, messages: usize) -> Self {
        let mut books = Self {
            stories: vec![Story::default(); messages],
            ..Self::default()
        };
        let ids = books.sends(&sandbox.get("sends?limit=1000000").await);
        books.spoiled(&sandbox.get("sends/spoiled").await);
        books.events(&sandbox.get("events?limit=1000000").await, &ids);
        books.told(&sandbox.get("callbacks?limit=1000000").await);
        books
    }

    fn sends(&mut self, sends: &Value) -> HashMap<String, usize> {
        let mut ids = HashMap::new();
        for send in sends.as_array().into_iter().flatten() {
            let n = number(&send["message_params"]);
            let is_whole = |n: &usize| {
                send["to"] == person(*n)[1..]
                    && send["template_name"] == "order_update"
                    && send["language"] == "en_US"
                    && send["mismatch"].is_null()
            };
            let Some(n) = n.filter(|n| *n < self.stories.len() && is_whole(n)) else {
                self.strays.push(format!("nobody asked for this: {send}"));
                continue;
            };
            let id = text(&send["message_id"]);
            ids.insert(id.clone(), n);
            let at_ms = send["at_ms"].as_u64().unwrap_or(0);
            self.stories[n].sends.push(Send { at_ms, id });
        }
        ids
    }

    fn spoiled(&mut self, sends: &Value) {
        for send in sends.as_array().into_iter().flatten() {
            match number(&send["params"]).and_then(|n| self.stories.get_mut(n)) {
                Some(story) => story.spoiled.push(text(&send["outcome"])),
                None => self.strays.push(format!("nobody asked for this: {send}")),
            }
        }
    }

    fn events(&mut self, events: &Value, ids: &HashMap<String, usize>) {
        for event in events.as_array().into_iter().flatten() {
            let answered = event["acknowledged"].as_u64().unwrap_or(0);
            let Some(n) = ids.get(&text(&event["message_id"])) else {
                continue;
            };
            if !(200..300).contains(&answered) {
                continue;
            }
            for (place, word) in text(&event["status"]).split('+').enumerate() {
                if ["sent", "delivered", "read", "failed"].contains(&word) {
                    self.stories[*n].events.push(Event {
                        word: word.to_owned(),
                        at_ms: event["at_ms"].as_u64().unwrap_or(0),
                        said_s: event["said_ms"][place].as_u64().map(|ms| ms / 1_000),
                    });
                }
            }
        }
    }

    fn told(&mut self, entries: &Value) {
        for entry in entries.as_array().into_iter().flatten() {
            if entry["status"] == "inbound" {
                self.hear(&entry["raw"]);
                continue;
            }
            let msg_id = text(&entry["msg_id"]);
            let n = msg_id.strip_prefix('m').and_then(|n| n.parse().ok());
            let Some(story) = n.and_then(|n: usize| self.stories.get_mut(n)) else {
                self.strays
                    .push(format!("told of nobody's message: {entry}"));
                continue;
            };
            let raw = &entry["raw"];
            let told = Told {
                word: text(&entry["status"]),
                at_ms: entry["at_ms"].as_u64().unwrap_or(0),
                timestamp: text(&raw["timestamp"]),
                why: raw["error"]["description"].as_str().map(str::to_owned),
                raw: raw.to_string(),
            };
            // Only a repeat of the last one is no step backwards.
            match story.told.last() {
                Some(last) if last.raw == told.raw => story.repeats += 1,
                _ => story.told.push(told),
            }
        }
    }

    fn hear(&mut self, raw: &Value) {
        let button = &raw["button"]["text"];
        let words = if button.is_string() {
            button
        } else {
            &raw["text"]["body"]
        };
        let heard = Heard {
            msg_id: text(&raw["context"]["msg_id"]),
            from: text(&raw["from"]),
            text: text(words),
            raw: raw.to_string(),
        };
        match self.heard.contains(&heard) {
            true => self.heard_again += 1,
            false => self.heard.push(heard),
        }
    }
}
