//! The connections of a listener, and who gives way when there is room for no more.
//!
//! Anybody can open connections and say nothing, or a byte now and then, so they must not be able to
//! keep others out: at the limit, connections that wait for their caller are closed for new ones.
//! First those that lie idle, then those that owe bytes of a request, last those of callers who have
//! shown a token or a secret. While we owe the answer none is closed; when all are, new callers wait.

use super::patience::{Phase, Readiness};
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
/// The share of all connections that is closed at once: looking costs a look at all of them, and
/// whoever wants to keep others out comes with many.
const SHARE: usize = 8;

static LOG: OncePerSecond = OncePerSecond::new();

/// All connections of one listener.
#[derive(Debug)]
pub(super) struct Crowd {
    most: usize,
    /// So many are kept free, as far as strangers can be made to give way.
    kept: usize,
    order: GivesWay,
    /// Whether somebody waits for a place. Written by the accept loop, read after each answer.
    wanted: AtomicBool,
    /// One permit a connection.
    seats: Arc<Semaphore>,
    /// Those that have a seat. Locked when one comes or goes, never for a request.
    seated: Arc<Mutex<Seated>>,
}

#[derive(Debug, Default)]
struct Seated {
    next: u64,
    all: HashMap<u64, (Phase, Arc<Notify>)>,
}

/// One connection's place; free again when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    number: u64,
    phase: Phase,
    /// Rung when somebody else wants the place.
    wanted: Arc<Notify>,
    seated: Arc<Mutex<Seated>>,
    _seat: OwnedSemaphorePermit,
}

impl Crowd {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            most: limits.max_connections,
            kept: limits.kept_connections,
            order: limits.gives_way,
            wanted: AtomicBool::new(false),
            seats: Arc::new(Semaphore::new(limits.max_connections)),
            seated: Arc::default(),
        }
    }

    /// A place for one more, as soon as there is one.
    pub(super) async fn seat(&self) -> Option<Seat> {
        loop {
            let free = self.seats.available_permits();
            self.wanted.store(free == 0, Ordering::Relaxed);
            if free <= self.kept {
                self.make_room();
            }
            let seat = self.seats.clone().acquire_owned();
            if let Ok(seat) = timeout(LOOK_AGAIN, seat).await {
                self.wanted.store(false, Ordering::Relaxed);
                return Some(self.seated(seat.ok()?));
            }
        }
    }

    /// Whether somebody waits for a place.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    fn seated(&self, seat: OwnedSemaphorePermit) -> Seat {
        let (phase, wanted) = (Phase::new(), Arc::new(Notify::new()));
        let mut seated = lock(&self.seated);
        let number = seated.next;
        seated.next += 1;
        seated.all.insert(number, (phase.clone(), wanted.clone()));
        Seat {
            number,
            phase,
            wanted,
            seated: self.seated.clone(),
            _seat: seat,
        }
    }

    /// Asks those to go that are readiest to.
    fn make_room(&self) {
        let now = Instant::now();
        let seated = lock(&self.seated);
        let mut waiting: Vec<(Readiness, Duration, &Notify)> = seated
            .all
            .values()
            .filter_map(|(phase, wanted)| {
                let (readiness, since) = phase.waits()?;
                Some((readiness, now.duration_since(since), &**wanted))
            })
            .filter(|(_, waited, _)| *waited >= LEAST_WAIT)
            .collect();
        let share = (self.most / SHARE).max(1);
        if waiting.len() > share {
            waiting.select_nth_unstable_by(share, |(a, a_waited, _), (b, b_waited, _)| {
                let by_time = match self.order {
                    GivesWay::LongestFirst => b_waited.cmp(a_waited),
                    GivesWay::NewestFirst => a_waited.cmp(b_waited),
                };
                a.cmp(b).then(by_time)
            });
            waiting.truncate(share);
        }
        for (_, _, wanted) in &waiting {
            wanted.notify_one();
        }
        let closed = waiting.len();
        metrics::counter!("gateway_http_gave_way_total").increment(closed as u64);
        if LOG.passes() {
            tracing::warn!(
                connections = self.most,
                closed,
                "all connections are in use; those that wait for their caller give way to new ones"
            );
        }
    }
}

impl Seat {
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

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.seated).all.remove(&self.number);
    }
}

fn lock(seated: &Mutex<Seated>) -> MutexGuard<'_, Seated> {
    seated.lock().unwrap_or_else(PoisonError::into_inner)
}
