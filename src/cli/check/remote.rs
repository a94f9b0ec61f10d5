//! What is reached over the network: Jumper, MoEngage, our own webhook from outside.
//!
//! No call here has an effect: none carries a token or a body.

use super::super::reach;
use super::{Finding, Mark, finding};
use crate::config::{Account, Channel, Config};
use reqwest::{Client, RequestBuilder, StatusCode};
use std::sync::Arc;

/// Asked without a token, it is refused by everything that is Jumper (contracts/jumper.md 4.4).
const JUMPER_PATH: &str = "/chat/get-social-channels";

/// Jumper's API: any answer will do, and 401 is the one to expect.
pub(super) async fn jumper(http: Client, config: Arc<Config>, account: Account) -> Finding {
    let item = of(&config, "Jumper API", account.id.as_str());
    let base = &account.api_url;
    match status(http.get(format!("{base}{JUMPER_PATH}"))).await {
        Err(why) => finding(item, Mark::Fault, format!("{}: {why}", host(base))),
        Ok(status) => {
            let (mark, note) = judge_jumper(status);
            let words = format!("{} answers (HTTP {}){note}", host(base), status.as_u16());
            finding(item, mark, words)
        }
    }
}

fn judge_jumper(status: StatusCode) -> (Mark, &'static str) {
    match status.as_u16() {
        404 => (
            Mark::Warn,
            ", but does not know Jumper's paths: is JUMPER_API_URL right?",
        ),
        300..=399 => (
            Mark::Warn,
            " with a redirect, which is not followed: is JUMPER_API_URL right?",
        ),
        500.. => (
            Mark::Warn,
            ": it has trouble of its own; messages would wait",
        ),
        _ => (Mark::Ok, ""),
    }
}

/// MoEngage's callback receiver: any answer will do.
pub(super) async fn moengage(http: Client, config: Arc<Config>, channel: Channel) -> Finding {
    let item = of(&config, "MoEngage callback", channel.id.as_str());
    let Some(url) = &channel.callback_url else {
        let name = named(&config, "MOENGAGE_CALLBACK_URL", "callback_url");
        return finding(item, Mark::Unknown, format!("{name} is not set"));
    };
    match status(http.head(url)).await {
        Err(why) => finding(item, Mark::Fault, format!("{}: {why}", host(url))),
        Ok(status) => {
            let mark = if status.is_server_error() {
                Mark::Warn
            } else {
                Mark::Ok
            };
            let words = format!("{} answers (HTTP {} to HEAD)", host(url), status.as_u16());
            finding(item, mark, words)
        }
    }
}

/// Our webhook as Jumper reaches it. From inside it may be out of reach and work all the same.
pub(super) async fn webhook(http: Client, config: Arc<Config>, account: Account) -> Finding {
    let item = of(&config, "webhook from outside", account.id.as_str());
    let Some(url) = config.webhook_of(&account) else {
        let name = named(
            &config,
            "SUBSCRIBED_CALLBACK_URL",
            "subscribed_callback_url",
        );
        return finding(item, Mark::Unknown, format!("{name} is not set"));
    };
    // With the secret: only the URL that Jumper is given answers 200.
    let url = url.as_str();
    match status(http.get(url)).await {
        Err(why) => {
            let words = format!(
                "{}: {why}. Jumper must reach it; from here that may differ",
                host(url)
            );
            finding(item, Mark::Warn, words)
        }
        Ok(StatusCode::OK) => finding(item, Mark::Ok, format!("{} answers", host(url))),
        Ok(status) => {
            let path = if config.has_tables() {
                "/channels/<id>/callback"
            } else {
                "/jumper_callback"
            };
            let words = format!(
                "{} answers HTTP {}, not 200: is the path {path}, does the proxy pass it on to \
                 PORT, is the gateway running with this {}?",
                host(url),
                status.as_u16(),
                named(&config, "WEBHOOK_SECRET", "webhook_secret"),
            );
            finding(item, Mark::Warn, words)
        }
    }
}

/// What is looked at, and of whom where there may be several.
fn of(config: &Config, item: &str, id: &str) -> String {
    if config.has_tables() {
        format!("{item} of {id}")
    } else {
        item.to_owned()
    }
}

/// What a setting is called: by its variable, or by its key in a table.
fn named<'a>(config: &Config, var: &'a str, key: &'a str) -> &'a str {
    if config.has_tables() { key } else { var }
}

async fn status(request: RequestBuilder) -> Result<StatusCode, String> {
    match request.send().await {
        Ok(answer) => Ok(answer.status()),
        Err(error) => Err(reach::why(&error)),
    }
}

/// Scheme, host and port of a URL: what follows may be a secret, and so may user and password.
pub(super) fn host(url: &str) -> String {
    let Ok(url) = reqwest::Url::parse(url) else {
        return "the address".to_owned();
    };
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    format!(
        "{}://{}{port}",
        url.scheme(),
        url.host_str().unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_url_only_the_host_is_shown() {
        for (url, shown) in [
            ("https://api.jumper.ai", "https://api.jumper.ai"),
            (
                "https://u:secret@h.test:8443/secret?key=secret#secret",
                "https://h.test:8443",
            ),
            ("http://[::1]:3001/x", "http://[::1]:3001"),
            ("nonsense", "the address"),
        ] {
            assert_eq!(host(url), shown);
        }
    }

    #[test]
    fn what_jumper_answers_is_judged() {
        for (code, mark) in [
            (401, Mark::Ok),
            (200, Mark::Ok),
            (404, Mark::Warn),
            (301, Mark::Warn),
            (503, Mark::Warn),
        ] {
            assert_eq!(
                judge_jumper(StatusCode::from_u16(code).unwrap()).0,
                mark,
                "{code}"
            );
        }
    }
}
