//! Each line of the log that somebody may act on has a stable code, and docs/logs.md says what it means.

use super::{allowed, files, read, refused};
use std::collections::BTreeSet;
use std::path::Path;

/// Where lines are no operator's: the sandbox is for trying things out, tests are for us.
const APART: [&str; 3] = ["src/sandbox/", "src/fuzz/", "src/telemetry/testing.rs"];

#[test]
fn every_log_event_has_a_code_and_its_row_in_the_documents() {
    let (found, faults) = events(
        "a",
        r#"warn!(%error, event = "b_c", "words; (more)"); info!("x")"#,
    );
    assert_eq!(found, BTreeSet::from(["b_c".to_owned()]));
    refused(faults);
    refused(events("a", r#"tracing::error!(event = "Not_ours", "x");"#).1);
    allowed(
        events(
            "a",
            r#"tracing::debug!("x"); fn f(error: E) { error!(event = "d", "y") }"#,
        )
        .1,
    );
    let code = files(Path::new("src")).into_iter();
    let code = code.filter(|path| {
        let is_apart = APART.iter().any(|apart| path.starts_with(apart));
        path.ends_with(".rs") && !is_apart && !path.contains("/tests")
    });
    let (mut found, mut faults) = (BTreeSet::new(), Vec::new());
    for path in code {
        let text = read(&path);
        let production = text.split("#[cfg(test)]\nmod tests {").next();
        let (codes, without) = events(&path, production.unwrap_or_default());
        found.extend(codes);
        faults.extend(without);
    }
    allowed(faults);
    let page = read("docs/logs.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows = rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned()));
    let told: BTreeSet<String> = rows.collect();
    let untold: Vec<_> = found.difference(&told).collect();
    assert!(untold.is_empty(), "docs/logs.md has no row for {untold:?}");
    let gone: Vec<_> = told.difference(&found).collect();
    assert!(
        gone.is_empty(),
        "no line of the log has {gone:?} any more: codes are stable, so name it in docs/upgrading.md"
    );
}

/// The codes of a file's log lines from INFO on, and what has none.
fn events(path: &str, text: &str) -> (BTreeSet<String>, Vec<String>) {
    let (mut found, mut faults) = (BTreeSet::new(), Vec::new());
    for level in ["info!(", "warn!(", "error!("] {
        for (at, _) in text.match_indices(level) {
            let is_part = |c: char| c.is_alphanumeric() || c == '_';
            if text[..at].ends_with(is_part) {
                continue;
            }
            let call = arguments(&text[at + level.len()..]);
            let code = call
                .split_once("event = \"")
                .and_then(|(_, rest)| rest.split_once('"'));
            let is_code = |c: char| c.is_ascii_lowercase() || c == '_';
            match code {
                Some((code, _)) if code.chars().all(is_code) => drop(found.insert(code.to_owned())),
                _ => {
                    let line = text[..at].matches('\n').count() + 1;
                    faults.push(format!(
                        "{path}:{line}: a log line without a code: event = \"what_happened\""
                    ));
                }
            }
        }
    }
    (found, faults)
}

/// The text up to the parenthesis that closes a call.
fn arguments(text: &str) -> &str {
    let (mut depth, mut in_text, mut escaped) = (1, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_text => escaped = true,
            '"' => in_text = !in_text,
            '(' if !in_text => depth += 1,
            ')' if !in_text => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
    }
    text
}
