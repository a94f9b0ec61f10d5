//! The list of who opted out, as people and Datastore take it from a store and put it back.

use super::{Outbox, StoreError};
use crate::domain::{AccountId, ChannelId, OptOutEntry, UnixMs};
use std::time::Duration;

/// How long what was taken for Datastore is hidden from other takers.
pub(super) const HIDDEN: Duration = Duration::from_secs(30);

/// How something that was said comes into a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// Somebody says it now, so it counts whatever a clock said before.
    Now,
    /// It was said elsewhere: it counts where it is later than what is kept. Datastore does not have it.
    Import,
    /// Datastore has it: the same, and where what is kept is later, Datastore is owed that.
    Merge,
}

/// A part of the list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Who is opted out.
    pub entries: Vec<OptOutEntry>,
    /// Where the next part begins, if there is one.
    pub next: Option<u64>,
}

impl Outbox {
    /// Who is opted out of a channel: a part of the list, at most `most`, from a place of it on. What somebody says
    /// meanwhile may show twice or not yet; what stood there all the time is never left out.
    pub async fn opt_outs(
        &self,
        channel: &ChannelId,
        from: u64,
        most: u64,
    ) -> Result<Page, StoreError> {
        match self {
            Self::Embedded(store) => store.opt_outs(channel, from, most).await,
            Self::Redis(store) => store.opt_outs(channel, from, most).await,
        }
    }

    /// Takes what was said, under all that each person is called; answers for how many entries that changed whether
    /// somebody is opted out.
    pub async fn take_opt_outs(
        &self,
        account: &AccountId,
        entrance: Entrance,
        entries: Vec<OptOutEntry>,
    ) -> Result<usize, StoreError> {
        match self {
            Self::Embedded(store) => store.take_opt_outs(account, entrance, entries).await,
            Self::Redis(store) => store.take_opt_outs(account, entrance, entries).await,
        }
    }

    /// What Datastore does not have of an account; hidden from other takers for 30 s.
    pub async fn owed_opt_outs(
        &self,
        account: &AccountId,
        channels: &[ChannelId],
        most: u64,
        now: UnixMs,
    ) -> Result<Vec<OptOutEntry>, StoreError> {
        match self {
            Self::Embedded(store) => store.owed_opt_outs(channels, most, now).await,
            Self::Redis(store) => store.owed_opt_outs(account, most, now).await,
        }
    }

    /// Datastore has these. What was said otherwise meanwhile stays owed.
    pub async fn opt_outs_kept(
        &self,
        account: &AccountId,
        entries: Vec<OptOutEntry>,
    ) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.opt_outs_kept(entries).await,
            Self::Redis(store) => store.opt_outs_kept(account, entries).await,
        }
    }

    /// Datastore is owed all of a channel: it is another one than before.
    pub async fn owe_opt_outs(&self, channel: &ChannelId) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.owe_opt_outs(channel).await,
            Self::Redis(store) => store.owe_opt_outs(channel).await,
        }
    }

    /// Puts into the list what a program wrote that kept none.
    pub async fn list_older_opt_outs(&self, channel: &ChannelId) -> Result<(), StoreError> {
        match self {
            // There they are rows of one table.
            Self::Embedded(_) => Ok(()),
            Self::Redis(store) => store.list_older_opt_outs(channel).await,
        }
    }

    /// How often the work of an account was handed out anew: after each time the store may have lost opt-outs.
    pub fn openings(&self, account: &AccountId) -> u64 {
        match self {
            Self::Embedded(_) => 0,
            Self::Redis(store) => store.openings(account),
        }
    }
}
