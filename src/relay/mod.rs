//! The loop that tells MoEngage: one for each queue of callbacks, so a slow channel delays no other.
//!
//! Statuses go in batches, replies one by one; in order per message, since the outbox hands out at
//! most one callback of a message at a time. While MoEngage does not answer, one batch at a time
//! tests it after growing pauses; the first success makes everything due.

mod judge;
mod post;
mod standing;

pub use standing::{Standing, Trouble};

use post::{Post, Posted, settle};

use crate::clock;
use crate::domain::{Callback, Destination};
use crate::doors::Door;
use crate::outbox::{Outbox, retry_delay};
use crate::store::{CallbackQueue, PendingCallback};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tries after which a callback is told alone, so that it cannot hold back its neighbours.
const SUSPECT_AFTER: u32 = 3;
/// How long a small batch waits for company while others are under way.
const LINGER: Duration = Duration::from_millis(5);
/// Batches read from the store at once.
const TAKEN_AHEAD: usize = 4;
/// The longest sleep: what no wakeup tells of is seen after this.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// How long a store that cannot be used is left alone.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// How callbacks are relayed.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Posts under way at once.
    pub concurrency: usize,
    /// Entries of a batch at the most.
    pub batch_entries: usize,
    /// Bytes of a batch at the most.
    pub batch_bytes: usize,
    /// After this a callback becomes a dead letter.
    pub retry_for: Duration,
    /// The longest pause between tries; the first is one second.
    pub longest_pause: Duration,
}

/// The relay of one queue of callbacks.
#[derive(Debug)]
pub struct Relay {
    queue: CallbackQueue,
    url: Arc<str>,
    outbox: Outbox,
    door: Door,
    settings: Settings,
    /// Taken and not yet posted.
    waiting: VecDeque<PendingCallback>,
    /// Failures in a row, when the last one was seen, and until when nothing is posted.
    failures: u32,
    failed_at: Option<Instant>,
    /// Callbacks that were refused since one was taken.
    refusals: u32,
    /// Whether it was told that MoEngage takes nothing.
    troubled: bool,
    standing: Standing,
    /// Ends of posts on their way into the store; awaited when the process stops.
    settles: TaskTracker,
    paused_until: Option<Instant>,
    /// Whether the store could not be read when it was last asked.
    store_down: bool,
}

impl Relay {
    /// The relay of `queue` towards `url`.
    pub fn new(
        queue: CallbackQueue,
        url: &str,
        outbox: Outbox,
        door: Door,
        settings: Settings,
    ) -> Self {
        Self {
            queue,
            url: url.into(),
            outbox,
            door,
            settings,
            waiting: VecDeque::new(),
            failures: 0,
            failed_at: None,
            refusals: 0,
            troubled: false,
            standing: Standing::default(),
            settles: TaskTracker::new(),
            paused_until: None,
            store_down: false,
        }
    }

    /// The same, and it puts down there whether MoEngage takes callbacks.
    #[must_use]
    pub fn shown_in(mut self, standing: Standing) -> Self {
        self.standing = standing;
        self
    }

    /// Relays until `stop`, then waits for the posts under way. What is not posted by then is due
    /// at the next start.
    #[tracing::instrument(name = "relay", level = "debug", skip_all, fields(channel = %self.queue.channel, lane = self.queue.destination.as_str()))]
    pub async fn run(mut self, stop: CancellationToken) {
        let wakeup = self.outbox.wakeup(&self.queue);
        let mut posts = JoinSet::new();
        self.hasten().await;
        while !stop.is_cancelled() {
            while let Some(done) = posts.try_join_next() {
                self.ended(done).await;
            }
            // Registered before looking, so that nothing that comes in between is missed.
            let woken = wakeup.notified();
            let wait = self.step(&mut posts).await;
            if wait.is_zero() {
                continue;
            }
            tokio::select! {
                () = woken, if self.has_room(&posts) && self.paused_until.is_none() => {}
                Some(done) = posts.join_next() => self.ended(done).await,
                () = sleep(wait.min(LONGEST_SLEEP)) => {}
                () = stop.cancelled() => {}
            }
        }
        while let Some(done) = posts.join_next().await {
            self.ended(done).await;
        }
        self.settles.close();
        self.settles.wait().await;
    }

    /// Every waiting callback is due at once: at start (design.md section 5), and when MoEngage is back.
    async fn hasten(&self) {
        let hastened = self
            .outbox
            .store
            .hasten_callbacks(&self.queue, clock::now());
        if let Err(error) = hastened.await {
            tracing::warn!(channel = %self.queue.channel, lane = self.queue.destination.as_str(), %error,
                event = "callbacks_keep_pauses", "what waits for MoEngage keeps its pauses");
        }
    }

    fn has_room(&self, posts: &JoinSet<Posted>) -> bool {
        let most = if self.failures > 0 {
            1
        } else {
            self.settings.concurrency
        };
        posts.len() < most
    }

    /// Looks once and starts a post if it may. Returns how long to wait before looking again.
    async fn step(&mut self, posts: &mut JoinSet<Posted>) -> Duration {
        if let Some(until) = self.paused_until {
            let left = until.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                return left;
            }
            self.paused_until = None;
        }
        if !self.has_room(posts) {
            return LONGEST_SLEEP;
        }
        if !posts.is_empty() && self.waiting.len() < self.settings.batch_entries {
            sleep(LINGER).await;
        }
        match self.fill().await {
            Ok(None) => {}
            Ok(Some(wait)) => return wait,
            Err(pause) => return pause,
        }
        let batch = self.cut();
        let post = Post {
            url: self.url.clone(),
            door: self.door.clone(),
            settings: self.settings,
            queue: self.queue.clone(),
        };
        posts.spawn(async move { post.run(batch).await });
        Duration::ZERO
    }

    /// Makes sure that something waits. Otherwise tells how long there will be nothing.
    async fn fill(&mut self) -> Result<Option<Duration>, Duration> {
        let store = &self.outbox.store;
        if self.waiting.len() < self.settings.batch_entries {
            let wanted = TAKEN_AHEAD * self.settings.batch_entries - self.waiting.len();
            match store
                .take_callbacks(&self.queue, wanted, clock::now())
                .await
            {
                Ok(taken) => {
                    self.store_down = false;
                    self.waiting.extend(taken);
                }
                Err(error) => {
                    // Told once an outage.
                    if !std::mem::replace(&mut self.store_down, true) {
                        tracing::warn!(channel = %self.queue.channel, %error,
                            lane = self.queue.destination.as_str(),
                            event = "callbacks_not_read",
                            "callbacks cannot be read; retrying every second");
                    }
                    self.outbox.failed(&error);
                    return Err(STORE_PAUSE);
                }
            }
        }
        // What another process may have taken over meanwhile is its to tell.
        self.waiting.retain(|one| store.may_relay(&self.queue, one));
        if !self.waiting.is_empty() {
            return Ok(None);
        }
        let due = store
            .next_callback_due(&self.queue)
            .await
            .map_err(|_| STORE_PAUSE)?;
        let wait = due.map_or(LONGEST_SLEEP, |due| due.since(clock::now()));
        Ok(Some(wait.max(Duration::from_millis(1))))
    }

    /// The next batch: a suspect alone, a reply alone, else as many as fit.
    fn cut(&mut self) -> Vec<PendingCallback> {
        let suspect = |one: &PendingCallback| one.tries >= SUSPECT_AFTER;
        let alone = self.queue.destination == Destination::Inbound
            || self.waiting.front().is_some_and(suspect);
        let most = if alone {
            1
        } else {
            let fit = self.waiting.iter().take_while(|one| !suspect(one));
            let entries: Vec<Callback> = fit.map(|one| one.callback.clone()).collect();
            self.door.fits(
                &entries,
                self.settings.batch_entries,
                self.settings.batch_bytes,
            )
        };
        self.waiting
            .drain(..most.clamp(1, self.waiting.len()))
            .collect()
    }

    async fn ended(&mut self, posted: Result<Posted, JoinError>) {
        // Its panic was caught and its callbacks put off; else the next start makes them due.
        let Ok(posted) = posted else { return };
        self.judge(posted.began, &posted.health).await;
        // Beside the loop, which has heard what it must know.
        let (outbox, queue) = (self.outbox.clone(), self.queue.clone());
        self.settles.spawn(settle(outbox, queue, posted.ends));
    }
}

/// 1 s, 2 s, 4 s ... up to `longest`, with up to a fifth of jitter.
fn pause(failures: u32, longest: Duration) -> Duration {
    retry_delay(failures, Duration::from_secs(1), longest, 1.0).mul_f64(0.8 + 0.2 * fastrand::f64())
}

#[cfg(test)]
mod tests;
