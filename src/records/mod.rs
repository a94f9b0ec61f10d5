//! Records into Datastore and back: what happened to each message.
//!
//! `writer`, `batch` and `transact` write what the outbox marked as changed (`pieces` and `alone`: so that no record holds
//! back another), `mark` says how far a store came, `opt_outs` who opted out, `late` asks for messages that only Datastore
//! still knows, `find` is for people, `entity` has the names of the properties. Nothing on a
//! message's path waits for any of this: while Datastore is down the marks stay, and that is all.

mod alone;
mod batch;
mod entity;
mod find;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod late;
mod mark;
mod opt_out_sync;
mod opt_outs;
mod pieces;
mod transact;
mod writer;

pub use entity::Kept;
pub use late::Late;
pub use mark::Marks;
pub use opt_out_sync::OptOutSync;
pub use opt_outs::OptOuts;
pub use writer::Writer;

use crate::accounts::{Channel, Channels};
use crate::datastore::{Client, Error, Settings};
use crate::domain::{AccountId, UnixMs};
use alone::Alone;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Between two queries about late statuses of an account lies at least this: at most 60 queries, 1,800 ids
/// a minute.
const APART: Duration = Duration::from_secs(1);

/// The records in Datastore. Clones share it.
#[derive(Debug, Clone)]
pub struct Records {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    channels: Arc<Channels>,
    expire_after: Duration,
    /// Accounts whose records cannot be written now. Put there by their writers, read for
    /// `/readyz`; locked for a moment only.
    troubles: Mutex<HashMap<AccountId, Trouble>>,
    /// Records that failed by themselves. Asked and told by each batch; locked for a moment only.
    alone: Mutex<Alone>,
}

/// Why records wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Since when.
    pub since: UnixMs,
    /// Why, and what the operator must do where Datastore does not heal by itself.
    pub reason: String,
}

impl Records {
    /// The records of these channels. Connects to nobody yet.
    pub fn new(settings: &Settings, channels: Arc<Channels>) -> Result<Self, Error> {
        let shared = Shared {
            client: Client::new(settings)?,
            channels,
            expire_after: settings.expire_after,
            troubles: Mutex::default(),
            alone: Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Why the records of this account wait, if they do.
    pub fn trouble(&self, account: &AccountId) -> Option<Trouble> {
        self.troubles().get(account).cloned()
    }

    fn troubles(&self) -> MutexGuard<'_, HashMap<AccountId, Trouble>> {
        let troubles = self.shared.troubles.lock();
        troubles.unwrap_or_else(PoisonError::into_inner)
    }

    fn alone(&self) -> MutexGuard<'_, Alone> {
        let alone = self.shared.alone.lock();
        alone.unwrap_or_else(PoisonError::into_inner)
    }

    fn channels_of<'a>(&'a self, account: &AccountId) -> impl Iterator<Item = &'a Arc<Channel>> {
        let account = account.clone();
        let all = self.shared.channels.iter();
        all.filter(move |channel| channel.account.id == account)
    }
}
