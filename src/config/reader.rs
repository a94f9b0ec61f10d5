//! Takes settings out of the merged layers one by one, and puts down what is wrong.
//!
//! Every method returns `None` only after it has put down a fault, so a caller may read on and give
//! up at the end.

use super::Purpose;
use super::fault::Fault;
use super::parse::{self, Bare, Parsed, whole};
use super::raw::{Given, Text};
use super::setting::Setting;
use super::table::Table;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Deadlines and pauses of one call or one connection.
pub(super) const SHORT: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_hours(1);
/// Ages and schedules.
const LONG: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(366 * 24);
/// Calls, connections, entries at once.
const COUNT: RangeInclusive<u64> = 1..=1_000_000;

/// Whether tokens may be shorter than [`parse::LEAST_TOKEN`].
pub(super) const SHORT_TOKENS: &str = "http.allow_short_tokens";

/// The merged layers, and the faults met so far.
pub(super) struct Reader<'a> {
    pub(super) given: &'a BTreeMap<&'static str, Given>,
    /// The account or channel that is read. What it inherits was judged before.
    pub(super) table: Option<&'a Table>,
    pub(super) purpose: Purpose,
    pub(super) faults: &'a mut Vec<Fault>,
}

impl Reader<'_> {
    /// A setting that has to have a value.
    pub(super) fn one<T>(
        &mut self,
        setting: &'static Setting,
        parse: impl Fn(&str) -> Parsed<T>,
    ) -> Option<T> {
        match self.maybe(setting, parse)? {
            Some(value) => Some(value),
            None => {
                self.missing(setting);
                None
            }
        }
    }

    /// A setting that may be unset.
    pub(super) fn maybe<T>(
        &mut self,
        setting: &'static Setting,
        parse: impl Fn(&str) -> Parsed<T>,
    ) -> Option<Option<T>> {
        let Some(given) = self.given.get(setting.key) else {
            return Some(None);
        };
        let parsed = match &given.text {
            Text::One(text) => parse(text.trim()),
            Text::Many(_) => Err("must be one value, not a list".to_owned()),
        };
        self.judge(setting, parsed).map(Some)
    }

    /// A setting without which nothing can be served, though a client command does not need it.
    pub(super) fn served<T>(
        &mut self,
        setting: &'static Setting,
        parse: impl Fn(&str) -> Parsed<T>,
    ) -> Option<Option<T>> {
        let value = self.maybe(setting, parse)?;
        if value.is_none() && self.purpose == Purpose::Serve {
            self.missing(setting);
        }
        Some(value)
    }

    /// A list; one text is split at its commas, and what is blank is left out.
    pub(super) fn list<T>(
        &mut self,
        setting: &'static Setting,
        parse: impl Fn(&str) -> Parsed<T>,
    ) -> Option<Vec<T>> {
        let Some(given) = self.given.get(setting.key) else {
            return Some(Vec::new());
        };
        let parts: Vec<&str> = match &given.text {
            Text::One(text) => text.split(',').collect(),
            Text::Many(texts) => texts.iter().map(String::as_str).collect(),
        };
        let words = parts
            .iter()
            .map(|part| part.trim())
            .filter(|part| !part.is_empty());
        let parsed = words.map(parse).collect();
        self.judge(setting, parsed)
    }

    /// Tokens that let callers in must not be short enough to be guessed, unless that is wished for. A
    /// client presents what its gateway takes.
    pub(super) fn long_enough(&mut self, setting: &'static Setting, tokens: &[SecretString]) {
        let wished = self.given.get(SHORT_TOKENS);
        let allowed = wished.is_some_and(|given| parse::switch(&given.text.joined()) == Ok(true));
        let is_short = |token: &SecretString| token.expose_secret().len() < parse::LEAST_TOKEN;
        if self.purpose == Purpose::Serve && !allowed && tokens.iter().any(is_short) {
            self.fault(
                setting,
                format!(
                    "must have {} characters or more (openssl rand -hex 24), because a shorter one can be \
                     guessed; to keep it until it is changed, set ALLOW_SHORT_TOKENS=true",
                    parse::LEAST_TOKEN
                ),
            );
        }
    }

    /// One value, where it is right; what is wrong with it is told where it is read.
    pub(super) fn if_right<T>(&self, key: &str, parse: impl Fn(&str) -> Parsed<T>) -> Option<T> {
        match &self.given.get(key)?.text {
            Text::One(text) => parse(text.trim()).ok(),
            Text::Many(_) => None,
        }
    }

    fn judge<T>(&mut self, setting: &'static Setting, parsed: Parsed<T>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(right) => {
                self.fault(setting, right);
                None
            }
        }
    }

    /// Puts down that the value of a setting is wrong.
    pub(super) fn fault(&mut self, setting: &'static Setting, right: impl Into<String>) {
        if let Some(table) = self.table {
            if table.given.contains_key(setting.key) {
                self.faults.push(table.fault(setting.key, right));
            }
            return;
        }
        let right = right.into();
        let fault = match self.given.get(setting.key) {
            Some(given) => given.fault(right),
            None => Fault::new(setting.key, "not set", right),
        };
        self.faults.push(fault);
    }

    pub(super) fn missing(&mut self, setting: &'static Setting) {
        if let Some(table) = self.table {
            match table.unset.iter().find(|unset| unset.key == setting.key) {
                None => {
                    let right = super::fault::needs(setting.source);
                    self.faults.push(table.fault(setting.key, right));
                }
                // Of what is served all were told.
                Some(_) if self.purpose == Purpose::Serve => {}
                Some(unset) => self.faults.push(table.not_set(unset)),
            }
            return;
        }
        self.faults.push(Fault::missing(setting));
    }
}

/// A setting that has to have a value.
pub(super) fn one<T>(
    parse: impl Fn(&str) -> Parsed<T>,
) -> impl Fn(&mut Reader<'_>, &'static Setting) -> Option<T> {
    move |r, setting| r.one(setting, &parse)
}

/// A setting that may be unset.
pub(super) fn maybe<T>(
    parse: impl Fn(&str) -> Parsed<T>,
) -> impl Fn(&mut Reader<'_>, &'static Setting) -> Option<Option<T>> {
    move |r, setting| r.maybe(setting, &parse)
}

/// A setting without which nothing can be served.
pub(super) fn served<T>(
    parse: impl Fn(&str) -> Parsed<T>,
) -> impl Fn(&mut Reader<'_>, &'static Setting) -> Option<Option<T>> {
    move |r, setting| r.served(setting, &parse)
}

/// A list, which may be empty.
pub(super) fn list<T>(
    parse: impl Fn(&str) -> Parsed<T>,
) -> impl Fn(&mut Reader<'_>, &'static Setting) -> Option<Vec<T>> {
    move |r, setting| r.list(setting, &parse)
}

/// A time within bounds.
pub(super) fn time(
    range: RangeInclusive<Duration>,
    bare: Bare,
) -> impl Fn(&mut Reader<'_>, &'static Setting) -> Option<Duration> {
    one(parse::time(range, bare))
}

/// The deadline or the pause of one call or one connection.
pub(super) fn short() -> impl Fn(&mut Reader<'_>, &'static Setting) -> Option<Duration> {
    time(SHORT, Bare::Refused)
}

/// The same in milliseconds, where no unit is given.
pub(super) fn millis() -> impl Fn(&mut Reader<'_>, &'static Setting) -> Option<Duration> {
    time(SHORT, Bare::Millis)
}

/// An age or a schedule.
pub(super) fn long() -> impl Fn(&mut Reader<'_>, &'static Setting) -> Option<Duration> {
    time(LONG, Bare::Refused)
}

/// So many at once.
pub(super) fn count<T: TryFrom<u64>>() -> impl Fn(&mut Reader<'_>, &'static Setting) -> Option<T> {
    one(whole(COUNT))
}
