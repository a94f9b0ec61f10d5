//! Messages that answers accused, one by one: how often, and since when.

use super::Call;
use crate::domain::{ChannelId, MsgId};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a message that was accused waits, by how often it was.
const ASIDE: [Duration; 3] = [
    Duration::from_secs(5),
    Duration::from_secs(60),
    Duration::from_secs(300),
];
/// Accusations of one message, the first and the last at least [`ACCUSED_FOR`] apart, after which it is
/// given up where others were taken meanwhile.
const ACCUSATIONS: u32 = 3;
const ACCUSED_FOR: Duration = Duration::from_secs(300);
/// Messages that are remembered. Beyond it the oldest begins anew.
const MOST: usize = 10_000;

/// A message that answers accused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accused {
    times: u32,
    pub(super) first: Instant,
}

impl Accused {
    /// How long it waits.
    pub(super) fn aside(self) -> Duration {
        ASIDE[(self.times as usize).clamp(1, ASIDE.len()) - 1]
    }

    /// Whether it was accused often and long enough to be given up.
    pub(super) fn is_enough(self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.first);
        self.times >= ACCUSATIONS && since >= ACCUSED_FOR
    }
}

/// The messages of one account that answers accused and that did not end yet.
#[derive(Debug, Default)]
pub(super) struct AccusedMessages(HashMap<(ChannelId, MsgId), Accused>);

fn key(call: &Call) -> (ChannelId, MsgId) {
    (call.channel.clone(), call.msg_id.clone())
}

impl AccusedMessages {
    /// Counts one more accusation of a message.
    pub(super) fn add(&mut self, call: &Call, now: Instant) -> Accused {
        let accused = self.0.get(&key(call)).copied().unwrap_or(Accused {
            times: 0,
            first: now,
        });
        if accused.times == 0 && self.0.len() >= MOST {
            let oldest = self.0.iter().min_by_key(|(_, one)| one.first);
            let oldest = oldest.map(|(message, _)| message.clone());
            oldest.map(|oldest| self.0.remove(&oldest));
        }
        let times = accused.times.saturating_add(1);
        let accused = Accused { times, ..accused };
        self.0.insert(key(call), accused);
        accused
    }

    /// The message has ended.
    pub(super) fn remove(&mut self, call: &Call) {
        self.0.remove(&key(call));
    }
}
