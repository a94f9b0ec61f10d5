//! What one provider call came back with, before anyone judges it.

use super::ProviderId;
use std::time::Duration;

/// The provider's acceptance of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The id that status events will name.
    pub provider_id: ProviderId,
    /// The thread with this contact; may hold a phone number (DESIGN G6).
    pub conversation: Option<String>,
}

/// How the transport failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// No connection: DNS, TCP or TLS. Proves that nothing was handed on.
    Connect,
    /// No answer within the deadline.
    Timeout,
    /// The connection broke after the request began.
    Lost,
    /// The call was not made: its slot in the rate had passed, and the next one was far.
    NotStarted,
}

/// The facts of one answer, or of its absence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// The HTTP status, when there was an answer.
    pub http: Option<u16>,
    /// The gateway fault's `errorcode` (contracts/jumper.md section 3.3).
    pub fault: Option<String>,
    /// The body's boolean `success`, when the body was readable and had one.
    pub success: Option<bool>,
    /// The receipt, when the body had one.
    pub receipt: Option<Receipt>,
    /// The upstream's own words, cut to a readable length; no token, numbers masked.
    pub text: Option<String>,
    /// How long the upstream asked us to wait.
    pub retry_after: Option<Duration>,
    /// The transport error, when there was no whole answer.
    pub transport: Option<Transport>,
}

impl Answer {
    /// One line for the record: `HTTP 429 policies.ratelimit.QuotaViolation`.
    pub fn summary(&self) -> String {
        let mut parts = Vec::new();
        if let Some(http) = self.http {
            parts.push(format!("HTTP {http}"));
        }
        match self.transport {
            Some(Transport::Connect) => parts.push("no connection".into()),
            Some(Transport::Timeout) => parts.push("no answer in time".into()),
            Some(Transport::Lost) => parts.push("connection lost".into()),
            Some(Transport::NotStarted) => parts.push("not started: its slot had passed".into()),
            None => {}
        }
        parts.extend(self.fault.clone());
        parts.extend(self.text.clone());
        parts.join(", ")
    }
}
