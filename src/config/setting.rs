//! What a setting is.
//!
//! Each is declared once, in a file of `groups`: key, variable, type and bounds, default, meaning, and
//! how its value may be shown. Everything else comes from there: reading the layers, naming faults,
//! `gateway config`, `config/default.toml`, `.env.sample` and the table of `docs/configuration.md`.

use super::{mask, redis_url};

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name in a configuration file and for `--set`: table, dot, key.
    pub key: &'static str,
    /// Its name in files of older versions, which is read too.
    pub was: Option<&'static str>,
    /// Its environment variable, if it has one.
    pub var: Option<&'static str>,
    /// A second spelling of the variable.
    pub alias: Option<&'static str>,
    /// What it means, with its unit.
    pub text: &'static str,
    /// What counts when nobody says anything.
    pub default: DefaultValue,
    /// A value as it may look, where there is no default.
    pub example: &'static str,
    /// Where the operator finds the value; empty where that needs no telling.
    pub source: &'static str,
    /// How an operator comes to set it.
    pub need: Need,
    /// Whether each account or channel has its own, which is never inherited.
    pub(super) is_own: bool,
    show: Show,
}

/// What counts when nobody says anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    /// Nothing: the setting is unset.
    Unset,
    /// One value, as text.
    One(&'static str),
    /// A list.
    Many(&'static [&'static str]),
}

/// How an operator comes to set it: the parts of `.env.sample`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Without it nothing is served, or not all of it.
    ToServe,
    /// The old connector has it, with the same meaning.
    OfOld,
    /// To change what this gateway does by itself.
    ToChange,
}

/// How much of a value may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    /// All of it.
    Plain,
    /// All but the middle digits.
    Number,
    /// All but credentials.
    Url,
    /// Our own webhook address: all but what may be the webhook secret.
    Webhook,
    /// The address of Redis: all but the password.
    Redis,
    /// Nothing.
    Secret,
}

/// A setting of this key, to be filled in.
pub(super) const fn setting(key: &'static str) -> Setting {
    Setting {
        key,
        was: None,
        var: None,
        alias: None,
        text: "",
        default: DefaultValue::Unset,
        example: "",
        source: "",
        need: Need::ToChange,
        is_own: false,
        show: Show::Plain,
    }
}

impl Setting {
    pub(super) const fn var(mut self, name: &'static str) -> Self {
        self.var = Some(name);
        self
    }

    pub(super) const fn was(mut self, key: &'static str) -> Self {
        self.was = Some(key);
        self
    }

    pub(super) const fn alias(mut self, name: &'static str) -> Self {
        self.alias = Some(name);
        self
    }

    pub(super) const fn text(mut self, text: &'static str) -> Self {
        self.text = text.trim_ascii();
        self
    }

    pub(super) const fn default(mut self, value: &'static str) -> Self {
        self.default = DefaultValue::One(value);
        self
    }

    pub(super) const fn list(mut self, values: &'static [&'static str]) -> Self {
        self.default = DefaultValue::Many(values);
        self
    }

    pub(super) const fn example(mut self, value: &'static str) -> Self {
        self.example = value;
        self
    }

    pub(super) const fn source(mut self, source: &'static str) -> Self {
        self.source = source;
        self
    }

    pub(super) const fn need(mut self, need: Need) -> Self {
        self.need = need;
        self
    }

    pub(super) const fn own(mut self) -> Self {
        self.is_own = true;
        self
    }

    pub(super) const fn show(mut self, show: Show) -> Self {
        self.show = show;
        self
    }

    /// The table that it stands in; empty for one that stands before all tables.
    pub fn table(&self) -> &'static str {
        self.key.split_once('.').map_or("", |(table, _)| table)
    }

    /// The name that an operator most likely knows it by.
    pub fn known_as(&self) -> &'static str {
        self.var.unwrap_or(self.key)
    }

    /// Whether the value holds a secret.
    pub(super) fn hides(&self, value: &str) -> bool {
        let may = !matches!(self.show, Show::Plain | Show::Number);
        may && self.shown(value) != value
    }

    /// The value as it may be printed.
    pub fn shown(&self, value: &str) -> String {
        match self.show {
            Show::Plain => value.to_owned(),
            Show::Number => mask::number(value),
            Show::Url => mask::url(value),
            Show::Webhook => mask::webhook(value),
            Show::Redis => redis_url::shown(value),
            Show::Secret => mask::MASK.to_owned(),
        }
    }
}
