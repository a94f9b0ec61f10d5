//! What becomes of one call: the outcomes a rule can name, and their effect on the answer. "Accept" outcomes
//! have the call's effect and spoil the answer; all others prevent it.

use std::{sync::Arc, time::Duration};

use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::sleep;

use super::{
    knobs::Knobs,
    reply::{self, Written},
};

/// One outcome (contracts/jumper.md 7, points 5 and 6).
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    Ok,
    AcceptThenClose,
    AcceptThenSlow(f64),
    AcceptThen502Html,
    AcceptThenTruncated,
    AcceptThenHalfJson,
    AcceptNonJson,
    Refuse(u16, String),
    Html500,
    Unauthorized,
    Unavailable,
    Status(u16),
    Fault(u16, String),
    Hang(f64),
    CloseBefore,
    /// The answer of a rule, and no effect.
    Written(Arc<Written>),
    /// The effect, then the answer of a rule.
    TakenThen(Arc<Written>),
    /// A list that is not whole.
    List(ListMode),
}

/// What becomes of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ListMode {
    /// Nothing is on it.
    Empty,
    /// The first half is on it, as if that were all.
    Half,
    /// The first half is on it, with a `next` cursor to the rest.
    Next,
}

/// The outcomes that have a name, as rules give them.
pub(super) const OUTCOMES: [&str; 19] = [
    "ok",
    "accept_then_close",
    "accept_then_slow",
    "accept_then_slow:SECONDS",
    "accept_then_502_html",
    "accept_then_truncated",
    "accept_then_half_json",
    "accept_non_json",
    "refuse_200",
    "refuse_400",
    "refuse:REASON",
    "500_before",
    "401",
    "503",
    "STATUS",
    "status:STATUS",
    "fault:STATUS:CODE",
    "hang:SECONDS",
    "close_before",
];

/// What a refusal says that has no reason of its own.
pub(super) const REFUSAL: &str = "Message could not be sent";

impl Outcome {
    /// Reads an outcome's name; `None` when there is no such outcome.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let status = |text: &str| text.parse().ok().filter(|code| (200..=599).contains(code));
        Some(match (name, rest) {
            ("ok", "") => Self::Ok,
            ("accept_then_close", "") => Self::AcceptThenClose,
            ("accept_then_slow", "") => Self::AcceptThenSlow(Knobs::default().accept_slow_s),
            ("accept_then_slow", rest) => Self::AcceptThenSlow(seconds(rest)?),
            ("accept_then_502_html", "") => Self::AcceptThen502Html,
            ("accept_then_truncated", "") => Self::AcceptThenTruncated,
            ("accept_then_half_json", "") => Self::AcceptThenHalfJson,
            ("accept_non_json", "") => Self::AcceptNonJson,
            ("refuse_200", "") => Self::Refuse(200, REFUSAL.to_owned()),
            ("refuse_400", "") => Self::Refuse(400, REFUSAL.to_owned()),
            ("refuse", reason) if !reason.is_empty() => Self::Refuse(200, reason.to_owned()),
            ("500_before", "") => Self::Html500,
            ("401", "") => Self::Unauthorized,
            ("503", "") => Self::Unavailable,
            ("status", rest) => Self::Status(status(rest)?),
            ("fault", rest) => {
                let (code, errorcode) = rest.split_once(':')?;
                Self::Fault(status(code)?, errorcode.to_owned())
            }
            ("hang", rest) => Self::Hang(seconds(rest)?),
            ("close_before", "") => Self::CloseBefore,
            (code, "") => Self::Status(status(code)?),
            _ => return None,
        })
    }

    /// The outcome's name, without its details.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::AcceptThenClose => "accept_then_close",
            Self::AcceptThenSlow(_) => "accept_then_slow",
            Self::AcceptThen502Html => "accept_then_502_html",
            Self::AcceptThenTruncated => "accept_then_truncated",
            Self::AcceptThenHalfJson => "accept_then_half_json",
            Self::AcceptNonJson => "accept_non_json",
            Self::Refuse(..) => "refuse",
            Self::Html500 => "500_before",
            Self::Unauthorized => "401",
            Self::Unavailable => "503",
            Self::Status(_) => "status",
            Self::Fault(..) => "fault",
            Self::Hang(_) => "hang",
            Self::CloseBefore => "close_before",
            Self::Written(_) => "rule",
            Self::TakenThen(_) => "taken_then_rule",
            Self::List(_) => "list",
        }
    }

    /// The answer of an outcome that prevents the effect; `None` for those that let it happen.
    pub(super) async fn before(&self) -> Option<Response> {
        Some(match self {
            Self::Refuse(status, reason) => {
                reply::json(*status, json!({"success": false, "errorMessage": reason}))
            }
            Self::Html500 => reply::html(500, "500 Server Error"),
            Self::Unauthorized => reply::fault(
                401,
                "keymanagement.service.invalid_access_token",
                "Invalid Access Token",
            ),
            Self::Unavailable => reply::html(503, "503 Service Unavailable"),
            Self::Status(status) => reply::html(*status, "Scripted status"),
            Self::Fault(status, errorcode) => reply::fault(*status, errorcode, "Scripted fault"),
            Self::Hang(time) => {
                sleep(Duration::from_secs_f64(*time)).await;
                reply::cut()
            }
            Self::CloseBefore => reply::cut(),
            Self::Written(written) => reply::written(written),
            _ => return None,
        })
    }

    /// Spoils the answer of a call that has had its effect.
    pub(super) async fn after(self, answer: Response) -> Response {
        match self {
            Self::AcceptThenClose => reply::cut(),
            Self::AcceptThenSlow(time) => {
                sleep(Duration::from_secs_f64(time)).await;
                answer
            }
            Self::AcceptThen502Html => reply::html(502, "502 Bad Gateway"),
            Self::AcceptThenTruncated => reply::truncated(answer).await,
            Self::AcceptThenHalfJson => reply::half(answer).await,
            Self::AcceptNonJson => reply::html(200, "OK"),
            Self::TakenThen(written) => reply::written(&written),
            _ => answer,
        }
    }
}

fn seconds(text: &str) -> Option<f64> {
    text.parse()
        .ok()
        .filter(|time| (0.0..=86_400.0).contains(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_name_is_known_and_others_are_not() {
        for text in [
            "ok",
            "503",
            "401",
            "accept_then_close",
            "accept_then_slow",
            "accept_then_slow:0.5",
            "accept_then_502_html",
            "accept_then_truncated",
            "accept_then_half_json",
            "accept_non_json",
            "refuse_200",
            "refuse_400",
            "500_before",
            "status:404",
            "429",
            "fault:429:policies.ratelimit.QuotaViolation",
            "refuse:No such page: 7",
            "hang:3",
            "close_before",
        ] {
            assert!(Outcome::parse(text).is_some(), "{text}");
        }
        for text in [
            "",
            "nope",
            "status:",
            "status:99",
            "hang:x",
            "hang:-1",
            "fault:429",
            "ok:1",
            "refuse:",
        ] {
            assert!(Outcome::parse(text).is_none(), "{text}");
        }
    }
}
