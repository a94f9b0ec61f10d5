//! One row with a value that no program of ours writes, in every column: the work on others goes on.

use super::*;
use crate::domain::{Reply, State};
use crate::store::{Dirty, Search};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Values that a column never has, as SQL. The file's tables are strict, so their types are right.
const NUMBERS: &[&str] = &["99", "-9223372036854775808", "9223372036854775807"];
const TEXTS: &[&str] = &["''", "'{}'", "CAST(x'fffe00' AS TEXT)"];

type Columns = &'static [(&'static str, &'static [&'static str])];

const MESSAGE: Columns = &[
    ("channel", TEXTS),
    ("msg_id", TEXTS),
    ("account", TEXTS),
    ("recipient", NUMBERS),
    ("state", NUMBERS),
    ("due", NUMBERS),
    ("accepted_at", NUMBERS),
    ("attempts", NUMBERS),
    ("seen", NUMBERS),
    ("settled_at", NUMBERS),
    ("resent", NUMBERS),
    ("lost", NUMBERS),
    ("progress", NUMBERS),
    ("provider_id", TEXTS),
    ("conversation", TEXTS),
    ("inferred", NUMBERS),
    ("body", TEXTS),
    ("taps", TEXTS),
    ("history", TEXTS),
    ("version", NUMBERS),
];

const EVENT: Columns = &[
    ("account", TEXTS),
    ("channel", TEXTS),
    ("kind", TEXTS),
    ("provider_id", TEXTS),
    ("recipient", NUMBERS),
    ("status", TEXTS),
    ("at", NUMBERS),
    ("received_at", NUMBERS),
    ("error", TEXTS),
    ("raw", TEXTS),
    ("asked", NUMBERS),
];

const CALLBACK: Columns = &[
    ("channel", TEXTS),
    ("lane", NUMBERS),
    ("ord", NUMBERS),
    ("message", NUMBERS),
    ("ready", NUMBERS),
    ("due", NUMBERS),
    ("tries", NUMBERS),
    ("created", NUMBERS),
    ("body", TEXTS),
    ("reason", TEXTS),
];

type Damage = Box<dyn Fn(&Rig)>;

/// Runs a story once for each damage to the row of `table` that `which` names, and tells which of
/// them broke it.
fn with_each_damage<F: Future<Output = ()>>(
    (table, which, columns): (&str, &str, Columns),
    story: impl Fn(Rig, Damage) -> F,
) {
    let mut broken = Vec::new();
    for (column, values) in columns {
        for value in *values {
            let sql = format!("UPDATE {table} SET {column} = {value} WHERE {which}");
            let damage: Damage = Box::new(move |rig| {
                let beside = testing::beside(rig.dir.path());
                assert_eq!(beside.execute(&sql, []).unwrap(), 1);
            });
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let told = catch_unwind(AssertUnwindSafe(|| {
                runtime.block_on(story(Rig::new(), damage));
            }));
            if let Err(why) = told {
                let why = why.downcast_ref::<String>().cloned().unwrap_or_default();
                broken.push(format!("{column} = {value}: {why}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

const BAD: (&str, &str, Columns) = ("message", "msg_id = 'bad'", MESSAGE);

/// `m1`, `bad` and `m3` to a person each.
async fn accept_three(rig: &Rig) {
    for (id, to) in [("m1", 1), ("bad", 2), ("m3", 3)] {
        rig.accept(id, to, 0).await;
    }
}

#[test]
fn a_damaged_message_in_the_queue_holds_back_nobody() {
    with_each_damage(BAD, async |rig, damage| {
        accept_three(&rig).await;
        damage(&rig);
        let mut taken = rig.claims(&["a"], 9, 100).await.taken;
        taken.extend(rig.claims(&["a"], 9, 100).await.taken);
        for (id, provider_id) in [("m1", "P1"), ("m3", "P3")] {
            let one = taken.iter().find(|one| one.message.msg_id.as_str() == id);
            rig.settle(one.expect(id), receipt(provider_id), 100).await;
        }
        rig.sweep(false, 100 + 2 * DAY).await;
        rig.event("P1", Status::Sent, None, 101).await;
        let told = rig.statuses(103 + 2 * DAY).await;
        assert!(told.contains(&"m1 sent".into()), "{told:?}");
        assert_eq!(rig.state("m3").await, State::Accepted);
        rig.store.purge(at(3 * DAY), at(3 * DAY)).await.unwrap();
    });
}

/// What is known of it decides: it is failed, and MoEngage is told, while that can be said.
#[tokio::test]
async fn a_message_to_nobody_is_reported_and_one_without_a_name_is_set_aside() {
    let rig = Rig::new();
    accept_three(&rig).await;
    let beside = testing::beside(rig.dir.path());
    let damage = "UPDATE message SET recipient = 7 WHERE msg_id = 'm1';
                  UPDATE message SET msg_id = '' WHERE msg_id = 'bad';";
    beside.execute_batch(damage).unwrap();
    let claims = rig.claims(&["a"], 9, 100).await;
    assert_eq!(claims.taken.len(), 1);
    assert_eq!(claims.failed[0].1.as_str(), "m1");
    assert_eq!(rig.statuses(100).await, ["m1 failed"]);
    let ledger = rig.ledger().await;
    assert_eq!((ledger.queued, ledger.failed), (0, 2));
    rig.check().await;
}

#[test]
fn a_damaged_attempt_does_not_stop_the_start() {
    with_each_damage(BAD, async |rig, damage| {
        accept_three(&rig).await;
        rig.claims(&["a"], 9, 1).await;
        damage(&rig);
        let Rig { world, dir, store } = rig;
        drop(store);
        let world = world.died(2, 600).await;
        for id in ["m1", "m3"] {
            assert_eq!(world.state(id).await, State::Unknown);
        }
        world.event("P3", Status::Sent, Some(3), 3).await;
        world.sweep(false, 700).await;
        assert_eq!(world.state("m1").await, State::Failed);
        assert_eq!(world.state("m3").await, State::Accepted);
        drop(dir);
    });
}

#[test]
fn a_damaged_unknown_message_does_not_stop_the_sweep() {
    with_each_damage(BAD, async |rig, damage| {
        for (id, to) in [("m1", 1), ("bad", 2), ("m3", 3)] {
            rig.lost(id, to, 0, 600).await;
        }
        damage(&rig);
        rig.event("P2", Status::Sent, Some(2), 1).await;
        for seconds in [700, 701, 2 * DAY] {
            rig.sweep(false, seconds).await;
        }
        for id in ["m1", "m3"] {
            assert_eq!(rig.state(id).await, State::Failed);
        }
    });
}

#[test]
fn a_damaged_message_does_not_spoil_the_statuses_of_others() {
    with_each_damage(BAD, async |rig, damage| {
        for (id, to, provider_id) in [("m1", 1, "P1"), ("bad", 2, "P2"), ("m3", 3, "P3")] {
            rig.sent(id, to, provider_id, 0).await;
        }
        damage(&rig);
        let events = ["P1", "P2", "P3"].map(|id| event(id, Status::Sent, None));
        rig.events(events.to_vec(), 1).await;
        let told = rig.statuses(2).await;
        for one in ["m1 sent", "m3 sent"] {
            assert!(told.contains(&one.into()), "{told:?}");
        }
        let quoting = Reply {
            context: Some(provider_id("P2")),
            ..reply(2, "hello")
        };
        let replies = [reply(2, "hello"), quoting, reply(3, "hi"), reply(4, "STOP")];
        let folded = rig.events(replies.map(Incoming::Reply).to_vec(), 3).await;
        assert!(folded.replies >= 1 && folded.opted_out == 1, "{folded:?}");
        let search = Search::Phone(phone(1));
        assert_eq!(rig.world.store.find(search, 9).await.unwrap().len(), 1);
    });
}

#[test]
fn a_damaged_early_status_does_not_spoil_others() {
    let which = ("event", "provider_id = 'P2'", EVENT);
    with_each_damage(which, async |rig, damage| {
        accept_three(&rig).await;
        for (id, to) in [("P1", 1), ("P2", 2), ("P3", 3)] {
            rig.event(id, Status::Sent, Some(to), 1).await;
        }
        damage(&rig);
        let unmatched = rig.world.store.unmatched(&account(), at(2), 9).await;
        let unmatched = unmatched.unwrap();
        for id in ["P1", "P3"] {
            assert!(unmatched.iter().any(|one| one.provider_id.as_str() == id));
        }
        for one in rig.claim(2).await {
            let id = match one.message.msg_id.as_str() {
                "m1" => "P1",
                "m3" => "P3",
                _ => "P2",
            };
            rig.settle(&one, receipt(id), 3).await;
        }
        let told = rig.statuses(4).await;
        for one in ["m1 sent", "m3 sent"] {
            assert!(told.contains(&one.into()), "{told:?}");
        }
        rig.store.purge(at(9), at(9)).await.unwrap();
    });
}

#[test]
fn a_damaged_callback_holds_back_no_other() {
    let which = ("callback", "id = 2", CALLBACK);
    with_each_damage(which, async |rig, damage| {
        for (id, to, provider_id) in [("m1", 1, "P1"), ("bad", 2, "P2"), ("m3", 3, "P3")] {
            rig.sent(id, to, provider_id, 0).await;
            rig.event(provider_id, Status::Sent, None, 1).await;
        }
        damage(&rig);
        let queue = lane("a", Destination::Status);
        let told = rig.statuses(2).await;
        for one in ["m1 sent", "m3 sent"] {
            assert!(told.contains(&one.into()), "{told:?}");
        }
        rig.world.store.next_callback_due(&queue).await.unwrap();
        rig.world
            .store
            .hasten_callbacks(&queue, at(3))
            .await
            .unwrap();
        assert!(rig.callbacks(&queue, 4).await.len() <= 1);
        rig.record("m1").await;
        rig.record("bad").await;
    });
}

#[test]
fn a_damaged_message_holds_back_no_record() {
    with_each_damage(BAD, async |rig, damage| {
        let Rig { world, store, dir } = rig;
        drop(store);
        let world = world.marking();
        for (id, to) in [("m1", 1), ("bad", 2), ("m3", 3)] {
            world.accept(id, to, 0).await;
        }
        let Outbox::Embedded(store) = world.store.clone() else {
            unreachable!("the world of this test")
        };
        let rig = Rig { world, store, dir };
        damage(&rig);
        let dirty = rig.world.store.take_dirty(&account(), 9, at(1)).await;
        let dirty = dirty.unwrap();
        for id in ["m1", "m3"] {
            let found = |one: &Dirty| one.record.message.msg_id.as_str() == id;
            assert!(dirty.iter().any(found), "{id}");
        }
    });
}
