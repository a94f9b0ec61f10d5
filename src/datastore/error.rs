//! What can go wrong with a call, whether it is worth trying again, and what the operator can do.

use super::DEADLINE;
use crate::domain::Transport;
use crate::domain::phone::mask_digits;
use crate::http::outgoing::{self, StatusCode};
use serde_json::Value;

/// The most that is kept of Google's words about an error, in characters.
const LONGEST_WORDS: usize = 300;

/// Why a call did not do it. Nothing was changed, but for [`Error::is_worth_retrying`] after a
/// commit: then it may have been.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No answer came.
    #[error("Datastore cannot be reached: {0}")]
    Unreachable(String),
    /// None came in time.
    #[error("Datastore did not answer within {} s", DEADLINE.as_secs())]
    TooSlow,
    /// Google answered with one of its error codes.
    #[error("Datastore answered {status}: {words}")]
    Answered {
        /// Google's word, such as `ABORTED`; empty when there is none.
        status: String,
        /// Its explanation.
        words: String,
    },
    /// The answer is none of Datastore's, or too long.
    #[error("Datastore's answer cannot be used: {0}")]
    Strange(String),
    /// The credentials are missing or unreadable.
    #[error("{0}")]
    Credentials(String),
    /// Google gives no access token.
    #[error("{0}")]
    NoToken(String),
    /// The client could not be made.
    #[error("the client for Datastore cannot be made: {0}")]
    Build(String),
}

impl Error {
    /// Whether the same call may go well in a moment, without anybody doing anything.
    pub fn is_worth_retrying(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TooSlow | Self::NoToken(_) => true,
            Self::Answered { status, .. } => matches!(
                status.as_str(),
                "ABORTED"
                    | "UNAVAILABLE"
                    | "RESOURCE_EXHAUSTED"
                    | "DEADLINE_EXCEEDED"
                    | "INTERNAL"
                    | "CANCELLED"
                    | "UNKNOWN"
            ),
            Self::Strange(_) | Self::Credentials(_) | Self::Build(_) => false,
        }
    }

    /// Whether others wrote the same meanwhile, or hold it: a smaller call may go well.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Answered { status, .. } if status == "ABORTED")
    }

    /// Whether a call with another entity in it may go well, for all that is known.
    pub fn may_be_of_an_entity(&self) -> bool {
        match self {
            Self::Answered { status, .. } => !matches!(
                status.as_str(),
                "PERMISSION_DENIED" | "UNAUTHENTICATED" | "NOT_FOUND" | "FAILED_PRECONDITION"
            ),
            Self::TooSlow | Self::Strange(_) => true,
            Self::Unreachable(_) | Self::Credentials(_) | Self::NoToken(_) | Self::Build(_) => {
                false
            }
        }
    }

    /// Whether it is the fault of an entity in the call and not of the call.
    pub fn blames_an_entity(&self) -> bool {
        matches!(self, Self::Answered { status, .. } if status == "INVALID_ARGUMENT")
    }

    /// The error with what the operator must do about it; the last full stop is left to the caller.
    pub fn with_advice(&self) -> String {
        match self.advice() {
            "" => self.to_string(),
            advice => format!("{self}. {}", advice.trim_end_matches('.')),
        }
    }

    /// What the operator must do; empty where nobody need do anything.
    pub fn advice(&self) -> &'static str {
        let Self::Answered { status, .. } = self else {
            return match self {
                Self::Credentials(_) | Self::NoToken(_) => {
                    "Check DT_JSON_PATH or the default credentials of this machine."
                }
                Self::Strange(_) => "Is DATASTORE_EMULATOR_HOST right, or a proxy in between?",
                _ => "",
            };
        };
        match status.as_str() {
            "PERMISSION_DENIED" => {
                "Give the service account the role Cloud Datastore User in the project of \
                 DT_PROJECT_ID."
            }
            "UNAUTHENTICATED" => "Make a new key for the service account and set DT_JSON_PATH.",
            "NOT_FOUND" => {
                "Does the project of DT_PROJECT_ID exist, with a database in Datastore mode?"
            }
            "FAILED_PRECONDITION" => "Is the database of the project in Datastore mode?",
            _ => "",
        }
    }
}

pub(super) fn refused(http: StatusCode, body: &[u8]) -> Error {
    let text = String::from_utf8_lossy(body);
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let fault = &body["error"];
    let words = fault["message"].as_str();
    let status = match (fault["status"].as_str(), http.as_u16()) {
        (Some(status), _) => status,
        // A proxy or a load balancer answers in Datastore's place.
        (None, 429) => "RESOURCE_EXHAUSTED",
        (None, 500..) => "UNAVAILABLE",
        // The call is too long, of which the front end tells no more; a shorter one may do.
        (None, 413) => "INVALID_ARGUMENT",
        (None, code) => {
            let words = cut(words.unwrap_or(&text));
            return Error::Strange(format!("HTTP {code} {words}").trim_end().to_owned());
        }
    };
    Error::Answered {
        status: status.to_owned(),
        words: match cut(words.unwrap_or(&text)) {
            nothing if nothing.is_empty() => "no explanation".to_owned(),
            words => words,
        },
    }
}

pub(super) fn unreachable(error: outgoing::Error) -> Error {
    match outgoing::transport(&error) {
        Transport::Timeout => Error::TooSlow,
        _ => Error::Unreachable(cut(
            &outgoing::root_cause(&error).unwrap_or_else(|| "the call failed".to_owned())
        )),
    }
}

/// The words of others as people may read them: on one line, bounded, without numbers. Google may repeat what it
/// was sent.
pub(super) fn cut(words: &str) -> String {
    let head: String = words.chars().take(LONGEST_WORDS * 50).collect();
    let line = head.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown = mask_digits(&line);
    let shown = shown.chars().filter(|c| !c.is_control());
    shown.take(LONGEST_WORDS).collect()
}
