//! Is it alive, is it ready? For the load balancer and the container; on the public listener too.
//!
//! Strangers reach the public listener: there `/readyz` says ready or not, and why in one word. What
//! an operator wants to know besides stands in the `/readyz` of the ops listener.

use super::why::Site;
use super::{OpsState, records, view};
use crate::http::json as respond;
use crate::store::StoreError;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How long a store may take to prove that it can write.
const PROOF: Duration = Duration::from_secs(2);
/// How long an answer stands for who asks next.
const BELIEVED: Duration = Duration::from_millis(50);
/// The same for what is told beside other things.
const LATELY: Duration = Duration::from_secs(5);

/// The paths of [`routes`] that have other spellings.
pub const PATHS: [&str; 2] = ["/healthz", "/readyz"];

/// The health routes of the public listener.
pub fn routes(ops: OpsState) -> Router {
    let [health, readiness] = PATHS;
    Router::new()
        .route("/", get(alive))
        .route(health, get(alive))
        .route(readiness, get(ready))
        .with_state(ops)
}

/// The process answers.
pub(super) async fn alive() -> Response {
    respond(StatusCode::OK, json!({ "status": "alive" }).to_string())
}

/// Why no message can be taken now.
#[derive(Debug, Clone)]
pub(super) struct NotReady {
    /// Of a closed set, for strangers: `stopping` or `store`.
    word: &'static str,
    /// For an operator.
    pub(super) words: String,
    /// Whether what was accepted is sent all the same.
    pub(super) sends: bool,
}

/// What was found out last, and when.
#[derive(Debug)]
pub(super) struct Readiness {
    at: Instant,
    not: Option<NotReady>,
}

/// 503 only while no durable write can be made, or while stopping: whatever else is wrong, messages
/// are accepted all the same. Never waits for the provider.
async fn ready(State(ops): State<OpsState>) -> Response {
    match not_ready(&ops).await {
        None => respond(StatusCode::OK, json!({ "status": "ready" }).to_string()),
        Some(not) => respond(
            StatusCode::SERVICE_UNAVAILABLE,
            json!({ "status": "not ready", "reason": not.word }).to_string(),
        ),
    }
}

/// The same with all that an operator wants to know.
pub(super) async fn details(State(ops): State<OpsState>) -> Response {
    let not = not_ready(&ops).await;
    let shared = &ops.shared;
    let store = shared.outbox.store.report().await;
    let site = Site::of(&ops, not.clone());
    let accounts = shared.accounts.iter();
    let accounts: Vec<Value> = accounts.map(|one| view::account(one, &site)).collect();
    let body = json!({
        "status": if not.is_none() { "ready" } else { "not ready" },
        "reason": not.as_ref().map(|not| &not.words),
        "store": store.summary,
        "store_warnings": store.warnings,
        "accounts": accounts,
        "channels": ops.channels(&site),
        "datastore": records::standing(&ops).await,
    });
    let status = match not {
        None => StatusCode::OK,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    respond(status, body.to_string())
}

/// Needs no token on the public listener, so strangers must not be able to keep the store busy with
/// it: many who ask cost one look.
async fn not_ready(ops: &OpsState) -> Option<NotReady> {
    found(ops, BELIEVED).await
}

/// The same for who can do with an answer of some seconds ago: each costs a write.
pub(super) async fn not_ready_lately(ops: &OpsState) -> Option<NotReady> {
    found(ops, LATELY).await
}

async fn found(ops: &OpsState, believed: Duration) -> Option<NotReady> {
    let mut last = ops.shared.readiness.lock().await;
    let known = last.take().filter(|last| last.at.elapsed() < believed);
    let known = match known.filter(|_| !ops.shared.intake.is_closed()) {
        Some(known) => known,
        None => Readiness {
            not: look(ops).await,
            at: Instant::now(),
        },
    };
    last.insert(known).not.clone()
}

async fn look(ops: &OpsState) -> Option<NotReady> {
    if ops.shared.intake.is_closed() {
        return Some(NotReady {
            word: "stopping",
            words: "the gateway is stopping".to_owned(),
            sends: false,
        });
    }
    let store = &ops.shared.outbox.store;
    let (words, sends) = match timeout(PROOF, store.writable()).await {
        Ok(Ok(())) => return None,
        Ok(Err(error)) => {
            let sends = matches!(error, StoreError::DiskLow { .. });
            (error.to_string(), sends)
        }
        Err(_) => {
            let (name, limit) = (store.name(), PROOF.as_secs());
            (format!("{name} did not write within {limit} s"), false)
        }
    };
    Some(NotReady {
        word: "store",
        words,
        sends,
    })
}
