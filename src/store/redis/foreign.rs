//! A store that another installation took over while this process ran. Nothing is begun from then on; what
//! was begun may end, and events are still stored, as they may be about what this one sent.

use super::{Connection, Store};
use crate::store::{OWNER_KEY, Outbox, Owned, Owner, StoreError};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Why this process may begin nothing, if so. Written with each renewal of the leases.
#[derive(Debug, Default)]
pub(super) struct Foreign(Mutex<Option<StoreError>>);

impl Foreign {
    fn why(&self) -> MutexGuard<'_, Option<StoreError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Whether the store is still this installation's, as last seen.
    pub(super) fn is_ours(&self) -> Result<(), StoreError> {
        self.foreign().why().clone().map_or(Ok(()), Err)
    }
}

impl Store {
    /// Looks whether another installation took the store over; one that was wiped is this one's again.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another did.
    pub async fn stay(&self, owners: &[Owner]) -> Result<(), StoreError> {
        let mut names: Vec<String> = owners.iter().map(Owner::setting).collect();
        names.push(OWNER_KEY.into());
        let mut kept = self.link().load_settings(&names).await?;
        let key = kept.pop().flatten().unwrap_or_default();
        let mut another = None;
        for (owner, kept) in owners.iter().zip(kept) {
            let owned = match kept {
                Some(kept) => owner.compare(kept, &key),
                None => Outbox::Redis(self.clone()).own(owner).await?,
            };
            if let Owned::ByAnother {
                fingerprints: [theirs, _],
                ..
            } = owned
            {
                another = another.or(Some((owner, theirs)));
            }
        }
        let why = another.map(|(owner, theirs)| {
            StoreError::InUse(format!(
                "another installation (fingerprint {theirs}) took over {} in this Redis",
                owner.subject
            ))
        });
        self.link().foreign().why().clone_from(&why);
        why.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AccountId, ChannelId, UnixMs};
    use crate::store::testing::RedisServer;

    fn owner(client: &str) -> Owner {
        Owner {
            subject: "account default".into(),
            parts: vec![("CLIENT", client.into())],
        }
    }

    #[tokio::test]
    async fn r_54_whoever_was_taken_over_begins_nothing_until_it_takes_back() {
        let server = RedisServer::start();
        let account = AccountId::parse("default").unwrap();
        let channels = vec![(ChannelId::parse("default").unwrap(), account.clone())];
        let store = Store::open(server.link(), channels, false);
        let outbox = Outbox::Redis(store.clone());
        let (first, second) = (owner("1"), owner("2"));
        let begins = async || {
            store.answers()?;
            store.claim(Vec::new(), 1, UnixMs(1)).await?;
            store.purge(UnixMs(1), UnixMs(1)).await?;
            store.take_dirty(&account, 1, UnixMs(1)).await?;
            store
                .link()
                .lock(&account, "refresh", true)
                .await
                .map(|_| ())
        };
        // Of nobody yet, as an older program or a wipe left it: it is this one's.
        store.stay(std::slice::from_ref(&first)).await.unwrap();
        assert_eq!(outbox.owned(&first).await.unwrap(), Owned::ByThis);
        store.stay(std::slice::from_ref(&first)).await.unwrap();
        begins().await.unwrap();
        outbox.take_over(&second).await.unwrap();
        let error = store.stay(std::slice::from_ref(&first)).await.unwrap_err();
        assert!(
            matches!(&error, StoreError::InUse(text) if text.contains("account default")),
            "{error}"
        );
        let refused = begins().await.unwrap_err();
        assert_eq!(refused.to_string(), error.to_string());
        for refused in [
            store.claim(Vec::new(), 1, UnixMs(1)).await.map(|_| ()),
            store.purge(UnixMs(1), UnixMs(1)).await.map(|_| ()),
            store.take_dirty(&account, 1, UnixMs(1)).await.map(|_| ()),
            store
                .link()
                .lock(&account, "refresh", true)
                .await
                .map(|_| ()),
            store.link().load_token(&account).await.map(|_| ()),
            store.renew().await,
        ] {
            assert!(matches!(refused, Err(StoreError::InUse(_))), "{refused:?}");
        }
        outbox.take_over(&first).await.unwrap();
        store.stay(std::slice::from_ref(&first)).await.unwrap();
        begins().await.unwrap();
    }
}
