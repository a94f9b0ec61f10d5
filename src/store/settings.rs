//! The roles of what is small and written whole, each an enum with one arm a backend: the accounts'
//! tokens, settings, and what can be fetched again. What a call promises is written at the backend.

use super::embedded::Store;
use super::lock::{Guard, Locked};
use super::redis::{Connection, OldPair, Taken};
use super::role::Outbox;
use super::types::*;
use crate::domain::AccountId;

/// The accounts' tokens.
#[derive(Debug, Clone)]
pub enum Tokens {
    /// One SQLite file.
    Embedded(Store),
    /// A Redis that other gateways may share.
    Redis(Connection),
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

    /// Forgets what belongs to the client that the account had: its tokens, and the template list. With `old`
    /// what the old connector left there too.
    pub async fn forget(&self, account: &AccountId, old: bool) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.forget_account(account).await,
            Self::Redis(link) => link.forget_account(account, old).await,
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
    /// pause after somebody's try in vain. Goes well only where a write does, so that what the work
    /// brings can be stored.
    pub async fn lock(
        &self,
        account: &AccountId,
        work: &str,
        urgent: bool,
    ) -> Result<Locked, StoreError> {
        match self {
            Self::Embedded(store) => {
                store.probe().await?;
                Ok(Locked::Ours(Guard::Alone))
            }
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
    Redis(Connection),
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

impl Outbox {
    /// A setting made at run time.
    pub async fn load_setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        match self {
            Self::Embedded(store) => store.load_setting(name).await,
            Self::Redis(store) => store.link().load_setting(name).await,
        }
    }

    /// Keeps or forgets a setting made at run time.
    pub async fn save_setting(&self, name: &str, value: Option<String>) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.save_setting(name, value).await,
            Self::Redis(store) => store.link().save_setting(name, value).await,
        }
    }

    /// Keeps a setting unless there is one; answers what is kept.
    pub async fn keep_setting(&self, name: &str, value: String) -> Result<String, StoreError> {
        match self {
            Self::Embedded(store) => store.keep_setting(name, value).await,
            Self::Redis(store) => store.link().keep_setting(name, value).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;
    use crate::domain::template::Variant;
    use crate::store::testing::{self, RedisServer};
    use secrecy::ExposeSecret;

    fn token(fence: u64) -> StoredToken {
        StoredToken {
            access: None,
            refresh: format!("refresh-{fence}").into(),
            obtained_at: UnixMs(1),
            expires_at: UnixMs(2),
            fence,
            dead: None,
            seed: None,
        }
    }

    /// One story, whatever the backend.
    #[tokio::test]
    async fn every_backend_keeps_the_newest() {
        let (_dir, store) = testing::store();
        let server = RedisServer::start();
        let account = AccountId::parse("default").unwrap();
        let backends = [
            (
                Tokens::Embedded(store.clone()),
                Cache::Embedded(store.clone()),
            ),
            (Tokens::Redis(server.link()), Cache::Redis(server.link())),
        ];
        for (tokens, cache) in backends {
            assert!(tokens.load(&account).await.unwrap().is_none());
            for (fence, kept) in [(2, true), (2, true), (1, false), (3, true)] {
                let saved = tokens.save(&account, &token(fence)).await.unwrap();
                assert_eq!(saved, kept, "{tokens:?}: {fence}");
            }
            let other = StoredToken {
                refresh: "other".into(),
                ..token(3)
            };
            assert!(!tokens.save(&account, &other).await.unwrap());
            let kept = tokens.load(&account).await.unwrap().unwrap();
            assert_eq!(kept.refresh.expose_secret(), "refresh-3");
            assert!(tokens.old_pair(&account).await.unwrap().is_none());

            let Locked::Ours(guard) = tokens.lock(&account, "work", false).await.unwrap() else {
                panic!("{tokens:?}: nobody else has it");
            };
            assert!(guard.is_ours());
            guard.release(None).await;

            let templates = CachedTemplates {
                fetched_at: UnixMs(5),
                variants: vec![Variant {
                    name: "a".into(),
                    language: "en".into(),
                    id: "1".into(),
                    is_marketing: true,
                }],
            };
            assert_eq!(cache.load_templates(&account).await.unwrap(), None);
            cache.save_templates(&account, &templates).await.unwrap();
            let kept = cache.load_templates(&account).await.unwrap();
            assert_eq!(kept, Some(templates));
        }
    }
}
