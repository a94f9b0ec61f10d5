//! The life of a message as a state machine (design.md section 4).
//!
//! The only place that says which step may follow which; [`super::life`] says who may take it.

use std::fmt;

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Waits for its turn.
    Queued,
    /// A worker has it; the provider may be reading it now.
    Attempting,
    /// The provider took it: there is a receipt.
    Accepted,
    /// The provider may or may not have taken it; waiting for evidence.
    Unknown,
    /// Given up, and reported to MoEngage as failed.
    Failed,
}

/// What can happen to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// A worker takes it.
    Claim,
    /// The provider answered with a receipt, to whatever attempt and however late.
    Receipt,
    /// Nothing was handed on; it goes back to the queue.
    Retry,
    /// It will never be sent: refused, too old, opted out.
    Fail,
    /// The outcome of the attempt cannot be known from its answer.
    Lose,
    /// Something else than an answer proves that the provider took it: a status event, a record.
    Evidence,
    /// No evidence came in time and the channel wants a second try.
    Resend,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Queued,
        Self::Attempting,
        Self::Accepted,
        Self::Unknown,
        Self::Failed,
    ];

    /// The state after `step`; nothing where that step cannot follow.
    pub fn after(self, step: Step) -> Option<Self> {
        match (self, step) {
            (Self::Queued, Step::Claim) => Some(Self::Attempting),
            (Self::Attempting, Step::Receipt)
            // Queued: to be sent once more, and now it need not be.
            | (Self::Queued | Self::Unknown | Self::Failed, Step::Receipt | Step::Evidence) => {
                Some(Self::Accepted)
            }
            (Self::Attempting | Self::Unknown, Step::Retry) | (Self::Unknown, Step::Resend) => {
                Some(Self::Queued)
            }
            (Self::Queued | Self::Attempting | Self::Unknown, Step::Fail) => Some(Self::Failed),
            (Self::Attempting, Step::Lose) => Some(Self::Unknown),
            _ => None,
        }
    }

    /// Whether nothing more will be done to send it.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Accepted | Self::Failed)
    }

    /// The word for it, in records and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Attempting => "attempting",
            Self::Accepted => "accepted",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 7] = [
        Self::Claim,
        Self::Receipt,
        Self::Retry,
        Self::Fail,
        Self::Lose,
        Self::Evidence,
        Self::Resend,
    ];

    /// The word for it, in the scripts of the shared store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Receipt => "receipt",
            Self::Retry => "retry",
            Self::Fail => "fail",
            Self::Lose => "lose",
            Self::Evidence => "evidence",
            Self::Resend => "resend",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_design_names_exactly_these_transitions() {
        use State::{Accepted, Attempting, Failed, Queued, Unknown};
        let designed = [
            (Queued, Attempting),
            (Queued, Accepted),
            (Queued, Failed),
            (Attempting, Accepted),
            (Attempting, Queued),
            (Attempting, Unknown),
            (Attempting, Failed),
            (Unknown, Accepted),
            (Unknown, Failed),
            (Unknown, Queued),
            (Failed, Accepted),
        ];
        let mut found = Vec::new();
        for state in State::ALL {
            for step in Step::ALL {
                if let Some(next) = state.after(step) {
                    found.push((state, next));
                }
            }
        }
        found.sort();
        found.dedup();
        let mut expected = designed.to_vec();
        expected.sort();
        assert_eq!(found, expected);
    }

    proptest! {
        #[test]
        fn a_receipt_is_never_taken_back(steps in prop::collection::vec(0..7usize, 0..40)) {
            let mut state = State::Queued;
            let mut had_receipt = false;
            for step in steps {
                if let Some(next) = state.after(Step::ALL[step]) {
                    state = next;
                }
                had_receipt |= state == State::Accepted;
                prop_assert!(!had_receipt || state == State::Accepted);
            }
        }

        #[test]
        fn only_a_claim_leads_to_an_attempt(state in 0..5usize, step in 0..7usize) {
            if let Some(State::Attempting) = State::ALL[state].after(Step::ALL[step]) {
                prop_assert_eq!((State::ALL[state], Step::ALL[step]), (State::Queued, Step::Claim));
            }
        }
    }
}
