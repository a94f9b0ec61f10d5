//! Why a message is refused or failed. A door turns the kind into a code of its own.

/// What a refusal or a failure is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefusalKind {
    /// The credentials are not valid.
    Credentials,
    /// The template or its parameters are not valid.
    Template,
    /// The phone number is not valid.
    Phone,
    /// The recipient opted out.
    OptedOut,
    /// Anything else.
    Other,
}

impl RefusalKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Credentials,
        Self::Template,
        Self::Phone,
        Self::OptedOut,
        Self::Other,
    ];

    /// The word for it, in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Template => "template",
            Self::Phone => "phone",
            Self::OptedOut => "opted_out",
            Self::Other => "other",
        }
    }
}

/// A kind with the exact reason, as its reader will see it. Holds no secret and no whole number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it is about.
    pub kind: RefusalKind,
    /// What is wrong and where, in one sentence.
    pub reason: String,
}

impl Refusal {
    /// A refusal with its reason.
    pub fn new(kind: RefusalKind, reason: impl Into<String>) -> Self {
        Self {
            kind,
            reason: reason.into(),
        }
    }

    /// In one line, for the log: `opted_out: Recipient opted out`.
    pub fn line(&self) -> String {
        format!("{}: {}", self.kind.as_str(), self.reason)
    }
}
