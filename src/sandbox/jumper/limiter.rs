//! The fake's rate limit and what it saw of the calls' arrivals. Pure: the time is an argument,
//! in nanoseconds since the sandbox started. Memory is bounded by one second of calls.

use std::collections::VecDeque;

use super::modes::RateMode;
use crate::sandbox::knobs::Knobs;

const SECOND: u64 = 1_000_000_000;

/// Decides for one merchant whether a call is within the rate.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    /// Allowed calls of the last second (bucket mode).
    recent: VecDeque<u64>,
    /// Theoretical arrival time of the next call (spaced mode).
    next: u64,
}

impl Limiter {
    /// Whether a call at `now` is allowed; one that is not consumes nothing (contracts/jumper.md 7, point 3).
    pub(super) fn allow(&mut self, knobs: &Knobs, now: u64) -> bool {
        let rate = knobs.rate_per_second;
        if rate <= 0.0 {
            return true;
        }
        let grace = knobs.rate_grace_ms * 1_000_000;
        let interval = (SECOND as f64 / rate) as u64;
        match knobs.rate_mode {
            RateMode::Bucket => self.bucket(
                rate.max(1.0) as usize,
                interval.max(SECOND) - grace.min(SECOND),
                now,
            ),
            RateMode::Spaced => self.spaced(interval, grace, now),
        }
    }

    fn bucket(&mut self, most: usize, window: u64, now: u64) -> bool {
        while self.recent.front().is_some_and(|&at| at + window <= now) {
            self.recent.pop_front();
        }
        let allowed = self.recent.len() < most;
        if allowed {
            self.recent.push_back(now);
        }
        allowed
    }

    fn spaced(&mut self, interval: u64, grace: u64, now: u64) -> bool {
        let allowed = now + grace >= self.next;
        if allowed {
            self.next = self.next.max(now) + interval;
        }
        allowed
    }
}

/// When calls arrived: the most seen in any half-open sliding second.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Arrivals {
    window: VecDeque<u64>,
    pub(in crate::sandbox) most: usize,
    pub(in crate::sandbox) calls: u64,
    pub(in crate::sandbox) limited: u64,
    pub(in crate::sandbox) first_ms: Option<u64>,
    pub(in crate::sandbox) last_ms: Option<u64>,
}

impl Arrivals {
    /// Notes a call at `now` (nanoseconds) and at wall-clock `at_ms`.
    pub(super) fn note(&mut self, now: u64, at_ms: u64) {
        while self.window.front().is_some_and(|&at| at + SECOND <= now) {
            self.window.pop_front();
        }
        self.window.push_back(now);
        self.most = self.most.max(self.window.len());
        self.calls += 1;
        self.first_ms.get_or_insert(at_ms);
        self.last_ms = Some(at_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn knobs(rate: f64, mode: RateMode, grace: u64) -> Knobs {
        Knobs {
            rate_per_second: rate,
            rate_mode: mode,
            rate_grace_ms: grace,
            ..Knobs::default()
        }
    }

    #[test]
    fn a_bucket_takes_a_burst_then_waits_for_the_second_to_pass() {
        let knobs = knobs(10.0, RateMode::Bucket, 0);
        let mut limiter = Limiter::default();
        assert!((0..10).all(|n| limiter.allow(&knobs, n * MS)));
        assert!(!limiter.allow(&knobs, 20 * MS));
        assert!(!limiter.allow(&knobs, 999 * MS));
        assert!(limiter.allow(&knobs, 1000 * MS));
        assert!(!limiter.allow(&knobs, 1000 * MS));
    }

    #[test]
    fn spacing_refuses_a_burst_and_forgives_the_grace_once() {
        let knobs = knobs(10.0, RateMode::Spaced, 5);
        let mut limiter = Limiter::default();
        assert!(limiter.allow(&knobs, 0));
        assert!(!limiter.allow(&knobs, 94 * MS));
        assert!(limiter.allow(&knobs, 95 * MS));
        // The grace does not accumulate: the next slot is 200 ms, not 195.
        assert!(!limiter.allow(&knobs, 194 * MS));
        assert!(limiter.allow(&knobs, 195 * MS));
        assert!(limiter.allow(&knobs, 5_000 * MS));
        assert!(!limiter.allow(&knobs, 5_001 * MS));
    }

    #[test]
    fn less_than_one_call_a_second_is_possible_in_both_modes() {
        for mode in [RateMode::Bucket, RateMode::Spaced] {
            let knobs = knobs(0.5, mode, 0);
            let mut limiter = Limiter::default();
            assert!(limiter.allow(&knobs, 0));
            assert!(!limiter.allow(&knobs, 1_500 * MS));
            assert!(limiter.allow(&knobs, 2_000 * MS));
        }
    }

    #[test]
    fn no_rate_is_no_limit() {
        let knobs = knobs(0.0, RateMode::Bucket, 0);
        let mut limiter = Limiter::default();
        assert!((0..1000).all(|_| limiter.allow(&knobs, 0)));
    }

    #[test]
    fn arrivals_are_counted_over_a_half_open_second() {
        let mut arrivals = Arrivals::default();
        for n in 0..21 {
            arrivals.note(n * 100 * MS, 0);
        }
        assert_eq!((arrivals.most, arrivals.calls), (10, 21));
        arrivals.note(2_000 * MS, 0);
        assert_eq!(arrivals.most, 11);
        assert!(arrivals.window.len() <= 11);
    }
}
