//! The HTTP ground under every listener: accepting connections, limits, and plain error answers. Under
//! every call to others too: `outgoing`.
//!
//! `serve` runs one listener, `connections` and `read_timeouts` look after its connections, `phase` says
//! what one of them is doing, `body` bounds what a request may carry, `heavy` keeps the reading of large
//! bodies apart, `host` refuses requests that do not say whom they ask, `spelling` reads other spellings of
//! a path, `measure` counts requests by route, `refusals` tells of refused ones by their routes. Knows no
//! counterparty, no channel and no store; never logs a path, a header or a body, because all three may hold
//! secrets.

mod body;
mod connections;
mod heavy;
mod host;
mod measure;
pub mod outgoing;
mod phase;
mod read_timeouts;
mod refusals;
mod serve;
mod spelling;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use body::{BodyFault, Payload, whole};
pub use heavy::read_apart;
pub use measure::Measure;
pub use refusals::{Reason, because};
pub use serve::serve;
pub use spelling::is_spelling_of;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::http::{Extensions, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::{MethodRouter, any};
use std::time::Duration;
use tower::ServiceExt;

/// What one listener allows its callers.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once. For a further one, some that wait for their caller are closed, up to an
    /// eighth of all; while we owe an answer on each, it waits.
    pub max_connections: usize,
    /// How many of them strangers are made to leave free.
    pub kept_connections: usize,
    /// Which of those that are alike give way first.
    pub gives_way: GivesWay,
    /// From the first byte of a request (or from the connection) to the end of its headers.
    pub header_timeout: Duration,
    /// How long a connection may lie idle between two requests.
    pub idle_timeout: Duration,
    /// From the first wait for a body to its last byte.
    pub body_timeout: Duration,
    /// From the headers of a request to the beginning of our answer.
    pub response_timeout: Duration,
    /// Bytes of one body.
    pub body_limit: usize,
}

/// Which connections give way first among those that wait for their caller alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivesWay {
    /// Those that have waited longest.
    LongestFirst,
    /// Those that have waited least: who was there before a crowd came stays.
    NewestFirst,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            kept_connections: 0,
            gives_way: GivesWay::LongestFirst,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(30),
            body_limit: 1024 * 1024,
        }
    }
}

/// Ends a public router: unknown paths and methods get a readable answer, other spellings of `routes`
/// are taken for them, requests are counted.
pub fn finish(router: Router, routes: Vec<&'static str>) -> Router {
    finish_with(router, routes, any(async || no_such_route()))
}

/// The same; `elsewhere` answers paths that are no route.
pub fn finish_with(router: Router, routes: Vec<&'static str>, elsewhere: MethodRouter) -> Router {
    let router = router
        .fallback_service(elsewhere)
        .method_not_allowed_fallback(async || {
            message(
                StatusCode::METHOD_NOT_ALLOWED,
                "This route does not take that method",
            )
        })
        .layer(Measure::and_tell());
    // Given its state here, once, it does not build its routes for each request (`serve`).
    let spelled: Router = router.clone().with_state(());
    router.fallback(async move |mut request: Request| {
        if let Some(uri) = spelling::respelled(request.uri(), &routes) {
            *request.uri_mut() = uri;
        }
        spelled.oneshot(request).await
    })
}

/// Notes that the caller of a request has shown a token or a secret: its connection is the last to give
/// way to others. Takes the request's extensions.
pub fn vouch(extensions: &Extensions) {
    if let Some(phase) = extensions.get::<phase::Phase>() {
        phase.vouch();
    }
}

/// The answer for what is not there, and for what a stranger must not know to be there.
pub fn no_such_route() -> Response {
    message(StatusCode::NOT_FOUND, "No such route")
}

/// Lets the process open as many files as its system allows it to; returns how many.
pub fn raise_file_limit() -> Option<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: now.maximum,
        maximum: now.maximum,
    };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => now.maximum,
        Err(_) => now.current,
    };
    limit.and_then(|limit| usize::try_from(limit).ok())
}

/// An answer with a JSON body.
pub fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer that says what is wrong: `{"message": "..."}` (contracts/moengage.md section 4).
pub fn message(status: StatusCode, text: &str) -> Response {
    let answer = json(status, serde_json::json!({ "message": text }).to_string());
    because(answer, text.to_owned())
}

/// The same, and the connection is closed after it.
fn last_message(status: StatusCode, text: &str) -> Response {
    let mut response = message(status, text);
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
