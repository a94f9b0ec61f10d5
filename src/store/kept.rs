//! The roles of what is small and written whole, each an enum with one arm a backend: the accounts'
//! tokens, and what can be fetched again. What a call promises is written at the backend.

use super::embedded::Store;
use super::lock::{Guard, Locked};
use super::redis::{Link, OldPair, Taken};
use super::types::*;
use crate::domain::AccountId;

/// The accounts' tokens.
#[derive(Debug, Clone)]
pub enum Tokens {
    /// One SQLite file.
    Embedded(Store),
    /// A Redis that other gateways may share.
    Redis(Link),
}

impl Tokens {
    /// Whether other processes work on the same tokens.
    pub fn is_shared(&self) -> bool {
        match self {
            Self::Embedded(_) => false,
            Self::Redis(_) => true,
        }
    }

    /// The account's tokens, if any are kept.
    pub async fn load(&self, account: &AccountId) -> Result<Option<StoredToken>, StoreError> {
        match self {
            Self::Embedded(store) => store.load_token(account).await,
            Self::Redis(link) => link.load_token(account).await,
        }
    }

    /// Keeps the account's tokens, whole, in one step. `false`: what is kept is as new, and stays.
    pub async fn save(&self, account: &AccountId, token: &StoredToken) -> Result<bool, StoreError> {
        match self {
            Self::Embedded(store) => store.save_token(account, token).await,
            Self::Redis(link) => link.save_token(account, token).await,
        }
    }

    /// The pair that the old connector left there since we last looked.
    pub async fn old_pair(&self, account: &AccountId) -> Result<Option<OldPair>, StoreError> {
        match self {
            Self::Embedded(_) => Ok(None),
            Self::Redis(link) => link.old_pair(account).await,
        }
    }

    /// Keeps what [`Tokens::old_pair`] found, as [`Tokens::save`] does.
    pub async fn save_imported(
        &self,
        account: &AccountId,
        token: &StoredToken,
    ) -> Result<bool, StoreError> {
        match self {
            Self::Embedded(store) => store.save_token(account, token).await,
            Self::Redis(link) => link.save_imported(account, token).await,
        }
    }

    /// Tries to become the only one who does this work for the account. `urgent` does not mind the
    /// pause after somebody's try in vain.
    pub async fn lock(
        &self,
        account: &AccountId,
        work: &str,
        urgent: bool,
    ) -> Result<Locked, StoreError> {
        match self {
            Self::Embedded(_) => Ok(Locked::Ours(Guard::Alone)),
            Self::Redis(link) => Ok(match link.lock(account, work, urgent).await? {
                Taken::Ours(lock) => Locked::Ours(Guard::Shared(lock)),
                Taken::Busy => Locked::Busy,
                Taken::PutOff(pause) => Locked::PutOff(pause),
            }),
        }
    }
}

/// What can be fetched again, kept so that a start does not need the provider.
#[derive(Debug, Clone)]
pub enum Cache {
    /// One SQLite file.
    Embedded(Store),
    /// A Redis that other gateways may share.
    Redis(Link),
}

impl Cache {
    /// The account's template list, as last fetched.
    pub async fn load_templates(
        &self,
        account: &AccountId,
    ) -> Result<Option<CachedTemplates>, StoreError> {
        match self {
            Self::Embedded(store) => store.load_templates(account).await,
            Self::Redis(link) => link.load_templates(account).await,
        }
    }

    /// Keeps the account's template list.
    pub async fn save_templates(
        &self,
        account: &AccountId,
        templates: &CachedTemplates,
    ) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.save_templates(account, templates).await,
            Self::Redis(link) => link.save_templates(account, templates).await,
        }
    }
}
