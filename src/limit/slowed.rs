//! What "too many" leaves of a rate, and what was taken lately. Pure: the time is an argument.
//!
//! A set rate is halved and recovers. Without one a temporary rate stands for it, from what the
//! upstream took in the last second, until it has grown to twice of that. The same is done in
//! `rate.lua` for a rate that replicas share.

use std::time::Duration;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
/// A set rate recovers by this share of itself a second, a temporary one grows by that share.
const RECOVERY_PER_SECOND: f64 = 0.05;
/// However often the upstream complains, this share of a set rate remains.
const LEAST_FACTOR: f64 = 1.0 / 64.0;
/// The least temporary rate.
const LEAST_RATE: f64 = 1.0;
/// What remains of a temporary rate at most when the upstream says "too many" again.
const STEP_BACK: f64 = 0.9;

/// What is left of the rate.
#[derive(Debug)]
pub(super) struct Slowed {
    /// Share of a set rate in force.
    factor: f64,
    /// What stands for a rate where none is set, and what it ends at.
    temporary: Option<(f64, f64)>,
    /// When these were last brought up to date.
    at: Instant,
    /// When the rate was last cut: answers to calls of the same burst cut it once.
    cut_at: Option<Instant>,
}

impl Slowed {
    /// The full rate.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            factor: 1.0,
            temporary: None,
            at: now,
            cut_at: None,
        }
    }

    /// Calls per second in force; `None` is no limit.
    pub(super) fn rate(&mut self, set: Option<f64>, now: Instant) -> Option<f64> {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.factor = (self.factor + seconds * RECOVERY_PER_SECOND).min(1.0);
        let grown =
            |(rate, end): (f64, f64)| (rate * (1.0 + RECOVERY_PER_SECOND).powf(seconds), end);
        self.temporary = self.temporary.map(grown).filter(|(rate, end)| rate < end);
        set.map(|rate| rate * self.factor)
            .or(self.temporary.map(|(rate, _)| rate))
    }

    /// The upstream said "too many", after this many calls were taken in the last second.
    pub(super) fn cut(&mut self, set: Option<f64>, taken: f64, now: Instant) {
        self.rate(set, now);
        let recently = |at: Instant| now.saturating_duration_since(at) < SECOND;
        if self.cut_at.is_some_and(recently) {
            return;
        }
        self.cut_at = Some(now);
        if set.is_some() {
            self.factor = (self.factor / 2.0).max(LEAST_FACTOR);
            return;
        }
        let rate = match self.temporary {
            None => taken,
            Some((rate, _)) => taken.clamp(rate / 2.0, rate * STEP_BACK),
        };
        let rate = rate.max(LEAST_RATE);
        let end = self.temporary.map_or(0.0, |(_, end)| end);
        self.temporary = Some((rate, end.max(2.0 * rate)));
    }
}

/// How many calls ended in about the last second without "too many".
#[derive(Debug)]
pub(super) struct Recent {
    /// When the present second began.
    since: Instant,
    /// What was taken in the present second and in the one before.
    taken: [f64; 2],
}

impl Recent {
    pub(super) fn new(now: Instant) -> Self {
        let (since, taken) = (now, [0.0; 2]);
        Self { since, taken }
    }

    fn turn(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        if passed >= 2 * SECOND {
            *self = Self::new(now);
        } else if passed >= SECOND {
            self.since += SECOND;
            self.taken = [0.0, self.taken[0]];
        }
    }

    /// A call ended.
    pub(super) fn ended(&mut self, now: Instant) {
        self.turn(now);
        self.taken[0] += 1.0;
    }

    /// One that ended just now was answered with "too many".
    pub(super) fn refused(&mut self, now: Instant) {
        self.turn(now);
        self.taken[0] -= 1.0;
    }

    /// What was taken; of the second before as much as is not yet over.
    pub(super) fn last_second(&mut self, now: Instant) -> f64 {
        self.turn(now);
        let left = 1.0 - now.saturating_duration_since(self.since).as_secs_f64();
        (self.taken[0] + self.taken[1] * left).max(0.0)
    }
}
