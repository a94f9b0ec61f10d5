//! Whether the application's credentials are right: a refresh with a refresh token that nobody has.
//!
//! The real one is never used for this: an answer to it could be its end. That Jumper looks at the
//! credentials first is assumed (contracts/jumper.md section 9).

use super::held::Words;
use super::refresh::Exchange;
use super::words::{self, About};
use super::{Flight, TokenError, Tokens};
use crate::domain::Answer;
use crate::providers::jumper::exchange::BuildError;
use crate::store::Locked;
use secrecy::SecretString;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

/// How long a proof may take. Renewals wait for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two proofs of wrong credentials, in seconds; then the longest pause.
const PAUSES: [u64; 6] = [5, 15, 30, 60, 120, 300];

/// What a proof came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// They are right.
    Right,
    /// They are wrong; what Jumper said.
    Wrong(String),
    /// Nobody knows; what came back.
    Unknown(String),
}

/// Proves the credentials of an application, once. `basic` is the whole header value.
pub async fn prove(
    api_url: &str,
    basic: &SecretString,
    deadline: Duration,
) -> Result<Proof, BuildError> {
    let exchange = Exchange::new(api_url, basic, deadline)?;
    Ok(exchange.prove().await)
}

impl Exchange {
    /// Asks once with a refresh token that is made up, to hear what is said of the credentials.
    async fn prove(&self) -> Proof {
        let made_up = format!(
            "made-up-to-prove-the-credentials-{:016x}",
            fastrand::u64(..)
        );
        let (answer, body) = self.call(&made_up, "proof").await;
        judge(&answer, &body.value)
    }
}

/// What an answer to a made-up refresh token says of the credentials that came with it.
fn judge(answer: &Answer, body: &Value) -> Proof {
    let text = answer.summary();
    match words::about(answer, body) {
        Some(About::Token) => Proof::Right,
        Some(About::Application) => Proof::Wrong(text),
        None if answer.http == Some(401) && !words::is_of_the_moment(answer, body) => {
            Proof::Wrong(text)
        }
        None => Proof::Unknown(text),
    }
}

impl Tokens {
    /// Proves the credentials at the start, unless a pair has come meanwhile, which proves more.
    pub(super) async fn prove_first(&self, flight: &mut Flight) {
        if std::mem::take(&mut flight.unproved) && flight.proofs == 0 {
            self.look_at_credentials(flight).await;
        }
    }

    /// Proves wrong credentials again, when the time has come and no other replica is at it.
    pub(super) async fn prove_again(&self, flight: &mut Flight) {
        let due = flight.prove_at.is_some_and(|at| at <= Instant::now());
        if !due || self.held().credentials.is_none() {
            return;
        }
        let account = &self.shared.settings.account;
        let locked = self.shared.store.lock(account, "credentials", false).await;
        match locked {
            Ok(Locked::Ours(guard)) => {
                self.look_at_credentials(flight).await;
                let next = flight
                    .prove_at
                    .filter(|_| self.held().credentials.is_some());
                let pause = next.map(|at| at.saturating_duration_since(Instant::now()));
                guard.release(pause.filter(|pause| !pause.is_zero())).await;
            }
            Ok(Locked::PutOff(pause)) => flight.prove_at = Some(Instant::now() + pause),
            Ok(Locked::Busy) | Err(_) => self.schedule(flight),
        }
    }

    async fn look_at_credentials(&self, flight: &mut Flight) {
        let account = &self.shared.settings.account;
        // Held to the end of the call, so that the call is counted.
        let _permit = timeout(PATIENCE, self.shared.limiter.maintenance()).await;
        let late = |_| Proof::Unknown("no answer in time".into());
        let proof = timeout(PATIENCE, self.shared.exchange.prove()).await;
        match proof.unwrap_or_else(late) {
            Proof::Right => {
                flight.proofs = 0;
                if self.held().credentials.is_some() {
                    info!(
                        %account, event = "credentials_work_again",
                        "Jumper takes the application's key and secret again"
                    );
                }
                self.change(|held| held.credentials = None);
            }
            Proof::Wrong(reason) => drop(self.wrong_credentials(flight, reason)),
            Proof::Unknown(reason) => {
                warn!(
                    %account, reason, event = "credentials_not_proved",
                    "could not prove the application's key and secret: Jumper's answer says \
                     nothing about them"
                );
                self.schedule(flight);
            }
        }
    }

    /// Nothing is renewed with these credentials until they are proved right.
    pub(super) fn wrong_credentials(&self, flight: &mut Flight, reason: String) -> TokenError {
        flight.proofs = flight.proofs.saturating_add(1);
        self.schedule(flight);
        let account = &self.shared.settings.account;
        warn!(
            %account, reason, event = "credentials_refused",
            "Jumper refuses the application's key and secret"
        );
        let (text, since) = (reason.clone(), self.now());
        self.change(|held| {
            let since = held.credentials.as_ref().map_or(since, |words| words.since);
            held.credentials = Some(Words {
                reason: text,
                since,
            });
        });
        TokenError::Credentials(reason)
    }

    fn schedule(&self, flight: &mut Flight) {
        let nth = usize::try_from(flight.proofs.saturating_sub(1)).unwrap_or(usize::MAX);
        let pause = Duration::from_secs(PAUSES[nth.min(PAUSES.len() - 1)]);
        let longest = self.shared.settings.longest_probe.unwrap_or(pause);
        flight.prove_at = Some(Instant::now() + pause.min(longest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::jumper::wire;
    use serde_json::json;

    #[test]
    fn only_a_401_and_a_word_about_the_application_call_credentials_wrong() {
        let fault = |code: &str| json!({ "fault": { "detail": { "errorcode": code } } });
        let judged = |http, body: &Value| {
            let (answer, body) = wire::answer(http, None, body.to_string().as_bytes());
            judge(&answer, &body.value)
        };
        for (http, body) in [
            (401, json!({ "error": "invalid_client" })),
            (400, json!({ "error": "invalid_client" })),
            (
                401,
                json!({ "success": false, "errorMessage": "who are you" }),
            ),
            (401, json!("text")),
            (401, fault("oauth.v2.InvalidClientIdentifier")),
            (
                401,
                json!({ "ErrorCode": "invalid_request", "Error": "Invalid client id : k. ClientId is Invalid" }),
            ),
        ] {
            let proof = judged(http, &body);
            assert!(matches!(proof, Proof::Wrong(_)), "{http} {body}: {proof:?}");
        }
        for (http, body) in [
            (400, json!({ "error": "invalid_grant" })),
            (401, json!({ "error": "invalid_grant" })),
            (401, fault("keymanagement.service.invalid_refresh_token")),
        ] {
            assert_eq!(judged(http, &body), Proof::Right, "{http} {body}");
        }
        for (http, body) in [
            (400, json!({ "error": "invalid_request" })),
            (403, json!({ "error": "forbidden" })),
            (401, json!({ "error": "temporarily_unavailable" })),
            (401, fault("policies.ratelimit.QuotaViolation")),
            (503, json!({ "error": "server_error" })),
            (200, json!({ "access_token": "a" })),
            (404, json!("text")),
        ] {
            let proof = judged(http, &body);
            assert!(
                matches!(proof, Proof::Unknown(_)),
                "{http} {body}: {proof:?}"
            );
        }
    }
}
