//! Takes callbacks at `/moengage/dlr` and `/moengage/dlr/{name}`: checks them against the contract, hands them
//! to the receiver and answers as rules and knobs want it.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    response::Response,
    routing::post,
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::verdict::{self, Callback};
use crate::sandbox::{
    dice,
    knobs::Knobs,
    lock::lock,
    outcome::Outcome,
    reply,
    route::{Asked, Route},
    world::World,
};

/// MoEngage's routes.
pub(in crate::sandbox) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/moengage/dlr", post(unnamed))
        .route("/moengage/dlr/{name}", post(named))
}

/// `POST /moengage/dlr`.
async fn unnamed(state: State<Arc<World>>, body: Bytes) -> Response {
    receive(&state, "", body).await
}

/// `POST /moengage/dlr/{name}`.
async fn named(state: State<Arc<World>>, Path(name): Path<String>, body: Bytes) -> Response {
    receive(&state, &name, body).await
}

async fn receive(world: &World, endpoint: &str, body: Bytes) -> Response {
    let knobs = world.knobs();
    lock(&world.moengage).came(endpoint, body.clone());
    let concerned = knobs
        .moengage_only
        .as_deref()
        .is_none_or(|name| name == endpoint);
    if concerned && knobs.moengage_latency_ms > 0 {
        sleep(Duration::from_millis(knobs.moengage_latency_ms)).await;
    }
    let ruled = world.ruled(&Asked::of(Route::Dlr), None);
    let callback = match verdict::read(&body) {
        Ok(callback) => callback,
        Err(reason) => {
            lock(&world.moengage).invalid(reason.clone());
            return refused(ruled, reason).await;
        }
    };
    let outcome = match ruled {
        Some(outcome) => outcome,
        None if concerned => roll(world, &knobs, &callback),
        None => Outcome::Ok,
    };
    if let Some(early) = outcome.before().await {
        return early;
    }
    lock(&world.moengage).take(endpoint, callback, knobs.keep);
    let answer = match concerned && knobs.moengage_lying {
        true => json!({"status": "failure", "message": "not today"}),
        false => json!({"status": "success"}),
    };
    let status = if concerned {
        knobs.moengage_status
    } else {
        200
    };
    outcome.after(reply::json(status, answer)).await
}

/// The answer to what breaks the contract: that of the rule, else a refusal.
async fn refused(ruled: Option<Outcome>, reason: String) -> Response {
    let answer = reply::json(400, json!({"status": "failure", "message": reason}));
    let Some(outcome) = ruled else {
        return answer;
    };
    match outcome.before().await {
        Some(early) => early,
        None => outcome.after(answer).await,
    }
}

fn roll(world: &World, knobs: &Knobs, callback: &Callback) -> Outcome {
    if !(200..300).contains(&knobs.moengage_status) {
        return Outcome::Status(knobs.moengage_status);
    }
    let rejected = |entry: &Value| {
        let id = entry["msg_id"].as_str().unwrap_or_default();
        knobs.moengage_reject_msg_ids.iter().any(|one| one == id)
    };
    if matches!(callback, Callback::Statuses(entries) if entries.iter().any(rejected)) {
        return Outcome::Status(400);
    }
    let mut rng = world.loose_dice();
    match () {
        () if dice::chance(&mut rng, knobs.moengage_fail_share) => Outcome::Status(500),
        () if dice::chance(&mut rng, knobs.moengage_lose_answer_share) => Outcome::AcceptThenClose,
        () => Outcome::Ok,
    }
}
