//! Accounts and channels: one of each from the settings, or as many as the file has tables of.
//!
//! Either way each is read by the same functions, from a map of its own: what its table says, above
//! what it inherits. With tables, settings of which each has its own must not be given elsewhere.

#[cfg(test)]
mod tests;

use super::Purpose;
use super::cross_checks;
use super::kind::Kind;
use super::layers::Layer;
use super::parse::{self, Bare, whole};
use super::raw::Given;
use super::reader::Reader;
use super::setting::Setting;
use super::tables::{Table, leaf};
use super::values::{Account, Channel};
use crate::domain::policy::Policy;
use crate::domain::{AccountId, BusinessNumber, ChannelId};
use crate::limit::Pace;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::time::Duration;

/// The name of the account and of the channel that the settings define.
const DEFAULT: &str = "default";

/// All accounts and all channels; never empty.
pub(super) type AccountsAndChannels = (Vec<Account>, Vec<Channel>);

/// Reads accounts and channels.
pub(super) fn read(r: &mut Reader<'_>, tables: &[Table]) -> Option<AccountsAndChannels> {
    let purpose = r.purpose;
    if !tables.is_empty() {
        // Only what is inherited is wanted here, and nothing of that is missing.
        r.purpose = Purpose::Client;
        refuse_beside(r, tables);
    }
    // In the order of the settings, which is the order of the faults.
    let door = door(r);
    let account = account(r, AccountId::parse(DEFAULT).ok());
    let policy = policy(r);
    r.purpose = purpose;
    if tables.is_empty() {
        let account = account?;
        let who = Who {
            id: ChannelId::parse(DEFAULT).ok()?,
            account: account.id.clone(),
            paused: false,
        };
        return Some((vec![account], vec![channel(who, door?, policy?)]));
    }
    let (mut accounts, mut channels) = (Vec::new(), Vec::new());
    for table in tables {
        let given = own_map(r.given, table);
        let mut reader = Reader {
            given: &given,
            table: Some(table),
            purpose,
            faults: &mut *r.faults,
        };
        match table.kind {
            Kind::Account => accounts.push((table, account_of(&mut reader, table))),
            Kind::Channel => channels.push((table, channel_of(&mut reader, table))),
        }
    }
    cross_checks::check(&accounts, &channels, r.faults);
    let accounts: Option<Vec<_>> = accounts.into_iter().map(|(_, one)| one).collect();
    let channels: Option<Vec<_>> = channels.into_iter().map(|(_, one)| one).collect();
    Some((accounts?, channels?))
}

/// What a table says, above what it inherits.
fn own_map(base: &BTreeMap<&'static str, Given>, table: &Table) -> BTreeMap<&'static str, Given> {
    let mut given = base.clone();
    given.retain(|key, _| !table.kind.own().contains(key));
    given.extend(table.said.iter().map(|(key, one)| (*key, one.clone())));
    given
}

/// One way or the other: a token that is set and opens nothing would mislead whoever set it.
fn refuse_beside(r: &mut Reader<'_>, tables: &[Table]) {
    let Some(first) = tables.first() else { return };
    for kind in [Kind::Account, Kind::Channel] {
        for key in kind.own() {
            let Some(given) = r.given.get(key) else {
                continue;
            };
            let by_variable = [Layer::Environment, Layer::DotEnv].contains(&given.layer);
            let var = Setting::named(key).and_then(|setting| setting.var);
            let named = |table: &Table| var.is_some_and(|var| table.names_variable(var));
            // A table may keep its value in the variable of that name.
            if by_variable && tables.iter().any(named) {
                continue;
            }
            let right = format!(
                "must not be given beside {} ({}): with tables, every account and channel has its \
                 own; move it to its [[{}]] as {}",
                first.name,
                first.line,
                kind.name(),
                leaf(key)
            );
            r.fault(key, right);
        }
    }
}

fn account_of(r: &mut Reader<'_>, table: &Table) -> Option<Account> {
    variables_are_set(r, table);
    let id = r.one("id", |text| {
        AccountId::parse(text).map_err(|e| e.to_string())
    });
    account(r, id)
}

fn channel_of(r: &mut Reader<'_>, table: &Table) -> Option<Channel> {
    variables_are_set(r, table);
    let id = r.one("id", |text| {
        ChannelId::parse(text).map_err(|e| e.to_string())
    });
    let account = r.one("account", |text| {
        AccountId::parse(text).map_err(|e| e.to_string())
    });
    let paused = r.maybe("paused", parse::switch);
    let (door, policy) = (door(r), policy(r));
    let who = Who {
        id: id?,
        account: account?,
        paused: paused?.unwrap_or(false),
    };
    Some(channel(who, door?, policy?))
}

fn variables_are_set(r: &mut Reader<'_>, table: &Table) {
    if r.purpose == Purpose::Serve {
        let unset = table.unset.iter().map(|unset| table.not_set(unset));
        r.faults.extend(unset);
    }
}

/// Which channel, and whether it stands.
struct Who {
    id: ChannelId,
    account: AccountId,
    paused: bool,
}

/// Who comes in by a channel, and where its callbacks go.
struct Door {
    callback_url: Option<String>,
    tokens: Vec<SecretString>,
    webhook_secret: Vec<SecretString>,
    webhook_open: bool,
    waba_number: Option<BusinessNumber>,
}

fn channel(who: Who, door: Door, (failure, max_queue): (Policy, Option<u64>)) -> Channel {
    Channel {
        id: who.id,
        account: who.account,
        paused: who.paused,
        callback_url: door.callback_url,
        tokens: door.tokens,
        webhook_secret: door.webhook_secret,
        webhook_open: door.webhook_open,
        waba_number: door.waba_number,
        failure,
        max_queue,
    }
}

fn door(r: &mut Reader<'_>) -> Option<Door> {
    let callback_url = r.served("moengage.callback_url", parse::url);
    let tokens = r.list("moengage.auth_against", parse::caller_token);
    if r.purpose == Purpose::Serve && tokens.as_ref().is_some_and(Vec::is_empty) {
        r.missing("moengage.auth_against");
    }
    r.long_enough(
        "moengage.auth_against",
        tokens.as_deref().unwrap_or_default(),
    );
    let webhook_secret = r.list("jumper.webhook_secret", parse::webhook_secret);
    let webhook_open = r.one("jumper.webhook_open", parse::switch);
    let waba_number = r.maybe("jumper.waba_number", parse::business_number);
    Some(Door {
        callback_url: callback_url?,
        tokens: tokens?,
        webhook_secret: webhook_secret?,
        webhook_open: webhook_open?,
        waba_number: waba_number?,
    })
}

fn account(r: &mut Reader<'_>, id: Option<AccountId>) -> Option<Account> {
    let api_url = r.one("jumper.api_url", parse::base_url);
    let basic_auth = r.served("jumper.basic_auth", parse::basic_auth);
    let seed_refresh_token = r.maybe("jumper.seed_refresh_token", parse::token);
    let subscribed_callback_url = r.maybe("jumper.subscribed_callback_url", |text| {
        parse::secret_url(text).and_then(cross_checks::with_free_path)
    });
    let per_second = r.one("jumper.rate_per_second", parse::rate);
    let concurrency = r.count("jumper.concurrent_api_calls");
    // The exactness of the limit rests on a tolerance this small (design.md G5).
    let exact = Duration::ZERO..=Duration::from_millis(5);
    let rate_tolerance = r.one("jumper.rate_tolerance", parse::time(exact, Bare::Refused));
    let connect_timeout = r.short("jumper.connect_timeout");
    let socket_timeout = r.millis("jumper.socket_timeout");
    let max_sockets = r.count("jumper.max_sockets");
    let max_free_sockets = r.one("jumper.max_free_sockets", whole(0..=1_000_000));
    let free_socket_keepalive = r.millis("jumper.free_socket_keepalive");
    let template_refresh = r.long("jumper.template_refresh");
    let subscription_check = r.long("jumper.subscription_check");
    Some(Account {
        id: id?,
        api_url: api_url?,
        basic_auth: basic_auth?,
        seed_refresh_token: seed_refresh_token?,
        subscribed_callback_url: subscribed_callback_url?,
        pace: Pace {
            per_second: per_second?,
            concurrency: concurrency?,
        },
        rate_tolerance: rate_tolerance?,
        connect_timeout: connect_timeout?,
        socket_timeout: socket_timeout?,
        max_sockets: max_sockets?,
        max_free_sockets: max_free_sockets?,
        free_socket_keepalive: free_socket_keepalive?,
        template_refresh: template_refresh?,
        subscription_check: subscription_check?,
    })
}

/// What a channel does with failures, and how many of its messages may wait.
fn policy(r: &mut Reader<'_>) -> Option<(Policy, Option<u64>)> {
    let ambiguous = r.one("policy.ambiguous_send", parse::ambiguous);
    let ambiguous_hold = r.long("policy.ambiguous_hold");
    let max_age = r.long("policy.max_age");
    let max_queue = r.one("policy.max_queue", parse::queue);
    let retryable_texts = r.list("policy.retryable_texts", |text| Ok(text.to_owned()));
    let policy = Policy {
        retryable_texts: retryable_texts?,
        ambiguous: ambiguous?,
        ambiguous_hold: ambiguous_hold?,
        max_age: max_age?,
    };
    Some((policy, max_queue?))
}
