//! One POST to MoEngage: statuses in a batch, or one reply (contracts/moengage.md sections 5, 6).
//!
//! Sends what `batch` rendered and says what became of it. Never retries, never follows a redirect,
//! never reads more of an answer than it may log; when to try again is the relay's business.

use super::batch::Batch;
use super::timestamp::TimestampUnit;
use super::wire::{self, Json, Object};
use crate::domain::Callback;
use crate::domain::callback::Delivery;
use crate::domain::phone::mask_numbers;
use crate::http::outgoing::{self, Client, Response, header::CONTENT_TYPE};
use std::time::Duration;

/// What is read of an answer.
const ANSWER_BYTES: usize = 4096;
/// What is kept of it, in characters.
const TEXT_LENGTH: usize = 300;
/// How the caller of MoEngage behaves.
#[derive(Debug, Clone, Copy)]
pub struct CallbackSettings {
    /// From the connection to the end of the answer.
    pub timeout: Duration,
    /// How moments are written.
    pub timestamp_unit: TimestampUnit,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// Unused connections kept for each host.
    pub max_idle: usize,
}

impl Default for CallbackSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            timestamp_unit: TimestampUnit::Seconds,
            idle_timeout: Duration::from_secs(30),
            max_idle: 16,
        }
    }
}

/// The client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client for MoEngage cannot be made")]
pub struct ClientError(#[source] outgoing::Error);

/// The client for all channels. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Callbacks {
    client: Client,
    unit: TimestampUnit,
}

impl Callbacks {
    /// A client of these settings. The TLS provider of the process must be installed.
    pub fn new(settings: CallbackSettings) -> Result<Self, ClientError> {
        let client = outgoing::client(settings.timeout, settings.timeout)
            .pool_idle_timeout(settings.idle_timeout)
            .pool_max_idle_per_host(settings.max_idle)
            .build()
            .map_err(ClientError)?;
        Ok(Self {
            client,
            unit: settings.timestamp_unit,
        })
    }

    /// Renders entries in this client's unit of time.
    pub fn batch(&self, entries: &[Callback]) -> Batch {
        Batch::new(entries, self.unit)
    }

    /// Posts one body.
    pub async fn post(&self, url: &str, batch: &Batch) -> Delivery {
        let request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .body(batch.bytes());
        match request.send().await {
            Ok(response) => judge(response).await,
            Err(error) => Delivery::Later {
                reason: broken(&error),
                retry_after: None,
            },
        }
    }
}

async fn judge(response: Response) -> Delivery {
    let http = response.status().as_u16();
    let retry_after = outgoing::retry_after(response.headers());
    // What breaks off after its status changes nothing.
    let (answer, _) = outgoing::beginning(response, ANSWER_BYTES).await;
    let text = readable(&answer);
    match http {
        200..=299 => Delivery::Taken {
            http,
            warning: says_failure(&answer)
                .then(|| format!("MoEngage answered HTTP {http} but speaks of a failure: {text}")),
        },
        // About the address or the access, not about an entry: none would fare better alone.
        401 | 403 | 404 | 405 | 407 | 410 => Delivery::Later {
            reason: format!("HTTP {http} {text}").trim_end().to_owned(),
            retry_after,
        },
        400..=499 if http != 408 && http != 429 => Delivery::Refused { http, text },
        _ => Delivery::Later {
            reason: format!("HTTP {http} {text}").trim_end().to_owned(),
            retry_after,
        },
    }
}

pub(super) fn readable(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let plain = text.split_whitespace().collect::<Vec<_>>().join(" ");
    mask_numbers(&plain).chars().take(TEXT_LENGTH).collect()
}

/// Whether the body of a 2xx contradicts its status.
pub(super) fn says_failure(answer: &[u8]) -> bool {
    let Ok(Object::Object(body)) =
        serde_json::from_slice::<Object<'_, wire::Acknowledgement<'_>>>(answer)
    else {
        return false;
    };
    let failed = |status: &str| {
        ["failure", "error"]
            .iter()
            .any(|word| status.eq_ignore_ascii_case(word))
    };
    let status = matches!(&body.status, Json::Text(status) if failed(status));
    status || body.success == Some(serde_json::Value::Bool(false))
}

/// Why there was no answer, without the URL: it may hold a secret.
fn broken(error: &outgoing::Error) -> String {
    let what = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the call failed"
    };
    match outgoing::root_cause(error) {
        Some(cause) => format!("{what}: {}", readable(cause.as_bytes())),
        None => what.to_owned(),
    }
}
