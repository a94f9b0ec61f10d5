//! The circumstances of an account as its tasks share them: what is held, and why.
//!
//! Behind a lock that is held for arithmetic only. What changes here is stored and told by `hold`; what
//! other processes stored comes in through [`Holding::follow`] and undoes nothing that was said here
//! since it was read.

use crate::clock;
use crate::domain::circumstance::{
    Call, Cause, Circumstances, End, Hold, Listed, Now, Ruling, Scope,
};
use crate::domain::proof::Judgement;
use crate::domain::{AccountId, ChannelId};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The circumstances of one account.
#[derive(Debug)]
pub struct Holding {
    /// Written by every finished call, by trials and operators; read by the worker and the ops listener.
    state: Mutex<State>,
    /// Woken when a hold began, ended or was tried: whoever makes the trials looks again.
    pub changed: Notify,
}

#[derive(Debug)]
struct State {
    circumstances: Circumstances,
    /// How often this process has said something about a scope, and how much of that is stored.
    changes: BTreeMap<Scope, Changes>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Changes {
    times: u64,
    stored: u64,
}

/// How often this process had said something about a scope at a moment.
#[derive(Debug, Clone, Copy)]
pub struct HoldSeen(u64);

/// A call to the provider that is under way, until this is dropped at the latest.
#[derive(Debug)]
pub struct Calling<'a> {
    holding: &'a Holding,
    call: Call,
}

impl Deref for Calling<'_> {
    type Target = Call;

    fn deref(&self) -> &Call {
        &self.call
    }
}

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        self.holding.state().circumstances.ended(&self.call);
    }
}

fn now() -> Now {
    Now {
        steady: Instant::now().into_std(),
        wall: clock::now(),
    }
}

impl Holding {
    /// An account in which nothing is held.
    pub fn new(account: AccountId) -> Self {
        Self {
            state: Mutex::new(State {
                circumstances: Circumstances::new(account, []),
                changes: BTreeMap::new(),
            }),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hold that stops this channel, if one does.
    pub fn held(&self, channel: &ChannelId) -> Option<Hold> {
        self.state().circumstances.held(channel).cloned()
    }

    /// Whether this channel is held.
    pub fn is_held(&self, channel: &ChannelId) -> bool {
        self.state().circumstances.held(channel).is_some()
    }

    /// Every hold that stops something.
    pub fn holds(&self) -> Vec<Hold> {
        self.state().circumstances.holds().cloned().collect()
    }

    /// The hold of this very scope, also one on probation.
    pub fn hold(&self, scope: &Scope) -> Option<Hold> {
        self.state().circumstances.hold(scope).cloned()
    }

    /// A call begins; it is under way until it is judged or what this returns is dropped.
    pub fn begin(&self, call: Call) -> Calling<'_> {
        self.state().circumstances.began(&call);
        Calling {
            holding: self,
            call,
        }
    }

    /// Judges the answer to a send.
    pub fn judge(&self, call: &Call, judgement: &Judgement, cause: &Cause) -> Ruling {
        let mut state = self.state();
        let ruling = state.circumstances.judge(call, judgement, cause, now());
        if let Some(hold) = &ruling.hold {
            state.changes.entry(hold.scope.clone()).or_default().times += 1;
            drop(state);
            self.changed.notify_one();
        }
        ruling
    }

    /// Judges the answer to a trial.
    pub fn judge_trial(&self, call: &Call, judgement: &Judgement) -> End {
        self.state().circumstances.judge_trial(call, judgement)
    }

    /// The answer to the list call that a ruling wanted.
    pub fn listed(&self, scope: &Scope, cause: &Cause, refused: bool) -> Option<Listed> {
        let mut state = self.state();
        let listed = state.circumstances.listed(scope, cause, refused, now());
        if let Some(Listed::Hold(hold)) = &listed {
            state.changes.entry(hold.scope.clone()).or_default().times += 1;
            drop(state);
            self.changed.notify_one();
        }
        listed
    }

    /// Whether one recipient of this scope is refused, and nobody else.
    pub fn one_is_refused(&self, scope: &Scope) -> bool {
        self.state().circumstances.one_is_refused(scope, now())
    }

    /// Puts in what the hold of a scope is from now on, as this process says.
    pub fn put(&self, scope: &Scope, hold: Option<Hold>) {
        let mut state = self.state();
        state.circumstances.put(scope, hold);
        state.changes.entry(scope.clone()).or_default().times += 1;
        drop(state);
        self.changed.notify_one();
    }

    /// Puts in what was stored by an earlier process.
    pub fn load(&self, hold: Hold) {
        let scope = hold.scope.clone();
        self.state().circumstances.put(&scope, Some(hold));
    }

    /// What is not stored yet, with what it is now.
    pub fn unsaved(&self) -> Vec<(Scope, HoldSeen, Option<Hold>)> {
        let state = self.state();
        let unsaved = state
            .changes
            .iter()
            .filter(|(_, changes)| changes.times > changes.stored);
        unsaved
            .map(|(scope, changes)| {
                let hold = state.circumstances.hold(scope).cloned();
                (scope.clone(), HoldSeen(changes.times), hold)
            })
            .collect()
    }

    /// What a scope's hold was at that moment is stored.
    pub fn saved(&self, scope: &Scope, HoldSeen(times): HoldSeen) {
        let mut state = self.state();
        let changes = state.changes.entry(scope.clone()).or_default();
        changes.stored = changes.stored.max(times);
    }

    /// What this process has said about a scope: to be taken before looking at what is stored.
    pub fn seen(&self, scope: &Scope) -> HoldSeen {
        let state = self.state();
        HoldSeen(state.changes.get(scope).map_or(0, |changes| changes.times))
    }

    /// Does as another process stored, unless this one has said something since `seen` or has not
    /// stored what it said. Tells whether that began (`Some(true)`) or ended (`Some(false)`) a hold.
    pub fn follow(
        &self,
        scope: &Scope,
        HoldSeen(seen): HoldSeen,
        stored: Option<Hold>,
    ) -> Option<bool> {
        let mut state = self.state();
        let changes = state.changes.get(scope).copied().unwrap_or_default();
        if changes.times != seen || changes.stored != seen {
            return None;
        }
        let before = state.circumstances.hold(scope);
        if before == stored.as_ref() {
            return None;
        }
        let was_held = before.is_some_and(Hold::is_held);
        let is_held = stored.as_ref().is_some_and(Hold::is_held);
        state.circumstances.put(scope, stored);
        drop(state);
        self.changed.notify_one();
        (was_held != is_held).then_some(is_held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;
    use crate::domain::circumstance::Kind;

    fn scope() -> Scope {
        Scope::Channel(ChannelId::parse("a").unwrap())
    }

    fn hold() -> Hold {
        let cause = Cause {
            reason: "http 403".into(),
            words: "HTTP 403".into(),
        };
        Hold::begin(scope(), Kind::Accused, &cause, UnixMs(1))
    }

    #[test]
    fn what_was_read_before_this_process_spoke_undoes_nothing() {
        let holding = Holding::new(AccountId::parse("acc").unwrap());
        let seen = holding.seen(&scope());
        holding.put(&scope(), Some(hold()));
        assert_eq!(holding.follow(&scope(), seen, None), None);
        // Not stored yet: the store cannot know better.
        let seen = holding.seen(&scope());
        assert_eq!(holding.follow(&scope(), seen, None), None);
        let [(scope, at, kept)] = holding.unsaved().try_into().unwrap();
        assert_eq!(kept, Some(hold()));
        holding.saved(&scope, at);
        assert!(holding.unsaved().is_empty());
        assert_eq!(holding.follow(&scope, seen, None), Some(false));
        assert!(holding.holds().is_empty());
        assert_eq!(holding.follow(&scope, seen, Some(hold())), Some(true));
    }
}
