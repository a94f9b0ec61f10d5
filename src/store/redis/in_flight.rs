//! What this process holds in its hands: what it has taken and not yet settled, and the claims whose answer
//! never came. What such a claim took was not begun, so the next renewal gives it back; what is neither in
//! hand nor lost is not given back, as a store that went back may call it taken though it was sent.

use crate::domain::AccountId;
use crate::store::CallbackLease;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a call may still be carried out whose answer was given up, and how many such are kept.
const LATE: Duration = Duration::from_secs(600);
const MOST_LOST: usize = 1000;

/// What this process has taken and not yet settled: claims with what is left of each.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    /// The last number of a claim. Begins somewhere, so that two processes seldom use the same.
    last: u64,
    /// Claims under way, and claims of which something is not settled yet, with what that is.
    claims: HashMap<u64, HashSet<i64>>,
    /// Claims of messages whose answer never came, the oldest first, with when that was given up.
    lost: VecDeque<Lost>,
    /// Callbacks that are not settled yet, by the account whose numbers they bear, with their claims.
    callbacks: HashMap<(AccountId, i64), u64>,
}

/// A claim of messages whose answer never came.
#[derive(Debug)]
struct Lost {
    account: AccountId,
    claim: u64,
    at: Instant,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            last: fastrand::u64(1..1 << 48),
            claims: HashMap::new(),
            lost: VecDeque::new(),
            callbacks: HashMap::new(),
        }
    }
}

impl InFlight {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a claim that is about to be made. It counts as known until it has an outcome.
    pub(super) fn claim(&self) -> u64 {
        let mut kept = self.kept();
        kept.last += 1;
        let claim = kept.last;
        kept.claims.insert(claim, HashSet::new());
        claim
    }

    /// The claim brought these, or nothing that is known of.
    pub(super) fn claimed(&self, claim: u64, what: HashSet<i64>) {
        let mut kept = self.kept();
        if what.is_empty() {
            kept.claims.remove(&claim);
        } else {
            kept.claims.insert(claim, what);
        }
    }

    /// The answer to a claim of messages never came: whatever it took, or takes yet, was not begun.
    pub(super) fn lose(&self, account: &AccountId, claim: u64) {
        let mut kept = self.kept();
        kept.claims.remove(&claim);
        kept.lost.push_back(Lost {
            account: account.clone(),
            claim,
            at: Instant::now(),
        });
        if kept.lost.len() > MOST_LOST {
            kept.lost.pop_front();
        }
    }

    /// The claims of messages whose answer never came.
    pub(super) fn lost(&self) -> Vec<u64> {
        let kept = self.kept();
        kept.lost.iter().map(|lost| lost.claim).collect()
    }

    /// A renewal gave back what lost claims of this account took, and there was nothing left of any.
    pub(super) fn gave_back(&self, account: &AccountId) {
        let is_over = |lost: &Lost| lost.account == *account && lost.at.elapsed() >= LATE;
        self.kept().lost.retain(|lost| !is_over(lost));
    }

    /// One of a claim is settled. Whether it was not before.
    pub(super) fn settled(&self, claim: u64, what: i64) -> bool {
        let mut kept = self.kept();
        let Some(left) = kept.claims.get_mut(&claim) else {
            return false;
        };
        let was_open = left.remove(&what);
        if left.is_empty() {
            kept.claims.remove(&claim);
        }
        was_open
    }

    /// This callback came with the claim.
    pub(super) fn hold(&self, account: &AccountId, callback: i64, claim: u64) {
        let older = self
            .kept()
            .callbacks
            .insert((account.clone(), callback), claim);
        if let Some(older) = older {
            self.settled(older, callback);
        }
    }

    /// What was taken is settled, or is not ours any more.
    pub(super) fn let_go(&self, account: &AccountId, take: CallbackLease) {
        let key = (account.clone(), take.callback);
        let mut kept = self.kept();
        if kept.callbacks.get(&key) == Some(&take.claim) {
            kept.callbacks.remove(&key);
            drop(kept);
            self.settled(take.claim, take.callback);
        }
    }

    /// The last claim that was made, and those of which something is open.
    pub(super) fn known(&self) -> (u64, Vec<u64>) {
        let kept = self.kept();
        (kept.last, kept.claims.keys().copied().collect())
    }
}
