//! The configuration: raw texts in layers -> one checked, typed [`Config`].
//!
//! The only reader of the environment and of configuration files. Read once; a change needs a
//! restart. All faults are found and told together, and none of them, nor the `Debug` of anything
//! here, shows a secret. The modules in reading order: `setting` (what one is, and the list) and `groups` (each is declared there), `layers`, `dotenv`,
//! `file` and `tables` (who says what), `parse`, `reader`, `check` and `accounts` (is it right),
//! `cross_checks` (does it fit together), `warnings` and `secret_exposure` (what may be a mistake).

mod accounts;
mod check;
mod cross_checks;
mod dotenv;
mod fault;
mod file;
mod groups;
mod kind;
mod layers;
mod mask;
mod own;
mod parse;
mod raw;
mod reader;
mod redis_url;
mod secret_exposure;
mod setting;
mod show;
mod similar;
mod table;
mod tables;
#[cfg(test)]
mod tests;
mod warnings;
mod webhook_path;

pub use fault::{Fault, Faults};
pub use groups::{
    Account, Alerts, Breaker, Channel, Datastore, Failures, Http, Inbound, Log, LogFormat,
    Moengage, Ops, Process, SETTINGS, Store, TABLES, TimestampUnit,
};
pub use layers::{Sources, program, read, scratch_dir};
pub use raw::Layer;
pub use setting::{DefaultValue, Need, Setting};

#[cfg(any(test, fuzzing))]
pub(crate) use dotenv::read as read_dotenv;

use crate::domain::ChannelId;
use crate::providers::jumper::registered;
use accounts::AccountsAndChannels;
use secrecy::ExposeSecret;
use std::path::{Path, PathBuf};
use webhook_path::{Target, path, target};

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
    /// The process as a whole.
    pub process: Process,
    /// The public listener.
    pub http: Http,
    /// The accounts at Jumper, in their order; never empty.
    pub accounts: Vec<Account>,
    /// The channels, in their order; never empty, and each on one of the accounts.
    pub channels: Vec<Channel>,
    /// How MoEngage is told.
    pub moengage: Moengage,
    /// What to do with failures, and with a queue that grows.
    pub policy: Failures,
    /// When to stop claiming because the provider is down.
    pub breaker: Breaker,
    /// Replies and opt-outs.
    pub inbound: Inbound,
    /// Where data is kept.
    pub store: Store,
    /// Whether what waits is held at the start until an operator decides: `serve --hold` alone says so.
    pub hold: bool,
    /// Where records are kept in addition, if anywhere.
    pub datastore: Option<Datastore>,
    /// The ops listener.
    pub ops: Ops,
    /// Logs.
    pub log: Log,
    /// Alerts.
    pub alerts: Alerts,
    /// The configuration file that was read, if there was one.
    pub file: Option<PathBuf>,
    read: Vec<PathBuf>,
    effective: Vec<Effective>,
    warnings: Vec<String>,
}

/// All groups, checked.
struct Groups {
    process: Process,
    http: Http,
    accounts_and_channels: AccountsAndChannels,
    moengage: Moengage,
    failures: Failures,
    breaker: Breaker,
    inbound: Inbound,
    store: Store,
    datastore: Datastore,
    ops: Ops,
    log: Log,
    alerts: Alerts,
}

/// One setting as it is in force, fit to be shown.
#[derive(Debug, Clone)]
pub struct Effective {
    /// Its key; `account.<id>.<key>` for what one account says, and the same for channels.
    pub key: String,
    /// Its environment variable, if it has one.
    pub var: Option<String>,
    /// Its value with everything secret hidden, and the layer it comes from; `None` when unset.
    pub value: Option<(String, Layer)>,
}

/// Merges and checks what the layers say. Pure: reads neither environment nor files.
pub fn load(sources: &Sources, purpose: Purpose) -> Result<Config, Faults> {
    let layers::Merged {
        mut given,
        tables,
        mut faults,
    } = layers::merge(sources).map_err(|fault| Faults(vec![fault]))?;
    warnings::fill_in_retention(&mut given);
    let checked = check::check(&given, &tables, purpose, &mut faults);
    let misspelt = warnings::misspelt(sources, &tables);
    let Some(groups) = checked.filter(|_| faults.is_empty()) else {
        // One of them may be why another is missing.
        faults.extend(misspelt);
        return Err(Faults(faults));
    };
    let mut warnings = warnings::without_effect(sources, &tables);
    warnings.extend(misspelt.iter().map(ToString::to_string));
    warnings.extend(warnings::of(&groups.accounts_and_channels, &given, &tables));
    warnings.extend(groups::datastore::doubt(&given));
    warnings.extend(secret_exposure::of(sources, &given, &tables, &groups));
    let (accounts, channels) = groups.accounts_and_channels;
    Ok(Config {
        process: groups.process,
        http: groups.http,
        accounts,
        channels,
        moengage: groups.moengage,
        policy: groups.failures,
        breaker: groups.breaker,
        inbound: groups.inbound,
        store: groups.store,
        hold: false,
        datastore: Some(groups.datastore).filter(|one| one.project_id.is_some()),
        ops: groups.ops,
        log: groups.log,
        alerts: groups.alerts,
        file: sources.file.as_ref().map(|(path, _)| path.clone()),
        read: sources.read.clone(),
        effective: show::effective(&given, &tables),
        warnings,
    })
}

impl Config {
    /// Every setting as it is in force, in the order of the list.
    pub fn effective(&self) -> &[Effective] {
        &self.effective
    }

    /// The files that were read, with the whole path of each.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.read.iter().map(PathBuf::as_path)
    }

    /// What is allowed and may still be a mistake, one sentence each, without secrets.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// Whether the file has tables of accounts and channels; otherwise the settings define one of
    /// each, both called `default`.
    pub fn has_tables(&self) -> bool {
        self.effective
            .iter()
            .any(|one| one.key.starts_with("channel."))
    }

    /// The webhook of an account as it is registered at Jumper: the configured URL with the secret
    /// as last part of its path, unless it is in there already. A secret itself; `None` means that
    /// the gateway does not subscribe, or makes the secret itself.
    pub fn webhook_of(&self, account: &Account) -> Option<String> {
        let url = account.subscribed_callback_url.as_ref()?.expose_secret();
        let channel = self.channel_told(account)?;
        let secret = channel.webhook_secret.first();
        (secret.is_some() || channel.webhook_open)
            .then(|| registered(url, secret.map(ExposeSecret::expose_secret)))
    }

    /// The paths of the addresses that Jumper is told, without their secrets unless these are in the
    /// configured address, and the channel that each leads to.
    pub fn paths_told(&self) -> Vec<(String, ChannelId)> {
        let paths = self.accounts.iter().filter_map(|account| {
            let url = account.subscribed_callback_url.as_ref()?.expose_secret();
            Some((path(url).to_owned(), self.channel_told(account)?.id.clone()))
        });
        paths.filter(|(path, _)| !path.is_empty()).collect()
    }

    /// The channel whose webhook an account's address leads to: the one that it names, else the account's
    /// first.
    pub fn channel_told(&self, account: &Account) -> Option<&Channel> {
        let url = account.subscribed_callback_url.as_ref()?.expose_secret();
        let of_account = |one: &&Channel| one.account == account.id;
        let mut own = self.channels.iter().filter(of_account);
        match target(url) {
            Target::Channel(id) => own.find(|channel| channel.id.as_str() == id),
            Target::First | Target::Other => own.next(),
        }
    }
}
