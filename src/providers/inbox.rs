//! What a provider posts for a channel, taken in: bounded, read apart, stored, answered.
//!
//! The answer comes as soon as the events are stored and waits for nothing else. The provider's own folder
//! says who may post and how a body is read.

mod report;

use crate::domain::{ChannelId, Incoming};
use crate::http::{BodyFault, because, json, read_apart, whole};
use crate::outbox::Outbox;
use crate::store::EventRules;
use crate::telemetry::{OncePerSecond, count_folded};
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use metrics::{Counter, counter};
use report::Report;
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Lines about events that cannot be stored.
static LOG: OncePerSecond = OncePerSecond::new();
/// Bytes of bodies of one channel that are worked on at once: read and stored they cost many times as much
/// memory, and what stands in front of the store holds up everybody.
const IN_FLIGHT: usize = 4 << 20;
/// How long a body waits for its turn.
const TURN: Duration = Duration::from_secs(3);

/// Why a body holds nothing that could be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// It is no JSON.
    NotJson,
    /// It holds more than is taken at once; in words for the caller.
    TooMuch(String),
}

/// How a provider's body is read: never empty, and without a panic.
pub type Read = fn(&[u8]) -> Result<Vec<Incoming>, Unread>;

/// What is posted for one channel.
pub struct Inbox {
    read: Read,
    trusted: Entrance,
    /// For who shows no secret.
    strangers: Entrance,
    report: Report,
    /// Counts those that were stored, nearly all. Registered by the first.
    stored: OnceLock<Counter>,
}

/// How events come in, and how many bytes of them at once.
struct Entrance {
    rules: Arc<EventRules>,
    most: usize,
    /// Bytes of bodies that may be worked on beside those that are.
    room: Semaphore,
}

impl Entrance {
    fn new(rules: EventRules, most: usize) -> Self {
        Self {
            rules: Arc::new(rules),
            most,
            room: Semaphore::new(most),
        }
    }
}

impl Inbox {
    /// An inbox whose events are taken by these rules; those of strangers without being believed.
    pub fn new(rules: EventRules, read: Read) -> Self {
        let of_strangers = EventRules {
            vouched: false,
            ..rules.clone()
        };
        Self {
            read,
            trusted: Entrance::new(rules, IN_FLIGHT),
            strangers: Entrance::new(of_strangers, IN_FLIGHT / 4),
            report: Report::new(),
            stored: OnceLock::new(),
        }
    }

    /// Whose it is.
    pub fn channel(&self) -> &ChannelId {
        &self.trusted.rules.channel
    }

    /// The whole body of a request, or the answer to it.
    pub async fn body(&self, request: Request) -> Result<Bytes, Response> {
        whole(request).await.map_err(|fault| {
            self.count(match fault {
                BodyFault::TooLarge(_) => "too_large",
                BodyFault::Slow => "slow",
                BodyFault::Broken => "cut",
                BodyFault::Compressed => "encoded",
            });
            match fault {
                BodyFault::Compressed => {
                    error(StatusCode::UNSUPPORTED_MEDIA_TYPE, fault.to_string())
                }
                _ => fault.answer(),
            }
        })
    }

    /// Stores the events of a body and answers. `trusted`: who posted showed that they may.
    pub async fn store(&self, outbox: &Outbox, body: Bytes, trusted: bool) -> Response {
        let entrance = match trusted {
            true => &self.trusted,
            false => &self.strangers,
        };
        let bytes = u32::try_from(body.len().min(entrance.most)).unwrap_or(u32::MAX);
        let Ok(Ok(_room)) = timeout(TURN, entrance.room.acquire_many(bytes)).await else {
            return self.unavailable("too many events of this channel are being stored");
        };
        let events = match read_apart(body, self.read).await {
            Ok(events) => events,
            Err(Unread::NotJson) => {
                self.count("not_json");
                return error(StatusCode::BAD_REQUEST, "Body is not valid JSON");
            }
            Err(Unread::TooMuch(words)) => {
                self.count("too_many");
                return error(StatusCode::PAYLOAD_TOO_LARGE, words);
            }
        };
        let rules = &entrance.rules;
        match outbox.take_events(rules, events).await {
            Ok(folded) => {
                count_folded(&rules.account, &folded);
                self.report.tell(&rules.channel, &folded);
                if folded.no_room > 0 {
                    return self.unavailable("the disk of DATA_DIR is nearly full: make room");
                }
                let stored = || counted(self.channel().as_str(), "stored");
                self.stored.get_or_init(stored).increment(1);
                json(StatusCode::OK, r#"{"status":"success"}"#)
            }
            Err(fault) => {
                outbox.failed(&fault);
                self.unavailable(&fault)
            }
        }
    }

    fn unavailable(&self, why: impl std::fmt::Display) -> Response {
        self.count("unavailable");
        if LOG.passes() {
            tracing::warn!(channel = %self.channel(), error = %why,
                event = "webhook_not_stored",
                "a webhook was answered 503, because its events cannot be stored");
        }
        error(
            StatusCode::SERVICE_UNAVAILABLE,
            "Event store unavailable: try again",
        )
    }

    fn count(&self, outcome: &'static str) {
        counted(self.channel().as_str(), outcome).increment(1);
    }
}

/// Counts a webhook that opened no channel's inbox.
pub fn count_turned_away(outcome: &'static str) {
    counted("", outcome).increment(1);
}

/// Counts webhooks by the channel whose inbox they opened.
fn counted(channel: &str, outcome: &'static str) -> Counter {
    counter!("gateway_webhooks_total", "channel" => channel.to_owned(), "outcome" => outcome)
}

fn error(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Response {
    let message = message.into();
    let body = serde_json::json!({ "status": "error", "message": message });
    because(json(status, body.to_string()), message)
}
