//! Accounts and channels: one of each from the settings, or as many as the file has tables of.
//!
//! Either way each is read by the same functions, from a map of its own: what its table says, above
//! what it inherits. With tables, settings of which each has its own must not be given elsewhere.

#[cfg(test)]
mod tests;

use super::Purpose;
use super::cross_checks;
use super::groups::{Account, Channel};
use super::parse;
use super::raw::{Given, Layer};
use super::reader::Reader;
use super::setting::{Setting, setting};
use super::table::{Kind, Table, leaf};
use crate::domain::{AccountId, ChannelId};
use std::collections::BTreeMap;

/// The name of the account and of the channel that the settings define.
const DEFAULT: &str = "default";

/// What only tables have.
static ID: Setting = setting("id");
static ACCOUNT: Setting = setting("account");
static PAUSED: Setting = setting("paused");

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
    let of_all = AccountId::parse(DEFAULT).ok();
    let channel = Channel::read(
        r,
        ChannelId::parse(DEFAULT).ok(),
        of_all.clone(),
        Some(false),
    );
    let account = Account::read(r, of_all);
    r.purpose = purpose;
    if tables.is_empty() {
        return Some((vec![account?], vec![channel?]));
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
    given.retain(|key, _| !table.kind.own().any(|own| own == *key));
    given.extend(table.given.iter().map(|(key, one)| (*key, one.clone())));
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
            let var = given.setting.and_then(|setting| setting.var);
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
            if let Some(setting) = given.setting {
                r.fault(setting, right);
            }
        }
    }
}

fn account_of(r: &mut Reader<'_>, table: &Table) -> Option<Account> {
    variables_are_set(r, table);
    let id = r.one(&ID, |text| {
        AccountId::parse(text).map_err(|e| e.to_string())
    });
    Account::read(r, id)
}

fn channel_of(r: &mut Reader<'_>, table: &Table) -> Option<Channel> {
    variables_are_set(r, table);
    let id = r.one(&ID, |text| {
        ChannelId::parse(text).map_err(|e| e.to_string())
    });
    let account = r.one(&ACCOUNT, |text| {
        AccountId::parse(text).map_err(|e| e.to_string())
    });
    let paused = r.maybe(&PAUSED, parse::switch);
    let paused = paused.map(Option::unwrap_or_default);
    Channel::read(r, id, account, paused)
}

fn variables_are_set(r: &mut Reader<'_>, table: &Table) {
    if r.purpose == Purpose::Serve {
        let unset = table.unset.iter().map(|unset| table.not_set(unset));
        r.faults.extend(unset);
    }
}
