//! What was read of one body so far, within bounds.

use crate::domain::{Incoming, ProviderId};
use crate::json;
use serde_json::Value;

/// The most that is kept of what is not understood, in bytes.
pub(super) const LONGEST_RAW: usize = 8 * 1024;
/// The kind of what has no shape that we know.
pub(super) const UNREADABLE: &str = "unreadable";
/// The kind of what has a shape that we know, and an id that could not be read whole.
const DAMAGED: &str = "damaged";
/// The most elements of one body. A batch of the provider's has a handful (cases R-67).
pub const MOST_ELEMENTS: usize = 2000;

/// A body has more elements than may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Body holds more than {MOST_ELEMENTS} events")]
pub struct TooMany;

/// What was read of a body so far.
#[derive(Default)]
pub(super) struct Found {
    pub(super) events: Vec<Incoming>,
    pub(super) elements: usize,
    /// Whether texts of the body have characters that could not be read.
    pub(super) is_damaged: bool,
}

impl Found {
    pub(super) fn push(&mut self, event: Incoming) -> Result<(), TooMany> {
        self.elements += 1;
        if self.elements > MOST_ELEMENTS {
            return Err(TooMany);
        }
        if !self.is_one_more(&event) {
            self.events.push(event);
        }
        Ok(())
    }

    /// Reads one element. With a damaged id it may be about any of several messages: it is kept, each of
    /// them, and matched with none.
    pub(super) fn take(
        &mut self,
        element: &Value,
        read: impl FnOnce(&Value) -> Incoming,
    ) -> Result<(), TooMany> {
        let event = read(element);
        if self.is_damaged && names_lost(&event) {
            return self.push(other(DAMAGED, element));
        }
        self.push(event)
    }

    /// Of what cannot be read the first is kept as a sample, and how many there were.
    fn is_one_more(&mut self, event: &Incoming) -> bool {
        let unreadable =
            |event: &Incoming| matches!(event, Incoming::Other { kind, .. } if *kind == UNREADABLE);
        if !unreadable(event) {
            return false;
        }
        match self.events.iter_mut().find(|event| unreadable(event)) {
            Some(Incoming::Other { times, .. }) => {
                *times += 1;
                true
            }
            _ => false,
        }
    }
}

fn names_lost(event: &Incoming) -> bool {
    let lost = |id: &ProviderId| id.as_str().contains(json::LOST);
    match event {
        Incoming::Status(event) => lost(&event.provider_id),
        Incoming::Reply(reply) => reply.id.iter().chain(&reply.context).any(lost),
        Incoming::Other { .. } => false,
    }
}

/// A word for the kind and what came, cut.
pub(super) fn other(kind: &'static str, what: &Value) -> Incoming {
    let mut raw = what.to_string();
    let mut end = raw.len().min(LONGEST_RAW);
    while !raw.is_char_boundary(end) {
        end -= 1;
    }
    raw.truncate(end);
    Incoming::Other {
        kind,
        raw,
        times: 1,
    }
}
