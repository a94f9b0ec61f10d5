//! A real store in a throw-away directory, for tests of whatever needs one.

use super::embedded::{Settings, Store};
use rusqlite::Connection;
use std::path::Path;
use tempfile::TempDir;

/// A store of its own. It lives in the directory, so keep both.
pub(crate) fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    (dir, store)
}

/// The store of this directory.
pub(crate) fn open(dir: &Path) -> Store {
    Store::open(&settings(dir)).unwrap()
}

/// Settings that never run out of disk.
pub(crate) fn settings(dir: &Path) -> Settings {
    Settings {
        data_dir: dir.into(),
        min_free: 0,
    }
}

/// A connection beside the store's own, to look into its file or to do it harm.
pub(crate) fn beside(dir: &Path) -> Connection {
    Connection::open(dir.join("gateway.db")).unwrap()
}

/// From now on the store fails to keep tokens, templates and settings.
pub(crate) fn break_kept(dir: &Path) {
    let trigger = |name: &str, step: &str| {
        format!(
            "CREATE TRIGGER {name} BEFORE {step} ON kept BEGIN SELECT RAISE(ABORT, 'broken'); END;"
        )
    };
    let triggers = [
        trigger("no_insert", "INSERT"),
        trigger("no_update", "UPDATE"),
    ];
    beside(dir).execute_batch(&triggers.concat()).unwrap();
}

/// Undoes [`break_kept`].
pub(crate) fn mend_kept(dir: &Path) {
    let mended = "DROP TRIGGER no_insert; DROP TRIGGER no_update;";
    beside(dir).execute_batch(mended).unwrap();
}
