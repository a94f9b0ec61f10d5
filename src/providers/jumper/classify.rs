//! Jumper's answers, judged: what each proves, and whom it is about (design.md section 5).
//!
//! One table, one pure function. Precedence: fault code, then 401 and 429, then a body with `success`,
//! then the status, then the transport. Retry only what proves that nothing was handed on; what is
//! neither that nor a clear acceptance or refusal is unclear, and never sent again by itself.

use crate::domain::proof::{About, Judgement, Proof};
use crate::domain::{Answer, Transport};

const RETRY_FAULTS: [&str; 3] = [
    "messaging.adaptors.http.flow.ServiceUnavailable",
    "messaging.adaptors.http.flow.NoActiveTargets",
    "messaging.adaptors.http.flow.SslHandshakeFailed",
];
const TOKEN_FAULTS: [&str; 3] = ["steps.jwt.", "keymanagement.service.", "oauth.v2."];
const RATE_FAULTS: &str = "policies.ratelimit.";

/// Judges one answer. `retryable_texts` are parts of refusals (any case) that are worth another try.
pub(crate) fn classify(answer: &Answer, retryable_texts: &[String]) -> Judgement {
    let (proof, about) = by_fault(answer).unwrap_or_else(|| by_status(answer, retryable_texts));
    // A pause is the provider's only where nothing was handed on, and it has no time now.
    let honoured = proof == Proof::NotTaken && matches!(about, About::Rate | About::Way);
    Judgement {
        proof,
        about,
        pause: answer.retry_after.filter(|_| honoured),
    }
}

/// What Apigee says before a call reaches Jumper (contracts/jumper.md section 3.3).
fn by_fault(answer: &Answer) -> Option<(Proof, About)> {
    let fault = answer.fault.as_deref()?;
    let about = if fault.starts_with(RATE_FAULTS) {
        About::Rate
    } else if fault.ends_with("ApplicationNotFound") {
        About::Account
    } else if TOKEN_FAULTS.iter().any(|prefix| fault.starts_with(prefix)) {
        About::Token
    } else if RETRY_FAULTS.contains(&fault) {
        About::Way
    } else {
        return None;
    };
    Some((Proof::NotTaken, about))
}

fn by_status(answer: &Answer, retryable_texts: &[String]) -> (Proof, About) {
    match (answer.http, answer.success) {
        (Some(401), _) => (Proof::NotTaken, About::Token),
        (Some(429), _) => (Proof::NotTaken, About::Rate),
        // An acceptance that names no message cannot be matched with its statuses by id.
        (_, Some(true)) => {
            let receipt = answer.receipt.clone();
            let proof = receipt.map_or(Proof::Unclear, Proof::Taken);
            (proof, About::Message)
        }
        (_, Some(false)) if is_listed(answer.text.as_deref(), retryable_texts) => {
            (Proof::NotTaken, About::Message)
        }
        (_, Some(false)) => (Proof::Refused, About::Message),
        // It names the message, and does not say what became of it.
        (Some(_), None) if answer.receipt.is_some() => (Proof::Unclear, About::Message),
        // A bare one is taken for proof too: a choice (contracts/jumper.md section 9).
        (Some(503 | 408), None) => (Proof::NotTaken, About::Way),
        // Pages of something in between: a firewall, a moved address. Redirects are never followed,
        // so nothing was handed on.
        (Some(403 | 404 | 300..=399), None) => (Proof::NotTaken, About::Unsaid),
        (Some(400..=499), None) => (Proof::Refused, About::Message),
        (Some(_), None) => (Proof::Unclear, About::Way),
        (None, None) => match answer.transport {
            Some(Transport::Connect | Transport::NotStarted) => (Proof::NotTaken, About::Way),
            _ => (Proof::Unclear, About::Way),
        },
    }
}

fn is_listed(text: Option<&str>, retryable_texts: &[String]) -> bool {
    let text = text.unwrap_or_default().to_lowercase();
    let listed = |part: &String| !part.is_empty() && text.contains(&part.to_lowercase());
    retryable_texts.iter().any(listed)
}

/// Whether an answer says that the provider itself is in trouble: what the breaker counts.
pub(crate) fn is_outage(answer: &Answer) -> bool {
    let limited = answer
        .fault
        .as_deref()
        .is_some_and(|fault| fault.starts_with(RATE_FAULTS));
    let server_error = matches!(answer.http, Some(500..=599)) && answer.success.is_none();
    let broken = matches!(
        answer.transport,
        Some(Transport::Connect | Transport::Timeout)
    );
    !limited && (server_error || broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ProviderId, Receipt};
    use proptest::prelude::*;
    use std::time::Duration;

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

    fn plain(status: u16, success: bool) -> Answer {
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

    fn judged(answer: &Answer) -> (Proof, About) {
        let judgement = classify(answer, &[]);
        (judgement.proof, judgement.about)
    }

    #[test]
    fn the_table_of_the_policy() {
        use About::{Account, Message, Rate, Token, Unsaid, Way};
        use Proof::{NotTaken, Refused, Unclear};
        let taken = || (Proof::Taken(receipt()), Message);
        let flow = |name: &str| format!("messaging.adaptors.http.flow.{name}");
        let no_receipt = Answer {
            receipt: None,
            ..plain(200, true)
        };
        let named = |status| Answer {
            receipt: Some(receipt()),
            ..http(status)
        };
        let cases = [
            (broken(Transport::Connect), (NotTaken, Way)),
            (broken(Transport::NotStarted), (NotTaken, Way)),
            (broken(Transport::Timeout), (Unclear, Way)),
            (broken(Transport::Lost), (Unclear, Way)),
            (http(503), (NotTaken, Way)),
            (http(408), (NotTaken, Way)),
            (fault(503, &flow("ServiceUnavailable")), (NotTaken, Way)),
            (fault(500, &flow("NoActiveTargets")), (NotTaken, Way)),
            (fault(502, &flow("SslHandshakeFailed")), (NotTaken, Way)),
            (fault(504, &flow("GatewayTimeout")), (Unclear, Way)),
            (
                fault(404, &flow("ApplicationNotFound")),
                (NotTaken, Account),
            ),
            (http(429), (NotTaken, Rate)),
            (
                fault(500, "policies.ratelimit.QuotaViolation"),
                (NotTaken, Rate),
            ),
            (http(401), (NotTaken, Token)),
            (fault(500, "steps.jwt.TokenExpired"), (NotTaken, Token)),
            (fault(401, "oauth.v2.InvalidAccessToken"), (NotTaken, Token)),
            (http(403), (NotTaken, Unsaid)),
            (http(404), (NotTaken, Unsaid)),
            (http(302), (NotTaken, Unsaid)),
            (plain(403, false), (Refused, Message)),
            (plain(200, true), taken()),
            (plain(500, true), taken()),
            (plain(200, false), (Refused, Message)),
            (plain(400, false), (Refused, Message)),
            (plain(500, false), (Refused, Message)),
            (plain(503, false), (Refused, Message)),
            (no_receipt, (Unclear, Message)),
            (named(200), (Unclear, Message)),
            (named(400), (Unclear, Message)),
            (named(403), (Unclear, Message)),
            (named(503), (Unclear, Message)),
            (http(200), (Unclear, Way)),
            (http(500), (Unclear, Way)),
            (http(502), (Unclear, Way)),
            (http(400), (Refused, Message)),
            (http(413), (Refused, Message)),
            (Answer::default(), (Unclear, Way)),
        ];
        for (answer, expected) in cases {
            assert_eq!(judged(&answer), expected, "{answer:?}");
        }
    }

    #[test]
    fn a_listed_text_is_tried_again() {
        let listed = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
            classify(&plain(200, false), &texts).proof
        };
        assert_eq!(listed(&["PAUSED"]), Proof::NotTaken);
        assert_eq!(listed(&[""]), Proof::Refused);
    }

    #[test]
    fn r_12_a_pause_counts_where_nothing_was_handed_on() {
        let pause = Some(Duration::from_secs(7));
        let paused = |answer: Answer| {
            let answer = Answer {
                retry_after: pause,
                ..answer
            };
            classify(&answer, &[]).pause
        };
        for status in [429, 503, 408] {
            assert_eq!(paused(http(status)), pause, "{status}");
        }
        for answer in [http(500), http(403), plain(200, false), plain(200, true)] {
            assert_eq!(paused(answer.clone()), None, "{answer:?}");
        }
    }

    #[test]
    fn a_rate_limit_under_500_is_no_outage() {
        assert!(is_outage(&http(502)));
        assert!(is_outage(&broken(Transport::Timeout)));
        assert!(!is_outage(&fault(500, "policies.ratelimit.QuotaViolation")));
        assert!(!is_outage(&plain(200, false)));
    }

    fn any_answer() -> impl Strategy<Value = Answer> {
        let faults = prop::option::of(prop::sample::select(vec![
            "policies.ratelimit.QuotaViolation",
            "steps.jwt.FailedToDecode",
            "messaging.adaptors.http.flow.GatewayTimeout",
            "messaging.adaptors.http.flow.NoActiveTargets",
            "messaging.adaptors.http.flow.ApplicationNotFound",
            "something.else",
        ]));
        let transports = prop::option::of(prop::sample::select(vec![
            Transport::Connect,
            Transport::Timeout,
            Transport::Lost,
            Transport::NotStarted,
        ]));
        let http = prop::option::of(100u16..600);
        let success = prop::option::of(any::<bool>());
        let named = any::<bool>();
        (http, faults, success, named, transports).prop_map(
            |(http, fault, success, named, transport)| Answer {
                http,
                fault: fault.map(Into::into),
                success,
                receipt: (named && http.is_some()).then(receipt),
                transport,
                ..Answer::default()
            },
        )
    }

    /// Statuses that prove that nothing was handed on.
    fn proves(status: u16) -> bool {
        matches!(status, 401 | 429 | 503 | 408 | 403 | 404 | 300..=399)
    }

    proptest! {
        /// The heart of "not twice": whatever may have reached the provider is never retried.
        #[test]
        fn a_retry_needs_proof(answer in any_answer()) {
            if classify(&answer, &[]).proof == Proof::NotTaken {
                let no_call = matches!(
                    answer.transport,
                    Some(Transport::Connect | Transport::NotStarted)
                );
                let by_fault = by_fault(&answer).is_some();
                let by_status = match answer.http {
                    Some(401 | 429) => true,
                    // An answer that names the message may mean that it was taken.
                    Some(status) => proves(status) && answer.receipt.is_none(),
                    None => false,
                };
                prop_assert!(by_fault || no_call || by_status, "{:?}", answer);
            }
        }

        #[test]
        fn only_a_receipt_is_an_acceptance(answer in any_answer()) {
            if let Proof::Taken(_) = classify(&answer, &[]).proof {
                prop_assert!(answer.success == Some(true) && answer.receipt.is_some());
            }
        }
    }
}
