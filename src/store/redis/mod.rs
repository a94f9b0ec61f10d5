//! The shared store: many gateways on one Redis. Every step is one script, so it happens whole or
//! not at all, whoever else works on the same account.
//!
//! All keys of an account share the hash tag `{account}`, so a script never leaves its slot (the key
//! layout stands in `lua/common.lua`). What a process takes, messages and callbacks, stays its own
//! while its lease stands; the lease is the process', on Redis' clock, and every claim has a number,
//! which is the fence. A script whose answer was lost may have happened: each is written so that
//! asking again, or the next renewal of the lease, sets it right.

mod accept;
#[cfg(test)]
mod bounds;
mod callbacks;
mod claim;
mod compose;
mod confirm;
mod connection;
mod damage;
#[cfg(test)]
mod denied;
mod events;
#[cfg(test)]
mod failover;
mod foreign;
mod found;
#[cfg(any(test, fuzzing))]
pub(in crate::store) mod fuzz;
mod gather;
mod give_up;
mod greeting;
mod in_flight;
mod lease;
mod ledger;
mod line;
mod lock;
mod memory;
mod newer;
mod opt_outs;
mod persistence;
mod place;
pub(crate) mod rate;
mod read;
mod recent;
mod records;
mod recount;
mod report;
mod retention;
mod rights;
mod roll;
mod scripts;
mod settings;
mod settle;
mod standing;
mod sweep;
#[cfg(test)]
mod tests;
mod time;
mod token;
mod verdict;

pub use connection::{Connection, Settings};
#[cfg(test)]
pub(in crate::store) use damage::is_told;
pub use lock::Lock;
pub(in crate::store) use lock::Taken;
pub use persistence::Persistence;
pub use token::OldPair;

use super::{Ledger, StoreError};
use crate::domain::{AccountId, ChannelId};
use gather::Gather;
use in_flight::InFlight;
use lease::Leases;
use ledger::Ledgers;
use memory::Memory;
use recent::Recent;
use redis::{FromRedisValue, Script, ScriptInvocation, ToRedisArgs};
use scripts::Scripts;
use standing::Standing;
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// The store. Clones share it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    connection: Connection,
    scripts: Scripts,
    /// Each account once, with what its keys begin with.
    accounts: Vec<AccountKeys>,
    /// Where each channel's keys are.
    homes: HashMap<ChannelId, AccountKeys>,
    ledgers: Ledgers,
    /// Until when this process may work, by account.
    leases: Leases,
    /// What this process has taken and not yet settled.
    in_flight: InFlight,
    /// What this process took to send lately, and how it ended.
    memory: Memory,
    /// Why Redis could not be asked when it was last looked at. Written by the look, several times a
    /// second; read by accepts, which then are refused at once instead of piling up.
    trouble: Mutex<Option<StoreError>>,
    /// When an operator was last told of rows that only a newer program can read.
    newer_told: Mutex<Option<Instant>>,
    /// Whether an operator was last told that this machine's clock is off.
    clock_is_off: AtomicBool,
}

impl Shared {
    fn newer_told(&self) -> MutexGuard<'_, Option<Instant>> {
        self.newer_told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the keys of an account are.
#[derive(Debug, Clone)]
struct AccountKeys {
    account: AccountId,
    prefix: Arc<str>,
    /// Accepts and events that go out together.
    gathers: Arc<Gathers>,
    /// Whether work is handed out, and how far the store had come.
    standing: Arc<Standing>,
    /// What came in lately.
    recent: Arc<Recent>,
    /// Whether a ledger did not add up at the last look; for that look alone.
    is_off: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Gathers {
    accepts: Gather,
    settles: Gather,
    events: Gather,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("replica", &self.shared.connection.replica())
            .finish_non_exhaustive()
    }
}

/// What all keys of an account begin with. The braces make Redis Cluster keep them together.
pub(crate) fn keys_of(account: &AccountId) -> String {
    format!("gw:{{{account}}}:")
}

impl Store {
    /// The store behind a connection, for these channels. With `mark_dirty` every change of a message
    /// is marked, to be written elsewhere too. Asks Redis for nothing yet.
    pub fn open(
        connection: Connection,
        channels: Vec<(ChannelId, AccountId)>,
        mark_dirty: bool,
    ) -> Self {
        let home = |account: &AccountId| AccountKeys {
            account: account.clone(),
            prefix: keys_of(account).into(),
            gathers: Arc::default(),
            standing: Arc::default(),
            recent: Arc::default(),
            is_off: Arc::default(),
        };
        let mut accounts: Vec<AccountKeys> = Vec::new();
        for (_, account) in &channels {
            if !accounts.iter().any(|known| known.account == *account) {
                accounts.push(home(account));
            }
        }
        let home = |account| accounts.iter().find(|home| home.account == account);
        let homes = channels
            .into_iter()
            .filter_map(|(channel, account)| Some((channel, home(account)?.clone())))
            .collect();
        let shared = Shared {
            connection,
            scripts: Scripts::new(mark_dirty),
            accounts,
            homes,
            ledgers: Ledgers::default(),
            leases: Leases::default(),
            in_flight: InFlight::default(),
            memory: Memory::default(),
            trouble: Mutex::default(),
            newer_told: Mutex::default(),
            clock_is_off: AtomicBool::new(false),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The connection.
    pub fn link(&self) -> &Connection {
        &self.shared.connection
    }

    /// The ledger of a channel, as this process last saw it.
    pub fn ledger(&self, channel: &ChannelId) -> Ledger {
        self.shared.ledgers.of(channel)
    }

    /// Whether new work may come in: Redis answered when it was last looked at, it permits what is needed, and
    /// nobody took it over.
    pub fn answers(&self) -> Result<(), StoreError> {
        self.shared.connection.may_begin()?;
        let trouble = self.trouble().clone();
        trouble.map_or(Ok(()), Err)
    }

    /// Whether a durable write can be made now.
    pub async fn writable(&self) -> Result<(), StoreError> {
        self.shared.connection.writable().await?;
        // Whoever is told that all is well may send the next message at once.
        self.answers()
    }

    fn trouble(&self) -> MutexGuard<'_, Option<StoreError>> {
        self.shared
            .trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn home(&self, channel: &ChannelId) -> Result<&AccountKeys, StoreError> {
        self.shared.homes.get(channel).ok_or_else(|| {
            StoreError::Unreadable(format!("channel {channel} is not in the configuration"))
        })
    }

    fn channels_of(&self, home: &AccountKeys) -> impl Iterator<Item = &ChannelId> {
        let of_account = |(_, at): &(&ChannelId, &AccountKeys)| at.account == home.account;
        self.shared
            .homes
            .iter()
            .filter(of_account)
            .map(|(channel, _)| channel)
    }

    fn replica(&self) -> &str {
        self.shared.connection.replica()
    }

    /// A script on the keys of an account that does no harm when it is run twice.
    async fn run<T: FromRedisValue>(&self, call: &Call<'_>) -> Result<T, StoreError> {
        self.shared.connection.run_durably(&call.0).await
    }

    /// The same for one that takes something, and would take more.
    async fn take<T: FromRedisValue>(&self, call: &Call<'_>) -> Result<T, StoreError> {
        self.shared.connection.run_once(&call.0).await
    }

    /// The same for what changes nothing that must last, and does no harm when it is run twice.
    async fn ask<T: FromRedisValue>(&self, call: &Call<'_>) -> Result<T, StoreError> {
        self.shared.connection.run(&call.0).await
    }
}

/// A script with its arguments.
struct Call<'a>(ScriptInvocation<'a>);

impl<'a> Call<'a> {
    fn new(script: &'a Script, home: &AccountKeys) -> Self {
        let mut call = script.prepare_invoke();
        call.key(&*home.prefix);
        Self(call)
    }

    fn arg(mut self, value: impl ToRedisArgs) -> Self {
        self.0.arg(value);
        self
    }

    fn push(&mut self, value: impl ToRedisArgs) {
        self.0.arg(value);
    }
}
