//! The tables of the embedded store. Readable with the `sqlite3` tool.

pub(super) mod older;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Result};

/// One row a message is the record too: its history is appended in the row, so that a step of a
/// message's life is one row write and the record can never disagree with the queue.
///
/// Indexes of a part of a table are used only where a statement repeats their condition word for
/// word. Every queued message is in one of `message_fresh` and `message_retry`, whatever its row
/// holds. `message_resent` has those sent once more, though nobody ever learned what became of the
/// attempt before: few. Handles of callbacks are leases in memory, so they are never used again (AUTOINCREMENT).
/// `seen` is the number of the last event that had come when the last attempt began.
const TABLES: &str = "
CREATE TABLE message (
    id           INTEGER PRIMARY KEY,
    channel      TEXT NOT NULL,
    msg_id       TEXT NOT NULL,
    account      TEXT NOT NULL,
    recipient    INTEGER NOT NULL,
    state        INTEGER NOT NULL,
    due          INTEGER NOT NULL,
    accepted_at  INTEGER NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    seen         INTEGER NOT NULL DEFAULT 0,
    settled_at   INTEGER,
    resent       INTEGER NOT NULL DEFAULT 0,
    lost         INTEGER NOT NULL DEFAULT 0,
    progress     INTEGER NOT NULL DEFAULT 0,
    provider_id  TEXT,
    conversation TEXT,
    inferred     INTEGER NOT NULL DEFAULT 0,
    body         TEXT NOT NULL,
    taps         TEXT,
    history      TEXT NOT NULL,
    version      INTEGER NOT NULL DEFAULT 0,
    aside        INTEGER NOT NULL DEFAULT 0,
    proof        INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX message_key ON message (channel, msg_id);
CREATE INDEX message_recipient ON message (recipient);
CREATE INDEX message_provider ON message (account, provider_id) WHERE provider_id IS NOT NULL;
CREATE INDEX message_fresh ON message (channel, due, accepted_at)
    WHERE state = 0 AND attempts = 0;
CREATE INDEX message_retry ON message (channel, aside, due)
    WHERE state = 0 AND attempts <> 0;
CREATE INDEX message_retry_age ON message (channel, accepted_at)
    WHERE state = 0 AND attempts <> 0;
CREATE INDEX message_attempting ON message (account) WHERE state = 1;
CREATE INDEX message_evidence ON message (recipient, account)
    WHERE (state = 1 OR state = 3 OR (state = 4 AND lost = 1));
CREATE INDEX message_resent ON message (recipient, account)
    WHERE (lost = 1 AND (state = 0 OR state = 2));
CREATE INDEX message_unknown ON message (due) WHERE state = 3;

CREATE TABLE dirty (
    message INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    due     INTEGER NOT NULL
) STRICT;
CREATE INDEX dirty_due ON dirty (account, due);

CREATE TABLE reply_seen (
    account TEXT NOT NULL,
    id      TEXT NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (account, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX reply_seen_at ON reply_seen (at);

CREATE TABLE callback (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    channel TEXT NOT NULL,
    lane    INTEGER NOT NULL,
    ord     INTEGER NOT NULL,
    message INTEGER,
    ready   INTEGER NOT NULL,
    due     INTEGER NOT NULL,
    tries   INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL,
    body    TEXT NOT NULL,
    reason  TEXT
) STRICT;
CREATE INDEX callback_ready ON callback (channel, lane, due, id) WHERE ready = 1;
CREATE INDEX callback_order ON callback (lane, ord, id, channel) WHERE ready < 2;
CREATE INDEX callback_dead ON callback (lane, ord, id, created) WHERE ready = 2;
CREATE INDEX callback_dead_age ON callback (created) WHERE ready = 2;

CREATE TABLE ledger (
    channel TEXT NOT NULL,
    name    TEXT NOT NULL,
    n       INTEGER NOT NULL,
    PRIMARY KEY (channel, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE kept (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Their numbers say what came before what, whatever a clock says, so none is given twice.
const EVENTS: &str = "
CREATE TABLE event (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    account     TEXT NOT NULL,
    channel     TEXT NOT NULL,
    kind        TEXT NOT NULL,
    provider_id TEXT,
    recipient   INTEGER,
    status      TEXT,
    at          INTEGER,
    received_at INTEGER NOT NULL,
    error       TEXT,
    raw         TEXT,
    asked       INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX event_provider ON event (account, provider_id) WHERE provider_id IS NOT NULL;
CREATE INDEX event_recipient ON event (account, recipient, provider_id)
    WHERE recipient IS NOT NULL;
CREATE INDEX event_unasked ON event (account, received_at) WHERE kind = 'status' AND asked = 0;
";

/// Which statuses and which other events came first, for the bounds on what matches nothing. The first
/// condition is one that no other statement has: it would be taken for better than the index it needs.
const EVENTS_IN_ORDER: &str = "
CREATE INDEX event_status ON event (account, id) WHERE status IS NOT NULL;
CREATE INDEX event_other ON event (channel, id) WHERE kind <> 'status';
";

/// What people said last: who wants what of which channel no more (`is_out`), or again. `scope` is 0 for all
/// messages, 1 for promotions. `phone` is a text where it is a user id. `account` is empty where an older program
/// wrote it for a channel that has no message any more. `due`: when Datastore is to be told, which does not have it.
const OPT_OUTS: &str = "
CREATE TABLE opt_out (
    channel TEXT NOT NULL,
    phone   ANY NOT NULL,
    scope   INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    account TEXT NOT NULL,
    is_out  INTEGER NOT NULL DEFAULT 1,
    source  TEXT NOT NULL DEFAULT 'unknown',
    due     INTEGER DEFAULT 0,
    PRIMARY KEY (channel, phone, scope)
) STRICT, WITHOUT ROWID;
CREATE INDEX opt_out_name ON opt_out (account, phone);
CREATE INDEX opt_out_due ON opt_out (channel, due) WHERE due IS NOT NULL;
";

/// What else people are called: `kind` 0 is a number, the canonical one, 1 a user id. `person` is the
/// canonical number of who it is, `dialled` the number as MoEngage wrote it.
const ALIASES: &str = "
CREATE TABLE alias (
    account TEXT NOT NULL,
    kind    INTEGER NOT NULL,
    alias   ANY NOT NULL,
    person  INTEGER NOT NULL,
    dialled INTEGER NOT NULL,
    PRIMARY KEY (account, kind, alias)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX alias_person ON alias (account, kind, person);
";

/// The layout that this program writes, kept in SQLite's `user_version`.
pub(super) const LAYOUT: i64 = 8;

/// Every change of a message counts its version up and marks it for Datastore,
/// in the transaction of the change: no statement can forget it. Temporary, so a process without
/// Datastore pays nothing. `version` is not among the columns, so the trigger does not fire itself.
const MARKS: &str = "
CREATE TEMP TRIGGER mark_new AFTER INSERT ON main.message BEGIN
    UPDATE message SET version = version + 1 WHERE id = NEW.id;
    INSERT INTO dirty (message, account, due) SELECT NEW.id, NEW.account, NEW.accepted_at
     WHERE NOT EXISTS (SELECT 1 FROM dirty WHERE message = NEW.id);
END;
CREATE TEMP TRIGGER mark_changed AFTER UPDATE OF state, due, accepted_at, attempts, seen, settled_at,
    resent, lost, progress, provider_id, conversation, inferred, body, taps, history
ON main.message BEGIN
    UPDATE message SET version = version + 1 WHERE id = NEW.id;
    INSERT INTO dirty (message, account, due) SELECT NEW.id, NEW.account, NEW.accepted_at
     WHERE NOT EXISTS (SELECT 1 FROM dirty WHERE message = NEW.id);
END;
";

/// Why a file cannot be used.
pub(super) enum LayoutError {
    /// A newer program wrote it.
    Newer(i64),
    /// SQLite's own words.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for LayoutError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Sets the connection up for durable writes and checks that SQLite took the settings.
///
/// The log goes into the file 16 MB at a time: the pages of messages with ids at random are all over the
/// file, and whoever waits for that commit waits for all of them to be written. Less at a time would write
/// the pages that change often more often.
pub(super) fn set_up(conn: &Connection) -> Result<()> {
    keep_plans(conn)?;
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    conn.execute_batch(
        "PRAGMA synchronous = FULL;
         PRAGMA busy_timeout = 2000;
         PRAGMA cache_size = -32768;
         PRAGMA temp_store = MEMORY;
         PRAGMA journal_size_limit = 67108864;
         PRAGMA wal_autocheckpoint = 4000;",
    )?;
    let synchronous: i64 = conn.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
    // Without these two a success answered to MoEngage could be lost with the power (design.md G1).
    if mode != "wal" || synchronous != 2 {
        return Err(rusqlite::Error::InvalidQuery);
    }
    Ok(())
}

/// Statements keep the plan that their text alone gives them. Else SQLite looks at the values that
/// are bound where it weighs a partial index or a limit, and prepares the statement anew for others.
pub(super) fn keep_plans(conn: &Connection) -> Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map(drop)
}

/// From now on this connection marks what it changes.
pub(super) fn mark_changes(conn: &Connection) -> Result<()> {
    conn.execute_batch(MARKS)
}

/// Creates the tables of an empty file, brings a file of an older program up to date, and refuses a
/// file of a newer one.
pub(super) fn create(conn: &Connection) -> std::result::Result<(), LayoutError> {
    let found: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let steps = match found {
        0 => [TABLES, OPT_OUTS, ALIASES, EVENTS, EVENTS_IN_ORDER].concat(),
        LAYOUT => String::new(),
        found => older::steps(found, LAYOUT).ok_or(LayoutError::Newer(found))?,
    };
    if !steps.is_empty() {
        conn.execute_batch(&format!(
            "BEGIN IMMEDIATE; {steps} PRAGMA user_version = {LAYOUT}; COMMIT;"
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says who a message is, or is no part of its record.
    const UNMARKED: [&str; 8] = [
        "id",
        "channel",
        "msg_id",
        "account",
        "recipient",
        "version",
        "aside",
        "proof",
    ];

    #[test]
    fn a_change_of_any_column_of_a_message_marks_its_record() {
        let conn = Connection::open_in_memory().unwrap();
        assert!(create(&conn).is_ok());
        let mut columns = conn
            .prepare("SELECT name FROM pragma_table_info('message')")
            .unwrap();
        let columns = columns.query_map([], |row| row.get::<_, String>(0));
        let mut columns: Vec<String> = columns.unwrap().map(Result::unwrap).collect();
        let list = MARKS.split("UPDATE OF").nth(1).unwrap();
        let list = list.split("ON main.message").next().unwrap().split(',');
        let mut known: Vec<&str> = list.map(str::trim).chain(UNMARKED).collect();
        columns.sort_unstable();
        known.sort_unstable();
        assert_eq!(
            columns, known,
            "a new column of a message: name it in MARKS, or in UNMARKED"
        );
    }
}
