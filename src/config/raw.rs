//! A value as it was given: text, by whom, in which line. Not printable, because nothing is known to
//! be harmless before its setting is.

use super::fault::Fault;
use super::layers::Layer;
use super::setting::Setting;

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

/// A value, and who gave it.
#[derive(Clone)]
pub(super) struct Given {
    pub(super) text: Text,
    pub(super) layer: Layer,
    /// File and line; empty in layers without lines.
    pub(super) line: String,
}

impl Given {
    /// A fault about this value.
    pub(super) fn fault(&self, setting: &Setting, right: impl Into<String>) -> Fault {
        let name = match self.layer {
            Layer::DotEnv | Layer::Environment => setting.known_as(),
            _ => setting.key,
        };
        let shown = setting.shown(&self.text.joined());
        if self.line.is_empty() {
            Fault::new(name, self.layer, right).with_value(shown)
        } else {
            Fault::new(name, &self.line, right).with_value(shown)
        }
    }
}
