//! The configuration: raw texts in layers -> one checked, typed [`Config`].
//!
//! The only reader of the environment and of configuration files. Read once; a change needs a
//! restart. All faults are found and told together, and none of them, nor the `Debug` of anything
//! here, shows a secret. The modules in reading order: `setting` (the list), `layers`, `dotenv` and
//! `file` (who says what), `parse`, `reader` and `check` (is it right), `values` (the outcome).

mod check;
mod dotenv;
mod fault;
mod file;
mod layers;
mod parse;
mod reader;
mod setting;
#[cfg(test)]
mod tests;
mod values;

pub use fault::{Fault, Faults};
pub use layers::{Layer, Sources, program, read, scratch_dir};
pub use setting::{SETTINGS, Setting};
pub use values::{
    Alerts, Breaker, Http, Inbound, Jumper, Log, LogFormat, Moengage, Ops, Sending, Store,
    TimestampUnit,
};

use crate::jumper::registered;
use layers::Given;
use secrecy::ExposeSecret;
use setting::UNSERVED;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What the configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The gateway itself: it needs callers' tokens, Jumper's credentials and MoEngage's URL.
    Serve,
    /// A command that looks at a gateway or at the configuration.
    Client,
}

/// The checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// How long claimed work may take after a stop was asked for.
    pub drain_timeout: Duration,
    /// The public listener.
    pub http: Http,
    /// MoEngage, both directions.
    pub moengage: Moengage,
    /// Jumper, both directions.
    pub jumper: Jumper,
    /// What to do with failures, and with a queue that grows.
    pub policy: Sending,
    /// When to stop claiming because the provider is down.
    pub breaker: Breaker,
    /// Replies and opt-outs.
    pub inbound: Inbound,
    /// Where data is kept.
    pub store: Store,
    /// The ops listener.
    pub ops: Ops,
    /// Logs.
    pub log: Log,
    /// Alerts.
    pub alerts: Alerts,
    /// The configuration file that was read, if there was one.
    pub file: Option<PathBuf>,
    effective: Vec<Effective>,
    warnings: Vec<String>,
}

/// All groups, checked.
struct Groups {
    drain_timeout: Duration,
    http: Http,
    moengage: Moengage,
    jumper: Jumper,
    sending: Sending,
    breaker: Breaker,
    inbound: Inbound,
    store: Store,
    ops: Ops,
    log: Log,
    alerts: Alerts,
}

/// One setting as it is in force, fit to be shown.
#[derive(Debug, Clone)]
pub struct Effective {
    /// The setting.
    pub setting: &'static Setting,
    /// Its value with everything secret hidden, and the layer it comes from; `None` when unset.
    pub value: Option<(String, Layer)>,
}

/// Merges and checks what the layers say. Pure: reads neither environment nor files.
pub fn load(sources: &Sources, purpose: Purpose) -> Result<Config, Faults> {
    let (given, mut faults) = layers::merge(sources);
    let checked = check::check(&given, purpose, &mut faults);
    let mut warnings = unserved(sources, purpose, &mut faults);
    let Some(groups) = checked.filter(|_| faults.is_empty()) else {
        return Err(Faults(faults));
    };
    warnings.extend(doubts(&groups));
    Ok(Config {
        drain_timeout: groups.drain_timeout,
        http: groups.http,
        moengage: groups.moengage,
        jumper: groups.jumper,
        policy: groups.sending,
        breaker: groups.breaker,
        inbound: groups.inbound,
        store: groups.store,
        ops: groups.ops,
        log: groups.log,
        alerts: groups.alerts,
        file: sources.file.as_ref().map(|(path, _)| path.clone()),
        effective: effective(&given),
        warnings,
    })
}

fn effective(given: &BTreeMap<&'static str, Given>) -> Vec<Effective> {
    let one = |setting: &'static Setting| Effective {
        setting,
        value: given
            .get(setting.key)
            .map(|given| (setting.shown(&given.text.joined()), given.layer)),
    };
    SETTINGS.iter().map(one).collect()
}

/// Judges the variables that this version knows and does not serve, and the unknown ones of `.env`.
fn unserved(sources: &Sources, purpose: Purpose, faults: &mut Vec<Fault>) -> Vec<String> {
    let mut warnings = Vec::new();
    for unserved in UNSERVED {
        let is_set = |from: &BTreeMap<String, String>| {
            from.get(unserved.var)
                .is_some_and(|value| !value.trim().is_empty())
        };
        let layer = match (is_set(&sources.env), is_set(&sources.dotenv)) {
            (true, _) => Layer::Environment,
            (false, true) => Layer::DotEnv,
            (false, false) => continue,
        };
        if unserved.refuse && purpose == Purpose::Serve {
            faults.push(Fault::new(unserved.var, layer, unserved.advice));
        } else {
            warnings.push(format!("{} ({layer}): {}", unserved.var, unserved.advice));
        }
    }
    for name in sources
        .dotenv
        .keys()
        .filter(|name| !setting::is_known_variable(name))
    {
        warnings.push(format!("{name} (.env): has no effect: no setting reads it"));
    }
    warnings
}

/// What is allowed and may still be a mistake.
fn doubts(groups: &Groups) -> Vec<String> {
    let mut doubts = Vec::new();
    let url = groups.moengage.callback_url.as_deref();
    if url.is_some_and(|url| !is_moengage(url)) {
        doubts.push(
            "MOENGAGE_CALLBACK_URL is not https on a host of moengage.com: statuses and replies go \
             there all the same"
                .to_owned(),
        );
    }
    if groups.jumper.webhook_secret.is_none() {
        doubts.push(
            "WEBHOOK_SECRET is not set: anyone who knows the URL can post statuses and replies"
                .to_owned(),
        );
    }
    match &groups.jumper.subscribed_callback_url {
        None => doubts.push(
            "SUBSCRIBED_CALLBACK_URL is not set: the webhook has to be subscribed at Jumper by hand"
                .to_owned(),
        ),
        Some(url) if url.expose_secret().starts_with("http:") => doubts.push(
            "SUBSCRIBED_CALLBACK_URL is not https: statuses and replies come in readable on the way"
                .to_owned(),
        ),
        Some(_) => {}
    }
    doubts
}

fn is_moengage(url: &str) -> bool {
    let uri = url.parse::<hyper::Uri>().ok();
    uri.is_some_and(|uri| {
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        uri.scheme_str() == Some("https") && host.ends_with(".moengage.com")
    })
}

impl Config {
    /// Every setting as it is in force, in the order of the list.
    pub fn effective(&self) -> &[Effective] {
        &self.effective
    }

    /// What is allowed and may still be a mistake, one sentence each, without secrets.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// The webhook as it is registered at Jumper: the configured URL with the secret as last part
    /// of its path, unless it is in there already. A secret itself; `None` means that the gateway
    /// does not subscribe.
    pub fn registered_callback_url(&self) -> Option<String> {
        let url = self
            .jumper
            .subscribed_callback_url
            .as_ref()?
            .expose_secret();
        let secret = self.jumper.webhook_secret.as_ref();
        Some(registered(url, secret.map(ExposeSecret::expose_secret)))
    }
}
