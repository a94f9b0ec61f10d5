//! What must agree between accounts and channels: names, who is let in where, whose events these
//! are. A tenant is a set of channels, so nothing may open more than its own.

use super::fault::Fault;
use super::groups::{Account, Channel};
use super::table::Table;
use super::webhook_path::{Target, path, target};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;

/// A table, and what was read from it when all of it is right.
type Read<'a, T> = (&'a Table, Option<T>);

/// Checks everything; what could not be read is left out of what needs it.
pub(super) fn check(
    accounts: &[Read<'_, Account>],
    channels: &[Read<'_, Channel>],
    faults: &mut Vec<Fault>,
) {
    names(accounts, faults);
    names(channels, faults);
    both_kinds(accounts, channels, faults);
    seeds(accounts, faults);
    callers(channels, faults);
    secrets(channels, faults);
    paths(accounts, faults);
    for (table, account) in accounts {
        if let Some(account) = account {
            webhook(table, account, channels, faults);
        }
    }
}

fn says<'a>(table: &'a Table, key: &str) -> Option<&'a str> {
    match &table.given.get(key)?.text {
        super::raw::Text::One(text) => Some(text),
        super::raw::Text::Many(_) => None,
    }
}

fn names<T>(tables: &[Read<'_, T>], faults: &mut Vec<Fault>) {
    let mut seen: BTreeMap<&str, &Table> = BTreeMap::new();
    for (table, _) in tables {
        let Some(id) = says(table, "id") else {
            continue;
        };
        if let Some(first) = seen.get(id) {
            let right = format!("must differ from the id at {}", first.line);
            faults.push(table.fault("id", right));
        } else {
            seen.insert(id, table);
        }
    }
}

fn both_kinds(
    accounts: &[Read<'_, Account>],
    channels: &[Read<'_, Channel>],
    faults: &mut Vec<Fault>,
) {
    let ids: Vec<_> = accounts.iter().filter_map(|(t, _)| says(t, "id")).collect();
    for (table, _) in channels {
        let account = says(table, "account");
        if account.is_some_and(|account| !ids.contains(&account)) {
            let known = match ids.as_slice() {
                [] => "there is none".to_owned(),
                ids => format!("known: {}", ids.join(", ")),
            };
            let right = format!("must be the id of an [[account]]; {known}");
            faults.push(table.fault("account", right));
        }
    }
    for (table, _) in accounts {
        let Some(id) = says(table, "id") else {
            continue;
        };
        if !channels
            .iter()
            .any(|(one, _)| says(one, "account") == Some(id))
        {
            let right = "needs a [[channel]] that names it as its account, or must go";
            faults.push(Fault::new(&table.name, &table.line, right));
        }
    }
}

/// Two accounts with one refresh token would end each other's tokens at every refresh.
fn seeds(accounts: &[Read<'_, Account>], faults: &mut Vec<Fault>) {
    let key = "jumper.seed_refresh_token";
    fn seed(one: &Account) -> &[SecretString] {
        one.seed_refresh_token.as_slice()
    }
    each_pair(accounts, |(first, a), (table, b)| {
        if a.api_url == b.api_url && shares(seed(a), seed(b)) {
            let right = format!(
                "must differ from that of {}: a refresh of the one would end the tokens of the \
                 other; one account may have many channels",
                first.name
            );
            faults.push(table.fault(key, right));
        }
    });
}

/// MoEngage's `from` must tell the channels of one token apart.
fn callers(channels: &[Read<'_, Channel>], faults: &mut Vec<Fault>) {
    each_pair(channels, |(first, a), (table, b)| {
        let same = |token: &SecretString| {
            let mut others = b.tokens.iter();
            others.any(|other| other.expose_secret() == token.expose_secret())
        };
        let overlap = match (&a.waba_number, &b.waba_number) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        if overlap && a.tokens.iter().any(same) {
            let right = format!(
                "must hold no token of {}, or both need a waba_number of their own: by the token \
                 and MoEngage's `from` alone they cannot be told apart",
                first.name
            );
            faults.push(table.fault("moengage.auth_against", right));
        }
    });
}

/// The secret of a webhook says whose events these are.
fn secrets(channels: &[Read<'_, Channel>], faults: &mut Vec<Fault>) {
    each_pair(channels, |(first, a), (table, b)| {
        if a.account != b.account && shares(&a.webhook_secret, &b.webhook_secret) {
            let right = format!(
                "must differ from that of {}, which is on another account",
                first.name
            );
            faults.push(table.fault("jumper.webhook_secret", right));
        }
    });
}

/// Paths of the operator's own are served as they are: each says whose events come there.
fn paths(accounts: &[Read<'_, Account>], faults: &mut Vec<Fault>) {
    fn own(account: &Account) -> Option<&str> {
        let url = account.subscribed_callback_url.as_ref()?.expose_secret();
        (target(url) == Target::Other).then(|| path(url))
    }
    each_pair(accounts, |(first, a), (table, b)| {
        let same = own(a).is_some_and(|path| !path.is_empty() && own(b) == Some(path));
        if same {
            let right = format!("must have another path than that of {}", first.name);
            faults.push(table.fault("jumper.subscribed_callback_url", right));
        }
    });
}

/// What Jumper is told must lead to a channel of this account: its events count nowhere else.
fn webhook(
    table: &Table,
    account: &Account,
    channels: &[Read<'_, Channel>],
    faults: &mut Vec<Fault>,
) {
    let key = "jumper.subscribed_callback_url";
    let Some(url) = &account.subscribed_callback_url else {
        return;
    };
    let of_account = |one: &&Channel| one.account == account.id;
    let known = || channels.iter().filter_map(|(_, one)| one.as_ref());
    let own: Vec<_> = known().filter(of_account).map(|c| c.id.as_str()).collect();
    let leads_to = match target(url.expose_secret()) {
        Target::Channel(id) => Some(id),
        // The routes without a channel are those of the first one.
        Target::First => match channels.first() {
            Some((_, Some(first))) => Some(first.id.as_str()),
            _ => return,
        },
        // Behind a proxy of one's own the path may be anything.
        Target::Other => None,
    };
    // One without channels was told, and one whose channels cannot be read may be right.
    let unread = own.is_empty() || channels.iter().any(|(_, one)| one.is_none());
    if leads_to.is_some_and(|id| !own.contains(&id)) && !unread {
        let right = format!(
            "must lead to a channel of this account, with the path /channels/<id>/callback; its \
             channels: {}",
            own.join(", ")
        );
        faults.push(table.fault(key, right));
    }
}

fn shares(a: &[SecretString], b: &[SecretString]) -> bool {
    let same = |one: &SecretString| {
        let mut b = b.iter();
        b.any(|other| other.expose_secret() == one.expose_secret())
    };
    a.iter().any(same)
}

/// Every two of them, the earlier first.
fn each_pair<T>(all: &[Read<'_, T>], mut look: impl FnMut((&Table, &T), (&Table, &T))) {
    let read: Vec<_> = all
        .iter()
        .filter_map(|(table, one)| Some((*table, one.as_ref()?)))
        .collect();
    for (place, second) in read.iter().enumerate() {
        for first in &read[..place] {
            look(*first, *second);
        }
    }
}
