//! Answers of the provider that are no "taken", as rules of the sandbox: what one of its nodes, whatever
//! stands before it, or all of it says for a while.

use fastrand::Rng;
use serde_json::{Value, json};

/// What a firewall or a gateway in front says.
const PAGE: &str = "<html><body><h1>Request blocked</h1></body></html>";

/// About more than the message, with proof that it was not taken.
pub(crate) fn blocked(rng: &mut Rng) -> Value {
    match rng.u8(..3) {
        0 => json!({ "status": 403, "body": PAGE }),
        1 => json!({ "status": 404, "body": PAGE }),
        _ => json!({ "outcome": "401" }),
    }
}

/// Final for the message, by its words.
pub(crate) fn refused(rng: &mut Rng) -> Value {
    match rng.u8(..3) {
        0 => {
            json!({ "status": 500, "body": { "success": false, "errorMessage": "Internal error 17" } })
        }
        1 => json!({ "status": 400, "body": { "success": false, "errorMessage": "Not now" } }),
        _ => {
            json!({ "status": 200, "body": { "success": false, "errorMessage": "account is suspended" } })
        }
    }
}

/// Not now, with proof that it was not taken.
pub(crate) fn busy(rng: &mut Rng) -> Value {
    match rng.u8(..4) {
        0 => json!({ "status": 429, "body": { "error": "too many" } }),
        1 => json!({ "status": 408, "body": PAGE }),
        2 => json!({ "status": 503, "headers": { "Retry-After": 2 }, "body": PAGE }),
        _ => json!({ "outcome": "503" }),
    }
}

/// What one node says that is broken, while the others take messages.
pub(crate) fn of_a_node(rng: &mut Rng) -> Value {
    match rng.u8(..4) {
        0 => json!({ "status": 403, "body": PAGE }),
        1 => json!({ "status": 404, "body": PAGE }),
        2 => json!({ "outcome": "503" }),
        _ => refused(rng),
    }
}

/// What becomes of one recipient's message for ever.
pub(crate) fn of_a_recipient(rng: &mut Rng) -> Value {
    match rng.bool() {
        true => json!({ "status": 403, "body": PAGE }),
        false => json!({ "outcome": "401" }),
    }
}

/// Whether an answer is final for its message.
pub(crate) fn is_final(answer: &Value) -> bool {
    answer["body"]["success"] == false
}
