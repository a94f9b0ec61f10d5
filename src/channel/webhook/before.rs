//! What was registered before the address of now, and how the store keeps it.

use crate::domain::UnixMs;
use secrecy::{ExposeSecret, SecretString};

/// What stands in the store for what is no secret. Secrets have no spaces and are longer.
const NOTHING: &str = "nothing";
const OPEN: &str = "open";

/// What was registered before the address of now.
#[derive(Debug, Clone)]
pub(super) enum Before {
    Nothing,
    /// An address without a secret.
    Open,
    /// One with another secret.
    Secret(SecretString),
}

impl Before {
    /// What is kept, and until when it is served, where that is known.
    pub(super) fn read(text: &str) -> (Self, Option<UnixMs>) {
        let (what, until) = text.split_once(' ').unwrap_or((text, ""));
        let before = match what {
            "" | NOTHING => Self::Nothing,
            OPEN => Self::Open,
            secret => Self::Secret(secret.into()),
        };
        (before, until.parse().ok().map(UnixMs))
    }

    /// The text that is kept.
    pub(super) fn written(&self, until: Option<UnixMs>) -> String {
        let what = match self {
            Self::Nothing => NOTHING,
            Self::Open => OPEN,
            Self::Secret(secret) => secret.expose_secret(),
        };
        let until = until.map_or(String::new(), |until| until.0.to_string());
        format!("{what} {until}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_as_it_was() {
        let secret = || Before::Secret("a-secret-of-before".into());
        for until in [None, Some(UnixMs(1_700_000_000_000))] {
            for before in [Before::Nothing, Before::Open, secret()] {
                let text = before.written(until);
                let (read, served) = Before::read(&text);
                assert_eq!((read.written(served), served), (text, until));
            }
        }
        for text in ["", "nothing x", "nothing"] {
            assert!(
                matches!(Before::read(text), (Before::Nothing, None)),
                "{text}"
            );
        }
    }
}
