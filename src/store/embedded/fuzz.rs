//! What only this store keeps as text, for the fuzzer.

use super::{columns, settings};
use crate::domain::AccountId;

/// Reads a text as every kind of value.
pub(in crate::store) fn rows(text: &str) {
    // A token is never shown, not even by the error.
    let account = AccountId::parse("default").expect("a name");
    if let Err(error) = settings::read_token(&account, text) {
        let words = "a stored row cannot be read: the tokens of account default";
        assert_eq!(error.to_string(), words);
    }
    if let Ok(number) = text.trim().parse() {
        let _ = columns::state(number);
        let _ = columns::phone(number);
        let _ = columns::progress(number);
    }
}
