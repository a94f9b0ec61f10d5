//! The connections of a listener, and who gives way when there is room for no more.
//!
//! Anybody can open connections and say nothing, or a byte now and then, so they must not be able to
//! keep others out: at the limit, connections that wait for their caller are closed for new ones, an
//! eighth at once. First those that lie idle, then those that owe bytes of a request. One on which a
//! token or a secret was shown goes only when none of the others waits, however briefly, and then one
//! for one. While we owe the answer none is closed; where we owe all, new callers wait.

use super::phase::{Phase, Readiness};
use super::{GivesWay, Limits};
use crate::telemetry::OncePerSecond;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// Nobody is closed who has waited for less: a caller needs a moment to send its request.
const LEAST_WAIT: Duration = Duration::from_millis(200);
/// How long a new caller waits before it is looked again who may give way.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// The share of all connections that strangers lose at once: looking costs a look at all of them, and
/// whoever wants to keep others out comes with many.
const SHARE: usize = 8;

static LOG: OncePerSecond = OncePerSecond::new();

/// All connections of one listener.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    /// So many are kept free, as far as strangers can be made to give way.
    kept: usize,
    order: GivesWay,
    /// Whether somebody waits for a place. Written by the accept loop, read after each answer.
    wanted: AtomicBool,
    /// One permit a connection.
    slots: Arc<Semaphore>,
    /// Those that have a slot. Locked when one comes or goes, never for a request.
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    all: HashMap<u64, (Phase, Arc<Notify>)>,
}

/// One connection's place; free again when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    number: u64,
    phase: Phase,
    /// Woken when somebody else wants the place.
    wanted: Arc<Notify>,
    taken: Arc<Mutex<Taken>>,
    _slot: OwnedSemaphorePermit,
}

impl Connections {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            most: limits.max_connections,
            kept: limits.kept_connections,
            order: limits.gives_way,
            wanted: AtomicBool::new(false),
            slots: Arc::new(Semaphore::new(limits.max_connections)),
            taken: Arc::default(),
        }
    }

    /// A place for one more, as soon as there is one.
    pub(super) async fn slot(&self) -> Option<Slot> {
        loop {
            let free = self.slots.available_permits();
            self.wanted.store(free == 0, Ordering::Relaxed);
            if free <= self.kept {
                self.make_room(free == 0);
            }
            let slot = self.slots.clone().acquire_owned();
            if let Ok(slot) = timeout(LOOK_AGAIN, slot).await {
                self.wanted.store(false, Ordering::Relaxed);
                return Some(self.taken(slot.ok()?));
            }
        }
    }

    /// Whether somebody waits for a place.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    fn taken(&self, slot: OwnedSemaphorePermit) -> Slot {
        let (phase, wanted) = (Phase::new(), Arc::new(Notify::new()));
        let mut taken = lock(&self.taken);
        let number = taken.next;
        taken.next += 1;
        taken.all.insert(number, (phase.clone(), wanted.clone()));
        Slot {
            number,
            phase,
            wanted,
            taken: self.taken.clone(),
            _slot: slot,
        }
    }

    /// Asks those to go that are readiest to; `wanted` when there is no place left at all.
    fn make_room(&self, wanted: bool) {
        let now = Instant::now();
        let taken = lock(&self.taken);
        let waiting = taken.all.values().filter_map(|(phase, notify)| {
            let (readiness, since) = phase.waits()?;
            Some(Waiting {
                readiness,
                waited: now.duration_since(since),
                who: &**notify,
            })
        });
        let strangers = (self.most / SHARE).max(1);
        let known = usize::from(wanted);
        let gone = leaving(waiting.collect(), self.order, strangers, known);
        for one in &gone {
            one.who.notify_one();
        }
        let closed = gone.len();
        metrics::counter!("gateway_http_gave_way_total").increment(closed as u64);
        // Where slots are kept free and nobody has to go yet, nothing is wrong.
        if (wanted || closed > 0) && LOG.passes() {
            tracing::warn!(
                connections = self.most,
                closed,
                event = "connections_nearly_all_used",
                "nearly all connections are in use; those that wait for their caller give way to new ones"
            );
        }
    }
}

/// A connection that waits for its caller.
#[derive(Debug)]
struct Waiting<T> {
    readiness: Readiness,
    waited: Duration,
    who: T,
}

/// Those that are asked to go: so many strangers, or so many known ones where no stranger waits. A
/// stranger that came a moment ago may go in a moment; who is let in may be another.
fn leaving<T>(
    mut waiting: Vec<Waiting<T>>,
    order: GivesWay,
    strangers: usize,
    known: usize,
) -> Vec<Waiting<T>> {
    let is_stranger = |one: &Waiting<T>| one.readiness < Readiness::Known;
    let most = if waiting.iter().any(is_stranger) {
        waiting.retain(is_stranger);
        strangers
    } else {
        known
    };
    waiting.retain(|one| one.waited >= LEAST_WAIT);
    if waiting.len() > most {
        waiting.select_nth_unstable_by(most, |a, b| {
            let by_time = match order {
                GivesWay::LongestFirst => b.waited.cmp(&a.waited),
                GivesWay::NewestFirst => a.waited.cmp(&b.waited),
            };
            a.readiness.cmp(&b.readiness).then(by_time)
        });
        waiting.truncate(most);
    }
    waiting
}

impl Slot {
    /// What the connection is doing.
    pub(super) fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Returns when the connection waits for its caller and somebody else wants the place.
    pub(super) async fn given_away(&self) {
        loop {
            self.wanted.notified().await;
            if self.phase.waits().is_some() {
                return;
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.taken).all.remove(&self.number);
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who goes of those that wait, by their milliseconds.
    fn gone(waiting: &[(Readiness, u64)], order: GivesWay, most: [usize; 2]) -> Vec<u64> {
        let waiting = waiting.iter().map(|(readiness, waited)| Waiting {
            readiness: *readiness,
            waited: Duration::from_millis(*waited),
            who: *waited,
        });
        let gone = leaving(waiting.collect(), order, most[0], most[1]);
        let mut gone: Vec<u64> = gone.into_iter().map(|one| one.who).collect();
        gone.sort_unstable();
        gone
    }

    #[test]
    fn r_69_known_callers_go_when_no_stranger_waits_and_one_for_one() {
        use GivesWay::{LongestFirst, NewestFirst};
        use Readiness::{Idle, Known, Owes};
        let none: [u64; 0] = [];
        let known = [(Known, 900), (Known, 300), (Known, 500), (Known, 10)];
        assert_eq!(gone(&known, LongestFirst, [8, 1]), [900]);
        assert_eq!(gone(&known, NewestFirst, [8, 1]), [300]);
        // Where places are only kept free, they all stay.
        assert_eq!(gone(&known, NewestFirst, [8, 0]), none);
        for young in [Idle, Owes] {
            let mut beside = known.to_vec();
            beside.push((young, 199));
            assert_eq!(gone(&beside, LongestFirst, [8, 1]), none, "{young:?}");
            beside.push((young, 200));
            assert_eq!(gone(&beside, LongestFirst, [8, 1]), [200], "{young:?}");
        }
        let strangers = [
            (Owes, 901),
            (Idle, 301),
            (Idle, 501),
            (Owes, 701),
            (Known, 999),
        ];
        assert_eq!(gone(&strangers, LongestFirst, [1, 1]), [501]);
        assert_eq!(gone(&strangers, LongestFirst, [3, 1]), [301, 501, 901]);
        assert_eq!(gone(&strangers, LongestFirst, [9, 1]), [301, 501, 701, 901]);
        assert_eq!(gone(&strangers, NewestFirst, [3, 1]), [301, 501, 701]);
    }
}
