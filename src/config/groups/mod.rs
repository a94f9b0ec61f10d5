//! The groups of settings, each declared in its own file: what they mean, their types and bounds,
//! defaults, variables. A new setting is one more field there; the documents are written from it
//! (`UPDATE_DOCS=1 cargo tidy`).

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
            pub(in crate::config) const SETTINGS: &[Setting] =
                &[$($setting.text(concat!($($text),+))),+];

            /// Reads on after a fault, so that all of them are told; `None` only after one, or when a
            /// name is missing.
            pub(in crate::config) fn read(
                r: &mut Reader<'_>,
                $($($name_of: Option<$name_type>,)+)?
            ) -> Option<Self> {
                $(let $field = {
                    const ONE: Setting = $setting;
                    $read(r, &ONE)
                };)+
                Some(Self {
                    $($($name_of: $name_of?,)+)?
                    $($field: $field?,)+
                })
            }
        }
    };
}

mod account;
mod channel;
pub(super) mod datastore;
mod http;
pub(super) mod inbound;
mod moengage;
mod ops;
mod policy;
mod store;

pub use account::Account;
pub use channel::Channel;
pub use datastore::Datastore;
pub use http::{Http, Process};
pub use inbound::Inbound;
pub use moengage::{Moengage, TimestampUnit};
pub use ops::{Alerts, Log, LogFormat, Ops};
pub use policy::{Breaker, Failures};
pub use store::Store;

use super::setting::Setting;
use std::sync::LazyLock;

/// The settings of all groups.
const ALL: [&[Setting]; 13] = [
    Process::SETTINGS,
    Http::SETTINGS,
    Channel::SETTINGS,
    Moengage::SETTINGS,
    Account::SETTINGS,
    Failures::SETTINGS,
    Breaker::SETTINGS,
    Inbound::SETTINGS,
    Store::SETTINGS,
    Datastore::SETTINGS,
    Ops::SETTINGS,
    Log::SETTINGS,
    Alerts::SETTINGS,
];

/// The tables of a configuration file, in their order, and what each is about.
pub static TABLES: &[(&str, &str)] = &[
    ("", ""),
    ("http", "The public listener: MoEngage and Jumper call it."),
    (
        "moengage",
        "MoEngage: who may call us, and where statuses and replies go.",
    ),
    (
        "sending",
        "How messages are sent: through whom, from which number, how fast.",
    ),
    ("jumper", "Jumper: its credentials, its webhook."),
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
    let mut all: Vec<Setting> = ALL.concat();
    all.sort_by_key(|setting| TABLES.iter().position(|(name, _)| *name == setting.table()));
    all
});

impl Setting {
    /// The setting of this key, or of one that it had in an older version.
    pub fn named(key: &str) -> Option<&'static Self> {
        let mut all = SETTINGS.iter();
        all.find(|setting| setting.key == key || setting.was == Some(key))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_name_is_given_twice() {
        let mut names = BTreeSet::new();
        for setting in SETTINGS.iter() {
            for name in [Some(setting.key), setting.was, setting.var, setting.alias] {
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
