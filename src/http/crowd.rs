//! The connections of a listener, and who gives way when there is room for no more.
//!
//! Anybody can open connections and say nothing, so they must not be able to keep others out: at
//! the limit, those that have waited longest for their caller are closed for new ones. A connection
//! whose request is under way never is; when all are, new callers wait.

use super::patience::Phase;
use crate::telemetry::OncePerSecond;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// Nobody is closed who has waited for less: a caller needs a moment to send its request.
const LEAST_WAIT: Duration = Duration::from_millis(500);
/// How long a new caller waits before it is looked again who may give way.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The share of all connections that is closed at once: looking costs a look at all of them.
const SHARE: usize = 64;

static LOG: OncePerSecond = OncePerSecond::new();

/// All connections of one listener.
#[derive(Debug)]
pub(super) struct Crowd {
    most: usize,
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
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            seats: Arc::new(Semaphore::new(most)),
            seated: Arc::default(),
        }
    }

    /// A place for one more, as soon as there is one.
    pub(super) async fn seat(&self) -> Option<Seat> {
        loop {
            let seat = self.seats.clone().acquire_owned();
            let wait = if self.seats.available_permits() == 0 {
                self.make_room();
                LOOK_AGAIN
            } else {
                Duration::MAX
            };
            if let Ok(seat) = timeout(wait, seat).await {
                return Some(self.seated(seat.ok()?));
            }
        }
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

    /// Asks those to go that have waited longest.
    fn make_room(&self) {
        let now = Instant::now();
        let seated = lock(&self.seated);
        let mut waiting: Vec<(Instant, &Notify)> = seated
            .all
            .values()
            .filter_map(|(phase, wanted)| Some((phase.waits_since()?, &**wanted)))
            .filter(|(since, _)| now.duration_since(*since) >= LEAST_WAIT)
            .collect();
        let share = (self.most / SHARE).max(1);
        if waiting.len() > share {
            waiting.select_nth_unstable_by_key(share, |(since, _)| *since);
            waiting.truncate(share);
        }
        for (_, wanted) in &waiting {
            wanted.notify_one();
        }
        let closed = waiting.len();
        metrics::counter!("gateway_http_gave_way_total").increment(closed as u64);
        if LOG.passes() {
            tracing::warn!(
                connections = self.most,
                closed,
                "all connections are in use; those that have waited longest for their caller give \
                 way to new ones"
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
            if self.phase.waits_since().is_some() {
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
