//! Is it alive, is it ready? For the load balancer and the container; on the public listener too.

use super::{Desk, archived, view};
use crate::http::json as respond;
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

/// The health routes of the public listener.
pub fn routes(desk: Desk) -> Router {
    Router::new()
        .route("/", get(alive))
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .with_state(desk)
}

/// The process answers.
pub(super) async fn alive() -> Response {
    respond(StatusCode::OK, json!({ "status": "alive" }).to_string())
}

/// An answer of `/readyz`, and when it was found.
#[derive(Debug)]
pub(super) struct Readiness {
    at: Instant,
    status: StatusCode,
    body: String,
}

/// 503 only while no durable write can be made, or while stopping. Whatever else is wrong stands
/// in the details: messages are accepted all the same. Never waits for the provider.
///
/// Needs no token, so strangers must not be able to keep the store busy with it.
async fn ready(State(desk): State<Desk>) -> Response {
    let mut last = desk.shared.readiness.lock().await;
    let known = last.take().filter(|last| last.at.elapsed() < BELIEVED);
    let known = match known.filter(|_| !desk.shared.intake.is_closed()) {
        Some(known) => known,
        None => look(&desk).await,
    };
    let known = last.insert(known);
    respond(known.status, known.body.clone())
}

async fn look(desk: &Desk) -> Readiness {
    let reason = not_ready(desk).await;
    let shared = &desk.shared;
    let store = shared.outbox.store.report().await;
    let accounts: Vec<Value> = shared.accounts.iter().map(view::account).collect();
    let channels: Vec<Value> = shared
        .channels
        .iter()
        .map(|one| view::channel(one, &shared.outbox))
        .collect();
    let body = json!({
        "status": if reason.is_none() { "ready" } else { "not ready" },
        "reason": reason,
        "store": store.summary,
        "store_warnings": store.warnings,
        "accounts": accounts,
        "channels": channels,
        "datastore": archived::standing(desk).await,
    });
    let status = if reason.is_none() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = body.to_string();
    let at = Instant::now();
    Readiness { at, status, body }
}

async fn not_ready(desk: &Desk) -> Option<String> {
    if desk.shared.intake.is_closed() {
        return Some("the gateway is stopping".into());
    }
    let store = &desk.shared.outbox.store;
    match timeout(PROOF, store.writable()).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!(
            "{} did not write within {} s",
            store.name(),
            PROOF.as_secs()
        )),
    }
}
