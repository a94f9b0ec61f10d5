//! What is still there after the process has ended, and whose it is then.

use super::*;

stories! {
    what_was_stored_is_there_after_a_restart,
    what_a_dead_process_was_relaying_is_handed_out_again,
    settings_outlive_the_process,
    people_find_a_message_by_any_of_its_names,
}

async fn what_was_stored_is_there_after_a_restart(new: NewWorld) {
    let world = new();
    world.sent("m1", 1, "P1", 0).await;
    world.lost("m2", 2, 0, 600).await;
    world.attempt("m3", 3, 0).await;
    world.accept("m4", 4, 0).await;
    world.event("P1", Status::Sent, None, 1).await;
    let before = world.ledger().await;
    let world = world.reopened();
    assert_eq!(world.ledger().await, before);
    let world = world.died(5, 600).await;
    let record = world.record("m3").await;
    assert_eq!((record.state, record.due), (State::Unknown, Some(at(605))));
    let world = world.died(6, 600).await;
    assert_eq!(
        world.record("m3").await.due,
        Some(at(605)),
        "once is enough"
    );
    let ledger = world.ledger().await;
    assert_eq!((ledger.attempting, ledger.unknown), (0, before.unknown + 1));
    assert_eq!(world.statuses(6).await, ["m1 sent"]);
    assert_eq!(world.claim(6).await.len(), 1);
    world.check().await;
}

async fn what_a_dead_process_was_relaying_is_handed_out_again(new: NewWorld) {
    let world = new();
    for number in 1..=2 {
        let id = format!("P{number}");
        world.sent(&format!("m{number}"), number, &id, 0).await;
        world.event(&id, Status::Sent, None, 1).await;
    }
    let queue = lane("a", Destination::Status);
    let first = world.callbacks(&queue, 5).await;
    assert_eq!(first.len(), 2);
    let later = RelayOutcome::Later { due: at(60) };
    world.end(&queue, first[0].handle, later, 5).await;
    let world = world.died(6, 600).await;
    let again = world.callbacks(&queue, 60).await;
    let mut tries: Vec<_> = again.iter().map(|one| one.tries).collect();
    tries.sort_unstable();
    assert_eq!(tries, [0, 1]);
    assert!(world.callbacks(&queue, 60).await.is_empty(), "once each");
    world.check().await;
}

async fn settings_outlive_the_process(new: NewWorld) {
    let world = new();
    let paused = Some("yes".to_owned());
    assert_eq!(world.store.load_setting("paused:a").await.unwrap(), None);
    let saved = world.store.save_setting("paused:a", paused.clone());
    saved.await.unwrap();
    let world = world.reopened();
    assert_eq!(world.store.load_setting("paused:a").await.unwrap(), paused);
    assert_eq!(world.store.load_setting("paused:b").await.unwrap(), None);
    let saved = world.store.save_setting("paused:a", None);
    saved.await.unwrap();
    assert_eq!(world.store.load_setting("paused:a").await.unwrap(), None);
}

async fn people_find_a_message_by_any_of_its_names(new: NewWorld) {
    let world = new();
    world.sent("m1", 1, "P1", 0).await;
    world.accept("m2", 1, 1).await;
    let find = async |search, most| -> Vec<String> {
        let found: Vec<Record> = world.store.find(search, most).await.unwrap();
        let names = found.iter().map(|one| one.message.msg_id.to_string());
        names.collect()
    };
    let by_id = |name| Search::MsgId(channel(name), "m1".into());
    assert_eq!(find(by_id("a"), 9).await, ["m1"]);
    assert!(find(by_id("b"), 9).await.is_empty());
    let by_provider = Search::ProviderId(account(), "P1".into());
    assert_eq!(find(by_provider, 9).await, ["m1"]);
    assert_eq!(find(Search::Phone(phone(1)), 9).await, ["m2", "m1"]);
    assert_eq!(find(Search::Phone(phone(1)), 1).await, ["m2"]);
}
