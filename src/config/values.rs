//! The checked configuration, group by group. Holding one of these is proof that it was checked.
//!
//! Defaults are not here but in `config/default.toml`; meanings are told there too. Credentials are
//! wrapped, so nothing here prints one.

use crate::domain::policy::Policy;
use crate::domain::{AccountId, BusinessNumber, ChannelId};
use crate::limit::Pace;
use crate::store;
use secrecy::SecretString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The public listener.
#[derive(Debug, Clone)]
pub struct Http {
    /// The port; 0 takes a free one.
    pub port: u16,
    /// The address it listens at.
    pub bind: IpAddr,
    /// Bounds every answer of ours.
    pub response_timeout: Duration,
    /// How long a request's head may take.
    pub header_timeout: Duration,
    /// How long a request's body may take.
    pub body_timeout: Duration,
    /// How long a connection may idle between requests.
    pub idle_timeout: Duration,
    /// The largest body, in bytes.
    pub body_limit: usize,
    /// The most connections at once.
    pub max_connections: usize,
    /// Whether tokens that let callers in may be short enough to be guessed.
    pub allow_short_tokens: bool,
}

/// What we know of MoEngage.
#[derive(Debug, Clone)]
pub struct Moengage {
    /// The unit of timestamps in callbacks.
    pub timestamp_unit: TimestampUnit,
    /// The deadline of one callback.
    pub callback_timeout: Duration,
    /// Callbacks at once.
    pub callback_concurrency: usize,
    /// The most entries of one callback.
    pub batch_entries: usize,
    /// The largest body of a callback, in bytes.
    pub batch_bytes: usize,
    /// How long a callback is retried before it becomes a dead letter.
    pub retry_for: Duration,
    /// The longest pause between two tries.
    pub max_pause: Duration,
}

/// The unit of timestamps in callbacks (contracts/moengage.md section 11, Q3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampUnit {
    /// Seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Millis,
}

/// An account at Jumper and how it is called.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name.
    pub id: AccountId,
    /// The base of the API, without a slash at its end.
    pub api_url: String,
    /// The whole header value `Basic ...`; always there for [`super::Purpose::Serve`].
    pub basic_auth: Option<SecretString>,
    /// Used when no refresh token is stored.
    pub seed_refresh_token: Option<SecretString>,
    /// Our webhook as the operator wrote it; it may hold the webhook secret. Use
    /// [`super::Config::webhook_of`].
    pub subscribed_callback_url: Option<SecretString>,
    /// Calls per second, and calls at once.
    pub pace: Pace,
    /// How late a call may start after its slot.
    pub rate_tolerance: Duration,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// The deadline of one call.
    pub socket_timeout: Duration,
    /// The most connections.
    pub max_sockets: usize,
    /// The most idle connections kept.
    pub max_free_sockets: usize,
    /// How long an idle connection is kept.
    pub free_socket_keepalive: Duration,
    /// How often the template list is fetched.
    pub template_refresh: Duration,
    /// How often the webhook subscription is looked at.
    pub subscription_check: Duration,
}

/// A number to send from: who may, with what, and where its statuses and replies go.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Its name.
    pub id: ChannelId,
    /// The account that sends for it; one of [`super::Config::accounts`].
    pub account: AccountId,
    /// Where statuses and replies go; always there for [`super::Purpose::Serve`].
    pub callback_url: Option<String>,
    /// Any of these lets a caller in; never empty for [`super::Purpose::Serve`].
    pub tokens: Vec<SecretString>,
    /// The one number to send from.
    pub waba_number: Option<BusinessNumber>,
    /// What the webhook's path must carry: any of these, the first is registered. None: the gateway makes
    /// one.
    pub webhook_secret: Vec<SecretString>,
    /// Whether the webhook asks for no secret, where it has none.
    pub webhook_open: bool,
    /// Verdicts on answers, and ages.
    pub failure: Policy,
    /// The most messages that may wait; `None` is no limit.
    pub max_queue: Option<u64>,
    /// Whether it stands still until an operator resumes it.
    pub paused: bool,
}

/// What all accounts do with failures.
#[derive(Debug, Clone)]
pub struct Sending {
    /// The pause before the first retry.
    pub retry_base: Duration,
    /// The longest pause between retries.
    pub retry_max: Duration,
    /// The longest pause between two trials of what is held.
    pub hold_probe: Duration,
}

/// When an account stops claiming because its provider is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// Outages in a row that open it.
    pub failures: u32,
    /// How long it stays open at first.
    pub open_min: Duration,
    /// How long it stays open at most.
    pub open_max: Duration,
}

/// What people write to us.
#[derive(Debug, Clone)]
pub struct Inbound {
    /// Whole messages, in upper case, that opt a person out. STOP is always among them.
    pub stop_words: Vec<String>,
    /// Whole messages, in upper case, that opt a person out of promotions only.
    pub stop_marketing_words: Vec<String>,
    /// Whole messages, in upper case, that undo both.
    pub start_words: Vec<String>,
    /// Whether a text that answers no message of ours is relayed.
    pub relay_unmatched: bool,
    /// How long after a message a text without context is taken as its answer.
    pub reply_window: Duration,
}

/// Where data is kept, and how long.
#[derive(Debug, Clone)]
pub struct Store {
    /// Redis, which then is the store: in `data_dir` are only marks, and tokens that Redis did not take.
    pub redis: Option<store::redis::Settings>,
    /// Fingerprints of installations whose messages this one takes over.
    pub take_over: Vec<String>,
    /// The directory of the embedded store, and of what a store did not take.
    pub data_dir: PathBuf,
    /// Below this many free bytes nothing is accepted or sent.
    pub min_free: u64,
    /// Whether what waits is held at the start until an operator decides: `serve --hold` alone says so.
    pub hold: bool,
    /// How long a settled message is kept.
    pub retention: Duration,
    /// How long an event that matches no message is kept.
    pub event_retention: Duration,
}

/// The ops listener.
#[derive(Debug, Clone)]
pub struct Ops {
    /// Where it listens.
    pub addr: SocketAddr,
    /// What its callers must present.
    pub token: Option<SecretString>,
}

/// Logs.
#[derive(Debug, Clone)]
pub struct Log {
    /// The form of a line.
    pub format: LogFormat,
    /// Directives in `RUST_LOG`'s syntax.
    pub filter: String,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Who is told when something needs a person.
#[derive(Debug, Clone)]
pub struct Alerts {
    /// A Slack incoming webhook.
    pub slack_webhook_url: Option<SecretString>,
}
