//! Jumper's side: `/jumper_callback/{secret}` through its router onto a real store, and its parser.
//!
//! An input is a path, an empty line, and the body.

use super::bounds::{Kept, timed};
use super::door::{Answer, Door, tells_a_secret};
use super::split;
use crate::domain::{
    AccountId, BusinessNumber, Incoming, Message, MsgId, Names, Phone, ProviderId, Receipt,
    Template, UnixMs,
};
use crate::json;
use crate::providers::jumper::webhook;
use crate::store::{ClaimFrom, QuickReply, Settlement};
use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use std::cell::RefCell;

/// Messages that the provider took, as `M1`, `M2` ...; the one after them has an unknown outcome.
const MESSAGES: u64 = 8;
/// Callbacks are relayed after so many requests.
const RELAY_EVERY: u32 = 32;

struct Hooks {
    // Closed before the directory goes.
    kept: Kept,
    door: Door,
    asked: u32,
}

thread_local! {
    static HOOKS: RefCell<Option<Hooks>> = const { RefCell::new(None) };
}

/// Posts to the webhook.
pub(super) fn run(bytes: &[u8]) {
    let (path, body) = split(bytes);
    let Ok(path) = std::str::from_utf8(path) else {
        return;
    };
    if tells_a_secret(body) {
        return;
    }
    let Ok(request) = Request::post(path).body(Body::from(body.to_vec())) else {
        return;
    };
    HOOKS.with_borrow_mut(|hooks| {
        if hooks.as_ref().is_none_or(|hooks| hooks.door.is_worn()) {
            *hooks = None;
        }
        hooks.get_or_insert_with(Hooks::new).post(request, body);
    });
}

impl Hooks {
    fn new() -> Self {
        let door = Door::open();
        let now = crate::clock::now();
        let account = AccountId::parse("default").expect("a name");
        for n in 1..=MESSAGES + 1 {
            let message = message(n);
            let accepted = door.store.accept(&door.channel, &account, &message, now);
            door.wait(accepted).expect("a message");
        }
        let queue = ClaimFrom {
            channel: door.channel.clone(),
            ages: UnixMs(0).into(),
            retries: usize::MAX,
            aside: usize::MAX,
        };
        let claims = door.wait(door.store.claim(vec![queue], 100, now));
        for one in claims.expect("claims").taken {
            let n = one.message.msg_id.as_str().trim_start_matches('m');
            let tap = QuickReply {
                label: "Keep it".into(),
                payload: "{'slot':1}".into(),
            };
            let end = if n == (MESSAGES + 1).to_string() {
                Settlement::Unknown {
                    until: now.plus(std::time::Duration::from_secs(3600)),
                    taps: vec![tap],
                }
            } else {
                Settlement::Accepted {
                    receipt: Receipt {
                        provider_id: ProviderId::parse(&format!("M{n}")).expect("an id"),
                        conversation: None,
                    },
                    taps: vec![tap],
                }
            };
            let settled = door.store.settle(&one, end, String::new(), now);
            door.wait(settled).expect("settled");
        }
        Self {
            kept: Kept::open(door.dir()),
            door,
            asked: 0,
        }
    }

    fn post(&mut self, request: Request<Body>, body: &[u8]) {
        let before = self.door.ledger();
        let answer = self.door.ask(request);
        let after = self.door.ledger();
        let stored = after.events - before.events;
        let read = json::read(body).ok();
        let events = read.and_then(|json| webhook::parse(&json).ok());
        if is_success(&answer) {
            let events = events.expect("success for what is no JSON, or too many");
            let count: i64 = events.iter().map(times).sum();
            assert_eq!(stored, count, "{}", answer.output);
        } else {
            assert_eq!(stored, 0, "stored, and answered {}", answer.output);
            let callbacks = after.callbacks_waiting - before.callbacks_waiting;
            assert_eq!(callbacks, 0, "told, and answered {}", answer.output);
        }
        assert_eq!(after.accepted, before.accepted);
        self.kept.check(body.len());
        self.asked += 1;
        if self.asked.is_multiple_of(RELAY_EVERY) {
            self.door.relay();
        }
    }
}

fn message(n: u64) -> Message {
    Message {
        msg_id: MsgId::parse(&format!("m{n}")).expect("an id"),
        from: BusinessNumber::parse("12025550100").expect("a number"),
        to: Phone::from_number(12_025_550_140 + n).expect("a number"),
        template: Template {
            name: "order_update".into(),
            language: "en_US".into(),
            header: None,
            body: vec!["Ana".into()],
            buttons: Vec::new(),
            names: Names::default(),
        },
        is_damaged: false,
        campaign: None,
    }
}

/// Whether an answer is a success; whatever it is, it has the form that Jumper knows.
fn is_success(answer: &Answer) -> bool {
    let Answer {
        status,
        json,
        output,
    } = answer;
    if *status == 200 && *json == json!({ "status": "success" }) {
        return true;
    }
    let members = json.as_object().map_or(0, serde_json::Map::len);
    let words = match status {
        // Mutated, a path may lead to MoEngage's side, which nobody opens without a token.
        200 => {
            assert_eq!(json["error"]["code"], "7000", "{output}");
            &json["error"]["message"]
        }
        400 | 404 | 405 => {
            assert!(members == 1 || json["status"] == "error", "{output}");
            &json["message"]
        }
        _ => panic!("{status}: {output}"),
    };
    assert!(words.as_str().is_some_and(|words| !words.is_empty()));
    false
}

/// For how many events one stands.
fn times(event: &Incoming) -> i64 {
    match event {
        Incoming::Other { times, .. } => (*times).into(),
        _ => 1,
    }
}

/// Reads a body at full speed.
pub(super) fn parse(bytes: &[u8]) {
    let body = split(bytes).1;
    let events = timed(body.len(), || webhook::parse(&json::read(body).ok()?).ok());
    let Some(events) = events else {
        return;
    };
    assert!(!events.is_empty() && events.len() <= webhook::MOST_ELEMENTS);
    for event in events {
        match event {
            Incoming::Status(event) => {
                assert!(event.at.is_none_or(|at| at > UnixMs(0)));
                assert!(event.error.is_none_or(|error| error.chars().count() <= 300));
            }
            Incoming::Reply(reply) => assert!(!reply.text.is_empty()),
            Incoming::Other { kind, raw, times } => {
                assert!(!kind.is_empty() && raw.len() <= 8 * 1024 && times > 0);
            }
        }
    }
}
