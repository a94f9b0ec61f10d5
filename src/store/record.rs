//! What people ask a store for: the ledger, a message with its history.

use super::Moment;
use crate::domain::proof::LastProof;
use crate::domain::{AccountId, ChannelId, Message, Phone, State, Status, UnixMs};

/// The cumulative account of a channel (design.md G2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ledger {
    /// Messages answered with success.
    pub accepted: i64,
    /// Waiting, or held in a paused or held channel.
    pub queued: i64,
    /// Being sent.
    pub attempting: i64,
    /// Outcome unknown.
    pub unknown: i64,
    /// With a receipt.
    pub accepted_by_provider: i64,
    /// Never got a receipt, and were reported.
    pub failed: i64,
    /// Callbacks waiting.
    pub callbacks_waiting: i64,
    /// Callbacks that MoEngage took.
    pub callbacks_taken: i64,
    /// Callbacks given up.
    pub dead_letters: i64,
    /// Webhook events stored.
    pub events: i64,
    /// Early statuses given up after 24 h.
    pub expired_events: i64,
    /// What it is off by for another reason than that messages are missing.
    pub uncounted: Option<Uncounted>,
}

/// What a ledger is off by since one of its counters was damaged and counts anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uncounted {
    /// Messages, less than 0 where too few count as accepted.
    pub messages: i64,
    /// The counter, where it was one.
    pub counter: Option<&'static str>,
    /// When it was found, the last time.
    pub at: UnixMs,
}

impl Uncounted {
    /// What happened, for people.
    pub fn cause(&self) -> String {
        let what = match self.counter {
            Some(counter) => format!("the counter {counter}"),
            None => "the ledger".into(),
        };
        format!("something else wrote over {what} in Redis; the gateway counts it anew since then")
    }
}

impl Ledger {
    /// Accepted messages that are in none of the known places. Anything but 0 is a defect.
    pub fn lost(&self) -> i64 {
        let uncounted = self.uncounted.map_or(0, |uncounted| uncounted.messages);
        self.accepted
            - uncounted
            - self.queued
            - self.attempting
            - self.unknown
            - self.accepted_by_provider
            - self.failed
    }
}

/// A message with its history, for people.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its channel.
    pub channel: ChannelId,
    /// Its account.
    pub account: AccountId,
    /// What was to be sent.
    pub message: Message,
    /// Where it is.
    pub state: State,
    /// When it is due, if it waits.
    pub due: Option<UnixMs>,
    /// When it was accepted.
    pub accepted_at: UnixMs,
    /// How often it was tried.
    pub attempts: u32,
    /// The provider's id.
    pub provider_id: Option<String>,
    /// The provider's id of the conversation.
    pub conversation: Option<String>,
    /// The highest status that MoEngage was or will be told.
    pub status: Option<Status>,
    /// Whether the provider's id was inferred from an event.
    pub inferred: bool,
    /// What its last attempt proved.
    pub proof: LastProof,
    /// Its history, oldest first.
    pub history: Vec<Moment>,
    /// Callbacks that wait or were given up, in words.
    pub callbacks: Vec<String>,
}

/// What to look for.
#[derive(Debug, Clone)]
pub enum Search {
    /// By MoEngage's id, within a channel.
    MsgId(ChannelId, String),
    /// By the provider's id, within an account.
    ProviderId(AccountId, String),
    /// By the recipient.
    Phone(Phone),
}
