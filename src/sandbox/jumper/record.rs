//! What is shown of a send and of its events. Plain data.

use serde::Serialize;

use super::shape::Subject;

/// One accepted send, as inspected.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SendRecord {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// Id answered, and used in events.
    pub message_id: String,
    /// Conversation of the contact.
    pub conversationid: String,
    /// Recipient, digits.
    pub to: String,
    /// `from` as received.
    pub from: Option<String>,
    /// `source` as received.
    pub source: Option<String>,
    /// `channel` as received.
    pub channel: Option<String>,
    /// Template variant id; empty for plain text.
    pub template_id: String,
    /// Template name.
    pub template_name: Option<String>,
    /// Language of the variant.
    pub language: Option<String>,
    /// `message_params` exactly as received.
    pub params: Option<String>,
    /// Text of a plain message.
    pub text: Option<String>,
    /// What became of the answer, such as `ok` or `accept_then_close`.
    pub outcome: &'static str,
    /// What does not fit the template, if anything.
    pub mismatch: Option<String>,
    /// Events posted for it so far.
    #[serde(skip)]
    pub(super) events: Vec<EventRecord>,
}

impl SendRecord {
    pub(super) fn subject(&self) -> Subject {
        Subject {
            message_id: self.message_id.clone(),
            conversation_id: self.conversationid.clone(),
            to: self.to.clone(),
            template_id: self.template_id.clone(),
        }
    }
}

/// One send that did not simply go well.
#[derive(Debug, Clone, Default, Serialize)]
pub(in crate::sandbox) struct SpoiledSend {
    /// Milliseconds since 1970.
    pub(super) at_ms: u64,
    /// Recipient, digits.
    pub(super) to: String,
    /// `message_params` exactly as received.
    pub(super) params: Option<String>,
    /// What became of it, such as `refuse` or `accept_then_close`.
    pub(super) outcome: &'static str,
}

/// One event and how the client took it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventRecord {
    /// When its last post ended, milliseconds since 1970.
    pub at_ms: u64,
    /// Message the event speaks of.
    pub message_id: String,
    /// Statuses in it, joined by `+`.
    pub status: String,
    /// Its generation, or what else it is.
    pub shape: &'static str,
    /// When its statuses happened, as it says, milliseconds since 1970; nothing where it says nothing.
    pub said_ms: Vec<u64>,
    /// Its place among the events of the message.
    pub order: usize,
    /// HTTP status of the last answer; absent when none came.
    pub acknowledged: Option<u16>,
    /// Milliseconds the last post took.
    pub latency_ms: u64,
    /// Posts made.
    pub tries: u32,
}
