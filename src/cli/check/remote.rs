//! What is reached over the network: Jumper, MoEngage, our own webhook from outside.
//!
//! No call here has an effect: none carries a token or a body.

use super::super::ops_client::OpsClient;
use super::super::reach;
use super::{DEADLINE, Finding, Mark, finding, machine};
use crate::clock;
use crate::config::{Account, Channel, Config};
use crate::http::outgoing::{Client, RequestBuilder, StatusCode, Url, header::DATE};
use crate::providers::jumper::registered;
use secrecy::ExposeSecret;
use std::sync::{Arc, Mutex, PoisonError};

/// Asked without a token, it is refused by everything that is Jumper (contracts/jumper.md 4.4).
const JUMPER_PATH: &str = "/chat/get-social-channels";

/// Jumper's API: any answer will do, and 401 is the one to expect.
pub(super) async fn jumper(to: Asker, account: Account) -> Finding {
    let config = &to.config;
    let item = of(config, "Jumper API", account.id.as_str());
    let base = &account.api_url;
    let request = to.http.get(format!("{base}{JUMPER_PATH}"));
    match to.status(request, Some("Jumper")).await {
        Err(why) => {
            let name = named(config, "JUMPER_API_URL", "api_url");
            finding(item, Mark::Fault, format!("{} ({name}): {why}", host(base)))
        }
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
pub(super) async fn moengage(to: Asker, channel: Channel) -> Finding {
    let config = &to.config;
    let item = of(config, "MoEngage callback", channel.id.as_str());
    let name = named(config, "MOENGAGE_CALLBACK_URL", "callback_url");
    let Some(url) = &channel.callback_url else {
        return finding(item, Mark::Unknown, format!("{name} is not set"));
    };
    match to.status(to.http.head(url), Some("MoEngage")).await {
        Err(why) => finding(item, Mark::Fault, format!("{} ({name}): {why}", host(url))),
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
pub(super) async fn webhook(to: Asker, account: Account) -> Finding {
    let config = &to.config;
    let item = of(config, "webhook from outside", account.id.as_str());
    // With the secret: only the URL that Jumper is given answers 200.
    let url = match address(config, &account).await {
        Ok(url) => url,
        Err(words) => return finding(item, Mark::Unknown, words),
    };
    let url = url.as_str();
    match to.status(to.http.get(url), None).await {
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
                named(config, "WEBHOOK_SECRET", "webhook_secret"),
            );
            finding(item, Mark::Warn, words)
        }
    }
}

/// The webhook's address as Jumper has to have it; else what can be said of it. A secret that the gateway
/// made is known to the gateway alone.
async fn address(config: &Config, account: &Account) -> Result<String, String> {
    if let Some(url) = config.webhook_of(account) {
        return Ok(url);
    }
    let of_account = |one: &&Channel| one.account == account.id;
    let leads_to = config.channel_told(account);
    let channel = leads_to.or_else(|| config.channels.iter().find(of_account));
    let path = channel.map_or_else(String::new, |one| {
        format!("/api/channels/{}/webhook", one.id)
    });
    let ops = OpsClient::new(config, DEADLINE).map_err(|error| error.to_string())?;
    let Some(url) = &account.subscribed_callback_url else {
        let name = named(config, "SUBSCRIBED_CALLBACK_URL", "subscribed_callback_url");
        return Err(format!(
            "{name} is not set: enter the address at Jumper by hand; its path is \"path\" of http://{}{path}",
            ops.addr()
        ));
    };
    match ops.get(&path).await {
        Ok(shown) => Ok(registered(url.expose_secret(), shown["secret"].as_str())),
        Err(_) => Err(format!(
            "the gateway makes its secret itself: start it and check again; http://{}{path} shows it then",
            ops.addr()
        )),
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

/// Asks, and remembers what time it is elsewhere. Clones share that.
#[derive(Clone)]
pub(super) struct Asker {
    http: Client,
    config: Arc<Config>,
    /// Who is farthest from our clock, and by how many milliseconds ours is ahead.
    ahead: Arc<Mutex<Option<(&'static str, i64)>>>,
}

impl Asker {
    pub(super) fn new(http: Client, config: &Config) -> Self {
        Self {
            http,
            config: Arc::new(config.clone()),
            ahead: Arc::default(),
        }
    }

    /// The own clock, if somebody told the time.
    pub(super) fn clock(&self) -> Option<Finding> {
        let ahead = *self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.map(|(who, ahead)| machine::clock(who, ahead))
    }

    /// What is answered; `who` has a clock of its own.
    async fn status(
        &self,
        request: RequestBuilder,
        who: Option<&'static str>,
    ) -> Result<StatusCode, String> {
        let answer = request.send().await.map_err(|error| reach::why(&error))?;
        let date = answer
            .headers()
            .get(DATE)
            .and_then(|date| date.to_str().ok());
        if let (Some(who), Some(ahead)) = (who, date.and_then(ahead)) {
            let mut known = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
            if known.is_none_or(|(_, before)| before.abs() < ahead.abs()) {
                *known = Some((who, ahead));
            }
        }
        Ok(answer.status())
    }
}

/// By how many milliseconds our clock is ahead of a Date header.
fn ahead(date: &str) -> Option<i64> {
    let theirs = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    Some(clock::now().0.saturating_sub(theirs.as_millisecond()))
}

/// Scheme, host and port of a URL: what follows may be a secret, and so may user and password.
pub(super) fn host(url: &str) -> String {
    // A password that is not encoded may stand where the host seems to be.
    let who = url.rsplit_once('@').map_or("", |(who, _)| who);
    let who = who.split_once("://").map_or(who, |(_, who)| who);
    let parsed = Url::parse(url).ok();
    let Some(url) = parsed.filter(|_| !who.contains(['/', '?', '#', '@'])) else {
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
            ("redis://u:12#secret@h", "the address"),
            ("redis://12?secret@h", "the address"),
            ("redis://u:12/secret@h", "the address"),
            ("redis://u:a@secret@h", "the address"),
        ] {
            assert_eq!(host(url), shown);
        }
    }

    #[test]
    fn the_time_of_others_is_read_from_their_answers() {
        let long_ago = ahead("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert!(long_ago > 30 * 365 * 86_400_000, "{long_ago}");
        assert_eq!(ahead("yesterday"), None);
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
