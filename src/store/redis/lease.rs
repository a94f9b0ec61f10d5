//! The lease of this process.
//!
//! One lease an account, ten seconds long, renewed every three (`maintenance`). What a process was doing when its
//! lease ran out is taken over by whoever sweeps next.

use super::damage::{self, Text};
use super::standing::{Place, RenewalAnswer};
use super::{AccountKeys, Call, Store};
use crate::clock;
use crate::domain::{AccountId, ChannelId, UnixMs};
use crate::store::{CallbackQueue, ClaimedMessage, Folded, PendingCallback, StoreError};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long a lease lasts (design.md section 6).
const LIFE: Duration = Duration::from_secs(10);
/// Kept at the end of a lease for clocks that differ in pace and for a call that is just begun.
const MARGIN: Duration = Duration::from_secs(1);
/// Messages taken over in one step.
const AT_ONCE: usize = 200;

/// How much a renewal gave back, whether the lease stood until then, keys that are damaged.
type Renewed = (u32, bool, Vec<Text>);

/// What was taken over from processes whose lease is over.
pub(super) struct TakenOver {
    /// Their sends that are unknown now.
    pub(super) lost: u32,
    /// Whether there is more to take over.
    pub(super) more: bool,
    /// What became of events that waited for the end of these sends.
    pub(super) folded: Folded,
}

/// Until when this process may work, by account; on its monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<HashMap<AccountId, Lease>>);

/// A lease as this process knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    until: Instant,
    /// Grows each time it began anew: what was taken before that may be somebody else's.
    term: u64,
}

impl Leases {
    /// Redis renewed the lease when it was asked then; one that did not stand any more began anew. So
    /// did one that may have run out here by now: the answer to the renewal that began it may be lost.
    fn begin(&self, account: &AccountId, asked: Instant, stood: bool) {
        let mut held = self.held();
        let last = held.get(account);
        let stood = stood && last.is_none_or(|lease| Instant::now() < lease.until);
        let term = last.map_or(0, |lease| lease.term) + u64::from(!stood);
        let until = asked + LIFE - MARGIN;
        held.insert(account.clone(), Lease { until, term });
    }

    fn held(&self) -> MutexGuard<'_, HashMap<AccountId, Lease>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Until when the call of this message may be begun.
    pub fn lease_until(&self, claimed: &ClaimedMessage) -> Option<Instant> {
        let lease = self.lease(&claimed.channel);
        let until = lease.filter(|lease| lease.term == claimed.term);
        // Without that lease nothing may be begun: a moment that is over.
        Some(until.map_or_else(Instant::now, |lease| lease.until))
    }

    /// Whether a callback that was taken is still this process' own. If not, it is let go.
    pub fn may_relay(&self, queue: &CallbackQueue, callback: &PendingCallback) -> bool {
        let lease = self.lease(&queue.channel);
        let ours =
            lease.is_some_and(|lease| lease.term == callback.term && Instant::now() < lease.until);
        if let (false, Ok(home)) = (ours, self.home(&queue.channel)) {
            self.shared.in_flight.let_go(&home.account, callback.handle);
        }
        ours
    }

    /// The term of the lease under which something of a channel is taken now.
    pub(super) fn term(&self, channel: &ChannelId) -> u64 {
        self.lease(channel).map_or(0, |lease| lease.term)
    }

    fn lease(&self, channel: &ChannelId) -> Option<Lease> {
        let account = &self.home(channel).ok()?.account;
        self.shared.leases.held().get(account).copied()
    }

    /// As if the answer to a claim had been lost.
    #[cfg(test)]
    pub(in crate::store) fn lose(&self, account: &AccountId, claim: u64) {
        self.shared.in_flight.lose(account, claim);
    }

    /// Renews the lease of every account.
    pub async fn renew(&self) -> Result<(), StoreError> {
        // First: what is given back is stamped.
        self.follow_clock().await?;
        // One account's trouble is not another's, nor does one wait for what another puts back.
        let mut all = JoinSet::new();
        for home in &self.shared.accounts {
            all.spawn(self.clone().renew_and_answer(home.clone()));
        }
        let renewed = all.join_all().await;
        renewed.into_iter().find(Result::is_err).unwrap_or(Ok(()))
    }

    async fn renew_and_answer(self, home: AccountKeys) -> Result<(), StoreError> {
        let report = self.renew_one(&home).await?;
        if report.0 == Place::Open {
            self.count_lost(&home);
        }
        self.answer(&home, report).await
    }

    pub(super) async fn renew_one(&self, home: &AccountKeys) -> Result<RenewalAnswer, StoreError> {
        self.shared.connection.is_ours()?;
        let (asked, renewal) = (Instant::now(), home.standing.renews());
        let ((last, known), lost) = (self.shared.in_flight.known(), self.shared.in_flight.lost());
        let seen = home.standing.seen();
        let mut call = Call::new(&self.shared.scripts.renew, home)
            .arg(self.replica())
            .arg(LIFE.as_millis())
            .arg(clock::now().0)
            .arg(last)
            .arg(seen.own)
            .arg(seen.last)
            .arg(seen.run)
            .arg(renewal)
            .arg(seen.heard);
        for claims in [lost, known] {
            call.push(claims.len());
            claims.into_iter().for_each(|claim| call.push(claim));
        }
        call.push(seen.others.len());
        seen.others.into_iter().for_each(|(one, _)| call.push(one));
        let channels: Vec<&str> = self.channels_of(home).map(ChannelId::as_str).collect();
        call.push(channels.len());
        channels.into_iter().for_each(|channel| call.push(channel));
        let ((back, stood, damaged), report): (Renewed, RenewalAnswer) =
            self.shared.connection.run_beside(&call.0).await?;
        damage::tell(damaged.iter().map(Text::shown));
        self.shared.leases.begin(&home.account, asked, stood);
        if home.standing.hear(&report, renewal) || back > 0 {
            // It may have gone and come back unseen.
            self.channels_of(home)
                .for_each(|channel| self.shared.ledgers.wake(channel));
        }
        if back == 0 && report.0 == Place::Open {
            self.shared.in_flight.gave_back(&home.account);
        }
        if back > 0 {
            tracing::warn!(account = %home.account, entries = back,
                event = "claim_answer_lost",
                "the answer to a claim was lost; what it took was not begun and is back in its queue");
        }
        Ok(report)
    }

    /// Takes over from processes whose lease is over.
    pub(super) async fn take_over(
        &self,
        home: &AccountKeys,
        leaving: &str,
        holds: &[(ChannelId, Duration)],
        now: UnixMs,
    ) -> Result<TakenOver, StoreError> {
        let mut call = Call::new(&self.shared.scripts.takeover, home)
            .arg(leaving)
            .arg(now.0)
            .arg(AT_ONCE);
        for (channel, hold) in holds {
            call.push(channel.as_str());
            call.push(hold.as_millis());
        }
        let (lost, more, fold): (u32, bool, super::events::Fold) = self.run(&call).await?;
        let mut folded = Folded::default();
        super::events::add(&mut folded, fold);
        Ok(TakenOver { lost, more, folded })
    }

    /// Gives up the leases: what is still being sent is unknown from now on, what was being relayed
    /// is due for another process. For the end of the process.
    pub async fn leave(&self, holds: &[(ChannelId, Duration)]) -> Result<u32, StoreError> {
        let replica = self.replica().to_owned();
        let mut all = 0;
        for home in &self.shared.accounts {
            self.before_leaving(home).await;
            loop {
                let gone = self.take_over(home, &replica, holds, clock::now());
                let gone = gone.await?;
                all += gone.lost;
                if !gone.more {
                    break;
                }
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn r_59_a_lease_that_may_have_run_out_unseen_began_anew() {
        let (leases, account) = (Leases::default(), AccountId::parse("a").unwrap());
        let after = async |seconds, stood| {
            tokio::time::advance(Duration::from_secs(seconds)).await;
            leases.begin(&account, Instant::now(), stood);
            leases.held()[&account].term
        };
        assert_eq!(after(0, false).await, 1);
        assert_eq!(after(3, true).await, 1, "it goes on");
        assert_eq!(
            after(8, true).await,
            1,
            "a renewal that failed between does not matter"
        );
        // It ran out, and the answer to the renewal that began it anew was lost.
        assert_eq!(after(12, true).await, 2);
        assert_eq!(after(3, false).await, 3, "Redis lost it");
    }
}
