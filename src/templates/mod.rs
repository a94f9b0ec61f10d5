//! Name and language to the provider's template, from memory.
//!
//! The list is fetched whole, kept in the store for the next start, and renewed on a timer and on
//! a miss. What a variant wants is fetched when it is first sent, once a renewal. A reader takes a
//! shared list and never waits for a call, except where its name says so. Never invents a template
//! and never calls a template missing on the word of an old list.

mod details;
mod fetch;
mod fit;

pub use fit::fit;

use crate::clock::now;
use crate::domain::template::{Detail, Variant};
use crate::domain::{AccountId, Answer, UnixMs};
use crate::provider::Provider;
use crate::store::{Cache, StoreError};
use details::Details;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// A list younger than this may be used to refuse (DESIGN section 4).
const FRESH: Duration = Duration::from_secs(600);
/// Between two fetches that a miss asks for lies at least this.
const LEAST_GAP: Duration = Duration::from_secs(30);

/// What is known about a name and a language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The provider has it.
    Found(Arc<Variant>),
    /// The provider does not have it.
    Missing,
    /// The list is too old to tell, or there is none.
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
    /// What variants of the list want.
    details: Details,
}

#[derive(Debug, Default)]
struct List {
    by_name: HashMap<String, HashMap<String, Arc<Variant>>>,
    /// When the provider gave it.
    fetched_at: Option<UnixMs>,
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

impl List {
    /// The first approved variant of a name and a language wins (B-12).
    fn new(variants: Vec<Variant>, fetched_at: UnixMs, round: u64) -> Self {
        let mut by_name: HashMap<String, HashMap<String, Arc<Variant>>> = HashMap::new();
        for variant in variants {
            by_name
                .entry(variant.name.clone())
                .or_default()
                .entry(variant.language.clone())
                .or_insert_with(|| Arc::new(variant));
        }
        Self {
            by_name,
            fetched_at: Some(fetched_at),
            round,
        }
    }

    fn get(&self, name: &str, language: &str) -> Option<&Arc<Variant>> {
        self.by_name.get(name)?.get(language)
    }

    fn is_younger(&self, than: Duration, now: UnixMs) -> bool {
        self.fetched_at.is_some_and(|at| now.since(at) < than)
    }
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
            self.put(List::new(kept.variants, kept.fetched_at, self.list().round));
        }
        Ok(())
    }

    fn put(&self, list: List) {
        let ids: HashSet<&str> = list
            .by_name
            .values()
            .flat_map(HashMap::values)
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
        let found = self.list().fetched_at.is_some();
        (found || self.progress().ended > 0).then_some(found)
    }

    /// Whether the last successful fetch is less than 10 minutes old.
    pub fn is_fresh(&self, now: UnixMs) -> bool {
        self.list().is_younger(FRESH, now)
    }

    /// What memory knows. Makes no call.
    pub fn find(&self, name: &str, language: &str) -> Lookup {
        self.look(name, language, FRESH)
    }

    fn look(&self, name: &str, language: &str, trusted: Duration) -> Lookup {
        let list = self.list();
        match list.get(name, language) {
            Some(variant) => Lookup::Found(variant.clone()),
            None if list.is_younger(trusted, now()) => Lookup::Missing,
            None => Lookup::Unknown,
        }
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
        if !self.list().is_younger(LEAST_GAP, now()) && self.may_fetch() {
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

#[cfg(test)]
mod tests;
