//! One refresh, from wanting it to having stored it. Whoever has the flight walks through here.

use super::held::{backoff, fingerprint};
use super::refresh::{Failure, Pair};
use super::{Flight, LEAST_GAP, TokenError, Tokens, Why, cut_short, trimmed};
use crate::clock::now;
use crate::domain::UnixMs;
use crate::store::StoredToken;
use metrics::counter;
use secrecy::SecretString;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tracing::{error, info, warn};

/// How long a refresh waits for its place in the account's rate. It is counted, never stuck.
const LONGEST_QUEUE: Duration = Duration::from_secs(2);

impl Tokens {
    /// Runs one step in a task of its own, so that nobody who gives up can cut it short between
    /// Jumper's answer and the write.
    pub(super) async fn renew(&self, why: Why) -> Result<(), TokenError> {
        let this = self.clone();
        let step = tokio::spawn(async move { this.step(why).await });
        step.await.unwrap_or_else(|_| Err(cut_short()))
    }

    async fn step(&self, why: Why) -> Result<(), TokenError> {
        let mut flight = self.shared.flight.lock().await;
        if self.settled(why) {
            return Ok(());
        }
        let recent = flight.refreshed.is_some_and(|at| at.elapsed() < LEAST_GAP);
        match why {
            Why::Refused(_) if recent && self.usable().is_some() => {
                return Err(TokenError::StillRefused);
            }
            Why::Early if recent => return Ok(()),
            _ => {}
        }
        let early = flight.not_before.is_some_and(|at| at > Instant::now());
        if early && !matches!(why, Why::Forced(_)) {
            return Err(TokenError::Unavailable(flight.last_failure.clone()));
        }
        if self.take_newer(&flight).await && self.settled(why) {
            return Ok(());
        }
        let token = self.held().token.clone().ok_or(TokenError::Missing)?;
        match &token.dead {
            Some(reason) if !matches!(why, Why::Forced(_)) => Err(TokenError::Dead(reason.clone())),
            _ => self.refresh(&mut flight, &token).await,
        }
    }

    /// Whether somebody else did what this caller waited for.
    pub(super) fn settled(&self, why: Why) -> bool {
        let held = self.held();
        match why {
            Why::Needed => held.usable(now()).is_some(),
            Why::Refused(generation) | Why::Forced(generation) => held.generation > generation,
            Why::Early => held.refresh_at > now(),
        }
    }

    /// Takes what the store has when it is newer than what is in memory.
    async fn take_newer(&self, flight: &Flight) -> bool {
        if flight.unsaved {
            return false;
        }
        let fence = self.held().token.as_ref().map_or(0, |token| token.fence);
        match self.shared.store.load(&self.shared.settings.account).await {
            Ok(Some(stored)) if stored.fence > fence => {
                self.publish(stored, true);
                true
            }
            Ok(_) => false,
            Err(error) => {
                warn!(%error, "the stored tokens cannot be read; going on with those in memory");
                false
            }
        }
    }

    async fn refresh(&self, flight: &mut Flight, token: &StoredToken) -> Result<(), TokenError> {
        match self.ask(&token.refresh).await {
            Ok(pair) => self.take(flight, Some(token), pair).await,
            Err(Failure::Refused(reason)) => {
                if self.take_newer(flight).await && self.usable().is_some() {
                    return Ok(());
                }
                match self.ask_new_seed(token).await {
                    Some(Ok(pair)) => {
                        let seed = self.shared.settings.seed.as_ref().and_then(trimmed);
                        let seed = seed.map(|seed| fingerprint(&seed));
                        let token = StoredToken {
                            seed,
                            ..token.clone()
                        };
                        self.take(flight, Some(&token), pair).await
                    }
                    // Nobody knows whether the seed is good: it is tried again.
                    Some(Err(failure @ (Failure::Lost(_) | Failure::Transient { .. }))) => {
                        Err(self.put_off(flight, failure))
                    }
                    Some(Err(Failure::Refused(_))) | None => {
                        self.bury(flight, token, &reason).await;
                        Err(TokenError::Dead(reason))
                    }
                }
            }
            Err(failure) => Err(self.put_off(flight, failure)),
        }
    }

    /// The configured seed is tried before a stored token is buried, when it is another one than
    /// the last: an operator who put it in and started again need not do so twice.
    async fn ask_new_seed(&self, token: &StoredToken) -> Option<Result<Pair, Failure>> {
        let seed = self.shared.settings.seed.as_ref().and_then(trimmed)?;
        if token.seed == Some(fingerprint(&seed)) {
            return None;
        }
        info!(account = %self.shared.settings.account, "trying the seed refresh token of the configuration");
        let asked = self.ask(&seed).await;
        Some(asked.map(|pair| Pair {
            refresh: pair.refresh.or(Some(seed)),
            ..pair
        }))
    }

    /// One exchange; a second one when the answer was lost, because the pair may have rotated and
    /// only the old refresh token can tell.
    async fn ask(&self, refresh: &SecretString) -> Result<Pair, Failure> {
        let mut lost = false;
        loop {
            // Held to the end of the call, so that the call is counted.
            let _permit = timeout(LONGEST_QUEUE, self.shared.limiter.maintenance()).await;
            let result = self.shared.exchange.ask(refresh, now()).await;
            let word = match &result {
                Ok(_) => "renewed",
                Err(Failure::Refused(_)) => "refused",
                Err(Failure::Lost(_)) => "lost",
                Err(Failure::Transient { .. }) => "failed",
            };
            counter!("gateway_token_refreshes_total", "result" => word).increment(1);
            match result {
                Err(Failure::Lost(reason)) if !lost => {
                    warn!(%reason, "the answer to a token refresh was lost; trying the old token once more");
                    lost = true;
                }
                result => return result,
            }
        }
    }

    async fn take(
        &self,
        flight: &mut Flight,
        old: Option<&StoredToken>,
        pair: Pair,
    ) -> Result<(), TokenError> {
        let refresh = pair.refresh.or_else(|| old.map(|old| old.refresh.clone()));
        let token = StoredToken {
            access: Some(pair.access),
            refresh: refresh.ok_or(TokenError::Missing)?,
            obtained_at: now(),
            expires_at: pair.expires_at,
            fence: self.fence() + 1,
            dead: None,
            seed: old.and_then(|old| old.seed.clone()),
        };
        self.save(flight, &token).await;
        flight.failures = 0;
        flight.not_before = None;
        flight.refreshed = Some(Instant::now());
        info!(account = %self.shared.settings.account, expires_at = token.expires_at.seconds(), "took a new pair of tokens");
        self.publish(token, true);
        Ok(())
    }

    fn fence(&self) -> u64 {
        self.held().token.as_ref().map_or(0, |token| token.fence)
    }

    /// Stores, or remembers that it must still be stored: losing a pair is worse than using one
    /// that only memory has.
    pub(super) async fn save(&self, flight: &mut Flight, token: &StoredToken) {
        let account = &self.shared.settings.account;
        let saved = self.shared.store.save(account, token).await;
        if let Err(error) = &saved
            && !flight.unsaved
        {
            error!(%account, %error, "the new tokens cannot be stored; they are used from memory and a restart now would lose them");
        }
        flight.unsaved = saved.is_err();
    }

    async fn bury(&self, flight: &mut Flight, token: &StoredToken, reason: &str) {
        if token.dead.is_some() {
            return;
        }
        let account = &self.shared.settings.account;
        error!(
            %account, reason,
            "Jumper refuses the refresh token: put a new one in through the ops API, or set SEED_REFRESH_TOKEN and restart"
        );
        let token = StoredToken {
            dead: Some(reason.to_owned()),
            fence: token.fence + 1,
            ..token.clone()
        };
        self.save(flight, &token).await;
        self.publish(token, false);
    }

    fn put_off(&self, flight: &mut Flight, failure: Failure) -> TokenError {
        let (reason, asked) = match failure {
            Failure::Transient {
                reason,
                retry_after,
            } => (reason, retry_after),
            Failure::Refused(reason) | Failure::Lost(reason) => (reason, None),
        };
        flight.failures = flight.failures.saturating_add(1);
        let pause = backoff(flight.failures, fastrand::f64()).max(asked.unwrap_or_default());
        flight.not_before = Some(Instant::now() + pause);
        flight.last_failure.clone_from(&reason);
        warn!(account = %self.shared.settings.account, %reason, pause_s = pause.as_secs(), "the tokens could not be renewed; trying again");
        TokenError::Unavailable(reason)
    }

    pub(super) async fn try_seed(&self, seed: SecretString) -> Result<(), TokenError> {
        let mut flight = self.shared.flight.lock().await;
        self.take_newer(&flight).await;
        let old = self.held().token.clone();
        let of_no_use = old.as_ref().is_none_or(|old| old.dead.is_some());
        let with = |seed: SecretString| StoredToken {
            access: old.as_ref().and_then(|old| old.access.clone()),
            obtained_at: old.as_ref().map_or_else(now, |old| old.obtained_at),
            expires_at: old.as_ref().map_or(UnixMs(0), |old| old.expires_at),
            fence: self.fence() + 1,
            dead: None,
            seed: old.as_ref().and_then(|old| old.seed.clone()),
            refresh: seed,
        };
        match self.ask(&seed).await {
            Ok(pair) => self.take(&mut flight, Some(&with(seed)), pair).await,
            Err(Failure::Refused(reason)) => Err(TokenError::SeedRefused(reason)),
            Err(failure) => {
                // Nothing better is known, so the seed is kept and tried again by itself.
                if of_no_use {
                    let token = with(seed);
                    self.save(&mut flight, &token).await;
                    self.publish(token, false);
                }
                Err(self.put_off(&mut flight, failure))
            }
        }
    }
}
