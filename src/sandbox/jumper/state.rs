//! What the routes of Jumper's fake share: the merchants, the token desk, the door and the places for webhook
//! posts. Locks are standard mutexes held for a few lines and never across an await.

use std::sync::{Arc, Mutex, PoisonError, RwLock, atomic::AtomicUsize};

use tokio::sync::Semaphore;

use super::{
    account::{Account, Door, Merchant},
    template,
    token::Desk,
};
use crate::sandbox::lock::lock;

/// The state of Jumper's fake.
#[derive(Debug)]
pub(in crate::sandbox) struct Jumper {
    /// Where events go for merchants that name no URL of their own.
    pub(super) webhook_url: Option<String>,
    accounts: RwLock<Vec<Arc<Account>>>,
    /// The tokens of all merchants.
    pub(in crate::sandbox) desk: Mutex<Desk>,
    /// Door of calls nobody could be found for, and arrivals over all merchants.
    pub(in crate::sandbox) door: Mutex<Door>,
    /// Connections so far that carried a send.
    pub(in crate::sandbox) send_connections: AtomicUsize,
    /// Replaced when the knob changes.
    slots: RwLock<Arc<Semaphore>>,
}

impl Jumper {
    /// A fake without merchants, which posts so many webhooks at once.
    pub(in crate::sandbox) fn new(webhook_url: Option<String>, parallel: usize) -> Self {
        Self {
            webhook_url,
            accounts: RwLock::default(),
            desk: Mutex::default(),
            door: Mutex::default(),
            send_connections: AtomicUsize::new(0),
            slots: RwLock::new(Arc::new(Semaphore::new(parallel))),
        }
    }

    /// Adds a merchant, whose id must be new.
    pub(in crate::sandbox) fn add(&self, mut merchant: Merchant) -> Result<Arc<Account>, String> {
        let templates = match merchant.templates.take() {
            Some(templates) => templates,
            None => template::catalogue().map_err(|error| error.to_string())?,
        };
        let mut accounts = self
            .accounts
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if accounts
            .iter()
            .any(|one| one.merchant.merchant_id == merchant.merchant_id)
        {
            return Err(format!(
                "merchant {} is there already",
                merchant.merchant_id
            ));
        }
        let account = Arc::new(Account::new(accounts.len(), merchant, templates));
        lock(&self.desk).seed(account.index, &account.merchant.refresh_token);
        accounts.push(Arc::clone(&account));
        Ok(account)
    }

    /// One merchant by id, or all; an unknown id is an error.
    pub(in crate::sandbox) fn accounts(
        &self,
        merchant_id: Option<&str>,
    ) -> Result<Vec<Arc<Account>>, String> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let wanted =
            |one: &&Arc<Account>| merchant_id.is_none_or(|id| one.merchant.merchant_id == id);
        let found: Vec<_> = accounts.iter().filter(wanted).cloned().collect();
        match (found.is_empty(), merchant_id) {
            (true, Some(id)) => Err(format!("no such merchant: {id}")),
            (true, None) => Err("there is no merchant".to_owned()),
            _ => Ok(found),
        }
    }

    /// The merchant at a position.
    pub(super) fn account(&self, index: usize) -> Option<Arc<Account>> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        accounts.get(index).cloned()
    }

    /// Places for webhook posts.
    pub(super) fn slots(&self) -> Arc<Semaphore> {
        Arc::clone(&self.slots.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets so many webhooks be posted at once; those queued already keep their place.
    pub(in crate::sandbox) fn set_slots(&self, parallel: usize) {
        let slots = Arc::new(Semaphore::new(parallel));
        *self.slots.write().unwrap_or_else(PoisonError::into_inner) = slots;
    }

    /// Forgets what was seen of all merchants and of nobody; tokens, templates and subscriptions stay.
    pub(in crate::sandbox) fn reset(&self) {
        for account in self.accounts(None).unwrap_or_default() {
            account.reset();
        }
        *lock(&self.door) = Door::default();
    }
}
