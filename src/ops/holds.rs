//! What is held, and what an operator can do about it: release it, or let what waits there fail.

use super::problem::{Name, Problem};
use super::{AccountOps, OpsState, answer, back, view};
use crate::domain::circumstance::{Hold, Scope, Stage};
use crate::http::{self, Payload};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) async fn list(State(ops): State<OpsState>) -> Response {
    let all = ops.shared.accounts.iter().flat_map(|one| {
        let holds = one.account.holding.holds();
        holds.into_iter().map(|hold| shown(one, &hold))
    });
    let back = ops.shared.accounts.iter().filter_map(back::shown);
    let items: Vec<Value> = back.chain(all).collect();
    answer(&json!({ "items": items }))
}

fn shown(ops: &AccountOps, hold: &Hold) -> Value {
    let next = match &hold.stage {
        Stage::Held { next, .. } => view::time(*next),
        Stage::Probation { .. } => Value::Null,
    };
    json!({
        "id": hold.scope.to_string(),
        "scope": hold.scope.kind(),
        "name": hold.scope.name(),
        "code": hold.kind.as_str(),
        "words": hold.words,
        "since": view::time(hold.since),
        "next_trial": next,
        "waiting": ops.holds.waiting(&hold.scope),
    })
}

pub(super) async fn release(
    State(ops): State<OpsState>,
    Name(id): Name,
) -> Result<Response, Problem> {
    ops.change(|ops| release_one(ops, id)).await
}

async fn release_one(ops: OpsState, id: String) -> Result<Response, Problem> {
    if let Some(one) = back::account(&ops, &id)? {
        one.holds.open_store().await?;
        return Ok(released(&id));
    }
    let (one, scope) = ops.held(&id)?;
    one.holds.release_by_operator(&scope).await?;
    Ok(released(&id))
}

fn released(id: &str) -> Response {
    let body = json!({ "id": id, "released": true });
    http::json(StatusCode::ACCEPTED, body.to_string())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirmed {
    /// How many messages the operator has seen waiting.
    confirm: usize,
}

pub(super) async fn let_fail(
    State(ops): State<OpsState>,
    Name(id): Name,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    let confirmed: Confirmed = serde_json::from_slice(&body).map_err(|error| {
        Problem::bad_request(format!(
            "the body must be {{\"confirm\": N}}, N being \"waiting\" of GET /api/holds: {error}"
        ))
    })?;
    // It may be a long queue: nobody need wait for the end of it.
    if let Some(one) = back::account(&ops, &id)? {
        tokio::spawn(one.holds.fail_copy(confirmed.confirm)?);
    } else {
        let (one, scope) = ops.held(&id)?;
        tokio::spawn(one.holds.let_fail(&scope, confirmed.confirm)?);
    }
    tracing::info!(
        hold = id,
        messages = confirmed.confirm,
        event = "operator_fails_held",
        "an operator lets the held messages fail"
    );
    let body = json!({ "id": id, "failing": confirmed.confirm });
    Ok(http::json(StatusCode::ACCEPTED, body.to_string()))
}

impl OpsState {
    /// The hold of this id, with its account.
    fn held(&self, id: &str) -> Result<(&AccountOps, Scope), Problem> {
        let found = self.shared.accounts.iter().find_map(|one| {
            let holds = one.account.holding.holds().into_iter();
            let mut of_id = holds.filter(|hold| hold.scope.to_string() == id);
            of_id.next().map(|hold| (one, hold.scope))
        });
        found.ok_or_else(|| Problem::not_found(format!("nothing is held as {id:?} now")))
    }
}
