//! The rate of an account, set at run time.

use super::problem::{Name, Problem};
use super::why::Site;
use super::{OpsState, answer, view};
use crate::accounts::{LEAST_RATE, MOST_RATE, save_rate};
use crate::http::Payload;
use crate::limit::Rate;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// A number, or `"off"`.
    per_second: Option<Value>,
    concurrency: Option<usize>,
}

pub(super) async fn set(
    State(ops): State<OpsState>,
    Name(id): Name,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    let wish: Wish = serde_json::from_slice(&body).map_err(|error| {
        Problem::bad_request(format!(
            "the body must be {{\"per_second\": 10 or \"off\", \"concurrency\": 10}}: {error}"
        ))
    })?;
    ops.change(|ops| set_to(ops, id, wish)).await
}

async fn set_to(ops: OpsState, id: String, wish: Wish) -> Result<Response, Problem> {
    let account = ops.account(&id)?;
    let rate = wished(&wish, account.account.limiter.now().set)?;
    save_rate(&ops.shared.outbox, &account.account.id, Some(rate)).await?;
    account.account.limiter.set(rate);
    account.account.work.notify_one();
    tracing::info!(account = id, per_second = ?rate.per_second, concurrency = rate.concurrency,
        event = "operator_set_rate", "an operator set the rate");
    Ok(answer(&view::account(account, &Site::read(&ops).await)))
}

pub(super) async fn reset(
    State(ops): State<OpsState>,
    Name(id): Name,
) -> Result<Response, Problem> {
    ops.change(|ops| set_back(ops, id)).await
}

async fn set_back(ops: OpsState, id: String) -> Result<Response, Problem> {
    let account = ops.account(&id)?;
    save_rate(&ops.shared.outbox, &account.account.id, None).await?;
    account.account.limiter.set(account.configured);
    account.account.work.notify_one();
    tracing::info!(
        account = id,
        event = "operator_reset_rate",
        "an operator returned to the configured rate"
    );
    Ok(answer(&view::account(account, &Site::read(&ops).await)))
}

fn wished(wish: &Wish, now: Rate) -> Result<Rate, Problem> {
    let per_second = match &wish.per_second {
        None => now.per_second,
        Some(Value::String(word)) if word == "off" => None,
        Some(Value::Number(number)) => match number.as_f64() {
            Some(rate) if (LEAST_RATE..=MOST_RATE).contains(&rate) => Some(rate),
            _ => {
                return Err(Problem::bad_request(
                    "per_second must be between 0.01 and 100000",
                ));
            }
        },
        Some(_) => {
            return Err(Problem::bad_request(
                "per_second must be a number or \"off\"",
            ));
        }
    };
    let concurrency = wish.concurrency.unwrap_or(now.concurrency);
    if concurrency == 0 || concurrency as f64 > MOST_RATE {
        return Err(Problem::bad_request(
            "concurrency must be between 1 and 100000",
        ));
    }
    Ok(Rate {
        per_second,
        concurrency,
    })
}
