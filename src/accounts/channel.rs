//! A channel: who may call it, with what, and whether it sends.

use super::account::Account;
use super::pause::{Pause, PauseSeen};
use crate::domain::policy::Policy;
use crate::domain::{BusinessNumber, ChannelId};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// One WhatsApp Business number on one account.
#[derive(Debug)]
pub struct Channel {
    /// Its name.
    pub id: ChannelId,
    /// The account that sends for it.
    pub account: Arc<Account>,
    /// Any of these lets a caller in.
    pub tokens: Vec<SecretString>,
    /// Where MoEngage takes statuses and replies.
    pub callback_url: String,
    /// The number, when it is configured: then no other is accepted, and it is named as sender.
    pub waba_number: Option<BusinessNumber>,
    /// What to do with failures.
    pub policy: Policy,
    /// The most messages that may wait; `None` is no limit.
    pub max_queue: Option<u64>,
    /// Whether it is paused until an operator resumes it.
    pub starts_paused: bool,
    /// Whether its sending is stopped.
    pub pause: Pause,
}

impl Channel {
    /// Whether an operator stopped its sending.
    pub fn is_paused(&self) -> bool {
        self.pause.is_on()
    }

    /// Whether it keeps its messages, whatever the reason: paused, held, or no token to send with.
    pub fn is_stopped(&self) -> bool {
        self.is_paused()
            || self.account.held().is_some()
            || self.account.store_hold().is_some()
            || self.account.holding.is_held(&self.id)
    }

    /// Stops or resumes its sending, as an operator of this process says.
    pub fn set_paused(&self, paused: bool) {
        self.pause.set(paused);
        self.account.work.notify_one();
    }

    /// What its pause is now: to be taken before looking at what other processes say.
    pub fn pause_seen(&self) -> PauseSeen {
        PauseSeen::of(&self.pause)
    }

    /// Does as another process says, unless an operator of this one has spoken since `seen`: what was
    /// read may be older than that. Tells whether that changed anything.
    pub fn follow_pause(&self, seen: PauseSeen, paused: bool) -> bool {
        let changed = self.pause.follow(seen, paused);
        if changed {
            self.account.work.notify_one();
        }
        changed
    }

    /// Whether `from` may be sent from here.
    pub fn sends_from(&self, from: &BusinessNumber) -> bool {
        self.waba_number.as_ref().is_none_or(|own| own == from)
    }

    fn lets_in(&self, presented: &str) -> bool {
        // Every token is compared, so that the time tells nothing about which one was close.
        self.tokens
            .iter()
            .fold(false, |found, token| found | same(token, presented))
    }
}

/// Compares a secret with what was presented; the time depends on the lengths alone.
pub fn same(secret: &SecretString, presented: &str) -> bool {
    bool::from(
        secret
            .expose_secret()
            .as_bytes()
            .ct_eq(presented.as_bytes()),
    ) && !presented.is_empty()
}

/// All channels, in the order of the configuration.
#[derive(Debug)]
pub struct Channels {
    all: Vec<Arc<Channel>>,
}

impl Channels {
    /// The registry.
    pub fn new(all: Vec<Arc<Channel>>) -> Self {
        Self { all }
    }

    /// Every channel.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Channel>> {
        self.all.iter()
    }

    /// Every account, once.
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        let mut accounts: Vec<Arc<Account>> = Vec::new();
        for channel in &self.all {
            if !accounts.iter().any(|known| known.id == channel.account.id) {
                accounts.push(channel.account.clone());
            }
        }
        accounts
    }

    /// The channel of this name.
    pub fn get(&self, id: &str) -> Option<&Arc<Channel>> {
        self.all.iter().find(|channel| channel.id.as_str() == id)
    }

    /// The channels that this token opens. An unset token opens nothing (B-42).
    pub fn opened_by(&self, presented: &str) -> Vec<Arc<Channel>> {
        self.all
            .iter()
            .filter(|channel| channel.lets_in(presented))
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_secret_opens_and_an_empty_one_opens_nothing() {
        let secret = SecretString::from("a-Secret-of-16-b");
        assert!(same(&secret, "a-Secret-of-16-b"));
        for wrong in [
            "",
            "a",
            "a-Secret-of-16-",
            "-Secret-of-16-b",
            "a-Secret-of-16-c",
            "b-Secret-of-16-b",
            "a-secret-of-16-b",
            "a-Secret-of-16-bb",
            "a-Secret-of-16-b\0",
            " a-Secret-of-16-b",
        ] {
            assert!(!same(&secret, wrong), "{wrong:?}");
        }
        for presented in ["", "a"] {
            assert!(!same(&SecretString::from(""), presented), "{presented:?}");
        }
    }
}
