//! What an operator can do about a store that went back: send all that waits, or let fail what waited in the older
//! state.

use super::{HoldError, Holds, LOOK_EVERY};
use crate::clock;
use crate::store::{StoreError, WentBack};
use tokio::time::sleep;

impl Holds {
    /// How the store of this account went back, if an operator is to decide.
    pub fn went_back(&self) -> Option<WentBack> {
        let Self { shared } = self;
        shared.outbox.store.went_back(&shared.account.id)
    }

    /// Whether the store hands out work of this account, as far as is known.
    pub fn store_is_open(&self) -> bool {
        let Self { shared } = self;
        shared.outbox.store.is_open(&shared.account.id)
    }

    /// An operator lets all go that waits.
    ///
    /// # Errors
    /// When nothing is held, or the store cannot be written.
    pub async fn open_store(&self) -> Result<(), BackError> {
        let back = self.went_back().ok_or(HoldError::NotHeld)?;
        let account = &self.shared.account.id;
        if !self.shared.outbox.store.open_again(account).await? {
            return Err(HoldError::NotHeld.into());
        }
        tracing::info!(%account, waiting = back.waited,
            event = "store_hold_released",
            "an operator released what was held since the store went back; the gateway sends all that waits");
        Ok(())
    }

    /// An operator lets fail what waited in the older state. Then all else is sent. Returns at once what is to be
    /// done, as [`Self::let_fail`] does.
    ///
    /// # Errors
    /// When nothing is held, or another number is confirmed than waited.
    pub fn fail_copy(
        &self,
        confirm: usize,
    ) -> Result<impl Future<Output = ()> + Send + use<>, HoldError> {
        let back = self.went_back().ok_or(HoldError::NotHeld)?;
        let waiting = usize::try_from(back.waited).unwrap_or(usize::MAX);
        if confirm != waiting {
            return Err(HoldError::OtherNumber { waiting });
        }
        let this = self.clone();
        Ok(async move {
            let (mut failed, account) = (0, &this.shared.account.id);
            // Another hold than was confirmed is another decision.
            while this.went_back().is_some_and(|now| now.since == back.since) {
                match this.fail_all_of_copy(&mut failed).await {
                    Ok(true) => break,
                    // Redis was restarted meanwhile, and holds them still.
                    Ok(false) => {}
                    Err(error) => tracing::warn!(%account, failed, %error,
                        event = "store_hold_not_written",
                        "an operator lets messages fail, but the store cannot be written; the gateway tries again \
                         every second"),
                }
                sleep(LOOK_EVERY).await;
            }
            tracing::info!(%account, failed,
                event = "store_hold_given_up",
                "an operator let fail what waited in the older state of the store; the gateway tells MoEngage, and \
                 sends all else");
        })
    }

    /// Whether the store was held until now.
    async fn fail_all_of_copy(&self, failed: &mut usize) -> Result<bool, StoreError> {
        let (account, outbox) = (&self.shared.account.id, &self.shared.outbox);
        let channels = &self.shared.channels;
        for channel in channels {
            *failed += outbox
                .store
                .fail_copy(account, channel, clock::now())
                .await?;
        }
        outbox.store.infer_receipts(account, clock::now()).await?;
        channels.iter().for_each(|channel| outbox.wake(channel));
        outbox.store.open_again(account).await
    }
}

/// Why an operator's wish about a store that went back is not done.
#[derive(Debug, thiserror::Error)]
pub enum BackError {
    /// It is not as the operator thinks.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// The store cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}
