//! Write A: once, whoever asks, however often.

use super::*;
use crate::domain::{Button, Header};

stories! {
    an_id_is_stored_once_whatever_it_holds,
    a_repeat_to_another_person_is_not_the_same,
    a_repeat_is_a_repeat_whatever_became_of_the_first,
    who_opted_out_gets_nothing_new,
    a_message_comes_back_as_it_went_in;
    at_once: many_at_once_store_one,
}

async fn an_id_is_stored_once_whatever_it_holds(new: NewWorld) {
    let world = new();
    assert_eq!(world.accept("m1", 1, 0).await, Accepted::Stored);
    let same = |same| Accepted::Repeat { same };
    assert_eq!(world.accept("m1", 1, 9).await, same(true));
    let mut other = message("m1", 1);
    other.template.body = vec!["Eve".into()];
    assert_eq!(world.accept_on("a", &other, 9).await, same(false));
    assert_eq!(world.accept_on("b", &other, 9).await, Accepted::Stored);
    assert_eq!(world.record("m1").await.message, message("m1", 1));
    assert_eq!(world.ledger().await.accepted, 1);
    world.check().await;
}

/// The same text to another person is other content.
async fn a_repeat_to_another_person_is_not_the_same(new: NewWorld) {
    let world = new();
    world.accept("m1", 1, 0).await;
    assert_eq!(
        world.accept("m1", 2, 0).await,
        Accepted::Repeat { same: false }
    );
}

async fn a_repeat_is_a_repeat_whatever_became_of_the_first(new: NewWorld) {
    let world = new();
    let repeat = Accepted::Repeat { same: true };
    let ends = [
        receipt("P1"),
        Settlement::failed(refusal()),
        unknown_until(600),
        Settlement::retry(at(9)),
    ];
    for (number, end) in ends.into_iter().enumerate() {
        let id = format!("m{number}");
        let claimed = world.attempt(&id, 1, 0).await;
        assert_eq!(world.accept(&id, 1, 0).await, repeat);
        world.settle(&claimed, end, 0).await;
        assert_eq!(world.accept(&id, 1, 0).await, repeat);
    }
    let id = MsgId::parse("m0").unwrap();
    assert!(world.store.is_accepted(&channel("a"), &id).await.unwrap());
    assert!(!world.store.is_accepted(&channel("b"), &id).await.unwrap());
    assert_eq!(world.ledger().await.accepted, 4);
    world.check().await;
}

async fn who_opted_out_gets_nothing_new(new: NewWorld) {
    let world = new();
    world.accept("m1", 1, 0).await;
    world
        .events(vec![Incoming::Reply(reply(1, " Stop! "))], 1)
        .await;
    assert_eq!(
        world.accept("m2", 1, 2).await,
        Accepted::OptedOut(OptOut::All)
    );
    assert_eq!(
        world.accept("m1", 1, 2).await,
        Accepted::Repeat { same: true },
        "what was accepted before stays accepted"
    );
    assert_eq!(world.accept("m3", 2, 2).await, Accepted::Stored);
    assert_eq!(
        world.accept_on("b", &message("m2", 1), 2).await,
        Accepted::Stored
    );
    assert_eq!(world.ledger().await.accepted, 2);
    world
        .events(vec![Incoming::Reply(reply(1, "start"))], 3)
        .await;
    assert_eq!(
        world.accept("m2", 1, 4).await,
        Accepted::Stored,
        "a refusal is not remembered"
    );
}

async fn many_at_once_store_one(new: NewWorld) {
    let world = new();
    let all = (0..200).map(|number| {
        let store = world.store.clone();
        tokio::spawn(async move {
            let message = message("m1", 1);
            let (channel, account) = (channel("a"), account());
            let accepted = store.accept(&channel, &account, &message, at(number));
            accepted.await.unwrap()
        })
    });
    let mut stored = 0;
    for one in all.collect::<Vec<_>>() {
        match one.await.unwrap() {
            Accepted::Stored => stored += 1,
            other => assert_eq!(other, Accepted::Repeat { same: true }),
        }
    }
    assert_eq!((stored, world.ledger().await.accepted), (1, 1));
    world.check().await;
}

async fn a_message_comes_back_as_it_went_in(new: NewWorld) {
    let world = new();
    let mut whole = message("m1", 1);
    whole.campaign = Some("spring".into());
    whole.template.header = Some(Header::Document {
        link: "https://f.example/a.pdf".into(),
        filename: None,
    });
    whole.template.buttons = vec![
        Button::Url {
            index: 0,
            suffix: Some("x\n\u{0}\"".into()),
        },
        Button::QuickReply {
            index: 1,
            payload: None,
        },
    ];
    world.accept_on("a", &whole, 5).await;
    let claimed = world.claim(5).await.remove(0);
    assert_eq!(claimed.message, whole);
    assert_eq!((claimed.attempt, claimed.accepted_at), (1, at(5)));
    let world = world.reopened();
    assert_eq!(world.record("m1").await.message, whole);
}
