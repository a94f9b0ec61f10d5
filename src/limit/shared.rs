//! The pace that all replicas on one Redis keep together.
//!
//! Slots are asked for in small blocks; what ended, was not used or was answered "too many" is told
//! with the next block or some milliseconds later, never with a round trip per message. One
//! conversation at a time, so steps are never out of order. Without Redis there are no permits; it
//! heals by itself.

use super::said::{Asked, Want};
use super::slot::{Grant, Start};
use super::state::State;
use super::{Pace, PaceNow, distance};
use crate::domain::AccountId;
use crate::store::redis::Connection;
use crate::store::redis::pace::SharedPace;
use crate::telemetry::caught;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// What ends within this time is told together.
pub(super) const GATHER: Duration = Duration::from_millis(5);
/// Calls under way are told anew this often: a wiped Redis learns of them before it gives slots,
/// and a replica that is silent for 10 s (`pace.lua`) is taken for dead.
pub(super) const RENEW: Duration = Duration::from_millis(900);
/// The same when none is under way, so that a pace set elsewhere is seen.
const IDLE: Duration = Duration::from_secs(5);
/// How often the clock of Redis is looked at before the first slot is taken.
pub(super) const LEARN: Duration = Duration::from_millis(100);
/// How far ahead a call that is not a send takes its slot: further than any send does.
const FIRST_IN_LINE: Duration = Duration::from_secs(1);

/// The pace of an account, shared.
#[derive(Debug)]
pub(super) struct Shared {
    account: AccountId,
    pace: SharedPace,
    /// Held for arithmetic only, never across an await.
    state: Mutex<State>,
    /// Held for one step, across the await; the number of the last one.
    talk: tokio::sync::Mutex<u64>,
    /// Rung when a call ends or the pace changes: somebody may find room now.
    pub(super) room: Notify,
    /// Rung when a pause begins that a person should be told of.
    long_pause: Notify,
    /// Rung when there is something to tell, and when the limiter is gone.
    tell: Arc<Notify>,
}

impl Shared {
    pub(super) fn start(
        connection: Connection,
        account: AccountId,
        pace: Pace,
        tolerance: Duration,
    ) -> Arc<Self> {
        let shared = Arc::new(Self {
            pace: SharedPace::new(connection, &account),
            account,
            state: Mutex::new(State::new(pace, tolerance)),
            talk: tokio::sync::Mutex::new(0),
            room: Notify::new(),
            long_pause: Notify::new(),
            tell: Arc::new(Notify::new()),
        });
        let (teller, bell) = (Arc::downgrade(&shared), shared.tell.clone());
        tokio::spawn(async move {
            while let Some(shared) = teller.upgrade() {
                // Without it other replicas would take this one for gone.
                let rest = caught(shared.tell()).await.unwrap_or(RENEW);
                drop(shared);
                // Rung for what was told already more often than not.
                while timeout(rest, bell.notified()).await.is_ok() {
                    sleep(GATHER).await;
                    let pressing = |shared: Arc<Self>| shared.state().is_pressing(Instant::now());
                    if teller.upgrade().is_none_or(pressing) {
                        break;
                    }
                }
            }
        });
        shared
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state holds plain numbers that are right after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what there is to tell; how long the next time may wait.
    async fn tell(&self) -> Duration {
        self.step(Want::default()).await;
        let state = self.state();
        if state.is_learning(Instant::now()) {
            LEARN
        } else if state.in_flight > 0 || state.down {
            RENEW
        } else {
            IDLE
        }
    }

    async fn step(&self, want: Want) -> Vec<Grant> {
        let mut step = self.talk.lock().await;
        *step += 1;
        let (mut ask, said) = {
            let mut state = self.state();
            (state.ask(want, Instant::now()), state.said())
        };
        ask.step = *step;
        let sent = Instant::now();
        let asked = Asked { ask, said, sent };
        let (told, got) = (self.pace.step(&asked.ask).await, Instant::now());
        let mut state = self.state();
        let was_down = state.down;
        match told {
            Ok(told) => {
                let before = (state.now(got).set, state.opens());
                let grants = state.learn(&asked, told, got);
                // Sooner than who waits for a slot was told: a pause has ended, here or elsewhere.
                let changed = state.now(got).set != before.0 || state.opens() < before.1;
                let news = state.news(got);
                drop(state);
                distance::tell(&self.account, news);
                if was_down {
                    let account = &self.account;
                    tracing::info!(%account, event = "permits_back", "Redis gives permits again");
                }
                if changed {
                    self.room.notify_one();
                }
                grants
            }
            Err(error) => {
                state.lose(got);
                drop(state);
                if !was_down {
                    tracing::warn!(account = %self.account, %error, event = "permits_missing",
                        "nothing is sent: the pace is kept in Redis, which gives no permits; tried \
                         again until it does, messages wait");
                }
                Vec::new()
            }
        }
    }

    pub(super) async fn reserve(
        self: &Arc<Self>,
        most: usize,
        lead: Duration,
        horizon: Duration,
    ) -> Vec<Ticket> {
        let want = Want {
            most,
            counted: true,
            lead,
            horizon,
        };
        let grants = self.step(want).await.into_iter();
        grants.map(|grant| self.ticket(grant, true)).collect()
    }

    /// The next slot, ahead of every send that has none yet, at whatever replica.
    pub(super) async fn next(self: &Arc<Self>) -> Ticket {
        loop {
            if let Some(grant) = self.one().await {
                return self.ticket(grant, false);
            }
            let wait = self.state().opens_in(FIRST_IN_LINE, Instant::now());
            // An operator may end a pause meanwhile.
            let wait = wait.unwrap_or_default().min(FIRST_IN_LINE);
            sleep(wait.max(Duration::from_millis(1))).await;
        }
    }

    /// One slot within a second, for a call that needs no room or has it already.
    async fn one(&self) -> Option<Grant> {
        let want = Want {
            most: 1,
            counted: false,
            lead: Duration::ZERO,
            horizon: FIRST_IN_LINE,
        };
        self.step(want).await.pop()
    }

    fn ticket(self: &Arc<Self>, grant: Grant, counted: bool) -> Ticket {
        Ticket {
            shared: self.clone(),
            grant: Some(grant),
            counted,
        }
    }

    pub(super) fn opens_in(&self, lead: Duration) -> Option<Duration> {
        self.state().opens_in(lead, Instant::now())
    }

    pub(super) fn slow_down(&self) {
        self.state().slow_down();
        self.tell.notify_one();
    }

    pub(super) fn wait(&self, pause: Duration) {
        if self.state().wait(pause, Instant::now()) {
            self.long_pause.notify_one();
        }
        self.tell.notify_one();
    }

    pub(super) fn end_pause(&self) {
        self.state().end_pause();
        self.tell.notify_one();
        self.room.notify_one();
    }

    pub(super) async fn long_pause(&self) -> Duration {
        loop {
            self.long_pause.notified().await;
            if let Some(left) = self.state().pause(Instant::now()) {
                return left;
            }
        }
    }

    pub(super) fn set(&self, pace: Pace) {
        self.state().set(pace);
        self.tell.notify_one();
        self.room.notify_one();
    }

    pub(super) fn now(&self) -> PaceNow {
        self.state().now(Instant::now())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Ends the teller.
        self.tell.notify_one();
    }
}

/// What a permit holds of it.
#[derive(Debug)]
pub(super) struct Ticket {
    shared: Arc<Shared>,
    /// `None` when it was given back.
    grant: Option<Grant>,
    counted: bool,
}

impl Ticket {
    /// Waits for the slot, or a new one within a second when it comes too late. Tells when the call
    /// started; it must not be made when `None`.
    pub(super) async fn begin(&mut self, until: Option<Instant>) -> Option<Instant> {
        let over = |at: Instant| until.is_some_and(|until| at >= until);
        while let Some(grant) = self.grant {
            let start = {
                let mut state = self.shared.state();
                let now = Instant::now();
                let start = state.may_start(&grant, now);
                if start == Start::Now && !over(now) {
                    state.count_start(&grant, now);
                    return Some(now);
                } else if start == Start::Late {
                    state.came_late(&grant, now);
                }
                start
            };
            match start {
                Start::At(at) if !over(at) => sleep_until(at).await,
                Start::At(_) | Start::Now => return None,
                Start::Void => self.grant = None,
                Start::Late => {
                    self.grant = None;
                    self.grant = self.shared.one().await;
                }
            }
        }
        None
    }

    /// The call has ended, or was never made.
    pub(super) fn end(&mut self, started: bool) {
        let mut state = self.shared.state();
        if let (false, Some(grant)) = (started, self.grant) {
            state.give_back(&grant);
        }
        if started {
            state.count_end();
        }
        if self.counted {
            state.end_call(Instant::now());
        }
        drop(state);
        self.shared.tell.notify_one();
        self.shared.room.notify_one();
    }
}
