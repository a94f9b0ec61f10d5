//! Faults of the configuration: what is wrong, where, and what would be right.
//!
//! All of them are collected and shown together, one a line. A fault never holds a secret: values
//! come in as they may be shown.

use super::setting::Setting;
use crate::telemetry::is_unsafe;
use std::fmt;

/// The most characters of one part of a fault that are shown.
const LONGEST: usize = 300;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    name: String,
    value: Option<String>,
    place: String,
    right: String,
}

impl Fault {
    /// A fault that is not about one value: `name` is a key or a file, `place` says where.
    pub fn new(
        name: impl Into<String>,
        place: impl fmt::Display,
        right: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            value: None,
            place: place.to_string(),
            right: right.into(),
        }
    }

    /// A setting without a value.
    pub fn missing(setting: &Setting) -> Self {
        let right = needs(setting.source);
        let name = setting.known_as();
        if name == setting.key {
            Self::new(name, "not set", right)
        } else {
            Self::new(format!("{name}, {}", setting.key), "not set", right)
        }
    }

    /// Adds the value, already fit to be shown.
    #[must_use]
    pub fn with_value(mut self, shown: String) -> Self {
        self.value = Some(shown);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.name))?;
        if let Some(value) = &self.value {
            write!(f, " = \"{}\"", one_line(value))?;
        }
        write!(f, " ({}): {}", one_line(&self.place), one_line(&self.right))
    }
}

/// What is missing, given where the operator finds it.
pub(super) fn needs(source: &str) -> String {
    if source.is_empty() {
        "must be given".to_owned()
    } else {
        format!("needs {source}")
    }
}

/// Takes out what would break the line, and the end of what is long.
fn one_line(text: &str) -> String {
    let plain = |c: char| if is_unsafe(c) { '\u{fffd}' } else { c };
    let mut line: String = text.chars().take(LONGEST).map(plain).collect();
    if text.chars().nth(LONGEST).is_some() {
        line.push('…');
    }
    line
}

/// All that is wrong with a configuration, in the order in which it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let noun = if count == 1 { "fault" } else { "faults" };
        write!(f, "{count} {noun} in the configuration:")?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl std::error::Error for Faults {}
