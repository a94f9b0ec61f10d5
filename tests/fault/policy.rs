//! Did a bad answer, or a bad clock, decide about others? Asks the fakes: when was what taken (design.md
//! section 5).

use crate::fault::answers::is_final;
use crate::fault::books::Books;
use crate::fault::plan::{Class, Harm, Plan, Store};
use crate::fault::table::Figures;
use crate::fault::upset::Upset;
use std::collections::BTreeMap;

/// Messages of a process that may fail before a hold, and after each release on probation.
const MOST_FAILED: (usize, usize) = (20, 3);
/// What the log says when a hold ends by a trial.
const RELEASED: &str = "the provider took the message that was tried";
/// Accepted messages may be at most so old; a clock that is farther off says that they are too old.
const MAX_AGE_S: i64 = 24 * 3600;
/// After a leap, what was claimed before is still on its way for so long, in milliseconds.
const ON_ITS_WAY_MS: i64 = 1_300;
/// No more good messages were failed than it takes to see that it is not about them.
pub(crate) fn judge_failed(plan: &Plan, logs: &[String], figures: &mut Figures) {
    let releases = logs.iter().map(|log| log.matches(RELEASED).count());
    let releases: usize = releases.sum();
    let most = plan.replicas * (MOST_FAILED.0 + MOST_FAILED.1 * releases);
    if figures.refused > most {
        figures.fault(format!(
            "{} good messages were failed, at most {most} expected with {releases} releases",
            figures.refused
        ));
    }
}

/// What a harm must not do to others while it lasts. `accepted` says when each message was.
pub(crate) fn judge_harm(
    plan: &Plan,
    (books, accepted): (&Books, &BTreeMap<usize, i64>),
    (harm, from_ms, to_ms): (&Harm, i64, i64),
    figures: &mut Figures,
) {
    let sends = || {
        let stories = books.stories.iter().enumerate();
        stories.flat_map(|(n, story)| story.sends.iter().map(move |send| (n, send.at_ms as i64)))
    };
    let leap = match harm {
        // On Redis its clock counts, and that one is right.
        Harm::Clock(_, by) | Harm::Sleep(_, by) if plan.store == Store::Embedded => *by,
        Harm::Upset(Upset::Clock(by)) => *by,
        _ => 0,
    };
    match harm {
        Harm::Clock(_, by) | Harm::Sleep(_, by) | Harm::Upset(Upset::Clock(by))
            if leap.abs() > MAX_AGE_S =>
        {
            let old = |n: &usize| accepted.get(n).is_some_and(|at| *at < from_ms);
            let doubted = from_ms + ON_ITS_WAY_MS..to_ms;
            let sent = sends().filter(|(n, at)| *by > 0 && old(n) && doubted.contains(at));
            let sent = sent.count();
            // What was under way may have stood still with the machine.
            if sent > plan.most_at_once() {
                figures.fault(format!("{sent} sent while their age was in doubt"));
            }
        }
        Harm::Answer(answer) if answer["recipient"].is_string() => {
            let poisoned =
                |n: &usize| answer["recipient"] == crate::fault::traffic::person(*n)[1..];
            let late = (0..plan.messages).filter(|n| !poisoned(n));
            // Some people are refused for good, by a word about them.
            let ended = |n: &usize| books.stories[*n].spoiled.iter().any(|by| by == "refuse");
            let late = late.filter(|n| !ended(n));
            let late = late.filter(|n| !sends().any(|(sent, at)| sent == *n && at < to_ms));
            let late = late.count();
            if late > 0 {
                figures.fault(format!("{late} others waited for one refused recipient"));
            }
        }
        Harm::Answer(answer) if plan.class == Class::OneNode && !is_final(answer) => {
            // Not how many: that is the machine's. A hold would stop all.
            let late = from_ms + (to_ms - from_ms) / 2..to_ms;
            if !sends().any(|(_, at)| late.contains(&at)) {
                figures.fault("nothing is sent by the node that works".to_owned());
            }
        }
        _ => {}
    }
}
