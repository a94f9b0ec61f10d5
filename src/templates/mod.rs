//! Name and language to the provider's template, from memory.
//!
//! The list is fetched whole, kept in the store for the next start, and renewed on a timer and on
//! a miss. What a variant wants is fetched when it is first sent, once a renewal. A reader takes a
//! shared list and never waits for a call, except where its name says so. Never invents a template
//! and never calls a template missing on the word of an old list, or of a single one that lost it.

mod details;
mod fetch;
mod fit;
mod known;
mod named;

pub use fit::fit;

use crate::clock::now;
use crate::domain::template::{Detail, Variant};
use crate::domain::{AccountId, Answer, UnixMs};
use crate::providers::Provider;
use crate::store::{Cache, StoreError};
use details::Details;
use known::Known;
use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, timeout};

/// A list younger than this may be used to refuse (design.md section 4).
const FRESH: Duration = Duration::from_secs(600);
/// Between two fetches that a miss asks for lies at least this.
const LEAST_GAP: Duration = Duration::from_secs(30);

/// The clocks of two replicas do not differ by more.
const CLOCKS_APART: Duration = Duration::from_secs(60);

/// What is known about a name and a language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The provider has it.
    Found(Arc<Variant>),
    /// The provider does not have it.
    Missing,
    /// Nobody can tell now: there is no list, it is too old or not whole, or it lost what it had.
    Unknown,
}

/// The templates of one account. Clones share them.
#[derive(Debug, Clone)]
pub struct Templates {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    provider: Arc<Provider>,
    cache: Cache,
    account: AccountId,
    /// Replaced whole by whoever has the flight; read by every accept and send.
    list: RwLock<Arc<List>>,
    /// Taken for the length of a fetch, so that there is never more than one; holds what the last
    /// one brought.
    flight: Mutex<Result<(), Answer>>,
    /// Written by whoever has the flight; held for a moment only.
    progress: std::sync::Mutex<Progress>,
    /// Told of every list that is in doubt, so that the next one is not an hour away.
    doubted: Notify,
    /// What variants of the list want.
    details: Details,
}

#[derive(Debug, Default)]
struct List {
    known: Known,
    /// Counts the lists of this process.
    round: u64,
}

#[derive(Debug, Default)]
struct Progress {
    /// Fetches that have ended.
    ended: u64,
    /// When the last one began.
    began: Option<Instant>,
    /// Whether one is under way.
    running: bool,
}

impl Templates {
    /// The templates of an account, none known yet.
    pub fn new(provider: Arc<Provider>, cache: Cache, account: AccountId) -> Self {
        let shared = Shared {
            provider,
            cache,
            account,
            list: RwLock::default(),
            flight: Mutex::new(Ok(())),
            progress: std::sync::Mutex::default(),
            doubted: Notify::new(),
            details: Details::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Takes the list that the store kept, if it kept one. Makes no call.
    pub async fn load(&self) -> Result<(), StoreError> {
        if let Some(kept) = self
            .shared
            .cache
            .load_templates(&self.shared.account)
            .await?
        {
            let known = Known::kept(kept.variants, kept.fetched_at);
            let round = self.list().round;
            self.put(List { known, round });
        }
        Ok(())
    }

    fn put(&self, list: List) {
        let ids: HashSet<&str> = list
            .known
            .variants()
            .map(|variant| variant.id.as_str())
            .collect();
        self.shared.details.keep(&ids);
        *self
            .shared
            .list
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(list);
    }

    fn list(&self) -> Arc<List> {
        self.shared
            .list
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether there is a list at all, however old; `None` while the first one is being fetched.
    pub fn has_list(&self) -> Option<bool> {
        let found = self.list().known.fetched_at.is_some();
        (found || self.progress().ended > 0).then_some(found)
    }

    /// Whether the last successful fetch is less than 10 minutes old.
    pub fn is_fresh(&self, now: UnixMs) -> bool {
        is_younger(self.list().known.fetched_at, FRESH, now)
    }

    /// What memory knows. Makes no call.
    pub fn find(&self, name: &str, language: &str) -> Lookup {
        self.look(name, language, FRESH)
    }

    fn look(&self, name: &str, language: &str, trusted: Duration) -> Lookup {
        let list = self.list();
        let fresh = is_younger(list.known.proved_at, trusted, now());
        list.known.look(name, language, fresh)
    }

    /// What memory knows; on a miss the list is fetched again unless that was done in the last
    /// 30 s, waiting at most `wait`.
    pub async fn resolve_or_refetch(&self, name: &str, language: &str, wait: Duration) -> Lookup {
        let found = self.look(name, language, LEAST_GAP);
        if found != Lookup::Unknown || !self.may_fetch() {
            return found;
        }
        match timeout(wait, self.refresh()).await {
            Ok(Ok(())) => self.look(name, language, LEAST_GAP),
            Ok(Err(_)) | Err(_) => Lookup::Unknown,
        }
    }

    fn may_fetch(&self) -> bool {
        // While a fetch is under way, its result is worth waiting for.
        let progress = self.progress();
        progress.running || progress.began.is_none_or(|at| at.elapsed() >= LEAST_GAP)
    }

    /// After the provider refused a send: whether the variant has another id by now, or none. Asks
    /// the provider when the list is older than the least gap between two fetches (B-22).
    pub async fn has_moved(&self, name: &str, language: &str, id: &str, wait: Duration) -> bool {
        let fetched_at = self.list().known.fetched_at;
        if !is_younger(fetched_at, LEAST_GAP, now()) && self.may_fetch() {
            let _ = tokio::time::timeout(wait, self.refresh()).await;
        }
        match self.find(name, language) {
            Lookup::Found(variant) => variant.id != id,
            Lookup::Missing => true,
            Lookup::Unknown => false,
        }
    }

    /// What a variant wants, fetched when this list has not brought it yet; `None` when nobody
    /// can tell now.
    pub async fn detail(&self, variant: &Variant) -> Option<Arc<Detail>> {
        if let Some(known) = self.current_detail(variant) {
            return Some(known);
        }
        let (this, variant, round) = (self.clone(), variant.clone(), self.list().round);
        // A task of its own: whoever stops waiting leaves the fetch to the others.
        let fetch = tokio::spawn(async move {
            let details = &this.shared.details;
            details.get(&this.shared.provider, &variant, round).await
        });
        fetch.await.ok().flatten()
    }

    /// What a variant wants as of this list. Makes no call.
    pub fn current_detail(&self, variant: &Variant) -> Option<Arc<Detail>> {
        self.shared.details.of(variant, self.list().round)
    }

    /// What was known last that a variant wants, however old. Makes no call.
    pub fn known_detail(&self, variant: &Variant) -> Option<Arc<Detail>> {
        self.shared.details.known(variant)
    }
}

/// A time that is still to come is of a clock that was ahead, and proves nothing.
fn is_younger(at: Option<UnixMs>, than: Duration, now: UnixMs) -> bool {
    at.is_some_and(|at| now.since(at) < than && at.since(now) < CLOCKS_APART)
}

#[cfg(test)]
mod tests;
