//! The ledger, channels, accounts: look, pause, resume, renew tokens.

use super::problem::{Name, Problem};
use super::why::Site;
use super::{OpsState, answer, view};
use crate::accounts::save_pause;
use crate::http::Payload;
use axum::extract::State;
use axum::response::Response;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) async fn ledger(State(ops): State<OpsState>) -> Result<Response, Problem> {
    // What other processes did shows too.
    ops.shared.outbox.store.look().await?;
    let mut ledger = view::ledger(&ops.shared.channels, &ops.shared.outbox);
    // Counted from the rows, to compare with the counters while nothing moves.
    let [queued, in_flight, unknown] = ops.shared.outbox.store.count_open().await?;
    ledger["counted"] = json!({ "queued": queued, "in_flight": in_flight, "unknown": unknown });
    Ok(answer(&ledger))
}

pub(super) async fn channels(State(ops): State<OpsState>) -> Response {
    let site = Site::read(&ops).await;
    answer(&json!({ "channels": ops.channels(&site) }))
}

pub(super) async fn accounts(State(ops): State<OpsState>) -> Response {
    let site = Site::read(&ops).await;
    let all = ops.shared.accounts.iter();
    let all: Vec<Value> = all.map(|one| view::account(one, &site)).collect();
    answer(&json!({ "accounts": all }))
}

pub(super) async fn pause(
    State(ops): State<OpsState>,
    Name(id): Name,
) -> Result<Response, Problem> {
    ops.change(|ops| set_paused(ops, id, true)).await
}

pub(super) async fn resume(
    State(ops): State<OpsState>,
    Name(id): Name,
) -> Result<Response, Problem> {
    ops.change(|ops| set_paused(ops, id, false)).await
}

async fn set_paused(ops: OpsState, id: String, paused: bool) -> Result<Response, Problem> {
    let missing = || Problem::not_found(format!("there is no channel {id:?}"));
    let channel = ops.shared.channels.get(&id).ok_or_else(missing)?;
    // Stored first: a restart must not undo what was answered.
    save_pause(&ops.shared.outbox, channel, paused).await?;
    if !paused {
        channel.account.limiter.end_pause();
    }
    channel.set_paused(paused);
    tracing::info!(
        channel = id,
        paused,
        event = "operator_paused_or_resumed",
        "an operator changed the channel"
    );
    let site = Site::read(&ops).await;
    Ok(answer(&view::channel(channel, &ops, &site)))
}

pub(super) async fn refresh_token(
    State(ops): State<OpsState>,
    Name(id): Name,
) -> Result<Response, Problem> {
    let account = ops.account(&id)?;
    account.provider.refresh_token_now().await?;
    tracing::info!(
        account = id,
        event = "operator_renewed_tokens",
        "an operator renewed the tokens"
    );
    Ok(answer(&view::token(&account.provider.token_state())))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seed {
    refresh_token: String,
}

pub(super) async fn seed_token(
    State(ops): State<OpsState>,
    Name(id): Name,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    let account = ops.account(&id)?;
    // The error of the parser could quote the body, which is a secret.
    let wanted = || Problem::bad_request("the body must be {\"refresh_token\": \"...\"}");
    let seed: Seed = serde_json::from_slice(&body).map_err(|_| wanted())?;
    if seed.refresh_token.trim().is_empty() {
        return Err(wanted());
    }
    account
        .provider
        .new_seed(SecretString::from(seed.refresh_token))
        .await?;
    tracing::info!(
        account = id,
        event = "operator_put_seed",
        "an operator put in a new refresh token"
    );
    Ok(answer(&view::token(&account.provider.token_state())))
}
