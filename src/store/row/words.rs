//! What a stored row is in words, for people.

use super::read_callback;
use crate::domain::Callback;

/// A callback in a word or two, for a history.
pub(crate) fn spoken(body: &str) -> String {
    match read_callback(body) {
        Ok(Callback::Status(entry)) => entry.status.to_string(),
        Ok(Callback::Inbound(entry)) => format!("reply ({})", entry.kind),
        Err(error) => error.to_string(),
    }
}

/// How often something was tried, in words.
pub(crate) fn attempts(tries: u32) -> String {
    match tries {
        1 => "1 attempt".to_owned(),
        _ => format!("{tries} attempts"),
    }
}
