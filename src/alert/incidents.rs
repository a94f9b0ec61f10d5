//! Which incidents are open, and when a person is told of one. Pure: the time is an argument.
//!
//! What needs a person is told at once. What heals by itself is told when it has lasted for a while,
//! so that a blip wakes nobody. An incident is over when nothing was wrong for a moment: what flaps is
//! one incident, told once, and resolved once.

use super::Code;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// What heals by itself has this long.
pub(super) const HEALS_WITHIN: Duration = Duration::from_secs(60);
/// An incident that comes back within this was never over.
pub(super) const CALM: Duration = Duration::from_secs(10);
/// A person is reminded of the same incident after this, when it is reported again.
const AGAIN: Duration = Duration::from_hours(4);

/// What is wrong, and with whom.
pub(super) type Key = (Code, String);

/// A line for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// Something is wrong.
    Raised {
        key: Key,
        text: String,
        lasted: Duration,
    },
    /// What was raised is over.
    Resolved { key: Key, lasted: Duration },
}

#[derive(Debug)]
struct Incident {
    since: Instant,
    text: String,
    /// Whether it needs a person, or heals by itself.
    at_once: bool,
    /// When a person was told of it last.
    reported: Option<Instant>,
    /// Since when nothing is wrong.
    over: Option<Instant>,
}

impl Incident {
    fn begun(now: Instant) -> Self {
        Self {
            since: now,
            text: String::new(),
            at_once: false,
            reported: None,
            over: None,
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.over.is_none() && (self.at_once || now - self.since >= HEALS_WITHIN)
    }

    /// The end of it, once it has been over for long enough.
    fn ended(&self, now: Instant) -> Option<Instant> {
        self.over.filter(|over| now - *over >= CALM)
    }

    fn raise(&mut self, key: &Key, now: Instant) -> Line {
        self.reported = Some(now);
        Line::Raised {
            key: key.clone(),
            text: self.text.clone(),
            lasted: now - self.since,
        }
    }
}

/// All open incidents. Times must not run backwards.
#[derive(Debug, Default)]
pub(super) struct Book {
    open: HashMap<Key, Incident>,
}

impl Book {
    /// Something is wrong, or still is; `at_once` when it needs a person.
    pub(super) fn report(
        &mut self,
        key: Key,
        text: &str,
        at_once: bool,
        now: Instant,
    ) -> Vec<Line> {
        let mut lines = self.due(now);
        let incident = self
            .open
            .entry(key.clone())
            .or_insert_with(|| Incident::begun(now));
        incident.over = None;
        incident.at_once |= at_once;
        text.clone_into(&mut incident.text);
        let again = incident
            .reported
            .is_none_or(|reported| now - reported >= AGAIN);
        if again && incident.is_due(now) {
            lines.push(incident.raise(&key, now));
        }
        lines
    }

    /// Nothing is wrong any more. Whether there was an incident.
    pub(super) fn over(&mut self, key: &Key, now: Instant) -> bool {
        let incident = self.open.get_mut(key);
        incident.is_some_and(|one| one.over.replace(one.over.unwrap_or(now)).is_none())
    }

    /// What time has brought about: incidents that lasted too long, and those that are over.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Line> {
        let mut lines = Vec::new();
        self.open.retain(|key, incident| {
            let Some(end) = incident.ended(now) else {
                if incident.reported.is_none() && incident.is_due(now) {
                    lines.push(incident.raise(key, now));
                }
                return true;
            };
            if incident.reported.is_some() {
                lines.push(Line::Resolved {
                    key: key.clone(),
                    lasted: end - incident.since,
                });
            }
            false
        });
        lines
    }

    /// Whether something is wrong now.
    pub(super) fn is_open(&self, key: &Key) -> bool {
        self.open.get(key).is_some_and(|one| one.over.is_none())
    }

    /// Whether a person was told of it.
    #[cfg(test)]
    pub(super) fn is_told(&self, key: &Key) -> bool {
        self.open.get(key).is_some_and(|one| one.reported.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> Key {
        (Code::CircuitOpen, "account a".to_owned())
    }

    fn raised(lines: &[Line]) -> usize {
        let is_raised = |line: &&Line| matches!(line, Line::Raised { .. });
        lines.iter().filter(is_raised).count()
    }

    #[test]
    fn r_42_a_blip_is_told_to_nobody() {
        let (mut book, t) = (Book::default(), Instant::now());
        assert_eq!(book.report(key(), "503", false, t), []);
        let second = t + Duration::from_secs(1);
        assert!(book.over(&key(), second));
        assert!(!book.is_open(&key()));
        assert_eq!(book.due(second + HEALS_WITHIN), []);
        assert_eq!(book.due(second + AGAIN * 2), []);
    }

    #[test]
    fn r_42_what_lasts_is_told_once_and_so_is_its_end() {
        let (mut book, t) = (Book::default(), Instant::now());
        let after = |seconds| t + Duration::from_secs(seconds);
        assert_eq!(book.report(key(), "503", false, t), []);
        assert_eq!(book.due(after(59)), []);
        assert_eq!(raised(&book.due(after(60))), 1);
        assert_eq!(book.report(key(), "503", false, after(70)), []);
        assert_eq!(book.due(after(80)), []);
        assert!(book.over(&key(), after(90)));
        assert!(!book.over(&key(), after(95)), "it was over already");
        assert_eq!(book.due(after(99)), []);
        let lasted = Duration::from_secs(90);
        let resolved = Line::Resolved { key: key(), lasted };
        assert_eq!(book.due(after(100)), [resolved]);
        assert_eq!(book.due(after(9000)), []);
    }

    #[test]
    fn r_42_what_needs_a_person_is_told_at_once_and_again_after_four_hours() {
        let (mut book, t) = (Book::default(), Instant::now());
        assert_eq!(raised(&book.report(key(), "dead", true, t)), 1);
        let soon = t + AGAIN - Duration::from_secs(1);
        assert_eq!(book.report(key(), "dead", true, soon), []);
        assert_eq!(raised(&book.report(key(), "dead", true, t + AGAIN)), 1);
        // What was said to heal, and then does not, is told when that is known.
        let other = (Code::CircuitOpen, "account b".to_owned());
        assert_eq!(book.report(other.clone(), "503", false, t + AGAIN), []);
        assert_eq!(raised(&book.report(other, "401", true, t + AGAIN)), 1);
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Trouble,
        Raise,
        Over,
        Look,
    }

    fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
        let step = prop_oneof![
            4 => Just(Step::Trouble),
            1 => Just(Step::Raise),
            4 => Just(Step::Over),
            2 => Just(Step::Look),
        ];
        let pause = prop_oneof![8 => 0..20u64, 2 => 20..120u64, 1 => 1000..20_000u64];
        prop::collection::vec((pause, step), 0..60)
    }

    proptest! {
        /// However it flaps: told and resolved in turn, reminders hours apart, and nothing that heals
        /// is told before its time.
        #[test]
        fn r_42_an_incident_is_raised_and_resolved_once(steps in steps()) {
            let (mut book, start) = (Book::default(), Instant::now());
            let (mut now, mut reported, mut begun) = (start, None::<Instant>, None::<Instant>);
            let mut calm = None::<Instant>;
            let mut person = false;
            for (pause, step) in steps {
                now += Duration::from_secs(pause);
                if calm.is_some_and(|since| now - since >= CALM) {
                    (begun, calm, person) = (None, None, false);
                }
                let lines = match step {
                    Step::Trouble | Step::Raise => {
                        begun.get_or_insert(now);
                        calm = None;
                        person |= matches!(step, Step::Raise);
                        book.report(key(), "x", matches!(step, Step::Raise), now)
                    }
                    Step::Over => {
                        if begun.is_some() {
                            calm.get_or_insert(now);
                        }
                        book.over(&key(), now);
                        Vec::new()
                    }
                    Step::Look => book.due(now),
                };
                for line in lines {
                    match line {
                        Line::Raised { .. } => {
                            prop_assert!(reported.is_none_or(|at| now - at >= AGAIN), "told twice");
                            let lasted = begun.map(|since| now - since);
                            prop_assert!(person || lasted.is_some_and(|d| d >= HEALS_WITHIN));
                            reported = Some(now);
                        }
                        Line::Resolved { .. } => {
                            prop_assert!(reported.take().is_some(), "resolved and never raised");
                        }
                    }
                }
                let lasts = begun.is_some_and(|since| now - since >= HEALS_WITHIN);
                if matches!(step, Step::Look | Step::Trouble) && lasts && calm.is_none() {
                    prop_assert!(reported.is_some(), "it lasts and nobody was told");
                }
            }
        }
    }
}
