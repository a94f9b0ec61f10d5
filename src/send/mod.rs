//! One step: a claimed message goes to the provider, and its outcome is settled.
//!
//! Decides nothing by itself: the template decides whether the message fits, the provider judges its
//! answer, the account's circumstances say what follows. Every path ends in exactly one settlement,
//! which is stored before it is logged.

mod ends;
mod ready;
mod trouble;

use ready::{LIST_WAIT, Ready};

use crate::accounts::{Account, Channel, Holds};
use crate::breaker::Breaker;
use crate::domain::circumstance::{Call, Cause, End, Listed, Ruling, Scope};
use crate::domain::proof::{About, Judgement, LastProof, Proof};
use crate::domain::template::Outgoing;
use crate::domain::{Answer, Transport};
use crate::limit::Permit;
use crate::outbox::Claimed;
use crate::providers::{Provider, Sent};
use crate::store::QuickReply;
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
    /// Its holds.
    pub holds: Holds,
    /// Its provider.
    pub provider: Arc<Provider>,
    /// The provider's templates.
    pub templates: Arc<Templates>,
    /// Told of every answer.
    pub breaker: Arc<Breaker>,
    /// Pauses between tries.
    pub retry: RetrySettings,
}

/// How a trial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    /// The provider took the message.
    Taken,
    /// It did not, or nobody knows.
    InVain,
    /// No call was made: the message itself cannot be sent, or its slot had passed.
    NotMade,
}

/// A message on its way, with all that its end needs.
struct Sending<'a> {
    channel: &'a Channel,
    claimed: Claimed,
    taps: Vec<QuickReply>,
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
    #[tracing::instrument(name = "send", level = "debug", skip_all, fields(channel = %channel.id, msg_id = %claimed.message().msg_id))]
    pub async fn step(&self, channel: &Channel, claimed: Claimed, permit: Permit) {
        self.send(channel, claimed, permit, false).await;
    }

    /// Sends the one message that shows whether a held scope may send again, and settles it.
    pub async fn try_one(&self, channel: &Channel, claimed: Claimed, permit: Permit) -> Tried {
        self.send(channel, claimed, permit, true).await
    }

    async fn send(
        &self,
        channel: &Channel,
        claimed: Claimed,
        permit: Permit,
        is_trial: bool,
    ) -> Tried {
        match self.prepare(channel, &claimed).await {
            Ready::Go(outgoing, taps) => {
                let sending = Sending {
                    channel,
                    claimed,
                    taps,
                };
                self.call(sending, permit, *outgoing, is_trial).await
            }
            Ready::Refused(refusal) => {
                drop(permit);
                let proof = LastProof::NotTaken;
                self.fail(claimed, refusal, proof, String::new()).await;
                Tried::NotMade
            }
            Ready::Later => {
                drop(permit);
                self.wait_for_template(claimed).await;
                Tried::NotMade
            }
        }
    }

    async fn call(
        &self,
        sending: Sending<'_>,
        mut permit: Permit,
        outgoing: Outgoing,
        is_trial: bool,
    ) -> Tried {
        let call = self.account.holding.begin(call_of(&sending.claimed));
        // Later, another process may have put it down as unknown.
        permit.until(sending.claimed.lease_until());
        // At once: the call may not wait for the store, and a tap may not find it unknown.
        let ((sent, judgement), ()) = tokio::join!(
            self.ask(sending.channel, permit, &outgoing),
            sending.claimed.know_taps(&sending.taps)
        );
        let (answer, text) = (&sent.answer, sent.answer.summary());
        let Some(judgement) = judgement else {
            self.retry(sending.claimed, text, None).await;
            return Tried::NotMade;
        };
        if is_trial {
            return self.end_trial(sending, &call, sent, judgement).await;
        }
        if judgement.about == About::Token {
            self.token_refused(sending, &call, sent).await;
            return Tried::InVain;
        }
        let cause = Cause::of(answer);
        let ruling = self.account.holding.judge(&call, &judgement, &cause);
        if ruling.end == End::Fail
            && judgement.proof == Proof::Refused
            && self.template_moved(&outgoing).await
        {
            let text = format!("{text}; its template has a new id");
            self.retry(sending.claimed, text, None).await;
        } else {
            self.end(sending, ruling.end.clone(), &judgement, answer)
                .await;
        }
        self.follow_up(ruling, &cause).await;
        Tried::InVain
    }

    /// Makes the call and judges its answer; a call that was not made says nothing. What the answer says of
    /// the provider and its rate counts at once, however long the store takes meanwhile.
    async fn ask(
        &self,
        channel: &Channel,
        permit: Permit,
        outgoing: &Outgoing,
    ) -> (Sent, Option<Judgement>) {
        let began = Instant::now();
        let sent = self.provider.send(permit, outgoing).await;
        let account = self.account.id.as_str().to_owned();
        metrics::histogram!("gateway_send_seconds", "account" => account)
            .record(began.elapsed().as_secs_f64());
        let answer = &sent.answer;
        if answer.transport == Some(Transport::NotStarted) {
            return (sent, None);
        }
        let judgement = self.provider.judge(answer, &channel.policy);
        // A call that had no token, and one whose outcome nobody knows, say as much about the
        // provider as an outage does.
        let in_doubt = judgement.proof == Proof::Unclear || sent.token_generation.is_none();
        self.watch(
            in_doubt || self.provider.is_outage(answer),
            &answer.summary(),
        );
        match (judgement.about, judgement.pause) {
            (About::Rate, pause) => self.account.limiter.slow_down(pause),
            (_, Some(pause)) => self.account.limiter.wait(pause),
            (_, None) => {}
        }
        (sent, Some(judgement))
    }

    /// Ends the trial of a held scope.
    async fn end_trial(
        &self,
        sending: Sending<'_>,
        call: &Call,
        sent: Sent,
        judgement: Judgement,
    ) -> Tried {
        let end = self.account.holding.judge_trial(call, &judgement);
        let taken = matches!(end, End::Taken(_));
        self.end(sending, end, &judgement, &sent.answer).await;
        if let (About::Token, Some(generation)) = (judgement.about, sent.token_generation) {
            // What the maintenance of the tokens must know; the trial was in vain anyway.
            let _ = self
                .provider
                .access_refused(generation, &call.to.digits())
                .await;
        }
        if taken { Tried::Taken } else { Tried::InVain }
    }

    /// What follows for the others from one answer.
    async fn follow_up(&self, ruling: Ruling, cause: &Cause) {
        if let Some(hold) = &ruling.hold {
            self.holds.begun(hold).await;
        }
        if let Some(scope) = &ruling.ask {
            self.ask_for_all(scope, cause).await;
        }
    }

    /// Only one recipient is accused: a free list call tells whether everybody is.
    async fn ask_for_all(&self, scope: &Scope, cause: &Cause) {
        let refused = match self.provider.verify().await {
            Ok(()) => false,
            Err(answer) => {
                let judgement = self.provider.judge(&answer, &Default::default());
                match judgement.proof {
                    // An outage or a missing token: the list call says nothing about recipients.
                    Proof::Unclear => return,
                    _ if !judgement.accuses() && judgement.proof != Proof::Refused => return,
                    _ => true,
                }
            }
        };
        match self.account.holding.listed(scope, cause, refused) {
            Some(Listed::Hold(hold)) => self.holds.begun(&hold).await,
            Some(Listed::OneRecipient) => self.holds.tell_of_one_recipient(scope, cause),
            None => {}
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
}

fn call_of(claimed: &Claimed) -> Call {
    Call {
        channel: claimed.channel().clone(),
        msg_id: claimed.message().msg_id.clone(),
        to: claimed.message().to,
        began: tokio::time::Instant::now().into_std(),
    }
}

/// Why a message is given up, in words for MoEngage.
fn why_given_up(proof: LastProof, answer: &Answer) -> String {
    let summary = answer.summary();
    let words = answer.text.as_deref().unwrap_or(&summary);
    if proof == LastProof::Refused {
        format!("The provider refused the message: {words}")
    } else {
        format!("The provider refused the message again and again while it took others: {summary}")
    }
}
