//! What operators see: the ops listener, logs, alerts.

use crate::config::parse::{self, Parsed, choice};
use crate::config::reader::{Reader, maybe, one};
use crate::config::setting::{Setting, Show, setting};
use secrecy::SecretString;
use std::net::SocketAddr;

settings! {
    /// The ops listener.
    struct Ops {
        /// Address and port of the listener for operations; an address that is not loopback demands the token.
        addr: SocketAddr = one(parse::socket_addr),
            setting("ops.addr").var("OPS_ADDR").default("127.0.0.1:3002");
        /// What its callers present as `Authorization: Bearer ...`, 16 characters or more.
        token: Option<SecretString> = token,
            setting("ops.token").var("OPS_TOKEN").show(Show::Secret)
                .example("<openssl rand -hex 24>");
    }
}

settings! {
    /// Logs.
    struct Log {
        /// How log lines look: text or json.
        format: LogFormat = one(log_format),
            setting("log.format").var("LOG_FORMAT").default("text");
        /// Which log lines: off, error, warn, info, debug or trace, and by module, such as warn,hyper=debug.
        filter: String = one(parse::log_filter),
            setting("log.filter").var("RUST_LOG").default("info");
    }
}

settings! {
    /// Who is told when something needs a person.
    struct Alerts {
        /// A Slack incoming webhook that is told when something needs a person.
        slack_webhook_url: Option<SecretString> = maybe(parse::secret_url),
            setting("alerts.slack_webhook_url").var("SLACK_WEBHOOK_URL").show(Show::Secret)
                .example("https://hooks.slack.com/services/...");
    }
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Reads the form of log lines.
fn log_format(text: &str) -> Parsed<LogFormat> {
    choice(
        text,
        &[("text", LogFormat::Text), ("json", LogFormat::Json)],
    )
}

fn token(r: &mut Reader<'_>, setting: &'static Setting) -> Option<Option<SecretString>> {
    let token = r.maybe(setting, parse::ops_token)?;
    if let Some(token) = &token {
        r.long_enough(setting, std::slice::from_ref(token));
    }
    Some(token)
}
