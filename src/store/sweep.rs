//! What a sweep looks at, and what it did.

use crate::domain::{ChannelId, MsgId, Refusal, UnixMs};
use std::time::Duration;

/// What a sweep looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepScope {
    /// Holds that are over.
    Holds,
    /// Also what is too old, and what a clock that is ahead no more has put off.
    Ages,
    /// The same right after the clock was set back: nothing waits for a time that it must reach once
    /// more.
    SetBack,
}

/// What happens to an unknown outcome when its hold is over, and what is too old.
#[derive(Debug, Clone)]
pub struct SweepRule {
    /// The channel.
    pub channel: ChannelId,
    /// Send once more instead of failing.
    pub resend: bool,
    /// Messages accepted before this are failed.
    pub expired_before: UnixMs,
    /// How long an unknown outcome waits.
    pub hold: Duration,
}

/// What a sweep did.
#[derive(Debug, Default)]
pub struct Swept {
    /// Messages failed, with channel and reason.
    pub failed: Vec<(ChannelId, MsgId, Refusal)>,
    /// Messages queued once more.
    pub resent: Vec<(ChannelId, MsgId)>,
    /// Messages whose receipt was inferred after all.
    pub inferred: u32,
    /// Channels that have something to relay now, beside those of what was failed.
    pub wake: Vec<ChannelId>,
    /// Whether there was more to do than one sweep may; look again at once.
    pub more: bool,
}

impl Swept {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        let Self {
            failed,
            resent,
            inferred,
            wake,
            more,
        } = self;
        failed.is_empty() && resent.is_empty() && *inferred == 0 && wake.is_empty() && !more
    }
}
