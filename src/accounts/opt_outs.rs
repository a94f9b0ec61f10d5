//! Whether the store has the opt-outs that Datastore keeps. Until it has, the account sends nothing; not for long.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long sending waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// Written by the sync of opt-outs with Datastore; read by whoever sends or tells.
#[derive(Debug, Default)]
pub struct OptOutsKnown(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Datastore keeps them.
    is_wanted: bool,
    /// For which opening of the store they are known.
    known: Option<u64>,
    /// For which they are waited for, and until when.
    waits: Option<(u64, Instant)>,
}

impl OptOutsKnown {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// They are to be waited for. Before anything is sent.
    pub fn want(&self) {
        self.state().is_wanted = true;
    }

    /// Until when sending waits in this opening of the store: its first since the start, or since what was lost.
    pub fn waits_until(&self, opening: u64) -> Option<Instant> {
        let mut state = self.state();
        if !state.is_wanted || state.known == Some(opening) {
            return None;
        }
        match state.waits {
            Some((of, until)) if of == opening => Some(until),
            _ => {
                let until = Instant::now() + PATIENCE;
                state.waits = Some((opening, until));
                Some(until)
            }
        }
    }

    /// Whether sending waits in this opening of the store.
    pub fn holds(&self, opening: u64) -> bool {
        let until = self.waits_until(opening);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Whether sending waited when that was last asked.
    pub fn is_holding(&self) -> bool {
        let state = self.state();
        state.waits.is_some_and(|(_, until)| Instant::now() < until)
    }

    /// The store has them, in this opening.
    pub fn learn(&self, opening: u64) {
        let mut state = self.state();
        state.known = Some(opening);
        state.waits = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn sending_waits_in_each_opening_until_they_are_known_and_not_for_long() {
        let known = OptOutsKnown::default();
        assert!(!known.holds(0), "nobody keeps them");
        known.want();
        for opening in 0..3 {
            assert!(known.holds(opening) && known.is_holding());
            tokio::time::advance(PATIENCE / 2).await;
            assert!(known.holds(opening));
            known.learn(opening);
            assert!(!known.holds(opening) && !known.is_holding());
        }
        assert!(known.holds(3));
        tokio::time::advance(PATIENCE).await;
        assert!(!known.holds(3) && !known.is_holding());
        assert!(known.waits_until(3).is_some(), "they are wanted still");
        assert!(known.holds(4));
    }
}
