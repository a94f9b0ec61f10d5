//! How a webhook's address changes: by the configuration, by an operator, by another process. What is
//! replaced is written down before what replaces it, so that a kill in between loses neither.
//!
//! The store keeps for a channel `webhook_secret` (made by the gateway), `webhook_now` (the address that
//! was to be registered last) and `webhook_before` (the one before that, and until when it is served).

use super::address::{Address, written};
use super::made::made;
use super::{GRACE, Kept, Wanted, Webhook};
use crate::clock;
use crate::domain::{ChannelId, UnixMs};
use crate::store::{self, StoreError};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How often the store is asked at the most whether another process changed the secret.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Webhook {
    /// Reads what is kept, makes the secret that is missing, and notes what the configuration changed.
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
                before: None,
                until: None,
            }),
            changing: tokio::sync::Mutex::default(),
            looked: tokio::sync::Mutex::default(),
            changed: Notify::new(),
        };
        let (name, before) = (
            webhook.name("before"),
            wanted.was_open.then_some(Address::Open),
        );
        webhook
            .store
            .keep_setting(&name, written(before.as_ref(), None))
            .await?;
        webhook.look().await?;
        let last = webhook.store.load_setting(&webhook.name("now")).await?;
        let last = last.and_then(|text| Address::read(&text).0);
        webhook.replace(last).await?;
        Ok(webhook)
    }

    /// The address with this secret is registered, and of ours nothing but that where `alone`. Counts
    /// only while it is the address of now: it may have changed meanwhile.
    pub async fn confirmed(
        &self,
        secret: Option<&SecretString>,
        alone: bool,
    ) -> Result<(), StoreError> {
        let _changing = self.changing.lock().await;
        self.look().await?;
        let now = clock::now();
        let until = now.plus(if alone { Duration::ZERO } else { GRACE });
        let before = {
            let kept = self.kept();
            let sooner = kept.until.is_none_or(|known| alone && until < known);
            // Of a change half may be written: then what was found is about to be the one before.
            let before = self.another(&kept).filter(|_| sooner);
            before.cloned()
        };
        let Some(before) = before.filter(|_| self.is_current(secret)) else {
            return Ok(());
        };
        self.save_before(Some(&before), Some(until)).await?;
        tracing::info!(channel = %self.channel, before_is_served_ms = until.since(now).as_millis(),
            event = "webhook_secret_in_use", "Jumper uses the webhook's address of now");
        self.look().await
    }

    /// Makes another secret; the one before is served until the new one is confirmed. Answers whether the
    /// secret is one that the gateway makes.
    pub async fn rotate(&self) -> Result<bool, StoreError> {
        let changing = self.changing.lock().await;
        self.look().await?;
        if !self.is_made() {
            return Ok(false);
        }
        let old = self.secret().map(Address::With);
        self.keep_before(old.as_ref()).await?;
        let secret = Some(made()?);
        self.store
            .save_setting(&self.name("secret"), secret)
            .await?;
        self.look().await?;
        drop(changing);
        self.replace(old).await?;
        self.changed.notify_one();
        Ok(true)
    }

    /// Waits until another address is to be registered.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Looks whether another process changed the secret, at most once a second.
    pub async fn look_again(&self) {
        let mut looked = self.looked.lock().await;
        if looked.is_none_or(|at| at.elapsed() >= LOOK_AGAIN) {
            // The store's own trouble is told elsewhere.
            let _ = self.look().await;
            *looked = Some(Instant::now());
        }
    }

    /// Reads what is kept, the secret before what it replaced. A secret that is missing is put back, or
    /// made: the store may have been emptied.
    pub async fn look(&self) -> Result<(), StoreError> {
        let store = &self.store;
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
        let before = store.load_setting(&self.name("before")).await?;
        let (before, until) = Address::read(&before.unwrap_or_default());
        let made = secret.map(SecretString::from);
        *self.kept() = Kept {
            made,
            before,
            until,
        };
        Ok(())
    }

    /// The address of now takes the place of this one, if it is another.
    async fn replace(&self, last: Option<Address>) -> Result<(), StoreError> {
        let _changing = self.changing.lock().await;
        let now = Address::of(self.secret().as_ref());
        if last.as_ref().is_some_and(|last| last.is(&now)) {
            return Ok(());
        }
        self.keep_before(last.as_ref()).await?;
        let name = self.name("now");
        let text = written(Some(&now), None);
        self.store.save_setting(&name, Some(text)).await?;
        self.look().await
    }

    /// Keeps what is replaced, unless what was replaced before it is not confirmed: that is what Jumper
    /// uses. An open address needs no confirmation to be in use.
    async fn keep_before(&self, last: Option<&Address>) -> Result<(), StoreError> {
        let is_in_use = {
            let kept = self.kept();
            self.another(&kept).is_some() && kept.until.is_none()
        };
        match last {
            Some(last) if !is_in_use || matches!(last, Address::Open) => {
                self.save_before(Some(last), None).await
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn save_before(
        &self,
        before: Option<&Address>,
        until: Option<UnixMs>,
    ) -> Result<(), StoreError> {
        let name = self.name("before");
        let text = written(before, until);
        self.store.save_setting(&name, Some(text)).await
    }

    fn name(&self, what: &str) -> String {
        format!("webhook_{what}:{}", self.channel)
    }
}
