//! A connection that breaks under a call: the call is made again, so each step that is must do
//! no harm the second time; and what takes something is not made again.

use super::on_redis::OnRedis;
use super::road::Road;
use super::*;
use crate::store::redis::{self, Connection};
use crate::store::testing::RedisServer;
use crate::store::StoreError;
use std::rc::Rc;

/// A process whose answers can be lost, and another one beside it.
struct Way {
    road: Road,
    world: World,
    link: Connection,
    other: World,
}

impl Way {
    fn new() -> Self {
        let server = Rc::new(RedisServer::start());
        let (road, home) = (Road::to(&server), Rc::new(OnRedis::on(server)));
        let link = road.link();
        let open = |link| World {
            store: home.open_by(link),
            home: home.clone(),
        };
        let (other, world) = (open(home.server.link()), open(link.clone()));
        Self {
            road,
            world,
            link,
            other,
        }
    }

    /// Makes a call whose answer is lost; Redis knows its script, so that is one answer.
    async fn lose<T>(&self, call: impl Future<Output = T>) -> T {
        self.link.load_setting("none").await.unwrap();
        self.road.lose_next();
        let done = call.await;
        assert!(self.road.has_lost(), "no answer was lost");
        done
    }
}

#[tokio::test]
async fn r_59_a_message_whose_answer_was_lost_is_accepted_once() {
    let way = Way::new();
    way.world.accept("m0", 9, 0).await;
    let accepted = way.lose(way.world.accept("m1", 1, 1)).await;
    assert_eq!(accepted, Accepted::Repeat { same: true });
    assert_eq!(way.other.claim(2).await.len(), 2);
    assert_eq!(way.other.ledger().await.accepted, 2);
    way.other.check().await;
}

#[tokio::test]
async fn r_59_ends_events_and_callbacks_whose_answer_was_lost_count_once() {
    let way = Way::new();
    let (world, queue) = (&way.world, lane("a", Destination::Status));
    world.sent("m0", 9, "P0", 0).await;
    world.event("P0", Status::Sent, None, 0).await;
    assert_eq!(world.statuses(0).await, ["m0 sent"]);
    let claimed = world.attempt("m1", 1, 1).await;
    way.lose(world.settle(&claimed, receipt("P1"), 1)).await;
    assert_eq!(world.state("m1").await, State::Accepted);
    let folded = way.lose(world.event("P1", Status::Sent, None, 2)).await;
    assert_eq!((folded.emitted, folded.superseded), (0, 1), "the second time");
    way.lose(world.event("P2", Status::Read, Some(7), 2)).await;
    let told = world.callbacks(&queue, 3).await.remove(0);
    way.lose(world.end(&queue, told.handle, taken(), 3)).await;
    assert!(world.callbacks(&queue, 4).await.is_empty());
    let ledger = way.other.ledger().await;
    assert_eq!(ledger.callbacks_taken, 2);
    assert_eq!(ledger.accepted_by_provider, 2);
    way.other.check().await;
}

#[tokio::test]
async fn r_59_what_takes_something_is_not_asked_for_again_and_what_it_took_comes_back() {
    let way = Way::new();
    let (world, queue) = (&way.world, lane("a", Destination::Status));
    world.sent("m0", 9, "P0", 0).await;
    world.event("P0", Status::Sent, None, 0).await;
    assert_eq!(world.statuses(0).await, ["m0 sent"]);
    for (id, to) in [("m1", 1), ("m2", 2)] {
        world.accept(id, to, 1).await;
        world.event("P0", Status::Read, None, 1).await;
    }
    let from = ClaimFrom {
        channel: channel("a"),
        ages: at(-DAY).into(),
        retries: usize::MAX,
        aside: usize::MAX,
    };
    let claimed = way.lose(world.store.claim(vec![from], 1, at(2))).await;
    assert!(claimed.is_err(), "it would have taken the second one too");
    let relayed = way.lose(world.store.take_callbacks(&queue, 1, at(2))).await;
    assert!(relayed.is_err());
    assert_eq!(way.other.claim(3).await.len(), 1, "one was taken");
    assert!(way.other.callbacks(&queue, 3).await.is_empty(), "so is this");
    world.store.renew().await.unwrap();
    assert_eq!(world.claim(4).await.len(), 1, "it came back");
    assert_eq!(world.callbacks(&queue, 4).await.len(), 1);
    world.check().await;
}

#[tokio::test]
async fn r_59_locks_and_settings_whose_answer_was_lost_are_had() {
    let way = Way::new();
    let set = |name| way.link.save_setting(name, Some("1".into()));
    set("paused:b").await.unwrap();
    way.lose(set("paused:a")).await.unwrap();
    let seen = way.link.load_setting("paused:a").await.unwrap();
    assert_eq!(seen.as_deref(), Some("1"));
    let lock = async |work: &str| -> Result<bool, StoreError> {
        let taken = way.link.lock(&account(), work, false).await?;
        Ok(matches!(taken, redis::Taken::Ours(_)))
    };
    assert!(lock("warm").await.unwrap());
    assert!(way.lose(lock("refresh")).await.unwrap(), "it is ours");
    assert!(!lock("refresh").await.unwrap(), "and stays so");
}
