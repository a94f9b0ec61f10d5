//! Accounts and channels: who may call, with what, to where; active, paused or held.
//!
//! What is configured never changes while the process lives. What changes at run time (pause, hold)
//! stands behind a lock of its own and is only a signal: queues and messages live in the outbox.

mod holding;
mod opt_outs;
mod webhook;

pub use holding::{HoldSeen, Holding};
pub use opt_outs::OptOutsKnown;
pub use webhook::{Caller, Open, Wanted, Webhook, Webhooks};

use crate::domain::policy::Policy;
use crate::domain::{AccountId, BusinessNumber, ChannelId, UnixMs};
use crate::limit::Limiter;
use secrecy::{ExposeSecret, SecretString};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use subtle::ConstantTimeEq;
use tokio::sync::Notify;

/// One set of provider credentials, as the rest of the program sees it.
#[derive(Debug)]
pub struct Account {
    /// Its name.
    pub id: AccountId,
    /// Its rate and its calls at once, shared by all its channels.
    pub limiter: Limiter,
    /// Why nothing is sent, if nothing is. Written by the worker, the token manager's watcher and
    /// the breaker; read by the worker and the ops listener.
    held: Mutex<Option<Hold>>,
    /// Why nothing is sent though all else is well, if the store went back. Written by `maintenance`, which follows the
    /// store; read by whoever sends or tells.
    went_back: Mutex<Option<Hold>>,
    /// What is held because of what the provider answered.
    pub holding: Holding,
    /// Whether the store has the opt-outs that Datastore keeps.
    pub opt_outs: OptOutsKnown,
    /// Rung when there may be work: a message came in, a hold ended, a pause ended.
    pub work: Notify,
}

/// Why an account keeps its queue and sends nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// What happened and what the operator can do, in one sentence.
    pub reason: String,
    /// Since when.
    pub since: UnixMs,
}

impl Account {
    /// An account that sends.
    pub fn new(id: AccountId, limiter: Limiter) -> Self {
        Self {
            holding: Holding::new(id.clone()),
            id,
            limiter,
            held: Mutex::new(None),
            went_back: Mutex::new(None),
            opt_outs: OptOutsKnown::default(),
            work: Notify::new(),
        }
    }

    /// Stops sending, or goes on with another reason. Returns whether it was sending until now (then
    /// somebody should be told).
    pub fn hold(&self, reason: impl Into<String>, since: UnixMs) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = held.is_none();
        *held = Some(Hold {
            reason: reason.into(),
            since: held.as_ref().map_or(since, |hold| hold.since),
        });
        fresh
    }

    /// Sends again. Returns whether it was held until now.
    pub fn release(&self) -> bool {
        let was_held = self
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .is_some();
        if was_held {
            self.work.notify_one();
        }
        was_held
    }

    /// Sends nothing, or goes on, as the store says that it went back. What was so until now.
    pub fn hold_store(&self, hold: Option<Hold>) -> Option<Hold> {
        let mut held = self
            .went_back
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *held, hold)
    }

    /// How the store went back, if an operator is to decide about it.
    pub fn store_hold(&self) -> Option<Hold> {
        let held = self.went_back.lock();
        held.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why it is held, if it is.
    pub fn held(&self) -> Option<Hold> {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// One WhatsApp Business number on one account.
#[derive(Debug)]
pub struct Channel {
    /// Its name.
    pub id: ChannelId,
    /// The account that sends for it.
    pub account: Arc<Account>,
    /// Any of these lets a caller in.
    pub tokens: Vec<SecretString>,
    /// Where MoEngage takes statuses and replies.
    pub callback_url: String,
    /// The number, when it is configured: then no other is accepted, and it is named as sender.
    pub waba_number: Option<BusinessNumber>,
    /// What to do with failures.
    pub policy: Policy,
    /// The most messages that may wait; `None` is no limit.
    pub max_queue: Option<u64>,
    /// Whether it stands until an operator resumes it.
    pub starts_paused: bool,
    /// Whether its sending is stopped.
    pub pause: Pause,
}

/// A stop of sending that an operator can make and undo; not stopped at first. The lowest bit says
/// whether it stands, the others how often an operator of this process has said so or not.
#[derive(Debug, Default)]
pub struct Pause(AtomicU64);

const STANDS: u64 = 1;
const ONE_MORE: u64 = 2;

/// What a pause was at a moment.
#[derive(Debug, Clone, Copy)]
pub struct PauseSeen(u64);

impl Pause {
    fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self, stands: bool) {
        let next = |now: u64| Some((now & !STANDS).wrapping_add(ONE_MORE) | u64::from(stands));
        let _ = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    }

    fn follow(&self, PauseSeen(seen): PauseSeen, stands: bool) -> bool {
        let next = seen & !STANDS | u64::from(stands);
        let swapped = self
            .0
            .compare_exchange(seen, next, Ordering::AcqRel, Ordering::Acquire);
        swapped.is_ok() && next != seen
    }
}

impl Channel {
    /// Whether an operator stopped its sending.
    pub fn is_paused(&self) -> bool {
        self.pause.now() & STANDS != 0
    }

    /// Whether it keeps its messages, whatever the reason: paused, held, or no token to send with.
    pub fn stands(&self) -> bool {
        self.is_paused()
            || self.account.held().is_some()
            || self.account.store_hold().is_some()
            || self.account.holding.is_held(&self.id)
    }

    /// Stops or resumes its sending, as an operator of this process says.
    pub fn set_paused(&self, paused: bool) {
        self.pause.set(paused);
        self.account.work.notify_one();
    }

    /// What its pause is now: to be taken before looking at what other processes say.
    pub fn pause_seen(&self) -> PauseSeen {
        PauseSeen(self.pause.now())
    }

    /// Does as another process says, unless an operator of this one has spoken since `seen`: what was
    /// read may be older than that. Tells whether that changed anything.
    pub fn follow_pause(&self, seen: PauseSeen, paused: bool) -> bool {
        let changed = self.pause.follow(seen, paused);
        if changed {
            self.account.work.notify_one();
        }
        changed
    }

    /// Whether `from` may be sent from here.
    pub fn sends_from(&self, from: &BusinessNumber) -> bool {
        self.waba_number.as_ref().is_none_or(|own| own == from)
    }

    fn lets_in(&self, presented: &str) -> bool {
        // Every token is compared, so that the time tells nothing about which one was close.
        self.tokens
            .iter()
            .fold(false, |found, token| found | same(token, presented))
    }
}

/// Compares a secret with what was presented; the time depends on the lengths alone.
pub fn same(secret: &SecretString, presented: &str) -> bool {
    bool::from(
        secret
            .expose_secret()
            .as_bytes()
            .ct_eq(presented.as_bytes()),
    ) && !presented.is_empty()
}

/// All channels, in the order of the configuration.
#[derive(Debug)]
pub struct Channels {
    all: Vec<Arc<Channel>>,
}

impl Channels {
    /// The registry.
    pub fn new(all: Vec<Arc<Channel>>) -> Self {
        Self { all }
    }

    /// Every channel.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Channel>> {
        self.all.iter()
    }

    /// Every account, once.
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        let mut accounts: Vec<Arc<Account>> = Vec::new();
        for channel in &self.all {
            if !accounts.iter().any(|known| known.id == channel.account.id) {
                accounts.push(channel.account.clone());
            }
        }
        accounts
    }

    /// The channel of this name.
    pub fn get(&self, id: &str) -> Option<&Arc<Channel>> {
        self.all.iter().find(|channel| channel.id.as_str() == id)
    }

    /// The channels that this token opens. An unset token opens nothing (B-42).
    pub fn opened_by(&self, presented: &str) -> Vec<Arc<Channel>> {
        self.all
            .iter()
            .filter(|channel| channel.lets_in(presented))
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_an_operator_spoke_does_not_undo_it() {
        let pause = Pause::default();
        let stands = || pause.now() & STANDS != 0;
        for said in [true, false] {
            let seen = PauseSeen(pause.now());
            pause.set(said);
            assert!(!pause.follow(seen, !said) && stands() == said);
            // Said twice, it is still newer than what was read in between.
            let seen = PauseSeen(pause.now());
            pause.set(said);
            assert!(!pause.follow(seen, !said) && stands() == said);
        }
        let seen = PauseSeen(pause.now());
        assert!(!pause.follow(seen, false) && !stands());
        assert!(pause.follow(seen, true) && stands());
    }

    #[test]
    fn only_the_whole_secret_opens_and_an_empty_one_opens_nothing() {
        let secret = SecretString::from("a-Secret-of-16-b");
        assert!(same(&secret, "a-Secret-of-16-b"));
        for wrong in [
            "",
            "a",
            "a-Secret-of-16-",
            "-Secret-of-16-b",
            "a-Secret-of-16-c",
            "b-Secret-of-16-b",
            "a-secret-of-16-b",
            "a-Secret-of-16-bb",
            "a-Secret-of-16-b\0",
            " a-Secret-of-16-b",
        ] {
            assert!(!same(&secret, wrong), "{wrong:?}");
        }
        for presented in ["", "a"] {
            assert!(!same(&SecretString::from(""), presented), "{presented:?}");
        }
    }
}
