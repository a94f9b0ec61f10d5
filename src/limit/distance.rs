//! How far away Redis is, and what that leaves of the rate. Arithmetic only.
//!
//! Slots are taken ahead, but no further than a second: where asking takes long, some pass before they
//! could be asked for. And each call has its place among those at once from when its slot was granted.

use super::RateNow;
use super::slot::FURTHEST;
use crate::domain::AccountId;
use std::time::Duration;

/// Up to this round trip the rate is kept.
const KEPT: Duration = Duration::from_millis(100);
/// Who was told of a longer one is told again after one that was shorter than this.
const NEAR: Duration = Duration::from_millis(90);
/// Up to this one, what is lost is not lost by it.
const NO_MATTER: Duration = Duration::from_millis(20);
/// A longer way to Redis is not made up for, so that no slot is ever a second ahead.
const LONGEST: Duration = Duration::from_millis(300);
/// What more than this share of the rate is left counts as the rate.
const NEARLY_ALL: f64 = 0.95;

/// The way to Redis as it was lately.
#[derive(Debug)]
pub(super) struct Distance {
    /// How long asking takes, smoothed.
    trip: Duration,
    /// How long a place is taken before its call starts, smoothed.
    waits: Duration,
    /// How far ahead the slots begin that were asked for last.
    lead: Duration,
    reported: bool,
}

impl Distance {
    pub(super) fn new() -> Self {
        Self {
            trip: Duration::from_millis(1),
            waits: Duration::ZERO,
            lead: Duration::ZERO,
            reported: false,
        }
    }

    /// A round trip, as far as it is made up for.
    pub(super) fn trip(&self) -> Duration {
        self.trip.min(LONGEST)
    }

    /// Asking took so long; for slots from `lead` on, if for any.
    pub(super) fn asked(&mut self, took: Duration, lead: Option<Duration>) {
        self.trip = (self.trip * 7 + took) / 8;
        self.lead = lead.unwrap_or(self.lead);
    }

    /// A call started so long after its slot was granted.
    pub(super) fn started(&mut self, waited: Duration) {
        self.waits = (self.waits * 31 + waited) / 32;
    }

    /// What it leaves of this rate.
    pub(super) fn leaves(&self, rate: f64, concurrency: usize) -> f64 {
        if self.trip <= NO_MATTER {
            return rate;
        }
        // What is granted is claimed before the next question.
        let round = self.trip.as_secs_f64() * 2.0;
        let reach = FURTHEST.saturating_sub(self.lead).as_secs_f64();
        // The end of a call is told by the next question, and its place asked for by the one after.
        let held = (self.waits + self.trip * 2).as_secs_f64();
        let left = (rate * reach / round).min(concurrency as f64 / held);
        if left < rate * NEARLY_ALL { left } else { rate }
    }

    /// How far away Redis is, when that costs some of this rate.
    pub(super) fn costs(&self, effective: Option<f64>, concurrency: usize) -> Option<Duration> {
        let slows = effective.is_some_and(|rate| self.leaves(rate, concurrency) < rate);
        slows.then_some(self.trip)
    }

    /// Whether a person is to be told of it now: once, until it was near.
    pub(super) fn is_news(&mut self, costs: bool) -> bool {
        let far = self.trip > KEPT || costs;
        let near = self.trip < NEAR && !costs;
        let news = far && !self.reported;
        self.reported = !near && (self.reported || far);
        news
    }
}

/// Tells that the rate may not be reached, if that is news.
pub(super) fn tell(account: &AccountId, news: Option<(Duration, RateNow)>) {
    let Some((away, rate)) = news else {
        return;
    };
    let (away_ms, at_once) = (away.as_millis(), rate.set.concurrency);
    let rate = rate.effective.unwrap_or_default();
    tracing::warn!(%account, away_ms, rate, at_once,
        event = "redis_far_away",
        "Redis is far away: it takes so long to answer that fewer calls per second may start than are set; \
         move the gateway nearer to it, to 100 ms at most, or raise CONCURRENT_API_CALLS");
}
