//! Values in Redis that no program of ours writes: keys that were evicted, somebody's hand. One of
//! them must hold back nobody else.

use crate::domain::phone::mask_digits;
use redis::{FromRedisValue, ParsingError, Value};
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

/// Keys that are remembered as told of; beyond that they are told of once more.
const MOST_TOLD: usize = 1000;

/// A text as Redis keeps it: bytes, of which nobody promises that they are there or are text. One
/// that is damaged does not spoil the answer that it is in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Text(Vec<u8>);

impl Text {
    /// The text; nothing when it is none.
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The first line, nothing when it is none, and the rest for people.
    pub(super) fn split_line(&self) -> (&str, Cow<'_, str>) {
        let end = self.0.iter().position(|byte| *byte == b'\n');
        let (first, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        let first = std::str::from_utf8(first).unwrap_or_default();
        (
            first,
            String::from_utf8_lossy(rest.get(1..).unwrap_or_default()),
        )
    }

    /// The text for people; what is none is marked where it is none.
    pub(super) fn shown(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl FromRedisValue for Text {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        match value {
            Value::BulkString(bytes) => Ok(Self(bytes)),
            Value::Nil => Ok(Self::default()),
            other => String::from_redis_value(other).map(|text| Self(text.into())),
        }
    }
}

/// The keys that an operator was told of.
static TOLD: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

/// Tells an operator of damaged keys, of each once.
pub(super) fn tell<'a>(keys: impl IntoIterator<Item = Cow<'a, str>>) {
    for key in keys {
        let mut reported = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.len() >= MOST_TOLD {
            reported.clear();
        }
        if reported.insert(key.clone().into_owned()) {
            // Some end in a person's number.
            tracing::error!(
                key = mask_digits(&key),
                event = "redis_value_damaged",
                "a value in Redis is damaged, or gone before its time; all others go on. A message \
                 that it makes impossible is failed, and MoEngage is told where its msg_id and \
                 channel are known. Look at the key, and at who else writes to this Redis"
            );
        }
    }
}

/// Whether an operator was told of this key.
#[cfg(test)]
pub(in crate::store) fn is_told(key: &str) -> bool {
    let reported = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    reported.iter().any(|known| known.contains(key))
}
