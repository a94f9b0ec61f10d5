//! The part of the outbox's role that is about working together: leases, and what others did. Dull
//! where one process has the store for itself.

use super::{
    CallbackQueue, ClaimedMessage, Ledger, Outbox, Owner, PendingCallback, StoreError, WentBack,
};
use crate::domain::{AccountId, ChannelId, UnixMs};
use std::time::Duration;
use tokio::time::Instant;

impl Outbox {
    /// Whether other processes work on the same messages.
    pub fn is_shared(&self) -> bool {
        match self {
            Self::Embedded(_) => false,
            Self::Redis(_) => true,
        }
    }

    /// The ledger of a channel that may not be configured any more, or be of another account now.
    pub async fn ledger_of(
        &self,
        account: &AccountId,
        channel: &ChannelId,
    ) -> Result<Ledger, StoreError> {
        match self {
            Self::Embedded(store) => Ok(store.ledger(channel)),
            Self::Redis(store) => store.ledger_of(account, channel).await,
        }
    }

    /// Renews the leases of this process, where it has any.
    pub async fn renew(&self) -> Result<(), StoreError> {
        match self {
            Self::Embedded(_) => Ok(()),
            Self::Redis(store) => store.renew().await,
        }
    }

    /// Looks whether the store is still its owners', where another installation may have taken it over.
    pub async fn stay(&self, owners: &[Owner]) -> Result<(), StoreError> {
        match self {
            Self::Embedded(_) => Ok(()),
            Self::Redis(store) => store.stay(owners).await,
        }
    }

    /// Whether the work of an account is handed out. A Redis that was restarted, restored or replaced hands out
    /// nothing until its gateways put back what it may have forgotten.
    pub fn is_open(&self, account: &AccountId) -> bool {
        match self {
            Self::Embedded(store) => store.is_open(account),
            Self::Redis(store) => store.is_open(account),
        }
    }

    /// Why the work of an account is held until an operator decides, if the store went back.
    pub fn went_back(&self, account: &AccountId) -> Option<WentBack> {
        match self {
            Self::Embedded(store) => store.went_back(account),
            Self::Redis(store) => store.went_back(account),
        }
    }

    /// How many messages that this process had accepted the store lost before anybody sent them, since this was last
    /// asked.
    pub fn lost(&self, account: &AccountId) -> usize {
        match self {
            Self::Embedded(_) => 0,
            Self::Redis(store) => store.lost(account),
        }
    }

    /// Hands the work of an account out again though the store went back. Whether it was held.
    pub async fn open_again(&self, account: &AccountId) -> Result<bool, StoreError> {
        match self {
            Self::Embedded(store) => store.open_again(account).await,
            Self::Redis(store) => store.open_again(account).await,
        }
    }

    /// Holds what waits of an account until an operator decides, who knows that a copy of the store was put back.
    /// Answers how many messages; nothing is held where none waits.
    pub async fn hold_back(
        &self,
        account: &AccountId,
        channels: &[ChannelId],
        now: UnixMs,
    ) -> Result<u64, StoreError> {
        match self {
            Self::Embedded(store) => store.hold_back(account, channels, now).await,
            Self::Redis(store) => store.hold_back(account).await,
        }
    }

    /// Fails what waited in a channel in the state that the store went back to; answers how many.
    pub async fn fail_copy(
        &self,
        account: &AccountId,
        channel: &ChannelId,
        now: UnixMs,
    ) -> Result<usize, StoreError> {
        match self {
            Self::Embedded(store) => store.fail_copy(account, channel, now).await,
            Self::Redis(store) => store.fail_copy(channel, now).await,
        }
    }

    /// After all of them: what came while work was held may say what became of some.
    pub async fn infer_receipts(&self, account: &AccountId, now: UnixMs) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.infer_receipts(account, now).await,
            Self::Redis(store) => store.infer_receipts(account, now).await,
        }
    }

    /// Gives up the leases of this process; what it is still sending is unknown from now on, until
    /// the time that is given for its channel. Returns how many.
    pub async fn leave(&self, holds: &[(ChannelId, Duration)]) -> Result<u32, StoreError> {
        match self {
            Self::Embedded(_) => Ok(0),
            Self::Redis(store) => store.leave(holds).await,
        }
    }

    /// Reads the ledgers where others may change them.
    pub async fn look(&self) -> Result<(), StoreError> {
        match self {
            Self::Embedded(_) => Ok(()),
            Self::Redis(store) => store.look().await,
        }
    }

    /// Channels of which something changed since this was last asked, where others may change them.
    /// For one asker only.
    pub fn changed_channels(&self) -> Vec<ChannelId> {
        match self {
            Self::Embedded(_) => Vec::new(),
            Self::Redis(store) => store.changed_channels(),
        }
    }

    /// Until when the call of this message may be begun; `None` where nobody else could begin it.
    pub fn lease_until(&self, claimed: &ClaimedMessage) -> Option<Instant> {
        match self {
            Self::Embedded(_) => None,
            Self::Redis(store) => store.lease_until(claimed),
        }
    }

    /// Whether a callback that was taken is still this process' own. If not, it is let go.
    pub fn may_relay(&self, queue: &CallbackQueue, callback: &PendingCallback) -> bool {
        match self {
            Self::Embedded(_) => true,
            Self::Redis(store) => store.may_relay(queue, callback),
        }
    }
}
