//! What is kept, by role: outbox, tokens, cache. One enum a role, one arm a backend.

use crate::domain::UnixMs;
use secrecy::SecretString;

/// Why the store did not do it. Nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It cannot write or read now; it heals by itself or an operator must look.
    #[error("the store cannot be used now: {0}")]
    Unavailable(String),
    /// The disk has less room than `min_free`.
    #[error("the disk is nearly full: {free} bytes free, {needed} wanted")]
    DiskFull {
        /// Bytes free.
        free: u64,
        /// Bytes that must stay free.
        needed: u64,
    },
    /// A stored row cannot be read by this version.
    #[error("a stored row cannot be read: {0}")]
    Unreadable(String),
}

/// An account's tokens as they are kept. Written whole, in one step.
#[derive(Debug, Clone)]
pub struct StoredToken {
    /// The access token; `None` while only a seed is known.
    pub access: Option<SecretString>,
    /// The refresh token.
    pub refresh: SecretString,
    /// When the pair came.
    pub obtained_at: UnixMs,
    /// When the access token ends.
    pub expires_at: UnixMs,
    /// Grows by one with every stored change.
    pub fence: u64,
    /// Why the refresh token is of no use any more, if it is.
    pub dead: Option<String>,
    /// Fingerprint (not reversible) of the last seed taken from the configuration, so that a seed
    /// that died is not tried at every start.
    pub seed: Option<String>,
}
