//! One step: a claimed message goes to the provider, and its outcome is settled.
//!
//! Decides nothing by itself: the template decides whether the message fits, the policy judges the
//! answer. Every path ends in exactly one settlement.

mod ready;

use ready::{LIST_WAIT, Ready};

use crate::alert;
use crate::breaker::{Breaker, Change};
use crate::channel::{Account, Channel};
use crate::clock;
use crate::domain::policy::{self, Verdict};
use crate::domain::template::Outgoing;
use crate::domain::{Answer, ChannelId, Code, MsgId, Refusal, Transport};
use crate::limit::Permit;
use crate::outbox::{Claimed, retry_delay};
use crate::provider::{Provider, Sent, TokenError};
use crate::store::{Folded, Tap};
use crate::telemetry::{Outcome, count_attempt};
use crate::templates::Templates;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pauses between tries.
#[derive(Debug, Clone, Copy)]
pub struct RetrySettings {
    /// The first.
    pub base: Duration,
    /// The longest.
    pub most: Duration,
}

/// Sends for one account.
#[derive(Debug)]
pub struct Sender {
    /// The account.
    pub account: Arc<Account>,
    /// Its provider.
    pub provider: Arc<Provider>,
    /// The provider's templates.
    pub templates: Arc<Templates>,
    /// Told of every answer.
    pub breaker: Arc<Breaker>,
    /// Pauses between tries.
    pub retry: RetrySettings,
}

impl Sender {
    /// Whether a message could be sent now. Asked before messages are claimed: one that waits for a
    /// token or a template list while it is marked as being sent would be unknown after a crash.
    pub async fn is_ready(&self) -> bool {
        if let Err(error) = self.provider.has_token().await {
            self.watch(true, &error.to_string());
            return false;
        }
        let has_list = self.templates.has_list();
        if has_list == Some(false) {
            self.watch(true, "the template list cannot be fetched");
        }
        has_list == Some(true)
    }

    /// Sends one message and settles it.
    pub async fn step(&self, channel: &Channel, claimed: Claimed, permit: Permit) {
        match self.prepare(channel, &claimed).await {
            Ready::Go(outgoing, taps) => {
                self.call(channel, claimed, permit, (outgoing, taps)).await
            }
            Ready::Refused(refusal) => {
                drop(permit);
                self.bury(claimed, refusal, String::new()).await;
            }
            Ready::Later => {
                drop(permit);
                let answer = "the template list cannot be fetched now".to_owned();
                self.retry(claimed, answer, None).await;
            }
        }
    }

    async fn call(
        &self,
        channel: &Channel,
        claimed: Claimed,
        mut permit: Permit,
        (outgoing, taps): (Outgoing, Vec<Tap>),
    ) {
        let began = Instant::now();
        // Later, another process may have put it down as unknown.
        permit.until(claimed.lease_until());
        let sent = self.provider.send(permit, &outgoing).await;
        let account = self.account.id.as_str().to_owned();
        metrics::histogram!("gateway_send_seconds", "account" => account)
            .record(began.elapsed().as_secs_f64());
        let answer = &sent.answer;
        let said = answer.summary();
        let verdict = policy::decide(answer, &channel.policy);
        // A call that had no token, and one whose outcome nobody knows, say as much about the
        // provider as an outage does.
        let in_doubt = verdict == Verdict::Unknown || sent.token_generation.is_none();
        // A call that was not made says nothing.
        if answer.transport != Some(Transport::NotStarted) {
            self.watch(in_doubt || policy::is_outage(answer), &said);
        }
        match verdict {
            Verdict::Accepted(receipt) => {
                count_attempt(&self.account.id, Outcome::Sent);
                let ((_, msg_id), attempt) = (of(&claimed), claimed.attempt());
                note(claimed.sent(receipt, taps, said).await);
                tracing::info!(channel = %channel.id, %msg_id, attempt, "sent");
            }
            Verdict::Retry => self.retry(claimed, said, None).await,
            Verdict::SlowDown { retry_after } => {
                self.account.limiter.slow_down(retry_after);
                self.retry(claimed, said, retry_after).await;
            }
            Verdict::Reauthorize => self.reauthorize(claimed, sent, said).await,
            Verdict::Hold => {
                self.hold(answer, &said);
                self.retry(claimed, said, None).await;
            }
            Verdict::Fail if self.template_moved(&outgoing).await => {
                self.retry(claimed, format!("{said}; its template has a new id"), None)
                    .await;
            }
            Verdict::Fail => {
                let words = answer.text.as_deref().unwrap_or(&said);
                let reason = format!("The provider refused the message: {words}");
                self.bury(claimed, Refusal::new(Code::Other, reason), said)
                    .await;
            }
            Verdict::Unknown => self.lose(channel, claimed, taps, said).await,
        }
    }

    /// A refusal may only mean that the template was edited since the list was fetched.
    async fn template_moved(&self, outgoing: &Outgoing) -> bool {
        let template = &outgoing.template;
        let (name, language) = (&template.name, &template.language);
        let templates = &self.templates;
        templates
            .has_moved(name, language, &outgoing.variant, LIST_WAIT)
            .await
    }

    fn watch(&self, trouble: bool, said: &str) {
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

    async fn reauthorize(&self, claimed: Claimed, sent: Sent, said: String) {
        // First back to the queue: what is proved not to be sent must not wait for a token.
        let again = Some(Duration::from_secs(1));
        self.retry(claimed, said, again).await;
        if let Err(error) = self.provider.reauthorize(sent.token_generation).await
            && needs_a_person(&error)
        {
            self.stop(&format!("the access token is refused: {error}"));
        }
    }

    async fn retry(&self, claimed: Claimed, answer: String, at_least: Option<Duration>) {
        count_attempt(&self.account.id, Outcome::Retry);
        let delay = retry_delay(
            claimed.attempt(),
            self.retry.base,
            self.retry.most,
            fastrand::f64(),
        );
        let delay = delay.max(at_least.unwrap_or_default());
        let (channel, msg_id) = of(&claimed);
        let (attempt, said) = (claimed.attempt(), answer.clone());
        note(claimed.retry(clock::now().plus(delay), answer).await);
        self.account.work.notify_one();
        tracing::warn!(
            %channel, %msg_id, attempt, answer = %said, again_in_ms = delay.as_millis() as u64,
            "not sent, nothing was handed on; it is tried again"
        );
    }

    async fn bury(&self, claimed: Claimed, refusal: Refusal, answer: String) {
        count_attempt(&self.account.id, Outcome::Failed);
        let ((channel, msg_id), why) = (of(&claimed), refusal.clone());
        note(claimed.bury(refusal, answer).await);
        tracing::warn!(%channel, %msg_id, refusal = %why, "failed, MoEngage is told");
    }

    async fn lose(&self, channel: &Channel, claimed: Claimed, taps: Vec<Tap>, answer: String) {
        count_attempt(&self.account.id, Outcome::Unknown);
        let until = clock::now().plus(channel.policy.ambiguous_hold);
        let ((_, msg_id), said) = (of(&claimed), answer.clone());
        note(claimed.lose(until, taps, answer).await);
        tracing::warn!(
            channel = %channel.id, %msg_id, answer = %said,
            hold_s = channel.policy.ambiguous_hold.as_secs(),
            "outcome unknown; it waits for a status event as evidence and is not sent again"
        );
    }

    fn hold(&self, answer: &Answer, said: &str) {
        let advice = if answer.fault.is_some() {
            "check JUMPER_API_URL"
        } else {
            "check at Jumper whether the application may still call the API"
        };
        self.stop(&format!("Jumper refuses every call ({said}); {advice}"));
    }

    fn stop(&self, reason: &str) {
        if self.account.hold(reason, clock::now()) {
            let account = &self.account.id;
            let text = format!(
                "Account {account} is held: {reason}. Messages are accepted and wait; a test call \
                 every few minutes releases it."
            );
            alert::raise(
                alert::Code::AccountHeld,
                &format!("account {account}"),
                &text,
            );
        }
    }
}

/// Whether waiting will not help: a dead token, or one that is refused although it is new.
fn needs_a_person(error: &TokenError) -> bool {
    !matches!(error, TokenError::Unavailable(_))
}

/// Of which message the log speaks once its settlement, which consumes it, is stored.
fn of(claimed: &Claimed) -> (ChannelId, MsgId) {
    (claimed.channel().clone(), claimed.message().msg_id.clone())
}

/// Counts what a settlement brought about on the side.
fn note(folded: Folded) {
    crate::telemetry::count_folded(&folded);
}
