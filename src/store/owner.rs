//! Whose messages are kept here: two installations on one store would send each other's.
//!
//! What does not rotate of an installation (where the provider is, which client it is, which number it
//! sends from) is kept as a fingerprint, made with a key of the store's own, so that it says nothing to
//! who reads it. A secret, a token or a port may change.

use super::{Outbox, StoreError};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// The key of all fingerprints of a store.
pub(in crate::store) const OWNER_KEY: &str = "owner:key";
/// Bytes of a fingerprint that are kept of each part.
const LENGTH: usize = 4;

/// What says whose messages an account or a channel has.
#[derive(Debug, Clone)]
pub struct Owner {
    /// The account or channel, as people know it; and as the store does.
    pub subject: String,
    /// Settings and what they say.
    pub parts: Vec<(&'static str, String)>,
}

/// What the store says to an owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owned {
    /// Nobody was here before.
    ByNobody,
    /// This owner was.
    ByThis,
    /// Another one was.
    ByAnother {
        /// The fingerprint of the other as it is kept, and that of this one.
        fingerprints: [String; 2],
        /// The settings that differ.
        settings: Vec<&'static str>,
    },
}

impl Owner {
    /// Under which name the store keeps its fingerprint.
    pub(in crate::store) fn setting(&self) -> String {
        format!("owner:{}", self.subject)
    }

    /// A part for each setting, as they may stand in what an operator reads.
    fn fingerprint(&self, key: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
        let part = |(setting, value): &(&str, String)| {
            let tag = hmac::sign(&key, format!("{setting}={value}").as_bytes());
            hex(&tag.as_ref()[..LENGTH])
        };
        self.parts.iter().map(part).collect::<Vec<_>>().join("-")
    }

    pub(in crate::store) fn compare(&self, kept: String, key: &str) -> Owned {
        let ours = self.fingerprint(key);
        let (theirs, _) = turn_of(&kept);
        if theirs == ours {
            return Owned::ByThis;
        }
        let parts = self.parts.iter().zip(ours.split('-'));
        let mut their_parts = theirs.split('-');
        let differ = parts.filter(|(_, part)| their_parts.next() != Some(part));
        Owned::ByAnother {
            settings: differ.map(|((setting, _), _)| *setting).collect(),
            fingerprints: [kept, ours],
        }
    }
}

/// A fingerprint as it is kept, and how often the subject was taken over: so that what named an owner once
/// does not name it again after others.
fn turn_of(kept: &str) -> (&str, u32) {
    let (print, turn) = kept.split_once('.').unwrap_or((kept, ""));
    (print, turn.parse().unwrap_or_default())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Outbox {
    /// Whose messages those of this subject are. Writes nothing.
    pub async fn owned(&self, owner: &Owner) -> Result<Owned, StoreError> {
        let Some(kept) = self.load_setting(&owner.setting()).await? else {
            return Ok(Owned::ByNobody);
        };
        // Without it nobody could have kept a fingerprint.
        let key = self.load_setting(OWNER_KEY).await?.unwrap_or_default();
        Ok(owner.compare(kept, &key))
    }

    /// The fingerprint that is kept of a subject.
    pub async fn fingerprint(&self, owner: &Owner) -> Result<Option<String>, StoreError> {
        self.load_setting(&owner.setting()).await
    }

    /// Keeps the owner of a subject unless it has one; says whose it is.
    pub async fn own(&self, owner: &Owner) -> Result<Owned, StoreError> {
        let mut key = [0; 16];
        let drawn = SystemRandom::new().fill(&mut key);
        drawn
            .map_err(|_| StoreError::Unavailable("this machine gives no random numbers".into()))?;
        let key = self.keep_setting(OWNER_KEY, hex(&key)).await?;
        let ours = owner.fingerprint(&key);
        let kept = self.keep_setting(&owner.setting(), ours).await?;
        Ok(owner.compare(kept, &key))
    }

    /// Makes this the owner of a subject that has another.
    pub async fn take_over(&self, owner: &Owner) -> Result<(), StoreError> {
        let key = self.load_setting(OWNER_KEY).await?.unwrap_or_default();
        let kept = self.load_setting(&owner.setting()).await?;
        let turn = kept.map_or(0, |kept| turn_of(&kept).1) + 1;
        let ours = format!("{}.{turn}", owner.fingerprint(&key));
        self.save_setting(&owner.setting(), Some(ours)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::redis;
    use crate::store::testing::{self, RedisServer};

    fn owner(host: &str, client: &str) -> Owner {
        let parts = vec![("API", host.to_owned()), ("CLIENT", client.to_owned())];
        Owner {
            subject: "account default".into(),
            parts,
        }
    }

    #[test]
    fn a_fingerprint_shows_what_differs_and_not_what_it_is() {
        let ours = owner("api.example.com", "shop");
        let print = ours.fingerprint("key");
        assert!(!print.contains("shop") && !print.contains("example"));
        assert_eq!(print, ours.fingerprint("key"));
        assert_ne!(print, ours.fingerprint("another"));
        for (other, differ) in [
            (owner("api.example.com", "shop"), None),
            (owner("api.example.com", "Shop"), Some(vec!["CLIENT"])),
            (owner("api.example.org", "shop"), Some(vec!["API"])),
            (
                owner("shop", "api.example.com"),
                Some(vec!["API", "CLIENT"]),
            ),
        ] {
            let text = match ours.compare(other.fingerprint("key"), "key") {
                Owned::ByAnother { settings, .. } => Some(settings),
                _ => None,
            };
            assert_eq!(text, differ, "{other:?}");
        }
    }

    #[tokio::test]
    async fn the_first_owner_stays_until_another_takes_over() {
        let (_dir, store) = testing::store();
        let server = RedisServer::start();
        let redis = redis::Store::open(server.link(), Vec::new(), false);
        for store in [Outbox::Embedded(store), Outbox::Redis(redis)] {
            let (first, second) = (owner("a", "1"), owner("a", "2"));
            assert_eq!(store.owned(&first).await.unwrap(), Owned::ByNobody);
            for _ in 0..2 {
                assert_eq!(store.own(&first).await.unwrap(), Owned::ByThis);
            }
            let key = store.load_setting(OWNER_KEY).await.unwrap().unwrap();
            let another = Owned::ByAnother {
                fingerprints: [&first, &second].map(|one| one.fingerprint(&key)),
                settings: vec!["CLIENT"],
            };
            assert_eq!(store.own(&second).await.unwrap(), another);
            assert_eq!(store.owned(&first).await.unwrap(), Owned::ByThis);
            let mut named = vec![first.fingerprint(&key)];
            for (to, other) in [(&second, &first), (&first, &second), (&second, &first)] {
                store.take_over(to).await.unwrap();
                assert_eq!(store.owned(to).await.unwrap(), Owned::ByThis);
                let Owned::ByAnother {
                    fingerprints: [kept, _],
                    ..
                } = store.owned(other).await.unwrap()
                else {
                    panic!("it was taken over")
                };
                assert!(
                    !named.contains(&kept),
                    "{kept} named an owner before: {named:?}"
                );
                named.push(kept);
            }
        }
    }
}
