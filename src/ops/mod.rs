//! The ops listener: what an operator sees and can do, for one process.
//!
//! Everything but `/healthz` wants `Authorization: Bearer <OPS_TOKEN>` when a token is set. Bodies
//! are JSON and must say so, which a form on a foreign web page cannot. Shows no secret and no
//! whole phone number.

mod api;
mod archived;
mod follow;
pub mod health;
mod metrics;
pub mod problem;
mod rate;
mod search;
mod view;

use crate::archive::Archive;
use crate::breaker::Breaker;
use crate::channel::{Account, Channels, same};
use crate::http::{self, Measure};
use crate::intake::Intake;
use crate::limit::Pace;
use crate::outbox::Outbox;
use crate::provider::Provider;
pub(crate) use api::stored_pause;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
pub use follow::follow;
use metrics_exporter_prometheus::PrometheusHandle;
use problem::Problem;
pub(crate) use rate::stored as stored_pace;
use secrecy::SecretString;
use std::sync::Arc;

/// What the ops listener works with. Clones share it.
#[derive(Clone)]
pub struct Desk {
    shared: Arc<Shared>,
}

struct Shared {
    channels: Arc<Channels>,
    outbox: Outbox,
    intake: Intake,
    /// In the order of the configuration.
    accounts: Vec<AccountDesk>,
    archive: Option<Archive>,
    metrics: Option<PrometheusHandle>,
    token: Option<SecretString>,
}

/// One account as the desk sees it.
#[derive(Debug)]
pub struct AccountDesk {
    /// The account.
    pub account: Arc<Account>,
    /// Its provider.
    pub provider: Arc<Provider>,
    /// Its breaker.
    pub breaker: Arc<Breaker>,
    /// The pace of the configuration, to return to.
    pub configured: Pace,
}

/// What a [`Desk`] is made of.
#[expect(missing_docs, reason = "the fields are those of Desk")]
pub struct DeskParts {
    pub channels: Arc<Channels>,
    pub outbox: Outbox,
    pub intake: Intake,
    pub accounts: Vec<AccountDesk>,
    pub archive: Option<Archive>,
    pub metrics: Option<PrometheusHandle>,
    pub token: Option<SecretString>,
}

impl Desk {
    /// The desk over a running gateway.
    pub fn new(parts: DeskParts) -> Self {
        let shared = Shared {
            channels: parts.channels,
            outbox: parts.outbox,
            intake: parts.intake,
            accounts: parts.accounts,
            archive: parts.archive,
            metrics: parts.metrics,
            token: parts.token,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Who may not, and how a change must be sent.
    fn refusal(&self, method: &Method, headers: &HeaderMap) -> Option<Problem> {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(token) = &self.shared.token {
            let presented = header(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
            if !presented.is_some_and(|presented| same(token, presented)) {
                let detail = "send the OPS_TOKEN as \"Authorization: Bearer <token>\"";
                return Some(Problem::new(StatusCode::UNAUTHORIZED, detail));
            }
        }
        // Without a token a web page could reach a loopback listener under a name of its own.
        let host = header(HOST).unwrap_or_default();
        if self.shared.token.is_none() && !host.is_empty() && !is_loopback(host) {
            let detail =
                "without OPS_TOKEN the ops listener is asked as 127.0.0.1 or localhost only";
            return Some(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        // A form on a web page can post to a loopback address, but not as JSON without being asked.
        let json = header(CONTENT_TYPE).is_some_and(|value| value.starts_with("application/json"));
        let detail = "send changes with \"Content-Type: application/json\"";
        let refused = method != Method::GET && !json;
        refused.then(|| Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
    }

    fn account(&self, id: &str) -> Result<&AccountDesk, Problem> {
        let found = self
            .shared
            .accounts
            .iter()
            .find(|one| one.account.id.as_str() == id);
        found.ok_or_else(|| Problem::not_found(format!("there is no account {id:?}")))
    }
}

/// The routes of the ops listener.
pub fn routes(desk: Desk) -> Router {
    let api = Router::new()
        .route("/metrics", get(metrics::render))
        .route("/api/ledger", get(api::ledger))
        .route("/api/channels", get(api::channels))
        .route("/api/channels/{id}/pause", post(api::pause))
        .route("/api/channels/{id}/resume", post(api::resume))
        .route("/api/accounts", get(api::accounts))
        .route(
            "/api/accounts/{id}/rate",
            put(rate::set).delete(rate::reset),
        )
        .route("/api/accounts/{id}/token/refresh", post(api::refresh_token))
        .route("/api/accounts/{id}/token/seed", put(api::seed_token))
        .route("/api/messages/{msg_id}", get(search::message))
        .route("/api/search", post(search::search))
        .fallback(async || Problem::not_found("there is no such route"))
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this route does not take that method",
            )
        })
        .layer(middleware::from_fn_with_state(desk.clone(), guard))
        .with_state(desk);
    Router::new()
        .route("/healthz", get(health::alive))
        .merge(api)
        .layer(Measure)
}

async fn guard(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    match desk.refusal(request.method(), request.headers()) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    }
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

/// An answer of the API.
fn answer(value: &serde_json::Value) -> Response {
    http::json(StatusCode::OK, value.to_string())
}
