//! Where Jumper posts: the webhook's routes, and what each presents.

use super::receive::{Receiver, turned_away};
use crate::http::json;
use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Key {
    pub(super) key: Option<String>,
}

pub(super) type KeyQuery = Result<Query<Key>, QueryRejection>;

/// Where Jumper posts without a channel and without a secret: the old connector's addresses.
const PLAIN: [&str; 2] = ["/jumper_callback", "/jumper_callback_2"];
/// The same with a secret.
const SECRET: [&str; 2] = ["/jumper_callback/{secret}", "/jumper_callback_2/{secret}"];
const CHANNEL: &str = "/channels/{id}/callback";
const CHANNEL_SECRET: &str = "/channels/{id}/callback/{secret}";

/// The paths of [`routes`].
pub fn paths() -> Vec<&'static str> {
    [&PLAIN[..], &SECRET, &[CHANNEL, CHANNEL_SECRET]].concat()
}

/// The routes that Jumper posts to. `GET` answers for people who try the URL in a browser.
pub fn routes(receiver: Receiver) -> Router {
    let mut router = Router::new();
    for path in PLAIN {
        router = router.route(path, get(probe).post(plain));
    }
    for path in SECRET {
        router = router.route(path, get(probe_secret).post(with_secret));
    }
    router
        .route(CHANNEL, get(probe).post(channel_plain))
        .route(CHANNEL_SECRET, get(probe_channel).post(channel_with_secret))
        .with_state(receiver)
}

pub(super) async fn probe() -> Response {
    json(StatusCode::OK, r#"{"status":"success"}"#)
}

/// Tells whether events would be taken here, so that `gateway check` can ask.
async fn probe_secret(State(to): State<Receiver>, secret: Part<String>) -> Response {
    probe_door(&to, to.first(), &decoded(secret)).await
}

async fn probe_channel(State(to): State<Receiver>, parts: Part<(String, String)>) -> Response {
    let (id, secret) = decoded(parts);
    probe_door(&to, &id, &secret).await
}

async fn probe_door(to: &Receiver, channel: &str, secret: &str) -> Response {
    match to.open(channel, Some(secret)).await {
        Ok(_) => probe().await,
        Err(reason) => turned_away(reason),
    }
}

async fn plain(State(to): State<Receiver>, key: KeyQuery, request: Request) -> Response {
    let key = key.ok().and_then(|Query(query)| query.key);
    let entered = to.open(to.first(), key.as_deref()).await;
    to.receive(entered, request).await
}

async fn with_secret(
    State(to): State<Receiver>,
    secret: Part<String>,
    request: Request,
) -> Response {
    let secret = decoded(secret);
    let entered = to.open(to.first(), Some(&secret)).await;
    to.receive(entered, request).await
}

async fn channel_plain(
    State(to): State<Receiver>,
    id: Part<String>,
    key: KeyQuery,
    request: Request,
) -> Response {
    let key = key.ok().and_then(|Query(query)| query.key);
    let entered = to.open(&decoded(id), key.as_deref()).await;
    to.receive(entered, request).await
}

async fn channel_with_secret(
    State(to): State<Receiver>,
    parts: Part<(String, String)>,
    request: Request,
) -> Response {
    let (id, secret) = decoded(parts);
    let entered = to.open(&id, Some(&secret)).await;
    to.receive(entered, request).await
}

/// Parts of the path; bytes that are no text must get the answer of any wrong secret.
type Part<T> = Result<Path<T>, PathRejection>;

/// What cannot be decoded is empty, which opens nothing.
fn decoded<T: Default>(part: Part<T>) -> T {
    part.map_or_else(|_| T::default(), |Path(part)| part)
}
