//! The webhook's HTTP side: who may post, store, answer.
//!
//! Jumper does not sign (contracts/jumper.md section 6.1), so the path carries a secret; it is
//! compared in constant time and never logged. The answer comes as soon as the events are stored
//! and waits for nothing else.

use crate::channel::{Channel, Channels, same};
use crate::http::{Payload, json, no_such_route};
use crate::outbox::Outbox;
use crate::store::EventRules;
use crate::telemetry::count_folded;
use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use metrics::counter;
use secrecy::SecretString;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;

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

    /// The door of a channel, if what was presented opens it.
    fn open(&self, channel: &str, presented: Option<&str>) -> Option<&Door> {
        let door = self.shared.doors.get(channel)?;
        let opens = match (&door.secret, presented) {
            (Some(secret), Some(presented)) => same(secret, presented),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        opens.then_some(door)
    }

    /// The secret first: a stranger's body is not even read.
    async fn receive(&self, door: Option<&Door>, request: Request) -> Response {
        let Some(door) = door else {
            count(None, "no_secret");
            return no_such_route();
        };
        match Payload::from_request(request, &()).await {
            Ok(Payload(body)) => self.store(door, &body).await,
            Err(answer) => answer,
        }
    }

    async fn store(&self, door: &Door, body: &[u8]) -> Response {
        let Ok(body) = serde_json::from_slice(body) else {
            count(Some(&door.rules), "not_json");
            return error(StatusCode::BAD_REQUEST, "Body is not valid JSON");
        };
        let events = super::parse(&body);
        match self.shared.outbox.take_events(&door.rules, events).await {
            Ok(folded) => {
                count(Some(&door.rules), "stored");
                count_folded(&folded);
                tell(&door.rules, &folded);
                json(StatusCode::OK, r#"{"status":"success"}"#)
            }
            Err(fault) => {
                count(Some(&door.rules), "unavailable");
                tracing::error!(channel = %door.rules.channel, error = %fault,
                    "a webhook was answered 503, because its events cannot be stored");
                error(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "Event store unavailable: try again",
                )
            }
        }
    }
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

fn error(status: StatusCode, message: &str) -> Response {
    json(
        status,
        serde_json::json!({ "status": "error", "message": message }).to_string(),
    )
}

/// The routes that Jumper posts to. `GET` answers for people who try the URL in a browser.
pub fn routes(receiver: Receiver) -> Router {
    Router::new()
        .route("/jumper_callback", get(probe).post(plain))
        .route(
            "/jumper_callback/{secret}",
            get(probe_secret).post(with_secret),
        )
        .route("/channels/{id}/callback", get(probe).post(channel_plain))
        .route(
            "/channels/{id}/callback/{secret}",
            get(probe_channel).post(channel_with_secret),
        )
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
        Some(_) => probe().await,
        None => no_such_route(),
    }
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
