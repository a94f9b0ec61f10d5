//! Retention: what is settled and old goes, so that Redis' memory does not grow without end.

use super::{Call, Home, Store};
use crate::domain::UnixMs;
use crate::store::{Purged, StoreError};
use redis::ToRedisArgs;

/// Entries looked at in one step; bounds how long Redis does nothing else.
const AT_ONCE: usize = 100;

impl Store {
    /// Removes messages settled before `settled_before` (unless a callback of theirs waits or is a
    /// dead letter) and events received before `received_before`. Works in small steps until nothing
    /// is left to do.
    pub async fn purge(
        &self,
        settled_before: UnixMs,
        received_before: UnixMs,
    ) -> Result<Purged, StoreError> {
        let mut purged = Purged::default();
        for home in &self.shared.accounts {
            purged.early_statuses += self.purge_events(home, received_before).await?;
            purged.others += self
                .purge_all(home, ("others", settled_before), "rs")
                .await?;
            for channel in self.all_channels(home).await? {
                let other = format!("oe:{channel}");
                purged.others += self
                    .purge_all(home, ("others", received_before), &other)
                    .await?;
                for lane in [0, 1] {
                    let lane = format!("{lane}:{channel}");
                    purged.others += self
                        .purge_all(home, ("dead", settled_before), &lane)
                        .await?;
                }
            }
            purged.messages += self.purge_messages(home, settled_before).await?;
        }
        Ok(purged)
    }

    /// The channels of an account, those too that are not configured any more.
    async fn all_channels(&self, home: &Home) -> Result<Vec<String>, StoreError> {
        let key = format!("{}channels", home.prefix);
        let mut add = redis::cmd("SADD");
        add.arg(&key);
        self.channels_of(home).for_each(|channel| {
            add.arg(channel.as_str());
        });
        let _: u32 = self.shared.link.command(&add).await?;
        self.shared
            .link
            .command(redis::cmd("SMEMBERS").arg(&key))
            .await
    }

    async fn purge_messages(&self, home: &Home, before: UnixMs) -> Result<usize, StoreError> {
        let (mut removed, mut passed) = (0, 0);
        loop {
            let (went, stayed) = self.step(home, ("messages", before), passed).await?;
            removed += went;
            passed += stayed;
            if went + stayed < AT_ONCE {
                return Ok(removed);
            }
        }
    }

    async fn purge_events(&self, home: &Home, before: UnixMs) -> Result<usize, StoreError> {
        let mut statuses = 0;
        loop {
            let (ids, of_ids) = self.step(home, ("events", before), 0).await?;
            statuses += of_ids;
            if ids < AT_ONCE {
                return Ok(statuses);
            }
        }
    }

    /// Step after step, until nothing is left to do.
    async fn purge_all(
        &self,
        home: &Home,
        what: (&str, UnixMs),
        of: &str,
    ) -> Result<usize, StoreError> {
        let mut removed = 0;
        loop {
            let (went, _) = self.step(home, what, of).await?;
            removed += went;
            if went < AT_ONCE {
                return Ok(removed);
            }
        }
    }

    async fn step(
        &self,
        home: &Home,
        (what, before): (&str, UnixMs),
        more: impl ToRedisArgs,
    ) -> Result<(usize, usize), StoreError> {
        let call = Call::new(&self.shared.scripts.purge, home)
            .arg(what)
            .arg(before.0)
            .arg(AT_ONCE)
            .arg(more);
        self.ask(&call).await
    }
}
