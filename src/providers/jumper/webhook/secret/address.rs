//! A webhook's address, by what tells it from another one of the same channel, and how the store keeps
//! it.

use super::same;
use crate::domain::UnixMs;
use secrecy::{ExposeSecret, SecretString};

/// What stands in the store for an address without a secret. Secrets are longer.
const OPEN: &str = "open";
/// What stands there for no address at all.
const NOTHING: &str = "nothing";

/// An address, by its secret.
#[derive(Debug, Clone)]
pub(super) enum Address {
    /// It has none.
    Open,
    /// It has this one.
    With(SecretString),
}

impl Address {
    pub(super) fn of(secret: Option<&SecretString>) -> Self {
        secret.map_or(Self::Open, |secret| Self::With(secret.clone()))
    }

    pub(super) fn secret(&self) -> Option<&SecretString> {
        match self {
            Self::Open => None,
            Self::With(secret) => Some(secret),
        }
    }

    /// Whether it is this one.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Open, Self::Open) => true,
            (Self::With(one), Self::With(other)) => same(one, other.expose_secret()),
            _ => false,
        }
    }

    /// Reads what [`written`] wrote: what was registered before, and until when it is served, where that
    /// is known.
    pub(super) fn read(text: &str) -> (Option<Self>, Option<UnixMs>) {
        let (what, until) = text.split_once(' ').unwrap_or((text, ""));
        let address = match what {
            "" | NOTHING => None,
            OPEN => Some(Self::Open),
            secret => Some(Self::With(secret.into())),
        };
        (address, until.parse().ok().map(UnixMs))
    }
}

/// The text that is kept.
pub(super) fn written(address: Option<&Address>, until: Option<UnixMs>) -> String {
    let what = match address {
        None => NOTHING,
        Some(Address::Open) => OPEN,
        Some(Address::With(secret)) => secret.expose_secret(),
    };
    let until = until.map_or(String::new(), |until| until.0.to_string());
    format!("{what} {until}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_as_it_was() {
        let secret = Address::With("a-secret-of-before".into());
        for until in [None, Some(UnixMs(1_700_000_000_000))] {
            for before in [None, Some(Address::Open), Some(secret.clone())] {
                let text = written(before.as_ref(), until);
                let (read, served) = Address::read(&text);
                assert_eq!((written(read.as_ref(), served), served), (text, until));
            }
        }
        for text in ["", "nothing x", "nothing"] {
            assert!(matches!(Address::read(text), (None, None)), "{text}");
        }
    }
}
