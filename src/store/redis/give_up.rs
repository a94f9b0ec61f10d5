//! The end of messages that an operator gives up.

use super::events::{Fold, add};
use super::{Call, Store};
use crate::domain::{ChannelId, Refusal, UnixMs};
use crate::store::{Folded, StoreError, row};

impl Store {
    /// Fails up to `most` queued messages of a channel, the oldest first; answers how many.
    pub async fn fail_queued(
        &self,
        channel: &ChannelId,
        refusal: &Refusal,
        most: usize,
        now: UnixMs,
    ) -> Result<usize, StoreError> {
        let call = Call::new(&self.shared.scripts.fail_queued, self.home(channel)?)
            .arg(channel.as_str())
            .arg(most)
            .arg(now.0)
            .arg(row::write_refusal(refusal))
            .arg(row::failure(refusal));
        let (failed, fold): (i64, Fold) = self.take(&call).await?;
        add(&mut Folded::default(), fold);
        self.shared.ledgers.change(channel, |ledger| {
            ledger.queued -= failed;
            ledger.failed += failed;
        });
        Ok(usize::try_from(failed).unwrap_or_default())
    }
}
