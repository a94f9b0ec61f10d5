//! What only Redis keeps as text, or answers, for the fuzzer.

use super::damage::Text;
use super::read::{Found, record};
use super::{AccountKeys, Persistence, callbacks, keys_of, token};
use crate::domain::AccountId;
use crate::store::row;
use std::collections::HashMap;

/// Reads a text as every kind of value. Lines of `name=value` are the fields of a hash.
pub(in crate::store) fn rows(text: &str) {
    if let Some((_, _, row)) = callbacks::split(text) {
        let _ = row::read_callback(row);
        let _ = callbacks::spoken("ready", text, "");
    }
    let fields: HashMap<String, String> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let _ = token::read(&fields);
    let _ = Persistence::read(&fields, &fields).judge(1);
    let account = AccountId::parse("default").expect("a name");
    let home = AccountKeys {
        prefix: keys_of(&account).into(),
        account,
        gathers: Default::default(),
        standing: Default::default(),
        recent: Default::default(),
        is_off: Default::default(),
    };
    let fields: HashMap<String, Text> = fields
        .into_iter()
        .map(|(name, value)| (name, value.as_str().into()))
        .collect();
    let row = fields.get("d").cloned().unwrap_or_default();
    let open = ["", "ready", "dead"].map(|place| (place.into(), text.into(), Text::default()));
    let found: Found = (1, fields, row, open.to_vec());
    let _ = record(&home, found.clone(), row::read_message);
    let _ = record(&home, found, super::read::show);
}
