//! What a provider's webhook brings, in our own words.

use super::{Phone, ProviderId, Status, UnixMs};
use std::fmt;

/// One thing that a webhook said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A message of ours moved on.
    Status(StatusEvent),
    /// A person wrote or tapped.
    Reply(Reply),
    /// Something we know and leave alone, or do not know: kept and counted, never relayed.
    Other {
        /// A short word of a closed set, for the counter: `agent`, `bot`, `media`, `no_status`,
        /// `unknown_status`, `unknown_type`, `unreadable`.
        kind: &'static str,
        /// What came, as text.
        raw: String,
        /// How often in one body; the first of them is kept.
        times: u32,
    },
}

/// A delivery status as the provider told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusEvent {
    /// The message, by the provider's id.
    pub provider_id: ProviderId,
    /// What happened.
    pub status: Status,
    /// When it happened, if the event says so.
    pub at: Option<UnixMs>,
    /// Whom it names, if it names anyone: the evidence of DESIGN G3.
    pub recipient: Option<Phone>,
    /// The provider's code and text of a failure.
    pub error: Option<String>,
}

/// A reply of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The provider's id of the reply itself; repeats of the same id are one reply.
    pub id: Option<ProviderId>,
    /// Who wrote.
    pub from: Phone,
    /// The message being answered, if the person quoted or tapped one.
    pub context: Option<ProviderId>,
    /// What they wrote, or the label they tapped.
    pub text: String,
    /// When, if the event says so.
    pub at: Option<UnixMs>,
}

/// What a reply is towards MoEngage (contracts/moengage.md section 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyKind {
    /// Free text.
    Text,
    /// A tap on a quick-reply button, with the payload to echo.
    Button {
        /// The payload that MoEngage sent with the button, or its label.
        payload: String,
    },
}

impl fmt::Display for ReplyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Button { .. } => "button",
        })
    }
}
