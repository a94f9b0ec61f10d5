//! Whether an account may call its provider, in words that fit each of them. The provider finds it out; others
//! hold the account, tell a person and show it.

use super::UnixMs;

/// How the tokens of an account stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenState {
    /// There is nothing, not even something to begin with.
    Missing,
    /// There is an access token.
    Fresh {
        /// When it ends.
        expires_at: UnixMs,
        /// When it will be renewed.
        refresh_at: UnixMs,
    },
    /// There is what a token can be got with, and no access token that is known to be good.
    Stale,
    /// The provider refuses an access token that it has just given; whether it takes it is tried.
    Refused {
        /// What the provider said.
        reason: String,
        /// Since when.
        since: UnixMs,
    },
    /// Nothing that is known brings a token any more.
    Dead {
        /// What the provider said.
        reason: String,
        /// Since when this process knows.
        since: UnixMs,
        /// Whether there is an access token to go on with, until that is refused.
        sends: bool,
    },
    /// The application's own credentials are wrong, so nothing can be renewed.
    WrongCredentials {
        /// What the provider said.
        reason: String,
        /// Since when this process knows.
        since: UnixMs,
        /// Whether there is an access token to go on with, until that is refused.
        sends: bool,
    },
}

/// What a person is told of tokens that do not work, in the words of the provider's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// What happened.
    pub reason: String,
    /// What they can do.
    pub cure: String,
}

/// Why there is no access token, in the words of the provider's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessError {
    /// What an operator put in is refused; what was known before goes on.
    PutInRefused(String),
    /// There is none now; the next try or a person may bring one.
    NoToken(String),
}

impl std::fmt::Display for AccessError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::PutInRefused(words) | Self::NoToken(words)) = self;
        f.write_str(words)
    }
}

impl std::error::Error for AccessError {}

/// A call was refused as if for its access token; whom that is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedAccess {
    /// The token.
    Token {
        /// Whether there is a newer one now.
        renewed: bool,
    },
    /// This message, or its recipient: the same token is taken for other calls.
    Message,
    /// Nobody knows yet.
    Unclear,
}

/// Whether somebody who shows no secret may post a channel's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// Nobody is.
    No,
    /// Until the address with the secret is confirmed, and the grace on.
    ForNow,
    /// As the configuration wants it.
    Wanted,
}
