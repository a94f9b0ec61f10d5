//! Who may change a message, and how: the model of a message's life (design.md sections 4 and 6).
//!
//! [`State`] says which step may follow which; here stands who may take it. The claim is the fence of
//! an attempt: its holder alone tells how it ended, until somebody else has claimed the message. A
//! receipt counts whoever brings it and however late, and is never taken back. An operator is no
//! writer: pauses, holds and rates only decide whether anybody claims.
//!
//! The embedded store asks this model before it writes; the scripts of the shared store carry it as
//! a table. What it allows together with a provider, crashes and late news is searched exhaustively
//! in `life/joint.rs`, and both stores are compared with it, story by story, in `store/tests/model`.

use super::state::{State, Step};
use std::fmt;

/// Who changes a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Writer {
    /// A worker that takes what is due, or finds that it must not be sent any more.
    Worker,
    /// The process whose claim is the message's last, as long as it has not told the end of that
    /// attempt; also when its lease ran out and a successor has put the message down as unknown.
    Holder,
    /// A process whose claim was followed by another's.
    Former,
    /// Whoever goes on for a holder that is gone, or a holder that gives up.
    Successor,
    /// A status event that names the person.
    Status,
    /// A record in Datastore, which names the message itself.
    Record,
    /// Time: a hold is over, a message is too old.
    Time,
}

impl Writer {
    /// Every writer.
    pub const ALL: [Self; 7] = [
        Self::Worker,
        Self::Holder,
        Self::Former,
        Self::Successor,
        Self::Status,
        Self::Record,
        Self::Time,
    ];

    /// Who tells the end of an attempt; nobody where its end was told before.
    pub fn of_claim(is_last: bool, reported: bool) -> Option<Self> {
        match (is_last, reported) {
            (true, true) => None,
            (true, false) => Some(Self::Holder),
            (false, _) => Some(Self::Former),
        }
    }

    /// The state after `step`, if this writer may take it in `state`.
    pub fn after(self, state: State, step: Step) -> Option<State> {
        use State::{Attempting, Failed, Queued, Unknown};
        use Step::{Claim, Evidence, Fail, Lose, Receipt, Resend, Retry};
        let may = match (self, state) {
            // That attempt's end shows what becomes of it.
            (Self::Former, Attempting) if step == Receipt => return Some(Attempting),
            (Self::Worker, Queued) => matches!(step, Claim | Fail),
            (Self::Holder, Attempting) => matches!(step, Receipt | Retry | Fail | Lose),
            (Self::Holder, Unknown) => matches!(step, Receipt | Retry | Fail),
            (Self::Holder, Queued | Failed) | (Self::Former, Queued | Unknown | Failed) => {
                step == Receipt
            }
            (Self::Successor, Attempting) => step == Lose,
            // Queued: to be sent once more, and now it need not be.
            (Self::Status, Queued | Unknown | Failed) | (Self::Record, Unknown | Failed) => {
                step == Evidence
            }
            (Self::Time, Queued) => step == Fail,
            (Self::Time, Unknown) => matches!(step, Fail | Resend),
            _ => false,
        };
        state.after(step).filter(|_| may)
    }

    /// The word for it, in the scripts of the shared store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Holder => "holder",
            Self::Former => "former",
            Self::Successor => "successor",
            Self::Status => "status",
            Self::Record => "record",
            Self::Time => "time",
        }
    }
}

/// Where a message is, with what decides who may do what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Life {
    /// Where it is.
    pub state: State,
    /// Sent once more, though nobody knew what became of the attempt before.
    pub resent: bool,
    /// Nobody ever learned what became of one of its attempts, and no hold waits for it any more: the
    /// person may have the message, and a provider id that matches nothing may be its own.
    pub lost: bool,
    /// A receipt of an earlier attempt came while a later one is under way: whatever becomes of that,
    /// the provider has the message.
    pub taken: bool,
}

impl Life {
    /// A message that was just accepted.
    pub const NEW: Self = Self {
        state: State::Queued,
        resent: false,
        lost: false,
        taken: false,
    };

    /// The life after `step`, if `writer` may take it.
    ///
    /// # Errors
    /// When nobody may take it now, or not this writer. Nothing is to be written then.
    pub fn after(self, writer: Writer, step: Step) -> Result<Self, Forbidden> {
        let refused = match (writer, step) {
            (Writer::Status, Step::Evidence) => !self.in_doubt(),
            (_, Step::Resend) => self.resent,
            _ => false,
        };
        let state = writer.after(self.state, step).filter(|_| !refused);
        let state = state.ok_or(Forbidden {
            life: self,
            writer,
            step,
        })?;
        if state == State::Attempting {
            let taken = step == Step::Receipt;
            return Ok(Self {
                state,
                taken,
                ..self
            });
        }
        let known = self.taken && self.state == State::Attempting;
        let state = if known { State::Accepted } else { state };
        let unknown = (writer, step, self.state) == (Writer::Time, Step::Fail, State::Unknown);
        let resent = self.resent || step == Step::Resend;
        Ok(Self {
            state,
            resent,
            lost: resent || unknown,
            taken: false,
        })
    }

    /// Whether a provider id that names the person and matches nothing may be of this message.
    pub fn in_doubt(self) -> bool {
        matches!(self.state, State::Attempting | State::Unknown) || self.lost
    }

    /// Of all messages to a person in which there is doubt, the place of the one that a status
    /// without a message proves: where there are two, or the only one is being sent right now or has
    /// its receipt, it proves nothing (design.md G3).
    pub fn provable(in_doubt: &[Self]) -> Option<usize> {
        let mut all = in_doubt
            .iter()
            .enumerate()
            .filter(|(_, one)| one.in_doubt());
        match (all.next(), all.next()) {
            (Some((place, one)), None) => one
                .after(Writer::Status, Step::Evidence)
                .is_ok()
                .then_some(place),
            _ => None,
        }
    }
}

/// A step that may not be taken. Where a store asks before it decides, that is an answer; where it
/// is sure, it never happens unless the program is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forbidden {
    /// The message.
    pub life: Life,
    /// Who asked.
    pub writer: Writer,
    /// For what.
    pub step: Step,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (state, writer) = (self.life.state, self.writer.as_str());
        write!(
            f,
            "a message that is {state} cannot {} by {writer}",
            self.step
        )
    }
}

impl std::error::Error for Forbidden {}

#[cfg(test)]
mod joint;
#[cfg(test)]
mod tests;
