//! A value as it was given: text, by whom, in which line. Not printable, because nothing is known to
//! be harmless before its setting is.

use super::fault::Fault;
use super::setting::Setting;
use std::fmt;

/// A value as text.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Text {
    One(String),
    Many(Vec<String>),
}

impl Text {
    /// As it is shown, before anything secret is hidden.
    pub(super) fn joined(&self) -> String {
        match self {
            Self::One(text) => text.clone(),
            Self::Many(texts) => texts.join(", "),
        }
    }

    pub(super) fn is_blank(&self) -> bool {
        matches!(self, Self::One(text) if text.trim().is_empty())
    }
}

/// One of the layers, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// Built in.
    Default,
    /// The configuration file.
    File,
    /// `.env`.
    DotEnv,
    /// The environment of the process.
    Environment,
    /// `--set`.
    Flag,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Default => "default",
            Self::File => "file",
            Self::DotEnv => ".env",
            Self::Environment => "environment",
            Self::Flag => "flag",
        })
    }
}

/// A value, and who gave it.
#[derive(Clone)]
pub(super) struct Given {
    /// What it is a value of; none for what only a table of accounts or channels has.
    pub(super) setting: Option<&'static Setting>,
    pub(super) text: Text,
    pub(super) layer: Layer,
    /// File and line; empty in layers without lines.
    pub(super) line: String,
}

impl Given {
    /// A value of a layer without lines.
    pub(super) fn new(setting: &'static Setting, text: Text, layer: Layer) -> Self {
        Self {
            setting: Some(setting),
            text,
            layer,
            line: String::new(),
        }
    }

    /// As it may be printed.
    pub(super) fn shown(&self) -> String {
        let joined = self.text.joined();
        match self.setting {
            Some(setting) => setting.shown(&joined),
            None => joined,
        }
    }

    /// Whether it holds a secret.
    pub(super) fn is_secret(&self) -> bool {
        let text = self.text.joined();
        self.setting.is_some_and(|setting| setting.hides(&text))
    }

    /// A fault about this value.
    pub(super) fn fault(&self, right: impl Into<String>) -> Fault {
        let name = match (self.setting, self.layer) {
            (Some(setting), Layer::DotEnv | Layer::Environment) => setting.known_as(),
            (setting, _) => setting.map_or("", |setting| setting.key),
        };
        let fault = match self.line.as_str() {
            "" => Fault::new(name, self.layer, right),
            line => Fault::new(name, line, right),
        };
        fault.with_value(self.shown())
    }
}

/// What stands between quotes that were meant for a shell, if there are any.
pub(super) fn unwrapped(value: &str) -> Option<&str> {
    ['"', '\'']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote))
}
