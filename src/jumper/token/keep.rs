//! Keeping a pair fresh without being asked: the loop, its rounds and its pauses.

use super::{LEAST_GAP, Tokens, Why};
use crate::clock::now;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long until the store is asked again to take what it did not take, and for what another
/// replica gave it.
const STORE_PAUSE: Duration = Duration::from_secs(5);

impl Tokens {
    /// Renews the pair before it ends, until `shutdown`.
    pub async fn keep_fresh(&self, shutdown: CancellationToken) {
        let mut changes = self.changes();
        let keep = async {
            loop {
                let pause = self.pause().await;
                tokio::select! {
                    () = changes.next() => {}
                    () = tokio::time::sleep(pause) => self.maintain().await,
                }
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = keep => {}
        }
        self.shared.closing.cancel();
        // A refresh under way may hold the only good pair: it ends before the process does.
        drop(self.shared.flight.lock().await);
    }

    /// One round of [`Tokens::keep_fresh`]: what is due is done, failures are logged where they
    /// happen.
    pub(super) async fn maintain(&self) {
        let mut flight = self.shared.flight.lock().await;
        if flight.unsaved || self.shared.store.is_shared() {
            let _ = self.take_newer(&mut flight).await;
        }
        drop(flight);
        if !self.settled(Why::Early) {
            let _ = self.renew(Why::Early).await;
        }
    }

    /// How long nothing has to be done; at most a minute, because clocks are set.
    pub(super) async fn pause(&self) -> Duration {
        let flight = self.shared.flight.lock().await;
        let held = self.held();
        let alive = held
            .token
            .as_ref()
            .is_some_and(|token| token.dead.is_none());
        let mut pause = LEAST_GAP;
        if alive {
            let gap = flight
                .refreshed
                .map(|at| LEAST_GAP.saturating_sub(at.elapsed()));
            let put_off = flight
                .not_before
                .map(|at| at.saturating_duration_since(Instant::now()));
            let due = held.due_in(now());
            pause = due
                .max(gap.unwrap_or_default())
                .max(put_off.unwrap_or_default());
        }
        let store = if flight.unsaved || self.shared.store.is_shared() {
            STORE_PAUSE
        } else {
            LEAST_GAP
        };
        pause.min(store)
    }
}
