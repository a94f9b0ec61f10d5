//! What one provider call came back with, before anyone judges it.

use super::ProviderId;
use std::time::Duration;

/// The provider's acceptance of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The id that status events will name.
    pub provider_id: ProviderId,
    /// The thread with this contact; may hold a phone number (design.md G6).
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

    /// What alike answers share: status, fault and text without what differs from message to message
    /// (numbers, ids, quoted words, addresses).
    pub fn reason(&self) -> String {
        let mut parts = Vec::new();
        if let Some(http) = self.http {
            parts.push(format!("http {http}"));
        }
        if let Some(transport) = self.transport {
            parts.push(format!("{transport:?}").to_lowercase());
        }
        parts.extend(self.fault.clone());
        if let Some(text) = &self.text {
            let text = without_quotes(&text.to_lowercase());
            let same = |word: &&str| {
                !word.contains("://") && !word.chars().any(char::is_numeric) && !word.is_empty()
            };
            parts.extend(
                text.split_whitespace()
                    .filter(same)
                    .take(MOST_WORDS)
                    .map(str::to_owned),
            );
        }
        parts.join(" ")
    }
}

/// Words of a text that make a reason.
const MOST_WORDS: usize = 16;

/// A text without what stands between quotes. An apostrophe inside of a word is no quote.
fn without_quotes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut before) = (text, ' ');
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        let end = match c {
            '"' | '`' => after.find(c),
            '\'' if !before.is_alphanumeric() => after.find(c),
            '\u{201c}' => after.find('\u{201d}'),
            '\u{2018}' if !before.is_alphanumeric() => after.find('\u{2019}'),
            _ => None,
        };
        if let Some(end) = end {
            let close = after[end..].chars().next().map_or(0, char::len_utf8);
            rest = &after[end + close..];
        } else {
            out.push(c);
            rest = after;
        }
        before = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> String {
        let answer = Answer {
            http: Some(400),
            text: Some(text.into()),
            ..Answer::default()
        };
        answer.reason()
    }

    #[test]
    fn answers_that_differ_in_ids_numbers_and_names_are_alike() {
        for (one, other) in [
            ("Template 123 is paused", "Template 99 is paused"),
            ("request req-8f3a failed", "request req-77b0 failed"),
            ("no such page 'offer_a' here", "no such page 'offer_b' here"),
            ("see https://a.test/x now", "see https://b.test/y now"),
            ("Account \"A B\" is suspended", "account \"C\" is suspended"),
        ] {
            assert_eq!(reason(one), reason(other));
        }
        assert_ne!(reason("account is suspended"), reason("template is paused"));
        assert_eq!(reason("it can't be sent"), "http 400 it can't be sent");
        assert_eq!(reason("don't 'x' or 'y'"), "http 400 don't or");
    }

    proptest::proptest! {
        #[test]
        fn every_text_has_a_short_reason(text in "(?s).{0,300}") {
            let words = reason(&text);
            proptest::prop_assert!(words.split(' ').count() <= MOST_WORDS + 3);
        }
    }
}
