//! Write A: once, whoever asks, however often.

use super::*;
use crate::domain::{Button, Header};

#[tokio::test]
async fn an_id_is_stored_once_whatever_it_holds() {
    let rig = Rig::new();
    assert_eq!(rig.accept("m1", 1, 0).await, Accepted::Stored);
    let same = |same| Accepted::Repeat { same };
    assert_eq!(rig.accept("m1", 1, 9).await, same(true));
    let mut other = message("m1", 1);
    other.template.body = vec!["Eve".into()];
    assert_eq!(rig.accept_on("a", &other, 9).await, same(false));
    assert_eq!(rig.accept_on("b", &other, 9).await, Accepted::Stored);
    assert_eq!(rig.record("m1").await.message, message("m1", 1));
    assert_eq!(rig.ledger().accepted, 1);
    rig.check(&["a", "b"]);
}

/// The same text to another person is other content.
#[tokio::test]
async fn a_repeat_to_another_person_is_not_the_same() {
    let rig = Rig::new();
    rig.accept("m1", 1, 0).await;
    assert_eq!(
        rig.accept("m1", 2, 0).await,
        Accepted::Repeat { same: false }
    );
}

#[tokio::test]
async fn a_repeat_is_a_repeat_whatever_became_of_the_first() {
    let rig = Rig::new();
    let repeat = Accepted::Repeat { same: true };
    let ends = [
        receipt("P1"),
        Settlement::Failed(refusal()),
        unknown_until(600),
        Settlement::Retry { due: at(9) },
    ];
    for (number, end) in ends.into_iter().enumerate() {
        let id = format!("m{number}");
        let handle = rig.attempt(&id, 1, 0).await;
        assert_eq!(rig.accept(&id, 1, 0).await, repeat);
        rig.settle(handle, end, 0).await;
        assert_eq!(rig.accept(&id, 1, 0).await, repeat);
    }
    let id = MsgId::parse("m0").unwrap();
    assert!(rig.store.is_accepted(&channel("a"), &id).await.unwrap());
    assert!(!rig.store.is_accepted(&channel("b"), &id).await.unwrap());
    assert_eq!(rig.ledger().accepted, 4);
    rig.check(&["a"]);
}

#[tokio::test]
async fn who_opted_out_gets_nothing_new() {
    let rig = Rig::new();
    rig.accept("m1", 1, 0).await;
    rig.events(vec![Incoming::Reply(reply(1, " Stop! "))], 1)
        .await;
    assert_eq!(rig.accept("m2", 1, 2).await, Accepted::OptedOut);
    assert_eq!(
        rig.accept("m1", 1, 2).await,
        Accepted::Repeat { same: true },
        "what was accepted before stays accepted"
    );
    assert_eq!(rig.accept("m3", 2, 2).await, Accepted::Stored);
    assert_eq!(
        rig.accept_on("b", &message("m2", 1), 2).await,
        Accepted::Stored
    );
    assert_eq!(rig.ledger().accepted, 2);
    rig.events(vec![Incoming::Reply(reply(1, "start"))], 3)
        .await;
    assert_eq!(
        rig.accept("m2", 1, 4).await,
        Accepted::Stored,
        "a refusal is not remembered"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_store_one() {
    let rig = Rig::new();
    let all = (0..200).map(|number| {
        let store = rig.store.clone();
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
    assert_eq!((stored, rig.ledger().accepted), (1, 1));
    rig.check(&["a"]);
}

#[tokio::test]
async fn a_message_comes_back_as_it_went_in() {
    let rig = Rig::new();
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
    rig.accept_on("a", &whole, 5).await;
    let claimed = rig.claim(5).await.remove(0);
    assert_eq!(claimed.message, whole);
    assert_eq!((claimed.attempt, claimed.accepted_at), (1, at(5)));
    let rig = rig.reopened();
    assert_eq!(rig.record("m1").await.message, whole);
}

#[tokio::test]
async fn one_bad_piece_fails_alone() {
    let rig = Rig::new();
    let beside = testing::beside(rig.dir.path());
    beside
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON message WHEN NEW.msg_id = 'bad'
             BEGIN SELECT RAISE(ABORT, 'broken'); END;",
        )
        .unwrap();
    let (channel, account) = (channel("a"), account());
    let messages: Vec<_> = ["m1", "bad", "m2"].map(|id| message(id, 1)).into();
    let (one, bad, two) = tokio::join!(
        rig.store.accept(&channel, &account, &messages[0], at(0)),
        rig.store.accept(&channel, &account, &messages[1], at(0)),
        rig.store.accept(&channel, &account, &messages[2], at(0)),
    );
    assert_eq!(
        (one.unwrap(), two.unwrap()),
        (Accepted::Stored, Accepted::Stored)
    );
    assert!(bad.unwrap_err().to_string().contains("broken"));
    assert_eq!(rig.ledger().accepted, 2);
    rig.check(&["a"]);
    beside.execute_batch("DROP TRIGGER refuse").unwrap();
    assert_eq!(rig.accept("bad", 1, 0).await, Accepted::Stored);
}
