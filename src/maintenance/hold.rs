//! Holds of an account for the sake of its tokens, and the test calls that end them.
//!
//! The state of the tokens decides, whoever found it out. As long as there is an access token that
//! the provider takes, trouble with its renewal is told at once and sending goes on.

use super::Watched;
use crate::accounts::Account;
use crate::alert::{self, Code};
use crate::clock;
use crate::domain::access::{Obstacle, TokenState};
use crate::providers::Provider;
use std::mem::discriminant;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Pauses before the test calls of a hold for a refused token, in seconds; the last one stays. What
/// was refused right after its issue costs no longer than that once the provider is well.
const TRIALS: [u64; 4] = [2, 4, 8, 15];

/// Trouble with an account's tokens.
#[derive(Debug)]
struct Trouble {
    code: Code,
    /// What happened and what a person can do, in the words of the provider.
    obstacle: Obstacle,
    /// Whether sending goes on meanwhile.
    sends: bool,
}

impl Trouble {
    fn of(state: &TokenState, provider: &Provider) -> Option<Self> {
        let obstacle = provider.obstacle(state)?;
        let code = match state {
            TokenState::Dead { .. } | TokenState::Missing => Code::TokenDead,
            _ => Code::AccountHeld,
        };
        Some(Self {
            code,
            obstacle,
            sends: sends(state),
        })
    }

    fn tell(&self, account: &Account) {
        let Obstacle { reason, cure } = &self.obstacle;
        let text = if self.sends {
            format!(
                "The tokens cannot be renewed: {reason}. Sending goes on until the provider refuses \
                 the access token. {cure}"
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
    let (mut reported, mut for_tokens, mut trials) = (None, false, 0);
    loop {
        let state = provider.token_state();
        let trouble = Trouble::of(&state, &provider);
        // The same trouble in other words is no news.
        let kind = trouble
            .as_ref()
            .map(|trouble| (discriminant(&state), trouble.sends));
        if let Some(trouble) = trouble.filter(|_| kind != reported) {
            if !trouble.sends {
                account.hold(trouble.obstacle.reason.clone(), clock::now());
                for_tokens = true;
            }
            trouble.tell(&account);
        }
        if kind != reported {
            if kind.is_none() {
                for code in [Code::TokenDead, Code::AccountHeld] {
                    alert::over(code, &subject(&account));
                }
            }
            (reported, trials) = (kind, 0);
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

/// Whether there is an access token to go on with.
fn sends(state: &TokenState) -> bool {
    match state {
        TokenState::Fresh { .. } | TokenState::Stale => true,
        TokenState::Refused { .. } | TokenState::Missing => false,
        TokenState::Dead { sends, .. } | TokenState::WrongCredentials { sends, .. } => *sends,
    }
}

/// Whether there is a token that a test call could be made with now. One that is refused is tried at
/// its time, not whenever something is known of it.
fn may_try(state: &TokenState, changed: bool) -> bool {
    sends(state) || (!changed && !matches!(state, TokenState::Missing))
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
    use crate::domain::UnixMs;

    #[test]
    fn a_refused_token_is_tried_at_its_time_and_none_is_never_tried() {
        let (reason, since) = (String::new(), UnixMs(1));
        let dead = |sends| TokenState::Dead {
            reason: reason.clone(),
            since,
            sends,
        };
        let wrong = |sends| TokenState::WrongCredentials {
            reason: reason.clone(),
            since,
            sends,
        };
        let refused = TokenState::Refused {
            reason: reason.clone(),
            since,
        };
        for (state, sending, at_a_change, at_its_time) in [
            (TokenState::Stale, true, true, true),
            (dead(true), true, true, true),
            (dead(false), false, false, true),
            (wrong(true), true, true, true),
            (wrong(false), false, false, true),
            (refused, false, false, true),
            (TokenState::Missing, false, false, false),
        ] {
            assert_eq!(sends(&state), sending, "{state:?}");
            assert_eq!(may_try(&state, true), at_a_change, "{state:?}");
            assert_eq!(may_try(&state, false), at_its_time, "{state:?}");
        }
    }
}
