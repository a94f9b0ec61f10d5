//! The failure policy: one table, one pure function (DESIGN section 5).
//!
//! Retry only what proves that nothing was handed on. Everything else that is not a clear
//! acceptance or a clear refusal is unknown, and unknown is never sent again by itself.

use super::outcome::{Answer, Receipt, Transport};
use std::time::Duration;

/// What a channel wants done; the defaults are DESIGN's.
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

/// What to do with an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The provider took it.
    Accepted(Receipt),
    /// Back to the queue.
    Retry,
    /// Back to the queue, and go slower.
    SlowDown {
        /// The pause the upstream asked for.
        retry_after: Option<Duration>,
    },
    /// Back to the queue, and get a new access token first.
    Reauthorize,
    /// Back to the queue, and stop the account until a test call succeeds.
    Hold,
    /// The provider refused this message.
    Fail,
    /// Nobody knows.
    Unknown,
}

const RETRY_FAULTS: [&str; 3] = [
    "messaging.adaptors.http.flow.ServiceUnavailable",
    "messaging.adaptors.http.flow.NoActiveTargets",
    "messaging.adaptors.http.flow.SslHandshakeFailed",
];
const TOKEN_FAULTS: [&str; 3] = ["steps.jwt.", "keymanagement.service.", "oauth.v2."];

/// Judges one answer. Precedence: fault code, then 401 and 429, then a body with `success`, then
/// the status, then the transport.
pub fn decide(answer: &Answer, policy: &Policy) -> Verdict {
    let slow_down = Verdict::SlowDown {
        retry_after: answer.retry_after,
    };
    if let Some(fault) = answer.fault.as_deref() {
        if fault.starts_with("policies.ratelimit.") {
            return slow_down;
        }
        if fault.ends_with("ApplicationNotFound") {
            return Verdict::Hold;
        }
        if TOKEN_FAULTS.iter().any(|prefix| fault.starts_with(prefix)) {
            return Verdict::Reauthorize;
        }
        if RETRY_FAULTS.contains(&fault) {
            return Verdict::Retry;
        }
    }
    match (answer.http, answer.success) {
        (Some(401), _) => Verdict::Reauthorize,
        (Some(429), _) => slow_down,
        // An acceptance that names no message cannot be matched with its statuses by id.
        (_, Some(true)) => answer
            .receipt
            .clone()
            .map_or(Verdict::Unknown, Verdict::Accepted),
        (_, Some(false)) => refused(answer.text.as_deref(), policy),
        (Some(503), None) => Verdict::Retry,
        (Some(403), None) => Verdict::Hold,
        // Never followed, so nothing was handed on; it concerns every call, like a wrong address.
        (Some(300..=399), None) => Verdict::Hold,
        (Some(400..=499), None) => Verdict::Fail,
        (Some(_), None) => Verdict::Unknown,
        (None, None) => match answer.transport {
            Some(Transport::Connect) => Verdict::Retry,
            Some(Transport::NotStarted) => Verdict::Retry,
            _ => Verdict::Unknown,
        },
    }
}

fn refused(text: Option<&str>, policy: &Policy) -> Verdict {
    let text = text.unwrap_or_default().to_lowercase();
    let listed = |part: &String| !part.is_empty() && text.contains(&part.to_lowercase());
    if policy.retryable_texts.iter().any(listed) {
        Verdict::Retry
    } else {
        Verdict::Fail
    }
}

/// Whether an answer says that the provider itself is in trouble: what the breaker counts.
pub fn is_outage(answer: &Answer) -> bool {
    let limited = answer
        .fault
        .as_deref()
        .is_some_and(|f| f.starts_with("policies.ratelimit."));
    let server_error = matches!(answer.http, Some(500..=599)) && answer.success.is_none();
    !limited
        && (server_error
            || matches!(
                answer.transport,
                Some(Transport::Connect | Transport::Timeout)
            ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ProviderId;
    use proptest::prelude::*;

    fn receipt() -> Receipt {
        Receipt {
            provider_id: ProviderId::parse("P1").unwrap(),
            conversation: None,
        }
    }

    fn http(status: u16) -> Answer {
        Answer {
            http: Some(status),
            ..Answer::default()
        }
    }

    fn fault(status: u16, code: &str) -> Answer {
        Answer {
            fault: Some(code.into()),
            ..http(status)
        }
    }

    fn said(status: u16, success: bool) -> Answer {
        Answer {
            success: Some(success),
            receipt: success.then(receipt),
            text: Some("Template paused".into()),
            ..http(status)
        }
    }

    fn broken(transport: Transport) -> Answer {
        Answer {
            transport: Some(transport),
            ..Answer::default()
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one row per case of the table")]
    fn the_table_of_the_policy() {
        let slow = Verdict::SlowDown { retry_after: None };
        let flow = "messaging.adaptors.http.flow.";
        let cases = [
            (broken(Transport::Connect), Verdict::Retry),
            (broken(Transport::NotStarted), Verdict::Retry),
            (broken(Transport::Timeout), Verdict::Unknown),
            (broken(Transport::Lost), Verdict::Unknown),
            (http(503), Verdict::Retry),
            (
                fault(503, &format!("{flow}ServiceUnavailable")),
                Verdict::Retry,
            ),
            (
                fault(503, &format!("{flow}NoActiveTargets")),
                Verdict::Retry,
            ),
            (
                fault(502, &format!("{flow}SslHandshakeFailed")),
                Verdict::Retry,
            ),
            (
                fault(504, &format!("{flow}GatewayTimeout")),
                Verdict::Unknown,
            ),
            (
                fault(404, &format!("{flow}ApplicationNotFound")),
                Verdict::Hold,
            ),
            (http(429), slow.clone()),
            (
                fault(500, "policies.ratelimit.SpikeArrestViolation"),
                slow.clone(),
            ),
            (fault(500, "policies.ratelimit.QuotaViolation"), slow),
            (http(401), Verdict::Reauthorize),
            (fault(500, "steps.jwt.TokenExpired"), Verdict::Reauthorize),
            (
                fault(401, "keymanagement.service.invalid_access_token"),
                Verdict::Reauthorize,
            ),
            (
                fault(401, "oauth.v2.InvalidAccessToken"),
                Verdict::Reauthorize,
            ),
            (http(403), Verdict::Hold),
            (said(403, false), Verdict::Fail),
            (said(200, true), Verdict::Accepted(receipt())),
            (said(500, true), Verdict::Accepted(receipt())),
            (said(200, false), Verdict::Fail),
            (said(400, false), Verdict::Fail),
            (said(503, false), Verdict::Fail),
            (
                Answer {
                    receipt: None,
                    ..said(200, true)
                },
                Verdict::Unknown,
            ),
            (http(200), Verdict::Unknown),
            (http(302), Verdict::Hold),
            (http(500), Verdict::Unknown),
            (http(502), Verdict::Unknown),
            (http(404), Verdict::Fail),
            (http(413), Verdict::Fail),
            (Answer::default(), Verdict::Unknown),
        ];
        for (answer, expected) in cases {
            assert_eq!(decide(&answer, &Policy::default()), expected, "{answer:?}");
        }
    }

    #[test]
    fn a_listed_text_is_tried_again() {
        let policy = Policy {
            retryable_texts: vec!["PAUSED".into()],
            ..Policy::default()
        };
        assert_eq!(decide(&said(200, false), &policy), Verdict::Retry);
        let policy = Policy {
            retryable_texts: vec![String::new()],
            ..Policy::default()
        };
        assert_eq!(decide(&said(200, false), &policy), Verdict::Fail);
    }

    #[test]
    fn a_rate_limit_under_500_is_no_outage() {
        assert!(is_outage(&http(502)));
        assert!(is_outage(&broken(Transport::Timeout)));
        assert!(!is_outage(&fault(500, "policies.ratelimit.QuotaViolation")));
        assert!(!is_outage(&said(200, false)));
    }

    fn any_answer() -> impl Strategy<Value = Answer> {
        let faults = prop::option::of(prop::sample::select(vec![
            "policies.ratelimit.QuotaViolation",
            "steps.jwt.FailedToDecode",
            "messaging.adaptors.http.flow.GatewayTimeout",
            "messaging.adaptors.http.flow.NoActiveTargets",
            "something.else",
        ]));
        let transports = prop::option::of(prop::sample::select(vec![
            Transport::Connect,
            Transport::Timeout,
            Transport::Lost,
            Transport::NotStarted,
        ]));
        (
            prop::option::of(100u16..600),
            faults,
            prop::option::of(any::<bool>()),
            transports,
        )
            .prop_map(|(http, fault, success, transport)| Answer {
                http,
                fault: fault.map(Into::into),
                success,
                receipt: (success == Some(true)).then(receipt),
                transport,
                ..Answer::default()
            })
    }

    proptest! {
        /// The heart of "not twice": whatever may have reached the provider is never retried.
        #[test]
        fn a_retry_needs_proof(answer in any_answer()) {
            if decide(&answer, &Policy::default()) == Verdict::Retry {
                let proof = answer.http == Some(503)
                    || matches!(
                        answer.transport,
                        Some(Transport::Connect | Transport::NotStarted)
                    )
                    || answer.fault.as_deref().is_some_and(|f| RETRY_FAULTS.contains(&f));
                prop_assert!(proof, "{:?}", answer);
            }
        }

        #[test]
        fn only_a_receipt_is_an_acceptance(answer in any_answer()) {
            if let Verdict::Accepted(_) = decide(&answer, &Policy::default()) {
                prop_assert!(answer.success == Some(true) && answer.receipt.is_some());
            }
        }
    }
}
