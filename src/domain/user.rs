//! The id under which a provider knows a person beside or in place of their number.
//!
//! WhatsApp's begin with a country, as `US.13491208655302741918`, or, of a parent account, with `ENT` after
//! it (Meta's business-scoped user id). It is compared as it stands, and printed nowhere.

use std::fmt;
use std::sync::Arc;

/// The most letters and digits behind the country.
const MOST: usize = 128;

/// A person's id at the provider.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Takes a text for one that has WhatsApp's shape and no other: what else stands in such a place may be a
    /// word that many people share.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (country, id) = text.split_once('.')?;
        let id = id.strip_prefix("ENT.").unwrap_or(id);
        let is_one = country.len() == 2
            && country.bytes().all(|byte| byte.is_ascii_uppercase())
            && (1..=MOST).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
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
        let longest = "MX.".to_owned() + &"7".repeat(127) + "x";
        for id in [
            "US.13491208655302741918",
            "US.ENT.77a",
            " MX.2025 ",
            "US.1",
            &longest,
        ] {
            let parsed = UserId::parse(id).unwrap();
            assert_eq!(parsed.as_str(), id.trim());
        }
        let longer = longest.clone() + "x";
        for other in [
            "",
            "US.",
            "US.ENT.",
            "US.ENT.7.7",
            "US.ABC.77a",
            "us.13491208655302741918",
            "USA.13491208655302741918",
            "U1.13491208655302741918",
            "US_13491208655302741918",
            "US.1349120865530274191-8",
            "psid_42",
            "auth0-77",
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
