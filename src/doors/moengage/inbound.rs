//! A person's reply as MoEngage wants it (contracts/moengage.md section 6). Pure.

use super::timestamp::TimestampUnit;
use super::wire;
use crate::domain::{InboundEntry, ReplyKind};

/// The flat object of one reply. `from` has its plus sign, `waba_number` the spelling of the send,
/// and a reply that answers no known message has an empty `msg_id` (Q7, Q17).
pub(super) fn body(entry: &InboundEntry, unit: TimestampUnit) -> wire::Inbound<'_> {
    let (text, button) = match &entry.kind {
        ReplyKind::Text => (Some(wire::Text { body: &entry.text }), None),
        ReplyKind::Button { payload } => {
            let tap = wire::Tap {
                payload,
                text: &entry.text,
            };
            (None, Some(tap))
        }
    };
    wire::Inbound {
        from: entry.from.e164(),
        waba_number: &entry.waba_number,
        timestamp: unit.text(entry.at),
        kind: if text.is_some() { "text" } else { "button" },
        context: wire::Context {
            msg_id: entry.msg_id.as_ref().map_or("", |id| id.as_str()),
        },
        text,
        button,
    }
}
