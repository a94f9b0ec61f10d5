//! Whether MoEngage takes callbacks, destination by destination, for those who ask (`/readyz`, `check`,
//! metrics; logs, metrics and the ops API call a destination `lane`).

use crate::clock;
use crate::domain::{ChannelId, Destination, UnixMs};
use crate::store::CallbackQueue;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Why callbacks are not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Since when.
    pub since: UnixMs,
    /// What MoEngage answered last: status and words, masked.
    pub answer: String,
}

/// The queues whose callbacks are not taken now. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Written by the relays, read by the ops listener; locked for a moment only.
    troubles: Arc<Mutex<HashMap<CallbackQueue, Trouble>>>,
}

impl Standing {
    fn troubles(&self) -> MutexGuard<'_, HashMap<CallbackQueue, Trouble>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts down that a queue is in trouble, or still is.
    pub(super) fn fails(&self, queue: &CallbackQueue, answer: &str) {
        let mut troubles = self.troubles();
        let trouble = troubles.entry(queue.clone()).or_insert_with(|| Trouble {
            since: clock::now(),
            answer: String::new(),
        });
        answer.clone_into(&mut trouble.answer);
    }

    /// Puts down that MoEngage took something.
    pub(super) fn works(&self, queue: &CallbackQueue) {
        self.troubles().remove(queue);
    }

    /// The destinations of a channel that are in trouble.
    pub fn of(&self, channel: &ChannelId) -> Vec<(Destination, Trouble)> {
        let troubles = self.troubles();
        let trouble = |queue: CallbackQueue| {
            let trouble = troubles.get(&queue)?;
            Some((queue.destination, trouble.clone()))
        };
        CallbackQueue::all_of(channel).filter_map(trouble).collect()
    }
}
