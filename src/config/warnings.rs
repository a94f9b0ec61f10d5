//! What is allowed and may still be a mistake, one sentence each, and the one default that depends
//! on another setting. Shows no secret.

use super::accounts::AccountsAndChannels;
use super::fault::Fault;
use super::groups::{Account, Channel, UNSERVED, is_known_variable};
use super::layers::Sources;
use super::raw::{Given, Layer, Text};
use super::setting::Setting;
use super::similar;
use super::table::Table;
use secrecy::ExposeSecret;
use std::collections::BTreeMap;

/// How long a settled message is kept when nothing is said: a data file has room, the memory of
/// Redis is dear (design.md G3).
const RETENTION: (&str, &str) = ("30d", "8d");

/// Says how long messages are kept when nobody else does.
pub(super) fn fill_in_retention(given: &mut BTreeMap<&'static str, Given>) {
    let (in_file, in_memory) = RETENTION;
    let on_redis = given.contains_key("store.redis_url");
    let time = if on_redis { in_memory } else { in_file };
    if let Some(setting) = Setting::named("store.retention") {
        let text = Text::One(time.to_owned());
        let default = Given::new(setting, text, Layer::Default);
        given.entry(setting.key).or_insert(default);
    }
}

/// Variables that are set and change nothing.
pub(super) fn without_effect(sources: &Sources, tables: &[Table]) -> Vec<String> {
    let mut warnings = Vec::new();
    for unserved in UNSERVED {
        if let Some((_, layer)) = sources.variable(unserved.var) {
            warnings.push(format!("{} ({layer}): {}", unserved.var, unserved.advice));
        }
    }
    let unread = sources.dotenv.keys().filter(|name| is_unread(name, tables));
    // One that is meant for another is a fault, unless that one is set too.
    let is_set = |meant: &str| sources.variable(meant).is_some();
    for name in unread.filter(|name| similar::variable(name).is_none_or(is_set)) {
        warnings.push(format!("{name} (.env): has no effect: no setting reads it"));
    }
    warnings
}

fn is_unread(name: &str, tables: &[Table]) -> bool {
    !is_known_variable(name) && !tables.iter().any(|table| table.names_variable(name))
}

/// Variables that no setting reads and that are nearly called like one. Their values are not shown:
/// whose they are is not known.
pub(super) fn misspelt(sources: &Sources, tables: &[Table]) -> Vec<Fault> {
    let layers = [
        (&sources.env, Layer::Environment),
        (&sources.dotenv, Layer::DotEnv),
    ];
    let mut found = Vec::new();
    for (variables, layer) in layers {
        for name in variables.keys().filter(|name| is_unread(name, tables)) {
            if let Some(meant) = similar::variable(name)
                && sources.variable(meant).is_none()
            {
                let right = format!("has no effect: no setting reads it; did you mean {meant}?");
                found.push(Fault::new(name, layer, right));
            }
        }
    }
    found
}

/// What may be a mistake though it is right.
pub(super) fn of(
    (accounts, channels): &AccountsAndChannels,
    given: &BTreeMap<&'static str, Given>,
    tables: &[Table],
) -> Vec<String> {
    let by_variables = tables.is_empty();
    let mut warnings = Vec::new();
    for channel in channels {
        warnings.extend(of_channel(channel, by_variables));
    }
    for account in accounts {
        warnings.extend(of_account(account, by_variables));
    }
    let wait = given.get("store.redis_wait_replicas");
    let asked = wait.is_some_and(|given| given.layer > Layer::Default);
    if asked && !given.contains_key("store.redis_url") {
        warnings.push("REDIS_WAIT_REPLICAS has no effect without REDIS_URL".to_owned());
    }
    warnings
}

/// What a setting is called: by its variable, or by its place in a table.
fn called(by_variables: bool, var: &str, table: String) -> String {
    if by_variables { var.to_owned() } else { table }
}

fn of_channel(channel: &Channel, by_variables: bool) -> Vec<String> {
    let name = |var, key: &str| called(by_variables, var, format!("channel.{}.{key}", channel.id));
    let mut warnings = Vec::new();
    let url = channel.callback_url.as_deref();
    if url.is_some_and(|url| !is_moengage(url)) {
        warnings.push(format!(
            "{} is not https on a host of moengage.com: statuses and replies go there all the same",
            name("MOENGAGE_CALLBACK_URL", "callback_url")
        ));
    }
    if channel.webhook_open {
        let open = name("WEBHOOK_OPEN", "webhook_open");
        warnings.push(match channel.webhook_secret.is_empty() {
            true => format!(
                "{open} is true: anyone who knows the URL can post statuses, and opt out people you wrote to"
            ),
            false => format!(
                "{open} has no effect beside {}",
                name("WEBHOOK_SECRET", "webhook_secret")
            ),
        });
    }
    warnings
}

fn of_account(account: &Account, by_variables: bool) -> Vec<String> {
    let webhook = of_webhook(account, by_variables);
    let table = format!("account.{}.api_url", account.id);
    let name = called(by_variables, "JUMPER_API_URL", table);
    let readable = is_readable_on_the_way(&account.api_url).then(|| {
        format!("{name} is not https: credentials and messages go out readable on the way")
    });
    webhook.into_iter().chain(readable).collect()
}

fn of_webhook(account: &Account, by_variables: bool) -> Option<String> {
    let table = format!("account.{}.subscribed_callback_url", account.id);
    let name = called(by_variables, "SUBSCRIBED_CALLBACK_URL", table);
    match &account.subscribed_callback_url {
        None => Some(format!(
            "{name} is not set: the webhook has to be subscribed at Jumper by hand"
        )),
        Some(url) if url.expose_secret().starts_with("http:") => Some(format!(
            "{name} is not https: statuses and replies come in readable on the way"
        )),
        Some(_) => None,
    }
}

/// Whether what goes there leaves this machine without TLS.
fn is_readable_on_the_way(url: &str) -> bool {
    let uri = url.parse::<hyper::Uri>().ok();
    uri.is_some_and(|uri| {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let address = host.parse::<std::net::IpAddr>();
        let here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        uri.scheme_str() == Some("http") && !here
    })
}

fn is_moengage(url: &str) -> bool {
    let uri = url.parse::<hyper::Uri>().ok();
    uri.is_some_and(|uri| {
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        uri.scheme_str() == Some("https") && host.ends_with(".moengage.com")
    })
}
