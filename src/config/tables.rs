//! `[[account]]` and `[[channel]]` of a configuration file, as text with lines; nothing is judged.
//!
//! A key has the name of the setting that it says for this one account or channel, so that
//! everything known of the setting holds for it: its type, its bounds, how it may be shown. A value
//! may be `{ env = "NAME" }`: then it is what that variable says, in the environment or in `.env`.

use super::fault::Fault;
use super::raw::{Given, Layer, Text, unwrapped};
use super::setting::Setting;
use super::similar;
use super::table::{Kind, Table, Unset, leaf};
use crate::domain::AccountId;
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What a variable says, and where it was found.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<(String, Layer)>;

/// Reads the tables of a file.
pub(super) struct TableReader<'a> {
    /// The line of an offset.
    pub(super) line: &'a dyn Fn(usize) -> String,
    pub(super) lookup: Lookup<'a>,
    pub(super) faults: &'a mut Vec<Fault>,
}

impl TableReader<'_> {
    /// Reads what stands behind `account` or `channel`; `at` is the line of the key.
    pub(super) fn all(&mut self, kind: Kind, value: &Spanned<DeValue<'_>>, at: &str) -> Vec<Table> {
        let name = kind.name();
        let DeValue::Array(items) = value.get_ref() else {
            let right = format!("must be written as [[{name}]], with two brackets");
            self.faults.push(Fault::new(name, at, right));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (place, item) in items.iter().enumerate() {
            let line = (self.line)(item.span().start);
            match item.get_ref() {
                DeValue::Table(table) => tables.push(self.one(kind, place + 1, table, line)),
                _ => {
                    let right = format!("must be tables, each written as [[{name}]]");
                    self.faults.push(Fault::new(name, line, right));
                }
            }
        }
        tables
    }

    fn one(&mut self, kind: Kind, place: usize, table: &DeTable<'_>, line: String) -> Table {
        let mut read = Table {
            kind,
            name: name(kind, place, table),
            line,
            given: BTreeMap::new(),
            unset: Vec::new(),
            vars: Vec::new(),
        };
        for (key, value) in table {
            let line = (self.line)(key.span().start);
            let written = key.get_ref().as_ref();
            match kind.keys().find(|known| leaf(known) == written) {
                Some(key) => self.key(&mut read, key, value, line),
                None => {
                    let name = format!("{}.{written}", read.name);
                    self.faults
                        .push(Fault::new(name, line, unknown(kind, written)));
                }
            }
        }
        read
    }

    fn key(
        &mut self,
        table: &mut Table,
        key: &'static str,
        value: &Spanned<DeValue<'_>>,
        line: String,
    ) {
        let mut layer = Layer::File;
        let (mut missing, mut quoted) = (Vec::new(), false);
        let mut text = |value: &DeValue<'_>| {
            let Some(var) = variable(value) else {
                return scalar(value);
            };
            table.vars.push((key, var.to_owned()));
            let Some((text, from)) = (self.lookup)(var) else {
                missing.push(var.to_owned());
                return Some(String::new());
            };
            layer = from;
            quoted |= unwrapped(&text).is_some();
            Some(text)
        };
        let read = match value.get_ref() {
            DeValue::Array(items) => {
                let items = items.iter().map(|item| text(item.get_ref()));
                items.collect::<Option<_>>().map(Text::Many)
            }
            value => text(value).map(Text::One),
        };
        for var in missing {
            let line = line.clone();
            table.unset.push(Unset { key, var, line });
        }
        if quoted {
            let name = format!("{}.{}", table.name, leaf(key));
            let right = "must come without quotes around it in its variable";
            self.faults.push(Fault::new(name, &line, right));
        }
        match read {
            // What is blank says nothing.
            Some(text) if text.is_blank() => {}
            Some(text) => {
                let setting = Setting::named(key);
                let given = Given {
                    setting,
                    text,
                    layer,
                    line,
                };
                table.given.insert(key, given);
            }
            None => {
                let name = format!("{}.{}", table.name, leaf(key));
                let right = "must be a text, a number, true, false, { env = \"NAME\" }, or a list";
                self.faults.push(Fault::new(name, line, right));
            }
        }
    }
}

/// `account.acme`, or `account[2]` while it has no usable name.
fn name(kind: Kind, place: usize, table: &DeTable<'_>) -> String {
    let id = table.iter().find(|(key, _)| key.get_ref().as_ref() == "id");
    let id = id.and_then(|(_, value)| value.get_ref().as_str());
    match id.filter(|id| AccountId::parse(id).is_ok()) {
        Some(id) => format!("{}.{id}", kind.name()),
        None => format!("{}[{place}]", kind.name()),
    }
}

/// The variable that `{ env = "NAME" }` names.
fn variable<'a>(value: &'a DeValue<'_>) -> Option<&'a str> {
    let DeValue::Table(table) = value else {
        return None;
    };
    let mut entries = table.iter();
    let (key, value) = entries.next()?;
    let alone = entries.next().is_none() && key.get_ref().as_ref() == "env";
    value
        .get_ref()
        .as_str()
        .filter(|name| alone && !name.is_empty())
}

fn unknown(kind: Kind, written: &str) -> String {
    let other = match kind {
        Kind::Account => Kind::Channel,
        Kind::Channel => Kind::Account,
    };
    let has = |kind: Kind| kind.keys().any(|known| leaf(known) == written);
    if has(other) {
        return format!("must stand in a [[{}]], not here", other.name());
    }
    if let Some(meant) = similar::meant(written, kind.keys().map(leaf)) {
        return format!(
            "unknown setting of [[{}]]; did you mean {meant}?",
            kind.name()
        );
    }
    let all: Vec<_> = kind.keys().map(leaf).collect();
    format!(
        "unknown setting of [[{}]]; it may have: {}",
        kind.name(),
        all.join(", ")
    )
}

/// A value that is no list, as text.
pub(super) fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.trim().to_owned()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(switch) => Some(switch.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
