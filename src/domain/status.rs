//! Delivery statuses and their fold: forwards only (design.md G4).

use std::fmt;

/// What happened to a message after the provider took it (contracts/moengage.md section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// The provider handed it on.
    Sent,
    /// It could not be delivered.
    Failed,
    /// It reached the phone.
    Delivered,
    /// The person opened it.
    Read,
}

impl Status {
    /// Every status, lowest rank first.
    pub const ALL: [Self; 4] = [Self::Sent, Self::Failed, Self::Delivered, Self::Read];

    /// MoEngage's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Delivered => "delivered",
            Self::Read => "read",
        }
    }

    /// Reads MoEngage's word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a message has come: the highest status that was emitted, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress(Option<Status>);

impl Progress {
    /// The progress of a message for which `status` was the last one emitted.
    pub fn at(status: Option<Status>) -> Self {
        Self(status)
    }

    /// The last status emitted.
    pub fn status(self) -> Option<Status> {
        self.0
    }

    /// Takes one event. The second value tells whether it is to be relayed; otherwise it is
    /// superseded (a duplicate, or of lower rank than what was relayed before).
    ///
    /// The order is sent < failed < delivered < read: a failure replaces only nothing or sent,
    /// and a delivery that really happens after a failure is still told.
    #[must_use]
    pub fn fold(self, event: Status) -> (Self, bool) {
        if self.0.is_none_or(|last| event > last) {
            (Self(Some(event)), true)
        } else {
            (self, false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Status::{Delivered, Failed, Read, Sent};
    use super::*;
    use proptest::prelude::*;

    fn relayed(events: &[Status]) -> Vec<Status> {
        let mut progress = Progress::default();
        let mut out = Vec::new();
        for event in events {
            let (next, emit) = progress.fold(*event);
            progress = next;
            out.extend(emit.then_some(*event));
        }
        out
    }

    #[test]
    fn the_table_of_the_fold() {
        let cases: [(&[Status], &[Status]); 9] = [
            (&[Sent, Delivered, Read], &[Sent, Delivered, Read]),
            (&[Read, Delivered, Sent], &[Read]),
            (&[Sent, Sent, Delivered, Sent], &[Sent, Delivered]),
            (&[Sent, Failed], &[Sent, Failed]),
            (&[Failed, Sent], &[Failed]),
            (&[Delivered, Failed], &[Delivered]),
            (&[Failed, Delivered], &[Failed, Delivered]),
            (&[Failed, Failed, Read], &[Failed, Read]),
            (&[Sent, Read], &[Sent, Read]),
        ];
        for (events, expected) in cases {
            assert_eq!(relayed(events), expected, "{events:?}");
        }
    }

    fn any_status() -> impl Strategy<Value = Status> {
        prop::sample::select(Status::ALL.to_vec())
    }

    proptest! {
        #[test]
        fn what_is_relayed_only_rises(events in prop::collection::vec(any_status(), 0..20)) {
            let out = relayed(&events);
            prop_assert!(out.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert_eq!(out.last(), events.iter().max());
        }

        #[test]
        fn repeats_change_nothing(events in prop::collection::vec(any_status(), 0..20)) {
            let doubled: Vec<_> = events.iter().flat_map(|e| [*e, *e]).collect();
            prop_assert_eq!(relayed(&doubled), relayed(&events));
        }
    }
}
