//! Write C: the end of an attempt, with everything that hangs on it, in one script.

use super::claim::unreadable;
use super::events::{Fold, add};
use super::{Call, Store};
use crate::domain::state::Step;
use crate::domain::{ChannelId, UnixMs};
use crate::store::{ClaimedMessage, Folded, Settlement, StoreError, Tap, row};

impl Store {
    /// Ends an attempt. The claim is the fence: what a later claim has changed stays as it is, but a
    /// receipt always counts. A repeated call does nothing.
    pub async fn settle(
        &self,
        claimed: &ClaimedMessage,
        settlement: Settlement,
        answer: String,
        now: UnixMs,
    ) -> Result<Folded, StoreError> {
        let handle = (claimed.handle, claimed.claim);
        self.settle_at(&claimed.channel, handle, (settlement, answer), now)
            .await
    }

    /// Keeps what the person can tap while the message is being sent: a tap may overtake the answer.
    pub async fn know_taps(
        &self,
        claimed: &ClaimedMessage,
        taps: Vec<Tap>,
    ) -> Result<(), StoreError> {
        let call = Call::new(&self.shared.scripts.taps, self.home(&claimed.channel)?)
            .arg(self.replica())
            .arg(claimed.claim)
            .arg(claimed.handle)
            .arg(write_taps(&taps)?);
        // Its end keeps them durably.
        self.ask::<()>(&call).await
    }

    pub(super) async fn settle_at(
        &self,
        channel: &ChannelId,
        (handle, claim): (i64, u64),
        (settlement, answer): (Settlement, String),
        now: UnixMs,
    ) -> Result<Folded, StoreError> {
        let (home, memory) = (self.home(channel)?, &self.shared.memory);
        memory.ended((claim, handle), || {
            (settlement.clone(), answer.clone(), now)
        });
        let mut call = Call::new(&self.shared.scripts.settle, home)
            .arg(self.replica())
            .arg(claim)
            .arg(channel.as_str())
            .arg(memory.number(&home.account, handle))
            .arg(now.0)
            .arg(answer);
        match &settlement {
            Settlement::Accepted { receipt, taps } => {
                call.push(Step::Receipt.as_str());
                call.push(receipt.provider_id.as_str());
                call.push(receipt.conversation.as_deref().unwrap_or_default());
                call.push(write_taps(taps)?);
            }
            Settlement::Retry { due, aside, proof } => {
                call.push(Step::Retry.as_str());
                call.push(due.0);
                call.push(proof.number());
                call.push(u8::from(*aside));
            }
            Settlement::Failed { refusal, proof } => {
                call.push(Step::Fail.as_str());
                call.push(row::write_refusal(refusal));
                call.push(refusal.to_string());
                call.push(proof.number());
            }
            Settlement::Unknown { until, taps } => {
                call.push(Step::Lose.as_str());
                call.push(until.0);
                call.push(write_taps(taps)?);
            }
        }
        let fold: Fold = self.run(&call).await?;
        memory.stored((claim, handle), home.standing.next_renewal());
        let mut folded = Folded::default();
        add(&mut folded, fold);
        if !self.shared.hands.settled(claim, handle) {
            return Ok(folded);
        }
        self.shared.ledgers.change(channel, |ledger| {
            ledger.attempting -= 1;
            *match settlement {
                Settlement::Accepted { .. } => &mut ledger.accepted_by_provider,
                Settlement::Retry { .. } => &mut ledger.queued,
                Settlement::Failed { .. } => &mut ledger.failed,
                Settlement::Unknown { .. } => &mut ledger.unknown,
            } += 1;
        });
        Ok(folded)
    }
}

/// Labels and payloads; nothing when there are none.
fn write_taps(taps: &[Tap]) -> Result<String, StoreError> {
    if taps.is_empty() {
        return Ok(String::new());
    }
    let taps: Vec<_> = taps
        .iter()
        .map(|tap| (tap.label.trim(), &tap.payload))
        .collect();
    serde_json::to_string(&taps).map_err(unreadable)
}
