//! A channel's webhook: the address to enter at the provider, and another secret for it.

use super::problem::{Name, Problem};
use super::{OpsState, answer};
use crate::domain::access::Open;
use crate::providers::WebhookAddress;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

/// Tells the secret: it is here to be entered at the provider.
pub(super) async fn show(State(ops): State<OpsState>, Name(id): Name) -> Result<Response, Problem> {
    Ok(answer(&shown(&id, webhook(&ops, &id)?)))
}

pub(super) async fn rotate(
    State(ops): State<OpsState>,
    Name(id): Name,
) -> Result<Response, Problem> {
    ops.change(|ops| rotate_one(ops, id)).await
}

async fn rotate_one(ops: OpsState, id: String) -> Result<Response, Problem> {
    let webhook = webhook(&ops, &id)?;
    if !webhook.rotate().await? {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "the gateway makes no secret for this channel. With WEBHOOK_OPEN there is none. Else put the new one \
             first into WEBHOOK_SECRET, then a comma and the old one",
        ));
    }
    tracing::info!(
        channel = id,
        event = "operator_changed_webhook_secret",
        "an operator changed the webhook secret; the gateway serves the one before until Jumper uses the new one"
    );
    Ok(answer(&shown(&id, webhook)))
}

fn webhook<'a>(ops: &'a OpsState, id: &str) -> Result<&'a WebhookAddress, Problem> {
    let missing = || Problem::not_found(format!("there is no channel {id:?}"));
    ops.shared.webhooks.get(id).ok_or_else(missing)
}

fn shown(id: &str, webhook: &WebhookAddress) -> Value {
    let secret = webhook.secret();
    let secret = secret.as_ref().map(ExposeSecret::expose_secret);
    let stem = format!("/channels/{id}/callback");
    json!({
        "channel": id,
        "path": secret.map_or(stem.clone(), |secret| format!("{stem}/{secret}")),
        "secret": secret,
        "made_by_gateway": webhook.is_made(),
        "open": open(webhook),
    })
}

/// Whether posts without a secret are taken, in a word.
pub(super) fn open(webhook: &WebhookAddress) -> &'static str {
    match webhook.is_open() {
        Open::No => "no",
        Open::ForNow => "until the address with the secret is confirmed",
        Open::Wanted => "yes (WEBHOOK_OPEN)",
    }
}
