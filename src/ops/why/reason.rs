//! A reason: its code for programs, its words for people.

use crate::domain::UnixMs;
use serde_json::{Value, json};

/// What sending waits for. The words never change: programs and people search for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ops) enum Code {
    /// The process is stopping.
    Draining,
    /// The store can record nothing, so nothing may be sent.
    StoreNotWritable,
    /// An operator paused the channel.
    Paused,
    /// The store went back, and an operator is to decide.
    StoreWentBack,
    /// The store was restarted or replaced, and is being told what was sent.
    StoreCatchingUp,
    /// The opt-outs that Datastore keeps are being read.
    ReadingOptOuts,
    /// The account has no token that the provider takes.
    NoToken,
    /// The provider answered alike to several messages.
    Held,
    /// The breaker is open.
    CircuitOpen,
    /// The provider named a pause.
    AskedToWait,
    /// This message was tried, and its next try has a time.
    RetryPause,
    /// The provider said "too fast".
    Slowed,
    /// Others of the channel come first.
    Turn,
}

impl Code {
    /// Those that an account can have.
    pub(in crate::ops) const OF_ACCOUNTS: [Self; 10] = [
        Self::Draining,
        Self::StoreNotWritable,
        Self::StoreWentBack,
        Self::StoreCatchingUp,
        Self::ReadingOptOuts,
        Self::NoToken,
        Self::Held,
        Self::CircuitOpen,
        Self::AskedToWait,
        Self::Slowed,
    ];

    /// The word of it.
    pub(in crate::ops) fn as_str(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::StoreNotWritable => "store_not_writable",
            Self::Paused => "paused",
            Self::StoreWentBack => "store_went_back",
            Self::StoreCatchingUp => "store_catching_up",
            Self::ReadingOptOuts => "reading_opt_outs",
            Self::NoToken => "no_token",
            Self::Held => "held",
            Self::CircuitOpen => "circuit_open",
            Self::AskedToWait => "asked_to_wait",
            Self::RetryPause => "retry_pause",
            Self::Slowed => "slowed",
            Self::Turn => "turn",
        }
    }
}

/// Why something waits.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::ops) struct Reason {
    pub(in crate::ops) code: Code,
    /// What happened and to whom.
    pub(in crate::ops) words: String,
    /// Since when, where that is known.
    pub(in crate::ops) since: Option<UnixMs>,
    /// Not before this anything changes by itself; nothing where only a person can end it, or where
    /// nobody knows.
    pub(in crate::ops) until: Option<UnixMs>,
    /// What ends it.
    pub(in crate::ops) cure: Option<String>,
    /// The place in the channel's queue, from 1.
    pub(in crate::ops) position: Option<u64>,
    /// When the message is sent at the earliest, at the rate of now.
    pub(in crate::ops) expected: Option<UnixMs>,
}

impl Reason {
    pub(super) fn of(code: Code, words: impl Into<String>) -> Self {
        Self {
            code,
            words: words.into(),
            since: None,
            until: None,
            cure: None,
            position: None,
            expected: None,
        }
    }

    pub(super) fn since(self, since: UnixMs) -> Self {
        Self {
            since: Some(since),
            ..self
        }
    }

    pub(super) fn until(self, until: Option<UnixMs>) -> Self {
        Self { until, ..self }
    }

    pub(super) fn cured(self, cure: impl Into<String>) -> Self {
        Self {
            cure: Some(cure.into()),
            ..self
        }
    }

    /// What happened and what ends it, in one line.
    pub(in crate::ops) fn sentence(&self) -> String {
        match &self.cure {
            Some(cure) => format!("{}; {cure}", self.words),
            None => self.words.clone(),
        }
    }

    /// As a member of the API.
    pub(in crate::ops) fn json(&self) -> Value {
        let time = |at: Option<UnixMs>| at.map(crate::ops::view::time);
        json!({
            "code": self.code.as_str(),
            "words": self.words,
            "since": time(self.since),
            "until": time(self.until),
            "cure": self.cure,
            "position": self.position,
            "expected_at": time(self.expected),
        })
    }
}

/// A moment within the day, for a sentence.
pub(in crate::ops) fn clock_time(at: UnixMs) -> String {
    let at = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default();
    format!("{} UTC", at.strftime("%H:%M:%S"))
}
