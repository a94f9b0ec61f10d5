//! What brings a file of an older layout up to date, from each layout to the next. A table is made here as it
//! was in the layout that it came with: what changed since is the business of later steps.

/// From layout 1, which knew no Datastore, to layout 2. The two columns are added
/// without touching a row, so it takes no longer on a large file.
const FROM_1: &str = "
ALTER TABLE message ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE event ADD COLUMN asked INTEGER NOT NULL DEFAULT 0;
CREATE INDEX event_unasked ON event (account, received_at) WHERE kind = 'status' AND asked = 0;
CREATE TABLE dirty (
    message INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    due     INTEGER NOT NULL
) STRICT;
CREATE INDEX dirty_due ON dirty (account, due);
";

/// From layout 2, which told by the clock what came before an attempt, to layout 3. Events are few: only
/// those that match no message. Of the messages only those in doubt have a use for it; the two indexes of
/// evidence find them, so a large file is not read.
const EVENTS_APART: &str = "
ALTER TABLE event RENAME TO event_2;
DROP INDEX event_provider;
DROP INDEX event_recipient;
DROP INDEX event_unasked;
";
const EVENTS_3: &str = "
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
const FROM_2: &str = "
INSERT INTO event (id, account, channel, kind, provider_id, recipient, status, at, received_at, error,
                   raw, asked)
SELECT id, account, channel, kind, provider_id, recipient, status, at, received_at, error, raw, asked
  FROM event_2;
DROP TABLE event_2;
ALTER TABLE message RENAME COLUMN attempted_at TO seen;
UPDATE message SET seen = (SELECT coalesce(max(event.id), 0) FROM event WHERE received_at < seen)
 WHERE (state = 1 OR state = 3 OR (state = 4 AND lost = 1));
UPDATE message SET seen = (SELECT coalesce(max(event.id), 0) FROM event WHERE received_at < seen)
 WHERE (lost = 1 AND (state = 0 OR state = 2));
";

/// From layout 3, where some statements read more than they changed and what was put
/// aside was not told apart, to layout 4. The table of messages
/// is read once for each index on it that is missing.
const FROM_3: &str = "
ALTER TABLE message ADD COLUMN aside INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN proof INTEGER NOT NULL DEFAULT 0;
DROP INDEX message_queued;
DROP INDEX message_retry;
CREATE INDEX message_fresh ON message (channel, due, accepted_at)
    WHERE state = 0 AND attempts = 0;
CREATE INDEX message_retry ON message (channel, aside, due)
    WHERE state = 0 AND attempts <> 0;
CREATE INDEX message_retry_age ON message (channel, accepted_at)
    WHERE state = 0 AND attempts <> 0;
CREATE INDEX message_attempting ON message (account) WHERE state = 1;
CREATE INDEX IF NOT EXISTS message_resent ON message (recipient, account)
    WHERE (lost = 1 AND (state = 0 OR state = 2));
CREATE INDEX callback_dead_age ON callback (created) WHERE ready = 2;
";

/// From layout 5, which knew no scope of an opt-out, to layout 6: all there were are for all messages.
/// They are written anew; no other table is touched.
const OPT_OUTS_APART: &str = "ALTER TABLE opt_out RENAME TO opt_out_5;";
const OPT_OUTS_6: &str = "
CREATE TABLE opt_out (
    channel TEXT NOT NULL,
    phone   INTEGER NOT NULL,
    scope   INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (channel, phone, scope)
) STRICT, WITHOUT ROWID;
";
const FROM_5: &str = "
INSERT INTO opt_out (channel, phone, scope, at) SELECT channel, phone, 0, at FROM opt_out_5;
DROP TABLE opt_out_5;
";

/// From layout 6, which knew people by their numbers only, to layout 7: opt-outs are written anew, each with
/// the account of its channel, as a message of it says. One message of each is read.
const OPT_OUTS_APART_6: &str = "ALTER TABLE opt_out RENAME TO opt_out_6;";
const OPT_OUTS_7: &str = "
CREATE TABLE opt_out (
    channel TEXT NOT NULL,
    phone   ANY NOT NULL,
    scope   INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    account TEXT NOT NULL,
    PRIMARY KEY (channel, phone, scope)
) STRICT, WITHOUT ROWID;
CREATE INDEX opt_out_name ON opt_out (account, phone);
";
const FROM_6: &str = "
INSERT INTO opt_out (channel, phone, scope, at, account)
SELECT channel, phone, scope, at,
       coalesce((SELECT account FROM message WHERE message.channel = opt_out_6.channel LIMIT 1), '')
  FROM opt_out_6;
DROP TABLE opt_out_6;
";

/// From layout 7, which forgot an opt-out when it was lifted, to layout 8. Only the table's description is written.
const FROM_7: &str = "
ALTER TABLE opt_out ADD COLUMN is_out INTEGER NOT NULL DEFAULT 1;
ALTER TABLE opt_out ADD COLUMN source TEXT NOT NULL DEFAULT 'unknown';
ALTER TABLE opt_out ADD COLUMN due INTEGER DEFAULT 0;
CREATE INDEX opt_out_due ON opt_out (channel, due) WHERE due IS NOT NULL;
";

/// The indexes of layout 5.
const EVENTS_IN_ORDER_5: &str = "
CREATE INDEX event_status ON event (account, id) WHERE status IS NOT NULL;
CREATE INDEX event_other ON event (channel, id) WHERE kind <> 'status';
";

/// The names of people, of layout 7.
const ALIASES_7: &str = "
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

/// What brings a file of each older layout to the next one.
const STEPS: [(i64, &[&str]); 7] = [
    (1, &[FROM_1]),
    (2, &[EVENTS_APART, EVENTS_3, FROM_2]),
    (3, &[FROM_3]),
    (4, &[EVENTS_IN_ORDER_5]),
    (5, &[OPT_OUTS_APART, OPT_OUTS_6, FROM_5]),
    (6, &[OPT_OUTS_APART_6, OPT_OUTS_7, FROM_6, ALIASES_7]),
    (7, &[FROM_7]),
];

/// What brings a file of one layout to a later one, if there was such a layout.
pub(in crate::store::embedded) fn steps(from: i64, to: i64) -> Option<String> {
    let is_known = STEPS.iter().any(|(layout, _)| *layout == from);
    let steps = STEPS
        .iter()
        .filter(|(layout, _)| (from..to).contains(layout));
    is_known.then(|| steps.flat_map(|(_, steps)| *steps).copied().collect())
}
