//! What MoEngage answers to a callback, for the fuzzer.

use super::callback;

/// Reads bytes as an answer.
pub(crate) fn answers(bytes: &[u8]) {
    let _ = callback::says_failure(bytes);
    let text = callback::readable(bytes);
    assert!(text.chars().count() <= 300);
    let wait = callback::wait(&String::from_utf8_lossy(bytes), jiff::Timestamp::UNIX_EPOCH);
    assert!(wait.is_none_or(|wait| wait.as_secs() <= 3600));
}
