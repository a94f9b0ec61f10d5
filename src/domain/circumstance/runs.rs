//! The runs of one scope: answers that are alike, since the provider last took a message of it.

use super::Call;
use crate::domain::{ChannelId, Phone};
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// Recipients accused alike that make a hold.
const ACCUSED: usize = 5;
/// How long the same accusation stands without a success until fewer make one.
const ACCUSED_FOR: Duration = Duration::from_secs(60);
/// Refusals with one reason that make a hold, and of how many recipients at least.
const REFUSED: (usize, usize) = (20, 5);
/// The same on probation.
const ON_PROBATION: (usize, usize) = (3, 2);
/// Refusals count for so long.
const REFUSED_WITHIN: Duration = Duration::from_secs(600);
/// Refusals are a circumstance only while the provider takes fewer than so many messages for each of
/// them: some people can never be reached, and a campaign goes on without them.
const TAKEN_FOR_EACH: u64 = 4;
/// However much was taken earlier: the latest are one where fewer than so many were taken for each of
/// them. So what went before does not make a time in which everybody is refused cost more.
const TAKEN_FOR_EACH_LATELY: u64 = 1;
/// A run in which nothing happened for so long is over.
const FORGOTTEN: Duration = Duration::from_secs(900);
/// Bounds of what is remembered.
const MOST_REASONS: usize = 8;
const MOST_REFUSALS: usize = 64;

/// How far a run reaches after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nobody else is concerned yet.
    Message,
    /// One recipient is accused for a minute; a list call tells whether everybody is.
    Ask,
    /// The scope is to be held.
    Hold,
}

/// What an answer says against a message, as it counts in a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Charge<'a> {
    /// Answers with the same reason are alike.
    pub(super) reason: &'a str,
    /// Whether a hold for this reason ended a short time ago.
    pub(super) on_probation: bool,
    /// When the answer came.
    pub(super) at: Instant,
}

/// The runs of one scope.
#[derive(Debug, Default)]
pub(super) struct Runs {
    all: Vec<Run>,
    /// Messages taken, ever.
    taken: u64,
    /// The latest beginning of a call whose message was taken.
    took: Option<Instant>,
}

/// Answers with one reason.
#[derive(Debug)]
struct Run {
    reason: String,
    last: Instant,
    /// Since when the same accusation stands without a success.
    accused_since: Option<Instant>,
    /// Distinct, no more than matter.
    accused: Vec<Phone>,
    /// Since when they are enough for a hold.
    enough_since: Option<Instant>,
    /// When a list call was last wanted, and whether its answer was told.
    asked: Option<Instant>,
    reported: bool,
    /// Distinct, no more than two.
    channels: Vec<ChannelId>,
    refused: VecDeque<Refused>,
}

#[derive(Debug)]
struct Refused {
    at: Instant,
    to: Phone,
    /// What had been taken by then.
    taken: u64,
}

impl Runs {
    /// The provider took a message. What began before a run says nothing about it.
    pub(super) fn taken(&mut self, began: Instant) {
        self.taken += 1;
        self.took = self.took.max(Some(began));
        for run in &mut self.all {
            if run.accused_since.is_some_and(|since| began > since) {
                run.accused_since = None;
                run.accused.clear();
                run.enough_since = None;
                run.asked = None;
                run.reported = false;
                run.channels.clear();
            }
        }
        self.all
            .retain(|run| run.accused_since.is_some() || !run.refused.is_empty());
    }

    /// Whether it was told of a recipient, and not of everybody, that the provider refuses what goes there,
    /// and nothing has been taken since.
    pub(super) fn one_is_refused(&self, now: Instant) -> bool {
        let lasts = |run: &&Run| now.saturating_duration_since(run.last) < FORGOTTEN;
        self.all.iter().filter(lasts).any(|run| run.reported)
    }

    /// Whether a message was taken whose call began after `since`.
    pub(super) fn took_since(&self, since: Instant) -> bool {
        self.took.is_some_and(|took| took > since)
    }

    /// Of how many channels the answers with this reason are, at most two.
    pub(super) fn channels(&self, reason: &str) -> usize {
        let run = self.all.iter().find(|run| run.reason == reason);
        run.map_or(0, |run| run.channels.len())
    }

    /// An answer accuses the message of this call. A run begins with its first call, not with the answer,
    /// as what is taken in between speaks against it; but not before what was taken already. While a call
    /// is `under_way` that began in the run and before there were enough recipients, only time makes a
    /// hold: a node that refuses at once does not speak for one that takes its time and takes everything.
    pub(super) fn accuse(
        &mut self,
        call: &Call,
        charge: Charge<'_>,
        under_way: impl Fn(RangeInclusive<Instant>) -> bool,
    ) -> Reach {
        let Charge {
            reason,
            on_probation,
            at: now,
        } = charge;
        let began = self.took.map_or(call.began, |took| took.max(call.began));
        let run = self.run(&call.channel, reason, now);
        let since = *run.accused_since.get_or_insert(began);
        if run.accused.len() < ACCUSED && !run.accused.contains(&call.to) {
            run.accused.push(call.to);
        }
        let most = if on_probation {
            ON_PROBATION.0
        } else {
            ACCUSED
        };
        let recipients = run.accused.len();
        if recipients >= most && !under_way(since..=*run.enough_since.get_or_insert(now)) {
            return Reach::Hold;
        }
        let a_minute = |since| now.saturating_duration_since(since) >= ACCUSED_FOR;
        match (a_minute(since), recipients) {
            (false, _) => Reach::Message,
            (true, 1) if run.asked.is_none_or(a_minute) => {
                run.asked = Some(now);
                Reach::Ask
            }
            (true, 1) => Reach::Message,
            (true, _) => Reach::Hold,
        }
    }

    /// An answer refuses the message of this call for good.
    pub(super) fn refuse(&mut self, call: &Call, charge: Charge<'_>) -> Reach {
        let Charge {
            reason,
            on_probation,
            at: now,
        } = charge;
        let (to, taken) = (call.to, self.taken);
        let run = self.run(&call.channel, reason, now);
        while run.refused.len() >= MOST_REFUSALS {
            run.refused.pop_front();
        }
        run.refused.push_back(Refused { at: now, to, taken });
        let old = |one: &Refused| now.saturating_duration_since(one.at) > REFUSED_WITHIN;
        while run.refused.front().is_some_and(old) {
            run.refused.pop_front();
        }
        let (most, recipients) = if on_probation { ON_PROBATION } else { REFUSED };
        let all = run.refused.len();
        let are_one = |last: usize, taken_for_each: u64| {
            let latest = run.refused.range(all - last..);
            let before = latest.clone().next().map_or(taken, |first| first.taken);
            taken - before < taken_for_each * last as u64 && distinct(latest) >= recipients
        };
        let enough = all >= most;
        // On probation so few are counted that people who can never be reached would do.
        let lately = !on_probation && enough && are_one(most, TAKEN_FOR_EACH_LATELY);
        if lately || enough && are_one(all, TAKEN_FOR_EACH) {
            return Reach::Hold;
        }
        Reach::Message
    }

    /// A list call that was wanted came back. Whether nobody was told yet; `None` when the run is over.
    pub(super) fn listed(&mut self, reason: &str) -> Option<bool> {
        let run = self.all.iter_mut().find(|run| run.reason == reason)?;
        run.accused_since?;
        Some(!std::mem::replace(&mut run.reported, true))
    }

    /// The run of a reason, begun where there is none.
    fn run(&mut self, channel: &ChannelId, reason: &str, now: Instant) -> &mut Run {
        self.all
            .retain(|run| now.saturating_duration_since(run.last) < FORGOTTEN);
        let place = self.all.iter().position(|run| run.reason == reason);
        let place = place.unwrap_or_else(|| {
            if self.all.len() >= MOST_REASONS {
                let oldest = self.all.iter().enumerate().min_by_key(|(_, run)| run.last);
                let oldest = oldest.map_or(0, |(place, _)| place);
                self.all.swap_remove(oldest);
            }
            self.all.push(Run {
                reason: reason.to_owned(),
                last: now,
                accused_since: None,
                accused: Vec::new(),
                enough_since: None,
                asked: None,
                reported: false,
                channels: Vec::new(),
                refused: VecDeque::new(),
            });
            self.all.len() - 1
        });
        let run = &mut self.all[place];
        run.last = now;
        if run.channels.len() < 2 && !run.channels.contains(channel) {
            run.channels.push(channel.clone());
        }
        run
    }
}

fn distinct<'a>(refused: impl Iterator<Item = &'a Refused>) -> usize {
    let mut people: Vec<Phone> = refused.map(|one| one.to).collect();
    people.sort_unstable();
    people.dedup();
    people.len()
}
