//! What a message costs, and what the passing of time does, does not grow with what is stored
//! and no statement is prepared again for other values.

use super::*;
use crate::store::embedded::writer::Txn;
use rusqlite::{Connection, StatementStatus};

/// Puts so many messages of channels `a` and `b` into a file, with ids and people at random: half
/// were taken by the provider, a few of them with callbacks that wait or are dead, the others are
/// queued, waiting for another try or unknown. Nothing of it is due before an hour from zero.
pub(super) fn fill(conn: &Connection, messages: u32) {
    let sql = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {messages})
         INSERT INTO message (channel, msg_id, account, recipient, state, due, accepted_at, attempts,
                              settled_at, provider_id, body, history)
         SELECT iif(i % 3, 'a', 'b'), hex(randomblob(12)), 'acc',
                12030000000 + abs(random()) % 80000000,
                CASE WHEN i % 2 THEN 2 WHEN i % 50 = 0 THEN 3 ELSE 0 END,
                {hour} + i % 600000, {zero} - i % 600000, i % 2 OR i % 10 = 0,
                iif(i % 2, {zero} - i % 600000, NULL), iif(i % 2, hex(randomblob(12)), NULL),
                '{{\"v\":1,\"from\":\"12025550999\",\"name\":\"t\",\"lang\":\"en\"}}', ''
           FROM n;
         UPDATE message SET due = accepted_at WHERE state = 0 AND attempts = 0 AND channel = 'b';
         UPDATE message SET state = 2 WHERE state = 0 AND attempts = 0 AND channel = 'a';
         INSERT INTO callback (channel, lane, ord, message, ready, due, created, body)
         SELECT channel, 0, id, id, iif(id % 50 = 1, 2, 1), due, accepted_at, '{{}}'
           FROM message WHERE state = 2 AND id % 5 = 1;
         INSERT INTO event (account, channel, kind, provider_id, recipient, status, received_at)
         SELECT account, channel, 'status', hex(randomblob(12)), recipient, 'sent', accepted_at
           FROM message WHERE id % 20 = 7;
         INSERT INTO reply_seen SELECT account, hex(randomblob(12)), accepted_at
           FROM message WHERE id % 20 = 7;
         INSERT INTO dirty SELECT id, account, due FROM message WHERE id % 20 = 7;",
        zero = at(0).0,
        hour = at(3600).0,
    );
    conn.execute_batch(&sql).unwrap();
}

/// A count of all statements that were run so far, on the connection that writes and on those that
/// read.
async fn count(store: &Store, what: StatementStatus) -> i64 {
    let counted = move |conn: &Connection| -> rusqlite::Result<i64> {
        // Room for those too that this connection did not run.
        conn.set_prepared_statement_cache_capacity(1000);
        let all = plans::statements().into_iter();
        let counts = all.map(|(_, sql)| Ok(i64::from(conn.prepare_cached(&sql)?.get_status(what))));
        counts.sum()
    };
    let written = store.write(move |txn: &mut Txn<'_>| counted(txn.conn));
    let written = written.await.unwrap();
    let readers = store.readers();
    let read: i64 = readers.iter().map(|conn| counted(conn).unwrap()).sum();
    written + read
}

/// A message from its accept to its relayed status, another whose outcome is unknown, a reply, and
/// all that is done because time passes.
async fn a_life(rig: &Rig) {
    rig.sent("m1", 1, "P1", 0).await;
    rig.event("P1", Status::Sent, None, 1).await;
    assert_eq!(rig.statuses(2).await, ["m1 sent"]);
    rig.lost("m2", 2, 3, 600).await;
    assert_eq!(
        rig.event("P2", Status::Sent, Some(2), 4).await.inferred,
        1,
        "one is in doubt"
    );
    rig.event("P3", Status::Sent, Some(3), 4).await;
    let said = vec![Incoming::Reply(reply(1, "hello"))];
    assert_eq!(rig.events(said, 5).await.replies, 1);
    rig.record("m2").await;
    let store = &rig.store;
    for _ in 0..2 {
        rig.sweep(true, 60).await;
        store.next_due(vec![channel("a")]).await.unwrap();
    }
    for queue in [
        lane("a", Destination::Status),
        lane("a", Destination::Inbound),
    ] {
        store.next_callback_due(&queue).await.unwrap();
    }
    let old = at(-9 * DAY);
    store.purge(old, old).await.unwrap();
    store.recover(&account(), at(600), at(60)).await.unwrap();
}

#[tokio::test]
async fn r_33_what_is_kept_makes_nothing_slower() {
    let (small, large) = (Rig::new(), Rig::new());
    fill(&testing::beside(large.dir.path()), 50_000);
    let mut steps = Vec::new();
    for rig in [&small, &large] {
        a_life(rig).await;
        let scanned = count(&rig.store, StatementStatus::FullscanStep).await;
        steps.push((count(&rig.store, StatementStatus::VmStep).await, scanned));
    }
    let [(small, _), (large, scanned)] = steps[..] else {
        unreachable!("two files")
    };
    assert!(small > 100, "they are counted: {small}");
    // A page of what retention looks at is in it, fifty thousand rows are not.
    assert!(large < small + 5000, "{small} steps, then {large}");
    assert!(scanned < 100, "{scanned} rows without an index");
}

/// A clock that was ahead puts thousands off: they are brought back in pieces.
#[tokio::test]
async fn r_33_a_large_repair_lets_others_in_between() {
    let rig = Rig::new();
    let beside = testing::beside(rig.dir.path());
    let day = at(DAY).0;
    for attempts in [0, 1] {
        let sql = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
             INSERT INTO message (channel, msg_id, account, recipient, state, due, accepted_at,
                                  attempts, body, history)
             SELECT 'a', i || '-{attempts}', 'acc', 12030000000 + i, 0, {day}, {day}, {attempts},
                    '{{}}', '' FROM n;
             INSERT INTO callback (channel, lane, ord, ready, due, created, body)
             SELECT 'a', 0, id, 1, due, due, '{{}}' FROM message WHERE attempts = {attempts};"
        );
        beside.execute_batch(&sql).unwrap();
    }
    let commits = || {
        let counted = rig.store.write(|txn: &mut Txn<'_>| {
            let commit = txn.conn.prepare_cached("COMMIT")?;
            Ok(commit.get_status(StatementStatus::Run))
        });
        async { counted.await.unwrap() }
    };
    let before = commits().await;
    rig.set_back(0).await;
    let queue = lane("a", Destination::Status);
    rig.store.hasten_callbacks(&queue, at(-1)).await.unwrap();
    let ahead = |table: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM {table} WHERE due > {}", at(0).0);
        beside.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!((ahead("message"), ahead("callback")), (0, 0));
    assert!(commits().await - before > 30, "not all at once");
}

#[tokio::test]
async fn r_35_no_statement_is_prepared_again_for_other_values() {
    let rig = Rig::new();
    fill(&testing::beside(rig.dir.path()), 1000);
    a_life(&rig).await;
    for n in 10..30 {
        let (id, provider) = (format!("m{n}"), format!("P{n}"));
        rig.sent(&id, n, &provider, 61).await;
        rig.event(&provider, Status::Delivered, Some(n), 62).await;
        rig.sweep(true, 63).await;
    }
    assert!(count(&rig.store, StatementStatus::Run).await > 100);
    assert_eq!(count(&rig.store, StatementStatus::RePrepare).await, 0);
}
