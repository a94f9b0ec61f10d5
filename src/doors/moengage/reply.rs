//! The only place that turns the outcome of a send into HTTP towards MoEngage.
//!
//! A send that was understood is answered 200, success or failure in the body; everything else is
//! a 4xx or 5xx with a `message` (contracts/moengage.md section 4). Routing and transport errors
//! have the same shape and come from `http`.

use super::code::code;
use super::wire;
use crate::domain::Refusal;
use crate::http::{json, message};
use crate::intake::Entry;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use std::time::Duration;

/// While the process stops: by then a successor listens.
const DRAIN_RETRY: Duration = Duration::from_secs(5);
/// While the store is away.
const STORE_RETRY: Duration = Duration::from_secs(2);

/// What a send is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The message is ours now, or was before.
    Success,
    /// The send was understood and is refused.
    Failure(Refusal),
    /// The request could not be understood.
    Malformed {
        /// The HTTP status, 4xx.
        status: u16,
        /// What is wrong and where.
        message: String,
    },
    /// Too much waits already.
    Full {
        /// When to try again.
        retry_after: Duration,
    },
    /// The message could not be stored.
    Unavailable,
    /// The process is stopping.
    Draining,
}

impl Reply {
    /// A word of a closed set, for the counter.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure(refusal) => code(refusal.kind),
            Self::Malformed { .. } => "malformed",
            Self::Full { .. } => "full",
            Self::Unavailable => "unavailable",
            Self::Draining => "draining",
        }
    }
}

impl From<Entry> for Reply {
    fn from(entry: Entry) -> Self {
        match entry {
            Entry::Accepted | Entry::Repeat => Self::Success,
            Entry::Refused(refusal) => Self::Failure(refusal),
            Entry::Full { retry_after } => Self::Full { retry_after },
            // Our own trouble is for our own log: the caller can only try again.
            Entry::Unavailable { .. } => Self::Unavailable,
            Entry::Draining => Self::Draining,
        }
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        metrics::counter!("gateway_send_replies_total", "outcome" => self.outcome()).increment(1);
        match self {
            Self::Success => json(StatusCode::OK, r#"{"status":"success"}"#),
            Self::Failure(refusal) => failure(&refusal),
            Self::Malformed {
                status,
                message: text,
            } => message(
                StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST),
                &text,
            ),
            Self::Full { retry_after } => later(
                StatusCode::TOO_MANY_REQUESTS,
                "Too many requests, try again later",
                retry_after,
            ),
            Self::Unavailable => later(
                StatusCode::SERVICE_UNAVAILABLE,
                "Message store unavailable: try again",
                STORE_RETRY,
            ),
            Self::Draining => later(
                StatusCode::SERVICE_UNAVAILABLE,
                "Gateway is shutting down: try again",
                DRAIN_RETRY,
            ),
        }
    }
}

fn failure(refusal: &Refusal) -> Response {
    let body = wire::Failure {
        status: "failure",
        error: wire::FailureError {
            code: code(refusal.kind),
            message: &refusal.reason,
        },
    };
    // Texts under fixed keys: writing them as JSON cannot fail.
    json(
        StatusCode::OK,
        serde_json::to_vec(&body).unwrap_or_default(),
    )
}

fn later(status: StatusCode, text: &str, wait: Duration) -> Response {
    let mut response = message(status, text);
    // Rounded up: a caller that comes back too early would be turned away again.
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
        response.headers_mut().insert(RETRY_AFTER, value);
    }
    response
}
