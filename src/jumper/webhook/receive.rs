//! The webhook's HTTP side: who may post, store, answer.
//!
//! Jumper does not sign (contracts/jumper.md section 6.1), so the path carries a secret; it is
//! compared in constant time and never logged. The answer comes as soon as the events are stored
//! and waits for nothing else.

use crate::alert::Guesses;
use crate::channel::{Channel, Channels, same};
use crate::http::{ENCODED, Payload, because, is_encoded, json, no_such_route, vouch};
use crate::outbox::Outbox;
use crate::store::EventRules;
use crate::telemetry::{OncePerSecond, count_folded};
use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use metrics::counter;
use secrecy::SecretString;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
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
static GUESSES: Guesses = Guesses::at(
    "webhook",
    "had no secret or a wrong one in their path: somebody guesses it, or Jumper posts to an old address \
     (`gateway check` compares them)",
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
}

struct Door {
    secret: Option<SecretString>,
    rules: Arc<EventRules>,
    /// Bytes of bodies that may be worked on beside those that are.
    room: Semaphore,
}

#[derive(Deserialize)]
struct Key {
    key: Option<String>,
}

type KeyQuery = Result<Query<Key>, QueryRejection>;

impl Receiver {
    /// A receiver for these channels; `rules` tells how the events of each are read.
    pub fn new(
        channels: &Channels,
        outbox: Outbox,
        rules: impl Fn(&Channel) -> EventRules,
    ) -> Self {
        let door = |channel: &Arc<Channel>| {
            let door = Door {
                secret: channel.webhook_secret.clone(),
                rules: Arc::new(rules(channel)),
                room: Semaphore::new(IN_FLIGHT),
            };
            (channel.id.to_string(), door)
        };
        let shared = Shared {
            outbox,
            doors: channels.iter().map(door).collect(),
            first: channels
                .iter()
                .next()
                .map(|channel| channel.id.to_string())
                .unwrap_or_default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The door of a channel, if what was presented opens it; else why not.
    fn open(&self, channel: &str, presented: Option<&str>) -> Result<&Door, &'static str> {
        let door = self.shared.doors.get(channel);
        let door = door.ok_or("the path names no channel of this gateway")?;
        match (&door.secret, presented) {
            (Some(secret), Some(presented)) if same(secret, presented) => Ok(door),
            (None, None) => Ok(door),
            (Some(_), Some(_)) => Err("the path has a wrong webhook secret (WEBHOOK_SECRET)"),
            (Some(_), None) => Err("the path lacks the webhook secret (WEBHOOK_SECRET)"),
            (None, Some(_)) => Err("the path has a secret, and WEBHOOK_SECRET is not set"),
        }
    }

    /// The secret first: a stranger's body is not even read.
    async fn receive(&self, door: Result<&Door, &'static str>, request: Request) -> Response {
        let door = match door {
            Ok(door) => door,
            Err(reason) => return turned_away(reason),
        };
        if door.secret.is_some() {
            vouch(request.extensions());
        }
        if is_encoded(request.headers()) {
            count(Some(&door.rules), "encoded");
            return error(StatusCode::UNSUPPORTED_MEDIA_TYPE, ENCODED);
        }
        match Payload::from_request(request, &()).await {
            Ok(Payload(body)) => self.store(door, &body).await,
            Err(answer) => answer,
        }
    }

    async fn store(&self, door: &Door, body: &[u8]) -> Response {
        let bytes = u32::try_from(body.len().min(IN_FLIGHT)).unwrap_or(u32::MAX);
        let Ok(Ok(_room)) = timeout(TURN, door.room.acquire_many(bytes)).await else {
            return unavailable(door, "too many events of this channel are being stored");
        };
        let Ok(body) = crate::json::read(body) else {
            count(Some(&door.rules), "not_json");
            return error(StatusCode::BAD_REQUEST, "Body is not valid JSON");
        };
        let events = match super::parse(&body) {
            Ok(events) => events,
            Err(fault) => {
                count(Some(&door.rules), "too_many");
                return error(StatusCode::PAYLOAD_TOO_LARGE, fault.to_string());
            }
        };
        match self.shared.outbox.take_events(&door.rules, events).await {
            Ok(folded) => {
                count_folded(&folded);
                tell(&door.rules, &folded);
                if folded.no_room > 0 {
                    return unavailable(door, "the disk of DATA_DIR is nearly full: make room");
                }
                count(Some(&door.rules), "stored");
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
            "a webhook was answered 503, because its events cannot be stored");
    }
    error(
        StatusCode::SERVICE_UNAVAILABLE,
        "Event store unavailable: try again",
    )
}

/// Counts a webhook by the channel whose door it opened; who is refused at the door names none.
fn count(rules: Option<&EventRules>, outcome: &'static str) {
    let channel = rules.map_or("", |rules| rules.channel.as_str()).to_owned();
    counter!("gateway_webhooks_total", "channel" => channel, "outcome" => outcome).increment(1);
}

fn tell(rules: &EventRules, folded: &crate::store::Folded) {
    if folded.opted_out > 0 {
        tracing::info!(channel = %rules.channel, people = folded.opted_out,
            "a person opted out; messages to them are refused with 7003 from now on");
    }
    if folded.inferred > 0 {
        tracing::info!(channel = %rules.channel, messages = folded.inferred,
            "an unknown send was proved by its status event");
    }
}

fn error(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Response {
    let message = message.into();
    let body = serde_json::json!({ "status": "error", "message": message });
    because(json(status, body.to_string()), message)
}

/// Where Jumper posts without a channel and without a secret: the old connector's addresses.
const PLAIN: [&str; 2] = ["/jumper_callback", "/jumper_callback_2"];
/// The same with a secret.
const SECRET: [&str; 2] = ["/jumper_callback/{secret}", "/jumper_callback_2/{secret}"];
const CHANNEL: &str = "/channels/{id}/callback";
const CHANNEL_SECRET: &str = "/channels/{id}/callback/{secret}";

/// The paths of [`routes`].
pub fn paths() -> Vec<&'static str> {
    [&PLAIN[..], &SECRET, &[CHANNEL, CHANNEL_SECRET]].concat()
}

/// The routes that Jumper posts to. `GET` answers for people who try the URL in a browser.
pub fn routes(receiver: Receiver) -> Router {
    let mut router = Router::new();
    for path in PLAIN {
        router = router.route(path, get(probe).post(plain));
    }
    for path in SECRET {
        router = router.route(path, get(probe_secret).post(with_secret));
    }
    router
        .route(CHANNEL, get(probe).post(channel_plain))
        .route(CHANNEL_SECRET, get(probe_channel).post(channel_with_secret))
        .with_state(receiver)
}

async fn probe() -> Response {
    json(StatusCode::OK, r#"{"status":"success"}"#)
}

/// Tells whether events would be taken here, so that `gateway check` can ask.
async fn probe_secret(State(to): State<Receiver>, secret: Part<String>) -> Response {
    probe_door(&to, &to.shared.first, &decoded(secret)).await
}

async fn probe_channel(State(to): State<Receiver>, parts: Part<(String, String)>) -> Response {
    let (id, secret) = decoded(parts);
    probe_door(&to, &id, &secret).await
}

async fn probe_door(to: &Receiver, channel: &str, secret: &str) -> Response {
    match to.open(channel, Some(secret)) {
        Ok(_) => probe().await,
        Err(reason) => turned_away(reason),
    }
}

/// The answer to who has no secret or a wrong one, whatever the method.
fn turned_away(reason: &'static str) -> Response {
    count(None, "no_secret");
    GUESSES.wrong();
    because(no_such_route(), reason)
}

async fn plain(State(to): State<Receiver>, key: KeyQuery, request: Request) -> Response {
    let key = key.ok().and_then(|Query(query)| query.key);
    to.receive(to.open(&to.shared.first, key.as_deref()), request)
        .await
}

async fn with_secret(
    State(to): State<Receiver>,
    secret: Part<String>,
    request: Request,
) -> Response {
    let secret = decoded(secret);
    to.receive(to.open(&to.shared.first, Some(&secret)), request)
        .await
}

async fn channel_plain(
    State(to): State<Receiver>,
    id: Part<String>,
    key: KeyQuery,
    request: Request,
) -> Response {
    let key = key.ok().and_then(|Query(query)| query.key);
    to.receive(to.open(&decoded(id), key.as_deref()), request)
        .await
}

async fn channel_with_secret(
    State(to): State<Receiver>,
    parts: Part<(String, String)>,
    request: Request,
) -> Response {
    let (id, secret) = decoded(parts);
    to.receive(to.open(&id, Some(&secret)), request).await
}

/// Parts of the path; bytes that are no text must get the answer of any wrong secret.
type Part<T> = Result<Path<T>, PathRejection>;

/// What cannot be decoded is empty, which opens nothing.
fn decoded<T: Default>(part: Part<T>) -> T {
    part.map_or_else(|_| T::default(), |Path(part)| part)
}
