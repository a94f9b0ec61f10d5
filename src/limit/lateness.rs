//! How late calls start after their slots here, and how much of it is worth allowing. Pure.
//!
//! Where the rate is shared, nobody can move the slots that others have. So slots are further apart by
//! the lateness that is allowed: to allow 10 ms costs a hundredth of the rate, everybody's. A call that
//! comes later loses its slot. The best allowance is the one with which both together cost least: next
//! to nothing on a machine at rest, more on a busy one.

use std::time::Duration;

/// No more milliseconds than this are allowed (design.md section 4).
const MOST: usize = 50;
/// What a start weighs when the next one has come: about a thousand count.
const FORGET: f64 = 0.999;
/// Starts on time that are assumed at first, so that one late start alone does not decide.
const ASSUMED: f64 = 100.0;

/// The lateness of the last starts.
#[derive(Debug)]
pub(super) struct Lateness {
    /// How many were late by how many whole milliseconds; the last are all that were later.
    starts: [f64; MOST + 1],
}

impl Lateness {
    pub(super) fn new() -> Self {
        let mut starts = [0.0; MOST + 1];
        starts[0] = ASSUMED;
        Self { starts }
    }

    /// A call came so late after its slot.
    pub(super) fn saw(&mut self, late: Duration) {
        for start in &mut self.starts {
            *start *= FORGET;
        }
        let ms = usize::try_from(late.as_millis()).unwrap_or(MOST);
        self.starts[ms.min(MOST)] += 1.0;
    }

    /// The allowance that costs least.
    pub(super) fn worth_allowing(&self) -> Duration {
        let all: f64 = self.starts.iter().sum();
        let (mut lost, mut best) = (0.0, (f64::INFINITY, 0));
        for (ms, starts) in self.starts.iter().enumerate().rev() {
            // With so many milliseconds allowed, those that were later by a part of one are lost.
            lost += starts;
            let cost = lost / all + ms as f64 / 1000.0;
            if cost <= best.0 {
                best = (cost, ms);
            }
        }
        Duration::from_millis(best.1 as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(late: impl Iterator<Item = u64>) -> u64 {
        let mut lateness = Lateness::new();
        late.for_each(|ms| lateness.saw(Duration::from_millis(ms)));
        lateness.worth_allowing().as_millis() as u64
    }

    #[test]
    fn what_is_allowed_is_what_costs_least() {
        assert_eq!(after((0..3000).map(|_| 0)), 1);
        assert_eq!(after((0..3000).map(|n| n % 10)), 10);
        // One in fifty by 10 ms: cheaper than a lost slot. One in five hundred: dearer.
        assert_eq!(
            after((1..3000).map(|n| if n % 50 == 0 { 10 } else { 0 })),
            11
        );
        assert_eq!(
            after((1..3000).map(|n| if n % 500 == 0 { 10 } else { 0 })),
            1
        );
        // What is too late anyhow makes nobody slower.
        assert_eq!(
            after((0..3000).map(|n| if n % 2 == 0 { 900 } else { 0 })),
            1
        );
        assert_eq!(after((0..3000).map(|_| 70)), 1);
    }

    #[test]
    fn a_busy_minute_is_forgotten() {
        let busy = (0..1000).map(|n| n % 20);
        assert_eq!(after(busy.clone()), 20);
        assert_eq!(after(busy.chain((0..6000).map(|_| 0))), 1);
    }
}
