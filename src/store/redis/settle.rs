//! Write C: the end of an attempt, with everything that hangs on it, in one script, together with others that end at
//! that moment.

use super::claim::unreadable;
use super::events::{Fold, add};
use super::gather::{Part, Which};
use super::memory::{AttemptKey, End};
use super::{Call, Store};
use crate::domain::state::Step;
use crate::domain::{ChannelId, UnixMs};
use crate::store::{ClaimedMessage, Folded, QuickReply, Settlement, StoreError, row};

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
        let key = AttemptKey {
            claim: claimed.claim,
            handle: claimed.handle,
        };
        let end = End {
            settlement,
            answer,
            at: now,
        };
        self.settle_at(&claimed.channel, key, end).await
    }

    /// Keeps what the person can tap while the message is being sent: a tap may overtake the answer.
    pub async fn know_taps(
        &self,
        claimed: &ClaimedMessage,
        taps: Vec<QuickReply>,
    ) -> Result<(), StoreError> {
        let call = Call::new(&self.shared.scripts.taps, self.home(&claimed.channel)?)
            .arg(self.replica())
            .arg(claimed.claim)
            .arg(claimed.handle)
            .arg(write_taps(&taps)?);
        // Its end keeps them durably.
        self.ask::<()>(&call).await
    }

    /// Ends an attempt so.
    pub(super) async fn settle_at(
        &self,
        channel: &ChannelId,
        key: AttemptKey,
        end: End,
    ) -> Result<Folded, StoreError> {
        let (home, memory) = (self.home(channel)?, &self.shared.memory);
        memory.ended(key, || end.clone());
        let part = Part::default()
            .arg(self.replica())
            .number(key.claim)
            .arg(channel.as_str())
            .number(memory.number(&home.account, key.handle))
            .number(end.at.0)
            .arg(end.answer);
        let part = with_end(part, &end.settlement)?;
        let which: Which = |store, home| (&home.gathers.settles, &store.shared.scripts.settle);
        let fold: Fold = self.gather(which, home, part).await?;
        memory.stored(key, home.standing.next_renewal());
        let mut folded = Folded::default();
        add(&mut folded, fold);
        if !self.shared.in_flight.settled(key.claim, key.handle) {
            return Ok(folded);
        }
        self.shared.ledgers.change(channel, |ledger| {
            ledger.attempting -= 1;
            *match end.settlement {
                Settlement::Accepted { .. } => &mut ledger.accepted_by_provider,
                Settlement::Retry { .. } => &mut ledger.queued,
                Settlement::Failed { .. } => &mut ledger.failed,
                Settlement::Unknown { .. } => &mut ledger.unknown,
            } += 1;
        });
        Ok(folded)
    }
}

/// The step, and what it wants to know.
fn with_end(part: Part, settlement: &Settlement) -> Result<Part, StoreError> {
    Ok(match settlement {
        Settlement::Accepted { receipt, taps } => part
            .arg(Step::Receipt.as_str())
            .arg(receipt.provider_id.as_str())
            .arg(receipt.conversation.as_deref().unwrap_or_default())
            .arg(write_taps(taps)?),
        Settlement::Retry { due, aside, proof } => part
            .arg(Step::Retry.as_str())
            .number(due.0)
            .number(proof.number())
            .number(u8::from(*aside)),
        Settlement::Failed { refusal, proof } => part
            .arg(Step::Fail.as_str())
            .arg(row::write_refusal(refusal))
            .arg(row::failure(refusal))
            .number(proof.number()),
        Settlement::Unknown { until, taps } => part
            .arg(Step::Lose.as_str())
            .number(until.0)
            .arg(write_taps(taps)?),
    })
}

/// Labels and payloads; nothing when there are none.
fn write_taps(taps: &[QuickReply]) -> Result<String, StoreError> {
    if taps.is_empty() {
        return Ok(String::new());
    }
    let taps: Vec<_> = taps
        .iter()
        .map(|tap| (tap.label.trim(), &tap.payload))
        .collect();
    serde_json::to_string(&taps).map_err(unreadable)
}
