//! The layers and their order: built-in < file < `.env` < environment < flags.
//!
//! [`Sources`] holds what the layers said, as text; [`Sources::read`] and [`read`] alone touch the
//! environment and files. Everything below them is pure. `.env` is never put into the environment
//! of the process, so it cannot override anything there.

use super::dotenv;
use super::fault::{Fault, Faults};
use super::file::{self, File};
use super::groups::{FILE_VAR, SETTINGS, is_known_variable};
use super::own;
use super::raw::{Given, Layer, Text, unwrapped};
use super::setting::{DefaultValue, Setting};
use super::table::Table;
use super::tables;
use super::{Config, Purpose};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What each layer says, before anything is checked.
#[derive(Clone, Default)]
pub struct Sources {
    /// The variables of the process.
    pub env: BTreeMap<String, String>,
    /// The variables of `.env`.
    pub dotenv: BTreeMap<String, String>,
    /// The configuration file: its path and its text.
    pub file: Option<(PathBuf, String)>,
    /// `--set` flags as key and value, in the order given; the last one of a key counts.
    pub flags: Vec<(String, String)>,
    /// The files that were read.
    pub read: Vec<PathBuf>,
    /// Of the files, those that every user of this machine may read.
    pub open: BTreeSet<Layer>,
}

impl fmt::Debug for Sources {
    /// Nothing is known to be harmless here yet.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

impl Sources {
    /// Reads the environment, `.env` and the file that `GATEWAY_CONFIG` names.
    pub fn read(flags: Vec<(String, String)>) -> Result<Self, Faults> {
        let (sources, faults) = gather(flags);
        if faults.is_empty() {
            Ok(sources)
        } else {
            Err(Faults(faults))
        }
    }

    fn note_read(&mut self, layer: Layer, path: &str, is_open: bool) {
        // Whole, because the working directory is what an operator may be wrong about.
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.into());
        self.read.push(whole);
        if is_open {
            self.open.insert(layer);
        }
    }

    /// What a variable says, if it says anything: the environment before `.env`.
    pub(super) fn variable(&self, name: &str) -> Option<(String, Layer)> {
        let layers = [
            (&self.env, Layer::Environment),
            (&self.dotenv, Layer::DotEnv),
        ];
        layers.into_iter().find_map(|(variables, layer)| {
            let value = variables.get(name)?.trim();
            (!value.is_empty()).then(|| (value.to_owned(), layer))
        })
    }
}

/// Reads all layers and checks them; a file that cannot be read does not hide the other faults.
pub fn read(flags: Vec<(String, String)>, purpose: Purpose) -> Result<Config, Faults> {
    let (sources, mut faults) = gather(flags);
    match super::load(&sources, purpose) {
        Ok(config) if faults.is_empty() => Ok(config),
        Ok(_) => Err(Faults(faults)),
        Err(Faults(more)) => {
            faults.extend(more);
            Err(Faults(faults))
        }
    }
}

/// A directory for what may be lost, not made yet; `name` tells whose it is.
pub fn scratch_dir(name: &str) -> PathBuf {
    std::env::temp_dir().join(name)
}

/// The program as it was called, for command lines that are shown.
pub fn program() -> String {
    std::env::args()
        .next()
        .unwrap_or_else(|| "gateway".to_owned())
}

fn gather(flags: Vec<(String, String)>) -> (Sources, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut sources = Sources {
        flags,
        ..Sources::default()
    };
    for (name, value) in std::env::vars_os() {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => drop(sources.env.insert(name, value)),
            (Ok(name), Err(_)) if is_known_variable(&name) => {
                faults.push(Fault::new(name, Layer::Environment, "must be UTF-8"));
            }
            _ => {}
        }
    }
    match own::read(Path::new(dotenv::FILE)) {
        Ok((text, is_open)) => {
            let (variables, bad) = dotenv::read(&text);
            sources.dotenv = variables;
            faults.extend(bad);
            sources.note_read(Layer::DotEnv, dotenv::FILE, is_open);
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => {
            let cure = "or start where there is none, with the settings as environment variables";
            let why = format_args!("{error}; {cure}");
            faults.push(unreadable(dotenv::FILE, "working directory", why));
        }
    }
    if let Some((path, layer)) = sources.variable(FILE_VAR) {
        match own::read(Path::new(&path)) {
            Ok((text, is_open)) => {
                sources.note_read(Layer::File, &path, is_open);
                sources.file = Some((path.into(), text));
            }
            Err(error) => {
                faults.push(unreadable(FILE_VAR, layer, error).with_value(path));
            }
        }
    }
    (sources, faults)
}

fn unreadable(name: &str, place: impl fmt::Display, why: impl fmt::Display) -> Fault {
    let right = format!("must be a file that can be read and trusted: {why}");
    Fault::new(name, place, right)
}

/// What all layers say together.
pub(super) struct Merged {
    /// The values in force by key.
    pub(super) given: BTreeMap<&'static str, Given>,
    /// Accounts and channels of the file, in its order.
    pub(super) tables: Vec<Table>,
    /// What went wrong on the way.
    pub(super) faults: Vec<Fault>,
}

/// Puts the layers on top of each other. A file that is no TOML is the only fault then: what is said
/// in it would be missed everywhere.
pub(super) fn merge(sources: &Sources) -> Result<Merged, Fault> {
    let mut faults = Vec::new();
    let variable = |name: &str| sources.variable(name);
    let (mut layers, mut tables) = (built_in(), Vec::new());
    if let Some((path, text)) = &sources.file {
        let file = File {
            text,
            name: &path.display().to_string(),
            lookup: &variable,
        };
        let (settings, own) = file::read(&file, &mut faults)?;
        layers.extend(settings);
        tables = own;
    }
    layers.extend(variables(&sources.dotenv, Layer::DotEnv, &mut faults));
    layers.extend(variables(&sources.env, Layer::Environment, &mut faults));
    layers.extend(flags(&sources.flags, &mut faults));
    // Later ones replace earlier ones; what is blank says nothing.
    let spoken = layers
        .into_iter()
        .filter(|(_, given)| !given.text.is_blank());
    Ok(Merged {
        given: spoken.collect(),
        tables,
        faults,
    })
}

type Layered = Vec<(&'static str, Given)>;

fn built_in() -> Layered {
    let given = |setting: &'static Setting| {
        let text = match setting.default {
            DefaultValue::Unset => return None,
            DefaultValue::One(text) => Text::One(text.to_owned()),
            DefaultValue::Many(texts) => {
                Text::Many(texts.iter().map(|text| (*text).to_owned()).collect())
            }
        };
        Some((setting.key, Given::new(setting, text, Layer::Default)))
    };
    SETTINGS.iter().filter_map(given).collect()
}

fn variables(from: &BTreeMap<String, String>, layer: Layer, faults: &mut Vec<Fault>) -> Layered {
    let value = |name: Option<&'static str>| {
        let value = from.get(name?)?.trim();
        (!value.is_empty()).then_some((name?, value))
    };
    let mut out = Vec::new();
    for setting in SETTINGS.iter() {
        let (first, second) = (value(setting.var), value(setting.alias));
        if let (Some((name, a)), Some((alias, b))) = (first, second)
            && a != b
        {
            let right = format!("must say the same as {alias}; remove one of them");
            faults.push(Fault::new(name, layer, right));
        }
        let Some((_, value)) = first.or(second) else {
            continue;
        };
        let bare = unwrapped(value);
        let text = Text::One(bare.unwrap_or(value).to_owned());
        let given = Given::new(setting, text, layer);
        if bare.is_some() {
            let right = "must come without the quotes around it (docker --env-file keeps them)";
            faults.push(given.fault(right));
        }
        out.push((setting.key, given));
    }
    out
}

/// What a flag says: a text, or a list as a file has it.
fn flag(value: &str) -> Text {
    let list = value.starts_with('[') && value.ends_with(']');
    let read = list.then(|| toml::de::DeValue::parse(value).ok()).flatten();
    let items = read.as_ref().and_then(|read| read.get_ref().as_array());
    let texts = items.and_then(|items| {
        let texts = items.iter().map(|item| tables::scalar(item.get_ref()));
        texts.collect::<Option<Vec<_>>>()
    });
    texts.map_or_else(|| Text::One(value.to_owned()), Text::Many)
}

fn flags(flags: &[(String, String)], faults: &mut Vec<Fault>) -> Layered {
    let mut out = Vec::new();
    for (key, value) in flags {
        match Setting::named(key.trim()) {
            Some(setting) => {
                let given = Given::new(setting, flag(value.trim()), Layer::Flag);
                out.push((setting.key, given));
            }
            None => faults.push(Fault::new(key.as_str(), Layer::Flag, file::unknown(key))),
        }
    }
    out
}
