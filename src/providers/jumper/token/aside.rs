//! A pair that the store did not take, put by in a file of the data directory until it is stored (cases R-64).
//!
//! A refresh kills the pair it came from, so what memory alone has is lost with the process. The file is written
//! at the first try in vain and removed once the pair is stored. A start takes it up where the store still holds
//! the pair that it replaces, or none: whatever else is there is newer. What a file says is never logged.

use super::{Flight, Tokens};
use crate::domain::{AccountId, UnixMs};
use crate::store::{Aside, StoredToken};
use ring::digest::{Context, SHA256};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use std::io::{Error, ErrorKind, Result};
use tracing::{error, info, warn};

/// The layout that this version writes and reads.
const VERSION: u32 = 1;

/// A pair as its file says it.
#[derive(Serialize, Deserialize)]
struct PutBy {
    version: u32,
    /// The hash of the client and its provider: with the pair of another one, its merchant would send.
    owner: String,
    /// The hash of the pair that the store had last.
    replaces: Option<String>,
    fence: u64,
    access: Option<String>,
    refresh: String,
    obtained_at: i64,
    expires_at: i64,
    dead: Option<String>,
    seed: Option<String>,
}

/// What becomes of a pair that was put by.
enum Fate {
    /// It is the newest.
    TakeUp(StoredToken),
    /// It is not used, and why.
    Leave(&'static str),
}

impl PutBy {
    fn new(token: &StoredToken, replaces: Option<String>, owner: &str) -> Self {
        Self {
            version: VERSION,
            owner: hash([owner]),
            replaces,
            fence: token.fence,
            access: token
                .access
                .as_ref()
                .map(|access| access.expose_secret().to_owned()),
            refresh: token.refresh.expose_secret().to_owned(),
            obtained_at: token.obtained_at.0,
            expires_at: token.expires_at.0,
            dead: token.dead.clone(),
            seed: token.seed.clone(),
        }
    }

    /// Nothing where another program wrote it, or a newer version.
    fn read(text: &str) -> Option<Self> {
        // The error would quote what it stumbled over.
        let read: Self = serde_json::from_str(text).ok()?;
        (read.version == VERSION).then_some(read)
    }

    fn fate(self, owner: &str, stored: Option<&StoredToken>) -> Fate {
        if self.owner != hash([owner]) {
            return Fate::Leave("they are those of another client or provider");
        }
        let replaces = self.replaces.clone();
        let token = self.token();
        let Some(stored) = stored else {
            return Fate::TakeUp(token);
        };
        match print(stored) {
            same if same == print(&token) => Fate::Leave("the store has them"),
            older if Some(&older) == replaces.as_ref() => Fate::TakeUp(StoredToken {
                fence: stored.fence + 1,
                ..token
            }),
            _ => Fate::Leave("the store has others, which came later"),
        }
    }

    fn token(self) -> StoredToken {
        StoredToken {
            access: self.access.map(Into::into),
            refresh: self.refresh.into(),
            obtained_at: UnixMs(self.obtained_at),
            expires_at: UnixMs(self.expires_at),
            fence: self.fence,
            dead: self.dead,
            seed: self.seed,
        }
    }
}

impl Tokens {
    /// Puts a pair by that the store has just not taken, unless it is.
    pub(super) async fn put_by(&self, flight: &mut Flight, token: &StoredToken) {
        let print = print(token);
        if flight.put_by.as_ref() == Some(&Ok(print.clone())) {
            return;
        }
        let owner = &self.shared.settings.owner;
        let put_by = PutBy::new(token, flight.stored.clone(), owner);
        let written = self.on_disk(move |aside, name| {
            let text = serde_json::to_string(&put_by).map_err(Error::from)?;
            aside.write(name, &text)
        });
        let written = written.await.map(|()| print);
        flight.put_by = Some(written.map_err(|error| error.to_string()));
    }

    /// Notes that the store has this pair: what was put by is of no use any more.
    pub(super) async fn is_stored(&self, flight: &mut Flight, stored: &StoredToken) {
        flight.unsaved = false;
        flight.stored = Some(print(stored));
        match flight.put_by.take() {
            Some(Ok(_)) => self.remove_put_by().await,
            // An older one may be there.
            Some(Err(_)) => drop(self.on_disk(Aside::remove).await),
            None => {}
        }
    }

    /// What a start goes on with: what is stored, or the pair that the last process could not store.
    pub(super) async fn take_up(&self, stored: Option<StoredToken>) -> Option<StoredToken> {
        let Some(put_by) = self.read_put_by().await else {
            return stored;
        };
        let settings = &self.shared.settings;
        let account = &settings.account;
        let file = name_of(account);
        match put_by.fate(&settings.owner, stored.as_ref()) {
            Fate::TakeUp(token) => {
                let mut flight = self.shared.flight.lock().await;
                flight.stored = stored.as_ref().map(print);
                flight.put_by = Some(Ok(print(&token)));
                info!(
                    %account, file, event = "token_aside_taken",
                    "took up the tokens that the last process could not store"
                );
                Some(self.save(&mut flight, token).await)
            }
            Fate::Leave(why) => {
                warn!(
                    %account, file, why, event = "token_aside_unused",
                    "the tokens in this file of DATA_DIR are not used, and it is removed"
                );
                self.remove_put_by().await;
                stored
            }
        }
    }

    /// What a process says at its very end, where its newest tokens are not stored.
    pub fn last_word(&self) {
        let account = &self.shared.settings.account;
        let Ok(flight) = self.shared.flight.try_lock() else {
            warn!(
                %account, event = "token_renewal_interrupted",
                "stopped while the tokens were being renewed: the next start tries the refresh \
                 token that is stored, once"
            );
            return;
        };
        if !flight.unsaved {
            return;
        }
        let held = self.held().token.as_ref().map(print);
        match &flight.put_by {
            Some(Ok(print)) if Some(print) == held.as_ref() => {
                warn!(
                    %account, file = name_of(account), event = "token_aside_left",
                    "the newest tokens are not stored: the next start takes them from this file \
                     of DATA_DIR"
                );
            }
            other => {
                let why = other.as_ref().and_then(|put_by| put_by.as_ref().err());
                error!(
                    %account, why, event = "token_lost",
                    "the newest tokens are lost: neither the store nor DATA_DIR took them. The \
                     next start needs a new seed: set SEED_REFRESH_TOKEN"
                );
            }
        }
    }

    /// Says that the newest pair is not stored, and what becomes of it.
    pub(super) fn tell_unsaved(&self, flight: &Flight, failure: &str) {
        let account = &self.shared.settings.account;
        match &flight.put_by {
            Some(Err(why)) => {
                warn!(
                    %account, error = failure, why, event = "token_not_stored",
                    "the new tokens cannot be stored, nor written to DATA_DIR; they are used \
                     from memory and a restart now would lose them"
                );
            }
            _ => {
                warn!(
                    %account, error = failure, file = name_of(account), event = "token_put_aside",
                    "the new tokens cannot be stored; they are used from memory, and this file \
                     of DATA_DIR has them until they are"
                );
            }
        }
    }

    async fn read_put_by(&self) -> Option<PutBy> {
        let account = &self.shared.settings.account;
        let file = name_of(account);
        let read = match self.on_disk(Aside::read).await {
            Ok(text) => PutBy::read(&text?),
            Err(error) if error.kind() == ErrorKind::InvalidData => None,
            Err(error) => {
                warn!(
                    %account, file, %error, event = "token_aside_unreadable",
                    "this file of DATA_DIR cannot be read; it is left as it is"
                );
                return None;
            }
        };
        if read.is_none() {
            let moved = self.on_disk(Aside::spoil).await;
            let moved = moved.unwrap_or_else(|error| error.to_string());
            error!(
                %account, file, moved, event = "token_aside_damaged",
                "this file of DATA_DIR is damaged, or a newer version wrote it; it is moved out \
                 of the way and not used"
            );
        }
        read
    }

    async fn remove_put_by(&self) {
        if let Err(error) = self.on_disk(Aside::remove).await {
            let account = &self.shared.settings.account;
            warn!(
                %account, file = name_of(account), %error, event = "token_aside_not_removed",
                "this file of DATA_DIR is of no use any more and cannot be removed: remove it"
            );
        }
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Aside, &str) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let settings = &self.shared.settings;
        let (aside, name) = (settings.aside.clone(), name_of(&settings.account));
        let done = tokio::task::spawn_blocking(move || work(&aside, &name));
        done.await.unwrap_or_else(|error| Err(Error::other(error)))
    }
}

fn name_of(account: &AccountId) -> String {
    format!("pair-{account}")
}

/// What a pair is known by; nothing leads from it back to the pair. What was said of it is no part of it.
pub(super) fn print(token: &StoredToken) -> String {
    let access = token.access.as_ref().map(ExposeSecret::expose_secret);
    hash([token.refresh.expose_secret(), access.unwrap_or_default()])
}

fn hash<const N: usize>(parts: [&str; N]) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part.as_bytes());
        context.update(b"\0");
    }
    let hash = context.finish();
    hash.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: &str = "api.example.com key";

    fn token(n: u64) -> StoredToken {
        StoredToken {
            access: Some(format!("secret-access-{n}").into()),
            refresh: format!("secret-refresh-{n}").into(),
            obtained_at: UnixMs(n.cast_signed()),
            expires_at: UnixMs(n.cast_signed() + 1000),
            fence: n,
            dead: None,
            seed: Some("print".into()),
        }
    }

    /// The pair `new`, put by in the place of `old`, met by a store that has `stored`: the fence and the pair to
    /// go on with, or why not.
    fn fate(old: Option<u64>, new: u64, stored: Option<&StoredToken>) -> (u64, String) {
        let old = old.map(|n| print(&token(n)));
        let text = serde_json::to_string(&PutBy::new(&token(new), old, OWNER)).unwrap();
        match PutBy::read(&text).unwrap().fate(OWNER, stored) {
            Fate::TakeUp(taken) => (taken.fence, print(&taken)),
            Fate::Leave(why) => (0, why.into()),
        }
    }

    #[test]
    fn r_64_it_goes_before_what_it_replaces_and_before_nothing_else() {
        let new = |fence: u64| (fence, print(&token(8)));
        assert_eq!(fate(Some(7), 8, None), new(8));
        assert_eq!(fate(None, 8, None), new(8));
        assert_eq!(fate(Some(7), 8, Some(&token(7))), new(8));
        // Its parent was called dead meanwhile.
        let dead = StoredToken {
            dead: Some("gone".into()),
            fence: 20,
            ..token(7)
        };
        assert_eq!(fate(Some(7), 8, Some(&dead)), new(21));
        for other in [token(6), token(9)] {
            assert!(fate(Some(7), 8, Some(&other)).1.contains("others"));
            assert!(fate(None, 8, Some(&other)).1.contains("others"));
        }
        assert!(fate(Some(7), 8, Some(&token(8))).1.contains("has them"));
        let of_another = PutBy::new(&token(8), None, "api.example.com other");
        let fate = of_another.fate(OWNER, None);
        assert!(matches!(fate, Fate::Leave(why) if why.contains("another client")));
    }

    #[test]
    fn r_64_a_file_says_all_of_a_pair_and_only_what_is_whole_is_read() {
        let dead = StoredToken {
            dead: Some("gone".into()),
            access: None,
            ..token(3)
        };
        for token in [token(3), dead] {
            let text = serde_json::to_string(&PutBy::new(&token, None, OWNER)).unwrap();
            let read = PutBy::read(&text).unwrap().token();
            assert_eq!(format!("{read:?}"), format!("{token:?}"));
            assert_eq!(print(&read), print(&token));
            assert!(PutBy::read(&text[..text.len() - 1]).is_none());
            assert!(PutBy::read(&text.replace("\"version\":1", "\"version\":2")).is_none());
        }
        assert!(PutBy::read("").is_none());
    }

    #[test]
    fn a_print_tells_pairs_apart_and_shows_none() {
        assert_ne!(print(&token(1)), print(&token(2)));
        let moved = StoredToken {
            access: None,
            refresh: "secret-refresh-1secret-access-1".into(),
            ..token(1)
        };
        assert_ne!(print(&token(1)), print(&moved));
        assert!(!print(&token(1)).contains("secret"));
    }
}
