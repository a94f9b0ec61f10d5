//! The stories' world on the embedded store.

use super::*;
use crate::store::embedded::Settings;
use crate::store::testing;
use std::cell::Cell;
use std::pin::Pin;
use tempfile::TempDir;

/// A fresh one.
pub(in crate::store) fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let home = OnEmbedded {
        dir: Arc::new(dir),
        marks: Cell::new(false),
    };
    World::new(home.open(), home)
}

/// The directory with the file; the one process that has it open is the test.
pub(in crate::store) struct OnEmbedded {
    pub(in crate::store) dir: Arc<TempDir>,
    pub(in crate::store) marks: Cell<bool>,
}

impl Home for OnEmbedded {
    fn open(&self) -> Outbox {
        let settings = Settings {
            mark_dirty: self.marks.get(),
            ..testing::settings(self.dir.path())
        };
        Outbox::Embedded(testing::open_with(&settings))
    }

    fn mark(&self, on: bool) {
        self.marks.set(on);
    }

    fn end_leases<'a>(
        &'a self,
        store: &'a Outbox,
        seconds: i64,
        hold: i64,
    ) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(async move {
            let (account, until) = (account(), at(seconds + hold));
            let recovered = store.recover(&account, until, at(seconds));
            recovered.await.unwrap();
        })
    }

    fn look_inside(&self, ledgers: &[(ChannelId, Ledger)]) {
        let beside = testing::beside(self.dir.path());
        let count = |sql: &str, name: &ChannelId| -> i64 {
            beside
                .query_row(sql, [name.as_str()], |row| row.get(0))
                .unwrap()
        };
        for (name, ledger) in ledgers {
            let rows = |state: i64| {
                let sql = "SELECT count(*) FROM message WHERE channel = ?1 AND state = ";
                count(&format!("{sql}{state}"), name)
            };
            let counted = [ledger.queued, ledger.attempting, ledger.unknown];
            assert_eq!(counted, [rows(0), rows(1), rows(3)], "{name}: {ledger:?}");
            assert!(ledger.accepted_by_provider >= rows(2), "{name}: {ledger:?}");
            assert!(ledger.failed >= rows(4), "{name}: {ledger:?}");
            let waiting = "SELECT count(*) FROM callback WHERE channel = ?1 AND ready < 2";
            assert_eq!(ledger.callbacks_waiting, count(waiting, name));
            let twice = count(
                "SELECT count(*) FROM (SELECT 1 FROM callback WHERE channel = ?1 AND ready = 1
                     GROUP BY lane, ord HAVING count(*) > 1)",
                name,
            );
            assert_eq!(twice, 0, "two callbacks of one message are ready");
            let stuck = count(
                "SELECT count(*) FROM (SELECT 1 FROM callback WHERE channel = ?1 AND ready < 2
                     GROUP BY lane, ord HAVING sum(ready) = 0)",
                name,
            );
            assert_eq!(stuck, 0, "callbacks wait for one that is gone");
        }
    }
}
