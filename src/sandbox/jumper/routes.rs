//! Jumper's routes, and the work of those that are neither OAuth nor sending: templates, social channels,
//! subscriptions (contracts/jumper.md 4.2 to 4.6).

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{Query, State},
    http::HeaderMap,
    response::Response,
    routing::{get, post},
};
use serde_json::{Value, json};

use super::{
    account::{Account, Subscription},
    form::Fields,
    gate,
    modes::{SubscriptionMember, SubscriptionMode},
    oauth, send, template,
};
use crate::sandbox::{
    knobs::Knobs,
    lock::lock,
    outcome::ListMode,
    reply,
    route::{Asked, Route},
    world::World,
};

type Parameters = Query<HashMap<String, String>>;

/// The route of a send.
pub(in crate::sandbox) const SEND: &str = "/chat/send-message";

/// All of Jumper's routes.
pub(in crate::sandbox) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/oauth/refresh", post(oauth::refresh))
        .route("/oauth/token", post(oauth::token))
        .route(SEND, post(send::message))
        .route("/chat/fetch-whatsapp-templates", get(list))
        .route("/chat/get-whatsapp-template", get(detail))
        .route("/chat/get-social-channels", get(social))
        .route("/app/add-subscription", post(subscribe))
        .route("/app/list-subscription", get(subscriptions))
}

/// `GET /chat/fetch-whatsapp-templates`; the parameter that carries a cursor back is unknown, so both likely
/// names are read.
async fn list(
    State(world): State<Arc<World>>,
    Query(query): Parameters,
    headers: HeaderMap,
) -> Response {
    let call = match gate::enter(&world, &headers, &Asked::of(Route::List)).await {
        Ok(call) => call,
        Err(answer) => return answer,
    };
    let set = call.account.templates();
    let numbers = call.knobs.ids_as_numbers;
    let mode = call.list_mode();
    gate::carry(&world, call, async {
        let limit = query.get("limit").map(String::as_str);
        let cursor = query
            .get("cursor")
            .or_else(|| query.get("next"))
            .map(String::as_str);
        reply::json(200, set.page(limit, cursor, mode, numbers))
    })
    .await
}

/// `GET /chat/get-whatsapp-template`.
async fn detail(
    State(world): State<Arc<World>>,
    Query(query): Parameters,
    headers: HeaderMap,
) -> Response {
    let id = query.get("id").map_or("", String::as_str);
    let asked = Asked {
        variant: id,
        ..Asked::of(Route::Detail)
    };
    let call = match gate::enter(&world, &headers, &asked).await {
        Ok(call) => call,
        Err(answer) => return answer,
    };
    let set = call.account.templates();
    let numbers = call.knobs.ids_as_numbers;
    gate::carry(&world, call, async {
        match set.find(id) {
            Some((template, variant)) => {
                reply::json(200, template::detail(template, variant, numbers))
            }
            None => send::unknown_template(&world, id),
        }
    })
    .await
}

/// `GET /chat/get-social-channels`: the page id at top level, as two live clients read it.
async fn social(State(world): State<Arc<World>>, headers: HeaderMap) -> Response {
    let call = match gate::enter(&world, &headers, &Asked::of(Route::Social)).await {
        Ok(call) => call,
        Err(answer) => return answer,
    };
    let page = (5_200_000_000_000_000 + call.account.index).to_string();
    let numbers = call.knobs.ids_as_numbers;
    gate::carry(&world, call, async {
        let id = template::id(&page, numbers);
        reply::json(
            200,
            json!({"success": true, "errorMessage": null, "whatsapp": {"id": id}}),
        )
    })
    .await
}

/// `POST /app/add-subscription`: one field `data`, the JSON text of an array.
async fn subscribe(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    let call = match gate::enter(&world, &headers, &Asked::of(Route::Subscribe)).await {
        Ok(call) => call,
        Err(answer) => return answer,
    };
    let account = Arc::clone(&call.account);
    let knobs = Arc::clone(&call.knobs);
    gate::carry(&world, call, async {
        let fields = Fields::read(&headers, &body);
        let data = fields.get("data").unwrap_or_default();
        let Ok(entries) = serde_json::from_str::<Vec<Subscription>>(data) else {
            let body = json!({"success": false, "errorMessage": "data is not a list of webhooks"});
            return reply::json(200, body);
        };
        put(&account, entries, &knobs);
        let data = shown(&account, knobs.subscription_member);
        reply::json(
            200,
            json!({"success": true, "errorMessage": null, "data": data}),
        )
    })
    .await
}

/// Stores entries. One that was seeded as somebody else's stays undelivered when the client sends it back.
fn put(account: &Account, entries: Vec<Subscription>, knobs: &Knobs) {
    let mut subscriptions = lock(&account.subscriptions);
    let foreign: Vec<_> = subscriptions
        .iter()
        .filter(|one| !one.deliver)
        .map(|one| one.webhook.clone())
        .collect();
    if knobs.subscription_mode == SubscriptionMode::Replace {
        subscriptions.clear();
    }
    for mut entry in entries {
        entry.webhook = knobs.subscription_url.of(entry.webhook);
        entry.deliver = !foreign.contains(&entry.webhook);
        if !subscriptions.contains(&entry) {
            subscriptions.push(entry);
        }
    }
}

/// `GET /app/list-subscription`.
async fn subscriptions(State(world): State<Arc<World>>, headers: HeaderMap) -> Response {
    let call = match gate::enter(&world, &headers, &Asked::of(Route::ListSubscription)).await {
        Ok(call) => call,
        Err(answer) => return answer,
    };
    let mut data = shown(&call.account, call.knobs.subscription_member);
    match call.list_mode() {
        Some(ListMode::Empty) => data.clear(),
        Some(_) => data.truncate(data.len() / 2),
        None => {}
    }
    gate::carry(&world, call, async {
        reply::json(
            200,
            json!({"success": true, "errorMessage": null, "data": data}),
        )
    })
    .await
}

fn shown(account: &Account, member: SubscriptionMember) -> Vec<Value> {
    let entry = |one: &Subscription| match member {
        SubscriptionMember::Permission => {
            json!({"permission": one.permission, "webhook": one.webhook})
        }
        SubscriptionMember::SubscriptionType => {
            json!({"subscription_type": one.permission, "webhook": one.webhook})
        }
        SubscriptionMember::All => json!({
            "permission": one.permission,
            "subscription_type": one.permission,
            "webhook": one.webhook,
        }),
    };
    lock(&account.subscriptions).iter().map(entry).collect()
}

/// Any other path: the `/chat/` prefix is needed, for one (contracts/jumper.md 4.3).
pub(in crate::sandbox) async fn nowhere() -> Response {
    reply::json(404, json!({"success": false, "errorMessage": "Not found"}))
}
