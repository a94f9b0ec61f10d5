//! What is known of an account's tokens, and the arithmetic of their lives. Pure.

use crate::domain::UnixMs;
use crate::domain::access::TokenState;
use crate::http::outgoing::header::HeaderValue;
use crate::store::StoredToken;
use secrecy::{ExposeSecret, SecretString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// The earliest refresh, before the end of a token's life (design.md G7).
const LONGEST_MARGIN: Duration = Duration::from_secs(21 * 24 * 3600);
/// An access token is not used this close to its end.
const LAST_MOMENT: Duration = Duration::from_secs(5);
/// The clocks of two replicas do not differ by more.
const CLOCKS_APART: Duration = Duration::from_secs(60);
/// The longest pause between two tries.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// An access token, ready for the wire. `Debug` does not show it.
#[derive(Debug, Clone)]
pub struct Access {
    /// Marked sensitive; clones share the bytes.
    bearer: HeaderValue,
    /// Which pair it is of; grows with every pair.
    pub generation: u64,
}

impl Access {
    /// The value of the `Authorization` header.
    pub(in crate::providers::jumper) fn bearer(&self) -> HeaderValue {
        self.bearer.clone()
    }
}

/// What Jumper said, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) reason: String,
    pub(super) since: UnixMs,
}

/// Whether Jumper takes the access token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nobody has heard otherwise.
    #[default]
    None,
    /// It is refused; a newer one is wanted.
    Asked,
    /// It is refused, and it is too soon for a newer one.
    InForce(Words),
}

/// What is known, as it is shared with every reader.
#[derive(Debug, Default, Clone)]
pub(super) struct Held {
    pub(super) token: Option<StoredToken>,
    pub(super) generation: u64,
    pub(super) refresh_at: UnixMs,
    access: Option<Access>,
    dead_since: UnixMs,
    /// The store calls the refresh token dead, and this process has not tried it yet.
    pub(super) on_trial: bool,
    pub(super) refusal: Refusal,
    /// Why the application's credentials are wrong, if they are.
    pub(super) credentials: Option<Words>,
}

impl Held {
    /// What is known after `before`. `dice` is in 0..1.
    pub(super) fn new(
        token: StoredToken,
        new_access: bool,
        before: &Self,
        now: UnixMs,
        dice: f64,
    ) -> Self {
        let generation = if new_access {
            token.fence
        } else {
            before.generation
        };
        // Who gets a pair has the right credentials.
        let before = if new_access {
            Self::default()
        } else {
            before.clone()
        };
        Self {
            generation,
            refresh_at: refresh_at(token.obtained_at, token.expires_at, dice),
            access: token
                .access
                .as_ref()
                .and_then(|access| bearer(access, generation)),
            dead_since: if token.dead.is_some() { now } else { UnixMs(0) },
            on_trial: false,
            refusal: before.refusal,
            credentials: before.credentials,
            token: Some(token),
        }
    }

    /// The access token, unless its end has come by our clock or Jumper refuses it.
    pub(super) fn usable(&self, now: UnixMs) -> Option<Access> {
        self.in_force().filter(|_| !self.has_ended(now))
    }

    /// Whether the end of the access token has come by our clock, or nearly so.
    pub(super) fn has_ended(&self, now: UnixMs) -> bool {
        self.token.as_ref().is_none_or(|token| {
            let life = token.expires_at.since(token.obtained_at);
            now.plus(LAST_MOMENT.min(life / 20)) >= token.expires_at
        })
    }

    /// The access token, unless Jumper refuses it: only Jumper knows its end.
    pub(super) fn in_force(&self) -> Option<Access> {
        self.access
            .clone()
            .filter(|_| self.refusal == Refusal::None)
    }

    /// The access token that Jumper refuses.
    pub(super) fn refused(&self) -> Option<Access> {
        self.access
            .clone()
            .filter(|_| self.refusal != Refusal::None)
    }

    /// What can change without a new token.
    pub(super) fn marks(&self) -> (bool, Refusal, Option<Words>) {
        (
            self.on_trial,
            self.refusal.clone(),
            self.credentials.clone(),
        )
    }

    /// Why the refresh token is dead, as far as this process is concerned.
    pub(super) fn dead(&self) -> Option<&str> {
        let token = self.token.as_ref().filter(|_| !self.on_trial)?;
        token.dead.as_deref()
    }

    /// How long until the pair is to be renewed. One that was taken in the future comes from a clock
    /// that was ahead: it ends sooner than it seems.
    pub(super) fn due_in(&self, now: UnixMs) -> Duration {
        let taken = self.token.as_ref().map(|token| token.obtained_at);
        if taken.is_some_and(|taken| taken > now.plus(CLOCKS_APART)) {
            return Duration::ZERO;
        }
        self.refresh_at.since(now)
    }

    pub(super) fn state(&self, now: UnixMs) -> TokenState {
        let Some(token) = &self.token else {
            return TokenState::Missing;
        };
        let sends = self.in_force().is_some();
        if let Some(Words { reason, since }) = self.credentials.clone() {
            return TokenState::WrongCredentials {
                reason,
                since,
                sends,
            };
        }
        if let Some(reason) = self.dead() {
            return TokenState::Dead {
                reason: reason.to_owned(),
                since: self.dead_since,
                sends,
            };
        }
        if let Refusal::InForce(Words { reason, since }) = self.refusal.clone() {
            return TokenState::Refused { reason, since };
        }
        match self.usable(now) {
            Some(_) => TokenState::Fresh {
                expires_at: token.expires_at,
                refresh_at: self.refresh_at,
            },
            None => TokenState::Stale,
        }
    }
}

/// A token that no header can carry is no token.
fn bearer(access: &SecretString, generation: u64) -> Option<Access> {
    let mut bearer = HeaderValue::from_str(&format!("Bearer {}", access.expose_secret())).ok()?;
    bearer.set_sensitive(true);
    Some(Access { bearer, generation })
}

/// When to renew: a quarter of the life before its end, at most 21 days, and up to a tenth of that
/// later so that many accounts do not renew together.
fn refresh_at(obtained: UnixMs, expires: UnixMs, dice: f64) -> UnixMs {
    let margin = (expires.since(obtained) / 4).min(LONGEST_MARGIN);
    expires.minus(margin.mul_f64(1.0 - dice.clamp(0.0, 1.0) / 10.0))
}

/// The pause after a number of failures in a row: 1 s to 60 s, doubling, up to a third shorter by
/// the dice but never under 1 s.
pub(super) fn backoff(failures: u32, dice: f64) -> Duration {
    let doubled = 2u64.saturating_pow(failures.saturating_sub(1).min(10));
    let full = Duration::from_secs(doubled).min(LONGEST_BACKOFF);
    full.mul_f64(1.0 - dice.clamp(0.0, 1.0) / 3.0)
        .max(Duration::from_secs(1))
}

/// A short text by which a seed is known again; nothing leads from it back to the seed.
pub(super) fn fingerprint(seed: &SecretString) -> String {
    let mut hasher = DefaultHasher::new();
    seed.expose_secret().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const NOW: UnixMs = UnixMs(1_704_067_200_000);

    fn token(life: Duration) -> StoredToken {
        StoredToken {
            access: Some("secret-access".into()),
            refresh: "secret-refresh".into(),
            obtained_at: NOW,
            expires_at: NOW.plus(life),
            fence: 7,
            dead: None,
            seed: None,
        }
    }

    fn held(token: StoredToken) -> Held {
        Held::new(token, true, &Held::default(), NOW, 0.0)
    }

    #[test]
    fn a_pair_is_renewed_a_quarter_before_its_end() {
        let remaining = |life: Duration, dice| {
            let end = NOW.plus(life);
            end.since(refresh_at(NOW, end, dice))
        };
        assert_eq!(remaining(90 * DAY, 0.0), 21 * DAY);
        assert_eq!(remaining(40 * DAY, 0.0), 10 * DAY);
        assert_eq!(remaining(40 * DAY, 1.0), 9 * DAY);
        assert_eq!(remaining(Duration::ZERO, 0.5), Duration::ZERO);
    }

    #[test]
    fn a_pair_taken_by_a_clock_that_was_ahead_is_due_at_once() {
        let pair = held(token(90 * DAY));
        assert_eq!(pair.due_in(NOW), 69 * DAY);
        assert_eq!(pair.due_in(NOW.plus(80 * DAY)), Duration::ZERO);
        assert_eq!(
            pair.due_in(NOW.minus(CLOCKS_APART)),
            69 * DAY + CLOCKS_APART
        );
        assert_eq!(pair.due_in(NOW.minus(40 * DAY)), Duration::ZERO);
    }

    #[test]
    fn a_state_is_one_of_four() {
        let good = held(token(40 * DAY));
        let (expires_at, refresh_at) = (NOW.plus(40 * DAY), NOW.plus(30 * DAY));
        assert_eq!(
            good.state(NOW),
            TokenState::Fresh {
                expires_at,
                refresh_at
            }
        );
        assert_eq!(good.state(expires_at.minus(LAST_MOMENT)), TokenState::Stale);
        assert_eq!(Held::default().state(NOW), TokenState::Missing);
        let dead = held(StoredToken {
            dead: Some("gone".into()),
            ..token(DAY)
        });
        let (reason, sends) = ("gone".to_string(), true);
        let expected = TokenState::Dead {
            reason,
            since: NOW,
            sends,
        };
        assert_eq!(dead.state(NOW), expected);
        assert!(
            dead.usable(NOW).is_some(),
            "what Jumper still takes is still used"
        );
    }

    #[test]
    fn a_change_that_brings_no_access_token_is_no_new_generation() {
        let first = held(token(DAY));
        let dead = StoredToken {
            dead: Some("gone".into()),
            fence: 8,
            ..token(DAY)
        };
        assert_eq!(Held::new(dead, false, &first, NOW, 0.0).generation, 7);
        let next = StoredToken {
            fence: 9,
            ..token(DAY)
        };
        assert_eq!(Held::new(next, true, &first, NOW, 0.0).generation, 9);
    }

    #[test]
    fn nothing_prints_a_token() {
        let shown = format!("{:?}", held(token(DAY)));
        assert!(!shown.contains("secret-"), "{shown}");
        assert_ne!(fingerprint(&"a".into()), fingerprint(&"b".into()));
        assert!(!fingerprint(&"secret-seed".into()).contains("secret"));
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        let full: Vec<u64> = (1..=8).map(|n| backoff(n, 0.0).as_secs()).collect();
        assert_eq!(full, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    proptest! {
        #[test]
        fn a_renewal_lies_between_quarter_and_end(life in 0u64..400 * 86400, dice in 0.0f64..1.0) {
            let end = NOW.plus(Duration::from_secs(life));
            let at = refresh_at(NOW, end, dice);
            let margin = (Duration::from_secs(life) / 4).min(LONGEST_MARGIN);
            prop_assert!(end.since(at) <= margin + Duration::from_millis(1));
            prop_assert!(end.since(at) + Duration::from_millis(1) >= margin.mul_f64(0.9));
        }

        #[test]
        fn a_pause_is_never_out_of_bounds(failures in any::<u32>(), dice in 0.0f64..1.0) {
            let pause = backoff(failures, dice);
            prop_assert!(pause >= Duration::from_secs(1) && pause <= LONGEST_BACKOFF);
        }
    }
}
