//! The access token: who gets it, and what its users tell of it.

use super::held::{Refusal, Words};
use super::{Access, TokenError, Tokens, Want, Why};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::timeout;

/// How long one waits for a newer token who has one that may still work.
const PATIENCE: Duration = Duration::from_secs(2);

impl Tokens {
    /// An access token to use now, renewed first when the last one has ended. Where that brings
    /// nothing, one that has ended by our clock is used until Jumper refuses it.
    pub async fn access(&self) -> Result<Access, TokenError> {
        if let Some(access) = self.usable() {
            return Ok(access);
        }
        let renewed = match self.held().in_force() {
            // Whoever has something to go on with does not wait for an answer that does not come.
            Some(_) => match timeout(PATIENCE, self.renew(Why::Needed)).await {
                Ok(renewed) => renewed,
                Err(_) => Ok(()),
            },
            None => self.renew(Why::Needed).await,
        };
        let gone = || TokenError::Unavailable("there is no access token yet".into());
        let access = self.held().in_force();
        access.ok_or_else(|| renewed.err().unwrap_or_else(gone))
    }

    /// Tells that Jumper refused the access token of this generation, and in what words. `Ok` means
    /// that there is a newer one to go on with.
    pub async fn refused(&self, generation: u64, text: &str) -> Result<(), TokenError> {
        if self.held().generation > generation {
            return Ok(());
        }
        // From now on nobody gets it.
        self.change(|held| {
            if held.generation == generation && held.refusal == Refusal::None {
                held.refusal = Refusal::Asked;
            }
        });
        let want = Want {
            why: Why::Refused,
            seen: generation,
        };
        let renewed = self.renew_for(want).await;
        if renewed == Err(TokenError::StillRefused) {
            let since = self.now();
            self.change(|held| {
                if held.generation == generation && held.refusal == Refusal::Asked {
                    let reason = text.to_owned();
                    held.refusal = Refusal::InForce(Words { reason, since });
                }
            });
        }
        renewed
    }

    /// Tells that Jumper took the access token of this generation.
    pub fn worked(&self, generation: u64) {
        self.shared.worked.fetch_max(generation, Ordering::Relaxed);
        if self.shared.held.borrow().refusal != Refusal::None {
            self.change(|held| {
                if held.generation == generation {
                    held.refusal = Refusal::None;
                }
            });
        }
    }

    /// The access token of this generation, while it is in force.
    pub fn current(&self, generation: u64) -> Option<Access> {
        let access = self.shared.held.borrow().in_force();
        access.filter(|access| access.generation == generation)
    }

    /// The access token that Jumper refuses, to try whether it still does.
    pub fn doubtful(&self) -> Option<Access> {
        self.shared.held.borrow().refused()
    }

    /// Whether two refused calls say enough of the access token: not when the last two that they
    /// were said of have been replaced in vain.
    pub async fn is_easily_replaced(&self) -> bool {
        self.shared.flight.lock().await.spent < 2
    }
}
