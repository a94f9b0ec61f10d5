//! No statement reads more than it needs, however much is stored (design.md section 10): each plan, as a
//! new file gives it and as the statistics of a large one do. The statements are read from the
//! sources, so that a new one is seen too.

use super::*;
use crate::store::embedded::schema;
use rusqlite::Connection;
use std::collections::BTreeSet;

/// Look-ups that find a few rows, whatever is stored: good for any statement.
const LOOK_UPS: [&str; 15] = [
    "INTEGER PRIMARY KEY (rowid=?)",
    "message_key (channel=? AND msg_id=?)",
    "message_provider (account=? AND provider_id=?)",
    "message_evidence (recipient=? AND account=?)",
    "message_resent (recipient=? AND account=?)",
    "event_provider (account=? AND provider_id=?)",
    "callback_order (lane=? AND ord=?)",
    "callback_dead (lane=? AND ord=?)",
    "PRIMARY KEY (channel=? AND phone=?)",
    "PRIMARY KEY (channel=? AND phone=? AND scope=?)",
    "opt_out_name (account=? AND phone=?)",
    "PRIMARY KEY (account=? AND kind=? AND alias=?)",
    "alias_person (account=? AND kind=? AND person=?)",
    "PRIMARY KEY (account=? AND id=?)",
    "PRIMARY KEY (key=?)",
];

/// What else a statement reads: its source, a part of its text, by which index or how, and why that
/// is not much.
const OTHERS: &[(&str, &str, &str, &str)] = &[
    (
        "alias",
        "AND kind = ?2 LIMIT 1",
        "alias_person (account=? AND kind=?)",
        "the first, and once: it is remembered",
    ),
    (
        "read",
        "AND due < ?2 LIMIT ?3",
        "message_fresh (channel=? AND due<?)",
        "limited, for people",
    ),
    (
        "read",
        "AND due < ?2 LIMIT ?4",
        "message_retry (channel=? AND aside=? AND due<?)",
        "limited, for people",
    ),
    (
        "read",
        "AND due < ?2 LIMIT",
        "SCAN (subquery-",
        "what the two before it found",
    ),
    (
        "opt_outs",
        "SET due = 0 WHERE channel = ?1",
        "PRIMARY KEY (channel=?)",
        "all of a channel, where Datastore is another one than before",
    ),
    (
        "opt_outs",
        "LIMIT ?2 OFFSET ?3",
        "PRIMARY KEY (channel=?)",
        "a part of the list, for people",
    ),
    (
        "opt_outs",
        "AND due <= ?2 ORDER BY due LIMIT ?3",
        "opt_out_due (channel=? AND due<?)",
        "limited; of what Datastore lacks",
    ),
    (
        "records",
        "SELECT count(*) FROM dirty",
        "SCAN dirty",
        "counting, for people; of one account all",
    ),
    (
        "trial",
        "attempts = 0 AND due <= ?2 ORDER BY due DESC",
        "message_fresh (channel=? AND due<?)",
        "limited",
    ),
    (
        "trial",
        "AND due <= ?2 ORDER BY due DESC, id DESC LIMIT",
        "message_retry (channel=? AND aside=? AND due<?)",
        "limited",
    ),
    (
        "found",
        "attempts = 0 ORDER BY due, accepted_at LIMIT",
        "message_fresh (channel=?)",
        "limited",
    ),
    (
        "found",
        "ORDER BY due LIMIT ?2",
        "message_retry (channel=? AND aside=?)",
        "limited",
    ),
    (
        "adopt",
        "SELECT recipient FROM message WHERE state = 3",
        "SCAN message USING INDEX message_unknown",
        "limited; those in doubt are few, and looked at only while more wait than are asked for",
    ),
    (
        "adopt",
        "AND recipient = ?2 AND kind = 'status' LIMIT",
        "event_recipient (account=? AND recipient=?)",
        "limited",
    ),
    (
        "adopt",
        "AND asked = 0",
        "event_unasked (account=? AND received_at<?)",
        "ends when there are enough",
    ),
    (
        "records",
        "SELECT message FROM dirty",
        "dirty_due (account=? AND due<?)",
        "limited",
    ),
    (
        "records",
        "SELECT count(*) FROM dirty",
        "dirty_due (account=?)",
        "counting, for people",
    ),
    (
        "callbacks",
        "SET due = created",
        "SCAN callback",
        "once, at start",
    ),
    (
        "callbacks",
        "SELECT id, due FROM callback",
        "callback_ready (channel=? AND lane=?)",
        "ends at the first that nobody has",
    ),
    (
        "callbacks",
        "due > ?3 LIMIT ?4",
        "callback_ready (channel=? AND lane=? AND due>?)",
        "limited",
    ),
    (
        "callbacks",
        "due <= ?3 ORDER BY due, id",
        "callback_ready (channel=? AND lane=? AND due<?)",
        "ends when there are enough",
    ),
    (
        "claim",
        "SELECT (SELECT min(due)",
        "message_fresh (channel=?)",
        "the first",
    ),
    (
        "claim",
        "SELECT (SELECT min(due)",
        "message_retry (channel=? AND aside=?)",
        "the first",
    ),
    (
        "claim",
        "AND due <= ?2 ORDER BY due, id LIMIT",
        "message_retry (channel=? AND aside=? AND due<?)",
        "limited",
    ),
    (
        "claim",
        "attempts = 0 AND due BETWEEN ?4 AND ?2 ORDER BY due, accepted_at, id LIMIT",
        "message_fresh (channel=? AND due>? AND due<?)",
        "limited",
    ),
    (
        "claim",
        "SELECT seq FROM sqlite_sequence",
        "SCAN sqlite_sequence",
        "two rows",
    ),
    (
        "recover",
        "WHERE state = 1 AND account = ?1",
        "message_attempting (account=?)",
        "what is being sent",
    ),
    (
        "found",
        "WHERE state = 1 AND account = ?1",
        "message_attempting (account=?)",
        "what is being sent",
    ),
    (
        "back",
        "FROM kept WHERE key >=",
        "PRIMARY KEY (key>? AND key<?)",
        "one of each account, at the start",
    ),
    (
        "found",
        "AND state = 0 AND attempts = 0 AND id <= ?3",
        "message_fresh (channel=?)",
        "limited; what came since the hold is passed over at the end",
    ),
    (
        "back",
        "SELECT DISTINCT recipient FROM event",
        "event_recipient (account=? AND recipient>?)",
        "limited",
    ),
    (
        "evidence",
        "FROM event AS named",
        "event_recipient (account=? AND recipient=?)",
        "the unmatched events of one person",
    ),
    (
        "retention",
        "WHERE id > ?1 ORDER BY id LIMIT",
        "INTEGER PRIMARY KEY (rowid>?)",
        "limited",
    ),
    (
        "retention",
        "FROM reply_seen WHERE at < ?1 LIMIT",
        "reply_seen_at (at<?)",
        "limited",
    ),
    (
        "retention",
        "WHERE ready = 2 AND created < ?1 LIMIT",
        "callback_dead_age (created<?)",
        "limited",
    ),
    (
        "crowd",
        "LIMIT 1 OFFSET ?2",
        "event_status (account=?)",
        "as many as are kept, at one insert in 1,024; fewer where the disk is nearly full",
    ),
    (
        "crowd",
        "SELECT count(*)",
        "event_status (account=?)",
        "as many as are kept, at one insert in 1,024",
    ),
    (
        "crowd",
        "AND status IS NOT NULL",
        "event_status (account=? AND id<?)",
        "limited",
    ),
    (
        "crowd",
        "AND kind <> 'status'",
        "event_other (channel=?)",
        "as many as are kept, at one insert in 64",
    ),
    (
        "crowd",
        "AND kind <> 'status'",
        "event_other (channel=? AND id<?)",
        "limited",
    ),
    (
        "retention",
        "FROM event ORDER BY id LIMIT 1",
        "SCAN event",
        "the first",
    ),
    (
        "ledger",
        "SELECT channel, name, n FROM ledger",
        "SCAN ledger",
        "once, at start; a few rows a channel",
    ),
    (
        "read",
        "SELECT count(*)",
        "SCAN message USING COVERING INDEX message_fresh",
        "counting, for people",
    ),
    (
        "read",
        "SELECT count(*)",
        "SCAN message USING INDEX message_retry",
        "counting, for people",
    ),
    (
        "read",
        "SELECT count(*)",
        "SCAN message USING COVERING INDEX message_attempting",
        "what is being sent",
    ),
    (
        "read",
        "SELECT count(*)",
        "SCAN message USING COVERING INDEX message_unknown",
        "counting, for people",
    ),
    (
        "read",
        "recipient = ?2 ORDER BY id DESC LIMIT",
        "message_recipient (recipient=?)",
        "limited",
    ),
    (
        "answered",
        "ORDER BY id DESC LIMIT ?4",
        "message_recipient (recipient=?)",
        "limited",
    ),
    (
        "answered",
        "ORDER BY id DESC LIMIT ?4",
        "SCAN (subquery-",
        "limited before",
    ),
    (
        "answered",
        "ORDER BY id DESC LIMIT ?4",
        "USE TEMP B-TREE FOR ORDER BY",
        "limited before",
    ),
    (
        "replies",
        "WHERE recipient = ?1 AND account = ?2 LIMIT 1",
        "message_recipient (recipient=?)",
        "asked where the webhook is open, of people who write STOP or START",
    ),
    (
        "replies",
        "FROM message ORDER BY id DESC LIMIT ?1",
        "SCAN message",
        "limited",
    ),
    (
        "replies",
        "WHERE channel = ?1 LIMIT 1",
        "message_key (channel=?)",
        "the first",
    ),
    (
        "sweep",
        "attempts = 0 AND due > ?2 LIMIT",
        "message_fresh (channel=? AND due>?)",
        "limited",
    ),
    (
        "sweep",
        "attempts <> 0 AND aside IN (0, 1) AND due > ?2 LIMIT",
        "message_retry (channel=? AND aside=? AND due>?)",
        "limited",
    ),
    (
        "sweep",
        "ready = 1 AND due > ?2 LIMIT",
        "callback_ready (channel=? AND lane=? AND due>?)",
        "limited",
    ),
    (
        "sweep",
        "state = 3 AND due > ?2 LIMIT",
        "message_unknown (due>?)",
        "beyond the longest hold: changed by the sweep, on whatever channel",
    ),
    (
        "sweep",
        "state = 3 AND due <= ?1 LIMIT",
        "message_unknown (due<?)",
        "limited",
    ),
    (
        "found",
        "due < ?2 AND accepted_at < ?2 LIMIT",
        "message_fresh (channel=? AND due<?)",
        "limited",
    ),
    (
        "found",
        "attempts <> 0 AND accepted_at < ?2 LIMIT",
        "message_retry_age (channel=? AND accepted_at<?)",
        "limited",
    ),
];

/// The texts in the sources of the store, by source.
fn texts() -> Vec<(String, Vec<String>)> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/embedded");
    let files = std::fs::read_dir(dir).unwrap();
    let files = files.map(|file| file.unwrap().path());
    // The layout is no statement of the work.
    let files = files.filter(|path| path.extension().is_some() && !path.ends_with("schema.rs"));
    let texts = files.map(|path| {
        let source = std::fs::read_to_string(&path).unwrap();
        let texts = source.split('"').skip(1).step_by(2);
        let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, texts.map(one_line).collect())
    });
    texts.collect()
}

fn is_statement(text: &str) -> bool {
    let verbs = ["SELECT ", "UPDATE ", "DELETE ", "INSERT "];
    verbs.iter().any(|verb| text.starts_with(verb)) && text != "SELECT "
}

/// All statements as the sources make them, by source: a named text or a condition that a source puts
/// into another is filled in.
pub(super) fn statements() -> Vec<(String, String)> {
    let texts = texts();
    let conditions = |of: &dyn Fn(&str) -> bool| -> Vec<String> {
        let texts = texts.iter().filter(|(file, _)| of(file));
        let texts = texts.flat_map(|(_, texts)| texts);
        let bare = |text: &&String| text.contains("= ?") && !is_statement(text);
        let bare = texts.filter(|text| bare(text) && !text.contains('{'));
        bare.cloned().collect()
    };
    let mut all = Vec::new();
    for (file, texts) in &texts {
        let columns = texts.iter().find(|text| text.contains("id, channel, "));
        let reached = texts.iter().find(|text| text.starts_with("(state IN"));
        let fitting = match &**file {
            // Its conditions come from its callers.
            "found" => conditions(&|file| file != "read"),
            own => conditions(&|file| file == own),
        };
        for text in texts {
            let mut text = text.replace("{}", "id");
            for (name, value) in [("{COLUMNS}", columns), ("{REACHED}", reached)] {
                text = text.replace(name, value.map_or(name, |value| value));
            }
            if !is_statement(&text) || text.ends_with(" FROM message") {
                // No statement, or the beginning of some.
                continue;
            }
            match text.contains("{condition}") {
                true => all.extend(fitting.iter().map(|condition| {
                    let text = text.replace("{condition}", condition);
                    (file.clone(), text)
                })),
                false => all.push((file.clone(), text)),
            }
        }
    }
    all
}

/// What a step of a plan reads: the index and how it is used, or the whole step; nothing for a step
/// that only says how others hang together.
fn reads(step: &str) -> Option<&str> {
    if step.starts_with("SEARCH") {
        let by = step.split_once(" USING ").map_or(step, |(_, by)| by);
        let by = by.strip_prefix("COVERING ").unwrap_or(by);
        return Some(by.strip_prefix("INDEX ").unwrap_or(by));
    }
    let scans = step.starts_with("SCAN") || step.contains("TEMP B-TREE");
    (scans && step != "SCAN CONSTANT ROW").then_some(step)
}

/// The plans that are not as they should be, and which of [`OTHERS`] were seen.
fn faults(conn: &Connection, seen: &mut BTreeSet<usize>) -> Vec<String> {
    let mut faults = Vec::new();
    for (file, sql) in statements() {
        let explained = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}"));
        let mut explained = explained.unwrap_or_else(|error| panic!("{file}: {error}\n    {sql}"));
        let steps = explained.raw_query().mapped(|row| row.get::<_, String>(3));
        for step in steps.map(Result::unwrap) {
            let Some(read) = reads(&step).filter(|read| !LOOK_UPS.contains(read)) else {
                continue;
            };
            let known = OTHERS.iter().position(|(of, part, how, _)| {
                *of == file && sql.contains(part) && (read == *how || read.starts_with(how))
            });
            match known {
                Some(known) => drop(seen.insert(known)),
                None => faults.push(format!("{file}: {step}\n    {sql}")),
            }
        }
    }
    faults
}

#[test]
fn r_33_every_statement_is_a_look_up_with_and_without_statistics() {
    let (dir, _store) = testing::store();
    let beside = testing::beside(dir.path());
    schema::keep_plans(&beside).unwrap();
    let all = statements();
    assert!(all.len() > 85, "they are not found any more: {all:#?}");
    let mut seen = BTreeSet::new();
    let new = faults(&beside, &mut seen);
    assert!(new.is_empty(), "in a new file:\n{}", new.join("\n"));
    rows::fill(&beside, 20_000);
    beside.execute_batch("ANALYZE").unwrap();
    let large = faults(&beside, &mut seen);
    assert!(large.is_empty(), "in a large file:\n{}", large.join("\n"));
    let all = OTHERS.iter().enumerate();
    let gone: Vec<_> = all.filter(|(place, _)| !seen.contains(place)).collect();
    assert!(gone.is_empty(), "no statement does this any more: {gone:?}");
}
