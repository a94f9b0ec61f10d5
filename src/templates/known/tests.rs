//! The fold by example, and any sequence of lists against what may be said after it.

use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

const NOW: UnixMs = UnixMs(1_930_000_000_000);

fn whole(names: &[&str]) -> TemplateList {
    let variant = |name: &&str| Variant {
        name: (*name).to_owned(),
        language: "en".to_owned(),
        id: format!("id-{name}"),
        is_marketing: false,
    };
    TemplateList {
        variants: names.iter().map(variant).collect(),
        whole: true,
        unread: HashSet::new(),
    }
}

fn partial(names: &[&str]) -> TemplateList {
    TemplateList {
        whole: false,
        ..whole(names)
    }
}

fn unread(names: &[&str], unread: &str) -> TemplateList {
    TemplateList {
        unread: [unread.to_owned()].into(),
        ..whole(names)
    }
}

/// Folds lists that were asked for at these seconds; what is said of `name` after each.
fn said(name: &str, lists: Vec<(u64, TemplateList)>) -> String {
    let start = Instant::now();
    let mut known = Known::default();
    let said = lists.into_iter().map(|(second, list)| {
        known = known.fold(list, start + Duration::from_secs(second), NOW);
        word(&known, name)
    });
    said.collect::<Vec<_>>().join(" ")
}

fn word(known: &Known, name: &str) -> &'static str {
    match known.look(name, "en", true) {
        Lookup::Found(_) => "found",
        Lookup::Missing => "missing",
        Lookup::Unknown => "unknown",
    }
}

#[test]
fn r_07_one_list_that_lost_a_template_is_not_believed_a_second_one_is() {
    let (both, half, none) = (|| whole(&["a", "b"]), || whole(&["a"]), || whole(&[]));
    let after = |lists| said("b", lists);
    let shrunk = vec![(0, both()), (60, half()), (89, half()), (90, half())];
    assert_eq!(after(shrunk), "found unknown unknown missing");
    let back = vec![(0, both()), (60, half()), (80, both()), (90, half())];
    assert_eq!(after(back), "found unknown found unknown");
    let empty = vec![(0, both()), (60, none()), (90, none())];
    assert_eq!(after(empty), "found unknown missing");
    let first = vec![(0, none()), (29, none()), (30, none())];
    assert_eq!(after(first), "unknown unknown missing");
    // Halves in turn lose nothing for good.
    let turns = vec![
        (0, both()),
        (60, half()),
        (90, whole(&["b"])),
        (120, half()),
    ];
    assert_eq!(after(turns), "found unknown found unknown");
}

#[test]
fn r_07_while_a_list_is_in_doubt_nothing_is_missing() {
    let lists = vec![
        (0, whole(&["a", "b"])),
        (60, whole(&["a"])),
        (90, whole(&["a"])),
    ];
    assert_eq!(said("never", lists), "missing unknown missing");
}

#[test]
fn r_07_a_list_that_is_not_whole_keeps_what_was_known_and_proves_no_absence() {
    let lists = || {
        vec![
            (0, whole(&["a", "b"])),
            (60, partial(&["a"])),
            (90, partial(&["a"])),
        ]
    };
    assert_eq!(said("b", lists()), "found found found");
    assert_eq!(said("never", lists()), "missing unknown unknown");
    assert_eq!(
        said("b", vec![(0, partial(&[])), (60, partial(&["b"]))]),
        "unknown found"
    );
}

#[test]
fn r_07_an_unreadable_entry_keeps_its_own_templates_only() {
    let lists = || {
        vec![
            (0, whole(&["a", "b"])),
            (60, unread(&["a"], "b")),
            (90, unread(&["a"], "b")),
        ]
    };
    assert_eq!(said("b", lists()), "found found found");
    assert_eq!(said("never", lists()), "missing missing missing");
    assert_eq!(said("never", vec![(0, unread(&["a"], "never"))]), "unknown");
}

#[test]
fn r_07_what_the_store_kept_counts_as_known() {
    let kept = Known::kept(whole(&["a", "b"]).variants, NOW);
    assert_eq!(word(&kept, "never"), "missing");
    let at = Instant::now();
    let known = kept.fold(whole(&["a"]), at, NOW.plus(CONFIRM));
    assert_eq!(word(&known, "b"), "unknown");
    assert_eq!(known.variants().count(), 2, "kept for the next start too");
    assert_eq!(
        known.kept_at(),
        UnixMs(0),
        "and old, so that it refuses nothing"
    );
    let known = known.fold(whole(&["a"]), at + CONFIRM, NOW.plus(CONFIRM * 2));
    assert_eq!(
        (word(&known, "b"), known.variants().count()),
        ("missing", 1)
    );
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Debug, Clone)]
struct Told {
    after_s: u64,
    names: Vec<&'static str>,
    whole: bool,
    unread: Option<&'static str>,
}

fn told() -> impl Strategy<Value = Told> {
    let after_s = prop_oneof![Just(1), Just(29), Just(30), Just(3_600)];
    let names = proptest::sample::subsequence(NAMES.to_vec(), 0..=NAMES.len());
    let unread = proptest::option::weighted(0.2, proptest::sample::select(NAMES.to_vec()));
    let parts = (after_s, names, proptest::bool::weighted(0.8), unread);
    parts.prop_map(|(after_s, names, whole, unread)| Told {
        after_s,
        names,
        whole,
        unread,
    })
}

impl Told {
    fn list(&self) -> TemplateList {
        TemplateList {
            whole: self.whole,
            unread: self.unread.map(str::to_owned).into_iter().collect(),
            ..whole(&self.names)
        }
    }

    fn lacks(&self, name: &str) -> bool {
        self.whole && self.unread != Some(name) && !self.names.contains(&name)
    }
}

proptest! {
    #[test]
    fn r_07_nothing_is_missing_before_two_lists_far_enough_apart_lack_it(
        all in proptest::collection::vec(told(), 1..12),
    ) {
        let start = Instant::now();
        let (mut known, mut at) = (Known::default(), 0);
        // Since when whole lists lack a name without a break.
        let mut lacking = [None; NAMES.len()];
        let mut ever = [false; NAMES.len()];
        for one in &all {
            at += one.after_s;
            let before = known.clone();
            known = known.fold(one.list(), start + Duration::from_secs(at), NOW);
            for (n, name) in NAMES.into_iter().enumerate() {
                ever[n] |= one.names.contains(&name);
                lacking[n] = match one.lacks(name) {
                    true => lacking[n].or(Some(at)),
                    false if one.names.contains(&name) || one.whole => None,
                    false => lacking[n],
                };
                let (was, is) = (word(&before, name), word(&known, name));
                if one.names.contains(&name) {
                    prop_assert_eq!(is, "found");
                } else if is == "found" {
                    prop_assert!(ever[n] && !one.lacks(name), "kept, for nothing tells against it");
                }
                if is == "missing" {
                    prop_assert!(one.lacks(name), "the last list tells");
                    let long = lacking[n].is_some_and(|since| at - since >= CONFIRM.as_secs());
                    prop_assert!(!ever[n] || long, "{name} was listed: {all:?}");
                }
                prop_assert!(!(was == "found" && is == "missing"));
            }
        }
        // The same whole list twice, far enough apart, settles everything.
        let names = vec!["a"];
        for _ in 0..2 {
            at += CONFIRM.as_secs();
            known = known.fold(whole(&names), start + Duration::from_secs(at), NOW);
        }
        prop_assert_eq!(NAMES.map(|name| word(&known, name)), ["found", "missing", "missing", "missing"]);
        prop_assert!(!known.in_doubt);
    }
}
