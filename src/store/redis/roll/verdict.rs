//! When a roll call is over: everybody answered, or those who did not are gone, always by some time. And whether
//! work is handed out then, or held because what waits may have been sent by somebody who does not say so.

use std::collections::HashMap;
use std::time::Duration;

/// Who showed no sign of life for so long is gone (ms).
const SILENT: i64 = 15_000;
/// Nobody is waited for beyond this (ms), alive or not.
const LONGEST: i64 = 120_000;

/// What stands for an operator who asked for a hold: they remember nothing of what was sent.
const ASKED: &str = "l:operator";

/// A roll call as Redis keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Roll {
    /// When it began, by the clock of Redis, as are all times here.
    pub(super) began: i64,
    /// Who is waited for.
    pub(super) called: Vec<Called>,
    /// Somebody who answered does not remember all that this state does not know, or saw a claim that it does not
    /// know of one who did not answer.
    pub(super) is_unsaid: bool,
    /// How many were seen to claim what this state does not know, and did not answer.
    pub(super) unsaid: usize,
    /// Whether an operator asked for it, who knows of a copy that was put back.
    pub(super) is_asked: bool,
    /// How many messages waited when it began.
    pub(super) waited: u64,
    /// How far Redis went back at the least.
    pub(super) back: Duration,
    /// Since when an operator is to decide.
    pub(super) held: Option<i64>,
}

/// A process that is waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Called {
    pub(super) who: String,
    /// Its last sign of life.
    pub(super) seen: i64,
    pub(super) answered: bool,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Somebody who may be alive did not answer yet.
    Wait,
    /// Work is handed out again; so many never answered.
    Open(usize),
    /// What waits may have been sent, and nobody says so: an operator decides. So many never answered.
    Hold(usize),
}

impl Roll {
    /// Reads it; `None` where no roll is called.
    pub(super) fn read(kept: &HashMap<String, String>) -> Option<Self> {
        let number = |name: &str| kept.get(name).and_then(|text| text.parse::<i64>().ok());
        let began = number("began")?;
        let is_answered = |who: &str| kept.contains_key(&format!("a:{who}"));
        let mut ahead = kept.keys().filter_map(|name| name.strip_prefix("o:"));
        let unsaid = ahead.by_ref().filter(|who| !is_answered(who)).count();
        let of = |name: &str| {
            let who = name.strip_prefix("w:")?;
            Some(Called {
                who: who.to_owned(),
                seen: number(name).unwrap_or_default(),
                answered: is_answered(who),
            })
        };
        let mut called: Vec<Called> = kept.keys().filter_map(|name| of(name)).collect();
        called.sort();
        let steps = ["seen", "last"].map(|name| number(name).unwrap_or_default());
        let back = steps[0].saturating_sub(steps[1]);
        let is_held = kept.get("stage").is_some_and(|stage| stage == "held");
        Some(Self {
            began,
            called,
            is_unsaid: unsaid > 0 || kept.keys().any(|name| name.starts_with("l:")),
            unsaid,
            is_asked: kept.contains_key(ASKED),
            waited: number("waiting")
                .and_then(|n| n.try_into().ok())
                .unwrap_or_default(),
            // From no claim at all nobody knows how far that is.
            back: Duration::from_micros(if steps[1] == 0 {
                0
            } else {
                back.try_into().unwrap_or_default()
            }),
            held: number("held").filter(|_| is_held),
        })
    }

    /// Whether what waits may have been sent, and nobody says so.
    pub(super) fn must_be_decided(&self) -> bool {
        self.waited > 0 && self.is_unsaid
    }

    /// Whether it is over.
    pub(super) fn judge(&self, now: i64) -> Verdict {
        // A clock that was set back tells nothing of the time since.
        let is_over = |at: i64, time: i64| now < at || now - at >= time;
        let silent: Vec<&Called> = self.called.iter().filter(|one| !one.answered).collect();
        let may_answer = |one: &&Called| !is_over(one.seen, SILENT);
        if silent.iter().any(may_answer) && !is_over(self.began, LONGEST) {
            return Verdict::Wait;
        }
        if self.must_be_decided() {
            Verdict::Hold(silent.len())
        } else {
            Verdict::Open(silent.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roll(began: i64, called: &[(&str, i64, bool)]) -> Roll {
        let called = called.iter().map(|(who, seen, answered)| Called {
            who: (*who).to_owned(),
            seen: *seen,
            answered: *answered,
        });
        Roll {
            began,
            called: called.collect(),
            ..Roll::default()
        }
    }

    #[test]
    fn it_is_read_as_the_scripts_write_it() {
        let read = |kept: &[(&str, &str)]| {
            let kept = kept
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Roll::read(&kept.collect())
        };
        let kept = [
            ("run", "x"),
            ("began", "5"),
            ("w:a", "6"),
            ("w:b", "5"),
            ("a:a", "7"),
        ];
        assert_eq!(
            read(&kept),
            Some(roll(5, &[("a", 6, true), ("b", 5, false)]))
        );
        let more = [
            ("o:a", "9"),
            ("waiting", "3"),
            ("last", "1000000"),
            ("seen", "3500000"),
        ];
        let mut expected = roll(5, &[("a", 6, true), ("b", 5, false)]);
        expected.waited = 3;
        expected.back = Duration::from_millis(2500);
        let mut all = [&kept[..], &more[..]].concat();
        assert_eq!(read(&all), Some(expected.clone()));
        for unsaid in ["o:b", "o:*", "l:a", ASKED] {
            all.push((unsaid, "9"));
            expected.is_unsaid = true;
            expected.is_asked = unsaid == ASKED;
            expected.unsaid = usize::from(unsaid.starts_with("o:"));
            assert_eq!(read(&all), Some(expected.clone()), "{unsaid}");
            all.pop();
        }
        (expected.is_unsaid, expected.is_asked, expected.unsaid) = (false, false, 0);
        all.extend([("stage", "held"), ("held", "8")]);
        expected.held = Some(8);
        assert_eq!(read(&all), Some(expected));
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn it_waits_for_whoever_may_be_alive_and_for_nobody_for_ever() {
        let now = 1_000_000;
        for (called, expected) in [
            (vec![("a", now, true)], Verdict::Open(0)),
            (vec![("a", now, true), ("b", now, false)], Verdict::Wait),
            (vec![("b", now - SILENT + 1, false)], Verdict::Wait),
            (vec![("b", now - SILENT, false)], Verdict::Open(1)),
            (
                vec![("a", now - SILENT, false), ("b", now - 1, false)],
                Verdict::Wait,
            ),
            // Its clock was set back.
            (vec![("b", now + 1, false)], Verdict::Open(1)),
        ] {
            assert_eq!(
                roll(now - SILENT, &called).judge(now),
                expected,
                "{called:?}"
            );
        }
        let alive = [("b", now, false)];
        assert_eq!(roll(now - LONGEST + 1, &alive).judge(now), Verdict::Wait);
        assert_eq!(roll(now - LONGEST, &alive).judge(now), Verdict::Open(1));
        assert_eq!(roll(now + 1, &alive).judge(now), Verdict::Open(1));
    }

    #[test]
    fn it_ends_in_a_hold_where_what_waits_may_have_been_sent_and_nobody_says_so() {
        let now = 1_000_000;
        let gone = |is_unsaid, waited| {
            let mut roll = roll(now, &[("a", now, true), ("b", now - SILENT, false)]);
            (roll.is_unsaid, roll.waited) = (is_unsaid, waited);
            roll.judge(now)
        };
        assert_eq!(gone(true, 1), Verdict::Hold(1));
        assert_eq!(gone(false, 1), Verdict::Open(1), "this state knows all");
        assert_eq!(gone(true, 0), Verdict::Open(1), "nothing waits");
    }
}
