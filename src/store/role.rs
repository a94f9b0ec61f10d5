//! The role of the outbox: an enum with one arm a backend and one dull line a call. What a call
//! promises is written at the backend. The smaller roles are in `settings.rs`.

use super::embedded::Store;
use super::inbound::Folded;
use super::record::{Ledger, Record, Search};
use super::redis::Store as SharedStore;
use super::report::Report;
use super::settlement::{QuickReply, Settlement};
use super::sweep::{SweepRule, SweepScope, Swept};
use super::types::*;
use crate::domain::{AccountId, ChannelId, Moment, MsgId, Refusal, UnixMs};

/// The durable work queue and everything a decision needs.
#[derive(Debug, Clone)]
pub enum Outbox {
    /// One SQLite file.
    Embedded(Store),
    /// One Redis, shared with other processes.
    Redis(SharedStore),
}

impl Outbox {
    /// How it is called in what an operator reads.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Embedded(_) => "the embedded store",
            Self::Redis(_) => "Redis",
        }
    }

    /// The ledger of a channel, as last committed.
    pub fn ledger(&self, channel: &ChannelId) -> Ledger {
        match self {
            Self::Embedded(store) => store.ledger(channel),
            Self::Redis(store) => store.ledger(channel),
        }
    }

    /// Whether new work may come in, as last seen: there is room on the disk, Redis answers.
    pub fn has_room(&self) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.has_room(),
            // Redis itself refuses new work when its memory is used up.
            Self::Redis(store) => store.answers(),
        }
    }

    /// Keeps a message unless its `msg_id` is known or its recipient does not want it.
    pub async fn accept(
        &self,
        channel: &ChannelId,
        account: &AccountId,
        arrival: impl Into<Arrival<'_>>,
        now: UnixMs,
    ) -> Result<Accepted, StoreError> {
        match self {
            Self::Embedded(store) => store.accept(channel, account, arrival, now).await,
            Self::Redis(store) => store.accept(channel, account, arrival, now).await,
        }
    }

    /// Whether a message of this id was accepted before.
    pub async fn is_accepted(
        &self,
        channel: &ChannelId,
        msg_id: &MsgId,
    ) -> Result<bool, StoreError> {
        match self {
            Self::Embedded(store) => store.is_accepted(channel, msg_id).await,
            Self::Redis(store) => store.is_accepted(channel, msg_id).await,
        }
    }

    /// Waits for the end of what writes, which comes with a defect only. Nothing could be written
    /// after it.
    pub async fn ended(&self) {
        match self {
            Self::Embedded(store) => store.ended().await,
            // Nothing of its own works for Redis for as long as the process lives.
            Self::Redis(_) => std::future::pending().await,
        }
    }

    /// Takes due messages, the channels in the order given, each its fair share first.
    pub async fn claim(
        &self,
        queues: Vec<ClaimFrom>,
        most: usize,
        now: UnixMs,
    ) -> Result<Claims, StoreError> {
        match self {
            Self::Embedded(store) => store.claim(queues, most, now).await,
            Self::Redis(store) => store.claim(queues, most, now).await,
        }
    }

    /// Takes one message that shows whether a held scope may send again.
    pub async fn claim_trial(&self, trial: Trial, now: UnixMs) -> Result<Claims, StoreError> {
        match self {
            Self::Embedded(store) => store.claim_trial(trial, now).await,
            Self::Redis(store) => store.claim_trial(trial, now).await,
        }
    }

    /// Fails up to so many queued messages of a channel, the oldest first; answers how many.
    pub async fn fail_queued(
        &self,
        channel: &ChannelId,
        refusal: &Refusal,
        most: usize,
        now: UnixMs,
    ) -> Result<usize, StoreError> {
        match self {
            Self::Embedded(store) => store.fail_queued(channel, refusal, most, now).await,
            Self::Redis(store) => store.fail_queued(channel, refusal, most, now).await,
        }
    }

    /// When the next queued message of these channels is due.
    pub async fn next_due(&self, channels: Vec<ChannelId>) -> Result<Option<UnixMs>, StoreError> {
        match self {
            Self::Embedded(store) => store.next_due(channels).await,
            Self::Redis(store) => store.next_due(channels).await,
        }
    }

    /// What was being sent when the process ended is unknown now; returns how many.
    pub async fn recover(
        &self,
        account: &AccountId,
        until: UnixMs,
        now: UnixMs,
    ) -> Result<usize, StoreError> {
        match self {
            Self::Embedded(store) => store.recover(account, until, now).await,
            // A sweep takes over from whoever is gone.
            Self::Redis(_) => Ok(0),
        }
    }

    /// Keeps what the person can tap while the message is being sent: a tap may overtake the answer.
    pub async fn know_taps(
        &self,
        claimed: &ClaimedMessage,
        taps: Vec<QuickReply>,
    ) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.know_taps(claimed, taps).await,
            Self::Redis(store) => store.know_taps(claimed, taps).await,
        }
    }

    /// Ends an attempt.
    pub async fn settle(
        &self,
        claimed: &ClaimedMessage,
        settlement: Settlement,
        answer: String,
        now: UnixMs,
    ) -> Result<Folded, StoreError> {
        match self {
            Self::Embedded(store) => store.settle(claimed, settlement, answer, now).await,
            Self::Redis(store) => store.settle(claimed, settlement, answer, now).await,
        }
    }

    /// Takes due callbacks; they stay taken until they are settled or the process ends.
    pub async fn take_callbacks(
        &self,
        queue: &CallbackQueue,
        most: usize,
        now: UnixMs,
    ) -> Result<Vec<PendingCallback>, StoreError> {
        match self {
            Self::Embedded(store) => store.take_callbacks(queue, most, now).await,
            Self::Redis(store) => store.take_callbacks(queue, most, now).await,
        }
    }

    /// When the next callback of a queue is due, taken ones aside.
    pub async fn next_callback_due(
        &self,
        queue: &CallbackQueue,
    ) -> Result<Option<UnixMs>, StoreError> {
        match self {
            Self::Embedded(store) => store.next_callback_due(queue).await,
            Self::Redis(store) => store.next_callback_due(queue).await,
        }
    }

    /// Ends tries to relay.
    pub async fn settle_callbacks(
        &self,
        queue: &CallbackQueue,
        ends: Vec<(CallbackLease, RelayOutcome)>,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.settle_callbacks(queue, ends, now).await,
            Self::Redis(store) => store.settle_callbacks(queue, ends, now).await,
        }
    }

    /// What waits for a later try is due now.
    pub async fn hasten_callbacks(
        &self,
        queue: &CallbackQueue,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.hasten_callbacks(queue, now).await,
            Self::Redis(store) => store.hasten_callbacks(queue, now).await,
        }
    }

    /// Ends holds that are over and fails what is too old, a bounded number at once.
    pub async fn sweep(
        &self,
        rules: Vec<SweepRule>,
        look: SweepScope,
        now: impl Into<Moment>,
    ) -> Result<Swept, StoreError> {
        let now = now.into();
        match self {
            Self::Embedded(store) => store.sweep(rules, look, now).await,
            Self::Redis(store) => store.sweep(rules, look, now).await,
        }
    }

    /// Removes what is settled and old.
    pub async fn purge(
        &self,
        settled_before: UnixMs,
        received_before: UnixMs,
    ) -> Result<Purged, StoreError> {
        match self {
            Self::Embedded(store) => store.purge(settled_before, received_before).await,
            Self::Redis(store) => store.purge(settled_before, received_before).await,
        }
    }

    /// The newest messages that fit, at most `most`.
    pub async fn find(&self, search: Search, most: usize) -> Result<Vec<Record>, StoreError> {
        match self {
            Self::Embedded(store) => store.find(search, most).await,
            Self::Redis(store) => store.find(search, most).await,
        }
    }

    /// Rows queued, attempting and unknown, to check the ledger against.
    pub async fn count_open(&self) -> Result<[i64; 3], StoreError> {
        match self {
            Self::Embedded(store) => store.count_open().await,
            Self::Redis(store) => store.count_open().await,
        }
    }

    /// How many queued messages of a channel come before one that is due then.
    pub async fn ahead(&self, channel: &ChannelId, due: UnixMs) -> Result<u64, StoreError> {
        match self {
            Self::Embedded(store) => store.ahead(channel, due).await,
            Self::Redis(store) => store.ahead(channel, due).await,
        }
    }

    /// Whether a durable write can be made now.
    pub async fn writable(&self) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.writable().await,
            Self::Redis(store) => store.writable().await,
        }
    }

    /// What the store promises, and what is wrong with it. Never waits for long.
    pub async fn report(&self) -> Report {
        match self {
            Self::Embedded(_) => Report::embedded(),
            Self::Redis(store) => store.link().report().await,
        }
    }
}
