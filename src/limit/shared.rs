//! The rate that all replicas on one Redis keep together.
//!
//! Slots are asked for in small blocks; what ended, was not used or was answered "too many" is told
//! with the next block or some milliseconds later, never with a round trip per message. One
//! conversation at a time, so steps are never out of order. Without Redis there are no permits; it
//! heals by itself.

use super::report::{Asked, Want};
use super::slot::{GrantedSlot, Start};
use super::state::State;
use super::{Rate, RateNow, distance};
use crate::domain::AccountId;
use crate::store::redis::Connection;
use crate::store::redis::rate::SharedRate;
use crate::telemetry::caught;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// What ends within this time is told together.
pub(super) const GATHER: Duration = Duration::from_millis(5);
/// Calls under way are told anew this often: a wiped Redis learns of them before it gives slots,
/// and a replica that is silent for 10 s (`rate.lua`) is taken for dead.
pub(super) const RENEW: Duration = Duration::from_millis(900);
/// The same when none is under way, so that a rate set elsewhere is seen.
const IDLE: Duration = Duration::from_secs(5);
/// How often the clock of Redis is looked at before the first slot is taken.
pub(super) const LEARN: Duration = Duration::from_millis(100);
/// How far ahead a call that is not a send takes its slot: further than any send does.
const FIRST_IN_LINE: Duration = Duration::from_secs(1);

/// The rate of an account, shared.
#[derive(Debug)]
pub(super) struct Shared {
    account: AccountId,
    rate: SharedRate,
    /// Held for arithmetic only, never across an await.
    state: Mutex<State>,
    /// Held for one step, across the await; the number of the last one.
    talk: tokio::sync::Mutex<u64>,
    /// Woken when a call ends or the rate changes: somebody may find room now.
    pub(super) room: Notify,
    /// Woken when a pause begins that a person should be told of.
    long_pause: Notify,
    /// Woken when there is something to tell, and when the limiter is gone.
    tell: Arc<Notify>,
}

impl Shared {
    pub(super) fn start(
        connection: Connection,
        account: AccountId,
        rate: Rate,
        tolerance: Duration,
    ) -> Arc<Self> {
        let shared = Arc::new(Self {
            rate: SharedRate::new(connection, &account),
            account,
            state: Mutex::new(State::new(rate, tolerance)),
            talk: tokio::sync::Mutex::new(0),
            room: Notify::new(),
            long_pause: Notify::new(),
            tell: Arc::new(Notify::new()),
        });
        let (teller, wakeup) = (Arc::downgrade(&shared), shared.tell.clone());
        tokio::spawn(async move {
            while let Some(shared) = teller.upgrade() {
                // Without it other replicas would take this one for gone.
                let rest = caught(shared.tell()).await.unwrap_or(RENEW);
                drop(shared);
                // Woken for what was told already more often than not.
                while timeout(rest, wakeup.notified()).await.is_ok() {
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

    async fn step(&self, want: Want) -> Vec<GrantedSlot> {
        let mut step = self.talk.lock().await;
        *step += 1;
        let (mut ask, report) = {
            let mut state = self.state();
            (state.ask(want, Instant::now()), state.report())
        };
        ask.step = *step;
        let sent = Instant::now();
        let asked = Asked { ask, report, sent };
        let (answer, got) = (self.rate.step(&asked.ask).await, Instant::now());
        let mut state = self.state();
        let was_down = state.down;
        match answer {
            Ok(answer) => {
                let before = (state.now(got).set, state.opens());
                let granted = state.learn(&asked, answer, got);
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
                granted
            }
            Err(error) => {
                state.lose(got);
                drop(state);
                if !was_down {
                    tracing::warn!(account = %self.account, %error, event = "permits_missing",
                        "nothing is sent: the rate is kept in Redis, which gives no permits; tried \
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
    ) -> Vec<SharedPermit> {
        let want = Want {
            most,
            counted: true,
            lead,
            horizon,
        };
        let granted = self.step(want).await.into_iter();
        granted.map(|slot| self.permit(slot, true)).collect()
    }

    /// The next slot, ahead of every send that has none yet, at whatever replica.
    pub(super) async fn next(self: &Arc<Self>) -> SharedPermit {
        loop {
            if let Some(slot) = self.one().await {
                return self.permit(slot, false);
            }
            let wait = self.state().opens_in(FIRST_IN_LINE, Instant::now());
            // An operator may end a pause meanwhile.
            let wait = wait.unwrap_or_default().min(FIRST_IN_LINE);
            sleep(wait.max(Duration::from_millis(1))).await;
        }
    }

    /// One slot within a second, for a call that needs no room or has it already.
    async fn one(&self) -> Option<GrantedSlot> {
        let want = Want {
            most: 1,
            counted: false,
            lead: Duration::ZERO,
            horizon: FIRST_IN_LINE,
        };
        self.step(want).await.pop()
    }

    fn permit(self: &Arc<Self>, granted: GrantedSlot, counted: bool) -> SharedPermit {
        SharedPermit {
            shared: self.clone(),
            granted: Some(granted),
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

    pub(super) fn set(&self, rate: Rate) {
        self.state().set(rate);
        self.tell.notify_one();
        self.room.notify_one();
    }

    pub(super) fn now(&self) -> RateNow {
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
pub(super) struct SharedPermit {
    shared: Arc<Shared>,
    /// `None` when it was given back.
    granted: Option<GrantedSlot>,
    counted: bool,
}

impl SharedPermit {
    /// Waits for the slot, or a new one within a second when it comes too late. Tells when the call
    /// started; it must not be made when `None`.
    pub(super) async fn begin(&mut self, until: Option<Instant>) -> Option<Instant> {
        let over = |at: Instant| until.is_some_and(|until| at >= until);
        while let Some(granted) = self.granted {
            let start = {
                let mut state = self.shared.state();
                let now = Instant::now();
                let start = state.may_start(&granted, now);
                if start == Start::Now && !over(now) {
                    state.count_start(&granted, now);
                    return Some(now);
                } else if start == Start::Late {
                    state.came_late(&granted, now);
                }
                start
            };
            match start {
                Start::At(at) if !over(at) => sleep_until(at).await,
                Start::At(_) | Start::Now => return None,
                Start::Void => self.granted = None,
                Start::Late => {
                    self.granted = None;
                    self.granted = self.shared.one().await;
                }
            }
        }
        None
    }

    /// The call has ended, or was never made.
    pub(super) fn end(&mut self, started: bool) {
        let mut state = self.shared.state();
        if let (false, Some(granted)) = (started, self.granted) {
            state.give_back(&granted);
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
