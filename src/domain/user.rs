//! The id under which a provider knows a person beside or in place of their number.
//!
//! WhatsApp's begin with a country, as `US.13491208655302741918` (contracts/cloud.md section 5.6). It is
//! opaque, compared as it stands, and printed nowhere.

use std::fmt;
use std::sync::Arc;

/// The shortest and the longest that are taken for one, in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 6..=160;

/// A person's id at the provider.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Takes a text for one: letters, digits, `.`, `_` and `-`, at least one of the first two each, so that
    /// it is neither a number nor a word such as "unknown" that stands for many people.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let has = |kind: fn(&u8) -> bool| text.bytes().any(|byte| kind(&byte));
        let is_of_id = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_one = LENGTHS.contains(&text.len())
            && text.bytes().all(is_of_id)
            && has(u8::is_ascii_alphabetic)
            && has(u8::is_ascii_digit);
        is_one.then(|| Self(text.into()))
    }

    /// The id as text, for a store.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserId(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_user_id() {
        let longest = "7".repeat(159) + "x";
        for id in [
            "US.13491208655302741918",
            "US.ENT.77a",
            " MX.2025 ",
            "psid_42",
            &longest,
        ] {
            let parsed = UserId::parse(id).unwrap();
            assert_eq!(parsed.as_str(), id.trim());
        }
        let longer = longest.clone() + "x";
        for other in [
            "",
            "US.1",
            "12025550143",
            "+12025550143",
            "1-202-555-0143",
            "unknown",
            "null",
            "US 13491208655302741918",
            "US.1349\u{0}",
            "=12025550143x",
            "ÜS.13491208655302741918",
            &longer,
        ] {
            assert_eq!(UserId::parse(other), None, "{other}");
        }
    }

    #[test]
    fn it_is_printed_nowhere() {
        let id = UserId::parse("US.13491208655302741918").unwrap();
        assert_eq!(format!("{id:?}"), "UserId(..)");
    }
}
