//! The body of one callback: statuses together, or one reply (contracts/moengage.md sections 5, 6).
//!
//! Pure. The same entries render to the same bytes each time, so a repeat is identical.

use super::code::code;
use super::timestamp::TimestampUnit;
use super::wire;
use crate::domain::{Callback, InboundEntry, Status, StatusEntry};
use axum::body::Bytes;

/// Entries of one batch (Q10).
pub const MAX_ENTRIES: usize = 50;
/// Bytes of one batch (Q10).
pub const MAX_BYTES: usize = 150_000;
/// `{"statuses":[]}`.
const FRAME_BYTES: usize = 15;

/// The body of one POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    body: Bytes,
}

impl Batch {
    /// Renders entries that [`cut`] put together: statuses, or a single reply.
    pub fn new(entries: &[Callback], unit: TimestampUnit) -> Self {
        let body = match entries {
            [Callback::Inbound(entry), ..] => inbound(entry, unit),
            _ => {
                let mut body = br#"{"statuses":["#.to_vec();
                for (at, entry) in statuses(entries).enumerate() {
                    if at > 0 {
                        body.push(b',');
                    }
                    body.extend(status(entry, unit));
                }
                body.extend(b"]}");
                body
            }
        };
        Self { body: body.into() }
    }

    /// The bytes that go out.
    pub fn bytes(&self) -> Bytes {
        self.body.clone()
    }
}

fn statuses(entries: &[Callback]) -> impl Iterator<Item = &StatusEntry> {
    entries.iter().map_while(|entry| match entry {
        Callback::Status(entry) => Some(entry),
        Callback::Inbound(_) => None,
    })
}

/// How many of the first entries go into one request: one reply, or statuses up to a number and a
/// size. At least one, however large; none of none.
pub fn cut(entries: &[Callback], max_entries: usize, max_bytes: usize) -> usize {
    if let Some(Callback::Inbound(_)) = entries.first() {
        return 1;
    }
    let mut bytes = FRAME_BYTES;
    let fitting = statuses(entries)
        .take(max_entries.max(1))
        .enumerate()
        .take_while(|(at, entry)| {
            bytes += entry_bytes(entry) + usize::from(*at > 0);
            *at == 0 || bytes <= max_bytes
        });
    fitting.count()
}

/// The size of one entry at its longest, in bytes.
fn entry_bytes(entry: &StatusEntry) -> usize {
    status(entry, TimestampUnit::Milliseconds).len()
}

fn status(entry: &StatusEntry, unit: TimestampUnit) -> Vec<u8> {
    let error = entry
        .error
        .as_ref()
        .filter(|_| entry.status == Status::Failed);
    render(&wire::Status {
        msg_id: entry.msg_id.as_str(),
        status: entry.status.as_str(),
        timestamp: unit.text(entry.at),
        error: error.map(|refusal| wire::StatusError {
            code: code(refusal.kind),
            description: &refusal.reason,
        }),
    })
}

fn inbound(entry: &InboundEntry, unit: TimestampUnit) -> Vec<u8> {
    render(&super::inbound::body(entry, unit))
}

fn render(body: &impl serde::Serialize) -> Vec<u8> {
    // Texts under fixed keys: writing them as JSON cannot fail.
    serde_json::to_vec(body).unwrap_or_default()
}
