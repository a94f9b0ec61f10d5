//! The pace of an account, set at run time. What is set is stored, and stays until it is reset.

use super::problem::{Name, Problem};
use super::why::Site;
use super::{OpsState, answer, view};
use crate::http::Payload;
use crate::limit::Pace;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Calls per second and at once beyond which a wish is taken for a mistake.
const MOST: f64 = 100_000.0;
/// Calls per second below which a wish is taken for a mistake, as in the configuration.
const LEAST: f64 = 0.01;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// A number, or `"off"`.
    per_second: Option<Value>,
    concurrency: Option<usize>,
}

/// A pace as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    per_second: Option<f64>,
    concurrency: usize,
}

/// The name under which an account's pace is stored.
fn setting(account: &str) -> String {
    format!("pace:{account}")
}

/// Reads the pace that an operator set earlier, if one is stored.
pub(crate) async fn stored(
    outbox: &crate::outbox::Outbox,
    account: &str,
) -> Result<Option<Pace>, crate::store::StoreError> {
    let text = outbox.store.load_setting(&setting(account)).await?;
    let stored = text.and_then(|text| serde_json::from_str::<Stored>(&text).ok());
    let stored = stored.filter(|pace| {
        pace.per_second
            .is_none_or(|rate| (LEAST..=MOST).contains(&rate))
            && pace.concurrency > 0
    });
    Ok(stored.map(|stored| Pace {
        per_second: stored.per_second,
        concurrency: stored.concurrency,
    }))
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
    let pace = wished(&wish, account.account.limiter.now().set)?;
    let stored = Stored {
        per_second: pace.per_second,
        concurrency: pace.concurrency,
    };
    let text =
        serde_json::to_string(&stored).map_err(|error| Problem::bad_request(error.to_string()))?;
    ops.shared
        .outbox
        .store
        .save_setting(&setting(&id), Some(text))
        .await?;
    account.account.limiter.set(pace);
    account.account.work.notify_one();
    tracing::info!(account = id, per_second = ?pace.per_second, concurrency = pace.concurrency,
        event = "operator_set_rate", "an operator set the pace");
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
    ops.shared
        .outbox
        .store
        .save_setting(&setting(&id), None)
        .await?;
    account.account.limiter.set(account.configured);
    account.account.work.notify_one();
    tracing::info!(
        account = id,
        event = "operator_reset_rate",
        "an operator returned to the configured pace"
    );
    Ok(answer(&view::account(account, &Site::read(&ops).await)))
}

fn wished(wish: &Wish, now: Pace) -> Result<Pace, Problem> {
    let per_second = match &wish.per_second {
        None => now.per_second,
        Some(Value::String(word)) if word == "off" => None,
        Some(Value::Number(number)) => match number.as_f64() {
            Some(rate) if (LEAST..=MOST).contains(&rate) => Some(rate),
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
    if concurrency == 0 || concurrency as f64 > MOST {
        return Err(Problem::bad_request(
            "concurrency must be between 1 and 100000",
        ));
    }
    Ok(Pace {
        per_second,
        concurrency,
    })
}
