//! Files of older layouts.

use super::*;
use crate::domain::State;
use crate::store::embedded::{Settings, schema};

fn marking(dir: &std::path::Path) -> Settings {
    Settings {
        mark_dirty: true,
        ..testing::settings(dir)
    }
}

#[tokio::test]
async fn without_datastore_nothing_is_marked() {
    let rig = Rig::new();
    rig.sent("m1", 1, "P1", 0).await;
    rig.event("P1", Status::Sent, None, 1).await;
    assert_eq!(rig.store.dirty_waiting(&account()).await.unwrap(), 0);
    let beside = testing::beside(rig.dir.path());
    let version: i64 = beside
        .query_row("SELECT max(version) FROM message", [], |row| row.get(0))
        .unwrap();
    assert_eq!(version, 0);
}

/// The tables of a file with their columns in any order, its indexes, and its layout.
fn shape(dir: &std::path::Path) -> Vec<String> {
    let beside = testing::beside(dir);
    let mut select = beside
        .prepare(
            "SELECT type || ' ' || name, CASE type WHEN 'index' THEN coalesce(sql, '') ELSE
                (SELECT group_concat(said) FROM (SELECT name || ' ' || type || ' ' || pk AS said
                                                 FROM pragma_table_info(of.name) ORDER BY 1)) END
             FROM sqlite_schema AS of ORDER BY 1",
        )
        .unwrap();
    let rows = select
        .query_map([], |row| {
            let said: String = row.get(1)?;
            let words: Vec<&str> = said.split_whitespace().collect();
            Ok(format!("{} {}", row.get::<_, String>(0)?, words.join(" ")))
        })
        .unwrap();
    let version: i64 = beside
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .unwrap();
    let rows = rows.collect::<rusqlite::Result<Vec<String>>>().unwrap();
    rows.into_iter().chain([version.to_string()]).collect()
}

/// A file as the first version of this program made it.
#[tokio::test]
async fn a_file_of_layout_1_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let old = testing::beside(dir.path());
    let rows = "
        INSERT INTO message (channel, msg_id, account, recipient, state, due, accepted_at, attempts,
                             settled_at, provider_id, body, history)
        VALUES ('a', 'm1', 'acc', 12025550001, 2, 0, 1899999000000, 1, 1899999001000, 'P1',
                '{\"v\":1,\"from\":\"12025550999\",\"name\":\"t\",\"lang\":\"en\"}', '');
        INSERT INTO message (channel, msg_id, account, recipient, state, due, accepted_at, attempts,
                             attempted_at, body, history)
        VALUES ('a', 'm2', 'acc', 12025550002, 3, 1900000600000, 1899999000000, 1, 1899999005000,
                '{\"v\":1,\"from\":\"12025550999\",\"name\":\"t\",\"lang\":\"en\"}', '');
        INSERT INTO message (channel, msg_id, account, recipient, state, due, accepted_at, attempts,
                             attempted_at, settled_at, resent, lost, provider_id, body, history)
        VALUES ('a', 'm3', 'acc', 12025550003, 2, 0, 1899999000000, 2, 1899999005000, 1899999006000,
                1, 1, 'P3',
                '{\"v\":1,\"from\":\"12025550999\",\"name\":\"t\",\"lang\":\"en\"}', '');
        INSERT INTO event (account, channel, kind, provider_id, status, received_at)
        VALUES ('acc', 'a', 'status', 'P9', 'sent', 1899999000000);
        INSERT INTO opt_out VALUES ('a', 12025550008, 1899999000000);
        INSERT INTO ledger
        VALUES ('a', 'accepted', 3), ('a', 'accepted_by_provider', 2), ('a', 'unknown', 1);
        PRAGMA user_version = 1;";
    old.execute_batch(&format!("{}{rows}", include_str!("layout_1.sql")))
        .unwrap();
    drop(old);
    let store = Store::open(&marking(dir.path())).unwrap();
    let rig = Rig::over(store, Arc::new(dir));
    let seen: String = testing::beside(rig.dir.path())
        .query_row("SELECT group_concat(seen) FROM message", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(
        seen, "0,1,1",
        "of those in doubt, the last event before the attempt"
    );
    assert_eq!(rig.state("m1").await, State::Accepted);
    assert_eq!(rig.unasked(0).await.len(), 1);
    assert_eq!(rig.waiting().await, 0);
    rig.event("P1", Status::Sent, None, 1).await;
    assert_eq!(rig.write_all(2).await.len(), 1);
    // What had come before the attempt is not its evidence, what comes now is.
    let of_2 = async |id: &str| rig.event(id, Status::Delivered, Some(2), 3).await.inferred;
    assert_eq!((of_2("P9").await, of_2("P2").await), (0, 1));
    rig.check().await;
    // an opt-out of that time is one of all messages.
    let refused = rig.accept("m8", 8, 4).await;
    assert_eq!(refused, Accepted::OptedOut(OptOut::All));
    // And of the account of its channel, so that it counts for another number of the person too.
    rig.event("P1", Status::Read, Some(8), 5).await;
    let refused = rig.accept("m9", 1, 6).await;
    assert_eq!(refused, Accepted::OptedOut(OptOut::All));
    let dir = rig.closed();
    // The same tables and indexes as in a new file.
    let (new, _store) = testing::store();
    assert_eq!(shape(dir.path()), shape(new.path()));
}

#[tokio::test]
async fn a_file_of_any_older_layout_is_brought_up_to_date() {
    let (new, _store) = testing::store();
    for layout in 1..schema::LAYOUT {
        let dir = tempfile::tempdir().unwrap();
        let old = testing::beside(dir.path());
        let steps = schema::older::steps(1, layout).unwrap();
        let (names, values) = match layout {
            ..6 => ("", ""),
            6 => (", scope", ", 0"),
            _ => (", scope, account", ", 0, 'acc'"),
        };
        let opt_out = format!(
            "INSERT INTO opt_out (channel, phone, at{names}) VALUES ('a', 12025550008, 1899999000000{values});"
        );
        let rows = format!(
            "INSERT INTO event (account, channel, kind, provider_id, status, received_at)
             VALUES ('acc', 'a', 'status', 'P9', 'sent', 1899999000000);
             {opt_out}
             PRAGMA user_version = {layout};"
        );
        let tables = include_str!("layout_1.sql");
        old.execute_batch(&format!("{tables}{steps}{rows}"))
            .unwrap();
        drop(old);
        let store = Store::open(&marking(dir.path())).unwrap();
        let rig = Rig::over(store, Arc::new(dir));
        assert_eq!(rig.unasked(0).await.len(), 1, "layout {layout}");
        let refused = rig.accept("m8", 8, 4).await;
        assert_eq!(refused, Accepted::OptedOut(OptOut::All), "layout {layout}");
        rig.check().await;
        let dir = rig.closed();
        assert_eq!(shape(dir.path()), shape(new.path()), "layout {layout}");
    }
}
