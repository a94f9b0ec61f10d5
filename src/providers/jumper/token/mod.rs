//! The tokens of one account: kept, renewed early, never renewed twice at once (design.md G7).
//!
//! A refresh kills the pair it came from, so the new one is stored in one write before it is used,
//! and the whole step runs in a task of its own: a caller that gives up does not cut it short. No
//! single answer is the end of anything: a refresh token is dead when Jumper says so twice, a minute
//! apart; an access token is used until Jumper refuses it, whatever our clock says of its end.
//! Whoever looks at [`Tokens::state`] holds the account and tells a person. Never logs a token.

mod access;
mod aside;
mod flight;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod held;
mod keep;
mod obstacle;
mod proof;
mod refresh;
mod replicas;
mod seed;
mod start;
mod step;
mod words;

use super::exchange::BuildError;
#[cfg(not(test))]
use crate::clock;
use crate::domain::access::{AccessError, Obstacle, TokenState};
use crate::domain::{AccountId, UnixMs};
use crate::limit::Limiter;
use crate::store::{self, Aside, StoredToken};
use flight::Flight;
pub use held::Access;
use held::Held;
use metrics::gauge;
pub use proof::{Proof, prove};
use refresh::Exchange;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

/// What the tokens of an account are made of.
#[derive(Debug)]
pub struct TokenSettings {
    /// The account.
    pub account: AccountId,
    /// The address of the API, without a path.
    pub api_url: String,
    /// The application's credentials: the whole header value, `Basic <base64 key:secret>`.
    pub basic: SecretString,
    /// A refresh token to begin with.
    pub seed: Option<SecretString>,
    /// The deadline of one refresh; 30 s is usual.
    pub refresh_timeout: Duration,
    /// The longest pause between two proofs of credentials that are wrong. `None`: they are not
    /// proved at the start either.
    pub longest_probe: Option<Duration>,
    /// Which client of which provider this is: what was put by for one is not used for another.
    pub owner: String,
    /// Where a pair is put by that the store does not take.
    pub aside: Aside,
}

/// Why there is no access token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is nothing to begin with.
    #[error("no refresh token is known; set SEED_REFRESH_TOKEN or put one in through the ops API")]
    Missing,
    /// The refresh token is of no use any more.
    #[error("the refresh token is dead: {0}")]
    Dead(String),
    /// The application's key or secret is wrong.
    #[error("Jumper refuses the application's key and secret (JUMPER_BASIC_AUTH): {0}")]
    Credentials(String),
    /// A token that has just come was refused, and it is too soon for another one.
    #[error("Jumper refuses an access token that it has just given")]
    StillRefused,
    /// Nobody knows; the next try may bring it.
    #[error("no new access token yet: {0}")]
    Unavailable(String),
    /// The seed that was put in is refused; what was known before goes on.
    #[error("Jumper refuses this seed token: {0}")]
    SeedRefused(String),
}

impl From<TokenError> for AccessError {
    fn from(error: TokenError) -> Self {
        let words = error.to_string();
        match error {
            TokenError::SeedRefused(_) => Self::PutInRefused(words),
            _ => Self::NoToken(words),
        }
    }
}

/// The tokens of one account. Clones share them.
#[derive(Debug, Clone)]
pub struct Tokens {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: TokenSettings,
    exchange: Exchange,
    store: store::Tokens,
    limiter: Limiter,
    /// What is known now. Written by whoever has the flight; read by every send.
    held: watch::Sender<Arc<Held>>,
    /// Taken for the length of a refresh: there is never more than one.
    flight: Mutex<Flight>,
    /// The newest generation whose access token Jumper took. Written by every call that went well.
    worked: AtomicU64,
    /// How far the wall clock of a test is ahead, in ms.
    #[cfg(test)]
    ahead: std::sync::atomic::AtomicI64,
    /// Set when the process ends: nobody waits for another replica any more.
    closing: CancellationToken,
}

/// Why somebody wants a new pair, and the generation that they have seen: a newer one is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Want {
    why: Why,
    seen: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// There is no access token that could be used.
    Needed,
    /// The access token was refused.
    Refused,
    /// Its life nears the end.
    Early,
    /// What was said of the refresh token is to be heard once more.
    Again,
    /// An operator asks.
    Forced,
}

impl Tokens {
    /// The tokens of an account, not loaded yet.
    pub fn new(
        settings: TokenSettings,
        store: store::Tokens,
        limiter: Limiter,
    ) -> Result<Self, BuildError> {
        let exchange = Exchange::new(&settings.api_url, &settings.basic, settings.refresh_timeout)?;
        let flight = Flight::new(settings.longest_probe.is_some());
        let shared = Shared {
            settings,
            exchange,
            store,
            limiter,
            held: watch::Sender::new(Arc::default()),
            flight: Mutex::new(flight),
            worked: AtomicU64::default(),
            #[cfg(test)]
            ahead: std::sync::atomic::AtomicI64::default(),
            closing: CancellationToken::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Renews the pair because an operator asks, even a pair that is called dead.
    pub async fn refresh_now(&self) -> Result<(), TokenError> {
        self.renew(Why::Forced).await
    }

    /// How things stand.
    pub fn state(&self) -> TokenState {
        self.held().state(self.now())
    }

    /// What a person is told of this state, where no call can be made or renewed.
    pub fn obstacle(&self, state: &TokenState) -> Option<Obstacle> {
        obstacle::obstacle(state, &self.shared.settings.account)
    }

    /// Tells of every change of [`Tokens::state`] that a call or an answer brings.
    pub fn changes(&self) -> Changes {
        Changes(self.shared.held.subscribe())
    }

    fn held(&self) -> Arc<Held> {
        self.shared.held.borrow().clone()
    }

    fn usable(&self) -> Option<Access> {
        self.shared.held.borrow().usable(self.now())
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests set the clock of one account")]
    fn now(&self) -> UnixMs {
        clock::now()
    }

    fn publish(&self, token: StoredToken, new_access: bool) {
        let account = self.shared.settings.account.to_string();
        #[expect(
            clippy::cast_precision_loss,
            reason = "seconds of this century are exact"
        )]
        gauge!("gateway_token_expiry_timestamp_seconds", "account" => account)
            .set(token.expires_at.seconds() as f64);
        let dice = fastrand::f64();
        let held = Held::new(token, new_access, &self.held(), self.now(), dice);
        self.shared.held.send_replace(Arc::new(held));
    }

    /// Changes what is known; tells nobody when it stays the same.
    fn change(&self, change: impl FnOnce(&mut Held)) {
        self.shared.held.send_if_modified(|shared| {
            let before = shared.marks();
            let mut held = Held::clone(shared);
            change(&mut held);
            let changed = held.marks() != before;
            if changed {
                *shared = Arc::new(held);
            }
            changed
        });
    }
}

/// Tells of changes; see [`Tokens::changes`].
#[derive(Debug)]
pub struct Changes(watch::Receiver<Arc<Held>>);

impl Changes {
    /// Completes at the next change since the last call; never after the tokens are gone.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn cut_short() -> TokenError {
    TokenError::Unavailable("the refresh was cut short".into())
}

/// The text without the blanks that pasting brings; nothing when nothing is left.
fn trimmed(secret: &SecretString) -> Option<SecretString> {
    let text = secret.expose_secret().trim();
    (!text.is_empty()).then(|| text.into())
}

#[cfg(test)]
mod tests;
