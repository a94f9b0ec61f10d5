//! What is told to MoEngage, one entry each.

use super::{MsgId, Phone, Refusal, ReplyKind, Status, UnixMs};

/// One entry for MoEngage's callback URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Callback {
    /// A delivery status.
    Status(StatusEntry),
    /// A reply of a person.
    Inbound(InboundEntry),
}

/// A delivery status of one message (contracts/moengage.md section 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusEntry {
    /// MoEngage's id of the message.
    pub msg_id: MsgId,
    /// What happened.
    pub status: Status,
    /// When it happened.
    pub at: UnixMs,
    /// Why, when it failed.
    pub error: Option<Refusal>,
}

/// A reply of a person (contracts/moengage.md section 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundEntry {
    /// Who wrote.
    pub from: Phone,
    /// The brand's number, exactly as MoEngage wrote it in the send.
    pub waba_number: String,
    /// When.
    pub at: UnixMs,
    /// Free text or a tap.
    pub kind: ReplyKind,
    /// The text, or the label of the button.
    pub text: String,
    /// The message being answered; `None` when nobody knows.
    pub msg_id: Option<MsgId>,
}

/// The two queues towards MoEngage; neither waits for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Delivery statuses.
    Status,
    /// Replies.
    Inbound,
}

impl Lane {
    /// Both lanes.
    pub const ALL: [Self; 2] = [Self::Status, Self::Inbound];

    /// The word for it, in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Inbound => "inbound",
        }
    }
}
