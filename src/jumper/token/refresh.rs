//! One call of `POST /oauth/refresh` and what its answer means (contracts/jumper.md section 2.3).
//!
//! Never retries, never stores, never decides more than "a new pair", "this refresh token is of no
//! use any more" or "nobody knows, try again".

use super::super::client::{self, BuildError};
use super::super::wire;
use crate::domain::{Answer, UnixMs};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::time::Duration;

/// The most of an answer that is read; a pair of tokens takes 2 KB.
const LONGEST_ANSWER: usize = 64 * 1024;
/// The life of an access token that does not say how long it lives.
const ASSUMED_LIFE: Duration = Duration::from_secs(3600);

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
    http: reqwest::Client,
    url: reqwest::Url,
    basic: HeaderValue,
}

impl Exchange {
    /// `basic` is the whole header value, `Basic <base64 key:secret>`.
    pub(super) fn new(
        api_url: &str,
        basic: &SecretString,
        deadline: Duration,
    ) -> Result<Self, BuildError> {
        let http = client::plain(deadline.min(Duration::from_secs(10)), deadline)
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|_| BuildError::Http)?;
        let mut basic = HeaderValue::from_str(basic.expose_secret().trim())
            .map_err(|_| BuildError::Credentials)?;
        basic.set_sensitive(true);
        let url = client::address(api_url, "/oauth/refresh")?;
        Ok(Self { http, url, basic })
    }

    /// Asks once.
    pub(super) async fn ask(&self, refresh: &SecretString, now: UnixMs) -> Result<Pair, Failure> {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.expose_secret()),
        ];
        let request = self
            .http
            .post(self.url.clone())
            .header(AUTHORIZATION, self.basic.clone())
            .header(ACCEPT, "application/json")
            .form(&form);
        let (answer, body) = client::exchange(request, LONGEST_ANSWER, "refresh").await;
        read(&answer, &body, now)
    }
}

/// What an answer means. Only a JSON refusal under 200, 400 or 401 is a dead token; wrong
/// application credentials, limits, outages and pages of proxies are not.
pub(super) fn read(answer: &Answer, body: &Value, now: UnixMs) -> Result<Pair, Failure> {
    let summary = answer.summary();
    if answer.transport == Some(crate::domain::Transport::Lost) {
        return Err(Failure::Lost(summary));
    }
    if answer.transport.is_none()
        && let Some(access) = secret(&body["access_token"])
    {
        return Ok(Pair {
            expires_at: now.plus(life(body, access.expose_secret(), now)),
            refresh: secret(&body["refresh_token"]),
            access,
        });
    }
    if answer.transport.is_none() && body.is_object() && refuses(answer, body) {
        return Err(Failure::Refused(summary));
    }
    Err(Failure::Transient {
        reason: summary,
        retry_after: answer.retry_after,
    })
}

fn refuses(answer: &Answer, body: &Value) -> bool {
    let fault = answer.fault.as_deref().unwrap_or_default();
    if fault.starts_with("policies.ratelimit.") || fault.starts_with("messaging.") {
        return false;
    }
    // The application's key or secret is wrong, which says nothing about the refresh token.
    let client = ["error", "ErrorCode"].iter().any(|name| {
        matches!(
            body[*name].as_str(),
            Some("invalid_client" | "InvalidClient")
        )
    });
    let client = client || fault.contains("ClientId") || fault.contains("InvalidClient");
    match answer.http {
        Some(400 | 401) => !client,
        Some(200) => !client && (answer.success == Some(false) || wire::truthy(&body["error"])),
        _ => false,
    }
}

fn secret(value: &Value) -> Option<SecretString> {
    let text = value.as_str()?.trim();
    (!text.is_empty()).then(|| text.into())
}

/// How long an access token lives: `expires_in`, else the `exp` of the token, else an hour.
fn life(body: &Value, access: &str, now: UnixMs) -> Duration {
    let said = wire::text(&body["expires_in"]).and_then(|text| text.parse::<f64>().ok());
    let said = said.filter(|seconds| *seconds > 0.0 && *seconds < 1e10);
    said.map(Duration::from_secs_f64)
        .or_else(|| Some(UnixMs(expiry(access)?.checked_mul(1000)?).since(now)))
        .unwrap_or(ASSUMED_LIFE)
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
    let said = expiry(access.expose_secret()).and_then(|exp| exp.checked_mul(1000));
    said.map_or_else(|| now.plus(dropped_in.unwrap_or(ASSUMED_LIFE)), UnixMs)
}

/// The `exp` claim, in Unix seconds. The signature is Jumper's business.
fn expiry(jwt: &str) -> Option<i64> {
    let claims = jwt.split('.').nth(1)?;
    let claims = BASE64_URL_SAFE_NO_PAD
        .decode(claims.trim_end_matches('='))
        .ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    wire::text(&claims["exp"])?.parse().ok()
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
        let claims = BASE64_URL_SAFE_NO_PAD.encode(json!({ "exp": exp }).to_string());
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
            (json!({ "access_token": jwt(5) }), 0),
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
    fn only_a_clear_refusal_is_the_end_of_a_token() {
        let fault = |code: &str| json!({ "fault": { "detail": { "errorcode": code } } });
        let refused = [
            (400, json!({ "error": "invalid_grant" })),
            (
                401,
                json!({ "ErrorCode": "InvalidRequest", "Error": "Refresh Token expired" }),
            ),
            (401, fault("keymanagement.service.invalid_refresh_token")),
            (
                200,
                json!({ "success": false, "errorMessage": "no such token" }),
            ),
        ];
        for (http, body) in refused {
            assert!(
                matches!(answered(http, &body), Err(Failure::Refused(_))),
                "{body}"
            );
        }
        let transient = [
            (401, json!({ "error": "invalid_client" })),
            (401, fault("oauth.v2.InvalidClientIdentifier")),
            (429, fault("policies.ratelimit.QuotaViolation")),
            (500, fault("policies.ratelimit.SpikeArrestViolation")),
            (400, fault("policies.ratelimit.SpikeArrestViolation")),
            (503, json!({ "error": "down" })),
            (403, json!({ "error": "forbidden" })),
            (404, json!({ "error": "no such route" })),
            (200, json!({})),
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
