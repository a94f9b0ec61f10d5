//! The two questions of the failure policy (design.md section 5): what does an answer prove about its
//! message, and whom is it about?
//!
//! Each provider reads its own answers and returns a [`Judgement`]; nobody else knows its codes.

use super::outcome::Receipt;
use std::fmt;
use std::time::Duration;

/// What an answer proves about the message of its call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// The provider has the message.
    Taken(Receipt),
    /// Nothing was handed on. The only proof with which a message is sent again by itself.
    NotTaken,
    /// The provider will not take it; final for this message unless others fare alike.
    Refused,
    /// It may have been taken or not.
    Unclear,
}

/// Whom an answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum About {
    /// This message alone.
    Message,
    /// Its recipient, by the provider's own code.
    Recipient,
    /// Its template.
    Template,
    /// The number it goes out from.
    Channel,
    /// The whole account.
    Account,
    /// More than this message perhaps; the answer does not say whom.
    Unsaid,
    /// The provider itself, or the way to it.
    Way,
    /// The rate: too many calls.
    Rate,
    /// The access token.
    Token,
}

/// One answer, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What it proves.
    pub proof: Proof,
    /// Whom it is about.
    pub about: About,
    /// The pause that the provider asked for.
    pub pause: Option<Duration>,
}

impl Judgement {
    /// A judgement without a pause.
    pub fn new(proof: Proof, about: About) -> Self {
        Self {
            proof,
            about,
            pause: None,
        }
    }

    /// Whether the answer accuses a circumstance: nothing was handed on, and waiting a little may not
    /// help, because it is about the template, the number, the account, or nobody knows whom.
    pub fn accuses(&self) -> bool {
        self.proof == Proof::NotTaken
            && matches!(
                self.about,
                About::Template | About::Channel | About::Account | About::Unsaid
            )
    }
}

/// What the last attempt of a message proved, as it is kept with the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum LastProof {
    /// It was never tried.
    #[default]
    None,
    /// The provider has it.
    Taken,
    /// Nothing was handed on.
    NotTaken,
    /// The provider refused it.
    Refused,
    /// Nobody knows.
    Unclear,
}

impl LastProof {
    /// Every value; its place is its number in a row.
    pub const ALL: [Self; 5] = [
        Self::None,
        Self::Taken,
        Self::NotTaken,
        Self::Refused,
        Self::Unclear,
    ];

    /// The number in a row.
    pub fn number(self) -> u8 {
        let place = Self::ALL.iter().position(|known| *known == self);
        place.unwrap_or_default() as u8
    }

    /// The value of a row; what no program of ours writes proves nothing.
    pub fn from_number(number: i64) -> Self {
        let place = usize::try_from(number).ok();
        let known = place.and_then(|place| Self::ALL.get(place).copied());
        known.unwrap_or(Self::Unclear)
    }

    /// The word for it, in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "not_tried",
            Self::Taken => "taken",
            Self::NotTaken => "not_taken",
            Self::Refused => "refused",
            Self::Unclear => "unclear",
        }
    }
}

impl From<&Proof> for LastProof {
    fn from(proof: &Proof) -> Self {
        match proof {
            Proof::Taken(_) => Self::Taken,
            Proof::NotTaken => Self::NotTaken,
            Proof::Refused => Self::Refused,
            Proof::Unclear => Self::Unclear,
        }
    }
}

impl fmt::Display for LastProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_proof_reads_back_and_what_is_none_proves_nothing() {
        for proof in LastProof::ALL {
            assert_eq!(LastProof::from_number(proof.number().into()), proof);
        }
        for odd in [-1, 5, i64::MAX, i64::MIN] {
            assert_eq!(LastProof::from_number(odd), LastProof::Unclear);
        }
    }

    #[test]
    fn only_what_was_not_taken_can_accuse() {
        for about in [
            About::Message,
            About::Recipient,
            About::Template,
            About::Channel,
            About::Account,
            About::Unsaid,
            About::Way,
            About::Rate,
            About::Token,
        ] {
            for proof in [Proof::Refused, Proof::Unclear] {
                assert!(!Judgement::new(proof, about).accuses());
            }
        }
        assert!(Judgement::new(Proof::NotTaken, About::Unsaid).accuses());
        assert!(!Judgement::new(Proof::NotTaken, About::Way).accuses());
        assert!(!Judgement::new(Proof::NotTaken, About::Token).accuses());
    }
}
