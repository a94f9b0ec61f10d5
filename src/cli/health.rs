//! `gateway health`: does the gateway of this machine answer? For the container, one line.
//!
//! Asks the public listener, which tells strangers no more than a word; here it becomes a sentence.

use super::{reach, say};
use crate::config::Config;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// How long the gateway may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// Asks `/healthz`, or `/readyz`.
pub(super) async fn run(config: &Config, ready: bool) -> anyhow::Result<ExitCode> {
    let path = if ready { "/readyz" } else { "/healthz" };
    let addr = reach::local(SocketAddr::new(config.http.bind, config.http.port));
    let call = reach::local_client(DEADLINE)?.get(format!("http://{addr}{path}"));
    let answer = match call.send().await {
        Ok(answer) => answer,
        Err(error) => {
            say::fault(&format!(
                "no answer from {addr}{path}: {}",
                reach::why(&error)
            ));
            return Ok(ExitCode::FAILURE);
        }
    };
    let ok = answer.status().is_success();
    let status = answer.status().as_u16();
    let body = reach::text(answer).await.unwrap_or_default();
    let body: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    let line = line(status, &body);
    if ok {
        say::line(&line);
        Ok(ExitCode::SUCCESS)
    } else {
        say::fault(&line);
        Ok(ExitCode::FAILURE)
    }
}

fn line(status: u16, body: &serde_json::Value) -> String {
    let word = body["status"].as_str().unwrap_or("answers");
    match body["reason"].as_str() {
        Some("store") => {
            let words = "the store takes no writes: `gateway check` and /readyz of the ops listener say why";
            format!("{word} (HTTP {status}): {words}")
        }
        Some("stopping") => format!("{word} (HTTP {status}): the gateway is stopping"),
        Some(reason) => super::table::plain(&format!("{word} (HTTP {status}): {reason}")),
        None => super::table::plain(&format!("{word} (HTTP {status})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_line_says_it_all() {
        for (status, body, text) in [
            (200, json!({"status": "alive"}), "alive (HTTP 200)"),
            (
                503,
                json!({"status": "not ready", "reason": "stopping"}),
                "not ready (HTTP 503): the gateway is stopping",
            ),
            (
                503,
                json!({"status": "not ready", "reason": "store"}),
                "not ready (HTTP 503): the store takes no writes: `gateway check` and /readyz of \
                 the ops listener say why",
            ),
            (
                503,
                json!({"status": "not ready", "reason": "else"}),
                "not ready (HTTP 503): else",
            ),
            (404, json!(null), "answers (HTTP 404)"),
        ] {
            assert_eq!(line(status, &body), text);
        }
    }
}
