//! The ends of an attempt, as they go into a store.

use crate::domain::proof::LastProof;
use crate::domain::{Receipt, Refusal, UnixMs};

/// The end of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// The provider took it.
    Accepted {
        /// Its ids.
        receipt: Receipt,
        /// What the person can tap.
        taps: Vec<QuickReply>,
    },
    /// Nothing was handed on.
    Retry {
        /// When it may be tried again.
        due: UnixMs,
        /// Whether it waits behind the others: its answers accuse more than they refuse.
        aside: bool,
        /// What the attempt proved.
        proof: LastProof,
    },
    /// It will not be sent.
    Failed {
        /// Why.
        refusal: Refusal,
        /// What the attempt proved.
        proof: LastProof,
    },
    /// Nobody knows.
    Unknown {
        /// Until when evidence counts.
        until: UnixMs,
        /// What the person can tap, if they got it.
        taps: Vec<QuickReply>,
    },
}

impl Settlement {
    /// Nothing was handed on; it may be tried again at `due`.
    pub fn retry(due: UnixMs) -> Self {
        Self::Retry {
            due,
            aside: false,
            proof: LastProof::NotTaken,
        }
    }

    /// It will not be sent, though nobody refused it: no call was made.
    pub fn failed(refusal: Refusal) -> Self {
        Self::Failed {
            refusal,
            proof: LastProof::NotTaken,
        }
    }

    /// What the attempt proved.
    pub fn proof(&self) -> LastProof {
        match self {
            Self::Accepted { .. } => LastProof::Taken,
            Self::Retry { proof, .. } | Self::Failed { proof, .. } => *proof,
            Self::Unknown { .. } => LastProof::Unclear,
        }
    }
}

/// A quick-reply button of a sent message: what is seen, and what comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuickReply {
    /// The label.
    pub label: String,
    /// The payload to echo.
    pub payload: String,
}
