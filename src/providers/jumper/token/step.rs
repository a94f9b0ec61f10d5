//! One refresh, from wanting it to having stored it. Whoever has the flight walks through here.

use super::held::{Refusal, fingerprint};
use super::refresh::{Failure, Pair};
use super::{Flight, TokenError, Tokens, Want, Why, cut_short, trimmed};
use crate::store::{Guard, StoredToken};
use metrics::counter;
use secrecy::SecretString;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::timeout;
use tracing::{error, info, warn};

/// How long a refresh waits for its place in the account's rate. It is counted, never stuck.
const LONGEST_QUEUE: Duration = Duration::from_secs(2);
/// How much longer other replicas wait to ask about a refresh token that was called dead once.
const HEAD_START: Duration = Duration::from_secs(5);

impl Tokens {
    /// Renews for somebody who has seen what is held now.
    pub(super) async fn renew(&self, why: Why) -> Result<(), TokenError> {
        let seen = self.held().generation;
        self.renew_for(Want { why, seen }).await
    }

    /// Runs one step in a task of its own, so that nobody who gives up can cut it short between
    /// Jumper's answer and the write.
    pub(super) async fn renew_for(&self, want: Want) -> Result<(), TokenError> {
        let this = self.clone();
        let step = tokio::spawn(async move { this.step(want).await });
        step.await.unwrap_or_else(|_| Err(cut_short()))
    }

    async fn step(&self, want: Want) -> Result<(), TokenError> {
        let mut flight = self.shared.flight.lock().await;
        if self.settled(want) {
            return Ok(());
        }
        let early = self.too_soon(&mut flight, want);
        if let Some(answer) = early.filter(|early| *early != Err(TokenError::StillRefused)) {
            return answer;
        }
        if self.take_newer(&mut flight).await? && self.settled(want) {
            return Ok(());
        }
        if let Some(answer) = self.too_soon(&mut flight, want) {
            return answer;
        }
        // What is missing or dead needs no lock.
        self.token_for(want.why)?;
        self.prove_first(&mut flight).await;
        self.token_for(want.why)?;
        let turn = self.turn(&mut flight, Some(want)).await?;
        let token = self.token_for(want.why)?;
        let Some(guard) = turn else { return Ok(()) };
        let done = self.refresh(&mut flight, &token, &guard).await;
        release(guard, &flight).await;
        done
    }

    fn too_soon(&self, flight: &mut Flight, want: Want) -> Option<Result<(), TokenError>> {
        let held = self.held();
        let worked = self.shared.worked.load(Ordering::Relaxed) >= held.generation;
        flight.too_soon(want, &held, worked, self.now())
    }

    /// The token to renew, unless it is of no use to ask and nobody insists.
    fn token_for(&self, why: Why) -> Result<StoredToken, TokenError> {
        let held = self.held();
        let token = held.token.clone().ok_or(TokenError::Missing)?;
        if why == Why::Forced {
            return Ok(token);
        }
        if let Some(words) = &held.credentials {
            return Err(TokenError::Credentials(words.reason.clone()));
        }
        match held.dead() {
            Some(reason) => Err(TokenError::Dead(reason.to_owned())),
            None => Ok(token),
        }
    }

    /// Whether somebody else did what this caller waited for.
    pub(super) fn settled(&self, want: Want) -> bool {
        let held = self.held();
        held.generation > want.seen
            || match want.why {
                Why::Needed => held.usable(self.now()).is_some(),
                Why::Early => !held.due_in(self.now()).is_zero(),
                Why::Refused | Why::Again | Why::Forced => false,
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
            Err(failure) => return Err(self.in_vain(flight, failure)),
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
            Some(Err(Failure::Refused(_))) | None => self.doubt(flight, token, reason).await,
            // Nobody knows whether the seed is good: it is tried again.
            Some(Err(failure)) => Err(self.in_vain(flight, failure)),
        }
    }

    /// One exchange; a second one when the answer was lost, because the pair may have rotated and
    /// only the old refresh token can tell.
    pub(super) async fn ask(&self, refresh: &SecretString, guard: &Guard) -> Result<Pair, Failure> {
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
            let result = self.shared.exchange.ask(refresh, self.now()).await;
            let word = match &result {
                Ok(_) => "renewed",
                Err(Failure::Refused(_)) => "refused",
                Err(Failure::Credentials(_)) => "wrong credentials",
                Err(Failure::Lost(_)) => "lost",
                Err(Failure::Transient { .. }) => "failed",
            };
            let account = self.shared.settings.account.as_str().to_owned();
            counter!("gateway_token_refreshes_total", "account" => account, "result" => word)
                .increment(1);
            match result {
                Err(Failure::Lost(reason)) if !lost => {
                    warn!(
                        account = %self.shared.settings.account, %reason, event = "token_answer_lost",
                        "the answer to a token refresh was lost; trying the old token once more"
                    );
                    lost = true;
                }
                result => return result,
            }
        }
    }

    pub(super) async fn take(
        &self,
        flight: &mut Flight,
        old: Option<&StoredToken>,
        pair: Pair,
    ) -> Result<(), TokenError> {
        let refresh = pair.refresh.or_else(|| old.map(|old| old.refresh.clone()));
        let token = StoredToken {
            access: Some(pair.access),
            refresh: refresh.ok_or(TokenError::Missing)?,
            obtained_at: self.now(),
            expires_at: pair.expires_at,
            fence: self.fence() + 1,
            dead: None,
            seed: old.and_then(|old| old.seed.clone()),
        };
        let fence = token.fence;
        let instead = self.held().refusal != Refusal::None;
        let kept = self.save(flight, token).await;
        flight.unproved = false;
        flight.proofs = 0;
        if kept.fence == fence {
            flight.renewed(instead);
            info!(
                account = %self.shared.settings.account, expires_at = kept.expires_at.seconds(), event = "token_renewed",
                "took a new pair of tokens"
            );
            self.publish(kept, true);
        } else {
            self.adopt(flight, kept);
        }
        Ok(())
    }

    pub(super) fn fence(&self) -> u64 {
        self.held().token.as_ref().map_or(0, |token| token.fence)
    }

    /// Jumper calls the refresh token dead. It is believed when it says so again, a minute later; of
    /// one that was called dead before, once more is enough.
    async fn doubt(
        &self,
        flight: &mut Flight,
        token: &StoredToken,
        reason: String,
    ) -> Result<(), TokenError> {
        let account = &self.shared.settings.account;
        if token.dead.is_some() {
            self.change(|held| held.on_trial = false);
            return Err(TokenError::Dead(reason));
        }
        if flight.is_dead(token, &reason) {
            return self.bury(flight, token, reason).await;
        }
        warn!(
            %account, reason, again_in_s = flight.pause().as_secs(), event = "token_called_dead",
            "Jumper calls the refresh token dead; it is asked once more before that is believed"
        );
        Err(TokenError::Unavailable(reason))
    }

    async fn bury(
        &self,
        flight: &mut Flight,
        token: &StoredToken,
        reason: String,
    ) -> Result<(), TokenError> {
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
        let account = &self.shared.settings.account;
        error!(
            %account, reason,
            event = "token_dead",
            "Jumper refuses the refresh token: put a new one in through the ops API, or set SEED_REFRESH_TOKEN and restart"
        );
        flight.not_before = None;
        self.publish(kept, false);
        Err(TokenError::Dead(reason))
    }

    /// A try that says nothing of the refresh token.
    pub(super) fn in_vain(&self, flight: &mut Flight, failure: Failure) -> TokenError {
        let (reason, asked) = match failure {
            Failure::Credentials(reason) => return self.wrong_credentials(flight, reason),
            Failure::Transient {
                reason,
                retry_after,
            } => (reason, retry_after),
            Failure::Refused(reason) | Failure::Lost(reason) => (reason, None),
        };
        let pause = flight.put_off(&reason, asked);
        warn!(
            account = %self.shared.settings.account, %reason, pause_s = pause.as_secs(), event = "token_renewal_failed",
            "the tokens could not be renewed; trying again"
        );
        TokenError::Unavailable(reason)
    }
}

/// Lets the next replica in; after a try in vain, not before this one would try again. Whoever has
/// heard that the token is dead is to hear it again, so the others give it a start.
pub(super) async fn release(guard: Guard, flight: &Flight) {
    let head_start = flight.doubt.as_ref().map_or(Duration::ZERO, |_| HEAD_START);
    let pause = Some(flight.pause()).filter(|pause| !pause.is_zero());
    guard.release(pause.map(|pause| pause + head_start)).await;
}
