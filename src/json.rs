//! JSON as others write it, read for what it means.
//!
//! A byte order mark, half a surrogate pair, a byte that is no UTF-8, a line break within a text, an
//! escape that is cut or none of JSON's, a number out of all measure or brackets without end make a body
//! invalid for a strict reader, and all that it says would be lost. Here the damage alone is lost:
//! [`LOST`] stands where it was; what can mean one thing only is read as that. A body without damage is
//! parsed once and never looked at again. Pure; says that there was damage, never what that means for an
//! id.

mod mend;

pub use mend::{Mended, Numbers};

use serde_json::{Error, Value};
use std::borrow::Cow;

/// What stands for a character that could not be read.
pub const LOST: char = '\u{FFFD}';

/// A body that was read.
#[derive(Debug, Default)]
pub struct Tree {
    /// What it says. A number that no machine number holds exactly is its own text.
    pub value: Value,
    /// Whether a text of it has [`LOST`] characters.
    pub is_damaged: bool,
}

/// Reads a body whose numbers may be ids: all of them are exact.
pub fn read(bytes: &[u8]) -> Result<Tree, Error> {
    let plain = serde_json::from_slice(bytes);
    if plain.as_ref().is_ok_and(is_exact) {
        return plain.map(Tree::from);
    }
    let mended = Mended::new(bytes, Numbers::AsText);
    match &mended.bytes {
        Cow::Borrowed(_) => plain.map(Tree::from),
        Cow::Owned(bytes) => Ok(Tree {
            value: serde_json::from_slice(bytes)?,
            is_damaged: mended.is_damaged,
        }),
    }
}

impl Tree {
    /// Whether a text of it may have lost a character. U+FFFD that came as such is no loss.
    pub fn has_lost(&self, text: &str) -> bool {
        self.is_damaged && text.contains(LOST)
    }
}

impl From<Value> for Tree {
    fn from(value: Value) -> Self {
        Self {
            value,
            is_damaged: false,
        }
    }
}

/// Floats may stand for a number that was longer.
fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => !number.is_f64(),
        Value::Array(items) => items.iter().all(is_exact),
        Value::Object(members) => members.values().all(is_exact),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
