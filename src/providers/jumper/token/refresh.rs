//! One call of `POST /oauth/refresh` and what its answer means (contracts/jumper.md section 2.3).
//!
//! Never retries, never stores, never decides more than "a new pair", "this answer calls the refresh
//! token dead", "this answer calls the credentials wrong" or "nobody knows, try again".

use super::super::exchange::{self, BuildError};
use super::super::wire;
use super::words::{self, About};
use crate::domain::{Answer, UnixMs};
use crate::http::outgoing::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use crate::http::outgoing::{Client, Url};
use crate::json::Tree;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::time::Duration;

/// The most of an answer that is read; a pair of tokens takes 2 KB.
const LONGEST_ANSWER: usize = 64 * 1024;
/// The life of an access token that does not say how long it lives.
const ASSUMED_LIFE: Duration = Duration::from_secs(3600);
/// Both tokens of a pair end by then (section 2.4): one that is said to live longer is renewed as if
/// it did not.
const LONGEST_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);

/// A new pair, as the answer gave it.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) access: SecretString,
    /// Absent when the answer has none; then the old one goes on.
    pub(super) refresh: Option<SecretString>,
    pub(super) expires_at: UnixMs,
}

/// Why there is no new pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The answer says that this refresh token is dead.
    Refused(String),
    /// The answer says that the application's key or secret is wrong.
    Credentials(String),
    /// The connection broke after the request began: the pair may have rotated.
    Lost(String),
    /// Anything else; the refresh token may still be good.
    Transient {
        reason: String,
        retry_after: Option<Duration>,
    },
}

/// The exchange of one account.
#[derive(Debug)]
pub(super) struct Exchange {
    http: Client,
    url: Url,
    basic: HeaderValue,
}

impl Exchange {
    /// `basic` is the whole header value, `Basic <base64 key:secret>`.
    pub(super) fn new(
        api_url: &str,
        basic: &SecretString,
        deadline: Duration,
    ) -> Result<Self, BuildError> {
        let http = exchange::plain(deadline.min(Duration::from_secs(10)), deadline)
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|_| BuildError::Http)?;
        let mut basic = HeaderValue::from_str(basic.expose_secret().trim())
            .map_err(|_| BuildError::Credentials)?;
        basic.set_sensitive(true);
        let url = exchange::address(api_url, "/oauth/refresh")?;
        Ok(Self { http, url, basic })
    }

    /// Asks once.
    pub(super) async fn ask(&self, refresh: &SecretString, now: UnixMs) -> Result<Pair, Failure> {
        let (answer, body) = self.call(refresh.expose_secret(), "refresh").await;
        read(&answer, &body, now)
    }

    /// Makes one call, which `name` is counted under.
    pub(super) async fn call(&self, refresh: &str, name: &'static str) -> (Answer, Tree) {
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
        let request = self
            .http
            .post(self.url.clone())
            .header(AUTHORIZATION, self.basic.clone())
            .header(ACCEPT, "application/json")
            .form(&form);
        exchange::exchange(request, LONGEST_ANSWER, name).await
    }
}

/// What an answer means. Only `invalid_grant` and the known words for a dead refresh token speak of
/// the token, whatever the status: everything else is tried again (design.md G7).
pub(super) fn read(answer: &Answer, tree: &Tree, now: UnixMs) -> Result<Pair, Failure> {
    let body = &tree.value;
    let summary = answer.summary();
    if answer.transport == Some(crate::domain::Transport::Lost) {
        return Err(Failure::Lost(summary));
    }
    if answer.transport.is_none()
        && let Some(access) = secret(&body["access_token"], tree)
    {
        return Ok(Pair {
            expires_at: now.plus(life(body, access.expose_secret(), now)),
            refresh: secret(&body["refresh_token"], tree),
            access,
        });
    }
    Err(match words::about(answer, body) {
        Some(About::Token) => Failure::Refused(summary),
        Some(About::Application) => Failure::Credentials(summary),
        None => Failure::Transient {
            reason: summary,
            retry_after: answer.retry_after,
        },
    })
}

fn secret(value: &Value, of: &Tree) -> Option<SecretString> {
    let text = value.as_str()?.trim();
    // A token with a lost character opens nothing.
    let is_whole = !text.is_empty() && !of.has_lost(text);
    is_whole.then(|| text.into())
}

/// How long an access token lives: `expires_in`, else as it says itself, else an hour. A life that is
/// over already, or that no pair of Jumper's has (section 2.4), is not believed.
fn life(body: &Value, access: &str, now: UnixMs) -> Duration {
    let stated = wire::text(&body["expires_in"]).and_then(|text| text.parse::<f64>().ok());
    let stated = stated.filter(|seconds| *seconds > 0.0 && *seconds < 1e10);
    let stated = stated.map(Duration::from_secs_f64);
    stated
        .or_else(|| Claims::read(access).left(now))
        .unwrap_or(ASSUMED_LIFE)
        .min(LONGEST_LIFE)
}

/// When an access token ends that somebody else got: as it says itself, else when they drop it, else
/// in an hour. Without one there is nothing that could end.
pub(super) fn end_of(
    access: Option<&SecretString>,
    dropped_in: Option<Duration>,
    now: UnixMs,
) -> UnixMs {
    let Some(access) = access else {
        return UnixMs(0);
    };
    let exp = Claims::read(access.expose_secret()).exp;
    let stated = exp.and_then(|exp| Some(UnixMs(exp.checked_mul(1000)?)));
    let stated = stated.unwrap_or_else(|| now.plus(dropped_in.unwrap_or(ASSUMED_LIFE)));
    stated.min(now.plus(LONGEST_LIFE))
}

/// What a JWT says of its life, in Unix seconds. The signature is Jumper's business.
#[derive(Debug, Default, PartialEq)]
struct Claims {
    exp: Option<i64>,
    iat: Option<i64>,
}

impl Claims {
    fn read(jwt: &str) -> Self {
        let read = || {
            let claims = jwt.split('.').nth(1)?;
            let claims = BASE64_URL_SAFE_NO_PAD.decode(claims.trim_end_matches('='));
            let claims: Value = serde_json::from_slice(&claims.ok()?).ok()?;
            let time = |name: &str| wire::text(&claims[name])?.parse::<f64>().ok();
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a cast of a float saturates"
            )]
            let time = |name: &str| time(name).map(|seconds| seconds as i64);
            Some(Self {
                exp: time("exp"),
                iat: time("iat"),
            })
        };
        read().unwrap_or_default()
    }

    /// What is left of a life that has just begun. Where our clock and Jumper's disagree, the time
    /// between the two claims is what counts.
    fn left(&self, now: UnixMs) -> Option<Duration> {
        let seconds = |time: i64| u64::try_from(time).ok().filter(|time| *time > 0);
        let exp = self.exp?;
        let by_our_clock = seconds(exp.saturating_sub(now.seconds()));
        let whole = self.iat.and_then(|iat| seconds(exp.saturating_sub(iat)));
        let left = match (by_our_clock, whole) {
            (Some(left), Some(whole)) => Some(left.min(whole)),
            (left, whole) => left.or(whole),
        };
        left.map(Duration::from_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: UnixMs = UnixMs(1_000_000_000);

    fn answered(http: u16, body: &Value) -> Result<Pair, Failure> {
        let (answer, json) = wire::answer(http, None, body.to_string().as_bytes());
        read(&answer, &json, NOW)
    }

    fn lives(body: &Value) -> Duration {
        answered(200, body).unwrap().expires_at.since(NOW)
    }

    fn jwt(exp: i64) -> String {
        claims(json!({ "exp": exp }))
    }

    fn claims(claims: Value) -> String {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
        format!("h.{claims}.s")
    }

    #[test]
    fn a_life_is_said_or_read_or_assumed() {
        let cases = [
            (json!({ "access_token": "a", "expires_in": 90 }), 90),
            (json!({ "access_token": "a", "expires_in": "90" }), 90),
            (json!({ "access_token": jwt(1_000_120) }), 120),
            (
                json!({ "access_token": jwt(1_000_120), "expires_in": null }),
                120,
            ),
            (
                json!({ "access_token": jwt(1_000_120), "expires_in": 0 }),
                120,
            ),
            // R-16: by our clock it is over already.
            (json!({ "access_token": jwt(5) }), 3600),
            (
                json!({ "access_token": claims(json!({ "exp": 900, "iat": 100 })) }),
                800,
            ),
            (
                json!({ "access_token": claims(json!({ "exp": 1_000_050, "iat": 999_000 })) }),
                50,
            ),
            (
                json!({ "access_token": claims(json!({ "exp": 9_000_100, "iat": 9_000_000 })) }),
                100,
            ),
            (
                json!({ "access_token": claims(json!({ "exp": "1000120", "iat": "soon" })) }),
                120,
            ),
            (
                json!({ "access_token": claims(json!({ "exp": 1e300 })) }),
                90 * 86_400,
            ),
            (
                json!({ "access_token": claims(json!({ "exp": -1e300 })) }),
                3600,
            ),
            (
                json!({ "access_token": claims(json!({ "exp": [1] })) }),
                3600,
            ),
            (json!({ "access_token": "a", "expires_in": -5 }), 3600),
            (json!({ "access_token": "a", "expires_in": "" }), 3600),
            (json!({ "access_token": "a", "expires_in": [7] }), 3600),
            // Milliseconds, by mistake: no pair lives so long.
            (
                json!({ "access_token": "a", "expires_in": 7_776_000_000_i64 }),
                90 * 86_400,
            ),
            (json!({ "access_token": "a", "expires_in": 1e300 }), 3600),
            (
                json!({ "access_token": "no.jwt", "expires_in": "soon" }),
                3600,
            ),
            (json!({ "access_token": "a" }), 3600),
        ];
        for (body, seconds) in cases {
            assert_eq!(lives(&body), Duration::from_secs(seconds), "{body}");
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one row per answer")]
    fn r_13_only_known_words_speak_of_the_refresh_token() {
        let fault = |code: &str| json!({ "fault": { "detail": { "errorcode": code } } });
        let refused = [
            (400, json!({ "error": "invalid_grant" })),
            (401, json!({ "error": "invalid_grant" })),
            (200, json!({ "error": "invalid_grant" })),
            (
                403,
                json!({ "error": "invalid_grant", "error_description": "x" }),
            ),
            (
                401,
                json!({ "ErrorCode": "invalid_request", "Error": "Refresh Token expired" }),
            ),
            (401, fault("keymanagement.service.invalid_refresh_token")),
            (400, fault("steps.oauth.v2.refresh_token_expired")),
        ];
        for (http, body) in refused {
            assert!(
                matches!(answered(http, &body), Err(Failure::Refused(_))),
                "{body}"
            );
        }
        let credentials = [
            (401, json!({ "error": "invalid_client" })),
            (400, json!({ "error": "invalid_client" })),
            (401, fault("oauth.v2.InvalidClientIdentifier")),
            (
                401,
                fault("keymanagement.service.invalid_client-invalid_client_id"),
            ),
        ];
        for (http, body) in credentials {
            assert!(
                matches!(answered(http, &body), Err(Failure::Credentials(_))),
                "{body}"
            );
        }
        let transient = [
            (400, json!({ "error": "temporarily_unavailable" })),
            (400, json!({ "error": "server_error" })),
            (400, json!({ "error": "invalid_request" })),
            (400, json!({ "error": "unauthorized_client" })),
            (400, fault("oauth.v2.InvalidGrantType")),
            (401, json!({})),
            (401, json!({ "error": "unauthorized" })),
            (
                401,
                json!({ "ErrorCode": "invalid_request", "Error": "busy" }),
            ),
            (
                200,
                json!({ "success": false, "errorMessage": "no such token" }),
            ),
            (400, json!({ "success": false })),
            (429, fault("policies.ratelimit.QuotaViolation")),
            (500, fault("policies.ratelimit.SpikeArrestViolation")),
            (400, fault("policies.ratelimit.SpikeArrestViolation")),
            (503, json!({ "error": "down" })),
            (403, json!({ "error": "forbidden" })),
            (404, json!({ "error": "no such route" })),
            (200, json!({})),
            (200, json!({ "access_token": " " })),
            (400, json!("text")),
        ];
        for (http, body) in transient {
            assert!(
                matches!(answered(http, &body), Err(Failure::Transient { .. })),
                "{body}"
            );
        }
    }

    #[test]
    fn nothing_prints_a_token() {
        let body = json!({ "access_token": "secret-a", "refresh_token": "secret-r" });
        let shown = format!("{:?}", answered(200, &body));
        assert!(!shown.contains("secret-"), "{shown}");
    }
}
