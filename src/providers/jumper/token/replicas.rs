//! Getting along with the other replicas: one of them renews, the others take what it stored.
//!
//! Whoever wants to renew takes the account's lock at the store and reads the stored pair once more
//! before it calls. A store that cannot be reached gives no lock, and then no refresh begins: its
//! pair could not be stored. The access token in memory is used meanwhile. A call that is under way
//! when the store goes is not broken off: its pair may be the only good one. A pair is written only
//! over an older one, so of two writers the first one counts; but a living pair counts more than
//! the word that its parent is dead.

use super::aside::print;
use super::flight::LEAST_GAP;
use super::held::Refusal;
use super::{Flight, TokenError, Tokens, Want, Why};
use crate::store::{Guard, Locked, StoreError, StoredToken};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

/// How long one waits for another replica: longer than the lock of a dead one lives.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// Between two looks at what the other one has done, give or take a half.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// No new try before this, after a store or another replica was in the way.
const STEP_BACK: Duration = Duration::from_secs(1);
/// Tries to store a new pair at once, while the lock is held.
const SAVES: u32 = 4;
/// Between them.
const SAVE_AGAIN: Duration = Duration::from_millis(250);

impl Tokens {
    /// Becomes the one replica that may renew. `None`: somebody else did meanwhile what is wanted,
    /// or found the refresh token dead. Without a reason nothing that others do is enough.
    pub(super) async fn turn(
        &self,
        flight: &mut Flight,
        want: Option<Want>,
    ) -> Result<Option<Guard>, TokenError> {
        let shared = &self.shared;
        // The pause after a doubt is for the others.
        let urgent = want.is_none_or(|want| want.why == Why::Forced)
            || flight.doubted(&self.held()).is_some();
        let give_up = Instant::now() + LONGEST_WAIT;
        loop {
            let tried = shared
                .store
                .lock(&shared.settings.account, "refresh", urgent);
            match tried.await.map_err(|error| self.away(flight, &error))? {
                Locked::Ours(guard) => return self.go_ahead(flight, want, guard).await,
                Locked::PutOff(pause) => {
                    let reason = "another replica tried to renew the tokens in vain".to_owned();
                    return Err(step_back(flight, pause, reason));
                }
                Locked::Busy => {}
            }
            if Instant::now() >= give_up || shared.closing.is_cancelled() {
                let reason = "another replica is renewing the tokens".to_owned();
                return Err(step_back(flight, STEP_BACK, reason));
            }
            // waits because the other replica is at work, within a bound
            sleep(LOOK_AGAIN.mul_f64(0.5 + fastrand::f64())).await;
            self.take_newer(flight).await?;
            if self.is_enough(want) {
                return Ok(None);
            }
        }
    }

    /// With the lock: somebody may have finished just before.
    async fn go_ahead(
        &self,
        flight: &mut Flight,
        want: Option<Want>,
        guard: Guard,
    ) -> Result<Option<Guard>, TokenError> {
        if !self.shared.store.is_shared() {
            return Ok(Some(guard));
        }
        let looked = self.take_newer(flight).await;
        if looked.is_err() || self.is_enough(want) {
            guard.release(None).await;
            return looked.map(|_| None);
        }
        Ok(Some(guard))
    }

    fn is_enough(&self, want: Option<Want>) -> bool {
        want.is_some_and(|want| {
            let dead = self.held().dead().is_some() && want.why != Why::Forced;
            dead || self.settled(want)
        })
    }

    /// Waits for the sole right to do some other work of the account, at most 8 s.
    pub(in crate::providers::jumper) async fn alone(
        &self,
        work: &str,
    ) -> Result<Guard, TokenError> {
        let shared = &self.shared;
        let give_up = Instant::now() + LONGEST_WAIT / 2;
        loop {
            let tried = shared.store.lock(&shared.settings.account, work, true);
            match tried.await {
                Ok(Locked::Ours(guard)) => return Ok(guard),
                Ok(_) if Instant::now() < give_up => {}
                Ok(_) => {
                    return Err(TokenError::Unavailable(format!(
                        "{work}: another replica is at it"
                    )));
                }
                Err(error) => return Err(TokenError::Unavailable(error.to_string())),
            }
            // waits because the other replica is at work, within a bound
            sleep(LOOK_AGAIN.mul_f64(0.5 + fastrand::f64())).await;
        }
    }

    /// Takes what the store has when it is newer than what is in memory, and gives it what it has
    /// not taken yet or has lost. An error only where others may have changed it meanwhile.
    pub(super) async fn take_newer(&self, flight: &mut Flight) -> Result<bool, TokenError> {
        let shared = &self.shared;
        let before = self.held().token.as_ref().map_or(0, |token| token.fence);
        if let (true, Some(token)) = (flight.unsaved, self.held().token.clone()) {
            let kept = self.save(flight, token).await;
            self.adopt(flight, kept);
        }
        if flight.unsaved {
            let reason = "the newest tokens are not stored yet".to_owned();
            return match shared.store.is_shared() {
                true => Err(step_back(flight, STEP_BACK, reason)),
                false => Ok(false),
            };
        }
        match shared.store.load(&shared.settings.account).await {
            Ok(stored) => {
                flight.stored = stored.as_ref().map(print);
                let held = self.held();
                let fence = held.token.as_ref().map_or(0, |token| token.fence);
                match (stored, &held.token) {
                    (Some(stored), _) if stored.fence > fence => self.adopt(flight, stored),
                    (Some(stored), Some(token))
                        if stored.fence == fence && same(token, &stored) => {}
                    (_, Some(token)) => {
                        warn!(
                            account = %shared.settings.account, event = "token_stored_again",
                            "the store does not have the newest tokens; storing them again"
                        );
                        let kept = self.save(flight, token.clone()).await;
                        self.adopt(flight, kept);
                    }
                    (_, None) => {}
                }
            }
            Err(error) if shared.store.is_shared() => return Err(self.away(flight, &error)),
            Err(error) => {
                warn!(
                    %error, event = "token_unreadable",
                    "the stored tokens cannot be read; going on with those in memory"
                );
            }
        }
        let after = self.held().token.as_ref().map_or(0, |token| token.fence);
        Ok(after > before)
    }

    /// Goes on with what is stored, unless that is what is held already.
    pub(super) fn adopt(&self, flight: &mut Flight, stored: StoredToken) {
        if !flight.unsaved {
            flight.stored = Some(print(&stored));
        }
        let held = self.held();
        let old = held.token.as_ref();
        if old.is_some_and(|old| old.fence == stored.fence && same(old, &stored)) {
            return;
        }
        let account = &self.shared.settings.account;
        let new_access =
            old.is_none_or(|old| shown(old.access.as_ref()) != shown(stored.access.as_ref()));
        if new_access && stored.access.is_some() {
            // When others got it, by a clock that may not be ours, does not matter: we have it now.
            flight.renewed(held.refusal != Refusal::None);
            flight.proofs = 0;
            info!(
                %account, event = "token_taken_from_store",
                "took the newer tokens from the store"
            );
        } else if let Some(reason) = &stored.dead {
            warn!(
                %account, reason, event = "token_dead_in_store",
                "the store says that the refresh token is dead"
            );
        }
        self.publish(stored, new_access);
    }

    /// Stores, or remembers that it must still be stored: losing a pair is worse than using one
    /// that only memory has. Returns what to go on with, which is what is stored when that is newer.
    pub(super) async fn save(&self, flight: &mut Flight, mut token: StoredToken) -> StoredToken {
        let shared = &self.shared;
        let account = &shared.settings.account;
        // What is unsaved already is tried again soon.
        let mut tries = if shared.store.is_shared() && !flight.unsaved {
            SAVES
        } else {
            1
        };
        let mut failure = String::new();
        while tries > 0 {
            let stored = match shared.store.save(account, &token).await {
                Ok(true) => {
                    self.is_stored(flight, &token).await;
                    return token;
                }
                Ok(false) => shared.store.load(account).await,
                Err(error) => Err(error),
            };
            match stored {
                // Its parent was called dead while it was on its way.
                Ok(Some(stored)) if stored.dead.is_some() && token.dead.is_none() => {
                    token.fence = stored.fence + 1;
                }
                Ok(Some(stored)) => {
                    self.is_stored(flight, &stored).await;
                    return stored;
                }
                Ok(None) => {}
                Err(error) => {
                    failure = error.to_string();
                    tries -= 1;
                    // At once: who kills the process does not wait for the other tries.
                    self.put_by(flight, &token).await;
                    // waits because a connection that broke is made anew; the lock is renewed meanwhile
                    sleep(SAVE_AGAIN.min(SAVE_AGAIN * tries)).await;
                }
            }
        }
        if !flight.unsaved {
            self.tell_unsaved(flight, &failure);
        }
        flight.unsaved = true;
        token
    }

    /// The refresh token may be refused because somebody else used it and stored what came of it:
    /// another process, or the old connector. `None`: nobody did.
    pub(super) async fn found_another(
        &self,
        flight: &mut Flight,
        refused: &StoredToken,
    ) -> Option<Result<(), TokenError>> {
        let before = self.held().generation;
        let newer = self.take_newer(flight).await.ok()?;
        if let Ok(Some(imported)) = self.import(self.held().token.as_ref()).await {
            self.adopt(flight, imported);
        }
        let held = self.held();
        let now_held = held.token.as_ref()?;
        let another = shown(Some(&now_held.refresh)) != shown(Some(&refused.refresh));
        if let (true, None, Some(reason)) = (newer, &refused.dead, &now_held.dead) {
            return Some(Err(TokenError::Dead(reason.clone())));
        }
        if (newer || another) && held.in_force().is_some() && held.generation > before {
            return Some(Ok(()));
        }
        let reason = "another refresh token was stored meanwhile; it is tried next";
        another.then(|| Err(TokenError::Unavailable(reason.into())))
    }

    /// No store, no refresh; said once a minute.
    fn away(&self, flight: &mut Flight, error: &StoreError) -> TokenError {
        if flight.store_away.is_none_or(|at| at.elapsed() >= LEAST_GAP) {
            warn!(
                account = %self.shared.settings.account, %error, event = "token_renewal_cannot_begin",
                "no refresh of the tokens can begin; the access token in memory is used to its end"
            );
            flight.store_away = Some(Instant::now());
        }
        step_back(flight, STEP_BACK, error.to_string())
    }
}

fn step_back(flight: &mut Flight, pause: Duration, reason: String) -> TokenError {
    flight.not_before = Some(Instant::now() + pause);
    flight.last_failure.clone_from(&reason);
    TokenError::Unavailable(reason)
}

fn shown(secret: Option<&SecretString>) -> Option<&str> {
    secret.map(ExposeSecret::expose_secret)
}

fn same(one: &StoredToken, other: &StoredToken) -> bool {
    shown(one.access.as_ref()) == shown(other.access.as_ref())
        && shown(Some(&one.refresh)) == shown(Some(&other.refresh))
        && one.dead == other.dead
}
