//! The changing half of the control API: knobs, rules, tokens, templates, subscriptions, merchants, reset.
//! A loopback tool: no authentication.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Query, State},
    response::Response,
    routing::{get, post},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    dice,
    jumper::{
        account::{Account, Merchant, Subscription},
        speak,
        template::Template,
    },
    lock::lock,
    moengage::receiver::Receiver,
    reply,
    wish::{self, Wish},
    world::World,
};

type Shared = State<Arc<World>>;
type Parameters = Query<HashMap<String, String>>;

/// The routes, below `/_sandbox`.
pub(super) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/knobs", get(knobs).patch(turn))
        .route("/rules", get(rules).post(add_rules).delete(clear_rules))
        .route("/token/revoke-access", post(revoke_access))
        .route("/token/kill-refresh", post(kill_refresh))
        .route("/token/new-seed", post(new_seed))
        .route("/templates", get(templates).put(put_templates))
        .route("/subscriptions", get(subscriptions).put(put_subscriptions))
        .route("/merchants", get(merchants).post(add_merchant))
        .route("/events", post(raw_event))
        .route("/status", post(status))
        .route("/reply", post(inbound))
        .route("/reset", post(reset))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn answer(result: Result<Value, String>) -> Response {
    match result {
        Ok(body) => reply::json(200, body),
        Err(reason) => reply::bad(400, reason),
    }
}

/// The merchant named by `?merchant=`, the first one otherwise.
fn chosen(world: &World, query: &HashMap<String, String>) -> Result<Arc<Account>, String> {
    let mut found = world
        .jumper
        .accounts(query.get("merchant").map(String::as_str))?;
    Ok(found.swap_remove(0))
}

async fn knobs(State(world): Shared) -> Response {
    reply::json(200, json!(*world.knobs()))
}

async fn turn(State(world): Shared, body: Bytes) -> Response {
    let patched = parse::<Value>(&body).and_then(|patch| {
        world.turn(|knobs| {
            *knobs = knobs.patched(&patch)?;
            Ok(json!(knobs))
        })
    });
    answer(patched)
}

async fn rules(State(world): Shared) -> Response {
    let rules = lock(&world.rules).shown();
    reply::json(200, json!({"rules": rules, "shape": wish::shape()}))
}

async fn add_rules(State(world): Shared, body: Bytes) -> Response {
    answer(Wish::read(&body).and_then(|wishes| lock(&world.rules).add(wishes)))
}

async fn clear_rules(State(world): Shared) -> Response {
    lock(&world.rules).clear();
    reply::json(200, json!({"cleared": "rules"}))
}

async fn revoke_access(State(world): Shared, Query(query): Parameters) -> Response {
    answer(chosen(&world, &query).map(|account| {
        lock(&world.jumper.desk).revoke_access(account.index);
        json!({"revoked": "access"})
    }))
}

async fn kill_refresh(State(world): Shared, Query(query): Parameters) -> Response {
    answer(chosen(&world, &query).map(|account| {
        lock(&world.jumper.desk).revoke_refresh(account.index);
        json!({"revoked": "refresh"})
    }))
}

async fn new_seed(State(world): Shared, Query(query): Parameters) -> Response {
    answer(chosen(&world, &query).map(|account| {
        let token = format!("seed-{}", dice::opaque(&mut world.loose_dice(), 24));
        lock(&world.jumper.desk).seed(account.index, &token);
        json!({"refresh_token": token})
    }))
}

async fn templates(State(world): Shared, Query(query): Parameters) -> Response {
    answer(chosen(&world, &query).map(|account| json!(account.templates().templates)))
}

async fn put_templates(State(world): Shared, Query(query): Parameters, body: Bytes) -> Response {
    answer(chosen(&world, &query).and_then(|account| {
        account.put_templates(parse::<Vec<Template>>(&body)?);
        Ok(json!(account.templates().templates))
    }))
}

async fn subscriptions(State(world): Shared, Query(query): Parameters) -> Response {
    answer(chosen(&world, &query).map(|account| json!(*lock(&account.subscriptions))))
}

async fn put_subscriptions(
    State(world): Shared,
    Query(query): Parameters,
    body: Bytes,
) -> Response {
    answer(chosen(&world, &query).and_then(|account| {
        let entries = parse::<Vec<Subscription>>(&body)?;
        let shown = json!(entries);
        *lock(&account.subscriptions) = entries;
        Ok(shown)
    }))
}

async fn merchants(State(world): Shared) -> Response {
    answer(world.jumper.accounts(None).map(|accounts| {
        let ids: Vec<_> = accounts
            .iter()
            .map(|one| &one.merchant.merchant_id)
            .collect();
        json!({"merchants": ids})
    }))
}

async fn add_merchant(State(world): Shared, body: Bytes) -> Response {
    answer(parse::<Merchant>(&body).and_then(|merchant| {
        let account = world.jumper.add(merchant)?;
        Ok(json!({"merchant_id": account.merchant.merchant_id}))
    }))
}

async fn raw_event(state: Shared, query: Parameters, body: Bytes) -> Response {
    spoken(state, query, body, speak::raw).await
}

async fn status(state: Shared, query: Parameters, body: Bytes) -> Response {
    spoken(state, query, body, speak::status).await
}

async fn inbound(state: Shared, query: Parameters, body: Bytes) -> Response {
    spoken(state, query, body, speak::reply).await
}

/// Makes an utterance of the body, posts it now and answers how it was taken.
async fn spoken<T: DeserializeOwned>(
    State(world): Shared,
    Query(query): Parameters,
    body: Bytes,
    make: impl FnOnce(&World, &Arc<Account>, T) -> Result<speak::Utterance, String>,
) -> Response {
    let made = parse::<T>(&body).and_then(|wish| {
        // Tests of a single merchant need not name it; with several, the message tells whose it is.
        let account = match query.contains_key("merchant") {
            true => chosen(&world, &query)?,
            false => speak::whose(&world, &body)?,
        };
        make(&world, &account, wish).map(|utterance| (account, utterance))
    });
    match made {
        Ok((account, utterance)) => {
            reply::json(200, json!(speak::say(&world, &account, utterance).await))
        }
        Err(reason) => reply::bad(400, reason),
    }
}

async fn reset(State(world): Shared) -> Json<Value> {
    world.jumper.reset();
    *lock(&world.moengage) = Receiver::default();
    lock(&world.rules).clear();
    Json(json!({"reset": true}))
}
