//! A claimed message in the hands of whoever sends it, until exactly one end of it is stored.

use super::Outbox;
use crate::clock;
use crate::domain::proof::LastProof;
use crate::domain::{ChannelId, Message, Receipt, Refusal, UnixMs};
use crate::store::{ClaimedMessage, Folded, QuickReply, Settlement};
use crate::telemetry::caught;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a settlement that could not be stored waits before the next try.
const SETTLE_AGAIN: Duration = Duration::from_secs(1);

impl Outbox {
    /// Takes a claimed message into the hands of a sender.
    pub fn claimed(&self, message: ClaimedMessage) -> Claimed {
        Claimed {
            outbox: self.clone(),
            claimed: Arc::new(message),
        }
    }
}

/// A message that is being sent. Consumed by exactly one of its ends; dropping it leaves the
/// message marked as attempting, which the next start takes for unknown.
#[must_use = "a claimed message must be settled"]
#[derive(Debug)]
pub struct Claimed {
    outbox: Outbox,
    claimed: Arc<ClaimedMessage>,
}

impl Claimed {
    /// What to send.
    pub fn message(&self) -> &Message {
        &self.claimed.message
    }

    /// Its channel.
    pub fn channel(&self) -> &ChannelId {
        &self.claimed.channel
    }

    /// Which try this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.claimed.attempt
    }

    /// Until when its call may be begun; `None` where nobody else could begin it.
    pub fn lease_until(&self) -> Option<Instant> {
        self.outbox.store.lease_until(&self.claimed)
    }

    /// Whether the person wants no promotions.
    pub fn refuses_marketing(&self) -> bool {
        self.claimed.no_marketing
    }

    /// When the message was accepted.
    pub fn accepted_at(&self) -> UnixMs {
        self.claimed.accepted_at
    }

    /// Keeps what the person can tap before the provider answers, which a tap may overtake. Where this
    /// fails, nothing is lost: the end of the attempt keeps it too.
    pub async fn know_taps(&self, taps: &[QuickReply]) {
        if !taps.is_empty() {
            let (store, taps) = (&self.outbox.store, taps.to_vec());
            let _ = store.know_taps(&self.claimed, taps).await;
        }
    }

    /// The provider took it.
    pub async fn sent(self, receipt: Receipt, taps: Vec<QuickReply>, answer: String) -> Folded {
        self.settle(Settlement::Accepted { receipt, taps }, answer)
            .await
    }

    /// Back to the queue until `due`; `aside` lets the others go first. `proof` says whether it was not
    /// taken, or refused while it is held.
    pub async fn retry(self, due: UnixMs, aside: bool, proof: LastProof, answer: String) -> Folded {
        let settlement = Settlement::Retry { due, aside, proof };
        self.settle(settlement, answer).await
    }

    /// It will not be sent, and MoEngage is told why.
    pub async fn fail(self, refusal: Refusal, proof: LastProof, answer: String) -> Folded {
        self.settle(Settlement::Failed { refusal, proof }, answer)
            .await
    }

    /// Nobody knows; evidence counts until `until`.
    pub async fn mark_unknown(
        self,
        until: UnixMs,
        taps: Vec<QuickReply>,
        answer: String,
    ) -> Folded {
        self.settle(Settlement::Unknown { until, taps }, answer)
            .await
    }

    /// Runs the step that settles it. Of a step that panics nobody knows how far it came: that is
    /// put down at once, and evidence counts for as long as `hold`. Answers what the step did.
    pub async fn guarded<T, F>(self, hold: Duration, step: impl FnOnce(Self) -> F) -> Option<T>
    where
        F: Future<Output = T>,
    {
        let spare = Self {
            outbox: self.outbox.clone(),
            claimed: self.claimed.clone(),
        };
        if let Ok(done) = caught(step(self)).await {
            return Some(done);
        }
        let (channel, msg_id) = (spare.channel().clone(), spare.message().msg_id.clone());
        // Where the step had settled it already, this changes nothing.
        let answer = "the gateway failed inside while it sent this".to_owned();
        spare
            .mark_unknown(clock::now().plus(hold), Vec::new(), answer)
            .await;
        tracing::error!(%channel, %msg_id, hold_s = hold.as_secs(),
            event = "send_panicked",
            "sending this message failed inside the gateway, which is a defect; unless it was settled \
             before, its outcome is unknown and waits for a status event as evidence");
        None
    }

    async fn settle(self, settlement: Settlement, answer: String) -> Folded {
        let store = &self.outbox.store;
        loop {
            let (end, text) = (settlement.clone(), answer.clone());
            match store.settle(&self.claimed, end, text, clock::now()).await {
                Ok(folded) => {
                    let wake = folded.wake.iter();
                    wake.for_each(|channel| self.outbox.wake(channel));
                    return folded;
                }
                Err(error) => {
                    tracing::warn!(
                        channel = %self.claimed.channel,
                        msg_id = %self.claimed.message.msg_id,
                        %error,
                        event = "end_not_stored",
                        "the outcome of a send could not be stored; it is kept in memory and tried \
                         again every second"
                    );
                    self.outbox.failed(&error);
                }
            }
            sleep(SETTLE_AGAIN).await;
        }
    }
}
