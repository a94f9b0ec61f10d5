//! The limiter of one process, on paused time.

use super::*;
use tokio::time::Instant;

pub(super) const TOLERANCE: Duration = Duration::from_millis(4);

fn limiter(per_second: f64, concurrency: usize) -> Limiter {
    Limiter::new(
        Rate {
            per_second: Some(per_second),
            concurrency,
        },
        TOLERANCE,
    )
}

const SECOND: Duration = Duration::from_secs(1);

/// The most starts in any half-open second.
pub(super) fn crowd(starts: &[Instant]) -> usize {
    let mut starts = starts.to_vec();
    starts.sort();
    let until = |at: &Instant| starts.partition_point(|other| *other < *at + SECOND);
    let within = starts.iter().enumerate().map(|(n, at)| until(at) - n);
    within.max().unwrap_or(0)
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
async fn a_start_so_late_that_others_took_its_time_keeps_its_distance() {
    let limiter = limiter(10.0, 10);
    tokio::time::advance(Duration::from_millis(200)).await;
    let mut permits = limiter.reserve(1, Duration::ZERO, Duration::ZERO).await;
    tokio::time::advance(Duration::from_millis(730)).await;
    let next = limiter.maintenance().await;
    assert!(next.started().is_some());
    let before = Instant::now();
    assert!(permits[0].start().await);
    assert!(before.elapsed() >= Duration::from_millis(96));
}

#[tokio::test(start_paused = true)]
async fn a_late_start_costs_only_its_lateness() {
    let limiter = limiter(10.0, 10);
    tokio::time::advance(Duration::from_millis(200)).await;
    let mut permits = limiter
        .reserve(2, Duration::ZERO, Duration::from_millis(200))
        .await;
    tokio::time::advance(Duration::from_millis(30)).await;
    let before = Instant::now();
    assert!(permits[0].start().await);
    assert_eq!(before.elapsed(), Duration::ZERO);
    // The next one is moved as well, though it has its slot already.
    assert!(permits[1].start().await);
    let apart = before.elapsed().as_millis();
    assert!((96..=98).contains(&apart), "{apart}");
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
        Rate {
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

#[tokio::test(start_paused = true)]
async fn r_09_a_pause_ends_after_an_hour_at_most_or_when_an_operator_says_so() {
    let limiter = limiter(10.0, 10);
    limiter.wait(Duration::from_secs(100_000));
    let hour = Duration::from_secs(3600);
    assert_eq!(limiter.now().pause, Some(hour));
    assert_eq!(
        limiter.now().effective,
        Some(10.0),
        "the rate stays as it is"
    );
    let before = Instant::now();
    drop(limiter.maintenance().await);
    assert!((hour..hour + SECOND).contains(&before.elapsed()));
    let ends: [fn(&Limiter); 2] = [|limiter| limiter.set(limiter.now().set), Limiter::end_pause];
    for end in ends {
        limiter.wait(hour);
        assert!(limiter.reserve(1, SECOND, SECOND).await.is_empty());
        let waits = limiter.clone();
        let waiting = tokio::spawn(async move { drop(waits.maintenance().await) });
        tokio::time::sleep(SECOND * 10).await;
        assert!(!waiting.is_finished());
        let before = Instant::now();
        end(&limiter);
        waiting.await.unwrap();
        assert!(before.elapsed() <= SECOND, "{:?}", before.elapsed());
        assert_eq!(limiter.now().pause, None);
    }
}

#[tokio::test(start_paused = true)]
async fn r_09_a_long_pause_is_told_once() {
    let limiter = limiter(10.0, 10);
    let told = async || {
        tokio::time::timeout(Duration::ZERO, limiter.long_pause())
            .await
            .ok()
    };
    limiter.slow_down(Some(Duration::from_secs(60)));
    assert_eq!(told().await, None, "a minute is not long");
    for _ in 0..3 {
        limiter.slow_down(Some(Duration::from_secs(600)));
    }
    assert_eq!(told().await, Some(Duration::from_secs(600)));
    assert_eq!(told().await, None);
    tokio::time::sleep(Duration::from_secs(601)).await;
    limiter.wait(Duration::from_secs(61));
    assert!(told().await.is_some(), "the next one");
}

/// An upstream that takes ten calls per second; how many it refused in these seconds.
async fn refused_in(limiter: &Limiter, seconds: u32) -> usize {
    let (mut taken, mut refused) = (Vec::<Instant>::new(), 0);
    let end = Instant::now() + SECOND * seconds;
    while Instant::now() < end {
        for mut permit in limiter.reserve(5, Duration::ZERO, Duration::ZERO).await {
            assert!(permit.start().await);
            let now = Instant::now();
            drop(permit);
            if taken.iter().filter(|at| **at + SECOND > now).count() < 10 {
                taken.push(now);
            } else {
                refused += 1;
                limiter.slow_down(None);
            }
        }
        // waits because the clock is paused: this moves it
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let used = taken.len() as f64 / f64::from(10 * seconds);
    assert!(used > 0.8, "{used}");
    refused
}

#[tokio::test(start_paused = true)]
async fn r_10_without_a_rate_too_many_leads_to_the_rate_that_was_taken() {
    let rate = Rate {
        per_second: None,
        concurrency: 128,
    };
    let limiter = Limiter::new(rate, TOLERANCE);
    let refused = refused_in(&limiter, 60).await;
    assert!((1..60).contains(&refused), "{refused}");
    let now = limiter.now();
    assert_eq!(now.set.per_second, None);
    assert!(
        now.effective
            .is_some_and(|rate| (5.0..11.0).contains(&rate)),
        "{now:?}"
    );
    // No more complaints: it grows, and ends.
    tokio::time::sleep(SECOND * 60).await;
    assert_eq!(limiter.now().effective, None);
}

#[tokio::test(start_paused = true)]
async fn r_10_an_upstream_that_takes_nothing_is_asked_once_a_second() {
    let rate = Rate {
        per_second: None,
        concurrency: 10,
    };
    let limiter = Limiter::new(rate, TOLERANCE);
    for _ in 0..20 {
        limiter.slow_down(None);
        assert_eq!(limiter.now().effective, Some(1.0));
        tokio::time::sleep(SECOND).await;
    }
    limiter.set(rate);
    assert_eq!(limiter.now().effective, None, "an operator ends it");
}
