//! Calls that have begun and whose answers are not judged yet: any of them may still be taken.

use super::{Call, Scope};
use crate::domain::{ChannelId, MsgId};
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Instant;

/// The calls of one account that are under way, with their beginnings. A message has one at a time.
#[derive(Debug, Default)]
pub(super) struct UnderWay(HashMap<(ChannelId, MsgId), Instant>);

impl UnderWay {
    pub(super) fn add(&mut self, call: &Call) {
        let message = (call.channel.clone(), call.msg_id.clone());
        self.0.insert(message, call.began);
    }

    /// The call has ended, however. The message's next one stays.
    pub(super) fn remove(&mut self, call: &Call) {
        let message = (call.channel.clone(), call.msg_id.clone());
        if self.0.get(&message) == Some(&call.began) {
            self.0.remove(&message);
        }
    }

    /// Whether a call of this scope that began within this time is under way.
    pub(super) fn any(&self, scope: &Scope, began: &RangeInclusive<Instant>) -> bool {
        self.0
            .iter()
            .any(|((channel, _), at)| began.contains(at) && scope.contains(channel))
    }
}
