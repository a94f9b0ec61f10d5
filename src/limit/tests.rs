//! The limiter of one process, on paused time.

use super::*;
use tokio::time::Instant;

pub(super) const TOLERANCE: Duration = Duration::from_millis(4);

fn limiter(per_second: f64, concurrency: usize) -> Limiter {
    Limiter::new(
        Pace {
            per_second: Some(per_second),
            concurrency,
        },
        TOLERANCE,
    )
}

const SECOND: Duration = Duration::from_secs(1);

/// The most starts in any half-open second.
pub(super) fn crowd(starts: &[Instant]) -> usize {
    let within = |from: &Instant| {
        starts
            .iter()
            .filter(|at| **at >= *from && **at < *from + SECOND)
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
            for mut permit in limiter
                .reserve(64, Duration::ZERO, Duration::from_millis(20))
                .await
            {
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
    let mut permits = limiter.reserve(1, Duration::ZERO, Duration::ZERO).await;
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
    let mut permits = limiter.reserve(1, Duration::ZERO, Duration::ZERO).await;
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
    let mut permits = limiter.reserve(1, Duration::ZERO, Duration::ZERO).await;
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
            .await
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn an_unused_permit_gives_its_slot_back() {
    let limiter = limiter(10.0, 10);
    tokio::time::advance(Duration::from_millis(200)).await;
    drop(limiter.reserve(1, Duration::ZERO, Duration::ZERO).await);
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
    let held = limiter.reserve(10, Duration::ZERO, Duration::ZERO).await;
    assert_eq!(held.len(), 3);
    assert_eq!(limiter.opens_in(Duration::ZERO), None);
    let room = limiter.room();
    drop(held);
    room.await;
    assert_eq!(
        limiter
            .reserve(10, Duration::ZERO, Duration::ZERO)
            .await
            .len(),
        3
    );
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

#[tokio::test(start_paused = true)]
async fn a_call_is_not_made_after_its_deadline() {
    let limiter = limiter(10.0, 10);
    tokio::time::advance(Duration::from_millis(200)).await;
    let mut permits = limiter.reserve(2, Duration::ZERO, SECOND).await;
    let now = Instant::now();
    permits[0].until(Some(now + Duration::from_millis(50)));
    assert!(permits[0].start().await);
    permits[1].until(Some(now + Duration::from_millis(50)));
    assert!(!permits[1].start().await, "its slot is 100 ms ahead");
    assert_eq!(limiter.now().started, 1);
}
