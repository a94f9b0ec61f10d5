//! What a channel wants done with failures: its settings, with the defaults of docs/design.md.
//!
//! What an answer proves is judged by its provider ([`super::proof`]); what follows when several
//! messages fare alike is decided in [`super::circumstance`].

use std::time::Duration;

/// What a channel wants done; the defaults are those of docs/design.md.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Texts of `success:false` answers that are worth another try (part of the text, any case).
    pub retryable_texts: Vec<String>,
    /// What becomes of a send whose outcome stays unknown.
    pub ambiguous: Ambiguous,
    /// How long an unknown outcome waits for evidence.
    pub ambiguous_hold: Duration,
    /// The age, counted from accept, at which an unsent message is failed.
    pub max_age: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            retryable_texts: Vec::new(),
            ambiguous: Ambiguous::Fail,
            ambiguous_hold: Duration::from_secs(600),
            max_age: Duration::from_secs(24 * 3600),
        }
    }
}

/// What becomes of a send whose outcome stays unknown after the hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ambiguous {
    /// It is reported failed; nobody gets two messages.
    Fail,
    /// It is sent once more; somebody may get two messages.
    Resend,
}
