//! The conventions of this code base, as tests: who may import whom, where outside crates may
//! appear, how long a file may grow, and what is left undone.
//!
//! A failure names file, line and what to do. Each rule is first shown a bad snippet, so that it is
//! seen to fail. The tables at the top are the rules; `tidy/source.rs` reads the code,
//! `tidy/documents.rs` has the rules of the documents, `tidy/generated.rs`
//! those that are written from declarations, `tidy/events.rs` the codes of log lines.

mod cycles;
mod documents;
mod events;
mod generated;
mod source;

use source::Source;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Who may import whom: a module, and what it may see. A row names only rows above it, so there
/// are no cycles. `*` is every row above but the sandbox.
///
/// Kept apart on purpose: `send` from `relay`, a door from a provider, and a provider from all that goes
/// through `providers`. A name with a `/` is a room in a room.
#[rustfmt::skip]
const MAP: &[(&str, &str)] = &[
    ("domain",    ""),
    ("clock",     "domain"),
    ("json",      ""),
    ("sandbox",   ""),
    ("store",     "domain clock"),
    ("telemetry", "domain store"),
    ("http",      "domain clock telemetry"),
    ("alert",     "http"),
    ("datastore", "domain http"),
    ("limit",     "domain store telemetry"),
    ("breaker",   ""),
    ("outbox",    "domain clock store telemetry alert"),
    ("accounts",  "domain clock store limit outbox alert"),
    ("providers/inbox", "domain store telemetry outbox alert http"),
    ("providers/jumper", "domain json clock store limit accounts outbox providers/inbox alert http"),
    ("providers", "domain store limit"),
    ("templates", "domain clock store outbox providers"),
    ("send",      "domain json clock store telemetry limit accounts outbox providers templates breaker alert"),
    ("worker",    "domain clock store limit accounts outbox breaker send"),
    ("maintenance", "domain clock store accounts outbox providers alert"),
    ("records",   "domain clock store telemetry accounts outbox alert datastore"),
    ("intake",    "domain clock store telemetry accounts outbox templates"),
    ("doors/moengage", "domain json telemetry accounts intake http alert"),
    ("doors",     "domain"),
    ("relay",     "domain clock store telemetry outbox doors alert"),
    ("ops",       "*"),
    ("config",    "*"),
    ("fuzz",      "*"),
    ("app",       "* sandbox"),
    ("cli",       "* sandbox"),
    ("main",      "*"),
];

/// What test code may see beyond the map.
const MAP_IN_TESTS: &[(&str, &str)] = &[
    // Lists are tested as they come off the wire.
    ("templates", "providers/jumper"),
    // The masked table of `gateway config` is part of the promise that no secret is shown.
    ("config", "cli"),
];

/// Which outside path may appear in which files of `src`, test code apart.
#[rustfmt::skip]
const OUTSIDE: &[(&str, &str)] = &[
    ("axum",            "doors/moengage providers/inbox providers/jumper/webhook ops sandbox http app"),
    ("reqwest",         "http/outgoing sandbox"),
    ("rusqlite",        "store/embedded"),
    ("redis",           "store/redis"),
    ("rlibphonenumber", "doors/moengage"),
    ("icu_normalizer",  "domain/keyword"),
    ("icu_properties",  "domain/keyword"),
    ("clap",            "cli sandbox/flags main"),
    ("anyhow",          "cli app main"),
    ("std::env",        "config"),
];

/// The same for calls: the wall clock is read in one place.
const OUTSIDE_CALLS: &[(&str, &str)] = &[("SystemTime::now", "clock sandbox")];

/// Where a word may stand in `src`. A secret is a type that can neither be printed nor compared; who
/// may take the text out of it is in this list. What a caller presents is compared in `channel` alone,
/// in constant time, so those who let callers in are not in it. TLS is never weakened.
#[rustfmt::skip]
const CAREFUL: &[(&str, &str)] = &[
    ("expose_secret", "alert accounts/channel config app/parts ops/webhook cli/ops_client cli/check providers/jumper/mod providers/jumper/token providers/jumper/webhook/secret store"),
    ("ct_eq", "accounts/channel"),
    ("danger_accept_invalid_certs", ""),
    ("danger_accept_invalid_hostnames", ""),
    ("dangerous", ""),
];

/// The most lines of a file, test code apart.
const LONGEST: usize = 300;

/// Files that may be longer, and why.
const LONGER: &[(&str, usize, &str)] = &[];

const PACKAGE: &str = "moengage_whatsapp_gateway";

#[test]
fn modules_import_only_what_is_below_them() {
    refused(imports("src/send.rs", "use crate::{domain::Phone, relay};"));
    refused(imports(
        "src/providers/jumper/token/held.rs",
        "fn f(x: super::super::super::super::doors::moengage::Wire) {}",
    ));
    refused(imports(
        "src/domain/id.rs",
        "mod inner { use super::super::super::store; }",
    ));
    refused(imports(
        "src/main.rs",
        "use moengage_whatsapp_gateway::sandbox::Knobs;",
    ));
    refused(imports("src/limit.rs", "use crate::fresh::Thing;"));
    refused(imports("src/fresh.rs", ""));
    allowed(imports(
        "src/send.rs",
        "// crate::relay\nuse crate::domain; const A: &str = r#\"crate::ops\"#;",
    ));
    allowed(imports(
        "src/limit.rs",
        "#[cfg(test)]\nmod tests { use super::super::sandbox; }",
    ));
    allowed(imports(
        "src/app.rs",
        "use crate::sandbox; use super::relay::{self, Relay as R};",
    ));
    allowed(code().iter().flat_map(imports_of).collect());
}

#[test]
fn the_map_has_no_cycle() {
    for (row, (module, sees)) in MAP.iter().enumerate() {
        for other in sees.split(' ').filter(|other| !["", "*"].contains(other)) {
            let above = MAP[..row].iter().any(|(name, _)| *name == other);
            assert!(
                above,
                "tests/tidy.rs: {module} sees {other}: move the row of {other} above it"
            );
        }
    }
}

#[test]
fn the_map_has_no_edge_that_nobody_uses() {
    let sources = code();
    let code = sources
        .iter()
        .filter(|source| source.path.starts_with("src/"));
    let used: BTreeSet<_> = code.flat_map(edges_of).collect();
    let edge = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    refused(unused(&[("domain", "store")], &used));
    allowed(unused(&[("store", "domain"), ("cli", "*")], &used));
    assert!(used.contains(&edge("relay", "doors")));
    allowed(unused(MAP, &used));
}

#[test]
fn outside_crates_stay_where_they_belong() {
    refused(outside("src/send.rs", "use axum::Json;"));
    refused(outside(
        "src/providers/jumper/wire.rs",
        "fn f(e: reqwest::Error) {}",
    ));
    refused(outside(
        "src/doors/moengage/mod.rs",
        "use {serde::Serialize, reqwest::Client};",
    ));
    allowed(outside(
        "src/store/mod.rs",
        "pub mod redis; fn f(s: Settings) { s.redis; } use super::redis::Connection;",
    ));
    refused(outside("src/store/mod.rs", "use redis::Cmd;"));
    refused(outside(
        "src/store/row.rs",
        "#[derive(clap::Args)] struct A;",
    ));
    refused(outside("src/http/mod.rs", "use std::{env, io};"));
    refused(outside(
        "src/limit.rs",
        "use std::time::SystemTime;\nfn f() { SystemTime::now(); }",
    ));
    allowed(outside(
        "src/limit.rs",
        "fn f(at: SystemTime) {}\n#[cfg(test)] mod tests { use axum::Json; }",
    ));
    allowed(outside(
        "src/providers/jumper/webhook/mod.rs",
        "use axum::Json; const V: &str = env!(\"X\");",
    ));
    allowed(outside(
        "src/config/values.rs",
        "struct Store { redis: Option<crate::store::redis::Settings> }",
    ));
    allowed(outside("src/http/outgoing.rs", "use reqwest::Client;"));
    allowed(code().iter().flat_map(outside_of).collect());
}

#[test]
fn files_stay_short() {
    let lines = |count: usize| "fn f() {}\n".repeat(count);
    refused(size_of(&Source::new("src/x.rs", &lines(LONGEST + 1))));
    let tested = format!(
        "{}#[cfg(test)]\nmod tests {{\n{}}}\n",
        lines(LONGEST),
        lines(500)
    );
    allowed(size_of(&Source::new("src/x.rs", &tested)));
    let mut pair = [
        Source::new("src/x/mod.rs", "#[cfg(test)]\nmod fake;"),
        Source::new("src/x/fake/lines.rs", &lines(LONGEST + 1)),
    ];
    Source::mark_test_files(&mut pair);
    allowed(size_of(&pair[1]));
    allowed(code().iter().flat_map(size_of).collect());
    for (path, most, _) in LONGER {
        let needed = code()
            .iter()
            .any(|file| file.path == *path && file.production_lines() > LONGEST);
        assert!(
            needed && *most > LONGEST,
            "tests/tidy.rs: {path} needs no exception: remove its row"
        );
    }
}

#[test]
fn what_travels_together_has_a_name() {
    let of = |text: &str| unnamed(&Source::new("src/a.rs", text));
    refused(of("fn f(a: u8, (b, c): (u8, &str)) {}"));
    refused(of("impl A { fn f<T: Into<u8>>(&self, pair: &(T, u8)) {} }"));
    refused(of("fn f<'b, T: Fn(u8) -> u8>(a: &'b mut (T, u8)) {}"));
    allowed(of(
        "fn f(a: u8, b: fn() -> (u8, u8), c: Vec<(u8, u8)>, d: ()) {}",
    ));
    allowed(of("#[cfg(test)]\nmod tests { fn f(a: (u8, u8)) {} }"));
    allowed(code().iter().flat_map(unnamed).collect());
}

#[test]
fn secrets_are_compared_in_one_place_and_taken_out_in_few() {
    let door = "fn f(s: &SecretString, t: &str) -> bool { s.expose_secret() == t }";
    refused(careful("src/ops/door.rs", door));
    refused(careful(
        "src/doors/moengage/caller.rs",
        "fn f() { let f = ExposeSecret::expose_secret; }",
    ));
    refused(careful(
        "src/providers/jumper/webhook/receive.rs",
        "fn f() { a.ct_eq(b) }",
    ));
    refused(careful(
        "src/alert.rs",
        "fn f() { b.danger_accept_invalid_certs(true) }",
    ));
    allowed(careful(
        "src/accounts/channel.rs",
        "fn f() { s.expose_secret().as_bytes().ct_eq(b) }",
    ));
    allowed(careful(
        "src/ops/door.rs",
        "// expose_secret\nfn f() { same(token, presented) }",
    ));
    let code = code();
    allowed(code.iter().flat_map(careful_of).collect());
    // The one comparison is there, and it is not the plain one.
    let channel = code
        .iter()
        .find(|file| file.path == "src/accounts/channel.rs")
        .expect("it");
    assert_eq!(channel.lines_with(&["ct_eq"]).len(), 1);
    assert_eq!(channel.lines_with(&["expose_secret"]).len(), 1);
}

#[test]
fn nothing_is_left_undone() {
    refused(undone(
        "src/x.rs",
        "#[test]\n#[ignore = \"slow\"]\nfn f() {}",
    ));
    refused(undone("src/x.rs", "fn f() { todo!() }"));
    refused(undone("tests/it/x.rs", "fn f() { std::dbg!(1); }"));
    refused(undone("src/x.rs", "fn f() { unimplemented!(\"later\") }"));
    allowed(undone("src/x.rs", "fn f() { ignore(todo); } // todo!()"));
    allowed(code().iter().flat_map(undone_of).collect());
}

#[test]
fn tests_wait_only_with_a_reason() {
    let sleeping = "fn f() { tokio::time::sleep(PAUSE).await; }";
    refused(waits("tests/it/x.rs", sleeping));
    refused(waits(
        "src/x.rs",
        "#[cfg(test)]\nmod tests { fn f() { sleep(PAUSE); } }",
    ));
    refused(waits(
        "tests/it/x.rs",
        "// a pause\nfn f() { std::thread::sleep(PAUSE) }",
    ));
    allowed(waits("src/x.rs", sleeping));
    allowed(waits(
        "tests/it/x.rs",
        "// waits because the lease\n// must run out\nsleep(PAUSE);",
    ));
    allowed(waits(
        "tests/it/x.rs",
        "sleep(PAUSE); // waits because the lease must run out",
    ));
    allowed(waits(
        "tests/it/x.rs",
        &format!("#[tokio::test(start_paused = true)] async {sleeping}"),
    ));
    allowed(code().iter().flat_map(waits_of).collect());
}

#[test]
fn every_source_file_says_what_it_is() {
    refused(opening("src/x.rs", "use std::fs;\n//! Late.\n"));
    allowed(opening("src/x.rs", "//! What it is.\n"));
    allowed(code().iter().flat_map(opening_of).collect());
}

#[test]
fn b_44_no_file_holds_a_credential() {
    for text in [
        concat!(
            "token = \"eyJ",
            "hbGciOiJSUzI1NiJ9.eyJtZXJjaGFudF9pZCI6IjEifQ.c2lnbmF0dXJl\""
        ),
        concat!("-----BEG", "IN PRIVATE KEY-----"),
    ] {
        refused(secrets_of("a/file", text));
    }
    allowed(secrets_of("a/file", "Bearer <jwt>"));
    let texts = files(Path::new("")).into_iter();
    let texts = texts.filter_map(|path| Some((fs::read_to_string(root().join(&path)).ok()?, path)));
    allowed(
        texts
            .flat_map(|(text, path)| secrets_of(&path, &text))
            .collect(),
    );
}

#[test]
fn no_file_names_a_machine_or_a_loose_end() {
    let bad = [
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        "cd \"/wo\u{72}k/x\"",
        "P=/ho\u{6d}e/me",
        "(/ro\u{6f}t/.cargo)",
    ];
    for text in bad {
        refused(lines_of("a/file", &format!("fine\n# {text}\n")));
    }
    allowed(lines_of(
        "a/file",
        "https://gw.example.com/home/ and framework/root/ are fine\n",
    ));
    let paths = files(Path::new("")).into_iter();
    let texts = paths.filter_map(|path| Some((fs::read_to_string(root().join(&path)).ok()?, path)));
    allowed(
        texts
            .flat_map(|(text, path)| lines_of(&path, &text))
            .collect(),
    );
}

fn imports(path: &str, text: &str) -> Vec<String> {
    imports_of(&Source::new(path, text))
}

fn imports_of(source: &Source) -> Vec<String> {
    let module = source.module();
    let known = |room: &str| MAP.iter().any(|(module, _)| *module == room);
    let mut faults = Vec::new();
    if source.path.starts_with("src/") && !module.is_empty() && !known(&room(&module)) {
        let path = &source.path;
        faults.push(format!(
            "{path}:1: module not in the import map: give it a row in tests/tidy.rs"
        ));
    }
    for named in source.named() {
        let Some((from, to)) = named.reaches(PACKAGE) else {
            continue;
        };
        let (from, to) = (room(from), room(&to));
        if from == to {
            continue;
        }
        let (from, to) = (from.as_str(), to.as_str());
        // Test code may see whatever stands above its room.
        let above = is_above(to, from) || to == "sandbox";
        let test = named.in_test && (above || MAP_IN_TESTS.contains(&(from, to)));
        if from != "lib" && source.path.starts_with("src/") && !test && !sees(from, to) {
            faults.push(format!(
                "{}:{}: {from} may not see {to}: move the code up, or pass in what it needs (MAP in tests/tidy.rs)",
                source.path, named.line
            ));
        }
    }
    faults
}

/// Which rooms of the map this file leads from and to, test code apart.
fn edges_of(source: &Source) -> BTreeSet<(String, String)> {
    let named = source.named().into_iter().filter(|named| !named.in_test);
    let edges = named.filter_map(|named| {
        let (from, to) = named.reaches(PACKAGE)?;
        Some((room(from), room(&to)))
    });
    edges.filter(|(from, to)| from != to).collect()
}

/// What the map permits and nobody does.
fn unused(map: &[(&str, &str)], used: &BTreeSet<(String, String)>) -> Vec<String> {
    let edges = map.iter().flat_map(|(from, sees)| {
        let named = sees
            .split(' ')
            .filter(|to| !["", "*", "sandbox"].contains(to));
        named.map(|to| (from.to_string(), to.to_owned()))
    });
    let unused = edges.filter(|edge| !used.contains(edge));
    unused
        .map(|(from, to)| {
            format!("tests/tidy.rs: {from} does not see {to}: take it out of the map")
        })
        .collect()
}

/// The room of the map that a path from the root leads into, else its first part.
fn room(path: &[String]) -> String {
    let rooms = (1..=path.len())
        .rev()
        .map(|length| path[..length].join("/"));
    let mut known = rooms.filter(|room| MAP.iter().any(|(module, _)| module == room));
    let first = path.first().map_or("lib", String::as_str);
    known.next().unwrap_or_else(|| first.to_owned())
}

fn is_above(room: &str, other: &str) -> bool {
    let row = |wanted: &str| MAP.iter().position(|(module, _)| *module == wanted);
    row(room).is_some_and(|room| row(other).is_some_and(|other| room < other))
}

fn sees(from: &str, to: &str) -> bool {
    let Some(row) = MAP.iter().position(|(module, _)| *module == from) else {
        return false;
    };
    let above = MAP[..row].iter().any(|(module, _)| *module == to);
    let mut words = MAP[row].1.split(' ');
    words.any(|word| word == to || word == "*" && above && to != "sandbox")
}

fn outside(path: &str, text: &str) -> Vec<String> {
    outside_of(&Source::new(path, text))
}

fn outside_of(source: &Source) -> Vec<String> {
    let Some(file) = source.path.strip_prefix("src/") else {
        return Vec::new();
    };
    let file = file.trim_end_matches(".rs");
    let named = source.named();
    let mut faults = Vec::new();
    let paths = OUTSIDE.iter().map(|row| (row, false));
    for ((path, places), call) in paths.chain(OUTSIDE_CALLS.iter().map(|row| (row, true))) {
        let at_home = |place| file == place || file.starts_with(&format!("{place}/"));
        if places.split(' ').any(at_home) {
            continue;
        }
        for name in named.iter().filter(|name| !name.in_test) {
            if if call {
                name.calls(path)
            } else {
                name.begins(path) && name.is_longer_than_a_word()
            } {
                let at = format!("{}:{}", source.path, name.line);
                faults.push(format!(
                    "{at}: {path} belongs in {places} only: call one of these"
                ));
            }
        }
    }
    faults
}

fn careful(path: &str, text: &str) -> Vec<String> {
    careful_of(&Source::new(path, text))
}

fn careful_of(source: &Source) -> Vec<String> {
    let Some(file) = source.path.strip_prefix("src/") else {
        return Vec::new();
    };
    let file = file.trim_end_matches(".rs");
    let mut faults = Vec::new();
    for (word, places) in CAREFUL {
        let at_home = |place: &str| file == place || file.starts_with(&format!("{place}/"));
        if !places.is_empty() && places.split(' ').any(at_home) {
            continue;
        }
        for line in source.lines_with(&[word]) {
            let at = format!("{}:{line}", source.path);
            faults.push(format!(
                "{at}: {word} has no business here (CAREFUL in tests/tidy.rs)"
            ));
        }
    }
    faults
}

fn size_of(source: &Source) -> Vec<String> {
    let exception = LONGER.iter().find(|(path, ..)| *path == source.path);
    let most = exception.map_or(LONGEST, |(_, most, _)| *most);
    let lines = source.production_lines();
    if !source.path.starts_with("src/") || lines <= most {
        return Vec::new();
    }
    vec![format!(
        "{}:{most}: {lines} lines, {most} is the most: make it a folder of the same name",
        source.path
    )]
}

fn unnamed(source: &Source) -> Vec<String> {
    let tuples = source.tuple_parameters().into_iter();
    let fault = |(function, line)| {
        format!(
            "{}:{line}: {function} takes a tuple: take its parts, or a struct that says what they are",
            source.path
        )
    };
    tuples.map(fault).collect()
}

fn undone(path: &str, text: &str) -> Vec<String> {
    undone_of(&Source::new(path, text))
}

fn undone_of(source: &Source) -> Vec<String> {
    let rules: [(&[&str], &str); 4] = [
        (
            &["#", "[", "ignore"],
            "an ignored test proves nothing: run it or remove it",
        ),
        (&["todo", "!"], "finish it"),
        (&["unimplemented", "!"], "finish it"),
        (&["dbg", "!"], "remove it, or log with tracing"),
    ];
    let mut faults = Vec::new();
    for (tokens, advice) in rules {
        for line in source.lines_with(tokens) {
            faults.push(format!(
                "{}:{line}: {}: {advice}",
                source.path,
                tokens.concat()
            ));
        }
    }
    faults
}

fn waits(path: &str, text: &str) -> Vec<String> {
    waits_of(&Source::new(path, text))
}

fn waits_of(source: &Source) -> Vec<String> {
    let lines: Vec<_> = source.text.lines().map(str::trim_start).collect();
    let reason = |line: &str| line.contains("// waits because");
    let reasoned = |line: usize| {
        let above = lines[..line - 1].iter().rev();
        let mut comments = above.take_while(|line| line.starts_with("//"));
        reason(lines[line - 1]) || comments.any(|line| reason(line))
    };
    let named = source.named();
    let sleeps = named.iter().filter(|name| {
        let sleeps = name.calls("sleep") || name.calls("sleep_until");
        sleeps && name.in_test && !name.in_paused_test && !reasoned(name.line)
    });
    let fault = |line| {
        let at = format!("{}:{line}", source.path);
        format!(
            "{at}: a test that sleeps: wait for the event, or say `// waits because ...` above it"
        )
    };
    sleeps.map(|name| fault(name.line)).collect()
}

fn opening(path: &str, text: &str) -> Vec<String> {
    opening_of(&Source::new(path, text))
}

fn opening_of(source: &Source) -> Vec<String> {
    if source.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![format!(
        "{}:1: open it with `//!`: what it is, what it never does",
        source.path
    )]
}

fn lines_of(path: &str, text: &str) -> Vec<String> {
    // In pieces, because this file is read too.
    let loose = [concat!("FIX", "ME"), concat!("XX", "X")];
    let machine = ["work", "root", "home"].map(|name| format!("/{name}/"));
    let mut faults = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let at = format!("{path}:{}", number + 1);
        if let Some(word) = loose.iter().find(|word| line.contains(**word)) {
            faults.push(format!("{at}: {word}: finish it, or file it as an issue"));
        }
        let absolute = |(start, _): (usize, &str)| {
            let before = line[..start].chars().next_back();
            before.is_none_or(|c| !c.is_alphanumeric() && !"-_.~/}".contains(c))
        };
        if let Some(path) = machine
            .iter()
            .find(|path| line.match_indices(*path).any(absolute))
        {
            faults.push(format!(
                "{at}: {path} is a path of one machine: make it relative, or configurable"
            ));
        }
    }
    faults
}

/// B-44: credentials in the repository. A whole JWT, a private key, a Slack webhook.
fn secrets_of(path: &str, text: &str) -> Vec<String> {
    // In pieces, because this file is read too; each with what must follow to be more than a mark.
    let marks = [
        (concat!("eyJ", "hbGciOi"), 40),
        (concat!("-----BEG", "IN "), 0),
        (concat!("hooks.slack", ".com/services/T"), 8),
    ];
    let follows = |rest: &str| {
        let in_token = |c: &char| c.is_ascii_alphanumeric() || "-_./".contains(*c);
        rest.chars().take_while(in_token).count()
    };
    let bad = |line: &str| {
        let holds = |(mark, least): &(&str, usize)| {
            line.split(mark).skip(1).any(|rest| follows(rest) >= *least)
        };
        marks.iter().any(holds)
    };
    let lines = text.lines().enumerate().filter(|(_, line)| bad(line));
    lines
        .map(|(number, _)| {
            format!(
                "{path}:{}: this looks like a credential: take it out",
                number + 1
            )
        })
        .collect()
}

fn allowed(mut faults: Vec<String>) {
    faults.dedup();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

fn refused(faults: Vec<String>) {
    assert!(!faults.is_empty(), "the rule lets a bad snippet pass");
}

/// All Rust files of `src` and `tests`.
fn code() -> Vec<Source> {
    let ours = |path: &String| path.starts_with("src/") || path.starts_with("tests/");
    let paths = files(Path::new("")).into_iter().filter(ours);
    let rust = paths.filter(|path| path.ends_with(".rs"));
    let mut sources: Vec<_> = rust.map(|path| Source::new(&path, &read(&path))).collect();
    Source::mark_test_files(&mut sources);
    assert!(
        sources.len() > 20,
        "found only {} source files",
        sources.len()
    );
    sources
}

/// All files below `folder` but what is built, kept or private here.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let entries = fs::read_dir(root().join(folder)).expect("a readable folder");
    for entry in entries.map(|entry| entry.expect("a readable folder")) {
        let path = folder.join(entry.file_name());
        let kind = entry.file_type().expect("a file type");
        let name = path.to_str().expect("a name in UTF-8").to_owned();
        if [".git", "target", "data", ".env"].contains(&name.as_str()) {
            continue;
        }
        if kind.is_dir() {
            found.extend(files(&path));
        } else if kind.is_file() {
            found.push(name);
        }
    }
    found.sort();
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
