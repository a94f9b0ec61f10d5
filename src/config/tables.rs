//! `[[account]]` and `[[channel]]` of a configuration file, as text with lines; nothing is judged.
//!
//! A key has the name of the setting that it says for this one account or channel, so that
//! everything known of the setting holds for it: its type, its bounds, how it may be shown. A value
//! may be `{ env = "NAME" }`: then it is what that variable says, in the environment or in `.env`.

use super::fault::Fault;
use super::kind::Kind;
use super::layers::{Layer, unwrapped};
use super::raw::{Given, Text};
use super::setting::Setting;
use super::similar;
use crate::domain::AccountId;
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The key as it is written in a table.
pub(super) fn leaf(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// One account or one channel, as it was written.
pub(super) struct Table {
    pub(super) kind: Kind,
    /// What it is called in faults: `account.acme`, or `account[2]` while it has no name.
    pub(super) name: String,
    /// File and line of its head.
    pub(super) line: String,
    /// What it says, by the key of the setting that is meant; `id`, `account` and `paused` by
    /// their own names.
    pub(super) said: BTreeMap<&'static str, Given>,
    /// Keys whose variable is not set.
    pub(super) unset: Vec<Unset>,
    /// All variables that it names, with the keys that they are for.
    pub(super) vars: Vec<(&'static str, String)>,
}

/// A key that names a variable which is not set.
pub(super) struct Unset {
    pub(super) key: &'static str,
    pub(super) var: String,
    line: String,
}

impl Table {
    /// A fault about one of its values, or about one that is missing.
    pub(super) fn fault(&self, key: &str, right: impl Into<String>) -> Fault {
        let name = format!("{}.{}", self.name, leaf(key));
        match self.said.get(key) {
            Some(given) => Fault::new(name, &given.line, right).with_value(shown(key, &given.text)),
            None => Fault::new(name, &self.line, right),
        }
    }

    /// The variable that a key takes its value from.
    pub(super) fn var(&self, key: &str) -> Option<&str> {
        let mut vars = self.vars.iter();
        vars.find(|(known, _)| *known == key)
            .map(|(_, var)| var.as_str())
    }

    /// Whether it takes a value from this variable.
    pub(super) fn names_variable(&self, var: &str) -> bool {
        self.vars.iter().any(|(_, known)| known == var)
    }

    /// A fault about a variable that is not set.
    pub(super) fn not_set(&self, unset: &Unset) -> Fault {
        let name = format!("{}.{}", self.name, leaf(unset.key));
        let right = format!("needs the variable {}, which is not set", unset.var);
        Fault::new(name, &unset.line, right)
    }
}

/// A value as it may be printed.
pub(super) fn shown(key: &str, text: &Text) -> String {
    let joined = text.joined();
    Setting::named(key).map_or(joined.clone(), |setting| setting.shown(&joined))
}

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
            said: BTreeMap::new(),
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
                return super::file::scalar(value);
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
            Some(text) => drop(table.said.insert(key, Given { text, layer, line })),
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
