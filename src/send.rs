//! One step: a claimed message goes to the provider, and its outcome is settled.
//!
//! Decides nothing by itself: the template decides whether the message fits, the policy judges the
//! answer. Every path ends in exactly one settlement.

use crate::breaker::Breaker;
use crate::channel::{Account, Channel};
use crate::clock;
use crate::domain::policy::{self, Verdict};
use crate::domain::template::{ButtonShape, Detail, Outgoing, Variant};
use crate::domain::{Answer, Button, Code, Refusal, Template};
use crate::limit::Permit;
use crate::outbox::{Claimed, retry_delay};
use crate::provider::{Provider, Sent, TokenError};
use crate::store::{Folded, Tap};
use crate::telemetry::{Outcome, count_attempt};
use crate::templates::{Lookup, Templates};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a send waits for a template list that does not name its template yet.
const LIST_WAIT: Duration = Duration::from_secs(10);

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

/// What stands before the call.
enum Ready {
    Go(Outgoing, Vec<Tap>),
    Refused(Refusal),
    /// The template list cannot be had now.
    Later,
}

impl Sender {
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

    async fn prepare(&self, channel: &Channel, claimed: &Claimed) -> Ready {
        let template = &claimed.message().template;
        let variant = match self.find(template).await {
            Lookup::Found(variant) => variant,
            Lookup::Unknown => return Ready::Later,
            Lookup::Missing => {
                return Ready::Refused(Refusal::new(
                    Code::Template,
                    format!(
                        "Template {} ({}) is not approved at the provider",
                        template.name, template.language
                    ),
                ));
            }
        };
        let detail = self.templates.detail(&variant).await.unwrap_or_default();
        match crate::templates::fit(template, &variant, &detail) {
            Err(refusal) => Ready::Refused(refusal),
            Ok(template) => {
                let taps = taps(&template, &detail);
                Ready::Go(outgoing(channel, claimed, &variant, template), taps)
            }
        }
    }

    async fn find(&self, template: &Template) -> Lookup {
        match self.templates.find(&template.name, &template.language) {
            Lookup::Found(variant) => Lookup::Found(variant),
            _ => {
                let (name, language) = (&template.name, &template.language);
                self.templates
                    .resolve_or_refetch(name, language, LIST_WAIT)
                    .await
            }
        }
    }

    async fn call(
        &self,
        channel: &Channel,
        claimed: Claimed,
        permit: Permit,
        (outgoing, taps): (Outgoing, Vec<Tap>),
    ) {
        let began = Instant::now();
        let sent = self.provider.send(permit, &outgoing).await;
        metrics::histogram!("gateway_send_seconds").record(began.elapsed().as_secs_f64());
        let Sent { answer, .. } = &sent;
        if self.breaker.record(policy::is_outage(answer)) {
            crate::alert::tell(&format!(
                "Account {}: the provider does not work ({}). Sending stops and is tried again \
                 by itself; messages wait in the queue.",
                self.account.id,
                answer.summary()
            ));
        }
        let said = answer.summary();
        match policy::decide(answer, &channel.policy) {
            Verdict::Accepted(receipt) => {
                count_attempt(&self.account.id, Outcome::Sent);
                let (msg_id, attempt) = (claimed.message().msg_id.clone(), claimed.attempt());
                tracing::info!(channel = %channel.id, %msg_id, attempt, "sent");
                note(claimed.sent(receipt, taps, said).await);
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
            Verdict::Fail => {
                let words = answer.text.as_deref().unwrap_or(&said);
                let reason = format!("The provider refused the message: {words}");
                self.bury(claimed, Refusal::new(Code::Other, reason), said)
                    .await;
            }
            Verdict::Unknown => self.lose(channel, claimed, said).await,
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
        tracing::warn!(
            channel = %claimed.channel(), msg_id = %claimed.message().msg_id,
            attempt = claimed.attempt(), %answer, again_in_ms = delay.as_millis() as u64,
            "not sent, nothing was handed on; it is tried again"
        );
        note(claimed.retry(clock::now().plus(delay), answer).await);
        self.account.work.notify_one();
    }

    async fn bury(&self, claimed: Claimed, refusal: Refusal, answer: String) {
        count_attempt(&self.account.id, Outcome::Failed);
        tracing::warn!(
            channel = %claimed.channel(), msg_id = %claimed.message().msg_id, %refusal,
            "failed, MoEngage is told"
        );
        note(claimed.bury(refusal, answer).await);
    }

    async fn lose(&self, channel: &Channel, claimed: Claimed, answer: String) {
        count_attempt(&self.account.id, Outcome::Unknown);
        let until = clock::now().plus(channel.policy.ambiguous_hold);
        tracing::warn!(
            channel = %channel.id, msg_id = %claimed.message().msg_id, %answer,
            hold_s = channel.policy.ambiguous_hold.as_secs(),
            "outcome unknown; it waits for a status event as evidence and is not sent again"
        );
        note(claimed.lose(until, answer).await);
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
            crate::alert::tell(&format!(
                "Account {} is held: {reason}. Messages are accepted and wait; a test call every \
                 few minutes releases it.",
                self.account.id
            ));
        }
    }
}

/// Whether waiting will not help: a dead token, or one that is refused although it is new.
fn needs_a_person(error: &TokenError) -> bool {
    !matches!(error, TokenError::Unavailable(_))
}

fn outgoing(
    channel: &Channel,
    claimed: &Claimed,
    variant: &Variant,
    template: Template,
) -> Outgoing {
    Outgoing {
        to: claimed.message().to,
        from: channel.waba_number.clone(),
        variant: variant.id.clone(),
        template,
    }
}

/// What the person will be able to tap: label from the template, payload from MoEngage, or the
/// label again where MoEngage sent none (contracts/moengage.md Q9).
fn taps(template: &Template, detail: &Detail) -> Vec<Tap> {
    let shapes = detail.buttons.iter().flatten().enumerate();
    shapes
        .filter_map(|(place, shape)| {
            let ButtonShape::QuickReply { label } = shape else {
                return None;
            };
            let sent = template
                .buttons
                .iter()
                .find(|button| button.index() as usize == place);
            let payload = match sent {
                Some(Button::QuickReply {
                    payload: Some(payload),
                    ..
                }) => payload.clone(),
                _ => label.clone(),
            };
            Some(Tap {
                label: label.clone(),
                payload,
            })
        })
        .collect()
}

/// Counts what a settlement brought about on the side.
fn note(folded: Folded) {
    crate::telemetry::count_folded(&folded);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_echo_what_moengage_sent_or_the_label() {
        let label = |text: &str| ButtonShape::QuickReply { label: text.into() };
        let detail = Detail {
            buttons: Some(vec![label("Keep"), ButtonShape::DynamicUrl, label("Move")]),
            ..Detail::default()
        };
        let template = Template {
            name: "t".into(),
            language: "en".into(),
            header: None,
            body: Vec::new(),
            buttons: vec![Button::QuickReply {
                index: 2,
                payload: Some("{'a':1}".into()),
            }],
        };
        let tap = |label: &str, payload: &str| Tap {
            label: label.into(),
            payload: payload.into(),
        };
        assert_eq!(
            taps(&template, &detail),
            [tap("Keep", "Keep"), tap("Move", "{'a':1}")]
        );
    }
}
