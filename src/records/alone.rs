//! Records that failed by themselves, so that the next batches are not cut for their sake again.
//!
//! One that fails alone proves nothing: perhaps Datastore takes no record at all. It is the record's own fault
//! once others were written, before it in the same batch or since it failed. Kept in memory: after a restart they
//! are found again. Another replica may write a record meanwhile, so they are forgotten after a while.

use crate::outbox::retry_delay;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// The most that are remembered. Of more, each is found anew in each batch.
const MOST: usize = 1000;
/// The first and the longest pause of a record that Datastore refuses.
const REFUSED: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3600));
/// The same of one that may be written at the next try.
const UNLUCKY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// So many records that are refused one by one, and none that is written: all are refused.
pub(super) const ENOUGH: usize = 8;
/// For how long a refusal counts among those.
const LATELY: Duration = Duration::from_secs(600);
/// After so long a record that did not fail again is forgotten: it was tried elsewhere. Longer than any pause.
const FORGOTTEN: Duration = Duration::from_secs(2 * 3600);

/// The records that failed by themselves, by the name of their entity.
#[derive(Debug, Default)]
pub(super) struct Alone {
    records: HashMap<String, Failing>,
    /// When a record was written last.
    written: Option<Instant>,
}

#[derive(Debug)]
struct Failing {
    /// When it failed by itself for the first time.
    since: Instant,
    /// When it did for the last time.
    last: Instant,
    /// Whether it was refused then.
    refused: bool,
    /// How often it did while others were written.
    times: u32,
}

impl Alone {
    /// Datastore has the records of these names; some were written `now`.
    pub(super) fn written<'a>(&mut self, names: impl Iterator<Item = &'a str>, now: Instant) {
        self.written = Some(now);
        self.ended(names);
    }

    /// Datastore has the records of these names, or newer ones.
    pub(super) fn ended<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        if !self.records.is_empty() {
            for name in names {
                self.records.remove(name);
            }
        }
    }

    /// Whether so many were refused lately, and none was written since, that no record is to blame.
    pub(super) fn are_many(&self, now: Instant) -> bool {
        let counts = |one: &&Failing| {
            one.refused
                && one.last + LATELY > now
                && self.written.is_none_or(|written| one.last > written)
        };
        self.records.values().filter(counts).count() >= ENOUGH
    }

    /// Whether a record is to be kept apart from others.
    pub(super) fn is_apart(&self, name: &str) -> bool {
        self.records.get(name).is_some_and(|one| one.times > 0)
    }

    /// A record failed by itself; `others` when Datastore takes others at that time. The pause that it has by
    /// itself; `None` while Datastore may refuse all records alike.
    pub(super) fn failed(
        &mut self,
        name: &str,
        others: bool,
        refused: bool,
        now: Instant,
    ) -> Option<Duration> {
        let (first, longest) = if refused { REFUSED } else { UNLUCKY };
        if !self.records.contains_key(name) {
            self.records.retain(|_, one| one.last + FORGOTTEN > now);
            if self.records.len() >= MOST {
                return others.then_some(first);
            }
        }
        let fresh = Failing {
            since: now,
            last: now,
            refused,
            times: 0,
        };
        let one = self.records.entry(name.to_owned()).or_insert(fresh);
        (one.last, one.refused) = (now, refused);
        let since = self.written.is_some_and(|written| written > one.since);
        if !others && !since {
            return None;
        }
        one.times = one.times.saturating_add(1);
        Some(retry_delay(one.times, first, longest, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_61_a_record_is_to_blame_only_when_others_were_written() {
        let (mut alone, start) = (Alone::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        alone.written(["other"].into_iter(), start);
        for second in 1..9 {
            assert_eq!(alone.failed("a", false, true, at(second)), None);
            assert!(!alone.is_apart("a"));
        }
        alone.written(["other"].into_iter(), at(9));
        assert_eq!(alone.failed("a", false, true, at(10)), Some(REFUSED.0));
        assert!(alone.is_apart("a") && !alone.is_apart("other"));
        assert_eq!(alone.failed("a", true, true, at(15)), Some(REFUSED.0 * 2));
        for _ in 0..20 {
            alone.failed("a", false, true, at(30));
        }
        assert_eq!(alone.failed("a", false, true, at(30)), Some(REFUSED.1));
        alone.written(["a"].into_iter(), at(31));
        assert!(!alone.is_apart("a"));
        assert_eq!(alone.failed("b", true, false, at(31)), Some(UNLUCKY.0));
    }

    #[test]
    fn what_is_written_elsewhere_is_forgotten() {
        let (mut alone, start) = (Alone::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for name in ["superseded", "elsewhere", "failing"] {
            alone.failed(name, true, true, start);
        }
        alone.ended(["superseded"].into_iter());
        assert!(!alone.is_apart("superseded") && alone.is_apart("elsewhere"));
        alone.failed("failing", true, true, at(3600));
        alone.failed("new", true, true, at(7201));
        assert!(!alone.is_apart("elsewhere") && alone.is_apart("failing"));
    }

    #[test]
    fn r_61_many_that_are_refused_lately_are_not_to_blame() {
        let (mut alone, start) = (Alone::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for n in 0..ENOUGH {
            assert!(!alone.are_many(at(2)));
            alone.failed("lost", false, false, at(1));
            alone.failed(&n.to_string(), false, true, at(1));
        }
        assert!(alone.are_many(at(2)) && !alone.are_many(at(1000)));
        alone.written(["other"].into_iter(), at(2));
        assert!(!alone.are_many(at(2)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut alone, now) = (Alone::default(), Instant::now());
        for n in 0..MOST + 5 {
            assert!(alone.failed(&n.to_string(), true, true, now).is_some());
        }
        assert_eq!(alone.records.len(), MOST);
        assert_eq!(alone.failed("one more", false, true, now), None);
    }
}
