//! Refusals that a store speaks by itself, in the words that MoEngage gets.

use crate::domain::{Refusal, RefusalKind};

/// An old message is not sent any more.
pub(super) fn too_old() -> Refusal {
    Refusal::new(
        RefusalKind::Other,
        "Not sent in time: older than MAX_AGE allows",
    )
}

/// The outcome of the send stayed unknown.
pub(super) fn outcome_unknown() -> Refusal {
    let reason = "Outcome unknown: the provider may or may not have taken the message";
    Refusal::new(RefusalKind::Other, reason)
}

/// A stored message that is damaged.
pub(super) fn unreadable() -> Refusal {
    let reason = "The stored message cannot be read by this version of the gateway";
    Refusal::new(RefusalKind::Other, reason)
}
