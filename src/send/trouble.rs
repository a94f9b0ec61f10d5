//! What an answer says about the provider as a whole: an outage for the breaker, a refused access token.

use super::{Sender, Sending};
use crate::alert;
use crate::breaker::Change;
use crate::clock;
use crate::domain::circumstance::Call;
use crate::provider::{Sent, TokenError};
use std::time::Duration;

impl Sender {
    pub(super) fn watch(&self, trouble: bool, said: &str) {
        let account = &self.account.id;
        let subject = || format!("account {account}");
        match self.breaker.record(trouble) {
            Change::None => {}
            Change::Opened => {
                tracing::warn!(%account, answer = said,
                    "the provider does not work: sending stops and is tried again; messages wait");
                let text = format!(
                    "The provider does not work ({said}). The gateway sends nothing and tries it \
                     again by itself; messages wait in the queue."
                );
                alert::trouble(alert::Code::CircuitOpen, &subject(), &text);
            }
            Change::Closed => {
                tracing::info!(%account, "the provider works again; sending goes on");
                alert::over(alert::Code::CircuitOpen, &subject());
            }
        }
    }

    /// The access token is refused, or only this message is.
    pub(super) async fn token_refused(&self, sending: Sending<'_>, call: &Call, sent: Sent) {
        // First back to the queue: what is proved not to be sent must not wait for a token.
        let again = Some(Duration::from_secs(1));
        let said = sent.answer.summary();
        self.retry(sending.claimed, said, again).await;
        if let Err(error) = self.provider.reauthorize(sent.token_generation).await
            && needs_a_person(&error)
            && self.account.hold(
                format!("the access token is refused: {error}"),
                clock::now(),
            )
        {
            let account = format!("account {}", self.account.id);
            let text = format!(
                "Messages of {account} are accepted and wait: the access token is refused ({error}). A \
                 test call every few minutes releases it."
            );
            alert::raise(alert::Code::AccountHeld, &account, &text);
        }
        let _ = call;
    }
}

/// Whether waiting will not help: a dead token, or one that is refused although it is new.
fn needs_a_person(error: &TokenError) -> bool {
    !matches!(error, TokenError::Unavailable(_))
}
