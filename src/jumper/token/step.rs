//! One refresh, from wanting it to having stored it. Whoever has the flight walks through here.

use super::held::{backoff, fingerprint};
use super::refresh::{Failure, Pair};
use super::{Flight, LEAST_GAP, TokenError, Tokens, Why, cut_short, trimmed};
use crate::clock::now;
use crate::domain::UnixMs;
use crate::store::{Guard, StoredToken};
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
        let early = flight.not_before.is_some_and(|at| at > Instant::now());
        if early && !matches!(why, Why::Forced(_)) {
            return Err(TokenError::Unavailable(flight.last_failure.clone()));
        }
        if self.take_newer(&mut flight).await? && self.settled(why) {
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
        // What is missing or dead needs no lock.
        self.token_for(why)?;
        let turn = self.turn(&mut flight, Some(why)).await?;
        let token = self.token_for(why)?;
        let Some(guard) = turn else { return Ok(()) };
        let done = self.refresh(&mut flight, &token, &guard).await;
        release(guard, &flight).await;
        done
    }

    /// The token to renew, unless it is called dead and nobody insists.
    fn token_for(&self, why: Why) -> Result<StoredToken, TokenError> {
        let token = self.held().token.clone().ok_or(TokenError::Missing)?;
        match &token.dead {
            Some(reason) if !matches!(why, Why::Forced(_)) => Err(TokenError::Dead(reason.clone())),
            _ => Ok(token),
        }
    }

    /// Whether somebody else did what this caller waited for.
    pub(super) fn settled(&self, why: Why) -> bool {
        let held = self.held();
        match why {
            Why::Needed => held.usable(now()).is_some(),
            Why::Refused(generation) | Why::Forced(generation) => held.generation > generation,
            Why::Early => !held.due_in(now()).is_zero(),
        }
    }

    async fn refresh(
        &self,
        flight: &mut Flight,
        token: &StoredToken,
        guard: &Guard,
    ) -> Result<(), TokenError> {
        let reason = match self.ask(&token.refresh, guard).await {
            Ok(pair) => return self.take(flight, Some(token), pair).await,
            Err(Failure::Refused(reason)) => reason,
            Err(failure) => return Err(self.put_off(flight, failure)),
        };
        if let Some(found) = self.found_another(flight, token).await {
            return found;
        }
        match self.ask_new_seed(token, guard).await {
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
            Some(Err(Failure::Refused(_))) | None => self.bury(flight, token, reason).await,
        }
    }

    /// The configured seed is tried before a stored token is buried, when it is another one than
    /// the last: an operator who put it in and started again need not do so twice.
    async fn ask_new_seed(
        &self,
        token: &StoredToken,
        guard: &Guard,
    ) -> Option<Result<Pair, Failure>> {
        let seed = self.shared.settings.seed.as_ref().and_then(trimmed)?;
        if token.seed == Some(fingerprint(&seed)) {
            return None;
        }
        info!(account = %self.shared.settings.account, "trying the seed refresh token of the configuration");
        let asked = self.ask(&seed, guard).await;
        Some(asked.map(|pair| Pair {
            refresh: pair.refresh.or(Some(seed)),
            ..pair
        }))
    }

    /// One exchange; a second one when the answer was lost, because the pair may have rotated and
    /// only the old refresh token can tell.
    async fn ask(&self, refresh: &SecretString, guard: &Guard) -> Result<Pair, Failure> {
        let mut lost = false;
        loop {
            // Held to the end of the call, so that the call is counted.
            let _permit = timeout(LONGEST_QUEUE, self.shared.limiter.maintenance()).await;
            if !guard.is_ours() {
                return Err(Failure::Transient {
                    reason: "the lock at the store ran out before the call".into(),
                    retry_after: None,
                });
            }
            let result = self.shared.exchange.ask(refresh, now()).await;
            let word = match &result {
                Ok(_) => "renewed",
                Err(Failure::Refused(_)) => "refused",
                Err(Failure::Lost(_)) => "lost",
                Err(Failure::Transient { .. }) => "failed",
            };
            let account = self.shared.settings.account.as_str().to_owned();
            counter!("gateway_token_refreshes_total", "account" => account, "result" => word)
                .increment(1);
            match result {
                Err(Failure::Lost(reason)) if !lost => {
                    warn!(account = %self.shared.settings.account, %reason, "the answer to a token refresh was lost; trying the old token once more");
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
        let fence = token.fence;
        let kept = self.save(flight, token).await;
        flight.failures = 0;
        flight.not_before = None;
        if kept.fence == fence {
            flight.refreshed = Some(Instant::now());
            info!(account = %self.shared.settings.account, expires_at = kept.expires_at.seconds(), "took a new pair of tokens");
            self.publish(kept, true);
        } else {
            self.adopt(flight, kept);
        }
        Ok(())
    }

    fn fence(&self) -> u64 {
        self.held().token.as_ref().map_or(0, |token| token.fence)
    }

    async fn bury(
        &self,
        flight: &mut Flight,
        token: &StoredToken,
        reason: String,
    ) -> Result<(), TokenError> {
        if token.dead.is_some() {
            return Err(TokenError::Dead(reason));
        }
        let account = &self.shared.settings.account;
        let buried = StoredToken {
            dead: Some(reason.clone()),
            fence: self.fence() + 1,
            ..token.clone()
        };
        let kept = self.save(flight, buried).await;
        if kept.dead.is_none() {
            self.adopt(flight, kept);
            return Ok(());
        }
        error!(
            %account, reason,
            "Jumper refuses the refresh token: put a new one in through the ops API, or set SEED_REFRESH_TOKEN and restart"
        );
        self.publish(kept, false);
        Err(TokenError::Dead(reason))
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
            obtained_at: old.as_ref().map_or_else(now, |old| old.obtained_at),
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
                Err(self.put_off(flight, failure))
            }
        }
    }
}

/// Lets the next replica in; after a try in vain, not before this one would try again.
async fn release(guard: Guard, flight: &Flight) {
    let pause = flight
        .not_before
        .map(|at| at.saturating_duration_since(Instant::now()));
    guard.release(pause.filter(|pause| !pause.is_zero())).await;
}
