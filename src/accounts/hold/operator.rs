//! What an operator can do about a hold: release it, or let what waits there fail.

use super::{Holds, LOOK_EVERY};
use crate::clock;
use crate::domain::circumstance::{Hold, Scope};
use crate::domain::{Refusal, RefusalKind};
use tokio::time::sleep;

/// Messages failed in one step; bounds how long others wait.
const FAILED_AT_ONCE: usize = 500;

/// Why an operator's wish about a hold is not done.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Nothing is held there.
    #[error("nothing is held there now")]
    NotHeld,
    /// Other messages wait than the operator has seen.
    #[error(
        "{waiting} messages wait there now, and others were confirmed: look again, then confirm"
    )]
    OtherNumber {
        /// How many wait.
        waiting: usize,
    },
}

impl Holds {
    /// An operator releases a scope. What waits there is sent.
    ///
    /// # Errors
    /// When nothing is held there.
    pub async fn release_by_operator(&self, scope: &Scope) -> Result<(), HoldError> {
        let hold = self.held(scope)?;
        let waiting = self.waiting(scope);
        self.release(hold).await;
        tracing::info!(
            hold = %scope, waiting, event = "hold_released",
            "an operator released the held messages"
        );
        Ok(())
    }

    /// An operator lets the messages fail that they have seen waiting in a scope: the `confirm` oldest
    /// ones. Then the scope is released. Returns at once what is to be done; the failing itself may
    /// take a while and goes on in the returned future.
    ///
    /// # Errors
    /// When nothing is held there, or fewer messages wait than were confirmed.
    pub fn let_fail(
        &self,
        scope: &Scope,
        confirm: usize,
    ) -> Result<impl Future<Output = ()> + Send + use<>, HoldError> {
        let hold = self.held(scope)?;
        let waiting = self.waiting(scope);
        if confirm > waiting {
            return Err(HoldError::OtherNumber { waiting });
        }
        let this = self.clone();
        Ok(async move { this.fail_all(hold, confirm).await })
    }

    async fn fail_all(&self, hold: Hold, confirm: usize) {
        let reason = format!(
            "The provider refused messages like this one: {}",
            hold.words
        );
        let refusal = Refusal::new(RefusalKind::Other, reason);
        let (mut failed, store) = (0, &self.shared.outbox.store);
        for channel in self.channels_of(&hold.scope) {
            while failed < confirm {
                let most = FAILED_AT_ONCE.min(confirm - failed);
                match store
                    .fail_queued(&channel, &refusal, most, clock::now())
                    .await
                {
                    Ok(0) => break,
                    Ok(some) => failed += some,
                    Err(error) => {
                        tracing::warn!(hold = %hold.scope, %error, failed,
                            event = "hold_not_written",
                            "an operator lets messages fail, but the store cannot be written; \
                             the gateway tries again every second");
                        sleep(LOOK_EVERY).await;
                    }
                }
            }
            self.shared.outbox.wake(&channel);
        }
        tracing::info!(hold = %hold.scope, failed, reason = hold.words,
            event = "hold_given_up", "an operator let the held messages fail; MoEngage is told");
        if self.held(&hold.scope).is_ok() {
            self.release(hold).await;
        }
    }

    fn held(&self, scope: &Scope) -> Result<Hold, HoldError> {
        let hold = self.shared.account.holding.hold(scope);
        hold.filter(Hold::is_held).ok_or(HoldError::NotHeld)
    }
}
