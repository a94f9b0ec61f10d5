//! All that knows Jumper.ai, both directions: its calls, its tokens, its templates, its webhooks.
//!
//! The rest of the program sees [`Account`] through `providers`, and what mounts and shows the
//! [`webhook`]; Jumper's shapes stay in here. Every foreign fact is from contracts/jumper.md.

mod accused;
pub(crate) mod classify;
pub mod client;
mod exchange;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod params;
mod subscribed;
mod subscription;
mod templates;
pub mod token;
pub mod webhook;
mod wire;

#[cfg(test)]
pub(crate) mod fake;

pub use exchange::BuildError;
pub use subscribed::WantedSubscription;
pub use subscription::registered;

use crate::domain::Answer;
use crate::domain::access::RefusedAccess;
use crate::domain::proof::{About, Proof};
use crate::domain::template::{Detail, Outgoing, TemplateList};
use crate::json::Tree;
use crate::limit::{Limiter, Permit};
use crate::store::Guard;
use accused::Accused;
use classify::classify;
use client::{Client, Question, Ready};
use secrecy::{ExposeSecret, SecretString};
use std::sync::{Mutex, PoisonError};
use subscription::SubscriptionState;
use token::{Access, TokenError, Tokens};

/// What stands before a variant's id in the text of a template send (section 4.1).
const TEMPLATE_MARK: &str = "s3ndt3mpl4te_";
/// The one kind of subscription that is known (section 4.5).
const LIVECHAT: &str = "livechat";
/// The number of templates that is asked for where `all` is not taken.
const MOST: usize = 1000;
/// The fault that stands for "no call was made, because there is no access token".
const NO_TOKEN: &str = "oauth.v2.TokenUnavailable";

/// One merchant: its calls, its tokens, its rate.
#[derive(Debug)]
pub struct Account {
    client: Client,
    tokens: Tokens,
    limiter: Limiter,
    /// What is remembered of calls that were refused as if for their token.
    accused: Accused,
    /// The subscriptions as they were listed last; only the task that looks after them comes here.
    listed: Mutex<Vec<wire::Subscription>>,
}

impl Account {
    /// A merchant's account. Its tokens are started and kept fresh through `providers`.
    pub fn new(client: Client, tokens: Tokens, limiter: Limiter) -> Self {
        Self {
            client,
            tokens,
            limiter,
            accused: Accused::default(),
            listed: Mutex::default(),
        }
    }

    /// The account's tokens.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Sends one message. Also tells the generation of the access token, `None` when there was
    /// none; then no call was made and the permit is given back.
    pub async fn send(&self, permit: Permit, outgoing: &Outgoing) -> (Answer, Option<u64>) {
        match self.tokens.access().await {
            Ok(access) => {
                let answer = self.client.send(permit, &access, outgoing).await;
                if answer.success == Some(true) {
                    self.went_well(access.generation);
                }
                (answer, Some(access.generation))
            }
            Err(error) => (no_token(&error), None),
        }
    }

    /// Every approved variant, in Jumper's order.
    pub async fn list_templates(&self) -> Result<TemplateList, Answer> {
        let (list, most) = match self.ask(Question::Templates { limit: "all" }).await {
            // The word is younger than the number (section 4.2).
            Err(answer) if is_about_the_word(&answer) => {
                let limit = &MOST.to_string();
                (self.ask(Question::Templates { limit }).await?, MOST)
            }
            list => (list?, usize::MAX),
        };
        templates::list(&list, most).ok_or_else(|| unreadable("a list of templates"))
    }

    /// What one variant wants.
    pub async fn template_detail(&self, id: &str) -> Result<Detail, Answer> {
        let detail = self.ask(Question::Template { id }).await?;
        Ok(templates::detail(&detail, id))
    }

    /// Makes events reach `url` with `secret` in its path. Foreign subscriptions stay; the one of
    /// ours with an old secret goes.
    async fn ensure_subscription(
        &self,
        url: &SecretString,
        secret: Option<&SecretString>,
    ) -> Result<SubscriptionState, Answer> {
        let url = url.expose_secret();
        let secret = secret.map(ExposeSecret::expose_secret);
        let (state, entries) = self.subscriptions(url, secret).await?;
        if state == SubscriptionState::Present {
            return Ok(state);
        }
        // Of several replicas one adds the entry; the others then find it.
        let alone = self.tokens.alone("subscription").await;
        let guard = alone.map_err(|error| Answer {
            text: Some(wire::readable(&error.to_string())),
            ..Answer::default()
        })?;
        let done = match &guard {
            Guard::Alone => self.subscribe(state, &entries).await,
            Guard::Shared(_) => match self.subscriptions(url, secret).await {
                Ok((state, entries)) => self.subscribe(state, &entries).await,
                Err(answer) => Err(answer),
            },
        };
        guard.release(None).await;
        done
    }

    async fn subscribe(
        &self,
        state: SubscriptionState,
        entries: &[wire::Subscription],
    ) -> Result<SubscriptionState, Answer> {
        if state != SubscriptionState::Present {
            self.ask(Question::Subscribe { entries }).await?;
        }
        Ok(state)
    }

    /// The list as it should be, and what that changes. A list that lost entries may be a bad one, and
    /// writing it would take them from others: it is believed when the next one says the same.
    async fn subscriptions(
        &self,
        url: &str,
        secret: Option<&str>,
    ) -> Result<(SubscriptionState, Vec<wire::Subscription>), Answer> {
        let answer = self.ask(Question::Subscriptions).await?;
        let list = wire::subscriptions(&answer.value);
        let list = list.ok_or_else(|| unreadable("a list of subscriptions"))?;
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = listed.iter().any(|before| !list.contains(before));
        listed.clone_from(&list);
        drop(listed);
        match subscription::merged(list, url, secret) {
            (SubscriptionState::Added | SubscriptionState::Replaced, _) if lost => Err(Answer {
                http: Some(200),
                text: Some("the list of subscriptions lost entries; it is read again first".into()),
                ..Answer::default()
            }),
            (SubscriptionState::Added | SubscriptionState::Replaced, entries)
                if entries.iter().any(|entry| entry.is_damaged(&answer)) =>
            {
                let words = "the list of subscriptions has an entry that is not valid Unicode; \
                            nothing is written, as that would break this entry";
                Err(Answer {
                    http: Some(200),
                    text: Some(words.into()),
                    ..Answer::default()
                })
            }
            merged => Ok(merged),
        }
    }

    /// Whether there is a newer token for a question that was refused. Only the list of templates is
    /// about nothing but the token.
    async fn is_renewed(&self, access: &Access, question: Question<'_>, answer: &Answer) -> bool {
        let about = match question {
            Question::Templates { .. } => {
                let text = answer.summary();
                return self.tokens.refused(access.generation, &text).await.is_ok();
            }
            Question::Template { id } => id,
            Question::Subscriptions | Question::Subscribe { .. } => "the subscriptions",
        };
        let refused = self.access_refused(access.generation, about).await;
        refused == RefusedAccess::Token { renewed: true }
    }

    /// Makes one call that is not a send, with a permit of its own; once more with a new token
    /// when the old one is refused.
    async fn ask(&self, question: Question<'_>) -> Result<Tree, Answer> {
        let mut renewed = false;
        loop {
            let access = self
                .tokens
                .access()
                .await
                .map_err(|error| no_token(&error))?;
            // The socket first: nothing but the wire lies between a slot and its call.
            let socket = self.client.socket().await;
            let permit = self.limiter.maintenance().await;
            let ready = Ready { permit, socket };
            let answer = match self.client.ask(ready, &access, question).await {
                Ok(body) => {
                    self.went_well(access.generation);
                    return Ok(body);
                }
                Err(answer) => answer,
            };
            let judgement = classify(&answer, &[]);
            match judgement.about {
                About::Token if !renewed => {
                    renewed = true;
                    if !self.is_renewed(&access, question, &answer).await {
                        return Err(answer);
                    }
                }
                About::Rate => {
                    self.limiter.slow_down(judgement.pause);
                    return Err(answer);
                }
                _ => return Err(answer),
            }
        }
    }
}

/// Whether an answer may be about `limit=all` itself: a refusal, or a failure that only the big list
/// runs into.
fn is_about_the_word(answer: &Answer) -> bool {
    let proof = classify(answer, &[]).proof;
    answer.http.is_some() && matches!(proof, Proof::Refused | Proof::Unclear)
}

/// The answer of a call that was not made. Its fault makes the policy ask for a new token.
fn no_token(error: &TokenError) -> Answer {
    Answer {
        fault: Some(NO_TOKEN.into()),
        text: Some(wire::readable(&error.to_string())),
        ..Answer::default()
    }
}

fn unreadable(what: &str) -> Answer {
    Answer {
        http: Some(200),
        text: Some(format!("the answer is not {what}")),
        ..Answer::default()
    }
}

#[cfg(test)]
pub(crate) mod tests;
