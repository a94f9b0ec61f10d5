//! Retention: what is settled and old goes, so that Redis' memory does not grow without end.

use super::{AccountKeys, Call, Store};
use crate::domain::UnixMs;
use crate::store::{Purged, StoreError};

/// Entries looked at in one step; bounds how long Redis does nothing else.
const AT_ONCE: usize = 100;

/// How many went, how many statuses, whether there is more, and for messages since when to look next
/// and how many of that moment to pass over.
type Step = (usize, usize, bool, String, usize);

/// What one step looks through.
struct Look<'a> {
    /// The kind of entries.
    what: &'a str,
    /// Those of an earlier time go.
    before: UnixMs,
    /// Of which list; for messages since when.
    of: &'a str,
    /// How many of that moment to pass over.
    pass: usize,
}

impl Store {
    /// Removes messages settled before `settled_before` (unless a callback of theirs waits or is a
    /// dead letter) and events received before `received_before`. Works in small steps until nothing
    /// is left to do.
    pub async fn purge(
        &self,
        settled_before: UnixMs,
        received_before: UnixMs,
    ) -> Result<Purged, StoreError> {
        self.shared.connection.is_ours()?;
        let mut purged = Purged::default();
        for home in &self.shared.accounts {
            purged.early_statuses += self.purge_events(home, received_before).await?;
            purged.others += self.purge_all(home, "others", settled_before, "rs").await?;
            for channel in self.all_channels(home).await? {
                let other = format!("oe:{channel}");
                purged.others += self
                    .purge_all(home, "others", received_before, &other)
                    .await?;
                for lane in [0, 1] {
                    let lane = format!("{lane}:{channel}");
                    purged.others += self.purge_all(home, "dead", settled_before, &lane).await?;
                }
            }
            purged.messages += self.purge_messages(home, settled_before).await?;
        }
        Ok(purged)
    }

    /// The channels of an account, those too that are not configured any more.
    async fn all_channels(&self, home: &AccountKeys) -> Result<Vec<String>, StoreError> {
        let key = format!("{}channels", home.prefix);
        let mut add = redis::cmd("SADD");
        add.arg(&key);
        self.channels_of(home).for_each(|channel| {
            add.arg(channel.as_str());
        });
        let _: u32 = self.shared.connection.command(&add).await?;
        self.shared
            .connection
            .command(redis::cmd("SMEMBERS").arg(&key))
            .await
    }

    async fn purge_messages(
        &self,
        home: &AccountKeys,
        before: UnixMs,
    ) -> Result<usize, StoreError> {
        let (mut removed, mut since, mut pass) = (0, "-inf".to_owned(), 0);
        loop {
            let look = Look {
                what: "messages",
                before,
                of: &since,
                pass,
            };
            let (went, _, more, next, passed) = self.step(home, &look).await?;
            removed += went;
            if !more {
                return Ok(removed);
            }
            (since, pass) = (next, passed);
        }
    }

    async fn purge_events(&self, home: &AccountKeys, before: UnixMs) -> Result<usize, StoreError> {
        let look = Look {
            what: "events",
            before,
            of: "",
            pass: 0,
        };
        let mut statuses = 0;
        loop {
            let (_, went, more, ..) = self.step(home, &look).await?;
            statuses += went;
            if !more {
                return Ok(statuses);
            }
        }
    }

    /// Step after step, until nothing is left to do.
    async fn purge_all(
        &self,
        home: &AccountKeys,
        what: &str,
        before: UnixMs,
        of: &str,
    ) -> Result<usize, StoreError> {
        let look = Look {
            what,
            before,
            of,
            pass: 0,
        };
        let mut removed = 0;
        loop {
            let (went, _, more, ..) = self.step(home, &look).await?;
            removed += went;
            if !more {
                return Ok(removed);
            }
        }
    }

    async fn step(&self, home: &AccountKeys, look: &Look<'_>) -> Result<Step, StoreError> {
        let call = Call::new(&self.shared.scripts.purge, home)
            .arg(look.what)
            .arg(look.before.0)
            .arg(AT_ONCE)
            .arg(look.of)
            .arg(look.pass);
        self.ask(&call).await
    }
}
