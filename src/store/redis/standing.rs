//! How an account stands with Redis: which server handed out work, how far it had come as this process saw it,
//! and whether it hands out any. A server that is another one, or had come farther than it says, hands out
//! nothing until the roll was called (`roll`).

use crate::store::{Steps, WentBack};
use redis::{FromRedisValue, ParsingError, Value};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::RwLock;
use tokio_util::task::TaskTracker;

/// Whose claim it was, nobody knows.
pub(super) const ANYBODY: &str = "*";
/// Of so many processes the last claims are known.
const MOST_KNOWN: usize = 64;

/// How far a state of Redis came with the work of this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// The step of its last claim.
    pub(super) own: String,
    /// Its last renewal.
    pub(super) renewal: u64,
}

/// Where a process stands in the eyes of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Work is handed out.
    Open,
    /// What the process remembers is to be put back.
    Called,
    /// That is done; others are waited for.
    Answered,
}

impl FromRedisValue for Place {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        Ok(match u8::from_redis_value(value)? {
            0 => Self::Open,
            1 => Self::Called,
            _ => Self::Answered,
        })
    }
}

/// What a renewal is told: where the process stands, the server, anybody's last claim, who has a lease, how far
/// the server had come with the work of this process, and the time with the roll.
#[derive(Debug)]
pub(super) struct RenewalAnswer(
    pub(super) Place,
    pub(super) String,
    pub(super) String,
    pub(super) Vec<(String, String)>,
    pub(super) Mark,
    pub(super) (i64, HashMap<String, String>),
);

impl FromRedisValue for RenewalAnswer {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (place, run, last, living, (own, renewal), roll) =
            FromRedisValue::from_redis_value(value)?;
        Ok(Self(place, run, last, living, Mark { own, renewal }, roll))
    }
}

/// The standing of one account.
#[derive(Debug, Default)]
pub(super) struct Standing {
    seen: Mutex<Seen>,
    /// Held by claims until what they took is remembered; whoever puts back what is remembered waits for them.
    pub(super) claims: RwLock<()>,
    /// Held while ends are stored again that Redis forgot: one batch of them after the other.
    pub(super) ends: tokio::sync::Mutex<()>,
    /// The same; whoever leaves waits until there are none.
    pub(super) ending: TaskTracker,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// The step of the last claim of this process that it heard of. Steps are texts of one length.
    pub(super) own: String,
    /// The same of anybody.
    pub(super) last: String,
    /// The server that handed out work; empty before the first renewal.
    pub(super) run: String,
    /// The last renewal that was begun, and the last whose answer came.
    pub(super) asked: u64,
    pub(super) heard: u64,
    /// Who had a lease, with their last claims.
    pub(super) others: Vec<(String, String)>,
    /// The last claims of all who had one, gone or not; `*` of somebody who was gone before this process came.
    pub(super) known: HashMap<String, String>,
    /// No work is handed out, as far as is known.
    pub(super) is_shut: bool,
    /// Nor will be until an operator decides.
    pub(super) held: Option<WentBack>,
    /// How often work was handed out anew.
    pub(super) openings: u64,
}

impl Seen {
    /// Who claimed, up to where.
    fn learn(&mut self, last: &str, living: &[(String, String)]) {
        let any = self.known.get(ANYBODY);
        let is_news = any.is_none_or(|any| **any < *last);
        if self.run.is_empty() && is_news && living.iter().all(|(_, step)| **step < *last) {
            self.known.insert(ANYBODY.into(), last.into());
        }
        for (who, step) in living.iter().filter(|(_, step)| !step.is_empty()) {
            self.known.insert(who.clone(), step.clone());
        }
        self.forget();
    }

    fn forget(&mut self) {
        while self.known.len() > MOST_KNOWN {
            let first = self.known.iter().min_by_key(|(_, step)| (*step).clone());
            let Some(first) = first.map(|(who, _)| who.clone()) else {
                break;
            };
            self.known.remove(&first);
        }
    }
}

impl Standing {
    fn kept(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn seen(&self) -> Seen {
        self.kept().clone()
    }

    /// How far everybody has come, as far as is known.
    pub(super) fn steps(&self, replica: &str) -> Steps {
        let seen = self.kept();
        let mut steps: Steps = seen.known.clone().into_iter().collect();
        if !seen.own.is_empty() {
            steps.insert(replica.into(), seen.own.clone());
        }
        steps
    }

    /// They had come so far, as is known from outside of Redis. Before the first renewal.
    pub(super) fn remember(&self, steps: &Steps, latest: &str) {
        let mut seen = self.kept();
        // A step that is still to come would lift all that follow.
        for (who, step) in steps.iter().filter(|(_, step)| step.as_str() <= latest) {
            seen.known.insert(who.clone(), step.clone());
            if *step > seen.last {
                seen.last.clone_from(step);
            }
        }
        seen.forget();
    }

    /// Whether work is handed out, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.kept().is_shut
    }

    /// How often work was handed out anew.
    pub(super) fn openings(&self) -> u64 {
        self.kept().openings
    }

    /// An operator is to decide.
    pub(super) fn hold(&self, held: WentBack) {
        self.kept().held = Some(held);
    }

    /// Redis handed out nothing.
    pub(super) fn shut(&self) {
        self.kept().is_shut = true;
    }

    /// Redis says who hands out work now. Another one than was known is asked about by a renewal.
    pub(super) fn gate(&self, gate: Option<&str>) {
        let mut seen = self.kept();
        let is_known = seen.run.is_empty() || gate.is_none_or(|gate| gate == seen.run);
        seen.is_shut |= !is_known;
    }

    /// The last claim of a process on the server that hands out work: what others take between two renewals of
    /// this one.
    pub(super) fn saw(&self, who: &str, step: &str) {
        let mut seen = self.kept();
        let is_process = who != ANYBODY && !who.starts_with("n:");
        let is_news = seen.known.get(who).is_none_or(|known| *step > **known);
        if !is_process || seen.is_shut || seen.run.is_empty() || !is_news {
            return;
        }
        // Now it is known whose that was.
        if seen.known.get(ANYBODY).is_some_and(|any| any == step) {
            seen.known.remove(ANYBODY);
        }
        seen.known.insert(who.into(), step.into());
        seen.forget();
        if *step > *seen.last {
            seen.last = step.into();
        }
    }

    /// A claim of this process was made in this step.
    pub(super) fn claimed(&self, step: &str) {
        let mut seen = self.kept();
        if *step > *seen.own {
            seen.own = step.into();
        }
        if *step > *seen.last {
            seen.last = step.into();
        }
    }

    /// The number of a renewal that is begun.
    pub(super) fn renews(&self) -> u64 {
        let mut seen = self.kept();
        seen.asked += 1;
        seen.asked
    }

    /// The first renewal that is begun from now on.
    pub(super) fn next_renewal(&self) -> u64 {
        self.kept().asked + 1
    }

    /// Takes in what the renewal of this number was answered. Whether work is handed out again.
    pub(super) fn hear(&self, report: &RenewalAnswer, renewal: u64) -> bool {
        let RenewalAnswer(place, run, last, living, ..) = report;
        let mut seen = self.kept();
        let was_shut = std::mem::replace(&mut seen.is_shut, *place != Place::Open);
        if seen.is_shut {
            return false;
        }
        seen.held = None;
        seen.openings += u64::from(was_shut);
        seen.learn(last, living);
        seen.run.clone_from(run);
        seen.heard = seen.heard.max(renewal);
        if *last > seen.last {
            seen.last.clone_from(last);
        }
        seen.others.clone_from(living);
        was_shut
    }

    /// What is remembered was put back on this server, which knows this renewal.
    pub(super) fn answered(&self, run: &str, renewal: u64) {
        let mut seen = self.kept();
        seen.run = run.into();
        seen.heard = seen.heard.max(renewal);
    }
}
