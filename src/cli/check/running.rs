//! The gateway that runs, as it tells of itself at the ops listener.

use super::super::ops_client::{Failure, OpsClient};
use super::{DEADLINE, Finding, Mark, finding};
use crate::config::Config;
use serde_json::Value;

const ITEM: &str = "running gateway";

/// Tokens, holds, breaker, queue; or that none runs.
pub(super) async fn ask(config: &Config) -> anyhow::Result<Vec<Finding>> {
    let ops = OpsClient::new(config, DEADLINE)?;
    let (accounts, channels, ledger) = tokio::join!(
        ops.get("/api/accounts"),
        ops.get("/api/channels"),
        ops.get("/api/ledger"),
    );
    Ok(match (accounts, channels, ledger) {
        (Ok(accounts), Ok(channels), Ok(ledger)) => {
            let words = format!("answers at {}", ops.addr());
            let mut findings = vec![finding(ITEM, Mark::Ok, words)];
            findings.extend(list(&accounts["accounts"]).iter().flat_map(account));
            let all = list(&channels["channels"]);
            let own = |channel: &&Value| !is_told(list(&accounts["accounts"]), channel);
            findings.extend(all.iter().filter(own).filter_map(waits));
            findings.extend(all.iter().flat_map(not_taken));
            findings.push(queue(&ledger["total"]));
            findings
        }
        (Err(failure), ..) | (_, Err(failure), _) | (.., Err(failure)) => vec![none(&failure)],
    })
}

/// Whether a gateway answered, also one that did not let us in.
pub(super) fn answers(findings: &[Finding]) -> bool {
    let mut own = findings.iter().filter(|one| one.item == ITEM);
    own.any(|one| one.mark != Mark::Unknown)
}

fn none(failure: &Failure) -> Finding {
    match failure {
        Failure::Unreachable { addr, .. } => {
            let words = format!("not running (nothing answers at {addr}, OPS_ADDR)");
            finding(ITEM, Mark::Unknown, words)
        }
        Failure::Refused { status: 401, .. } => {
            let words = "answers, but with another OPS_TOKEN than the one configured here";
            finding(ITEM, Mark::Fault, words)
        }
        Failure::Refused { .. } => finding(ITEM, Mark::Fault, failure.to_string()),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn account(account: &Value) -> [Finding; 2] {
    let id = text(&account["account"]);
    let token = &account["token"];
    let (mark, words) = match text(&token["state"]) {
        "fresh" => (
            Mark::Ok,
            format!("valid until {}", text(&token["expires_at"])),
        ),
        "stale" => (
            Mark::Warn,
            "has run out; it is renewed before the next call".to_owned(),
        ),
        "missing" => {
            let words = "there is none: set SEED_REFRESH_TOKEN, or PUT one to the ops listener";
            (Mark::Fault, words.to_owned())
        }
        "refused" => {
            let words = format!(
                "Jumper refuses it although it is new ({}); a test call every 15 s tells when that \
                 is over",
                text(&token["reason"])
            );
            (Mark::Fault, words)
        }
        "wrong_credentials" => {
            let words = format!(
                "cannot be renewed: Jumper refuses the key and secret of JUMPER_BASIC_AUTH \
                 (basic_auth of the account): {}{}",
                text(&token["reason"]),
                going_on(token)
            );
            (Mark::Fault, words)
        }
        _ => {
            let words = format!(
                "the refresh token is dead ({}): PUT a new one to /api/accounts/{id}/token/seed at \
                 the ops listener{}",
                text(&token["reason"]),
                going_on(token)
            );
            (Mark::Fault, words)
        }
    };
    let sending = sending(account);
    [
        finding(format!("token of {id}"), mark, words),
        finding(format!("sending of {id}"), sending.0, sending.1),
    ]
}

fn going_on(token: &Value) -> &'static str {
    if token["sends"] == true {
        ". Sending goes on until the access token is refused"
    } else {
        ""
    }
}

fn sending(account: &Value) -> (Mark, String) {
    let blocked = blocked(&account["why"]).or_else(|| blocked_before(account));
    if let Some(blocked) = blocked {
        return blocked;
    }
    let rate = &account["rate"];
    let calls = match &rate["effective"] {
        Value::Number(calls) => format!("at {calls} calls per second"),
        _ => "without a limit of calls per second".to_owned(),
    };
    let (at_once, layer) = (&rate["concurrency"], text(&rate["layer"]));
    (Mark::Ok, format!("{calls}, {at_once} at once ({layer})"))
}

/// What the gateway says of why it does not send, or sends less. What needs a person is a fault.
fn blocked(why: &Value) -> Option<(Mark, String)> {
    let code = why["code"].as_str()?;
    let mark = match code {
        "no_token" | "held" | "store_not_writable" => Mark::Fault,
        _ => Mark::Warn,
    };
    let since = why["since"].as_str();
    let since = since.map_or(String::new(), |since| format!(" (since {since})"));
    let cure = why["cure"].as_str();
    let cure = cure.map_or(String::new(), |cure| format!("; {cure}"));
    Some((
        mark,
        format!("{code}: {}{since}{cure}", text(&why["words"])),
    ))
}

/// The same of a gateway of version 0.1, which has no `why`.
fn blocked_before(account: &Value) -> Option<(Mark, String)> {
    if account.get("why").is_some() {
        return None;
    }
    let held = &account["held"];
    if !held.is_null() {
        let (since, reason) = (text(&held["since"]), text(&held["reason"]));
        return Some((Mark::Fault, format!("held since {since}: {reason}")));
    }
    let words = "paused by the breaker: Jumper does not work; it is tried again by itself";
    (account["breaker"] == "open").then(|| (Mark::Warn, words.to_owned()))
}

/// Whether a channel waits for what its account says already. Times may be apart: these are two answers.
fn is_told(accounts: &[Value], channel: &Value) -> bool {
    let mut accounts = accounts.iter();
    let account = accounts.find(|one| one["account"] == channel["account"]);
    account.is_some_and(|account| account["why"]["code"] == channel["why"]["code"])
}

/// Why a channel sends nothing, where that is not what its account says.
fn waits(channel: &Value) -> Option<Finding> {
    let (mark, words) = blocked(&channel["why"])?;
    Some(finding(
        format!("channel {}", text(&channel["channel"])),
        mark,
        words,
    ))
}

/// Callbacks of a channel that MoEngage does not take, with what it answers.
fn not_taken(channel: &Value) -> Vec<Finding> {
    let id = text(&channel["channel"]);
    let lane = |failing: &Value| {
        let words = format!(
            "MoEngage takes no {} callbacks since {}: {}. Compare callback_url \
             (MOENGAGE_CALLBACK_URL) with MoEngage's dashboard",
            text(&failing["lane"]),
            text(&failing["since"]),
            text(&failing["answer"]),
        );
        finding(format!("callbacks of {id}"), Mark::Fault, words)
    };
    let failing = list(&channel["callbacks_failing"]).iter();
    failing.map(lane).collect()
}

fn queue(total: &Value) -> Finding {
    let of = |value: &Value| value.as_i64().unwrap_or(0);
    let callbacks = &total["callbacks"];
    let (lost, dead) = (of(&total["lost"]), of(&callbacks["dead_letters"]));
    let uncounted = of(&total["uncounted"]);
    let mut words = format!(
        "{} queued, {} held, {} with unknown outcome, {} callbacks waiting, {dead} dead letters, \
         lost {lost}",
        of(&total["queued"]),
        of(&total["held"]),
        of(&total["unknown"]),
        of(&callbacks["waiting"]),
    );
    if uncounted != 0 {
        let (at, cause) = (
            text(&total["uncounted_at"]),
            text(&total["uncounted_cause"]),
        );
        words = format!("{words}, uncounted {uncounted} since {at}: {cause}");
    }
    let mark = match (lost, dead, uncounted) {
        (0, 0, 0) => Mark::Ok,
        (0, ..) => Mark::Warn,
        _ => Mark::Fault,
    };
    finding("queue", mark, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_account_is_judged_by_its_token_and_by_why_it_does_not_send() {
        let rate = json!({ "effective": 10.0, "concurrency": 10, "layer": "configured" });
        let with = |token: Value, code: Option<&str>| {
            let why = code.map(|code| json!({ "code": code, "words": "so", "cure": "do" }));
            let shown = json!({ "account": "default", "token": token, "why": why, "rate": rate });
            account(&shown).map(|one| one.mark)
        };
        let fresh = || json!({ "state": "fresh", "expires_at": "2031-03-03T10:00:00Z" });
        let (ok, warn, fault) = (Mark::Ok, Mark::Warn, Mark::Fault);
        assert_eq!(with(fresh(), None), [ok, ok]);
        let stale = json!({ "state": "stale" });
        assert_eq!(with(stale, Some("circuit_open")), [warn, warn]);
        let missing = json!({ "state": "missing" });
        assert_eq!(with(missing, Some("no_token")), [fault, fault]);
        assert_eq!(with(fresh(), Some("held")), [ok, fault]);
        assert_eq!(with(json!(null), None), [fault, ok]);
        // Version 0.1 has no `why`.
        for (held, breaker, mark) in [
            (
                json!({ "reason": "dead", "since": "2031-03-03T10:00:00Z" }),
                "open",
                fault,
            ),
            (json!(null), "open", warn),
            (json!(null), "closed", ok),
        ] {
            let shown = json!({
                "account": "default", "token": fresh(), "held": held, "breaker": breaker,
                "rate": rate,
            });
            assert_eq!(account(&shown).map(|one| one.mark), [ok, mark]);
        }
    }

    #[test]
    fn what_the_account_says_is_not_told_once_more_of_each_channel() {
        let why = |code: &str, until: &str| json!({ "code": code, "until": until });
        let accounts = [
            json!({ "account": "acme", "why": why("circuit_open", "10:00") }),
            json!({ "account": "birch", "why": null }),
        ];
        let channel =
            |account: &str, code| json!({ "account": account, "why": why(code, "10:01") });
        assert!(is_told(&accounts, &channel("acme", "circuit_open")));
        assert!(!is_told(&accounts, &channel("acme", "paused")));
        assert!(!is_told(&accounts, &channel("birch", "circuit_open")));
    }

    #[test]
    fn the_rate_is_told_also_when_there_is_none() {
        for (effective, words) in [
            (json!(7.5), "at 7.5 calls per second, 3 at once (runtime)"),
            (
                json!("off"),
                "without a limit of calls per second, 3 at once (runtime)",
            ),
        ] {
            let rate = json!({ "effective": effective, "concurrency": 3, "layer": "runtime" });
            assert_eq!(
                sending(&json!({ "rate": rate })),
                (Mark::Ok, words.to_owned())
            );
        }
    }

    #[test]
    fn a_queue_is_judged_by_what_is_lost_and_what_was_given_up() {
        for (lost, dead, mark) in [(0, 0, Mark::Ok), (0, 2, Mark::Warn), (1, 0, Mark::Fault)] {
            let found = queue(&json!({ "lost": lost, "callbacks": { "dead_letters": dead } }));
            assert_eq!(found.mark, mark);
        }
        let found = queue(
            &json!({ "lost": 0, "uncounted": -3, "uncounted_cause": "so",
            "uncounted_at": "then" }),
        );
        assert_eq!(found.mark, Mark::Warn);
        assert!(found.words.ends_with("lost 0, uncounted -3 since then: so"));
    }

    #[test]
    fn r_41_a_channel_that_sends_nothing_is_told_with_the_cure() {
        assert_eq!(waits(&json!({ "channel": "uk", "why": null })), None);
        let why = json!({ "code": "paused", "words": "an operator paused it", "cure": "POST x" });
        let found = waits(&json!({ "channel": "uk", "why": why })).unwrap();
        assert_eq!(
            (found.item.as_str(), found.mark),
            ("channel uk", Mark::Warn)
        );
        assert_eq!(found.words, "paused: an operator paused it; POST x");
    }

    #[test]
    fn r_43_callbacks_that_are_not_taken_are_told_with_the_answer() {
        let failing = json!([{
            "lane": "status", "since": "2031-03-03T10:00:00Z", "answer": "HTTP 401 no such key",
        }]);
        let found = not_taken(&json!({ "channel": "uk", "callbacks_failing": failing }));
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].item.as_str(), found[0].mark),
            ("callbacks of uk", Mark::Fault)
        );
        for part in [
            "status",
            "2031-03-03T10",
            "HTTP 401 no such key",
            "MOENGAGE_CALLBACK_URL",
        ] {
            assert!(found[0].words.contains(part), "{found:?}");
        }
        for fine in [json!([]), json!(null)] {
            let channel = json!({ "channel": "uk", "callbacks_failing": fine });
            assert_eq!(not_taken(&channel), []);
        }
    }

    #[test]
    fn a_gateway_that_does_not_run_is_unknown_and_a_wrong_token_is_a_fault() {
        let addr = "127.0.0.1:3002".parse().unwrap();
        let why = "nothing listens there".to_owned();
        assert_eq!(
            none(&Failure::Unreachable { addr, why }).mark,
            Mark::Unknown
        );
        let refused = |status| Failure::Refused {
            addr,
            status,
            detail: "no".to_owned(),
        };
        assert_eq!(none(&refused(401)).mark, Mark::Fault);
        assert_eq!(none(&refused(500)).mark, Mark::Fault);
    }
}
