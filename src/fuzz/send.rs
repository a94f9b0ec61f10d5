//! MoEngage's side: `/jumper_send_whatsapp` through its router onto a real store, and its parser.
//!
//! An input is a path with its query, a header, an empty line, and the body.

use super::door::{Answer, Door, assert_masked, tells_a_secret};
use super::split;
use crate::domain::{Message, UnixMs};
use crate::doors::moengage::accept::{self, Rejected};
use crate::store::{ClaimFrom, Settlement};
use axum::body::Body;
use axum::http::Request;
use std::cell::RefCell;
use std::collections::HashMap;

/// Accepted messages are claimed after so many requests.
const CLAIM_EVERY: usize = 32;

/// A door, and what was accepted at it.
struct Sends {
    door: Door,
    accepted: HashMap<String, Message>,
    waiting: Vec<String>,
    asked: usize,
}

thread_local! {
    static SENDS: RefCell<Option<Sends>> = const { RefCell::new(None) };
}

/// Posts to the door.
pub(super) fn run(bytes: &[u8]) {
    let Some(request) = request(bytes).filter(|_| !tells_a_secret(split(bytes).1)) else {
        return;
    };
    SENDS.with_borrow_mut(|sends| {
        if sends.as_ref().is_none_or(|sends| sends.door.is_worn()) {
            *sends = None;
        }
        sends.get_or_insert_with(Sends::new).post(request, bytes);
    });
}

/// The request that an input means; none when no HTTP server would hand it on.
fn request(bytes: &[u8]) -> Option<Request<Body>> {
    let (head, body) = split(bytes);
    let head = std::str::from_utf8(head).ok()?;
    let (path, header) = head.split_once('\n').unwrap_or((head, ""));
    let mut request = Request::post(path);
    if let Some((name, value)) = header.split_once(": ") {
        request = request.header(name, value);
    }
    request.body(Body::from(body.to_vec())).ok()
}

impl Sends {
    fn new() -> Self {
        Self {
            door: Door::open(),
            accepted: HashMap::new(),
            waiting: Vec::new(),
            asked: 0,
        }
    }

    fn post(&mut self, request: Request<Body>, input: &[u8]) {
        let body = split(input).1;
        let campaign = None;
        let before = self.door.ledger();
        let answer = self.door.ask(request);
        let kept = self.door.ledger().accepted - before.accepted;
        let read = accept::read(body, campaign);
        if is_success(&answer) {
            self.succeeded(read, kept);
        } else {
            assert_eq!(kept, 0, "kept, and answered {}", answer.output);
            if let Ok(message) = &read {
                assert_masked(&without_ids(&answer.output, message), message.to);
            }
        }
        self.asked += 1;
        if self.asked.is_multiple_of(CLAIM_EVERY) {
            self.claim();
        }
    }

    /// Success means: kept now, or kept before under the same id.
    fn succeeded(&mut self, read: Result<Message, Rejected>, kept: i64) {
        let msg_id = match &read {
            Ok(message) => &message.msg_id,
            Err(Rejected::Refused { msg_id, .. }) => msg_id,
            Err(Rejected::Malformed { message, .. }) => panic!("success for no message: {message}"),
        };
        let known = self.accepted.contains_key(msg_id.as_str());
        assert_eq!(kept, i64::from(!known), "{msg_id}");
        if let Ok(message) = read
            && !known
        {
            self.waiting.push(message.msg_id.as_str().to_owned());
            let id = message.msg_id.as_str().to_owned();
            self.accepted.insert(id, message);
        }
    }

    /// What comes out of the store is what was answered success.
    fn claim(&mut self) {
        let now = crate::clock::now();
        let queue = ClaimFrom {
            channel: self.door.channel.clone(),
            ages: UnixMs(0).into(),
            retries: usize::MAX,
            aside: usize::MAX,
        };
        let claims = self.door.store.claim(vec![queue], usize::MAX >> 8, now);
        let claims = self.door.wait(claims).expect("claims");
        assert!(claims.failed.is_empty(), "{:?}", claims.failed);
        let mut taken: Vec<&str> = Vec::new();
        for one in &claims.taken {
            let id = one.message.msg_id.as_str();
            let accepted = &self.accepted[id];
            assert_eq!(accepted.template, one.message.template);
            assert_eq!(accepted.to, one.message.to);
            assert_eq!(
                accepted.from.as_written(),
                one.message.from.as_written(),
                "{id}"
            );
            crate::providers::jumper::fuzz::outgoing(&one.message);
            taken.push(id);
        }
        let mut waiting: Vec<&str> = self.waiting.iter().map(String::as_str).collect();
        taken.sort_unstable();
        waiting.sort_unstable();
        assert_eq!(taken, waiting);
        for one in &claims.taken {
            let end = Settlement::failed(crate::domain::Refusal::new(
                crate::domain::RefusalKind::Other,
                "no",
            ));
            let settled = self.door.store.settle(one, end, String::new(), now);
            self.door.wait(settled).expect("settled");
        }
        self.waiting.clear();
        self.door.relay();
    }
}

/// Whether an answer is a success; whatever it is, it has the form that MoEngage knows.
fn is_success(answer: &Answer) -> bool {
    let Answer {
        status,
        json,
        output,
    } = answer;
    let members = json.as_object().map_or(0, serde_json::Map::len);
    if *status == 200 && json["status"] == "success" {
        assert_eq!(members, 1, "{output}");
        return true;
    }
    let words = if *status == 200 {
        assert_eq!(
            (members, &json["status"]),
            (2, &"failure".into()),
            "{output}"
        );
        let error = &json["error"];
        assert_eq!(error.as_object().map(serde_json::Map::len), Some(2));
        let code = error["code"].as_str().unwrap_or_default();
        assert!(("7000"..="7004").contains(&code), "{output}");
        &error["message"]
    } else {
        assert!(matches!(status, 400 | 404 | 405 | 413), "{output}");
        // The door has the webhook's routes too, which answer in Jumper's form.
        assert!(members == 1 || json["status"] == "error", "{output}");
        &json["message"]
    };
    assert!(words.as_str().is_some_and(|words| !words.is_empty()));
    false
}

/// A number that the caller put into ids and names of its own is its own business.
fn without_ids(output: &str, message: &Message) -> String {
    let template = &message.template;
    output
        .replace(message.msg_id.as_str(), "")
        .replace(&template.name, "")
        .replace(&template.language, "")
}

/// Reads a body at full speed.
pub(super) fn parse(bytes: &[u8]) {
    let body = split(bytes).1;
    match accept::read(body, Some("campaign")) {
        Ok(message) => {
            crate::store::fuzz::message(&message);
            crate::providers::jumper::fuzz::outgoing(&message);
        }
        Err(Rejected::Malformed { status, message }) => {
            assert!(status == 400 && !message.is_empty() && message.len() < 400);
        }
        Err(Rejected::Refused { refusal, .. }) => {
            assert!(!refusal.reason.is_empty(), "{refusal:?}");
        }
    }
}
