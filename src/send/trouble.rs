//! What an answer says about the provider as a whole: an outage for the breaker, a refused access token.

use super::{Sender, Sending};
use crate::alert;
use crate::breaker::{Admission, Change};
use crate::domain::Answer;
use crate::domain::access::RefusedAccess;
use crate::domain::circumstance::{Call, Cause};
use crate::domain::proof::{About, Judgement, Proof};
use crate::providers::Sent;
use std::time::Duration;
use tokio::time::timeout;

/// How long a message whose token was refused waits to hear whom that is about.
const JUDGED_WITHIN: Duration = Duration::from_secs(1);
/// The least pause of a message whose token was refused.
const AGAIN: Duration = Duration::from_secs(1);

impl Sender {
    /// A list call, which sends nothing. Where the breaker waits for a test, this is it.
    pub async fn verify(&self) -> Result<(), Answer> {
        let is_test = self.breaker.admits() == Admission::Test;
        let verified = self.provider.verify().await;
        if is_test {
            self.breaker.tested(verified.is_ok());
            match &verified {
                Ok(()) => tracing::info!(account = %self.account.id,
                    event = "breaker_trial", "the provider answers again; one message is tried"),
                Err(answer) => {
                    tracing::warn!(account = %self.account.id, answer = %answer.summary(),
                    event = "breaker_still_open", "the provider still does not work; messages wait")
                }
            }
        }
        verified
    }

    pub(super) fn watch(&self, trouble: bool, words: &str) {
        let account = &self.account.id;
        let subject = || format!("account {account}");
        match self.breaker.record(trouble) {
            Change::None => {}
            Change::Opened => {
                tracing::warn!(%account, answer = words,
                    event = "breaker_open",
                    "the provider does not work: sending stops and is tried again; messages wait");
                let text = format!(
                    "The provider does not work ({words}). The gateway sends nothing and tries it \
                     again by itself; messages wait in the queue."
                );
                alert::trouble(alert::Code::CircuitOpen, &subject(), &text);
            }
            Change::Closed => {
                tracing::info!(
                    %account, event = "breaker_closed",
                    "the provider works again; sending goes on"
                );
                alert::over(alert::Code::CircuitOpen, &subject());
            }
        }
    }

    /// The call was refused as if for its access token. Is it the token, or only this message?
    pub(super) async fn token_refused(&self, sending: Sending<'_>, call: &Call, sent: Sent) {
        if let Some(generation) = sent.token_generation {
            let to = call.to.digits();
            let judged = self.provider.access_refused(generation, &to);
            // What is proved not to be sent must not wait for a token, which comes all the same.
            if let Ok(RefusedAccess::Message) = timeout(JUDGED_WITHIN, judged).await {
                let judgement = Judgement::new(Proof::NotTaken, About::Unsaid);
                let cause = Cause::of(&sent.answer);
                let ruling = self.account.holding.judge(call, &judgement, &cause);
                self.end(sending, ruling.end.clone(), &judgement, &sent.answer)
                    .await;
                self.follow_up(ruling, &cause).await;
                return;
            }
        }
        let text = sent.answer.summary();
        self.retry(sending.claimed, text, Some(AGAIN)).await;
    }
}
