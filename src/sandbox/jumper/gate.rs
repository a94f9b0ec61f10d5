//! What every Jumper route does before and after its own work: who calls, is it within the rate, what do the
//! rules say, how long the answer takes. A limited or refused call has no effect.

use std::{sync::Arc, time::Duration};

use axum::{
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use tokio::time::sleep;

use super::{
    account::{Account, Door, Inside},
    modes::RateMode,
};
use crate::sandbox::{
    clock::now_ms,
    dice,
    knobs::Knobs,
    lock::lock,
    outcome::{ListMode, Outcome},
    reply,
    route::{Asked, Route},
    world::World,
};

/// A call let in.
pub(super) struct Call {
    pub(super) account: Arc<Account>,
    pub(super) knobs: Arc<Knobs>,
    /// What becomes of it, if a rule or the dice say so.
    pub(super) outcome: Option<Outcome>,
    _inside: Inside,
}

impl Call {
    /// What a rule makes of the list that is asked for.
    pub(super) fn list_mode(&self) -> Option<ListMode> {
        match self.outcome {
            Some(Outcome::List(mode)) => Some(mode),
            _ => None,
        }
    }
}

/// Lets a call with a bearer token in, or says why not.
pub(super) async fn enter(
    world: &World,
    headers: &HeaderMap,
    asked: &Asked<'_>,
) -> Result<Call, Response> {
    let presented = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let found = lock(&world.jumper.desk).bearer(presented, now_ms());
    match found.map(|index| world.jumper.account(index)) {
        Ok(Some(account)) => admit(world, account, asked),
        Ok(None) => Err(reply::bad(500, "the merchant is gone")),
        Err(denied) => {
            *lock(&world.jumper.door)
                .calls
                .entry("unauthorized")
                .or_default() += 1;
            Err(deny(world, asked, reply::fault(401, denied.0, denied.1)).await)
        }
    }
}

/// The answer to a caller who is not let in: a rule may know better, as whatever stands before the real one.
pub(super) async fn deny(world: &World, asked: &Asked<'_>, denial: Response) -> Response {
    let outcome = world.ruled(asked, None).unwrap_or(Outcome::Ok);
    match outcome.before().await {
        Some(early) => early,
        None => outcome.after(denial).await,
    }
}

/// Counts a known merchant's call and holds it against the rate.
#[expect(clippy::result_large_err, reason = "the error is the answer to write")]
pub(super) fn admit(
    world: &World,
    account: Arc<Account>,
    asked: &Asked<'_>,
) -> Result<Call, Response> {
    let route = asked.route;
    let knobs = world.knobs();
    let inside = account.in_flight.enter();
    let paced = knobs.rate_counts_refresh || !matches!(route, Route::Refresh | Route::Token);
    let now = world.elapsed_ns();
    let allowed = {
        let mut door = lock(&account.door);
        *door.calls.entry(route.name()).or_default() += 1;
        let allowed = !paced || door.limiter.allow(&knobs, now);
        note(&mut door, paced, allowed, now);
        allowed
    };
    note(&mut lock(&world.jumper.door), paced, allowed, now);
    match allowed {
        true => Ok(Call {
            outcome: world.ruled(asked, Some(&account)),
            account,
            knobs,
            _inside: inside,
        }),
        false => Err(limited(&knobs)),
    }
}

fn note(door: &mut Door, paced: bool, allowed: bool, now: u64) {
    if paced {
        door.arrivals.note(now, now_ms());
    }
    door.arrivals.limited += u64::from(!allowed);
}

fn limited(knobs: &Knobs) -> Response {
    let (errorcode, text) = match knobs.rate_mode {
        RateMode::Bucket => (
            "policies.ratelimit.QuotaViolation",
            "Rate limit quota violation",
        ),
        RateMode::Spaced => (
            "policies.ratelimit.SpikeArrestViolation",
            "Spike arrest violation",
        ),
    };
    let mut response = reply::fault(knobs.rate_status, errorcode, text);
    if let Some(pause) = knobs.retry_after_s {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(pause));
    }
    response
}

/// Carries a call through its outcome: the effect happens only for outcomes that accept, then the answer is
/// delayed and spoiled as wanted.
pub(super) async fn carry(
    world: &World,
    mut call: Call,
    effect: impl Future<Output = Response>,
) -> Response {
    let outcome = call.outcome.take().unwrap_or(Outcome::Ok);
    if outcome != Outcome::Ok {
        *call
            .account
            .ledger()
            .tally
            .outcomes
            .entry(outcome.name())
            .or_default() += 1;
    }
    if let Some(early) = outcome.before().await {
        if matches!(outcome, Outcome::Refuse(..)) {
            call.account.ledger().tally.refused += 1;
        }
        return early;
    }
    let answer = effect.await;
    linger(world, &call.knobs).await;
    outcome.after(answer).await
}

/// Spends the answering time.
async fn linger(world: &World, knobs: &Knobs) {
    if knobs.latency_ms + knobs.latency_jitter_ms == 0 && knobs.slow_share <= 0.0 {
        return;
    }
    let mut rng = world.loose_dice();
    let slow = dice::chance(&mut rng, knobs.slow_share);
    let time = match slow {
        true => knobs.slow_ms,
        false => dice::around(&mut rng, knobs.latency_ms, knobs.latency_jitter_ms),
    };
    sleep(Duration::from_millis(time)).await;
}
