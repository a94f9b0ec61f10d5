//! What a setting is, and the list of all of them.
//!
//! Each is declared once, in a file of `groups`: key, variable, type and bounds, default, meaning, and
//! how its value may be shown. Everything else comes from there: reading the layers, naming faults,
//! `gateway config`, `config/default.toml`, `.env.sample` and the table of `docs/configuration.md`.

use super::groups;
use super::{redis_url, show};
use std::sync::LazyLock;

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name in a configuration file and for `--set`: table, dot, key.
    pub key: &'static str,
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

    /// The setting of this key.
    pub fn named(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
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
            Show::Number => show::number(value),
            Show::Url => show::url(value),
            Show::Webhook => show::webhook(value),
            Show::Redis => redis_url::shown(value),
            Show::Secret => show::MASK.to_owned(),
        }
    }
}

/// The tables of a configuration file, in their order, and what each is about.
pub static TABLES: &[(&str, &str)] = &[
    ("", ""),
    ("http", "The public listener: MoEngage and Jumper call it."),
    (
        "moengage",
        "MoEngage: who may call us, and where statuses and replies go.",
    ),
    ("jumper", "Jumper: the account, its limits, its webhook."),
    (
        "policy",
        "What to do with failures and with a queue that grows.",
    ),
    ("breaker", "Stops claiming while Jumper is down."),
    ("inbound", "What people write to us."),
    (
        "store",
        "Where messages are kept: in a file of this machine, or in a Redis that several gateways share.",
    ),
    (
        "datastore",
        "Google Cloud Datastore, where records are kept too; used when a project is named.",
    ),
    (
        "ops",
        "The listener for operations: health, metrics, messages, pause. Never expose it to the internet.",
    ),
    ("log", "Logs, on standard error."),
    ("alerts", "Who is told when something needs a person."),
];

/// All settings, in the order in which they are shown.
pub static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let mut all: Vec<Setting> = groups::ALL.concat();
    all.sort_by_key(|setting| TABLES.iter().position(|(name, _)| *name == setting.table()));
    all
});

/// A variable of the old connector, or of a later version, that this version does not serve.
#[derive(Debug)]
pub(super) struct Unserved {
    /// Its name.
    pub(super) var: &'static str,
    /// What is so, and what to do.
    pub(super) advice: &'static str,
}

const fn ignored(var: &'static str, advice: &'static str) -> Unserved {
    Unserved { var, advice }
}

/// The variable that names the configuration file.
pub(super) const FILE_VAR: &str = "GATEWAY_CONFIG";

/// Variables that are known and not served. Their values are never shown.
pub(super) static UNSERVED: &[Unserved] = &[ignored(
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "has no effect: this version exports no traces",
)];

/// Whether a setting or anything else here reads this variable.
pub(super) fn is_known_variable(name: &str) -> bool {
    name == FILE_VAR
        || UNSERVED.iter().any(|unserved| unserved.var == name)
        || SETTINGS
            .iter()
            .any(|s| s.var == Some(name) || s.alias == Some(name))
}

/// Declares a group: a struct of checked values, the settings that they come from, and how they are
/// read. What a field means is told once, to readers of the code and of the documents alike.
macro_rules! settings {
    (
        $(#[doc = $about:literal])+
        struct $name:ident {
            $(names { $($(#[doc = $named:literal])+ $name_of:ident: $name_type:ty;)+ })?
            $($(#[doc = $text:literal])+ $field:ident: $type:ty = $read:expr, $setting:expr;)+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone)]
        pub struct $name {
            $($($(#[doc = $named])+ pub $name_of: $name_type,)+)?
            $($(#[doc = $text])+ pub $field: $type,)+
        }

        impl $name {
            /// What it is read from.
            pub(in crate::config) const SETTINGS: &[$crate::config::setting::Setting] =
                &[$($setting.text(concat!($($text),+))),+];

            /// Reads on after a fault, so that all of them are told; `None` only after one, or when a
            /// name is missing.
            pub(in crate::config) fn read(
                r: &mut $crate::config::reader::Reader<'_>,
                $($($name_of: Option<$name_type>,)+)?
            ) -> Option<Self> {
                $(let $field = $read(r, $setting.key);)+
                Some(Self {
                    $($($name_of: $name_of?,)+)?
                    $($field: $field?,)+
                })
            }
        }
    };
}
pub(super) use settings;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_name_is_given_twice() {
        let mut names = BTreeSet::new();
        for setting in SETTINGS.iter() {
            for name in [Some(setting.key), setting.var, setting.alias] {
                assert!(name.is_none_or(|name| names.insert(name)), "{name:?}");
            }
        }
        for setting in SETTINGS.iter() {
            let is_known = TABLES.iter().any(|(name, _)| *name == setting.table());
            assert!(is_known, "{}: no such table", setting.key);
        }
        for unserved in UNSERVED {
            assert!(names.insert(unserved.var), "{}", unserved.var);
        }
    }
}
