//! What a person does not want from a channel any more (DESIGN section 13).

use super::{Code, Refusal};

/// The scope of an opt-out, the widest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OptOut {
    /// No message at all: the person wrote STOP.
    All,
    /// No promotions: no template that the provider lists as MARKETING. One-time codes and order
    /// updates go, and so does a template whose category nobody knows: a promotion too many is a
    /// nuisance, and WhatsApp itself holds it back; a one-time code that is lost locks a person out.
    Marketing,
}

impl OptOut {
    /// Its word in the log, in metrics and in a history.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Marketing => "marketing",
        }
    }

    /// What MoEngage is told of a message that it stops.
    pub fn refusal(self) -> Refusal {
        let reason = match self {
            Self::All => "Recipient opted out",
            Self::Marketing => "Recipient opted out of marketing messages",
        };
        Refusal::new(Code::OptedOut, reason)
    }
}
