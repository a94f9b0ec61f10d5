//! What a person is told of tokens that do not work, and what they can do. Pure.

use crate::domain::AccountId;
use crate::domain::access::{Obstacle, TokenState};

/// Nothing where a call can be made or tried.
pub(super) fn obstacle(state: &TokenState, account: &AccountId) -> Option<Obstacle> {
    let seed = format!(
        "Put in a new refresh token: PUT /api/accounts/{account}/token/seed at the ops listener, or its \
         seed_refresh_token or SEED_REFRESH_TOKEN and a restart."
    );
    let (reason, cure) = match state {
        TokenState::Fresh { .. } | TokenState::Stale => return None,
        TokenState::Missing => ("no refresh token is known".into(), seed),
        TokenState::Dead { reason, .. } => (format!("its refresh token is dead ({reason})"), seed),
        TokenState::Refused { reason, .. } => (
            format!("Jumper refuses an access token that it has just given ({reason})"),
            "Test calls release it; if this lasts, ask Jumper whether the application may \
             still call the API."
                .into(),
        ),
        TokenState::WrongCredentials { reason, .. } => (
            format!(
                "Jumper refuses the key and secret of JUMPER_BASIC_AUTH (basic_auth of the account): \
                 {reason}"
            ),
            "They are tried again by themselves, every few minutes at the least. Correct them and \
             restart."
                .into(),
        ),
    };
    Some(Obstacle { reason, cure })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;

    #[test]
    fn an_obstacle_says_what_happened_and_what_to_do() {
        let account = AccountId::parse("acme").unwrap();
        let (reason, since) = ("HTTP 400, invalid_grant".to_owned(), UnixMs(1));
        assert_eq!(obstacle(&TokenState::Stale, &account), None);
        let dead = TokenState::Dead {
            reason: reason.clone(),
            since,
            sends: false,
        };
        let wrong = TokenState::WrongCredentials {
            reason: "HTTP 401".into(),
            since,
            sends: false,
        };
        let refused = TokenState::Refused { reason, since };
        for (state, words) in [
            (dead, ["dead (HTTP 400, invalid_grant)", "/acme/token/seed"]),
            (refused, ["that it has just given", "ask Jumper"]),
            (wrong, ["JUMPER_BASIC_AUTH", "Correct them"]),
            (
                TokenState::Missing,
                ["no refresh token", "SEED_REFRESH_TOKEN"],
            ),
        ] {
            let report = obstacle(&state, &account).unwrap();
            let text = format!("{} {}", report.reason, report.cure);
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        }
    }
}
