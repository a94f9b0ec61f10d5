//! What anybody may make up is kept within bounds, and harms nothing that is true (cases R-67).

use super::*;
use crate::store::{MOST_EARLY, MOST_OF_ONE, MOST_OTHERS, StoreError};

stories! {
    r_67_statuses_of_nothing_make_room_for_newer_ones,
    r_67_of_one_message_a_few_statuses_are_kept,
    r_67_what_is_kept_for_people_makes_room_for_newer,
    r_72_what_the_caller_gave_up_is_not_begun,
}

/// More than a look finds too many may stand between two looks.
const BETWEEN: u32 = 1500;

async fn left(world: &World) -> (u32, u32) {
    let purged = world.store.purge(at(0), at(1_000_000)).await.unwrap();
    (purged.early_statuses as u32, purged.others as u32)
}

async fn r_67_statuses_of_nothing_make_room_for_newer_ones(new: NewWorld) {
    let world = new();
    let claimed = world.attempt("m1", 1, 0).await;
    world.event("P1", Status::Sent, None, 1).await;
    let mut gone = 0;
    for from in (0..MOST_EARLY + 2 * BETWEEN).step_by(500) {
        let ids = from..from + 500;
        let events = ids.map(|n| event(&format!("none-{n}"), Status::Sent, Some(2)));
        gone += world.events(events.collect(), 2).await.crowded_out;
    }
    gone += world
        .event("P1", Status::Delivered, None, 3)
        .await
        .crowded_out;
    // The first status of the message went with the oldest, the newest is told.
    let folded = world.settle(&claimed, receipt("P1"), 4).await;
    assert_eq!((folded.emitted, folded.superseded), (1, 0));
    assert_eq!(world.ledger().await.expired_events, i64::from(gone));
    let (early, _) = left(&world).await;
    assert!(
        (MOST_EARLY - 1..=MOST_EARLY + BETWEEN).contains(&early),
        "{early} are kept"
    );
    assert_eq!(early + gone, MOST_EARLY + 2 * BETWEEN + 1);
    world.check().await;
}

async fn r_67_of_one_message_a_few_statuses_are_kept(new: NewWorld) {
    let world = new();
    for person in 0..50 {
        for status in Status::ALL {
            world.event("P1", status, Some(person), 1).await;
        }
    }
    assert_eq!(left(&world).await, (MOST_OF_ONE, 0));
    world.check().await;
}

async fn r_67_what_is_kept_for_people_makes_room_for_newer(new: NewWorld) {
    let world = new();
    for from in (0..MOST_OTHERS + 2 * BETWEEN).step_by(100) {
        let other = |n| Incoming::Other {
            kind: "media",
            raw: format!("{{\"n\":{n}}}"),
            times: 1,
        };
        world
            .events((from..from + 100).map(other).collect(), 1)
            .await;
    }
    let (_, others) = left(&world).await;
    assert!(
        (MOST_OTHERS..=MOST_OTHERS + BETWEEN).contains(&others),
        "{others} are kept"
    );
    world.check().await;
}

async fn r_72_what_the_caller_gave_up_is_not_begun(new: NewWorld) {
    let world = new();
    let events = vec![event("P1", Status::Sent, Some(1))];
    let rules = std::sync::Arc::new(rules("a"));
    let late = world
        .store
        .take_events(rules, events, at(1), tokio::time::Instant::now());
    assert!(matches!(late.await, Err(StoreError::Unavailable(_))));
    assert_eq!(left(&world).await, (0, 0));
}
