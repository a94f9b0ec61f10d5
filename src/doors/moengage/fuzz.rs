//! What MoEngage answers to a callback, for the fuzzer.

use super::callback;

/// Reads bytes as an answer.
pub(crate) fn answers(bytes: &[u8]) {
    let _ = callback::says_failure(bytes);
    let text = callback::readable(bytes);
    assert!(text.chars().count() <= 300);
}
