//! The provider in neutral words: what the rest of the program may ask of it. One arm and one folder per provider.
//! Knows no wire format and decides nothing.

pub mod inbox;
pub mod jumper;

use crate::domain::Answer;
use crate::domain::access::{AccessError, Obstacle, Open, RefusedAccess, TokenState};
use crate::domain::policy::Policy;
use crate::domain::proof::Judgement;
use crate::domain::template::{Detail, Outgoing, TemplateList};
use crate::limit::Permit;
use crate::store::StoreError;
use secrecy::SecretString;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The providers by name, as `provider` of an account says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderName {
    /// Jumper.ai.
    Jumper,
}

impl ProviderName {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Jumper];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jumper => "jumper",
        }
    }
}

/// One account at its provider.
#[derive(Debug)]
pub enum Provider {
    /// Jumper.ai.
    Jumper(jumper::Account),
}

/// What a send came back with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The facts, for the failure policy.
    pub answer: Answer,
    /// Which access token was used; `None` when there was none and no call was made. To be given
    /// back to [`Provider::access_refused`].
    pub token_generation: Option<u64>,
}

/// Tells of changes; see [`Provider::token_changes`].
#[derive(Debug)]
pub enum TokenChanges {
    /// Of an account at Jumper.ai.
    Jumper(jumper::token::Changes),
}

impl TokenChanges {
    /// Completes at the next change since the last call.
    pub async fn next(&mut self) {
        match self {
            Self::Jumper(changes) => changes.next().await,
        }
    }
}

/// The address of a channel's webhook, and the secret in it.
#[derive(Debug, Clone)]
pub enum WebhookAddress {
    /// At Jumper.ai.
    Jumper(Arc<jumper::webhook::secret::Webhook>),
}

impl WebhookAddress {
    /// The secret in the address that is to be registered; none where none is asked.
    pub fn secret(&self) -> Option<SecretString> {
        match self {
            Self::Jumper(webhook) => webhook.secret(),
        }
    }

    /// Whether the gateway makes the secret.
    pub fn is_made(&self) -> bool {
        match self {
            Self::Jumper(webhook) => webhook.is_made(),
        }
    }

    /// Whether somebody without a secret is let in.
    pub fn is_open(&self) -> Open {
        match self {
            Self::Jumper(webhook) => webhook.is_open(),
        }
    }

    /// Makes another secret. Answers whether the secret is one that the gateway makes.
    pub async fn rotate(&self) -> Result<bool, StoreError> {
        match self {
            Self::Jumper(webhook) => webhook.rotate().await,
        }
    }

    /// Takes in what another process may have changed.
    pub async fn look(&self) -> Result<(), StoreError> {
        match self {
            Self::Jumper(webhook) => webhook.look().await,
        }
    }
}

impl Provider {
    /// Takes in what is stored of the tokens. Makes no call.
    pub async fn start(&self) -> Result<(), StoreError> {
        match self {
            Self::Jumper(account) => account.tokens().start().await,
        }
    }

    /// Keeps the tokens fresh until `stop`. A renewal under way ends before this does.
    pub async fn keep_tokens(&self, stop: CancellationToken) {
        match self {
            Self::Jumper(account) => account.tokens().keep_fresh(stop).await,
        }
    }

    /// What a process logs at its very end, where its newest tokens are not stored.
    pub fn last_word(&self) {
        match self {
            Self::Jumper(account) => account.tokens().last_word(),
        }
    }

    /// Sends one message with the permit's slot.
    pub async fn send(&self, permit: Permit, outgoing: &Outgoing) -> Sent {
        match self {
            Self::Jumper(account) => {
                let (answer, token_generation) = account.send(permit, outgoing).await;
                Sent {
                    answer,
                    token_generation,
                }
            }
        }
    }

    /// What an answer to a send proves, and whom it is about.
    pub fn judge(&self, answer: &Answer, policy: &Policy) -> Judgement {
        match self {
            Self::Jumper(_) => jumper::classify::classify(answer, &policy.retryable_texts),
        }
    }

    /// Whether an answer says that the provider itself is in trouble.
    pub fn is_outage(&self, answer: &Answer) -> bool {
        match self {
            Self::Jumper(_) => jumper::classify::is_outage(answer),
        }
    }

    /// Every approved template variant. Takes up to two maintenance permits.
    pub async fn list_templates(&self) -> Result<TemplateList, Answer> {
        match self {
            Self::Jumper(account) => account.list_templates().await,
        }
    }

    /// What one variant wants. Takes a maintenance permit.
    pub async fn template_detail(&self, id: &str) -> Result<Detail, Answer> {
        match self {
            Self::Jumper(account) => account.template_detail(id).await,
        }
    }

    /// Tells that a call to `recipient` was refused with the access token of this generation, and
    /// finds out whether the token or the message is meant. May make one list call; renews a token
    /// that is refused.
    pub async fn access_refused(&self, generation: u64, recipient: &str) -> RefusedAccess {
        match self {
            Self::Jumper(account) => account.access_refused(generation, recipient).await,
        }
    }

    /// Whether a call could be made now. Gets an access token when there is none.
    pub async fn has_token(&self) -> Result<(), AccessError> {
        match self {
            Self::Jumper(account) => Ok(account.tokens().access().await.map(drop)?),
        }
    }

    /// One small call: does the provider answer and take our token? Takes a maintenance permit.
    pub async fn verify(&self) -> Result<(), Answer> {
        match self {
            Self::Jumper(account) => account.verify().await,
        }
    }

    /// How the tokens stand.
    pub fn token_state(&self) -> TokenState {
        match self {
            Self::Jumper(account) => account.tokens().state(),
        }
    }

    /// What a person is told of this state of the tokens; nothing where calls can be made or tried.
    pub fn obstacle(&self, state: &TokenState) -> Option<Obstacle> {
        match self {
            Self::Jumper(account) => account.tokens().obstacle(state),
        }
    }

    /// Tells of every change of the tokens.
    pub fn token_changes(&self) -> TokenChanges {
        match self {
            Self::Jumper(account) => TokenChanges::Jumper(account.tokens().changes()),
        }
    }

    /// Renews the tokens because an operator asks.
    pub async fn refresh_token_now(&self) -> Result<(), AccessError> {
        match self {
            Self::Jumper(account) => Ok(account.tokens().refresh_now().await?),
        }
    }

    /// Goes on with a refresh token that an operator put in.
    pub async fn new_seed(&self, seed: SecretString) -> Result<(), AccessError> {
        match self {
            Self::Jumper(account) => Ok(account.tokens().new_seed(seed).await?),
        }
    }
}
