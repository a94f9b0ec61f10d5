//! What an account begins with: the stored pair, the old connector's, or a seed. Makes no call.

use super::aside::print;
use super::held::fingerprint;
use super::{Tokens, trimmed};
use crate::domain::UnixMs;
use crate::store::{StoreError, StoredToken};
use secrecy::SecretString;
use tokio::time::Instant;
use tracing::{error, info};

impl Tokens {
    /// Loads what is stored, or what the old connector stored since, or what the last process could
    /// not store, and takes the seed when there is nothing, or when that is dead and the seed is
    /// another one than the last. Makes no call.
    pub async fn start(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        let mut stored = match shared.store.load(&shared.settings.account).await {
            Err(error @ StoreError::Unreadable(_)) => {
                // The other accounts go on, and messages are accepted; not even the seed is used, as
                // it would take the place of tokens that a newer program may be able to read.
                error!(
                    account = %shared.settings.account, %error, event = "token_of_newer_version",
                    "the stored tokens are left as they are and nothing is sent; upgrade this \
                     process, or start one of the version that wrote them"
                );
                return Ok(());
            }
            loaded => loaded?,
        };
        if let Some(imported) = self.import(stored.as_ref()).await? {
            stored = Some(imported);
        }
        let stored = self.take_up(stored).await;
        let seed = shared.settings.seed.as_ref().and_then(trimmed);
        let token = match (stored, seed) {
            (None, None) => return Ok(()),
            (None, Some(seed)) => self.seeded(None, seed),
            (Some(old), Some(seed))
                if old.dead.is_some() && old.seed != Some(fingerprint(&seed)) =>
            {
                self.seeded(Some(old), seed)
            }
            (Some(old), _) => {
                self.begin_with(old).await;
                return Ok(());
            }
        };
        if shared.store.save(&shared.settings.account, &token).await? {
            info!(
                account = %shared.settings.account, event = "token_seed_taken",
                "took the seed refresh token from the configuration"
            );
            self.begin_with(token).await;
        } else if let Some(stored) = shared.store.load(&shared.settings.account).await? {
            self.begin_with(stored).await;
        }
        Ok(())
    }

    /// What others got a moment ago is as new as if we had got it; what they call dead is tried once.
    async fn begin_with(&self, token: StoredToken) {
        let mut flight = self.shared.flight.lock().await;
        if !flight.unsaved {
            flight.stored = Some(print(&token));
        }
        let now = self.now();
        if token.access.is_some() {
            // A pair of later than now was stored by a clock that has been set back since: nobody knows
            // its age, so it holds no renewal back.
            let age = (token.obtained_at <= now).then(|| now.since(token.obtained_at));
            flight.refreshed = age.and_then(|age| Instant::now().checked_sub(age));
        }
        let on_trial = token.dead.is_some();
        self.publish(token, true);
        self.change(|held| held.on_trial = on_trial);
    }

    /// A seed in the place of what is of no use; the access token may be good all the same.
    fn seeded(&self, old: Option<StoredToken>, seed: SecretString) -> StoredToken {
        let print = Some(fingerprint(&seed));
        match old {
            Some(old) => StoredToken {
                seed: print,
                refresh: seed,
                fence: old.fence + 1,
                dead: None,
                ..old
            },
            None => StoredToken {
                access: None,
                seed: print,
                refresh: seed,
                obtained_at: self.now(),
                expires_at: UnixMs(0),
                fence: 1,
                dead: None,
            },
        }
    }

    /// Takes the pair that the old connector stored since we last looked.
    pub(super) async fn import(
        &self,
        stored: Option<&StoredToken>,
    ) -> Result<Option<StoredToken>, StoreError> {
        let shared = &self.shared;
        let account = &shared.settings.account;
        let Some(old) = shared.store.old_pair(account).await? else {
            return Ok(None);
        };
        let now = self.now();
        let ends = super::refresh::end_of(old.access.as_ref(), old.drops_in, now);
        // Without one of theirs, ours may still be good.
        let (access, expires_at, obtained_at) = match (old.access, stored) {
            (None, Some(ours)) => (ours.access.clone(), ours.expires_at, ours.obtained_at),
            (access, _) => (access, ends, now),
        };
        let token = StoredToken {
            access,
            expires_at,
            refresh: old.refresh,
            obtained_at,
            fence: stored.map_or(0, |stored| stored.fence) + 1,
            dead: None,
            seed: stored.and_then(|stored| stored.seed.clone()),
        };
        if shared.store.save_imported(account, &token).await? {
            info!(
                %account, event = "token_of_old_connector_taken",
                "took over the tokens of the old connector"
            );
            return Ok(Some(token));
        }
        shared.store.load(account).await
    }
}
