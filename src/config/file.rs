//! Reads a configuration file: TOML text in, settings with their lines out.
//!
//! Every mistake is a fault with its line; reading goes on after it. Values of unknown keys are not
//! repeated, because they may be secrets in the wrong place.

use super::fault::Fault;
use super::layers::{Given, Layer, Text};
use super::setting::{SETTINGS, Setting};
use std::collections::BTreeSet;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Reads `text`; `name` is how faults call the file.
pub(super) fn read(
    text: &str,
    name: &str,
    layer: Layer,
    faults: &mut Vec<Fault>,
) -> Vec<(&'static str, Given)> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader {
        text,
        name,
        layer,
        broken: BTreeSet::new(),
        found: Vec::new(),
        faults,
    };
    for error in errors {
        let line = reader.line(error.span().map_or(0, |span| span.start));
        // What follows on a broken line is guesswork, and so are further complaints about it.
        if reader.broken.insert(line) {
            let place = format_args!("{name}:{line}");
            let message = error.message().lines().next().unwrap_or_default();
            let fault = Fault::new("TOML", place, format!("must be readable: {message}"));
            reader.faults.push(fault);
        }
    }
    reader.table("", table.get_ref());
    reader.found
}

struct Reader<'a> {
    text: &'a str,
    name: &'a str,
    layer: Layer,
    broken: BTreeSet<usize>,
    found: Vec<(&'static str, Given)>,
    faults: &'a mut Vec<Fault>,
}

impl Reader<'_> {
    /// The line of an offset, counted from 1.
    fn line(&self, offset: usize) -> usize {
        let before = self.text.bytes().take(offset);
        before.filter(|byte| *byte == b'\n').count() + 1
    }

    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let line = self.line(key.span().start);
            if self.broken.contains(&line) {
                continue;
            }
            let path = format!("{prefix}{}", key.get_ref());
            let inner = format!("{path}.");
            match (Setting::named(&path), value.get_ref()) {
                (Some(setting), _) => self.setting(setting, value, line),
                (None, DeValue::Table(table))
                    if SETTINGS.iter().any(|s| s.key.starts_with(&inner)) =>
                {
                    self.table(&inner, table);
                }
                (None, _) => {
                    let place = format_args!("{}:{line}", self.name);
                    self.faults.push(Fault::new(&path, place, unknown(&path)));
                }
            }
        }
    }

    fn setting(&mut self, setting: &'static Setting, value: &Spanned<DeValue<'_>>, line: usize) {
        let given = |text| Given {
            text,
            layer: self.layer,
            line: format!("{}:{line}", self.name),
        };
        let text = match value.get_ref() {
            DeValue::Array(items) => items
                .iter()
                .map(|item| scalar(item.get_ref()))
                .collect::<Option<_>>()
                .map(Text::Many),
            value => scalar(value).map(Text::One),
        };
        match text {
            Some(text) => self.found.push((setting.key, given(text))),
            None => {
                let place = format_args!("{}:{line}", self.name);
                let right = "must be a text, a number, true, false, or a list of texts";
                self.faults.push(Fault::new(setting.key, place, right));
            }
        }
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.trim().to_owned()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(switch) => Some(switch.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// What would be right in place of a key that no setting has.
pub(super) fn unknown(key: &str) -> String {
    let leaf = key.rsplit('.').next().unwrap_or(key);
    let meant = SETTINGS.iter().find(|setting| {
        setting.key.rsplit('.').next() == Some(leaf)
            || [setting.var, setting.alias]
                .iter()
                .flatten()
                .any(|name| name.eq_ignore_ascii_case(leaf))
    });
    match meant {
        Some(setting) => format!("must be a known key; did you mean {}?", setting.key),
        None => "must be a known key; config/default.toml lists them all".to_owned(),
    }
}
