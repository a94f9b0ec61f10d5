-- The tables as layout 1 had them, to test that its files are brought up to date.
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
    attempted_at INTEGER NOT NULL DEFAULT 0,
    settled_at   INTEGER,
    resent       INTEGER NOT NULL DEFAULT 0,
    lost         INTEGER NOT NULL DEFAULT 0,
    progress     INTEGER NOT NULL DEFAULT 0,
    provider_id  TEXT,
    conversation TEXT,
    inferred     INTEGER NOT NULL DEFAULT 0,
    body         TEXT NOT NULL,
    taps         TEXT,
    history      TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX message_key ON message (channel, msg_id);
CREATE INDEX message_recipient ON message (recipient);
CREATE INDEX message_provider ON message (account, provider_id) WHERE provider_id IS NOT NULL;
CREATE INDEX message_queued ON message (channel, due, accepted_at) WHERE state = 0;
CREATE INDEX message_retry ON message (channel, due) WHERE state = 0 AND attempts > 0;
CREATE INDEX message_evidence ON message (recipient, account)
    WHERE (state = 1 OR state = 3 OR (state = 4 AND lost = 1));
CREATE INDEX message_unknown ON message (due) WHERE state = 3;

CREATE TABLE event (
    id          INTEGER PRIMARY KEY,
    account     TEXT NOT NULL,
    channel     TEXT NOT NULL,
    kind        TEXT NOT NULL,
    provider_id TEXT,
    recipient   INTEGER,
    status      TEXT,
    at          INTEGER,
    received_at INTEGER NOT NULL,
    error       TEXT,
    raw         TEXT
) STRICT;
CREATE INDEX event_provider ON event (account, provider_id) WHERE provider_id IS NOT NULL;
CREATE INDEX event_recipient ON event (account, recipient, provider_id)
    WHERE recipient IS NOT NULL;

CREATE TABLE reply_seen (
    account TEXT NOT NULL,
    id      TEXT NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (account, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX reply_seen_at ON reply_seen (at);

CREATE TABLE opt_out (
    channel TEXT NOT NULL,
    phone   INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (channel, phone)
) STRICT, WITHOUT ROWID;

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
