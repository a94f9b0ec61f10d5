//! Holds of an account for the sake of its tokens, and the test calls that end them.
//!
//! The state of the tokens decides, whoever found it out. As long as there is an access token that
//! the provider takes, trouble with its renewal is told at once and sending goes on.

use super::Watched;
use crate::accounts::Account;
use crate::alert::{self, Code};
use crate::clock;
use crate::providers::{Provider, TokenState};
use std::mem::discriminant;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Pauses before the test calls of a hold for a refused token, in seconds; the last one stays. What
/// was refused right after its issue costs no longer than that once the provider is well.
const TRIALS: [u64; 4] = [2, 4, 8, 15];

/// Trouble with an account's tokens.
#[derive(Debug, PartialEq, Eq)]
struct Trouble {
    code: Code,
    /// What happened, in the words of the provider.
    reason: String,
    /// What a person can do.
    cure: String,
    /// Whether sending goes on meanwhile.
    sends: bool,
}

impl Trouble {
    fn of(state: &TokenState, account: &Account) -> Option<Self> {
        let seed = format!(
            "Put in a new refresh token: PUT /api/accounts/{}/token/seed at the ops listener, or its \
             seed_refresh_token or SEED_REFRESH_TOKEN and a restart.",
            account.id
        );
        let code = match state {
            TokenState::Dead { .. } | TokenState::Missing => Code::TokenDead,
            _ => Code::AccountHeld,
        };
        let (reason, cure, sends) = match state {
            TokenState::Fresh { .. } | TokenState::Stale => return None,
            TokenState::Missing => ("no refresh token is known".into(), seed, false),
            TokenState::Dead { reason, sends, .. } => {
                let reason = format!("its refresh token is dead ({reason})");
                (reason, seed, *sends)
            }
            TokenState::Refused { reason, .. } => {
                let reason =
                    format!("Jumper refuses an access token that it has just given ({reason})");
                let cure = "A test call every 15 s releases it; if this lasts, ask Jumper whether \
                            the application may still call the API.";
                (reason, cure.into(), false)
            }
            TokenState::WrongCredentials { reason, sends, .. } => {
                let reason = format!(
                    "Jumper refuses the key and secret of JUMPER_BASIC_AUTH (basic_auth of the \
                     account): {reason}"
                );
                let cure = "They are tried again by themselves, every few minutes at the least. \
                            Correct them and restart.";
                (reason, cure.into(), *sends)
            }
        };
        Some(Self {
            code,
            reason,
            cure,
            sends,
        })
    }

    fn tell(&self, account: &Account) {
        let (reason, cure) = (&self.reason, &self.cure);
        let text = if self.sends {
            format!(
                "The tokens cannot be renewed: {reason}. Sending goes on until Jumper refuses the \
                 access token. {cure}"
            )
        } else {
            format!("The account is held: {reason}. Messages are accepted and wait. {cure}")
        };
        alert::raise(self.code, &subject(account), &text);
    }
}

/// Whom an alert is about.
fn subject(account: &Account) -> String {
    format!("account {}", account.id)
}

/// Holds an account whose tokens are of no use, and tests a held one: at once when its tokens
/// change, every 15 s at the most when a token is refused, else every `probe`.
#[tracing::instrument(name = "hold", level = "debug", skip_all, fields(account = %watched.account.id))]
pub async fn watch_hold(watched: Watched, probe: Duration, stop: CancellationToken) {
    let Watched { account, provider } = watched;
    let mut changes = provider.token_changes();
    let (mut told, mut for_tokens, mut trials) = (None, false, 0);
    loop {
        let state = provider.token_state();
        let trouble = Trouble::of(&state, &account);
        // The same trouble in other words is no news.
        let kind = trouble
            .as_ref()
            .map(|trouble| (discriminant(&state), trouble.sends));
        if let Some(trouble) = trouble.filter(|_| kind != told) {
            if !trouble.sends {
                account.hold(trouble.reason.clone(), clock::now());
                for_tokens = true;
            }
            trouble.tell(&account);
        }
        if kind != told {
            if kind.is_none() {
                for code in [Code::TokenDead, Code::AccountHeld] {
                    alert::over(code, &subject(&account));
                }
            }
            (told, trials) = (kind, 0);
        }
        let pause = if for_tokens {
            let nth = TRIALS.get(trials).or(TRIALS.last());
            nth.map_or(probe, |seconds| Duration::from_secs(*seconds).min(probe))
        } else {
            probe
        };
        let changed = tokio::select! {
            () = changes.next() => true,
            () = sleep(pause) => false,
            () = stop.cancelled() => return,
        };
        if account.held().is_none() || !may_try(&provider.token_state(), changed) {
            continue;
        }
        let released = tokio::select! {
            released = test(&account, &provider) => released,
            () = stop.cancelled() => return,
        };
        for_tokens &= !released;
        trials += 1;
    }
}

/// Whether there is a token that a test call could be made with now. One that is refused is tried at
/// its time, not whenever something is known of it.
fn may_try(state: &TokenState, changed: bool) -> bool {
    match state {
        TokenState::Fresh { .. } | TokenState::Stale => true,
        TokenState::Refused { .. } => !changed,
        TokenState::Dead { sends, .. } | TokenState::WrongCredentials { sends, .. } => {
            *sends || !changed
        }
        TokenState::Missing => false,
    }
}

async fn test(account: &Account, provider: &Provider) -> bool {
    let released = provider.verify().await.is_ok() && account.release();
    if released {
        tracing::info!(
            account = %account.id, event = "account_test_succeeded",
            "the test call succeeded; sending goes on"
        );
        for code in [Code::TokenDead, Code::AccountHeld] {
            alert::over(code, &subject(account));
        }
    }
    released
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AccountId, UnixMs};
    use crate::limit::{Limiter, Rate};

    #[test]
    fn trouble_says_what_happened_what_is_done_and_what_to_do() {
        let rate = Rate {
            per_second: None,
            concurrency: 1,
        };
        let limiter = Limiter::new(rate, Duration::ZERO);
        let account = Account::new(AccountId::parse("acme").unwrap(), limiter);
        let (reason, since) = ("HTTP 400, invalid_grant".to_owned(), UnixMs(1));
        let of = |state| Trouble::of(&state, &account);
        assert_eq!(of(TokenState::Stale), None);
        let dead = |sends| TokenState::Dead {
            reason: reason.clone(),
            since,
            sends,
        };
        let wrong = TokenState::WrongCredentials {
            reason: "HTTP 401".into(),
            since,
            sends: false,
        };
        for (state, sends, words) in [
            (dead(true), true, ["invalid_grant", "/acme/token/seed"]),
            (dead(false), false, ["dead", "SEED_REFRESH_TOKEN"]),
            (wrong, false, ["JUMPER_BASIC_AUTH", "Correct them"]),
            (TokenState::Missing, false, ["no refresh token", "PUT"]),
        ] {
            let trouble = of(state).unwrap();
            let text = format!("{} {}", trouble.reason, trouble.cure);
            assert_eq!(trouble.sends, sends, "{text}");
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        }
    }
}
