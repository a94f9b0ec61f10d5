//! The loop that sends: one an account. Wakes, takes permits, claims, sends, backs off, drains.
//!
//! Permits come before claims, and a claim takes no more than the permits of the next moment; so
//! one durable write serves many sends, and little is marked as attempting at any time.

mod claim;
mod fair_order;
mod shares;
mod trials;

use fair_order::FairOrder;
use shares::Shares;
pub use trials::Trials;

use crate::accounts::{Account, Channel};
use crate::breaker::{Admission, Breaker};
use crate::clock;
use crate::domain::ChannelId;
use crate::limit::Permit;
use crate::outbox::Outbox;
use crate::send::Sender;
use crate::store::Claims;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Messages claimed in one write at the most.
const MOST_CLAIMED: usize = 256;
/// How far ahead permits are taken (design.md section 4).
const HORIZON: Duration = Duration::from_millis(20);
/// Bounds of the time that a claim is expected to take.
const LEAD: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(250));
/// How long a store that cannot be used is left alone.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How long a missing token or template list is left alone, or a store that hands out nothing; all are looked
/// after elsewhere.
const NOT_READY: Duration = Duration::from_millis(250);
/// How long the queue is left alone while the clocks disagree and nothing of it may be sent.
const IN_DOUBT: Duration = Duration::from_millis(250);
/// The longest sleep: what no wakeup tells of is seen after this.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// The worker of one account.
#[derive(Debug)]
pub struct Worker {
    account: Arc<Account>,
    channels: Vec<Arc<Channel>>,
    outbox: Outbox,
    sender: Arc<Sender>,
    breaker: Arc<Breaker>,
    /// Sends under way; awaited when the process stops.
    sends: TaskTracker,
    /// Which channel is served first, so that they share the permits.
    order: FairOrder,
    /// How much of each channel may go to what was tried before.
    shares: HashMap<ChannelId, Shares>,
    /// How long a claim takes, smoothed: slots begin this far ahead.
    lead: Duration,
    /// Fired when nothing new may be begun.
    stop: CancellationToken,
    /// Whether the store could not be used when it was last asked.
    store_down: bool,
}

/// What to do after a step.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Look again at once.
    Again,
    /// Look again after this, or when there is work.
    Sleep(Duration),
    /// Look again after this, when the next slot is near. New work changes nothing about it.
    Slot(Duration),
    /// Look again when a call has ended.
    Room,
}

impl Worker {
    /// The worker of an account and its channels.
    pub fn new(channels: Vec<Arc<Channel>>, outbox: Outbox, sender: Arc<Sender>) -> Self {
        Self {
            account: sender.account.clone(),
            channels,
            outbox,
            breaker: sender.breaker.clone(),
            sender,
            sends: TaskTracker::new(),
            order: FairOrder::default(),
            shares: HashMap::new(),
            lead: LEAD.0,
            stop: CancellationToken::new(),
            store_down: false,
        }
    }

    /// Works until `stop`, then waits for what is under way.
    #[tracing::instrument(name = "worker", level = "debug", skip_all, fields(account = %self.account.id))]
    pub async fn run(mut self, stop: CancellationToken) {
        self.stop = stop.clone();
        while !stop.is_cancelled() {
            let account = self.account.clone();
            // Registered before looking, so that nothing that comes in between is missed.
            let work = account.work.notified();
            let next = self.step().await;
            let room = account.limiter.room();
            match next {
                Next::Again => {}
                Next::Slot(time) => tokio::select! {
                    () = room => {}
                    () = sleep(time.min(LONGEST_SLEEP)) => {}
                    () = stop.cancelled() => {}
                },
                Next::Room => tokio::select! {
                    () = room => {}
                    () = sleep(LONGEST_SLEEP) => {}
                    () = stop.cancelled() => {}
                },
                Next::Sleep(time) => tokio::select! {
                    () = work => {}
                    () = sleep(time.min(LONGEST_SLEEP)) => {}
                    () = stop.cancelled() => {}
                },
            }
        }
        self.sends.close();
        self.sends.wait().await;
    }

    /// Looks once, and sends what may be sent.
    pub async fn step(&mut self) -> Next {
        if self.account.held().is_some() || self.queued() == 0 {
            return Next::Sleep(LONGEST_SLEEP);
        }
        if !self.outbox.store.is_open(&self.account.id) || self.waits_for_opt_outs() {
            return Next::Sleep(NOT_READY);
        }
        let most = match self.breaker.admits() {
            Admission::Free => MOST_CLAIMED,
            Admission::One if self.account.limiter.now().in_flight > 0 => return Next::Room,
            Admission::One => 1,
            Admission::Wait(time) => return Next::Sleep(time),
            Admission::Test => return self.test().await,
        };
        let ready = tokio::select! {
            ready = self.sender.is_ready() => ready,
            () = self.stop.cancelled() => return Next::Again,
        };
        if !ready {
            return Next::Sleep(NOT_READY);
        }
        if let Some(next) = self.until_open() {
            return next;
        }
        let limiter = &self.account.limiter;
        let horizon = HORIZON.max(self.lead);
        let permits = limiter
            .reserve(most.min(self.queued()), self.lead, horizon)
            .await;
        if permits.is_empty() {
            // Another call took the slot meanwhile; nobody wakes us when the next one opens.
            return self.until_open().unwrap_or(Next::Again);
        }
        // The store may have lost some meanwhile, and be open again.
        if self.waits_for_opt_outs() {
            return Next::Sleep(NOT_READY);
        }
        match self.claim(permits.len()).await {
            Ok(claims) => {
                self.store_down = false;
                self.start(claims, permits).await
            }
            Err(error) => {
                // Told once an outage.
                if !std::mem::replace(&mut self.store_down, true) {
                    tracing::warn!(account = %self.account.id, %error,
                        event = "claim_failed",
                        "nothing is sent: messages cannot be claimed; retrying every second");
                }
                self.outbox.failed(&error);
                Next::Sleep(STORE_PAUSE)
            }
        }
    }

    fn waits_for_opt_outs(&self) -> bool {
        let opening = self.outbox.store.openings(&self.account.id);
        self.account.opt_outs.holds(opening)
    }

    fn open_channels(&self) -> impl Iterator<Item = &Arc<Channel>> {
        self.channels.iter().filter(|channel| !channel.is_stopped())
    }

    /// What may wait to be sent: no more permits are taken, as others could use them.
    fn queued(&self) -> usize {
        self.open_channels()
            .map(|channel| self.outbox.store.ledger(&channel.id).queued)
            .map(|queued| usize::try_from(queued).unwrap_or(0))
            .sum()
    }

    /// What to do while no slot is free.
    fn until_open(&self) -> Option<Next> {
        match self.account.limiter.opens_in(self.lead) {
            None => Some(Next::Room),
            Some(Duration::ZERO) => None,
            Some(wait) => Some(Next::Slot(wait)),
        }
    }

    async fn test(&self) -> Next {
        tokio::select! {
            _ = self.sender.verify() => {}
            () = self.stop.cancelled() => {}
        }
        Next::Again
    }

    async fn start(&mut self, claims: Claims, permits: Vec<Permit>) -> Next {
        for (channel, msg_id, refusal) in &claims.failed {
            tracing::warn!(
                %channel, %msg_id, refusal = refusal.line(), event = "message_failed",
                "failed before it was sent, MoEngage is told"
            );
            self.outbox.wake(channel);
        }
        let nothing = claims.taken.is_empty() && claims.failed.is_empty();
        let mut permits = permits.into_iter();
        for message in claims.taken {
            let claimed = self.outbox.claimed(message);
            // As many permits were taken as messages were asked for.
            let Some(permit) = permits.next() else { break };
            let Some(channel) = self.channel(claimed.channel()) else {
                continue;
            };
            let sender = self.sender.clone();
            let hold = channel.policy.ambiguous_hold;
            self.sends.spawn(async move {
                let (sender, channel) = (&*sender, &*channel);
                let step = move |claimed| sender.step(channel, claimed, permit);
                claimed.guarded(hold, step).await;
            });
        }
        // The last slot first, so that each gives its slot back to the limiter.
        permits.rev().for_each(drop);
        if nothing {
            self.until_due().await
        } else {
            Next::Again
        }
    }

    async fn until_due(&self) -> Next {
        let channels = self
            .open_channels()
            .map(|channel| channel.id.clone())
            .collect();
        let moment = clock::moment();
        // What is due then may be what waits until the clocks agree about its age.
        let least = if moment.is_in_doubt() {
            IN_DOUBT
        } else {
            Duration::from_millis(1)
        };
        match self.outbox.store.next_due(channels).await {
            Ok(Some(due)) => Next::Sleep(due.since(moment.latest).max(least)),
            Ok(None) => Next::Sleep(LONGEST_SLEEP),
            Err(_) => Next::Sleep(STORE_PAUSE),
        }
    }

    fn channel(&self, id: &ChannelId) -> Option<Arc<Channel>> {
        self.channels
            .iter()
            .find(|channel| channel.id == *id)
            .cloned()
    }
}
