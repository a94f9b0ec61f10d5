//! What is in force, fit to be shown.

use super::Effective;
use super::groups::SETTINGS;
use super::raw::Given;
use super::table::{Table, leaf};
use std::collections::BTreeMap;

/// Every setting as it is in force, then what the tables say.
pub(super) fn effective(given: &BTreeMap<&'static str, Given>, tables: &[Table]) -> Vec<Effective> {
    let settings = SETTINGS.iter().map(|setting| Effective {
        key: setting.key.to_owned(),
        var: setting.var.map(str::to_owned),
        value: given
            .get(setting.key)
            .map(|given| (given.shown(), given.layer)),
    });
    settings.chain(tables.iter().flat_map(of_table)).collect()
}

fn of_table(table: &Table) -> impl Iterator<Item = Effective> {
    table.given.iter().map(|(key, given)| Effective {
        key: format!("{}.{}", table.name, leaf(key)),
        var: table.var(key).map(str::to_owned),
        value: Some((given.shown(), given.layer)),
    })
}
