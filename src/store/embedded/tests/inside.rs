//! Rows that are damaged or broken on purpose, and what of a row only the file shows.

use super::*;
use crate::domain::{Message, Phone, Reply};

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
    assert_eq!(rig.ledger().await.accepted, 2);
    rig.check().await;
    beside.execute_batch("DROP TRIGGER refuse").unwrap();
    assert_eq!(rig.accept("bad", 1, 0).await, Accepted::Stored);
}

/// What cannot be read must not hold back its lane.
#[tokio::test]
async fn a_callback_that_cannot_be_read_becomes_a_dead_letter() {
    let rig = Rig::new();
    rig.sent("m1", 1, "P1", 0).await;
    for status in [Status::Sent, Status::Delivered, Status::Read] {
        rig.event("P1", status, None, 1).await;
    }
    rig.sent("m2", 2, "P2", 2).await;
    rig.event("P2", Status::Sent, None, 2).await;
    let damage = "UPDATE callback SET body = '{}' WHERE id = (SELECT min(id) FROM callback)";
    testing::beside(rig.dir.path()).execute(damage, []).unwrap();
    assert_eq!(
        rig.statuses(5).await,
        ["m2 sent", "m1 delivered", "m1 read"]
    );
    let ledger = rig.ledger().await;
    assert_eq!((ledger.callbacks_waiting, ledger.dead_letters), (0, 1));
    rig.check().await;
}

/// A row that cannot be read must not hold back its channel, nor the others of the account.
#[tokio::test]
async fn a_row_that_cannot_be_read_is_failed_and_blocks_nobody() {
    let rig = Rig::new();
    for (name, id) in [("a", "m0"), ("a", "m1"), ("b", "m0")] {
        rig.accept_on(name, &message(id, 1), 0).await;
    }
    let damage = "UPDATE message SET body = '{}' WHERE channel = 'a' AND msg_id = 'm0'";
    testing::beside(rig.dir.path()).execute(damage, []).unwrap();
    let claims = rig.claims(&["a", "b"], 9, 100).await;
    let taken = claims.taken.iter();
    let taken: Vec<_> = taken
        .map(|one| (one.channel.as_str(), one.message.msg_id.as_str()))
        .collect();
    assert_eq!(taken, [("a", "m1"), ("b", "m0")]);
    assert_eq!(claims.failed[0].1.as_str(), "m0");
    assert_eq!(rig.statuses(100).await, ["m0 failed"]);
    rig.check().await;
}

#[tokio::test]
async fn other_events_are_kept_whole() {
    let rig = Rig::new();
    let other = Incoming::Other {
        kind: "media",
        raw: "{}".into(),
        times: 1,
    };
    rig.events(vec![other], 0).await;
    let kept: String = testing::beside(rig.dir.path())
        .query_row("SELECT kind || raw FROM event", [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, "media{}");
}

#[tokio::test]
async fn a_history_does_not_grow_without_end() {
    let rig = Rig::new();
    rig.sent("m1", 1, "P1", 0).await;
    rig.event("P1", Status::Read, None, 1).await;
    let many = (0..2000).map(|_| event("P1", Status::Sent, None)).collect();
    rig.events(many, 2).await;
    let size: i64 = testing::beside(rig.dir.path())
        .query_row("SELECT length(history) FROM message", [], |row| row.get(0))
        .unwrap();
    assert!(size < 20_000, "{size}");
}

/// 0.1.0 wrote an opt-out under the one number that it saw.
#[tokio::test]
async fn r_18_an_opt_out_of_an_older_version_counts_for_both_numbers() {
    for (kept, to) in [
        (5_215_512_345_678_i64, 525_512_345_678),
        (551_187_654_321, 5_511_987_654_321),
    ] {
        let rig = Rig::new();
        testing::beside(rig.dir.path())
            .execute(
                "INSERT INTO opt_out (channel, phone, scope, at, account)
                 VALUES ('a', ?1, 0, 0, 'acc')",
                [kept],
            )
            .unwrap();
        let to = Phone::from_number(to).unwrap();
        let dialled = Message {
            to,
            ..message("m1", 1)
        };
        assert_eq!(
            rig.accept_on("a", &dialled, 1).await,
            Accepted::OptedOut(OptOut::All)
        );
        let start = Reply {
            from: Some(to),
            ..reply(1, "START")
        };
        rig.events(vec![Incoming::Reply(start)], 2).await;
        assert_eq!(rig.accept_on("a", &dialled, 3).await, Accepted::Stored);
    }
}

/// Before opt-outs had an account, one of a channel without a message did not say whose it was.
#[tokio::test]
async fn an_opt_out_of_nobody_knows_which_account_is_copied_when_a_name_is_learnt() {
    let rig = Rig::new();
    testing::beside(rig.dir.path())
        .execute(
            "INSERT INTO opt_out (channel, phone, scope, at, account) VALUES ('b', ?1, 0, 0, '')",
            [i64::try_from(phone(21).number()).unwrap()],
        )
        .unwrap();
    rig.sent("m1", 1, "P1", 0).await;
    let folded = rig.event("P1", Status::Delivered, Some(21), 1).await;
    assert_eq!(folded.emitted, 1);
    let accepted = rig.accept_on("b", &message("m2", 1), 2).await;
    assert_eq!(accepted, Accepted::OptedOut(OptOut::All));
    let accepted = rig.accept_on("a", &message("m3", 1), 2).await;
    assert_eq!(accepted, Accepted::Stored);
}
