//! No statement reads a whole table: what a message costs must not grow with what is stored
//! (DESIGN section 10). The statements are read from the sources, so that a new one is seen too.

use super::*;

/// The sources with statements; test modules at their ends hold none.
const SOURCES: [(&str, &str); 13] = [
    ("accept", include_str!("../accept.rs")),
    ("adopt", include_str!("../adopt.rs")),
    ("archive", include_str!("../archive.rs")),
    ("callbacks", include_str!("../callbacks.rs")),
    ("claim", include_str!("../claim.rs")),
    ("events", include_str!("../events.rs")),
    ("evidence", include_str!("../evidence.rs")),
    ("keep", include_str!("../keep.rs")),
    ("read", include_str!("../read.rs")),
    ("replies", include_str!("../replies.rs")),
    ("settle", include_str!("../settle.rs")),
    ("sweep", include_str!("../sweep.rs")),
    ("trial", include_str!("../trial.rs")),
];

/// Steps of a plan that read more than a look-up, and why they may.
const DOCUMENTED: [(&str, &str, &str); 9] = [
    (
        "callbacks",
        "SCAN callback USING INDEX callback_ready",
        "once, at start",
    ),
    (
        "claim",
        "SCAN message USING INDEX message_evidence",
        "once, at start; that index is small",
    ),
    (
        "keep",
        "SCAN callback USING COVERING INDEX callback_dead",
        "dead letters only, every hour",
    ),
    ("claim", "SCAN sqlite_sequence", "two rows"),
    ("keep", "SCAN event", "ends at the first row"),
    (
        "read",
        "SCAN message USING COVERING INDEX message_queued",
        "counting, for people",
    ),
    (
        "read",
        "SCAN message USING INDEX message_evidence",
        "counting, for people; that index is small",
    ),
    (
        "read",
        "SCAN message USING COVERING INDEX message_unknown",
        "counting, for people",
    ),
    (
        "replies",
        "SCAN message",
        "ends after a number of rows, mostly the first",
    ),
];

/// The statements that every message pays for, by a part of their text, and the index each needs.
const HOT: [(&str, &str, &str); 22] = [
    (
        "archive",
        "SELECT message FROM dirty",
        "dirty_due (account=? AND due<?)",
    ),
    (
        "archive",
        "SELECT count(*) FROM dirty",
        "dirty_due (account=?)",
    ),
    (
        "adopt",
        "AND asked = 0",
        "event_unasked (account=? AND received_at<?)",
    ),
    (
        "accept",
        "SELECT recipient, body",
        "message_key (channel=? AND msg_id=?)",
    ),
    (
        "claim",
        "aside = 0 AND due <= ?2",
        "message_retry (channel=? AND due<?)",
    ),
    (
        "claim",
        "aside = 1 AND due <= ?2",
        "message_aside (channel=? AND due<?)",
    ),
    (
        "trial",
        "attempts = 0 AND due <= ?2",
        "message_queued (channel=? AND due<?)",
    ),
    (
        "trial",
        "aside = 0 AND due <= ?2",
        "message_retry (channel=? AND due<?)",
    ),
    (
        "trial",
        "aside = 1 AND due <= ?2",
        "message_aside (channel=? AND due<?)",
    ),
    (
        "claim",
        "attempts = 0 AND due <= ?2",
        "message_queued (channel=? AND due<?)",
    ),
    ("claim", "SELECT min(due)", "message_queued (channel=?)"),
    (
        "claim",
        "AND state = 1 AND account = ?1",
        "message_evidence",
    ),
    (
        "callbacks",
        "due <= ?3 ORDER BY due, id",
        "callback_ready (channel=? AND lane=? AND due<?)",
    ),
    (
        "callbacks",
        "SELECT id, due FROM callback",
        "callback_ready (channel=? AND lane=?)",
    ),
    (
        "callbacks",
        "SELECT 1 FROM callback",
        "callback_order (lane=? AND ord=?)",
    ),
    (
        "callbacks",
        "SET ready = 1",
        "callback_order (lane=? AND ord=?)",
    ),
    (
        "events",
        "FROM message\n         WHERE account",
        "message_provider (account=? AND provider_id=?)",
    ),
    (
        "events",
        "FROM event\n         WHERE account",
        "event_provider (account=? AND provider_id=?)",
    ),
    (
        "evidence",
        "FROM message\n         WHERE (state",
        "message_evidence (recipient=? AND account=?)",
    ),
    (
        "evidence",
        "WHERE (lost = 1 AND (state",
        "message_resent (recipient=? AND account=?)",
    ),
    (
        "evidence",
        "SELECT min(first.id)",
        "event_provider (account=? AND provider_id=?)",
    ),
    (
        "evidence",
        "FROM event",
        "event_recipient (account=? AND recipient=?)",
    ),
];

/// Conditions that a source puts into a statement of its own.
const COMPOSED: [(&str, &str, &str); 11] = [
    (
        "trial",
        "SELECT id, channel, msg_id, state, resent, lost FROM message WHERE ",
        "channel = ?1 AND state = 0 ORDER BY due, accepted_at LIMIT ?2",
    ),
    (
        "adopt",
        "SELECT id, channel, msg_id, state, resent, lost FROM message WHERE ",
        "account = ?1 AND provider_id = ?2",
    ),
    (
        "adopt",
        "SELECT id, channel, msg_id, state, resent, lost FROM message WHERE ",
        "channel = ?1 AND msg_id = ?2",
    ),
    (
        "claim",
        "SELECT id, channel, msg_id, state, resent, lost FROM message WHERE ",
        "(state = 1 OR state = 3 OR (state = 4 AND lost = 1)) AND state = 1 AND account = ?1",
    ),
    (
        "settle",
        "SELECT id, channel, msg_id, state, resent, lost FROM message WHERE ",
        "id = ?1 AND attempts = ?2 AND state = 1",
    ),
    (
        "sweep",
        "SELECT id, channel, msg_id, state, resent, lost FROM message WHERE ",
        "id = ?1 AND state = 0",
    ),
    (
        "sweep",
        "SELECT id, channel, msg_id, state, resent, lost FROM message WHERE ",
        "channel = ?1 AND state = 0 AND accepted_at < ?2 LIMIT ?3",
    ),
    (
        "read",
        "SELECT body FROM message WHERE ",
        "channel = ?2 AND msg_id = ?3",
    ),
    (
        "read",
        "SELECT body FROM message WHERE ",
        "account = ?2 AND provider_id = ?3",
    ),
    ("read", "SELECT body FROM message WHERE ", "recipient = ?2"),
    (
        "replies",
        "SELECT body FROM message ",
        "WHERE account = ?1 AND provider_id = ?2",
    ),
];

fn statements(source: &str) -> Vec<String> {
    let verbs = ["SELECT ", "UPDATE ", "DELETE ", "INSERT "];
    let literals = source.split('"').skip(1).step_by(2);
    let is_one = |text: &&str| verbs.iter().any(|verb| text.trim_start().starts_with(verb));
    literals.filter(is_one).map(str::to_owned).collect()
}

#[test]
fn every_statement_is_a_look_up() {
    let (dir, _store) = testing::store();
    let beside = testing::beside(dir.path());
    let plan = |sql: &str| -> Vec<String> {
        let mut explain = beside
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap();
        let rows = explain.raw_query().mapped(|row| row.get(3));
        rows.collect::<rusqlite::Result<_>>().unwrap()
    };
    let mut seen = 0;
    let mut hot = Vec::new();
    let mut faults = Vec::new();
    for (file, source) in SOURCES {
        let composed = COMPOSED.iter().filter(|(of, ..)| *of == file);
        let composed = composed.map(|(_, head, condition)| {
            assert!(source.contains(condition), "{file} has no {condition}");
            format!("{head}{condition}")
        });
        let whole = statements(source)
            .into_iter()
            .filter(|sql| !sql.contains('{'));
        for sql in whole.chain(composed) {
            seen += 1;
            let steps = plan(&sql);
            let wanted = HOT
                .iter()
                .filter(|(of, part, _)| *of == file && sql.contains(part));
            for (_, part, index) in wanted {
                hot.push(*part);
                if !steps.iter().any(|step| step.contains(index)) {
                    faults.push(format!("{file}: not by {index}: {steps:?}\n    {sql}"));
                }
            }
            for step in steps {
                let documented = DOCUMENTED
                    .iter()
                    .any(|(of, known, _)| *of == file && step.starts_with(known));
                let cheap = step.starts_with("SEARCH") || step == "SCAN CONSTANT ROW";
                let reads = step.starts_with("SCAN") || step.contains("TEMP B-TREE");
                if reads && !cheap && !documented {
                    faults.push(format!("{file}: {step}\n    {sql}"));
                }
            }
        }
    }
    assert!(seen > 45, "the statements are not found any more: {seen}");
    assert_eq!(hot.len(), HOT.len(), "each is there once: {hot:?}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
