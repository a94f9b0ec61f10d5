//! Refresh tokens that people bring: through the ops API, or in the configuration.

use super::held::fingerprint;
use super::refresh::{Failure, Pair};
use super::step::release;
use super::{Flight, TokenError, Tokens, cut_short, trimmed};
use crate::domain::UnixMs;
use crate::store::{Guard, StoredToken};
use secrecy::SecretString;
use tracing::info;

impl Tokens {
    /// Tries a refresh token that an operator put in and goes on with it when it works. One that
    /// is refused changes nothing.
    pub async fn new_seed(&self, seed: SecretString) -> Result<(), TokenError> {
        let seed = trimmed(&seed).ok_or(TokenError::Missing)?;
        let this = self.clone();
        let step = tokio::spawn(async move { this.try_seed(seed).await });
        step.await.unwrap_or_else(|_| Err(cut_short()))
    }

    /// The configured seed is tried before a stored token is buried, when it is another one than
    /// the last: an operator who put it in and started again need not do so twice.
    pub(super) async fn ask_new_seed(
        &self,
        token: &StoredToken,
        guard: &Guard,
    ) -> Option<Result<Pair, Failure>> {
        let seed = self.shared.settings.seed.as_ref().and_then(trimmed)?;
        if token.seed == Some(fingerprint(&seed)) {
            return None;
        }
        info!(
            account = %self.shared.settings.account, event = "token_seed_tried",
            "trying the seed refresh token of the configuration"
        );
        let asked = self.ask(&seed, guard).await;
        Some(asked.map(|pair| Pair {
            refresh: pair.refresh.or(Some(seed)),
            ..pair
        }))
    }

    async fn try_seed(&self, seed: SecretString) -> Result<(), TokenError> {
        let mut flight = self.shared.flight.lock().await;
        self.take_newer(&mut flight).await?;
        let Some(guard) = self.turn(&mut flight, None).await? else {
            return Err(cut_short());
        };
        let done = self.ask_seed(&mut flight, seed, &guard).await;
        release(guard, &flight).await;
        done
    }

    async fn ask_seed(
        &self,
        flight: &mut Flight,
        seed: SecretString,
        guard: &Guard,
    ) -> Result<(), TokenError> {
        let old = self.held().token.clone();
        let of_no_use = old.as_ref().is_none_or(|old| old.dead.is_some());
        let with = |seed: SecretString| StoredToken {
            access: old.as_ref().and_then(|old| old.access.clone()),
            obtained_at: old
                .as_ref()
                .map_or_else(|| self.now(), |old| old.obtained_at),
            expires_at: old.as_ref().map_or(UnixMs(0), |old| old.expires_at),
            fence: self.fence() + 1,
            dead: None,
            seed: old.as_ref().and_then(|old| old.seed.clone()),
            refresh: seed,
        };
        match self.ask(&seed, guard).await {
            Ok(pair) => self.take(flight, Some(&with(seed)), pair).await,
            Err(Failure::Refused(reason)) => Err(TokenError::SeedRefused(reason)),
            Err(failure) => {
                // Nothing better is known, so the seed is kept and tried again by itself.
                if of_no_use {
                    let kept = self.save(flight, with(seed)).await;
                    self.adopt(flight, kept);
                }
                Err(self.in_vain(flight, failure))
            }
        }
    }
}
