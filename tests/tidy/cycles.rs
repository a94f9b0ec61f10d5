//! Files that import each other can only be read together. A folder's own file may name what is inside;
//! beside that, no file leads back to itself.

use super::source::Source;
use super::{PACKAGE, allowed, code, refused};
use std::collections::{BTreeMap, BTreeSet};

/// Files that still lead back to themselves, by the files of each ring. A ring that is smaller or gone is
/// a row to change: none may grow, none may come.
const RINGS: &[&[&str]] = &[];

type Module = Vec<String>;

#[test]
fn no_file_leads_back_to_itself() {
    let of = |path: &str, text: &str| Source::new(path, text);
    let ring = [
        of("src/a/mod.rs", "mod b; mod c;"),
        of("src/a/b.rs", "use super::c::C;"),
        of("src/a/c.rs", "use super::b::B;"),
    ];
    assert_eq!(
        rings(&ring),
        [BTreeSet::from(["a::b".to_owned(), "a::c".to_owned()])]
    );
    let line = [
        of("src/a/mod.rs", "mod b; mod c; use b::B; use c::C;"),
        of("src/a/b.rs", "use super::c::C; use super::A;"),
        of("src/a/c.rs", "use crate::a::A;"),
    ];
    assert!(rings(&line).is_empty());
    let known = |ring: &BTreeSet<String>| {
        let ring: Vec<_> = ring.iter().map(String::as_str).collect();
        RINGS.contains(&ring.as_slice())
    };
    refused(told(&rings(&ring), known));
    let found = rings(&code());
    allowed(told(&found, known));
    assert_eq!(
        found.len(),
        RINGS.len(),
        "a ring is gone: take its row out of RINGS"
    );
}

fn told(rings: &[BTreeSet<String>], known: impl Fn(&BTreeSet<String>) -> bool) -> Vec<String> {
    let unknown = rings.iter().filter(|ring| !known(ring));
    let fault = |ring: &BTreeSet<String>| {
        let files: Vec<_> = ring.iter().map(String::as_str).collect();
        format!(
            "src:1: {} lead back to themselves: move what they share into a file of its own (RINGS in \
             tests/tidy/cycles.rs has the present ones)",
            files.join(", ")
        )
    };
    unknown.map(fault).collect()
}

/// The largest sets of files of which each leads to each other.
fn rings(sources: &[Source]) -> Vec<BTreeSet<String>> {
    let production = || sources.iter().filter(|source| source.is_production());
    let files: BTreeSet<Module> = production().map(Source::module).collect();
    let mut leads: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for source in production() {
        let from = source.module();
        for named in source.named().into_iter().filter(|named| !named.in_test) {
            let Some((_, mut to)) = named.reaches(PACKAGE) else {
                continue;
            };
            // A folder around a file that is named alone says who may see something.
            if from.starts_with(&to) {
                continue;
            }
            while !to.is_empty() && !files.contains(&to) {
                to.pop();
            }
            // The root and a folder's own file name what is inside.
            if !to.is_empty() && !to.starts_with(&from) {
                leads.entry(from.clone()).or_default().insert(to);
            }
        }
    }
    let reach: BTreeMap<_, _> = files
        .iter()
        .map(|file| (file, reached(file, &leads)))
        .collect();
    let mut found: BTreeSet<BTreeSet<String>> = BTreeSet::new();
    for (file, all) in &reach {
        let back = all.iter().filter(|other| reach[other].contains(*file));
        let ring: BTreeSet<String> = back.map(|module| module.join("::")).collect();
        if ring.len() > 1 {
            found.insert(ring);
        }
    }
    found.into_iter().collect()
}

fn reached(file: &Module, leads: &BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<Module> {
    let (mut all, mut next) = (BTreeSet::new(), vec![file.clone()]);
    while let Some(one) = next.pop() {
        for to in leads.get(&one).into_iter().flatten() {
            if all.insert(to.clone()) {
                next.push(to.clone());
            }
        }
    }
    all
}
