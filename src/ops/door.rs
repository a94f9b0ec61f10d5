//! Who may ask the ops listener, and what every answer of it carries.
//!
//! The token, when there is one; without one only whoever names this machine as loopback. A web page
//! of another site gets nothing either way: it can neither send a change nor read an answer, and
//! there are no CORS headers that would let it.

use super::OpsState;
use super::problem::Problem;
use crate::accounts::same;
use crate::alert::{Code, Many};
use crate::http::vouch;
use crate::telemetry::OncePerSecond;
use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, ORIGIN,
    REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Refused callers are counted each and logged once a second.
static LOG: OncePerSecond = OncePerSecond::new();
static GUESSES: Many = Many::of(
    Code::SecretsGuessed,
    "ops listener",
    100,
    "requests had no token or a wrong one. Somebody guesses OPS_TOKEN, or a program that watches has an old \
     one. They are answered no.",
);
/// The reason of who has no token or a wrong one.
const WRONG_TOKEN: &str = "token";

/// Nothing here is a page: whatever a browser takes an answer for, it runs and shows nothing of it.
const ALWAYS: [(HeaderName, &str); 6] = [
    (CACHE_CONTROL, "no-store"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// Adds what every answer carries.
pub(super) async fn dressed(mut response: Response) -> Response {
    for (name, value) in ALWAYS {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

/// Lets a request in or says why not.
pub(super) async fn guard(State(ops): State<OpsState>, request: Request, next: Next) -> Response {
    let refusal = ops.refusal(request.method(), request.headers());
    let Some((reason, problem)) = refusal else {
        if ops.shared.token.is_some() {
            vouch(request.extensions());
        }
        return readable(next.run(request).await);
    };
    metrics::counter!("gateway_ops_refused_total", "reason" => reason).increment(1);
    if reason == WRONG_TOKEN {
        GUESSES.more(1);
    }
    if LOG.passes() {
        tracing::warn!(
            reason,
            event = "ops_caller_refused",
            "refused a caller of the ops listener"
        );
    }
    let mut response = problem.into_response();
    if response.status() == StatusCode::UNAUTHORIZED {
        let bearer = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, bearer);
    }
    response
}

/// A path or a query that cannot be decoded is refused before a handler sees it, as plain text.
fn readable(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE);
    if status.is_client_error() && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/")) {
        return Problem::new(status, "the path or the query cannot be read").into_response();
    }
    response
}

impl OpsState {
    /// A word of a closed set for the counter, and what the caller is told.
    fn refusal(&self, method: &Method, headers: &HeaderMap) -> Option<(&'static str, Problem)> {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let no = |reason, status, detail: &str| Some((reason, Problem::new(status, detail)));
        if let Some(token) = &self.shared.token {
            let presented = header(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
            if !presented.is_some_and(|presented| same(token, presented)) {
                let detail = "send the OPS_TOKEN as \"Authorization: Bearer <token>\"";
                return no(WRONG_TOKEN, StatusCode::UNAUTHORIZED, detail);
            }
        }
        // Without a token a web page could reach a loopback listener under a name of its own.
        let host = header(HOST).unwrap_or_default();
        if self.shared.token.is_none() && !host.is_empty() && !is_loopback(host) {
            let detail =
                "without OPS_TOKEN the ops listener is asked as 127.0.0.1 or localhost only";
            return no("host", StatusCode::FORBIDDEN, detail);
        }
        if is_foreign(method, headers) {
            let detail = "a page of another site may not ask the ops listener";
            return no("site", StatusCode::FORBIDDEN, detail);
        }
        // A form on a web page can post to a loopback address, but not in one of these without being asked.
        let kind = header(CONTENT_TYPE).and_then(|value| value.split(';').next());
        let is_ours = |kind: &str| {
            let kinds = ["application/json", "text/csv"];
            kinds
                .iter()
                .any(|one| kind.trim().eq_ignore_ascii_case(one))
        };
        if !is_question(method) && !kind.is_some_and(is_ours) {
            let detail = "send changes with \"Content-Type: application/json\"";
            return no("kind", StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
        }
        None
    }
}

fn is_question(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// Whether a page of another site asks. Browsers say so themselves and let no page change it; those
/// too old for that name the page's origin. Who follows a link to here asks for a new page, which
/// the old one cannot read.
fn is_foreign(method: &Method, headers: &HeaderMap) -> bool {
    let header = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    if let Some(site) = header("sec-fetch-site") {
        let follows = is_question(method) && header("sec-fetch-mode") == Some(b"navigate");
        return site != b"same-origin" && site != b"none" && !follows;
    }
    let Some(origin) = headers.get(ORIGIN).map(HeaderValue::as_bytes) else {
        return false;
    };
    let place = origin
        .strip_prefix(b"http://")
        .or_else(|| origin.strip_prefix(b"https://"));
    place.is_none() || place != headers.get(HOST).map(HeaderValue::as_bytes)
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|b| b.is_ascii_digit()) {
            name
        } else {
            host
        }
    });
    let address = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(method: &str, pairs: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        !is_foreign(&method.parse().unwrap(), &headers)
    }

    #[test]
    fn a_page_of_another_site_is_told_from_ours_and_from_no_page() {
        let host = ("host", "127.0.0.1:3002");
        for method in ["GET", "POST", "PUT", "DELETE"] {
            assert!(asks(method, &[host]), "curl");
            for site in ["same-origin", "none"] {
                assert!(asks(method, &[host, ("sec-fetch-site", site)]));
            }
            for site in ["cross-site", "same-site", "", "else"] {
                assert!(!asks(method, &[host, ("sec-fetch-site", site)]), "{site}");
            }
            for ours in ["http://127.0.0.1:3002", "https://127.0.0.1:3002"] {
                assert!(asks(method, &[host, ("origin", ours)]));
            }
            for foreign in [
                "null",
                "",
                "http://127.0.0.1:3001",
                "http://localhost:3002",
                "https://evil.test",
                "http://127.0.0.1:3002.evil.test",
                "file://127.0.0.1:3002",
            ] {
                assert!(!asks(method, &[host, ("origin", foreign)]), "{foreign}");
            }
        }
        let link = [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
        ];
        assert!(asks("GET", &link) && !asks("POST", &link));
    }

    #[test]
    fn loopback_has_several_names() {
        for ours in [
            "127.0.0.1",
            "127.0.0.1:3002",
            "localhost",
            "LOCALHOST:1",
            "[::1]:3002",
            "127.8.8.8",
        ] {
            assert!(is_loopback(ours), "{ours}");
        }
        for foreign in [
            "evil.test",
            "localhost.evil.test",
            "127.0.0.1.evil.test",
            "0.0.0.0:3002",
            "10.0.0.1",
            "[::]:3002",
            "evil.test:127.0.0.1",
            "localhost:evil",
            "127.0.0.1@evil.test",
            " ",
            "[",
        ] {
            assert!(!is_loopback(foreign), "{foreign}");
        }
    }
}
