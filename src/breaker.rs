//! The circuit breaker of one account: when the provider itself is in trouble, stop asking.
//!
//! Counts connect errors, 5xx answers and timeouts only (design.md section 5). Open means that nothing
//! is claimed; after a pause one list call, which sends nothing, tests the provider, then one
//! message goes alone, then all. So an outage costs a handful of unknown sends, not one a pause.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// When it opens and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Failures in a row that open it.
    pub failures: u32,
    /// The first pause; each further one is twice as long.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

/// What may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// As much as the limiter allows.
    Free,
    /// One message, while no other is under way.
    One,
    /// Nothing before this pause is over.
    Wait(Duration),
    /// Nothing before a test call; report it with [`Breaker::tested`].
    Test,
}

/// What a call changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing that is worth a word.
    None,
    /// It opened.
    Opened,
    /// It closed after it was open.
    Closed,
}

#[derive(Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant, pause: Duration },
    HalfOpen { pause: Duration },
}

/// The breaker of one account.
#[derive(Debug)]
pub struct Breaker {
    settings: Settings,
    /// Written by every finished call, read by the worker and the ops listener.
    state: Mutex<State>,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: Mutex::new(State::Closed { failures: 0 }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What may be sent now.
    pub fn admits(&self) -> Admission {
        match *self.state() {
            State::Closed { .. } => Admission::Free,
            State::HalfOpen { .. } => Admission::One,
            State::Open { until, .. } => {
                let wait = until.saturating_duration_since(Instant::now());
                if wait.is_zero() {
                    Admission::Test
                } else {
                    Admission::Wait(wait)
                }
            }
        }
    }

    /// Whether it is open or trying to close.
    pub fn is_open(&self) -> bool {
        !matches!(*self.state(), State::Closed { .. })
    }

    /// A call ended.
    pub fn record(&self, outage: bool) -> Change {
        let mut state = self.state();
        let (next, change) = match (&*state, outage) {
            (State::Closed { failures }, true) if failures + 1 >= self.settings.failures => {
                (self.open(self.settings.first_pause), Change::Opened)
            }
            (State::Closed { failures }, true) => (
                State::Closed {
                    failures: failures + 1,
                },
                Change::None,
            ),
            (State::HalfOpen { pause }, true) => (self.open(self.longer(*pause)), Change::None),
            // What was under way when it opened neither closes it nor makes it worse.
            (State::Open { .. }, _) => return Change::None,
            (State::Closed { .. }, false) => (State::Closed { failures: 0 }, Change::None),
            (State::HalfOpen { .. }, false) => (State::Closed { failures: 0 }, Change::Closed),
        };
        *state = next;
        change
    }

    /// The test call ended.
    pub fn tested(&self, went_well: bool) {
        let mut state = self.state();
        if let State::Open { pause, .. } = *state {
            *state = if went_well {
                State::HalfOpen { pause }
            } else {
                self.open(self.longer(pause))
            };
        }
    }

    fn longer(&self, pause: Duration) -> Duration {
        (pause * 2).min(self.settings.longest_pause)
    }

    fn open(&self, pause: Duration) -> State {
        State::Open {
            until: Instant::now() + pause,
            pause,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(Settings {
            failures: 3,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(3),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_tests_and_closes() {
        let breaker = breaker();
        for outage in [true, true, false, true, true] {
            assert_eq!(breaker.record(outage), Change::None);
        }
        assert_eq!(breaker.record(true), Change::Opened, "the third in a row");
        assert_eq!(breaker.record(false), Change::None, "it was under way");
        assert!(matches!(breaker.admits(), Admission::Wait(_)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(breaker.admits(), Admission::Test);
        breaker.tested(true);
        assert_eq!(breaker.admits(), Admission::One);
        assert_eq!(breaker.record(false), Change::Closed);
        assert_eq!(breaker.admits(), Admission::Free);
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_a_bound() {
        let breaker = breaker();
        (0..3).for_each(|_| {
            breaker.record(true);
        });
        for seconds in [1, 2, 3, 3] {
            assert_eq!(
                breaker.admits(),
                Admission::Wait(Duration::from_secs(seconds))
            );
            tokio::time::advance(Duration::from_secs(seconds)).await;
            breaker.tested(false);
        }
    }
}
