//! Who may post to a channel's webhook (cases R-68). Jumper signs nothing, so its address carries a
//! secret: the configured one, else one that the gateway makes at its first start and keeps in the
//! store, which all replicas share.
//!
//! The address that was registered before stays served until the one of now is confirmed and
//! [`GRACE`] on: Jumper repeats nothing, and what is under way would be lost. "Confirmed" is an answer
//! of Jumper's, or a post by the new address.

mod before;

use super::same;
use crate::clock;
use crate::domain::{ChannelId, UnixMs};
use crate::store::{self, StoreError};
use before::Before;
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long the old address is served after the new one is confirmed.
const GRACE: Duration = Duration::from_secs(600);
/// How often the store is asked at the most whether another process changed the secret.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Bytes of a secret that is made; twice as many letters.
const MADE: usize = 24;

/// What the configuration says of it.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Any of these opens; the first is registered. None: one is made.
    pub secrets: Vec<SecretString>,
    /// Whether no secret is asked.
    pub open: bool,
    /// Whether an address without a secret may be registered at Jumper, where the store does not know.
    pub was_open: bool,
}

/// A caller who is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Has the secret of the address that is registered now.
    Holder,
    /// Has one that counts too.
    OfBefore,
    /// Has none.
    Anybody,
}

/// What was registered of ours when the address of now was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing: no other address is in use.
    Nothing,
    /// That address.
    Itself,
    /// Another one, or nobody knows.
    Another,
}

/// What the store keeps.
#[derive(Debug)]
struct Kept {
    made: Option<SecretString>,
    before: Before,
    /// Until when that is served; nothing while the address of now is not confirmed.
    until: Option<UnixMs>,
    looked: Option<Instant>,
}

/// The webhook of every channel, by its name.
pub type Webhooks = Arc<HashMap<String, Arc<Webhook>>>;

/// The webhook of a channel.
#[derive(Debug)]
pub struct Webhook {
    channel: ChannelId,
    configured: Vec<SecretString>,
    open: bool,
    store: store::Outbox,
    /// Locked for a moment: never over a question to the store.
    kept: Mutex<Kept>,
    /// Rung when another address is to be registered.
    changed: Notify,
}

impl Webhook {
    /// Reads what is kept, and makes the secret that is missing.
    pub async fn load(
        channel: ChannelId,
        wanted: Wanted,
        store: store::Outbox,
    ) -> Result<Self, StoreError> {
        let webhook = Self {
            channel,
            open: wanted.open && wanted.secrets.is_empty(),
            configured: wanted.secrets,
            store,
            kept: Mutex::new(Kept {
                made: None,
                before: Before::Nothing,
                until: None,
                looked: None,
            }),
            changed: Notify::new(),
        };
        let before = webhook.store.load_setting(&webhook.name("before")).await?;
        if webhook.open || before.is_none() {
            let is_open = webhook.open || wanted.was_open;
            let before = if is_open {
                Before::Open
            } else {
                Before::Nothing
            };
            webhook.save_before(&before, None).await?;
        }
        webhook.look().await?;
        Ok(webhook)
    }

    /// Whether a caller is let in, and as whom; else why not.
    pub fn admit(&self, presented: Option<&str>) -> Result<Caller, &'static str> {
        let kept = self.kept();
        let served = kept.until.is_none_or(|until| clock::now() < until);
        let Some(presented) = presented else {
            let before = matches!(kept.before, Before::Open) && served;
            return match self.open || before {
                true => Ok(Caller::Anybody),
                false => Err("the path lacks the webhook secret (WEBHOOK_SECRET)"),
            };
        };
        let now = self.current(&kept);
        if now.is_some_and(|secret| same(secret, presented)) {
            return Ok(Caller::Holder);
        }
        let others = self.configured.iter().chain(&kept.made);
        let before = match &kept.before {
            Before::Secret(secret) if served => Some(secret),
            _ => None,
        };
        match others.chain(before).any(|secret| same(secret, presented)) {
            true => Ok(Caller::OfBefore),
            false => Err("the path has a wrong webhook secret (WEBHOOK_SECRET)"),
        }
    }

    /// The secret in the address that is to be registered; none where none is asked.
    pub fn secret(&self) -> Option<SecretString> {
        self.current(&self.kept()).cloned()
    }

    /// Whether the gateway made that secret.
    pub fn is_made(&self) -> bool {
        !self.open && self.configured.is_empty()
    }

    /// Whether somebody without a secret is let in, and whether that ends by itself.
    pub fn is_open(&self) -> Option<bool> {
        self.admit(None).is_ok().then_some(!self.open)
    }

    /// The address of now is registered.
    pub async fn confirmed(&self, found: Found) -> Result<(), StoreError> {
        self.look().await?;
        let (before, until) = {
            let kept = self.kept();
            (kept.before.clone(), kept.until)
        };
        if self.open || matches!(before, Before::Nothing) {
            return Ok(());
        }
        let now = clock::now();
        let until = match found {
            Found::Nothing if until.is_none_or(|until| now < until) => now,
            Found::Itself if until.is_none() => now,
            Found::Another if until.is_none() => now.plus(GRACE),
            _ => return Ok(()),
        };
        self.save_before(&before, Some(until)).await?;
        tracing::info!(channel = %self.channel, before_is_served_ms = until.since(now).as_millis(),
            "the webhook's address with the secret is in use");
        self.look().await
    }

    /// Whether a post by the address of now would be news.
    pub fn awaits_confirmation(&self) -> bool {
        let kept = self.kept();
        !self.open && !matches!(kept.before, Before::Nothing) && kept.until.is_none()
    }

    /// Makes another secret; the one before is served until the new one is confirmed. Answers whether the
    /// secret is one that the gateway makes.
    pub async fn rotate(&self) -> Result<bool, StoreError> {
        let old = self.kept().made.clone();
        let Some(old) = old.filter(|_| self.is_made()) else {
            return Ok(false);
        };
        self.save_before(&Before::Secret(old), None).await?;
        let name = self.name("secret");
        self.store.save_setting(&name, Some(made()?)).await?;
        self.look().await?;
        self.changed.notify_one();
        Ok(true)
    }

    /// Waits until another address is to be registered.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Looks whether another process changed the secret, at most once a second. Answers whether it looked.
    pub async fn look_again(&self) -> bool {
        {
            let mut kept = self.kept();
            if kept.looked.is_some_and(|at| at.elapsed() < LOOK_AGAIN) {
                return false;
            }
            kept.looked = Some(Instant::now());
        }
        self.look().await.is_ok()
    }

    /// Reads what is kept. A secret that is missing is put back, or made: the store may have been emptied.
    pub async fn look(&self) -> Result<(), StoreError> {
        let store = &self.store;
        let before = store.load_setting(&self.name("before")).await?;
        let (before, until) = Before::read(&before.unwrap_or_default());
        let name = self.name("secret");
        let secret = match store.load_setting(&name).await? {
            None if self.is_made() => {
                let known = self.kept().made.clone();
                let secret = match known {
                    Some(known) => known.expose_secret().to_owned(),
                    None => made()?,
                };
                Some(store.keep_setting(&name, secret).await?)
            }
            secret => secret,
        };
        let mut kept = self.kept();
        kept.made = secret.map(SecretString::from);
        (kept.before, kept.until) = (before, until);
        Ok(())
    }

    fn current<'a>(&'a self, kept: &'a Kept) -> Option<&'a SecretString> {
        let secret = self.configured.first().or(kept.made.as_ref());
        secret.filter(|_| !self.open)
    }

    async fn save_before(&self, before: &Before, until: Option<UnixMs>) -> Result<(), StoreError> {
        let name = self.name("before");
        let text = before.written(until);
        self.store.save_setting(&name, Some(text)).await
    }

    fn name(&self, what: &str) -> String {
        format!("webhook_{what}:{}", self.channel)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn made() -> Result<String, StoreError> {
    let mut bytes = [0; MADE];
    let drawn = SystemRandom::new().fill(&mut bytes);
    drawn.map_err(|_| StoreError::Unavailable("this machine gives no random numbers".into()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
