//! The webhook's HTTP side: who may post, store, answer. `routes` says where.
//!
//! Jumper does not sign (contracts/jumper.md section 6.1), so the path carries a secret; it is
//! compared in constant time and never logged. The answer comes as soon as the events are stored
//! and waits for nothing else.

use super::report::Report;
use crate::accounts::{Caller, Channel, Channels, Webhook, Webhooks};
use crate::alert::{Code, Many};
use crate::domain::ChannelId;
use crate::http::{BodyFault, because, json, no_such_route, read_apart, vouch, whole};
use crate::outbox::Outbox;
use crate::store::EventRules;
use crate::telemetry::{OncePerSecond, count_folded};
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use metrics::{Counter, counter};
use secrecy::SecretString;
use std::borrow::Cow;
use std::collections::HashMap;
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
static GUESSES: Many = Many::of(
    Code::SecretsGuessed,
    "webhook",
    100,
    "requests had no secret or a wrong one in their path. Somebody guesses it, or Jumper posts to an old \
     address (`gateway check` compares them). They are answered no.",
);

/// What the webhook works with. Clones share it.
#[derive(Clone)]
pub struct Receiver {
    shared: Arc<Shared>,
}

struct Shared {
    outbox: Outbox,
    /// By channel; the first of the configuration answers the routes without a channel.
    doors: HashMap<String, Door>,
    first: String,
    /// Paths that Jumper is told and that are no route of ours, and whose they are.
    elsewhere: Vec<(String, ChannelId)>,
}

struct Door {
    webhook: Arc<Webhook>,
    rules: Arc<EventRules>,
    /// The same for who shows no secret.
    rules_of_strangers: Arc<EventRules>,
    /// Bytes of bodies that may be worked on beside those that are.
    room: Semaphore,
    /// The same for who shows no secret.
    room_of_strangers: Semaphore,
    report: Report,
    /// Counts those that were stored, nearly all. Registered by the first.
    stored: OnceLock<Counter>,
}

/// A door that was opened, and how.
pub(super) struct Entered<'a> {
    door: &'a Door,
    caller: Caller,
    /// The secret, where nobody posted with it before.
    news: Option<SecretString>,
}

impl Receiver {
    /// A receiver for these channels; `rules` tells how the events of each are read, `elsewhere` which paths
    /// that are no routes are a channel's.
    pub fn new(
        channels: &Channels,
        webhooks: &Webhooks,
        outbox: Outbox,
        rules: impl Fn(&Channel) -> EventRules,
        elsewhere: Vec<(String, ChannelId)>,
    ) -> Self {
        let door = |channel: &Arc<Channel>| {
            let rules = rules(channel);
            let door = Door {
                webhook: webhooks.get(channel.id.as_str())?.clone(),
                rules_of_strangers: Arc::new(EventRules {
                    vouched: false,
                    ..rules.clone()
                }),
                rules: Arc::new(rules),
                room: Semaphore::new(IN_FLIGHT),
                room_of_strangers: Semaphore::new(IN_FLIGHT / 4),
                report: Report::new(),
                stored: OnceLock::new(),
            };
            Some((channel.id.to_string(), door))
        };
        let shared = Shared {
            outbox,
            doors: channels.iter().filter_map(door).collect(),
            first: channels
                .iter()
                .next()
                .map(|channel| channel.id.to_string())
                .unwrap_or_default(),
            elsewhere,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The channel of the routes that name none.
    pub(super) fn first(&self) -> &str {
        &self.shared.first
    }

    /// Whose path this is, of those that are no route of ours, and the secret that it carries.
    pub(super) fn named_by(&self, path: &str) -> Option<(&str, Option<String>)> {
        let path = path.trim_end_matches('/');
        let whose = |path| {
            let mut all = self.shared.elsewhere.iter();
            let (_, channel) = all.find(|(known, _)| known == path)?;
            self.shared.doors.get(channel.as_str())
        };
        if let Some(door) = whose(path) {
            let opens = |part: &&str| {
                let admitted = door.webhook.admit(Some(part));
                matches!(admitted, Ok(Caller::Holder | Caller::OfBefore))
            };
            let secret = path.split('/').find(opens).map(str::to_owned);
            return Some((door.rules.channel.as_str(), secret));
        }
        let (head, secret) = path.rsplit_once('/')?;
        let door = whose(head)?;
        Some((door.rules.channel.as_str(), Some(secret.to_owned())))
    }

    /// The door of a channel, if what was presented opens it; else why not. Another process may have
    /// changed the secret: before a no it is looked up, if it was not a moment ago.
    pub(super) async fn open(
        &self,
        channel: &str,
        presented: Option<&str>,
    ) -> Result<Entered<'_>, &'static str> {
        let door = self.shared.doors.get(channel);
        let door = door.ok_or("the path names no channel of this gateway")?;
        let webhook = &door.webhook;
        let mut caller = webhook.admit(presented);
        if caller.is_err() && presented.is_some() {
            webhook.look_again().await;
            caller = webhook.admit(presented);
        }
        let caller = caller?;
        let is_news = caller == Caller::Holder && webhook.awaits_confirmation();
        Ok(Entered {
            door,
            caller,
            news: presented.filter(|_| is_news).map(SecretString::from),
        })
    }

    /// The secret first: a stranger's body is not even read.
    #[tracing::instrument(name = "webhook", level = "debug", skip_all)]
    pub(super) async fn receive(
        &self,
        entered: Result<Entered<'_>, &'static str>,
        request: Request,
    ) -> Response {
        let entered = match entered {
            Ok(entered) => entered,
            Err(reason) => return turned_away(reason),
        };
        if entered.caller != Caller::Anybody {
            vouch(request.extensions());
        }
        let answer = match whole(request).await {
            Ok(body) => self.store(&entered, body).await,
            Err(fault @ BodyFault::Compressed) => {
                count(Some(&entered.door.rules), "encoded");
                return error(StatusCode::UNSUPPORTED_MEDIA_TYPE, fault.to_string());
            }
            Err(fault) => return fault.answer(),
        };
        if let Some(secret) = entered.news.filter(|_| answer.status().is_success()) {
            confirm(entered.door.webhook.clone(), secret);
        }
        answer
    }

    async fn store(&self, Entered { door, caller, .. }: &Entered<'_>, body: Bytes) -> Response {
        let (rules, room, most) = match caller {
            Caller::Anybody => (
                &door.rules_of_strangers,
                &door.room_of_strangers,
                IN_FLIGHT / 4,
            ),
            Caller::Holder | Caller::OfBefore => (&door.rules, &door.room, IN_FLIGHT),
        };
        let bytes = u32::try_from(body.len().min(most)).unwrap_or(u32::MAX);
        let Ok(Ok(_room)) = timeout(TURN, room.acquire_many(bytes)).await else {
            return unavailable(door, "too many events of this channel are being stored");
        };
        let read = |body: &[u8]| crate::json::read(body).map(|body| super::parse(&body));
        let Ok(events) = read_apart(body, read).await else {
            count(Some(&door.rules), "not_json");
            return error(StatusCode::BAD_REQUEST, "Body is not valid JSON");
        };
        let events = match events {
            Ok(events) => events,
            Err(fault) => {
                count(Some(&door.rules), "too_many");
                return error(StatusCode::PAYLOAD_TOO_LARGE, fault.to_string());
            }
        };
        match self.shared.outbox.take_events(rules, events).await {
            Ok(folded) => {
                count_folded(&rules.account, &folded);
                door.report.tell(&door.rules.channel, &folded);
                if folded.no_room > 0 {
                    return unavailable(door, "the disk of DATA_DIR is nearly full: make room");
                }
                let stored = || webhooks(Some(&door.rules), "stored");
                door.stored.get_or_init(stored).increment(1);
                json(StatusCode::OK, r#"{"status":"success"}"#)
            }
            Err(fault) => {
                self.shared.outbox.failed(&fault);
                unavailable(door, &fault)
            }
        }
    }
}

fn unavailable(door: &Door, why: impl std::fmt::Display) -> Response {
    count(Some(&door.rules), "unavailable");
    if LOG.passes() {
        tracing::warn!(channel = %door.rules.channel, error = %why,
            event = "webhook_not_stored",
            "a webhook was answered 503, because its events cannot be stored");
    }
    error(
        StatusCode::SERVICE_UNAVAILABLE,
        "Event store unavailable: try again",
    )
}

fn count(rules: Option<&EventRules>, outcome: &'static str) {
    webhooks(rules, outcome).increment(1);
}

/// Counts webhooks by the channel whose door they opened; who is refused at the door names none.
fn webhooks(rules: Option<&EventRules>, outcome: &'static str) -> Counter {
    let channel = rules.map_or("", |rules| rules.channel.as_str()).to_owned();
    counter!("gateway_webhooks_total", "channel" => channel, "outcome" => outcome)
}

fn error(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Response {
    let message = message.into();
    let body = serde_json::json!({ "status": "error", "message": message });
    because(json(status, body.to_string()), message)
}

/// A post by this address proves that Jumper uses it. Stored beside the answer, which waits for nothing.
fn confirm(webhook: Arc<Webhook>, secret: SecretString) {
    tokio::spawn(async move {
        // Where it cannot be stored, the next post does it.
        let _ = webhook.confirmed(Some(&secret), false).await;
    });
}

/// The answer to who has no secret or a wrong one, whatever the method.
pub(super) fn turned_away(reason: &'static str) -> Response {
    count(None, "no_secret");
    GUESSES.more(1);
    because(no_such_route(), reason)
}
