//! `gateway trace`: what happened to this message? Asked at the ops listener, shown as a timeline.
//!
//! Phone numbers stay masked as they come.

use super::ops_client::OpsClient;
use super::{say, table};
use crate::config::Config;
use jiff::Timestamp;
use serde_json::Value;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

/// How long the gateway may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Finds messages by MoEngage's id, the provider's id or the recipient's number, and prints them.
pub(super) async fn run(config: &Config, id: &str) -> anyhow::Result<ExitCode> {
    let ops = OpsClient::new(config, DEADLINE)?;
    let (messages, note) = ops.search(id).await?;
    if messages.is_empty() {
        say::fault(&format!(
            "the gateway at {} keeps no message with this id, provider id or phone number{}",
            ops.addr(),
            note.map_or(String::new(), |note| format!(". {note}"))
        ));
        return Ok(ExitCode::FAILURE);
    }
    let shown: Vec<String> = messages.iter().map(timeline).collect();
    say::line(shown.join("\n").trim_end());
    Ok(ExitCode::SUCCESS)
}

/// One message: what it is and where it stands, then its history.
pub(super) fn timeline(message: &Value) -> String {
    let mut out = table::plain(&format!(
        "{}  {}: {}",
        word(&message["msg_id"]),
        word(&message["state"]),
        word(&message["means"])
    ));
    out.push('\n');
    for line in table::aligned(&facts(message), 24).lines() {
        let _ = writeln!(out, "  {line}");
    }
    let start = moment(&message["accepted_at"]);
    let history = message["history"].as_array().map_or(&[][..], Vec::as_slice);
    let mut rows: Vec<[String; 3]> = history.iter().map(|one| step(one, start)).collect();
    let callbacks = message["callbacks"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    rows.extend(
        callbacks
            .iter()
            .map(|one| [String::new(), "callback".to_owned(), word(one)]),
    );
    out.push('\n');
    for line in table::aligned(&rows, 16).lines() {
        let _ = writeln!(out, "  {line}");
    }
    out
}

fn facts(message: &Value) -> Vec<[String; 2]> {
    let of = |name: &str| word(&message[name]);
    let mut facts = vec![
        ("to", format!("{}, from {}", of("to"), of("from"))),
        (
            "template",
            format!("{} ({})", of("template"), of("language")),
        ),
        ("accepted", of("accepted_at")),
        (
            "channel",
            format!("{}, account {}", of("channel"), of("account")),
        ),
        ("attempts", of("attempts")),
    ];
    if !message["source"].is_null() {
        facts.push(("record", format!("from {}", of("source"))));
    }
    if !message["status"].is_null() {
        facts.push(("status", of("status")));
    }
    if !message["campaign_id"].is_null() {
        facts.push(("campaign", of("campaign_id")));
    }
    if !message["provider_id"].is_null() {
        let inferred = message["receipt_inferred"] == true;
        let how = if inferred {
            " (inferred from a status)"
        } else {
            ""
        };
        facts.push(("provider id", of("provider_id") + how));
    }
    facts.extend(waiting(&message["why"]));
    facts
        .into_iter()
        .map(|(name, value)| [name.to_owned(), value])
        .collect()
}

/// When and where in the queue a message waits.
fn waiting(why: &Value) -> Vec<(&'static str, String)> {
    let of = |name: &str| (!why[name].is_null()).then(|| word(&why[name]));
    let place = of("position").map(|place| match of("expected_at") {
        Some(at) => format!("{place}, sent at {at} at the earliest"),
        None => place,
    });
    let rows = [
        ("reason", of("code")),
        ("since", of("since")),
        ("until", of("until")),
        ("place", place),
    ];
    let known = |(name, value): (&'static str, Option<String>)| Some((name, value?));
    rows.into_iter().filter_map(known).collect()
}

fn step(one: &Value, start: Option<Timestamp>) -> [String; 3] {
    let after = match (start, moment(&one["at"])) {
        (Some(start), Some(at)) => offset(at.as_millisecond() - start.as_millisecond()),
        _ => "?".to_owned(),
    };
    let (what, detail) = (word(&one["what"]), word(&one["detail"]));
    let words = match (what.as_str(), detail.as_str()) {
        ("accepted", "") => "stored, and MoEngage was answered success".to_owned(),
        ("attempt", number) => format!("number {number} begins"),
        ("receipt", id) => format!("the provider took it as {id}"),
        ("relayed", words) => format!("to MoEngage: {words}"),
        _ => detail,
    };
    [after, what, words]
}

/// Milliseconds as `+1.234s`, or `+2h03m04s` when it is long.
fn offset(millis: i64) -> String {
    let sign = if millis < 0 { '-' } else { '+' };
    let millis = millis.unsigned_abs();
    let seconds = millis / 1000;
    if seconds < 3600 {
        return format!("{sign}{seconds}.{:03}s", millis % 1000);
    }
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{sign}{hours}h{minutes:02}m{:02}s", seconds % 60)
}

fn moment(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_told_from_the_accept() {
        for (millis, shown) in [
            (0, "+0.000s"),
            (1_234, "+1.234s"),
            (-5, "-0.005s"),
            (3_599_999, "+3599.999s"),
            (7_384_000, "+2h03m04s"),
        ] {
            assert_eq!(offset(millis), shown);
        }
    }

    #[test]
    fn a_message_is_told_line_by_line() {
        let shown = timeline(&json!({
            "msg_id": "m-1", "state": "waiting", "means": "the provider did not take it",
            "why": { "code": "retry_pause", "since": null, "until": "2031-03-03T10:01:00Z",
                "position": 3, "expected_at": "2031-03-03T10:02:00Z" },
            "to": "12*******43", "from": "12*******00", "template": "greeting", "language": "en",
            "channel": "default", "account": "default", "attempts": 2, "campaign_id": null,
            "accepted_at": "2031-03-03T10:00:00Z",
            "provider_id": "abc", "receipt_inferred": true,
            "history": [
                { "at": "2031-03-03T10:00:00Z", "what": "accepted", "detail": "" },
                { "at": "2031-03-03T10:00:01.5Z", "what": "attempt", "detail": "1" },
                { "at": "2031-03-03T10:00:01.75Z", "what": "retry", "detail": "HTTP 503\u{1b}[2J" },
            ],
            "callbacks": ["delivered, waiting"],
        }));
        let wanted = "\
m-1  waiting: the provider did not take it
  to           12*******43, from 12*******00
  template     greeting (en)
  accepted     2031-03-03T10:00:00Z
  channel      default, account default
  attempts     2
  provider id  abc (inferred from a status)
  reason       retry_pause
  until        2031-03-03T10:01:00Z
  place        3, sent at 2031-03-03T10:02:00Z at the earliest

  +0.000s  accepted  stored, and MoEngage was answered success
  +1.500s  attempt   number 1 begins
  +1.750s  retry     HTTP 503\u{fffd}[2J
           callback  delivered, waiting
";
        assert_eq!(shown, wanted);
    }

    #[test]
    fn an_odd_answer_is_shown_and_does_not_panic() {
        let shown = timeline(&json!({ "msg_id": "m", "history": [ 7, { "at": "x" } ] }));
        assert!(shown.starts_with("m  -: -"), "{shown}");
        assert!(shown.contains('?'));
    }
}
