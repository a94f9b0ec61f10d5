//! The ops listener: what an operator sees and can do, for one process.
//!
//! Everything but `/healthz` wants `Authorization: Bearer <OPS_TOKEN>` when a token is set, and
//! nothing is for pages of other sites (`door`). Shows no secret, and no whole phone number but in `opt_outs`.

mod api;
mod back;
mod change_lock;
mod door;
mod follow;
pub mod health;
mod holds;
mod metrics;
mod opt_outs;
pub mod problem;
mod rate;
mod records;
mod search;
mod standing;
mod view;
mod waits;
mod webhook;
mod why;

use crate::accounts::{Account, Channels, Holds};
use crate::breaker::Breaker;
use crate::http::{self, Measure};
use crate::intake::Intake;
use crate::limit::Rate;
use crate::outbox::Outbox;
use crate::providers::{Provider, WebhookAddress};
use crate::records::Records;
use crate::relay::Standing;
use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post, put};
use change_lock::ChangeLock;
pub use follow::follow;
use metrics_exporter_prometheus::PrometheusHandle;
use problem::Problem;
use secrecy::SecretString;
use std::collections::HashMap;
use std::sync::Arc;
use why::Site;

/// What the ops listener works with. Clones share it.
#[derive(Clone)]
pub struct OpsState {
    shared: Arc<Shared>,
}

struct Shared {
    channels: Arc<Channels>,
    webhooks: HashMap<String, WebhookAddress>,
    outbox: Outbox,
    intake: Intake,
    /// In the order of the configuration.
    accounts: Vec<AccountOps>,
    records: Option<Records>,
    relayed: Standing,
    metrics: Option<PrometheusHandle>,
    token: Option<SecretString>,
    /// What `/readyz` found last. Held while it finds out, so that many who ask cost one look.
    readiness: tokio::sync::Mutex<Option<health::Readiness>>,
    /// Whose change is being stored and made to hold: pauses and rates, of all channels and accounts.
    changes: ChangeLock,
}

/// One account as the ops listener sees it.
#[derive(Debug)]
pub struct AccountOps {
    /// The account.
    pub account: Arc<Account>,
    /// Its holds.
    pub holds: Holds,
    /// Its provider.
    pub provider: Arc<Provider>,
    /// Its breaker.
    pub breaker: Arc<Breaker>,
    /// The rate of the configuration, to return to.
    pub configured: Rate,
}

/// What an [`OpsState`] is made of.
#[expect(missing_docs, reason = "the fields are those of OpsState")]
pub struct OpsParts {
    pub channels: Arc<Channels>,
    pub webhooks: HashMap<String, WebhookAddress>,
    pub outbox: Outbox,
    pub intake: Intake,
    pub accounts: Vec<AccountOps>,
    pub records: Option<Records>,
    pub relayed: Standing,
    pub metrics: Option<PrometheusHandle>,
    pub token: Option<SecretString>,
}

impl OpsState {
    /// The state of the ops listener of a running gateway.
    pub fn new(parts: OpsParts) -> Self {
        let shared = Shared {
            channels: parts.channels,
            webhooks: parts.webhooks,
            outbox: parts.outbox,
            intake: parts.intake,
            accounts: parts.accounts,
            records: parts.records,
            relayed: parts.relayed,
            metrics: parts.metrics,
            token: parts.token,
            readiness: tokio::sync::Mutex::default(),
            changes: ChangeLock::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Every channel as it stands.
    fn channels(&self, site: &Site) -> Vec<serde_json::Value> {
        let all = self.shared.channels.iter();
        all.map(|one| view::channel(one, self, site)).collect()
    }

    /// Makes a change of an operator's when those before it are done.
    async fn change<F>(self, change: impl FnOnce(Self) -> F) -> Result<Response, Problem>
    where
        F: Future<Output = Result<Response, Problem>> + Send + 'static,
    {
        let changes = self.shared.changes.clone();
        changes.take(change(self)).await
    }

    fn account(&self, id: &str) -> Result<&AccountOps, Problem> {
        let found = self
            .shared
            .accounts
            .iter()
            .find(|one| one.account.id.as_str() == id);
        found.ok_or_else(|| Problem::not_found(format!("there is no account {id:?}")))
    }
}

/// The routes of the ops listener.
pub fn routes(ops: OpsState) -> Router {
    let api = Router::new()
        .route("/readyz", get(health::details))
        .route("/metrics", get(metrics::render))
        .route("/api/ledger", get(api::ledger))
        .route("/api/channels", get(api::channels))
        .route("/api/channels/{id}/pause", post(api::pause))
        .route("/api/channels/{id}/resume", post(api::resume))
        .route("/api/channels/{id}/webhook", get(webhook::show))
        .route("/api/channels/{id}/webhook/rotate", post(webhook::rotate))
        .route("/api/accounts", get(api::accounts))
        .route(
            "/api/accounts/{id}/rate",
            put(rate::set).delete(rate::reset),
        )
        .route("/api/accounts/{id}/token/refresh", post(api::refresh_token))
        .route("/api/accounts/{id}/token/seed", put(api::seed_token))
        .route("/api/holds", get(holds::list))
        .route("/api/holds/{id}/release", post(holds::release))
        .route("/api/holds/{id}/fail", post(holds::let_fail))
        .route("/api/optouts", get(opt_outs::list))
        .route("/api/optouts/import", post(opt_outs::import))
        .route(
            "/api/optouts/{id}",
            put(opt_outs::add).delete(opt_outs::lift),
        )
        .route("/api/messages/{msg_id}", get(search::message))
        .route("/api/search", post(search::search))
        .fallback(async || Problem::not_found("there is no such route"))
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this route does not take that method",
            )
        })
        .layer(middleware::from_fn_with_state(ops.clone(), door::guard))
        .with_state(ops);
    Router::new()
        .route("/healthz", get(health::alive))
        .merge(api)
        .layer(middleware::map_response(door::dressed))
        .layer(Measure::only())
}

/// An answer of the API.
fn answer(value: &serde_json::Value) -> Response {
    http::json(StatusCode::OK, value.to_string())
}
