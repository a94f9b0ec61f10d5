//! When a roll call is over: everybody answered, or those who did not are gone. Always by some time.

use std::collections::HashMap;

/// Who showed no sign of life for so long is gone (ms).
const SILENT: i64 = 15_000;
/// Nobody is waited for beyond this (ms), alive or not.
const LONGEST: i64 = 120_000;

/// A roll call as Redis keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Roll {
    /// When it began, by the clock of Redis, as are all times here.
    pub(super) began: i64,
    /// Who is waited for, with their last sign of life and whether they answered.
    pub(super) called: Vec<(String, i64, bool)>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Somebody who may be alive did not answer yet.
    Wait,
    /// Work is handed out again; these never answered.
    Open(Vec<String>),
}

impl Roll {
    /// Reads it; `None` where no roll is called.
    pub(super) fn read(kept: &HashMap<String, String>) -> Option<Self> {
        let time = |text: &String| text.parse().unwrap_or_default();
        let began = kept.get("began").map(time)?;
        let mut called: Vec<_> = kept
            .iter()
            .filter_map(|(name, at)| Some((name.strip_prefix("w:")?, time(at))))
            .map(|(who, at)| (who.to_owned(), at, kept.contains_key(&format!("a:{who}"))))
            .collect();
        called.sort();
        Some(Self { began, called })
    }

    /// Whether it is over.
    pub(super) fn judge(&self, now: i64) -> Verdict {
        // A clock that was set back tells nothing of the time since.
        let is_over = |at: i64, time: i64| now < at || now - at >= time;
        let mut silent = Vec::new();
        for (who, seen, answered) in &self.called {
            let is_waited_for = !answered && !is_over(*seen, SILENT);
            if is_waited_for && !is_over(self.began, LONGEST) {
                return Verdict::Wait;
            }
            if !answered {
                silent.push(who.clone());
            }
        }
        Verdict::Open(silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roll(began: i64, called: &[(&str, i64, bool)]) -> Roll {
        let called = called
            .iter()
            .map(|(who, at, answered)| ((*who).to_owned(), *at, *answered));
        Roll {
            began,
            called: called.collect(),
        }
    }

    fn open(silent: &[&str]) -> Verdict {
        Verdict::Open(silent.iter().map(|who| (*who).to_owned()).collect())
    }

    #[test]
    fn it_is_read_as_the_scripts_write_it() {
        let kept = [
            ("run", "x"),
            ("began", "5"),
            ("w:a", "6"),
            ("w:b", "5"),
            ("a:a", "7"),
        ];
        let kept = kept.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let read = Roll::read(&kept.into_iter().collect());
        assert_eq!(read, Some(roll(5, &[("a", 6, true), ("b", 5, false)])));
        assert_eq!(Roll::read(&HashMap::new()), None);
    }

    #[test]
    fn it_waits_for_whoever_may_be_alive_and_for_nobody_for_ever() {
        let now = 1_000_000;
        for (called, expected) in [
            (vec![("a", now, true)], open(&[])),
            (vec![("a", now, true), ("b", now, false)], Verdict::Wait),
            (vec![("b", now - SILENT + 1, false)], Verdict::Wait),
            (vec![("b", now - SILENT, false)], open(&["b"])),
            (
                vec![("a", now - SILENT, false), ("b", now - 1, false)],
                Verdict::Wait,
            ),
            // Its clock was set back.
            (vec![("b", now + 1, false)], open(&["b"])),
        ] {
            assert_eq!(
                roll(now - SILENT, &called).judge(now),
                expected,
                "{called:?}"
            );
        }
        let alive = [("b", now, false)];
        assert_eq!(roll(now - LONGEST + 1, &alive).judge(now), Verdict::Wait);
        assert_eq!(roll(now - LONGEST, &alive).judge(now), open(&["b"]));
        assert_eq!(roll(now + 1, &alive).judge(now), open(&["b"]));
    }
}
