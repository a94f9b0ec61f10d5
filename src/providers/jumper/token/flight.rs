//! What a process remembers of its renewals, and when it may ask again. No calls, no store.
//!
//! All of it is timed by the steady clock, which nobody sets: a leap of the wall clock may make a
//! pair look old, but it brings no second renewal within a minute.

use super::held::{Held, Refusal, backoff, fingerprint};
use super::{TokenError, Want, Why};
use crate::domain::UnixMs;
use crate::store::StoredToken;
use std::time::Duration;
use tokio::time::Instant;

/// Between two renewals for want of life lies at least this, and so between the two answers that
/// make a refresh token dead.
pub(super) const LEAST_GAP: Duration = Duration::from_secs(60);
/// After so many renewals of refused tokens in a row, the next one comes no sooner than so many
/// seconds after the last.
const GAPS: [u64; 10] = [0, 0, 10, 10, 10, 10, 30, 60, 120, 300];
/// What a token that Jumper took until now waits at the most.
const GAP_OF_GOOD: Duration = Duration::from_secs(10);

/// What is remembered. Whoever has it may renew.
#[derive(Debug, Default)]
pub(super) struct Flight {
    /// Failures in a row that said nothing about the refresh token.
    pub(super) failures: u32,
    /// Nobody but an operator refreshes before this.
    pub(super) not_before: Option<Instant>,
    /// Why the last try brought nothing.
    pub(super) last_failure: String,
    /// When the last pair came.
    pub(super) refreshed: Option<Instant>,
    /// Pairs in a row that came because the one before was refused.
    pub(super) spent: u32,
    /// Jumper has called this refresh token dead once.
    pub(super) doubt: Option<Doubt>,
    /// What is in memory is newer than what the store took.
    pub(super) unsaved: bool,
    /// By what the pair is known that the store was last seen with.
    pub(super) stored: Option<String>,
    /// By what the pair is known that is put by because the store did not take it; or why none could be.
    pub(super) put_by: Option<Result<String, String>>,
    /// When it was last said that the store cannot be used.
    pub(super) store_away: Option<Instant>,
    /// Whether the credentials are to be proved before anything else.
    pub(super) unproved: bool,
    /// Proofs in a row that called the credentials wrong.
    pub(super) proofs: u32,
    /// When they are proved again.
    pub(super) prove_at: Option<Instant>,
}

/// One answer that calls a refresh token dead: not enough.
#[derive(Debug)]
pub(super) struct Doubt {
    /// The fingerprint of the refresh token.
    of: String,
    at: Instant,
}

impl Flight {
    pub(super) fn new(unproved: bool) -> Self {
        Self {
            unproved,
            ..Self::default()
        }
    }

    /// Whether it is too soon for what is wanted: then this is the answer. `worked`: Jumper took the pair that
    /// is held.
    pub(super) fn too_soon(
        &mut self,
        want: Want,
        held: &Held,
        worked: bool,
        now: UnixMs,
    ) -> Option<Result<(), TokenError>> {
        let early = self.not_before.is_some_and(|at| at > Instant::now());
        if early && want.why != Why::Forced {
            return Some(Err(TokenError::Unavailable(self.last_failure.clone())));
        }
        let age = self.refreshed.map(|at| at.elapsed())?;
        let by_refusal = want.why == Why::Refused || held.refusal != Refusal::None;
        match want.why {
            Why::Forced | Why::Again => None,
            _ if by_refusal => {
                let gap = self.gap(age, worked, held.has_ended(now));
                (age < gap).then_some(Err(TokenError::StillRefused))
            }
            // Its end is a matter of clocks; it is used until it is refused.
            _ => (age < LEAST_GAP && held.in_force().is_some()).then_some(Ok(())),
        }
    }

    /// How old a refused pair must be to be replaced.
    fn gap(&mut self, age: Duration, worked: bool, ended: bool) -> Duration {
        if worked && (ended || age >= LEAST_GAP) {
            self.spent = 0;
        } else if age < LEAST_GAP {
            // A token that is refused so soon allows one more, not two.
            self.spent = self.spent.max(1);
        }
        let last = GAPS.len() - 1;
        let gap = usize::try_from(self.spent).map_or(last, |spent| spent.min(last));
        let gap = Duration::from_secs(GAPS[gap]);
        if worked { gap.min(GAP_OF_GOOD) } else { gap }
    }

    /// A new pair is there. `instead` of one that was refused?
    pub(super) fn renewed(&mut self, instead: bool) {
        self.spent = if instead {
            self.spent.saturating_add(1)
        } else {
            0
        };
        self.refreshed = Some(Instant::now());
        self.failures = 0;
        self.not_before = None;
        self.doubt = None;
    }

    /// Jumper calls this refresh token dead. `true`: it has said so twice, a minute apart. Else it is
    /// to be asked again, and not before that minute is over.
    pub(super) fn is_dead(&mut self, token: &StoredToken, reason: &str) -> bool {
        let of = fingerprint(&token.refresh);
        let doubt = self.doubt.take().filter(|doubt| doubt.of == of);
        let at = doubt.map_or_else(Instant::now, |doubt| doubt.at);
        if at.elapsed() >= LEAST_GAP {
            return true;
        }
        self.doubt = Some(Doubt { of, at });
        self.not_before = Some(at + LEAST_GAP);
        reason.clone_into(&mut self.last_failure);
        false
    }

    /// As if the doubt were older.
    #[cfg(test)]
    pub(super) fn doubt_began(&mut self, earlier: Duration) {
        if let Some(doubt) = &mut self.doubt {
            doubt.at = doubt.at.checked_sub(earlier).unwrap_or(doubt.at);
        }
    }

    /// When the refresh token that is held is to be heard again, if it is.
    pub(super) fn doubted(&self, held: &Held) -> Option<Instant> {
        let token = held.token.as_ref().filter(|token| token.dead.is_none())?;
        let doubt = self.doubt.as_ref()?;
        (doubt.of == fingerprint(&token.refresh)).then_some(doubt.at + LEAST_GAP)
    }

    /// A try in vain that says nothing of the tokens: the pauses grow.
    pub(super) fn put_off(&mut self, reason: &str, asked: Option<Duration>) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let pause = backoff(self.failures, fastrand::f64()).max(asked.unwrap_or_default());
        self.not_before = Some(Instant::now() + pause);
        reason.clone_into(&mut self.last_failure);
        pause
    }

    /// How long nobody should try, as far as the last try tells.
    pub(super) fn pause(&self) -> Duration {
        self.not_before.map_or(Duration::ZERO, |at| {
            at.saturating_duration_since(Instant::now())
        })
    }
}
