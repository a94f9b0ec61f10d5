//! The lease of this process, and what it holds in its hands.
//!
//! One lease an account, ten seconds long, renewed every three (`keeper`). What a process was doing when its
//! lease ran out is taken over by whoever sweeps next.

use super::{Call, Home, Store};
use crate::clock;
use crate::domain::{AccountId, ChannelId, UnixMs};
use crate::store::{Folded, StoreError};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a lease lasts (DESIGN section 6).
const LIFE: Duration = Duration::from_secs(10);
/// Kept at the end of a lease for clocks that differ in pace and for a call that is just begun.
const MARGIN: Duration = Duration::from_secs(1);
/// Messages taken over in one step.
const AT_ONCE: usize = 200;

/// Until when this process may work, by account; on its monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<HashMap<AccountId, Instant>>);

impl Leases {
    fn held(&self) -> MutexGuard<'_, HashMap<AccountId, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What this process has taken and not yet settled: claims with what is left of each.
#[derive(Debug, Default)]
pub(super) struct Hands {
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    /// The last number of a claim. Begins somewhere, so that two processes seldom use the same.
    last: u64,
    /// Claims under way, and claims of which something is not settled yet, with how much.
    claims: HashMap<u64, usize>,
    /// Callbacks that are not settled yet, with their claims.
    callbacks: HashMap<i64, u64>,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            last: fastrand::u64(1..1 << 48),
            claims: HashMap::new(),
            callbacks: HashMap::new(),
        }
    }
}

impl Hands {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a claim that is about to be made. It counts as known until it has an outcome.
    pub(super) fn claim(&self) -> u64 {
        let mut kept = self.kept();
        kept.last += 1;
        let claim = kept.last;
        kept.claims.insert(claim, 0);
        claim
    }

    /// The claim brought so much, or nothing that is known of.
    pub(super) fn claimed(&self, claim: u64, much: usize) {
        let mut kept = self.kept();
        if much == 0 {
            kept.claims.remove(&claim);
        } else {
            kept.claims.insert(claim, much);
        }
    }

    /// One of a claim is settled.
    pub(super) fn settled(&self, claim: u64) {
        let mut kept = self.kept();
        if let Some(left) = kept.claims.get_mut(&claim) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                kept.claims.remove(&claim);
            }
        }
    }

    /// These callbacks came with the claim.
    pub(super) fn hold(&self, claim: u64, callbacks: impl Iterator<Item = i64>) {
        let mut kept = self.kept();
        kept.callbacks
            .extend(callbacks.map(|callback| (callback, claim)));
    }

    /// A callback is settled.
    pub(super) fn let_go(&self, callback: i64) {
        let claim = self.kept().callbacks.remove(&callback);
        if let Some(claim) = claim {
            self.settled(claim);
        }
    }

    fn known(&self) -> Vec<u64> {
        self.kept().claims.keys().copied().collect()
    }
}

impl Store {
    /// Until when a call for this account may be begun.
    pub fn lease_until(&self, account: &AccountId) -> Option<Instant> {
        let until = self.shared.leases.held().get(account).copied();
        // Without a lease nothing may be begun: a moment that is over.
        Some(until.unwrap_or_else(Instant::now))
    }

    /// Renews the lease of every account.
    pub async fn renew(&self) -> Result<(), StoreError> {
        for home in &self.shared.accounts {
            self.renew_one(home).await?;
        }
        Ok(())
    }

    pub(super) async fn renew_one(&self, home: &Home) -> Result<(), StoreError> {
        let asked = Instant::now();
        let known = self.shared.hands.known();
        let mut call = Call::new(&self.shared.scripts.renew, home)
            .arg(self.replica())
            .arg(LIFE.as_millis())
            .arg(clock::now().0)
            .arg(known.len());
        for claim in known {
            call.push(claim);
        }
        let back: u32 = self.ask(&call).await?;
        let until = asked + LIFE - MARGIN;
        self.shared
            .leases
            .held()
            .insert(home.account.clone(), until);
        if back > 0 {
            tracing::warn!(account = %home.account, entries = back,
                "the answer to a claim was lost; what it took was not begun and is back in its queue");
        }
        Ok(())
    }

    /// Takes over from processes whose lease is over. Returns how many of their sends are unknown
    /// now, and whether there is more.
    pub(super) async fn take_over(
        &self,
        home: &Home,
        leaving: &str,
        (holds, now): (&[(ChannelId, Duration)], UnixMs),
        folded: &mut Folded,
    ) -> Result<(u32, bool), StoreError> {
        let mut call = Call::new(&self.shared.scripts.takeover, home)
            .arg(leaving)
            .arg(now.0)
            .arg(AT_ONCE);
        for (channel, hold) in holds {
            call.push(channel.as_str());
            call.push(hold.as_millis());
        }
        let (lost, more, fold): (u32, bool, super::events::Fold) = self.run(&call).await?;
        super::events::add(folded, fold);
        Ok((lost, more))
    }

    /// Gives up the leases: what is still being sent is unknown from now on, what was being relayed
    /// is due for another process. For the end of the process.
    pub async fn leave(&self, holds: &[(ChannelId, Duration)]) -> Result<u32, StoreError> {
        let replica = self.replica().to_owned();
        let (mut folded, mut all) = (Folded::default(), 0);
        for home in &self.shared.accounts {
            loop {
                let (lost, more) = self
                    .take_over(home, &replica, (holds, clock::now()), &mut folded)
                    .await?;
                all += lost;
                if !more {
                    break;
                }
            }
        }
        Ok(all)
    }
}
