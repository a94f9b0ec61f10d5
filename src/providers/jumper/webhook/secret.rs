//! Who may post to a channel's webhook (cases R-68). Jumper signs nothing, so its address carries a
//! secret: the configured one, else one that the gateway makes at its first start and keeps in the
//! store, which all replicas share.
//!
//! The address that was registered before stays served until the one of now is confirmed and
//! `GRACE` on: Jumper repeats nothing, and what is under way would be lost. "Confirmed" is an answer
//! of Jumper's, or a post by the address of now. `change` says how one becomes the other.

mod address;
mod change;
mod made;

use crate::accounts::same;
use crate::clock;
use crate::domain::access::Open;
use crate::domain::{ChannelId, UnixMs};
use crate::store;
use address::Address;
use secrecy::SecretString;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long the address of before is served after the one of now is confirmed.
const GRACE: Duration = Duration::from_secs(600);

/// What the configuration says of it.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Any of these opens; the first is registered. None: one is made.
    pub secrets: Vec<SecretString>,
    /// Whether no secret is asked, where there is none.
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

/// What the store keeps, as it was read last.
#[derive(Debug)]
struct Kept {
    made: Option<SecretString>,
    before: Option<Address>,
    /// Until when that is served; nothing while the address of now is not confirmed.
    until: Option<UnixMs>,
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
    /// Held while this process changes what is kept.
    changing: tokio::sync::Mutex<()>,
    /// When the store was asked last because of a wrong secret. Held over the question: who comes
    /// meanwhile waits for the same answer.
    looked: tokio::sync::Mutex<Option<Instant>>,
    /// Woken when another address is to be registered.
    changed: Notify,
}

impl Webhook {
    /// Whether a caller is let in, and as whom; else why not.
    pub fn admit(&self, presented: Option<&str>) -> Result<Caller, &'static str> {
        if self.open && presented.is_none() {
            return Ok(Caller::Anybody);
        }
        let kept = self.kept();
        let before = kept.before.as_ref().filter(|_| is_served(kept.until));
        let Some(presented) = presented else {
            return match before {
                Some(Address::Open) => Ok(Caller::Anybody),
                _ => Err("the path lacks the webhook secret (`gateway check` tells how to see it)"),
            };
        };
        let opens = |secret: &SecretString| same(secret, presented);
        if self.current(&kept).is_some_and(opens) {
            return Ok(Caller::Holder);
        }
        let before = before.and_then(Address::secret);
        if self.configured.iter().chain(before).any(opens) {
            return Ok(Caller::OfBefore);
        }
        // What stands in a path of an address that asks for no secret is none.
        match self.open {
            true => Ok(Caller::Anybody),
            false => {
                Err("the path has a wrong webhook secret (`gateway check` tells how to see it)")
            }
        }
    }

    /// The secret in the address that is to be registered; none where none is asked.
    pub fn secret(&self) -> Option<SecretString> {
        self.current(&self.kept()).cloned()
    }

    /// Whether this is the secret in the address that is to be registered.
    pub fn is_current(&self, secret: Option<&SecretString>) -> bool {
        Address::of(self.current(&self.kept())).is(&Address::of(secret))
    }

    /// Whether the gateway makes the secret.
    pub fn is_made(&self) -> bool {
        !self.open && self.configured.is_empty()
    }

    /// Whether somebody without a secret is let in.
    pub fn is_open(&self) -> Open {
        match self.admit(None) {
            Err(_) => Open::No,
            Ok(_) if self.open => Open::Wanted,
            Ok(_) => Open::ForNow,
        }
    }

    /// Whether a post by the address of now would be news.
    pub fn awaits_confirmation(&self) -> bool {
        let kept = self.kept();
        !self.open && self.another(&kept).is_some() && kept.until.is_none()
    }

    fn current<'a>(&'a self, kept: &'a Kept) -> Option<&'a SecretString> {
        let secret = self.configured.first().or(kept.made.as_ref());
        secret.filter(|_| !self.open)
    }

    /// What was registered before, where that is another address than the one of now.
    fn another<'a>(&self, kept: &'a Kept) -> Option<&'a Address> {
        let now = Address::of(self.current(kept));
        kept.before.as_ref().filter(|before| !before.is(&now))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the address of before is served now. While our clocks disagree, for longer; a time farther
/// away than the grace was written by a clock that had leapt.
fn is_served(until: Option<UnixMs>) -> bool {
    let now = clock::moment();
    until.is_none_or(|until| now.earliest < until && until <= now.latest.plus(GRACE))
}

#[cfg(test)]
mod tests;
