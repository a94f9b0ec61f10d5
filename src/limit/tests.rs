//! The limiter on paused time, and its slots by property.

use super::*;
use proptest::prelude::*;

const TOLERANCE: Duration = Duration::from_millis(4);

fn limiter(per_second: f64, concurrency: usize) -> Limiter {
    Limiter::new(
        Pace {
            per_second: Some(per_second),
            concurrency,
        },
        TOLERANCE,
    )
}

/// The most starts in any half-open second.
fn crowd(starts: &[Instant]) -> usize {
    let second = Duration::from_secs(1);
    let within = |from: &Instant| {
        starts
            .iter()
            .filter(|at| **at >= *from && **at < *from + second)
            .count()
    };
    starts.iter().map(within).max().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn under_backlog_the_rate_is_never_exceeded_and_nearly_all_used() {
    for rate in [1.0, 10.0, 80.0, 1000.0] {
        let limiter = limiter(rate, 10_000);
        // The first slot is an interval ahead, because of the process before this one.
        tokio::time::sleep(limiter.opens_in(Duration::ZERO).unwrap()).await;
        let begin = Instant::now();
        let mut starts = Vec::new();
        while begin.elapsed() < Duration::from_secs(5) {
            for mut permit in limiter.reserve(64, Duration::ZERO, Duration::from_millis(20)) {
                assert!(permit.start().await);
                starts.push(Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(
            crowd(&starts) <= rate as usize,
            "{rate}/s: {}",
            crowd(&starts)
        );
        let used = starts.len() as f64 / (5.0 * rate);
        assert!(used >= 0.99, "{rate}/s: {used}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_start_takes_a_new_slot() {
    let limiter = limiter(10.0, 10);
    tokio::time::advance(Duration::from_millis(200)).await;
    let mut permits = limiter.reserve(1, Duration::ZERO, Duration::ZERO);
    tokio::time::advance(Duration::from_millis(730)).await;
    let mut next = limiter.maintenance().await;
    assert!(next.start().await);
    let before = Instant::now();
    assert!(permits[0].start().await);
    assert!(before.elapsed() >= Duration::from_millis(98));
}

#[tokio::test(start_paused = true)]
async fn a_late_start_that_nobody_follows_costs_only_its_lateness() {
    let limiter = limiter(10.0, 10);
    tokio::time::advance(Duration::from_millis(200)).await;
    let mut permits = limiter.reserve(1, Duration::ZERO, Duration::ZERO);
    tokio::time::advance(Duration::from_millis(30)).await;
    let before = Instant::now();
    assert!(permits[0].start().await);
    assert_eq!(before.elapsed(), Duration::ZERO);
    let wait = limiter.opens_in(Duration::ZERO).unwrap();
    assert!(wait >= Duration::from_millis(98), "{wait:?}");
}

#[tokio::test(start_paused = true)]
async fn a_late_start_does_not_wait_for_a_slot_far_away() {
    let limiter = limiter(10.0, 10);
    tokio::time::advance(Duration::from_millis(200)).await;
    let mut permits = limiter.reserve(1, Duration::ZERO, Duration::ZERO);
    limiter.slow_down(Some(Duration::from_secs(600)));
    tokio::time::advance(Duration::from_millis(30)).await;
    assert!(!permits[0].start().await);
    assert_eq!(limiter.now().started, 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_process_leaves_room_for_the_last_call_of_the_old_one() {
    assert!(
        limiter(10.0, 10)
            .reserve(1, Duration::ZERO, Duration::ZERO)
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn an_unused_permit_gives_its_slot_back() {
    let limiter = limiter(10.0, 10);
    tokio::time::advance(Duration::from_millis(200)).await;
    drop(limiter.reserve(1, Duration::ZERO, Duration::ZERO));
    assert_eq!(limiter.opens_in(Duration::ZERO), Some(Duration::ZERO));
    assert_eq!(limiter.now().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn calls_at_once_are_bounded() {
    let limiter = Limiter::new(
        Pace {
            per_second: None,
            concurrency: 3,
        },
        TOLERANCE,
    );
    let held = limiter.reserve(10, Duration::ZERO, Duration::ZERO);
    assert_eq!(held.len(), 3);
    assert_eq!(limiter.opens_in(Duration::ZERO), None);
    let room = limiter.room();
    drop(held);
    room.await;
    assert_eq!(limiter.reserve(10, Duration::ZERO, Duration::ZERO).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn too_many_halves_once_a_burst_and_recovers() {
    let limiter = limiter(10.0, 10);
    for _ in 0..5 {
        limiter.slow_down(None);
    }
    assert_eq!(limiter.now().effective, Some(5.0));
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(limiter.now().effective, Some(10.0));
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured() {
    let limiter = limiter(10.0, 10);
    limiter.slow_down(Some(Duration::from_secs(7)));
    let before = Instant::now();
    drop(limiter.maintenance().await);
    assert!(before.elapsed() >= Duration::from_secs(7));
}

proptest! {
    #[test]
    fn slots_never_crowd_a_second(rate in 1u32..2000, gaps in prop::collection::vec(0u64..50, 1..300)) {
        let now = Instant::now();
        let mut gate = Gate {
            pace: Pace { per_second: Some(f64::from(rate)), concurrency: 1 },
            factor: 1.0, factor_at: now, halved_at: None, next: now,
            not_before: None, in_flight: 0, started: 0,
        };
        let (mut at, mut starts) = (now, Vec::new());
        for gap in gaps {
            at += Duration::from_millis(gap);
            let slot = gate.take_slot(at, TOLERANCE).unwrap();
            // The worst case: each call starts as late as it may, or exactly at its slot.
            starts.push(if gap % 2 == 0 { slot } else { slot + TOLERANCE });
        }
        starts.sort();
        prop_assert!(crowd(&starts) <= rate as usize);
    }
}
