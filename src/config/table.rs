//! One account or one channel of a configuration file, as it was written; nothing is judged.

use super::fault::Fault;
use super::raw::Given;
use std::collections::BTreeMap;

/// What a table is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Account,
    Channel,
}

impl Kind {
    /// The kind of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Account, Self::Channel]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Channel => "channel",
        }
    }
}

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
    pub(super) given: BTreeMap<&'static str, Given>,
    /// Keys whose variable is not set.
    pub(super) unset: Vec<Unset>,
    /// All variables that it names, with the keys that they are for.
    pub(super) vars: Vec<(&'static str, String)>,
}

/// A key that names a variable which is not set.
pub(super) struct Unset {
    pub(super) key: &'static str,
    pub(super) var: String,
    /// File and line of the key.
    pub(super) line: String,
}

impl Table {
    /// A fault about one of its values, or about one that is missing.
    pub(super) fn fault(&self, key: &str, right: impl Into<String>) -> Fault {
        let name = format!("{}.{}", self.name, leaf(key));
        match self.given.get(key) {
            Some(given) => Fault::new(name, &given.line, right).with_value(given.shown()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Else a key of one setting would be read as another's.
    #[test]
    fn each_key_of_an_account_or_a_channel_means_one_setting() {
        for kind in [Kind::Account, Kind::Channel] {
            let keys: Vec<_> = kind.keys().collect();
            let leaves: BTreeSet<_> = keys.iter().map(|key| leaf(key)).collect();
            assert_eq!(leaves.len(), keys.len(), "{keys:?}");
            assert!(keys.len() > 2);
        }
    }
}
