//! The life of a message as a state machine (DESIGN section 4).
//!
//! The only place that says which step may follow which. Stores ask it before they write.

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
    /// The provider answered with a receipt.
    Receipt,
    /// Nothing was handed on; it goes back to the queue.
    Retry,
    /// It will never be sent: refused, too old, opted out.
    Fail,
    /// The outcome of the attempt cannot be known from its answer.
    Lose,
    /// A status event, or the late receipt of an earlier attempt, proves that the provider took it.
    Evidence,
    /// No evidence came in time and the channel wants a second try.
    Resend,
}

/// A step that the state does not allow. Never happens unless the program is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IllegalStep {
    /// The state it was in.
    pub state: State,
    /// The step that was asked for.
    pub step: Step,
}

impl fmt::Display for IllegalStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a message that is {} cannot take the step {:?}",
            self.state, self.step
        )
    }
}

impl std::error::Error for IllegalStep {}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Queued,
        Self::Attempting,
        Self::Accepted,
        Self::Unknown,
        Self::Failed,
    ];

    /// The state after `step`.
    pub fn after(self, step: Step) -> Result<Self, IllegalStep> {
        match (self, step) {
            (Self::Queued, Step::Claim) => Ok(Self::Attempting),
            (Self::Attempting, Step::Receipt)
            // Queued: to be sent once more, and now it need not be.
            | (Self::Queued | Self::Unknown | Self::Failed, Step::Evidence) => Ok(Self::Accepted),
            (Self::Attempting, Step::Retry) | (Self::Unknown, Step::Resend) => Ok(Self::Queued),
            (Self::Queued | Self::Attempting | Self::Unknown, Step::Fail) => Ok(Self::Failed),
            (Self::Attempting, Step::Lose) => Ok(Self::Unknown),
            (state, step) => Err(IllegalStep { state, step }),
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

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STEPS: [Step; 7] = [
        Step::Claim,
        Step::Receipt,
        Step::Retry,
        Step::Fail,
        Step::Lose,
        Step::Evidence,
        Step::Resend,
    ];

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
            for step in STEPS {
                if let Ok(next) = state.after(step) {
                    found.push((state, next));
                }
            }
        }
        found.sort();
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
                if let Ok(next) = state.after(STEPS[step]) {
                    state = next;
                }
                had_receipt |= state == State::Accepted;
                prop_assert!(!had_receipt || state == State::Accepted);
            }
        }

        #[test]
        fn only_a_claim_leads_to_an_attempt(state in 0..5usize, step in 0..7usize) {
            if let Ok(State::Attempting) = State::ALL[state].after(STEPS[step]) {
                prop_assert_eq!((State::ALL[state], STEPS[step]), (State::Queued, Step::Claim));
            }
        }
    }
}
