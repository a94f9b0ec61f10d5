//! What one replica says to all that share a rate, and what it asks for.

use crate::store::redis::rate::Ask;
use std::time::Duration;
use tokio::time::Instant;

/// What was said here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// "Too many".
    pub(super) too_many: bool,
    /// Until when the upstream wants a pause.
    pub(super) pause: Option<Instant>,
    /// An operator ended it.
    pub(super) pause_ends: bool,
}

impl Report {
    /// Whether it says nothing.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A question that went to Redis.
#[derive(Debug)]
pub(super) struct Asked {
    /// What it says and asks.
    pub(super) ask: Ask,
    /// What was said here until then.
    pub(super) report: Report,
    /// When it went.
    pub(super) sent: Instant,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Want {
    pub(super) most: usize,
    pub(super) counted: bool,
    pub(super) lead: Duration,
    pub(super) horizon: Duration,
}
