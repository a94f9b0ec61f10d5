//! Jumper's OAuth routes: refresh with rotation, and the code exchange by symmetry (contracts/jumper.md 2.2,
//! 2.3, 7 point 1). Any code is accepted; the browser's login page is not faked.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, header},
    response::Response,
};
use serde_json::json;
use tokio::time::sleep;

use super::{
    account::Account,
    form::Fields,
    gate,
    token::{Life, UNKNOWN_REFRESH, basic},
};
use crate::sandbox::{
    clock::now_ms,
    lock::lock,
    outcome::Outcome,
    reply,
    route::{Asked, Route},
    world::World,
};

/// `POST /oauth/refresh`.
pub(super) async fn refresh(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let fields = Fields::read(&headers, &body);
    let token = fields.get("refresh_token").unwrap_or_default();
    let asked = Asked::of(Route::Refresh);
    // The credentials first: who has wrong ones hears nothing of the token.
    let Some(application) = application(&world, &headers) else {
        return gate::deny(&world, &asked, bad_client()).await;
    };
    let owner = lock(&world.jumper.desk).owner(token, now_ms());
    let account = match owner.map(|index| world.jumper.account(index)) {
        Ok(Some(account)) if is_app(&account, &headers) => account,
        Ok(_) => return gate::deny(&world, &asked, bad_client()).await,
        Err(UNKNOWN_REFRESH) => {
            application.ledger().tally.refreshes_unknown += 1;
            return gate::deny(&world, &asked, bad_grant()).await;
        }
        Err(denied) => {
            application.ledger().tally.refreshes_denied += 1;
            let denial = reply::fault(401, denied.0, denied.1);
            return gate::deny(&world, &asked, denial).await;
        }
    };
    if fields.get("grant_type") != Some("refresh_token") {
        return reply::fault(400, "oauth.v2.InvalidGrantType", "Unsupported grant type");
    }
    let _refreshing = account.refreshing.enter();
    let mut call = match gate::admit(&world, Arc::clone(&account), &asked) {
        Ok(call) => call,
        Err(limited) => return limited,
    };
    call.outcome.get_or_insert_with(|| {
        let lost = world.turn(|knobs| {
            let lost = knobs.refresh_lost_answer > 0;
            knobs.refresh_lost_answer = knobs.refresh_lost_answer.saturating_sub(1);
            lost
        });
        if lost {
            Outcome::AcceptThenClose
        } else {
            Outcome::Ok
        }
    });
    let pause = call.knobs.refresh_slow_ms;
    gate::carry(&world, call, async {
        sleep(Duration::from_millis(pause)).await;
        rotate(&world, &account, token)
    })
    .await
}

/// Checks once more and rotates in one step: of two refreshes with one token only the first succeeds.
fn rotate(world: &World, account: &Account, token: &str) -> Response {
    let knobs = world.knobs();
    let now_ms = now_ms();
    let mut desk = lock(&world.jumper.desk);
    if let Err(denied) = desk.owner(token, now_ms) {
        account.ledger().tally.refreshes_denied += 1;
        return reply::fault(401, denied.0, denied.1);
    }
    desk.retire(token, &knobs, now_ms);
    drop(desk);
    account.ledger().tally.refreshes += 1;
    pair(world, account, knobs.token_ttl_s)
}

/// `POST /oauth/token`: any non-empty code of a known merchant gives a pair.
pub(super) async fn token(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let fields = Fields::read(&headers, &body);
    let asked = Asked::of(Route::Token);
    let wanted = fields.get("merchant_id");
    let found = wanted.and_then(|id| world.jumper.accounts(Some(id)).ok()?.pop());
    let Some(account) = found.filter(|account| is_app(account, &headers)) else {
        return gate::deny(&world, &asked, bad_client()).await;
    };
    if fields.get("code").is_none() {
        return reply::fault(400, "oauth.v2.InvalidGrantType", "Required param : code");
    }
    let call = match gate::admit(&world, Arc::clone(&account), &asked) {
        Ok(call) => call,
        Err(limited) => return limited,
    };
    let ttl_s = call.knobs.token_ttl_s;
    gate::carry(&world, call, async { pair(&world, &account, ttl_s) }).await
}

fn pair(world: &World, account: &Account, ttl_s: u64) -> Response {
    let life = Life {
        now_ms: now_ms(),
        ttl_s,
    };
    let name = &account.merchant.merchant_id;
    let pair = lock(&world.jumper.desk).mint(account.index, name, world.seed, life);
    reply::json(
        200,
        json!({
            "access_token": pair.access,
            "refresh_token": pair.refresh,
            "expires_in": pair.expires_in,
            "token_type": "Bearer",
        }),
    )
}

fn bad_client() -> Response {
    reply::json(
        401,
        json!({"error": "invalid_client", "error_description": "Invalid client identifier"}),
    )
}

fn bad_grant() -> Response {
    reply::json(
        400,
        json!({"error": "invalid_grant", "error_description": "Unknown refresh token"}),
    )
}

fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    basic(headers.get(header::AUTHORIZATION)?.to_str().ok())
}

fn is_app(account: &Account, headers: &HeaderMap) -> bool {
    let merchant = &account.merchant;
    credentials(headers)
        .is_some_and(|(key, secret)| key == merchant.client_key && secret == merchant.client_secret)
}

/// The first merchant of the calling application.
fn application(world: &World, headers: &HeaderMap) -> Option<Arc<Account>> {
    let accounts = world.jumper.accounts(None).ok()?;
    accounts
        .into_iter()
        .find(|account| is_app(account, headers))
}
