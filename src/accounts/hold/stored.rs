//! How a hold looks in the store: one setting a scope, as JSON.

use crate::domain::circumstance::{Hold, Kind, Scope, Stage};
use crate::domain::{Phone, UnixMs};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct HoldRow {
    kind: String,
    reason: String,
    words: String,
    since: i64,
    #[serde(default)]
    trials: u32,
    /// When the next trial is due; absent on probation.
    next: Option<i64>,
    #[serde(default)]
    tried: Option<(u64, String)>,
    /// The end of the probation; absent while held.
    until: Option<i64>,
}

/// The name of the setting.
pub(super) fn name(scope: &Scope) -> String {
    format!("hold:{scope}")
}

pub(super) fn write(hold: &Hold) -> String {
    let (trials, next, tried, until) = match &hold.stage {
        Stage::Held {
            trials,
            next,
            tried,
        } => (*trials, Some(next.0), tried.clone(), None),
        Stage::Probation { until } => (0, None, None, Some(until.0)),
    };
    let row = HoldRow {
        kind: hold.kind.as_str().into(),
        reason: hold.reason.clone(),
        words: hold.words.clone(),
        since: hold.since.0,
        trials,
        next,
        tried: tried.map(|(to, template)| (to.number(), template)),
        until,
    };
    // A plain struct with text keys; writing it to a string cannot fail.
    serde_json::to_string(&row).unwrap_or_default()
}

/// Reads a hold; nothing when it is none that a program of ours wrote.
pub(super) fn read(scope: &Scope, text: &str) -> Option<Hold> {
    let row: HoldRow = serde_json::from_str(text).ok()?;
    let stage = match (row.next, row.until) {
        (Some(next), None) => Stage::Held {
            trials: row.trials,
            next: UnixMs(next),
            tried: row
                .tried
                .and_then(|(to, template)| Some((Phone::from_number(to).ok()?, template))),
        },
        (None, Some(until)) => Stage::Probation {
            until: UnixMs(until),
        },
        _ => return None,
    };
    Some(Hold {
        scope: scope.clone(),
        kind: Kind::parse(&row.kind)?,
        reason: row.reason,
        words: row.words,
        since: UnixMs(row.since),
        stage,
    })
}
