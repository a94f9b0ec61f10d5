//! MoEngage's five error codes and the refusals that carry them.

use std::fmt;

/// The code of a refusal or of a failed message (contracts/moengage.md section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// 7000: the credentials are not valid.
    Credentials,
    /// 7001: the template or its parameters are not valid.
    Template,
    /// 7002: the phone number is not valid.
    Phone,
    /// 7003: the recipient opted out.
    OptedOut,
    /// 7004: anything else.
    Other,
}

impl Code {
    /// The code as MoEngage's samples write it: a text of four digits.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Credentials => "7000",
            Self::Template => "7001",
            Self::Phone => "7002",
            Self::OptedOut => "7003",
            Self::Other => "7004",
        }
    }

    /// Reads a code that a store kept.
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Credentials,
            Self::Template,
            Self::Phone,
            Self::OptedOut,
            Self::Other,
        ]
        .into_iter()
        .find(|code| code.as_str() == text)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A code with the exact reason, as its reader will see it. Holds no secret and no whole number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub code: Code,
    /// What is wrong and where, in one sentence.
    pub reason: String,
}

impl Refusal {
    /// A refusal with its reason.
    pub fn new(code: Code, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.reason)
    }
}
