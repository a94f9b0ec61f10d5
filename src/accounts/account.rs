//! An account: why it sends nothing, if it sends nothing.

use super::holding::Holding;
use super::opt_outs::OptOutsKnown;
use crate::domain::{AccountId, UnixMs};
use crate::limit::Limiter;
use std::sync::{Mutex, PoisonError};
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
    held: Mutex<Option<AccountHold>>,
    /// Why nothing is sent though all else is well, if the store went back. Written by `maintenance`, which follows the
    /// store; read by whoever sends or tells.
    went_back: Mutex<Option<AccountHold>>,
    /// What is held because of what the provider answered.
    pub holding: Holding,
    /// Whether the store has the opt-outs that Datastore keeps.
    pub opt_outs: OptOutsKnown,
    /// Woken when there may be work: a message came in, a hold ended, a pause ended.
    pub work: Notify,
}

/// Why an account keeps its queue and sends nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountHold {
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
        *held = Some(AccountHold {
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
    pub fn hold_store(&self, hold: Option<AccountHold>) -> Option<AccountHold> {
        let mut held = self
            .went_back
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *held, hold)
    }

    /// How the store went back, if an operator is to decide about it.
    pub fn store_hold(&self) -> Option<AccountHold> {
        let held = self.went_back.lock();
        held.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why it is held, if it is.
    pub fn held(&self) -> Option<AccountHold> {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
