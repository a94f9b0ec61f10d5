//! Which settings of the gateways were not the defaults, by what they were really started with.

use crate::fault::plan::Class;
use crate::kit::harness::Setup;
use moengage_whatsapp_gateway::config::{DefaultValue, SETTINGS, Setting};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The most values of one setting that are listed one by one.
const LISTED: usize = 4;

/// A setting and a value that is not its default.
pub(crate) type Pair = (String, String);

/// What these gateways were started with, but for places on this machine and for what has no default.
pub(crate) fn of(setups: &[Setup]) -> BTreeSet<Pair> {
    let defaults = defaults();
    let mut pairs = BTreeSet::new();
    for setup in setups {
        let env = setup.env.iter().filter_map(|(var, value)| {
            let of_var = SETTINGS.iter().find(|one| one.var == Some(var));
            of_var.map(|one| (one.key.to_owned(), value.clone()))
        });
        let set = setup.set.iter().filter_map(|pair| pair.split_once('='));
        let set = set.map(|(key, value)| (key.to_owned(), value.to_owned()));
        for (key, value) in env.chain(set) {
            // Runs use names that older releases know; a table shows those of today.
            let key = Setting::named(&key).map_or(key, |setting| setting.key.to_owned());
            let differs = defaults
                .get(key.as_str())
                .is_some_and(|default| *default != value);
            if differs && !is_place(&value) {
                pairs.insert((key, value));
            }
        }
    }
    pairs
}

/// Whether a value is an address or a folder of this machine.
fn is_place(value: &str) -> bool {
    value.contains("127.0.0.1") || value.starts_with('/')
}

/// The defaults that are one value; lists are none of a run's settings.
fn defaults() -> BTreeMap<&'static str, &'static str> {
    let one = |setting: &'static Setting| match setting.default {
        DefaultValue::One(text) => Some((setting.key, text)),
        DefaultValue::Unset | DefaultValue::Many(_) => None,
    };
    SETTINGS.iter().filter_map(one).collect()
}

/// All runs' settings.
#[derive(Default)]
pub(crate) struct Used {
    classes: BTreeSet<Class>,
    by_key: BTreeMap<String, BTreeMap<String, BTreeSet<Class>>>,
}

impl Used {
    pub(crate) fn add(&mut self, class: Class, pairs: &BTreeSet<Pair>) {
        self.classes.insert(class);
        for (key, value) in pairs {
            let values = self.by_key.entry(key.clone()).or_default();
            values.entry(value.clone()).or_default().insert(class);
        }
    }

    /// A row for each setting.
    pub(crate) fn text(&self) -> String {
        let defaults = defaults();
        let mut text = String::from("| setting | default | here | in |\n|---|---|---|---|\n");
        for (key, values) in &self.by_key {
            let names: Vec<&str> = values.keys().map(String::as_str).collect();
            let here = match names.len() {
                0..=LISTED => names.join(", "),
                many => format!("{many} values, such as {}", names[..LISTED].join(", ")),
            };
            let classes: BTreeSet<&Class> = values.values().flatten().collect();
            let classes: Vec<&str> = match classes.len() == self.classes.len() {
                true => vec!["all"],
                false => classes.iter().map(|class| class.name()).collect(),
            };
            let default = defaults.get(key.as_str()).copied().unwrap_or_default();
            // Writing to a text does not fail.
            let _ = writeln!(
                text,
                "| `{key}` | {default} | {here} | {} |",
                classes.join(", ")
            );
        }
        text
    }
}
