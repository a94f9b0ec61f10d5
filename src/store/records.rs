//! What Datastore takes from a store and gives back to it.

use super::{Folded, Outbox, Record, StoreError};
use crate::domain::{
    AccountId, BusinessNumber, ChannelId, MsgId, Phone, Progress, ProviderId, UnixMs,
};
use std::time::Duration;

/// How long a mark that was taken is hidden from other takers. A write must have ended by then.
pub const MARK_HIDDEN: Duration = Duration::from_secs(30);

/// A message whose last version Datastore does not have.
#[derive(Debug, Clone)]
pub struct Dirty {
    /// The store's handle.
    pub handle: i64,
    /// Grows with every change of the message.
    pub version: u64,
    /// The message as it was at that version.
    pub record: Record,
}

/// The end of a try to write a message to Datastore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirtyEnd {
    /// Datastore has this version or a newer one.
    Written,
    /// Once more, later.
    Later {
        /// When.
        due: UnixMs,
    },
}

/// Statuses wait under an id that no message has and that Datastore was not asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmatched {
    /// The id, as the events name it.
    pub provider_id: ProviderId,
    /// The channel whose webhook brought the first of them.
    pub channel: ChannelId,
    /// When that one came.
    pub received_at: UnixMs,
}

/// A message that only Datastore knew: the provider took it, and another store or the old connector
/// sent it.
#[derive(Debug, Clone)]
pub struct Adopted {
    /// Its channel.
    pub channel: ChannelId,
    /// MoEngage's id.
    pub msg_id: MsgId,
    /// The recipient, where the record says so; else whom the waiting statuses name.
    pub to: Option<Phone>,
    /// Whether the provider's id was found by evidence, as the record says.
    pub inferred: bool,
    /// The brand's number.
    pub from: BusinessNumber,
    /// The template's name, or what the record has in its place.
    pub template: String,
    /// The template's language; empty where the record does not say.
    pub language: String,
    /// The campaign.
    pub campaign: Option<String>,
    /// The provider's id of the conversation.
    pub conversation: Option<String>,
    /// How far it had come: the fold goes on from here.
    pub progress: Progress,
    /// When it was accepted.
    pub accepted_at: UnixMs,
    /// The version of the record; the store counts on from it.
    pub version: u64,
}

impl Outbox {
    /// Takes changed messages that Datastore does not have; hides their marks for
    /// [`MARK_HIDDEN`].
    pub async fn take_dirty(
        &self,
        account: &AccountId,
        most: usize,
        now: UnixMs,
    ) -> Result<Vec<Dirty>, StoreError> {
        match self {
            Self::Embedded(store) => store.take_dirty(account, most, now).await,
            Self::Redis(store) => store.take_dirty(account, most, now).await,
        }
    }

    /// Ends tries to write to Datastore; each is a handle, the version tried, and its end.
    pub async fn settle_dirty(
        &self,
        account: &AccountId,
        ends: Vec<(i64, u64, DirtyEnd)>,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.settle_dirty(account, ends, now).await,
            Self::Redis(store) => store.settle_dirty(account, ends, now).await,
        }
    }

    /// How many messages wait for Datastore.
    pub async fn dirty_waiting(&self, account: &AccountId) -> Result<u64, StoreError> {
        match self {
            Self::Embedded(store) => store.dirty_waiting(account).await,
            Self::Redis(store) => store.dirty_waiting(account).await,
        }
    }

    /// Ids with waiting statuses that no message has and that Datastore was not asked for: up to half of
    /// them name people who have a message in doubt, one id each; the rest are those that came first.
    ///
    /// Strangers, who may make up any number of ids, cannot know who is in doubt, and what they post comes
    /// after what is there; neither half can take the other's place.
    pub async fn unmatched(
        &self,
        account: &AccountId,
        received_before: UnixMs,
        most: usize,
    ) -> Result<Vec<Unmatched>, StoreError> {
        match self {
            Self::Embedded(store) => store.unmatched(account, received_before, most).await,
            Self::Redis(store) => store.unmatched(account, received_before, most).await,
        }
    }

    /// Takes what Datastore said about such an id: a message, or that it does not know it.
    pub async fn adopt(
        &self,
        account: &AccountId,
        provider_id: &ProviderId,
        found: Option<Adopted>,
        now: UnixMs,
    ) -> Result<Folded, StoreError> {
        match self {
            Self::Embedded(store) => store.adopt(account, provider_id, found, now).await,
            Self::Redis(store) => store.adopt(account, provider_id, found, now).await,
        }
    }
}
