//! What the relay of the one process has in its hands.

use crate::store::{CallbackLease, RelayOutcome};
use std::collections::HashMap;

/// Callbacks that were handed out and not yet settled, each with the take that brought it.
#[derive(Debug, Clone, Default)]
pub(super) struct Taken {
    held: HashMap<i64, u64>,
    /// The number of the last take.
    last: u64,
}

impl Taken {
    /// Whether somebody has it.
    pub(super) fn holds(&self, callback: i64) -> bool {
        self.held.contains_key(&callback)
    }

    /// What the next take of this callback is called.
    pub(super) fn next(&self, callback: i64) -> CallbackLease {
        let claim = self.last + 1;
        CallbackLease { callback, claim }
    }

    /// These were taken together.
    pub(super) fn hold(&mut self, takes: impl Iterator<Item = CallbackLease>) {
        self.last += 1;
        self.held
            .extend(takes.map(|take| (take.callback, take.claim)));
    }

    /// Whether this end counts: the take is the fence, but what MoEngage took is told, unless it is
    /// just being told again.
    pub(super) fn counts(&self, take: CallbackLease, end: &RelayOutcome) -> bool {
        match self.held.get(&take.callback) {
            Some(claim) => *claim == take.claim,
            None => matches!(end, RelayOutcome::Taken { .. }),
        }
    }

    /// It is settled, or stays where it was.
    pub(super) fn let_go(&mut self, take: CallbackLease) {
        if self.held.get(&take.callback) == Some(&take.claim) {
            self.held.remove(&take.callback);
        }
    }
}
