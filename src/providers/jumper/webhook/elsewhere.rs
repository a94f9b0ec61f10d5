//! The webhook at a path of the operator's own: whatever path `SUBSCRIBED_CALLBACK_URL` names is served,
//! letter by letter, since Jumper is told it (cases R-31).

use super::receive::{Receiver, turned_away};
use super::routes::{KeyQuery, probe};
use crate::http::no_such_route;
use axum::extract::{Query, Request, State};
use axum::http::Uri;
use axum::response::Response;
use axum::routing::{MethodRouter, any};

/// Answers every path that is no route.
pub fn routes(receiver: Receiver) -> MethodRouter {
    any(no_such).get(look).post(take).with_state(receiver)
}

async fn no_such() -> Response {
    no_such_route()
}

async fn take(State(to): State<Receiver>, key: KeyQuery, request: Request) -> Response {
    let Some((channel, secret)) = to.named_by(request.uri().path()) else {
        return no_such_route();
    };
    let key = key.ok().and_then(|Query(query)| query.key);
    let entered = to.open(channel, secret.or(key).as_deref()).await;
    to.receive(entered, request).await
}

/// With a secret it tells whether events would be taken here, so that `gateway check` can ask.
async fn look(State(to): State<Receiver>, uri: Uri) -> Response {
    match to.named_by(uri.path()) {
        None => no_such_route(),
        Some((_, None)) => probe().await,
        Some((channel, Some(secret))) => match to.open(channel, Some(&secret)).await {
            Ok(_) => probe().await,
            Err(reason) => turned_away(reason),
        },
    }
}
