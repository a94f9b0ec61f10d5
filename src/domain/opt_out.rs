//! What a person does not want from a channel any more (design.md section 13).

use super::{ChannelId, Phone, Refusal, RefusalKind, UnixMs, UserId};
use std::sync::Arc;

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
    /// All there are.
    pub const ALL: [Self; 2] = [Self::All, Self::Marketing];

    /// Its word in the log, in metrics and in a history.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Marketing => "marketing",
        }
    }

    /// The scope of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }

    /// What MoEngage is told of a message that it stops.
    pub fn refusal(self) -> Refusal {
        let reason = match self {
            Self::All => "Recipient opted out",
            Self::Marketing => "Recipient opted out of marketing messages",
        };
        Refusal::new(RefusalKind::OptedOut, reason)
    }
}

/// Under what an opt-out is kept: a number, or the user id of somebody whose number nobody knows yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum OptOutName {
    /// A number.
    Number(Phone),
    /// A user id.
    User(UserId),
}

impl OptOutName {
    /// Reads either.
    pub fn parse(text: &str) -> Option<Self> {
        let number = Phone::parse(text).ok().map(Self::Number);
        number.or_else(|| UserId::parse(text).map(Self::User))
    }

    /// The whole number or id. For a store and the wire.
    pub fn text(&self) -> String {
        match self {
            Self::Number(number) => number.digits(),
            Self::User(user) => user.as_str().to_owned(),
        }
    }
}

/// How an opt-out came about: a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source(Arc<str>);

impl Source {
    /// A person's word to the channel.
    pub const REPLY: &str = "reply";
    /// The provider said so of a message.
    pub const STATUS: &str = "status";
    /// An operator.
    pub const OPERATOR: &str = "operator";
    /// A file that did not say.
    pub const IMPORT: &str = "import";
    /// Nobody knows: a program before this one kept no source.
    pub const UNKNOWN: &str = "unknown";

    /// Takes a word of up to 32 letters, digits, dots, hyphens and underscores.
    pub fn parse(word: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_one = (1..=32).contains(&word.len()) && word.bytes().all(fits);
        is_one.then(|| Self(word.into()))
    }

    /// The same of what a store kept; what is none is not known.
    pub fn kept(word: &str) -> Self {
        Self::parse(word).unwrap_or_else(|| Self(Self::UNKNOWN.into()))
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What somebody said last about the messages of a channel, under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptOutEntry {
    /// The channel.
    pub channel: ChannelId,
    /// Who.
    pub name: OptOutName,
    /// About which messages.
    pub scope: OptOut,
    /// Whether they want none; else they want them again.
    pub is_out: bool,
    /// When; 0 where nobody knows.
    pub at: UnixMs,
    /// How.
    pub source: Source,
}

impl OptOutEntry {
    /// Whether this counts against what else was said, of which `is_out` and `at` are given: it is later,
    /// or no earlier and for no messages.
    pub fn prevails(&self, is_out: bool, at: UnixMs) -> bool {
        self.at > at || (self.at == at && self.is_out && !is_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_short_word() {
        for word in ["reply", "crm.v2", "A-b_3", &"x".repeat(32)] {
            assert_eq!(Source::parse(word).unwrap().as_str(), word);
        }
        for word in ["", "a b", "a,b", "=1+1", "ä", &"x".repeat(33)] {
            assert_eq!(Source::parse(word), None, "{word}");
            assert_eq!(Source::kept(word).as_str(), Source::UNKNOWN);
        }
    }

    #[test]
    fn a_name_comes_back_as_it_was() {
        for (text, kept) in [
            ("+1 202-555-0143", "12025550143"),
            ("US.ENT.77a", "US.ENT.77a"),
        ] {
            let name = OptOutName::parse(text).unwrap();
            assert_eq!(name.text(), kept);
            assert_eq!(OptOutName::parse(kept), Some(name));
        }
        assert_eq!(OptOutName::parse("nobody"), None);
    }

    proptest::proptest! {
        #[test]
        fn of_two_one_prevails_whichever_comes_first(a in 0i64..4, b in 0i64..4, out in proptest::bool::ANY, other in proptest::bool::ANY) {
            let entry = |at, is_out| OptOutEntry {
                channel: ChannelId::parse("a").unwrap(),
                name: OptOutName::parse("12025550143").unwrap(),
                scope: OptOut::All,
                is_out,
                at: UnixMs(at),
                source: Source::kept(Source::REPLY),
            };
            let (one, two) = (entry(a, out), entry(b, other));
            let alike = a == b && out == other;
            let first = one.prevails(two.is_out, two.at);
            let second = two.prevails(one.is_out, one.at);
            proptest::prop_assert_eq!(first != second, !alike);
        }
    }
}
