//! Keeping a pair fresh without being asked: the loop, its rounds and its pauses.

use super::flight::LEAST_GAP;
use super::held::Refusal;
use super::{Tokens, Why};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long until the store is asked again to take what it did not take, and for what another
/// replica gave it.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// Whatever is due, it is not looked at more often.
const LEAST_PAUSE: Duration = Duration::from_millis(100);

impl Tokens {
    /// Renews the pair before it ends, until `shutdown`.
    #[tracing::instrument(name = "tokens", level = "debug", skip_all, fields(account = %self.shared.settings.account))]
    pub async fn keep_fresh(&self, shutdown: CancellationToken) {
        let mut changes = self.changes();
        let keep = async {
            self.prove_first(&mut *self.shared.flight.lock().await)
                .await;
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
        let mut flight = self.shared.flight.lock().await;
        if flight.unsaved {
            let _ = self.take_newer(&mut flight).await;
        }
    }

    /// One round of [`Tokens::keep_fresh`]: what is due is done, failures are logged where they
    /// happen.
    pub(super) async fn maintain(&self) {
        let mut flight = self.shared.flight.lock().await;
        if flight.unsaved || self.shared.store.is_shared() {
            let _ = self.take_newer(&mut flight).await;
        }
        self.prove_again(&mut flight).await;
        let held = self.held();
        let unheard = held.on_trial || flight.doubted(&held).is_some();
        drop(flight);
        if unheard {
            let _ = self.renew(Why::Again).await;
        } else if held.refusal == Refusal::Asked {
            let _ = self.refused(held.generation, "a call was refused").await;
        } else if held.due_in(self.now()).is_zero() {
            let _ = self.renew(Why::Early).await;
        }
    }

    /// How long nothing has to be done; at most a minute, because clocks are set.
    pub(super) async fn pause(&self) -> Duration {
        let flight = self.shared.flight.lock().await;
        let held = self.held();
        let left = |at: Instant| at.saturating_duration_since(Instant::now());
        let mut pause = LEAST_GAP;
        if held.credentials.is_some() {
            pause = flight.prove_at.map_or(pause, left);
        } else if let Some(at) = flight.doubted(&held) {
            pause = left(at).max(flight.pause());
        } else if held.on_trial || held.refusal == Refusal::Asked {
            pause = flight.pause();
        } else if held.token.is_some() && held.dead().is_none() && held.refusal == Refusal::None {
            let gap = flight
                .refreshed
                .map(|at| LEAST_GAP.saturating_sub(at.elapsed()));
            let due = held.due_in(self.now());
            pause = due.max(gap.unwrap_or_default()).max(flight.pause());
        }
        let store = if flight.unsaved || self.shared.store.is_shared() {
            STORE_PAUSE
        } else {
            LEAST_GAP
        };
        pause.clamp(LEAST_PAUSE, store)
    }
}
