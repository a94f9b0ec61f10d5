//! The tokens of one account: kept, renewed early, never renewed twice at once (DESIGN G7).
//!
//! A refresh kills the pair it came from, so the new one is stored in one write before it is used,
//! and the whole step runs in a task of its own: a caller that gives up does not cut it short. A
//! refresh token is called dead only when an answer says so; then the operator is told once and
//! everything waits for a new seed. Never logs or shows a token.

#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod held;
mod keep;
mod refresh;
mod replicas;
mod step;

use super::client::BuildError;
use crate::clock::now;
use crate::domain::{AccountId, UnixMs};
use crate::limit::Limiter;
use crate::store::{self, StoreError, StoredToken};
pub use held::{Access, TokenState};
use held::{Held, fingerprint};
use metrics::gauge;
use refresh::Exchange;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// Between two refreshes that nobody forced lies at least this.
const LEAST_GAP: Duration = Duration::from_secs(60);

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
    /// A token that is less than a minute old was refused.
    #[error("Jumper refuses an access token that it has just given")]
    StillRefused,
    /// Nobody knows; the next try may bring it.
    #[error("no new access token yet: {0}")]
    Unavailable(String),
    /// The seed that was put in is refused; what was known before goes on.
    #[error("Jumper refuses this seed token: {0}")]
    SeedRefused(String),
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
    /// Set when the process ends: nobody waits for another replica any more.
    closing: CancellationToken,
}

#[derive(Debug, Default)]
struct Flight {
    /// Failures in a row that said nothing about the refresh token.
    failures: u32,
    /// Nobody but an operator refreshes before this.
    not_before: Option<Instant>,
    /// Why the last try brought nothing.
    last_failure: String,
    /// When the last pair came.
    refreshed: Option<Instant>,
    /// What is in memory is newer than what the store took.
    unsaved: bool,
    /// When it was last said that the store cannot be used.
    store_away: Option<Instant>,
}

/// Why somebody wants a new pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// There is no access token that could be used.
    Needed,
    /// The access token of this generation was refused.
    Refused(u64),
    /// Its life nears the end.
    Early,
    /// An operator asks, having seen this generation.
    Forced(u64),
}

impl Tokens {
    /// The tokens of an account, not loaded yet.
    pub fn new(
        settings: TokenSettings,
        store: store::Tokens,
        limiter: Limiter,
    ) -> Result<Self, BuildError> {
        let exchange = Exchange::new(&settings.api_url, &settings.basic, settings.refresh_timeout)?;
        let shared = Shared {
            settings,
            exchange,
            store,
            limiter,
            held: watch::Sender::new(Arc::default()),
            flight: Mutex::default(),
            closing: CancellationToken::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Loads what is stored, or what the old connector stored since, and takes the seed when there
    /// is nothing, or when that is dead and the seed is another one than the last. Makes no call.
    pub async fn start(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        let mut stored = match shared.store.load(&shared.settings.account).await {
            Err(error @ StoreError::Unreadable(_)) => {
                // The other accounts go on, and messages are accepted; not even the seed is used, as
                // it would take the place of tokens that a newer program may be able to read.
                error!(account = %shared.settings.account, %error, "the stored tokens are left as they are and nothing is sent; upgrade this process, or start one of the version that wrote them");
                return Ok(());
            }
            loaded => loaded?,
        };
        if let Some(imported) = self.import(stored.as_ref()).await? {
            stored = Some(imported);
        }
        let seed = shared.settings.seed.as_ref().and_then(trimmed);
        let token = match (stored, seed) {
            (None, None) => return Ok(()),
            (None, Some(seed)) => self.seeded(None, seed),
            (Some(old), Some(seed))
                if old.dead.is_some() && old.seed != Some(fingerprint(&seed)) =>
            {
                self.seeded(Some(old), seed)
            }
            (Some(old), _) => {
                self.publish(old, true);
                return Ok(());
            }
        };
        if shared.store.save(&shared.settings.account, &token).await? {
            info!(account = %shared.settings.account, "took the seed refresh token from the configuration");
            self.publish(token, true);
        } else if let Some(stored) = shared.store.load(&shared.settings.account).await? {
            self.publish(stored, true);
        }
        Ok(())
    }

    fn seeded(&self, old: Option<StoredToken>, seed: SecretString) -> StoredToken {
        StoredToken {
            access: None,
            seed: Some(fingerprint(&seed)),
            refresh: seed,
            obtained_at: now(),
            expires_at: UnixMs(0),
            fence: old.map_or(0, |old| old.fence) + 1,
            dead: None,
        }
    }

    /// An access token to use now, renewed first when the last one has ended.
    pub async fn access(&self) -> Result<Access, TokenError> {
        if let Some(access) = self.usable() {
            return Ok(access);
        }
        self.renew(Why::Needed).await?;
        let gone = || TokenError::Unavailable("the new access token has already ended".into());
        self.usable().ok_or_else(gone)
    }

    /// Tells that Jumper refused the access token of this generation. `Ok` means that there is a
    /// newer one to go on with.
    pub async fn refused(&self, generation: u64) -> Result<(), TokenError> {
        if self.held().generation > generation {
            return Ok(());
        }
        self.renew(Why::Refused(generation)).await
    }

    /// Renews the pair because an operator asks, even a pair that is called dead.
    pub async fn refresh_now(&self) -> Result<(), TokenError> {
        let generation = self.held().generation;
        self.renew(Why::Forced(generation)).await
    }

    /// Tries a refresh token that an operator put in and goes on with it when it works. One that
    /// is refused changes nothing.
    pub async fn new_seed(&self, seed: SecretString) -> Result<(), TokenError> {
        let seed = trimmed(&seed).ok_or(TokenError::Missing)?;
        let this = self.clone();
        let step = tokio::spawn(async move { this.try_seed(seed).await });
        step.await.unwrap_or_else(|_| Err(cut_short()))
    }

    /// How things stand.
    pub fn state(&self) -> TokenState {
        self.held().state(now())
    }

    /// Tells of every change of [`Tokens::state`] that a call or an answer brings.
    pub fn changes(&self) -> Changes {
        Changes(self.shared.held.subscribe())
    }

    fn held(&self) -> Arc<Held> {
        self.shared.held.borrow().clone()
    }

    fn usable(&self) -> Option<Access> {
        self.shared.held.borrow().usable(now())
    }

    fn publish(&self, token: StoredToken, new_access: bool) {
        let account = self.shared.settings.account.to_string();
        #[expect(
            clippy::cast_precision_loss,
            reason = "seconds of this century are exact"
        )]
        gauge!("gateway_token_expires_at_seconds", "account" => account)
            .set(token.expires_at.seconds() as f64);
        let held = Held::new(token, new_access, &self.held(), (now(), fastrand::f64()));
        self.shared.held.send_replace(Arc::new(held));
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
