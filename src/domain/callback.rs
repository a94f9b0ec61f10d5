//! What a door is told, one entry each, and what it answers.

use super::{MsgId, Phone, Refusal, ReplyKind, Status, UnixMs};
use std::time::Duration;

/// One entry for the callback URL of a door.
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

/// The doors by name: by which one a message came in, and who is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DoorName {
    /// MoEngage.
    Moengage,
}

impl DoorName {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Moengage];
}

/// What of a channel a door takes callbacks about; neither waits for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Destination {
    /// Delivery statuses.
    Status,
    /// Replies.
    Inbound,
}

impl Destination {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Status, Self::Inbound];

    /// The word for it, in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Inbound => "inbound",
        }
    }
}

/// What became of one post of callbacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The door has it.
    Taken {
        /// The HTTP status.
        http: u16,
        /// What to log when the body of a 2xx speaks of failure.
        warning: Option<String>,
    },
    /// It will not be taken as it is, now or later.
    Refused {
        /// The HTTP status.
        http: u16,
        /// The answer, masked and cut.
        text: String,
    },
    /// It may be taken later.
    Later {
        /// Why not now.
        reason: String,
        /// How long it asked us to wait.
        retry_after: Option<Duration>,
    },
}
