//! The shared store: many gateways on one Redis. Every step is one script, so it happens whole or
//! not at all, whoever else works on the same account.
//!
//! All keys of an account share the hash tag `{account}`, so a script never leaves its slot.

mod link;

pub use link::{Link, Settings};

/// What all keys of an account begin with. The braces make Redis Cluster keep them together.
pub(crate) fn keys_of(account: &crate::domain::AccountId) -> String {
    format!("gw:{{{account}}}:")
}
