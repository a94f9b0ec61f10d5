//! What is known of an account's templates after each list. Pure: the lists and the clock are
//! arguments.
//!
//! A list says what there is; that something is not there it says only when it is whole and loses
//! nothing that was known. What it loses is in doubt until another whole list, asked for at least
//! [`CONFIRM`] later, loses it too (design.md section 5); nothing is called missing meanwhile.

use super::Lookup;
use crate::domain::UnixMs;
use crate::domain::template::{TemplateList, Variant};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Between two lists that lose the same templates lies at least this before they are believed.
pub(super) const CONFIRM: Duration = Duration::from_secs(30);

/// The templates of one account, as the lists so far tell.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    by_name: HashMap<String, HashMap<String, Entry>>,
    /// Since when the lists are empty.
    empty_since: Option<Instant>,
    /// When the last list was given.
    pub(super) fetched_at: Option<UnixMs>,
    /// When a list was given last whose absences are believed.
    pub(super) proved_at: Option<UnixMs>,
    /// Names whose entry could not be read: on the last list, or since when whole lists do not name
    /// them any more.
    unread: HashMap<String, Option<Instant>>,
    /// Whether the last list was whole.
    pub(super) whole: bool,
    /// Whether the last list lost something, or everything, and is not believed yet.
    pub(super) in_doubt: bool,
}

#[derive(Debug, Clone)]
struct Entry {
    variant: Arc<Variant>,
    /// When the first of the whole lists was asked for that, without a break, did not name it.
    lost: Option<Instant>,
}

impl Known {
    /// What the store kept of an earlier run. The first approved variant of a name and a language
    /// wins (B-12).
    pub(super) fn kept(variants: Vec<Variant>, fetched_at: UnixMs) -> Self {
        Self {
            by_name: first_of_each(variants),
            fetched_at: Some(fetched_at),
            proved_at: Some(fetched_at),
            whole: true,
            ..Self::default()
        }
    }

    /// What is known after this list, which was asked for at `asked` and came at `now`.
    pub(super) fn fold(&self, list: TemplateList, asked: Instant, now: UnixMs) -> Self {
        let whole = list.whole;
        let empty_since = match list.variants.is_empty() {
            true if whole => Some(self.empty_since.unwrap_or(asked)),
            true => self.empty_since,
            false => None,
        };
        let unread = self.unread_after(&list, asked);
        let mut by_name = first_of_each(list.variants);
        for (name, languages) in &self.by_name {
            let is_unread = list.unread.contains(name);
            for (language, entry) in languages {
                let lost = match entry.lost {
                    // It is there, whatever it is.
                    _ if whole && is_unread => None,
                    Some(since) if whole && asked.duration_since(since) >= CONFIRM => continue,
                    None if whole => Some(asked),
                    lost => lost,
                };
                let entry = || Entry {
                    variant: entry.variant.clone(),
                    lost,
                };
                by_name
                    .entry(name.clone())
                    .or_default()
                    .entry(language.clone())
                    .or_insert_with(entry);
            }
        }
        let empty = empty_since.is_some_and(|since| asked.duration_since(since) < CONFIRM);
        let lost = by_name
            .values()
            .flat_map(HashMap::values)
            .any(|entry| entry.lost.is_some());
        let in_doubt = empty || lost;
        Self {
            by_name,
            empty_since,
            fetched_at: Some(now),
            proved_at: if whole && !in_doubt {
                Some(now)
            } else {
                self.proved_at
            },
            unread,
            whole,
            in_doubt,
        }
    }

    /// The names in whose entries something may stand that nobody could read, after this list.
    fn unread_after(
        &self,
        list: &TemplateList,
        asked: Instant,
    ) -> HashMap<String, Option<Instant>> {
        let mut unread: HashMap<_, _> = list
            .unread
            .iter()
            .map(|name| (name.clone(), None))
            .collect();
        for (name, since) in &self.unread {
            let since = match since {
                None if list.whole => Some(asked),
                since => *since,
            };
            let listed = list.variants.iter().any(|variant| variant.name == *name);
            let long = |since| asked.duration_since(since) >= CONFIRM;
            let over = listed || list.whole && since.is_some_and(long);
            if !over {
                unread.entry(name.clone()).or_insert(since);
            }
        }
        unread
    }

    /// What is known of a name and a language; `fresh` is whether absences are young enough.
    pub(super) fn look(&self, name: &str, language: &str, fresh: bool) -> Lookup {
        let entry = self
            .by_name
            .get(name)
            .and_then(|languages| languages.get(language));
        match entry {
            Some(entry) if entry.lost.is_none() => Lookup::Found(entry.variant.clone()),
            None if fresh && self.whole && !self.in_doubt && !self.unread.contains_key(name) => {
                Lookup::Missing
            }
            _ => Lookup::Unknown,
        }
    }

    /// The age to keep it with: whoever starts with it must not believe absences that are not believed
    /// here, and an old list refuses nothing.
    pub(super) fn kept_at(&self) -> UnixMs {
        let proof = self.whole && !self.in_doubt && self.unread.is_empty();
        self.proved_at.filter(|_| proof).unwrap_or(UnixMs(0))
    }

    /// All variants that are not believed to be gone.
    pub(super) fn variants(&self) -> impl Iterator<Item = &Variant> {
        self.entries().map(|entry| entry.variant.as_ref())
    }

    /// How many variants are in doubt.
    pub(super) fn lost(&self) -> usize {
        self.entries().filter(|entry| entry.lost.is_some()).count()
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.by_name.values().flat_map(HashMap::values)
    }
}

fn first_of_each(variants: Vec<Variant>) -> HashMap<String, HashMap<String, Entry>> {
    let mut by_name: HashMap<String, HashMap<String, Entry>> = HashMap::new();
    for variant in variants {
        by_name
            .entry(variant.name.clone())
            .or_default()
            .entry(variant.language.clone())
            .or_insert_with(|| Entry {
                variant: Arc::new(variant),
                lost: None,
            });
    }
    by_name
}

#[cfg(test)]
mod tests;
