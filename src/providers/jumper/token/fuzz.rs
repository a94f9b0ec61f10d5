//! What Jumper answers to a refresh, for the fuzzer.

use super::held::Held;
use super::refresh::{end_of, read};
use crate::domain::{Answer, UnixMs};
use crate::json::Tree;
use crate::store::StoredToken;

/// Reads an answer as a new pair, and looks after it as if it were in force.
pub(in crate::providers::jumper) fn tokens(answer: &Answer, body: &Tree, now: UnixMs) {
    let read = read(answer, body, now);
    let shown = format!("{read:?}");
    let Ok(pair) = read else { return };
    for secret in ["access_token", "refresh_token"] {
        let secret = body.value[secret].as_str().unwrap_or_default().trim();
        assert!(secret.len() < 20 || !shown.contains(secret), "{shown}");
    }
    assert!(pair.expires_at >= now);
    let _ = end_of(Some(&pair.access), None, now);
    let token = StoredToken {
        access: Some(pair.access.clone()),
        refresh: pair.refresh.unwrap_or(pair.access),
        obtained_at: now,
        expires_at: pair.expires_at,
        fence: 1,
        dead: None,
        seed: None,
    };
    let held = Held::new(token, true, &Held::default(), now, 0.5);
    assert!(held.refresh_at <= pair.expires_at);
    let _ = (held.usable(now), held.state(now));
}
