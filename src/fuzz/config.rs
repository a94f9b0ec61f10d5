//! The configuration: a file, `.env`, variables and flags, each after a line that begins with `#!`.
//!
//! Whatever they say, it is a configuration or faults with their places, and no secret is shown.

use crate::config::{
    Config, Fault, Faults, Purpose, SETTINGS, Setting, Sources, load, read_dotenv,
};
use std::fmt::Write as _;

/// The file, as faults name it.
const FILE: &str = "gateway.toml";
/// The most that one fault may say, in characters.
const LONGEST: usize = 1600;
/// A secret that is shorter may stand in any text by chance.
const SHORTEST_SECRET: usize = 8;

/// What stands in an input in the place of a secret, to see what is said without it.
const ANOTHER: &str = "an0ther-secret";

/// Reads an input as layers.
pub(super) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (sources, faults) = read(&text);
    let words = all_said(&sources, &faults);
    for secret in secrets(&sources) {
        if text.matches(secret.as_str()).count() == 1 && words.contains(&secret) {
            // Words of ours are said without it too.
            let (sources, faults) = read(&text.replace(&secret, ANOTHER));
            let ours = all_said(&sources, &faults).contains(&secret);
            assert!(ours, "{secret:?} is shown: {words}");
        }
    }
}

/// All that is ever said of these layers.
fn all_said(sources: &Sources, faults: &[Fault]) -> String {
    let mut text = String::new();
    faults.iter().for_each(|fault| tell(fault, &mut text));
    for purpose in [Purpose::Serve, Purpose::Client] {
        match load(sources, purpose) {
            Ok(config) => show(&config, &mut text),
            Err(Faults(faults)) => {
                assert!(!faults.is_empty());
                faults.iter().for_each(|fault| tell(fault, &mut text));
            }
        }
    }
    let _ = write!(text, "{sources:?}");
    text
}

/// What the parts of an input say, and what is wrong with its `.env`.
fn read(text: &str) -> (Sources, Vec<Fault>) {
    let mut sources = Sources::default();
    let mut faults = Vec::new();
    for part in text.split("#!").skip(1) {
        let (kind, part) = part.split_once('\n').unwrap_or((part, ""));
        let pairs = part.lines().filter_map(|line| {
            let (name, value) = line.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        });
        match kind.trim() {
            "file" => sources.file = Some((FILE.into(), part.to_owned())),
            "env" => sources.env = pairs.collect(),
            "flags" => sources.flags = pairs.collect(),
            _ => (sources.dotenv, faults) = read_dotenv(part),
        }
    }
    (sources, faults)
}

/// A fault is one line that says where.
fn tell(fault: &Fault, text: &mut String) {
    let line = fault.to_string();
    let place = line
        .rsplit_once("): ")
        .and_then(|(before, _)| before.rsplit_once(" ("))
        .map(|(_, place)| place);
    assert!(place.is_some_and(|place| !place.is_empty()), "{line}");
    assert!(!line.chars().any(char::is_control), "{line:?}");
    assert!(line.chars().count() <= LONGEST, "{line}");
    text.push_str(&line);
    text.push('\n');
}

/// All that is ever shown of a configuration.
fn show(config: &Config, text: &mut String) {
    let _ = write!(text, "{config:?}");
    for one in config.effective() {
        let _ = writeln!(text, "{} {:?}", one.key, one.value);
    }
    text.extend(config.warnings());
    for account in &config.accounts {
        // A secret itself; made for the provider alone.
        let _ = config.webhook_of(account);
    }
}

/// What was given for settings of which nothing may be shown, and passwords in addresses.
fn secrets(sources: &Sources) -> Vec<String> {
    let mut given: Vec<(&Setting, String)> = Vec::new();
    for setting in SETTINGS.iter() {
        let names = [setting.var, setting.alias];
        for variables in [&sources.env, &sources.dotenv] {
            let values = names
                .iter()
                .flatten()
                .filter_map(|name| variables.get(*name));
            given.extend(values.map(|value| (setting, value.clone())));
        }
        let flags = sources.flags.iter().filter(|(key, _)| key == setting.key);
        given.extend(flags.map(|(_, value)| (setting, value.clone())));
    }
    if let Some((_, text)) = &sources.file
        && let Ok(file) = toml::from_str::<toml::Table>(text)
    {
        in_file(&toml::Value::Table(file), None, &mut given);
    }
    let hides = |setting: &Setting, value| setting.shown(value) == "***";
    let secret = |(setting, value): (&Setting, String)| {
        let places = ["x", "https://x.example", "redis://x.example"];
        if places.iter().all(|place| hides(setting, place)) {
            return Some(value.trim().to_owned());
        }
        if setting.shown("x://u:probe@h").contains("probe") {
            return None;
        }
        // An @ in the path of an address that holds no password.
        if crate::http::outgoing::Url::parse(value.trim()).is_ok_and(|url| url.password().is_none())
        {
            return None;
        }
        let (who, _) = value.split_once("://")?.1.rsplit_once('@')?;
        Some(who.split_once(':')?.1.to_owned())
    };
    let mut found: Vec<String> = given.into_iter().filter_map(secret).collect();
    found.retain(|secret| secret.len() >= SHORTEST_SECRET);
    found
}

/// The texts of settings, also of those in tables of accounts and channels.
fn in_file(
    value: &toml::Value,
    of: Option<&'static Setting>,
    found: &mut Vec<(&'static Setting, String)>,
) {
    match (value, of) {
        (toml::Value::String(text), Some(setting)) => found.push((setting, text.clone())),
        // `{ env = "NAME" }` names a variable, which is no secret.
        (toml::Value::Table(table), _) => table.iter().for_each(|(key, value)| {
            let leaf = |setting: &&Setting| setting.key.rsplit('.').next() == Some(key);
            in_file(value, SETTINGS.iter().find(leaf), found);
        }),
        (toml::Value::Array(items), _) => items.iter().for_each(|item| in_file(item, of, found)),
        _ => {}
    }
}
