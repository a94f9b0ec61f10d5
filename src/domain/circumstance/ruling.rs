//! What goes into a judgement of circumstances, and what comes out.

use super::{Hold, Scope};
use crate::domain::{Answer, ChannelId, MsgId, Phone, Receipt, UnixMs};
use std::time::{Duration, Instant};

/// The present moment by the clock that nobody can set, and by the one that others share.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For what this process counts.
    pub steady: Instant,
    /// For what is stored.
    pub wall: UnixMs,
}

/// One call to the provider, as far as circumstances matter.
#[derive(Debug, Clone)]
pub struct Call {
    /// Through which channel.
    pub channel: ChannelId,
    /// Of which message.
    pub msg_id: MsgId,
    /// To whom.
    pub to: Phone,
    /// When it began.
    pub began: Instant,
}

/// Why the provider did not take a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// What alike answers share: status, code and text without what differs from message to message.
    pub reason: String,
    /// The answer, for people.
    pub words: String,
}

impl Cause {
    /// The cause of an answer.
    pub fn of(answer: &Answer) -> Self {
        Self {
            reason: answer.reason(),
            words: answer.summary(),
        }
    }
}

/// What becomes of a message after an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The provider has it.
    Taken(Receipt),
    /// Back to the queue, for the usual pause.
    Retry,
    /// Back to the queue, behind the others, for this long.
    PutAside(Duration),
    /// Back to the queue, where it waits for the end of the hold.
    PutBack,
    /// It is given up with the reason.
    Fail,
    /// Nobody knows; it waits for evidence.
    Unknown,
}

/// What follows from an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// For its message.
    pub end: End,
    /// For the others: this hold begins now. To be stored and told.
    pub hold: Option<Hold>,
    /// Only one recipient is accused for a minute now: a free list call is to tell whether everybody
    /// is. Its answer goes to [`super::Circumstances::listed`].
    pub ask: Option<Scope>,
}

impl Ruling {
    /// A hold begins, and the message waits for its end.
    pub(super) fn begins(hold: Hold) -> Self {
        Self {
            end: End::PutBack,
            hold: Some(hold),
            ask: None,
        }
    }

    pub(super) fn only(end: End) -> Self {
        Self {
            end,
            hold: None,
            ask: None,
        }
    }
}

/// What a list call showed about one recipient who is accused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// Everybody is accused: this hold begins now.
    Hold(Hold),
    /// It is about that recipient's messages alone; they stay put aside. Told once a run.
    OneRecipient,
}
