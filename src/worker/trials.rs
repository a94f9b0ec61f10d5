//! The trials of held scopes: when one is due, a list call that sends nothing, then one message. When
//! the provider takes it, the scope sends again. Of several replicas one makes the trial.
//!
//! Nothing queued: the next accepted message is the trial.

use super::{HORIZON, LEAD};
use crate::accounts::{Account, Channel, Holds};
use crate::breaker::Admission;
use crate::clock;
use crate::domain::Phone;
use crate::domain::circumstance::{Hold, Scope};
use crate::limit::Permit;
use crate::outbox::{Claimed, Outbox};
use crate::send::{Sender, Tried};
use crate::store::{StoreError, Trial};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How often a trial that is due looks whether there is a message for it, or a way to make it.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// The longest sleep: what nobody wakes it for is seen after this.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// Messages that cannot be sent at all which one trial may come across.
const MOST_UNFIT: usize = 20;

/// The trials of one account.
#[derive(Debug)]
pub struct Trials {
    account: Arc<Account>,
    channels: Vec<Arc<Channel>>,
    outbox: Outbox,
    sender: Arc<Sender>,
    holds: Holds,
}

/// A message that is tried: its recipient and template.
type Of = (Phone, String);

impl Trials {
    /// The trials of an account and its channels.
    pub fn new(channels: Vec<Arc<Channel>>, outbox: Outbox, sender: Arc<Sender>) -> Self {
        Self {
            account: sender.account.clone(),
            holds: sender.holds.clone(),
            channels,
            outbox,
            sender,
        }
    }

    /// Makes trials until `stop`; one that is under way then is ended.
    #[tracing::instrument(name = "trials", level = "debug", skip_all, fields(account = %self.account.id))]
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            // Registered before looking, so that nothing that comes in between is missed.
            let changed = self.account.holding.changed.notified();
            let wait = self.step(&stop).await;
            tokio::select! {
                () = changed => {}
                () = sleep(wait) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Makes the trials that are due; answers when to look again.
    async fn step(&self, stop: &CancellationToken) -> Duration {
        let mut next = LONGEST_SLEEP;
        let holds = self.account.holding.holds();
        let account_is_held = holds
            .iter()
            .any(|hold| matches!(hold.scope, Scope::Account(_)));
        for hold in holds {
            // While the account is held its channels are tried with it.
            if account_is_held && matches!(hold.scope, Scope::Channel(_)) {
                continue;
            }
            let wait = hold.trial_in(clock::now(), self.holds.longest_pause());
            let wait = wait.unwrap_or(LONGEST_SLEEP);
            if !wait.is_zero() {
                next = next.min(wait);
            } else if self.can_try(&hold.scope) {
                if let Err(error) = self.in_turn(&hold.scope, stop).await {
                    tracing::warn!(hold = %hold.scope, %error,
                        event = "trial_not_possible",
                        "no trial can be made now; the gateway tries again");
                }
                next = next.min(LOOK_AGAIN);
            } else {
                next = next.min(LOOK_AGAIN);
            }
        }
        next
    }

    /// Whether there is a message for a trial, and nothing else stands in its way.
    fn can_try(&self, scope: &Scope) -> bool {
        let (store, account) = (&self.outbox.store, &self.account);
        account.held().is_none()
            && store.is_open(&account.id)
            && !account.opt_outs.holds(store.openings(&account.id))
            && self.is_admitted()
            && self
                .channels_of(scope)
                .any(|channel| self.outbox.store.ledger(&channel.id).queued > 0)
    }

    /// Whether the breaker lets a trial through. While everything is held nobody else would find out
    /// that the provider works again, so the trial is the breaker's test call and its one message too.
    fn is_admitted(&self) -> bool {
        match self.sender.breaker.admits() {
            Admission::Free | Admission::Test => true,
            Admission::One => self.account.limiter.now().in_flight == 0,
            Admission::Wait(_) => false,
        }
    }

    /// The channels of a scope that an operator has not paused.
    fn channels_of(&self, scope: &Scope) -> impl Iterator<Item = &Arc<Channel>> {
        let of_scope = self.holds.channels_of(scope);
        let mine =
            move |channel: &&Arc<Channel>| of_scope.contains(&channel.id) && !channel.is_paused();
        self.channels.iter().filter(mine)
    }

    /// Makes a trial when no other process does.
    async fn in_turn(&self, scope: &Scope, stop: &CancellationToken) -> Result<(), StoreError> {
        let Some(guard) = self.holds.trial_lock().await? else {
            return Ok(());
        };
        // Another process may have tried just before.
        let tried = async {
            if self.outbox.store.is_shared() {
                self.holds.follow().await?;
            }
            let hold = self.account.holding.hold(scope);
            let due = |hold: &Hold| {
                hold.trial_in(clock::now(), self.holds.longest_pause()) == Some(Duration::ZERO)
            };
            match hold.filter(due) {
                Some(hold) => self.try_scope(hold, stop).await,
                None => Ok(()),
            }
        };
        let tried = tried.await;
        guard.release(None).await;
        tried
    }

    async fn try_scope(&self, hold: Hold, stop: &CancellationToken) -> Result<(), StoreError> {
        // Nothing is claimed yet, so a stop may cut it short.
        let listed = tokio::select! {
            listed = self.list() => listed,
            () = stop.cancelled() => return Ok(()),
        };
        if let Err(text) = listed {
            self.in_vain(hold, None, &text).await;
            return Ok(());
        }
        for _ in 0..MOST_UNFIT {
            let permit = tokio::select! {
                permit = self.permit() => permit,
                () = stop.cancelled() => return Ok(()),
            };
            let Some(permit) = permit else {
                return Ok(());
            };
            let Some((channel, claimed)) = self.take(&hold).await? else {
                return Ok(());
            };
            let message = claimed.message();
            let of = (message.to, message.template.name.clone());
            let hold_for = channel.policy.ambiguous_hold;
            let step = |claimed| self.sender.try_one(&channel, claimed, permit);
            match claimed.guarded(hold_for, step).await {
                Some(Tried::NotMade) => {}
                None | Some(Tried::InVain) => {
                    let text = "the message that was tried came back";
                    self.in_vain(hold, Some(of), text).await;
                    return Ok(());
                }
                Some(Tried::Taken) => {
                    let held_s = clock::now().since(hold.since).as_secs();
                    let scope = hold.scope.clone();
                    self.holds.release(hold).await;
                    tracing::info!(hold = %scope, held_s,
                        event = "trial_succeeded",
                        "the provider took the message that was tried; the held messages are sent");
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The part of a trial that sends nothing. What stands in the way, if something does.
    async fn list(&self) -> Result<(), String> {
        let verified = self.sender.verify().await;
        verified.map_err(|answer| answer.summary())?;
        if self.sender.is_ready().await {
            Ok(())
        } else {
            Err("there is no access token or no template list".to_owned())
        }
    }

    async fn in_vain(&self, hold: Hold, of: Option<Of>, text: &str) {
        let (scope, longest) = (hold.scope.clone(), self.holds.longest_pause());
        // An operator may have ended it meanwhile.
        let still = self
            .account
            .holding
            .hold(&scope)
            .is_some_and(|now| now.is_held());
        if !still {
            return;
        }
        let hold = hold.tried_in_vain(of, clock::now(), longest);
        let again = hold.trial_in(clock::now(), longest).unwrap_or_default();
        self.holds.put(hold).await;
        tracing::warn!(hold = %scope, answer = text, again_in_s = again.as_secs(),
            event = "trial_in_vain", "a trial was made in vain; the messages stay held");
    }

    /// Waits for the next slot. `None` when the hold or the rate changed meanwhile.
    async fn permit(&self) -> Option<Permit> {
        let limiter = &self.account.limiter;
        for _ in 0..50 {
            if let Some(permit) = limiter.reserve(1, LEAD.0, HORIZON).await.pop() {
                return Some(permit);
            }
            match limiter.opens_in(LEAD.0) {
                Some(wait) => sleep(wait.min(LOOK_AGAIN)).await,
                None => tokio::select! {
                    () = limiter.room() => {}
                    () = sleep(LOOK_AGAIN) => {}
                },
            }
        }
        None
    }

    async fn take(&self, hold: &Hold) -> Result<Option<(Arc<Channel>, Claimed)>, StoreError> {
        let moment = clock::moment();
        let channels = self.channels_of(&hold.scope);
        let channels = channels.map(|one| (one.id.clone(), moment.ages(one.policy.max_age)));
        let trial = Trial {
            channels: channels.collect(),
            tried: hold.tried().cloned(),
        };
        let claims = self.outbox.store.claim_trial(trial, moment.latest).await?;
        for (channel, msg_id, refusal) in &claims.failed {
            self.outbox.wake(channel);
            tracing::warn!(
                %channel, %msg_id, refusal = refusal.line(), event = "message_failed",
                "failed before it was sent, MoEngage is told"
            );
        }
        Ok(claims.taken.into_iter().next().and_then(|message| {
            let claimed = self.outbox.claimed(message);
            let channel = self
                .channels
                .iter()
                .find(|one| one.id == *claimed.channel());
            channel.map(|channel| (channel.clone(), claimed))
        }))
    }
}
