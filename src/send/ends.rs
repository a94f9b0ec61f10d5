//! The ends of an attempt: each settles the message, then counts and logs what became of it.

use super::{Sender, Sending, why_given_up};
use crate::clock;
use crate::domain::circumstance::End;
use crate::domain::proof::{Judgement, LastProof};
use crate::domain::{AccountId, Answer, ChannelId, MsgId, Refusal, RefusalKind};
use crate::outbox::{Claimed, retry_delay};
use crate::store::Folded;
use crate::telemetry::{OncePerSecond, Outcome, count_attempt, count_folded, tell_opt_outs};
use std::time::Duration;

/// The longest pause of a message whose template is not known now.
const FOR_A_TEMPLATE: Duration = Duration::from_secs(10);

/// For those: a whole campaign may wait for one template.
static WAITS: OncePerSecond = OncePerSecond::new();

impl Sender {
    /// Ends an attempt as its circumstances say.
    pub(super) async fn end(
        &self,
        sending: Sending<'_>,
        end: End,
        judgement: &Judgement,
        answer: &Answer,
    ) {
        let (text, proof) = (answer.summary(), LastProof::from(&judgement.proof));
        let Sending {
            channel,
            claimed,
            taps,
        } = sending;
        match end {
            End::Taken(receipt) => {
                let (msg_id, attempt) = (claimed.message().msg_id.clone(), claimed.attempt());
                note(
                    &self.account.id,
                    &channel.id,
                    claimed.sent(receipt, taps, text).await,
                );
                count_attempt(&self.account.id, Outcome::Sent);
                tracing::info!(
                    channel = %channel.id, %msg_id, attempt, event = "message_sent",
                    "sent"
                );
            }
            // The limiter keeps a pause for all; a due time would outlast an operator's end of it.
            End::Retry => self.retry(claimed, text, None).await,
            End::PutAside(pause) => self.put_aside(claimed, text, pause).await,
            End::PutBack => self.put_back(claimed, text, proof).await,
            End::Fail => {
                let refusal = Refusal::new(RefusalKind::Other, why_given_up(proof, answer));
                self.fail(claimed, refusal, proof, text).await;
            }
            End::Unknown => {
                let until = clock::now().plus(channel.policy.ambiguous_hold);
                let (msg_id, answer) = (claimed.message().msg_id.clone(), text.clone());
                note(
                    &self.account.id,
                    &channel.id,
                    claimed.mark_unknown(until, taps, text).await,
                );
                count_attempt(&self.account.id, Outcome::Unknown);
                tracing::warn!(
                    channel = %channel.id, %msg_id, %answer,
                    hold_s = channel.policy.ambiguous_hold.as_secs(),
                    event = "send_unknown",
                    "outcome unknown; it waits for a status event as evidence and is not sent again"
                );
            }
        }
    }

    /// Back to the queue for the usual pause, or a longer one.
    pub(super) async fn retry(&self, claimed: Claimed, answer: String, at_least: Option<Duration>) {
        let attempt = claimed.attempt();
        let delay = retry_delay(attempt, self.retry.base, self.retry.most, fastrand::f64());
        let delay = delay.max(at_least.unwrap_or_default());
        self.retry_in(claimed, answer, delay, true).await;
    }

    /// Back to the queue until more is known of its template, which is looked for all the while.
    pub(super) async fn wait_for_template(&self, claimed: Claimed) {
        let answer = "the template is not known now".to_owned();
        let most = self.retry.most.min(FOR_A_TEMPLATE);
        let delay = retry_delay(claimed.attempt(), self.retry.base, most, fastrand::f64());
        let tell = WAITS.passes();
        self.retry_in(claimed, answer, delay, tell).await;
    }

    async fn retry_in(&self, claimed: Claimed, answer: String, delay: Duration, tell: bool) {
        let Attempt {
            channel,
            msg_id,
            attempt,
        } = Attempt::of(&claimed);
        let due = clock::now().plus(delay);
        let kept = claimed.retry(due, false, LastProof::NotTaken, answer.clone());
        note(&self.account.id, &channel, kept.await);
        count_attempt(&self.account.id, Outcome::Retry);
        self.account.work.notify_one();
        if tell {
            tracing::warn!(
                %channel, %msg_id, attempt, %answer, again_in_ms = delay.as_millis() as u64,
                event = "send_retrying", "send failed before the provider took it; retrying"
            );
        }
    }

    /// Back to the queue, behind the others.
    async fn put_aside(&self, claimed: Claimed, answer: String, pause: Duration) {
        let Attempt {
            channel,
            msg_id,
            attempt,
        } = Attempt::of(&claimed);
        let due = clock::now().plus(pause);
        let kept = claimed.retry(due, true, LastProof::NotTaken, answer.clone());
        note(&self.account.id, &channel, kept.await);
        count_attempt(&self.account.id, Outcome::Retry);
        self.account.work.notify_one();
        tracing::warn!(
            %channel, %msg_id, attempt, %answer, again_in_s = pause.as_secs(),
            event = "message_put_aside",
            "the provider refuses this message as if it refused all; it is put aside, and others go on"
        );
    }

    /// Back to the queue, where it waits for the end of a hold.
    async fn put_back(&self, claimed: Claimed, answer: String, proof: LastProof) {
        let Attempt {
            channel,
            msg_id,
            attempt,
        } = Attempt::of(&claimed);
        let kept = claimed.retry(clock::now(), false, proof, answer.clone());
        note(&self.account.id, &channel, kept.await);
        count_attempt(&self.account.id, Outcome::Retry);
        tracing::warn!(%channel, %msg_id, attempt, %answer,
            event = "message_held", "not sent; it waits until its hold ends");
    }

    pub(super) async fn fail(
        &self,
        claimed: Claimed,
        refusal: Refusal,
        proof: LastProof,
        answer: String,
    ) {
        let Attempt {
            channel, msg_id, ..
        } = Attempt::of(&claimed);
        let line = refusal.line();
        note(
            &self.account.id,
            &channel,
            claimed.fail(refusal, proof, answer).await,
        );
        count_attempt(&self.account.id, Outcome::Failed);
        tracing::warn!(
            %channel, %msg_id, refusal = line, event = "message_failed",
            "failed, MoEngage is told"
        );
    }
}

/// What a log line about an attempt names; taken before the message is settled.
struct Attempt {
    channel: ChannelId,
    msg_id: MsgId,
    attempt: u32,
}

impl Attempt {
    fn of(claimed: &Claimed) -> Self {
        Self {
            channel: claimed.channel().clone(),
            msg_id: claimed.message().msg_id.clone(),
            attempt: claimed.attempt(),
        }
    }
}

/// Counts and tells what a settlement brought about on the side.
fn note(account: &AccountId, channel: &ChannelId, folded: Folded) {
    count_folded(account, &folded);
    tell_opt_outs(channel, &folded);
}
