//! A message's history: a line of JSON for each thing that happened to it, appended and never changed.

use super::encode;
use crate::domain::UnixMs;
use serde::{Deserialize, Serialize};

/// One line of a message's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// When, in milliseconds since 1970.
    #[serde(rename = "t")]
    pub at: i64,
    /// What, in one word: `accepted`, `attempt`, `receipt`, `retry`, `unknown`, `failed`,
    /// `status`, `superseded`, `relayed`, `dead_letter`, `reply`, `repeat`.
    #[serde(rename = "e")]
    pub what: String,
    /// More, in words.
    #[serde(rename = "d", default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// A line to append to a history.
pub(crate) fn moment(at: UnixMs, what: &str, detail: &str) -> String {
    let mut line = encode(&Moment {
        at: at.0,
        what: what.into(),
        detail: detail.into(),
    });
    line.push('\n');
    line
}

/// The lines of a history; a line that cannot be read is shown as it is.
pub(crate) fn read_history(text: &str) -> Vec<Moment> {
    let read = |line: &str| {
        serde_json::from_str(line).unwrap_or_else(|_| Moment {
            at: 0,
            what: "unreadable".into(),
            detail: line.into(),
        })
    };
    text.lines().map(read).collect()
}
