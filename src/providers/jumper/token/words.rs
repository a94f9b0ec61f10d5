//! Whom a refused refresh is about: the refresh token, the application's credentials, or nobody.
//! Pure. Only words that are known decide; a status alone never does.
//!
//! The codes are OAuth's (RFC 6749 section 5.2) and those of the API gateway in front of Jumper
//! (contracts/jumper.md section 3.3), which sends them as a fault or as `ErrorCode` with `Error`.

use crate::domain::Answer;
use serde_json::Value;

/// Whom an answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// This refresh token is of no use.
    Token,
    /// The application's key or secret is wrong.
    Application,
}

/// Fault codes of a dead refresh token, without what stands before the last dot.
const DEAD_FAULTS: [&str; 8] = [
    "invalid_refresh_token",
    "refresh_token_expired",
    "refresh_token_revoked",
    "refresh_token_not_approved",
    "InvalidRefreshToken",
    "RefreshTokenExpired",
    "RefreshTokenRevoked",
    "invalid_grant",
];
/// What the gateway says in words, under the code `invalid_request`.
const DEAD_WORDS: [&str; 2] = ["Refresh Token expired", "Invalid Refresh Token"];

/// Whom this answer is about, when its words are known.
pub(super) fn about(answer: &Answer, body: &Value) -> Option<About> {
    if answer.transport.is_some() {
        return None;
    }
    let code = |name: &str| body[name].as_str().map(str::trim).unwrap_or_default();
    let codes = [code("error"), code("ErrorCode")];
    let fault = answer.fault.as_deref().unwrap_or_default();
    let last = fault.rsplit('.').next().unwrap_or_default();
    if codes.iter().any(|code| is_client(code)) || is_client_fault(last) {
        return Some(About::Application);
    }
    let words = code("Error");
    if words.starts_with("Invalid client id") || words.contains("ClientId is Invalid") {
        return Some(About::Application);
    }
    let is_dead = codes.contains(&"invalid_grant")
        || codes.contains(&"InvalidGrant")
        || DEAD_FAULTS.contains(&last)
        || DEAD_WORDS
            .iter()
            .any(|dead| words.eq_ignore_ascii_case(dead));
    is_dead.then_some(About::Token)
}

fn is_client(code: &str) -> bool {
    matches!(code, "invalid_client" | "InvalidClient")
}

/// Such as `invalid_client-invalid_client_id` or `InvalidClientIdentifier`.
fn is_client_fault(last: &str) -> bool {
    last.starts_with("invalid_client")
        || last.starts_with("InvalidClient")
        || last.contains("ClientId")
}

/// Whether an answer speaks of this moment: a limit, an outage. Then its status says nothing else.
pub(super) fn is_of_the_moment(answer: &Answer, body: &Value) -> bool {
    let fault = answer.fault.as_deref().unwrap_or_default();
    let of_the_gateway =
        fault.starts_with("policies.ratelimit.") || fault.starts_with("messaging.");
    let error = body["error"].as_str().unwrap_or_default();
    of_the_gateway
        || matches!(
            error,
            "temporarily_unavailable" | "server_error" | "slow_down"
        )
}
