//! Reads a configuration file: TOML text in, settings with their lines out.
//!
//! Every mistake is a fault with its line; reading goes on after it, unless it is no TOML. Values of unknown keys are not
//! repeated, because they may be secrets in the wrong place.

use super::fault::Fault;
use super::groups::SETTINGS;
use super::raw::{Given, Layer, Text};
use super::setting::Setting;
use super::similar;
use super::table::{Kind, Table};
use super::tables::{Lookup, TableReader, scalar};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A file to be read.
pub(super) struct File<'a> {
    pub(super) text: &'a str,
    /// How faults call it.
    pub(super) name: &'a str,
    /// What variables say, for values that are kept in one.
    pub(super) lookup: Lookup<'a>,
}

/// What a file says: settings, accounts and channels.
pub(super) type Contents = (Vec<(&'static str, Given)>, Vec<Table>);

/// Reads a file; a text that is no TOML is one fault and says nothing else.
pub(super) fn read(file: &File<'_>, faults: &mut Vec<Fault>) -> Result<Contents, Fault> {
    let (table, errors) = DeTable::parse_recoverable(file.text);
    let name = file.name;
    let bytes = file.text.bytes().enumerate();
    let ends = bytes.filter(|(_, byte)| *byte == b'\n');
    let mut reader = Reader {
        file,
        line_ends: ends.map(|(at, _)| at).collect(),
        found: Vec::new(),
        tables: Vec::new(),
        faults,
    };
    // What follows on the first of them is guesswork, and so is what was read. They come in no order.
    let place = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
    if let Some(error) = errors.iter().min_by_key(|error| place(error)) {
        let line = reader.line(place(error));
        let message = error.message().lines().next().unwrap_or_default();
        let right = format!("cannot be read as TOML: {message}; the rest is not checked yet");
        return Err(Fault::new("TOML", format_args!("{name}:{line}"), right));
    }
    reader.table("", table.get_ref());
    Ok((reader.found, reader.tables))
}

struct Reader<'a> {
    file: &'a File<'a>,
    /// Where the lines end, so that no key counts them anew.
    line_ends: Vec<usize>,
    found: Vec<(&'static str, Given)>,
    tables: Vec<Table>,
    faults: &'a mut Vec<Fault>,
}

impl Reader<'_> {
    /// The line of an offset, counted from 1.
    fn line(&self, offset: usize) -> usize {
        self.line_ends.partition_point(|end| *end < offset) + 1
    }

    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let line = self.line(key.span().start);
            let path = format!("{prefix}{}", key.get_ref());
            let inner = format!("{path}.");
            if let Some(kind) = Kind::named(&path) {
                self.tables(kind, value, line);
                continue;
            }
            match (Setting::named(&path), value.get_ref()) {
                (Some(setting), _) => self.setting(setting, value, line),
                (None, DeValue::Table(table))
                    if SETTINGS.iter().any(|s| s.key.starts_with(&inner)) =>
                {
                    self.table(&inner, table);
                }
                (None, _) => {
                    let place = format_args!("{}:{line}", self.file.name);
                    self.faults.push(Fault::new(&path, place, unknown(&path)));
                }
            }
        }
    }

    fn tables(&mut self, kind: Kind, value: &Spanned<DeValue<'_>>, line: usize) {
        let (name, this) = (self.file.name, &*self);
        let lines = |offset| format!("{name}:{}", this.line(offset));
        let mut faults = Vec::new();
        let mut reader = TableReader {
            line: &lines,
            lookup: self.file.lookup,
            faults: &mut faults,
        };
        let tables = reader.all(kind, value, &format!("{name}:{line}"));
        self.tables.extend(tables);
        self.faults.extend(faults);
    }

    fn setting(&mut self, setting: &'static Setting, value: &Spanned<DeValue<'_>>, line: usize) {
        let given = |text| Given {
            setting: Some(setting),
            text,
            layer: Layer::File,
            line: format!("{}:{line}", self.file.name),
        };
        let text = match value.get_ref() {
            DeValue::Array(items) => items
                .iter()
                .map(|item| scalar(item.get_ref()))
                .collect::<Option<_>>()
                .map(Text::Many),
            value => scalar(value).map(Text::One),
        };
        if self.found.iter().any(|(key, _)| *key == setting.key) {
            let place = format_args!("{}:{line}", self.file.name);
            let right = format!(
                "is given twice: {} is its older name; keep one of them",
                setting.was.unwrap_or_default()
            );
            self.faults.push(Fault::new(setting.key, place, right));
        }
        match text {
            Some(text) => self.found.push((setting.key, given(text))),
            None => {
                let place = format_args!("{}:{line}", self.file.name);
                let right = "must be a text, a number, true, false, or a list of texts";
                self.faults.push(Fault::new(setting.key, place, right));
            }
        }
    }
}

/// What would be right in place of a key that no setting has.
pub(super) fn unknown(key: &str) -> String {
    match similar::key(key) {
        Some(meant) => format!("unknown setting; did you mean {meant}?"),
        None => "unknown setting; config/default.toml lists them all".to_owned(),
    }
}
