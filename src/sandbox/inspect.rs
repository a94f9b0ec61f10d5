//! The reading half of the control API: counts, sends, events, callbacks, posts, arrivals. Changes nothing.

use std::{collections::BTreeMap, sync::Arc, sync::atomic::Ordering};

use axum::{
    Router,
    extract::{Query, State},
    response::Response,
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    counts::Counts,
    jumper::{account::Account, limiter::Arrivals},
    lock::lock,
    notation::digits,
    reply,
    world::World,
};

/// Filters of the reading routes; each uses those it names.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Filter {
    merchant: Option<String>,
    limit: Option<usize>,
    to: Option<String>,
    message_id: Option<String>,
    msg_id: Option<String>,
    endpoint: Option<String>,
}

impl Filter {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(1_000)
    }
}

type Shared = State<Arc<World>>;

/// The routes, below `/_sandbox`.
pub(super) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/counts", get(counts))
        .route("/rate", get(rate))
        .route("/sends", get(sends))
        .route("/sends/by-recipient", get(by_recipient))
        .route("/sends/spoiled", get(spoiled))
        .route("/events", get(events))
        .route("/callbacks", get(callbacks))
        .route("/posts", get(posts))
        .route("/idle", get(idle))
}

fn answer(result: Result<Value, String>) -> Response {
    match result {
        Ok(body) => reply::json(200, body),
        Err(reason) => reply::bad(404, reason),
    }
}

async fn counts(State(world): Shared, Query(filter): Query<Filter>) -> Response {
    let accounts = world.jumper.accounts(filter.merchant.as_deref());
    let whole = filter.merchant.is_none();
    answer(accounts.map(|accounts| json!(Counts::of(&world, &accounts, whole))))
}

async fn rate(State(world): Shared, Query(filter): Query<Filter>) -> Response {
    let Some(merchant) = &filter.merchant else {
        return reply::json(200, arrivals(&lock(&world.jumper.door).arrivals));
    };
    let accounts = world.jumper.accounts(Some(merchant));
    answer(accounts.map(|found| {
        let mut all = found
            .iter()
            .map(|account| arrivals(&lock(&account.door).arrivals));
        all.next_back().unwrap_or_default()
    }))
}

fn arrivals(arrivals: &Arrivals) -> Value {
    json!({
        "max_in_any_second": arrivals.most,
        "calls": arrivals.calls,
        "limited": arrivals.limited,
        "first_ms": arrivals.first_ms,
        "last_ms": arrivals.last_ms,
    })
}

async fn sends(State(world): Shared, Query(filter): Query<Filter>) -> Response {
    let to = filter.to.as_deref().map(digits);
    let list = |account: &Arc<Account>| {
        let found = account.ledger().sends(to.as_deref(), filter.limit());
        found
            .into_iter()
            .map(|send| {
                let params = send
                    .params
                    .as_deref()
                    .and_then(|text| serde_json::from_str(text).ok());
                let mut shown = json!(send);
                shown["message_params"] = params.unwrap_or(Value::Null);
                shown["merchant"] = account.merchant.merchant_id.clone().into();
                shown
            })
            .collect::<Vec<_>>()
    };
    let accounts = world.jumper.accounts(filter.merchant.as_deref());
    answer(accounts.map(|found| found.iter().flat_map(list).collect()))
}

async fn by_recipient(State(world): Shared, Query(filter): Query<Filter>) -> Response {
    let accounts = world.jumper.accounts(filter.merchant.as_deref());
    answer(accounts.map(|accounts| {
        let mut sum = BTreeMap::<String, u64>::new();
        for account in accounts {
            for (to, sends) in account.ledger().by_recipient() {
                *sum.entry(to.to_owned()).or_default() += sends;
            }
        }
        json!(sum)
    }))
}

async fn spoiled(State(world): Shared, Query(filter): Query<Filter>) -> Response {
    let accounts = world.jumper.accounts(filter.merchant.as_deref());
    let list = |account: &Arc<Account>| account.ledger().spoiled().cloned().collect::<Vec<_>>();
    answer(accounts.map(|found| json!(found.iter().flat_map(list).collect::<Vec<_>>())))
}

async fn events(State(world): Shared, Query(filter): Query<Filter>) -> Response {
    let accounts = world.jumper.accounts(filter.merchant.as_deref());
    let list = |account: &Arc<Account>| {
        account
            .ledger()
            .events(filter.message_id.as_deref(), filter.limit())
    };
    answer(accounts.map(|found| json!(found.iter().flat_map(list).collect::<Vec<_>>())))
}

async fn callbacks(State(world): Shared, Query(filter): Query<Filter>) -> Response {
    let receiver = lock(&world.moengage);
    let found = receiver.find(
        filter.msg_id.as_deref(),
        filter.endpoint.as_deref(),
        filter.limit(),
    );
    drop(receiver);
    reply::json(200, json!(found))
}

/// The newest callbacks as they came, also those that a rule answered.
async fn posts(State(world): Shared, Query(filter): Query<Filter>) -> Response {
    let posts = lock(&world.moengage).posts(filter.endpoint.as_deref(), filter.limit());
    reply::json(200, json!(posts))
}

async fn idle(State(world): Shared) -> Response {
    let pending = pending(&world);
    reply::json(200, json!({"idle": pending == 0, "pending": pending}))
}

/// Events planned and not yet done, of all merchants.
pub(super) fn pending(world: &World) -> usize {
    let accounts = world.jumper.accounts(None).unwrap_or_default();
    accounts
        .iter()
        .map(|account| account.pending.load(Ordering::Relaxed))
        .sum()
}
