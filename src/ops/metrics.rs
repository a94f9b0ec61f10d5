//! `/metrics` for Prometheus: the counters of the program, and gauges read at the moment of asking.

use super::why::{self, AccountFacts, Code, Site};
use super::{AccountOps, OpsState, records};
use crate::accounts::Channel;
use crate::clock;
use crate::domain::UnixMs;
use crate::domain::access::TokenState;
use crate::domain::circumstance::Scope;
use crate::store::Ledger;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use metrics::{counter, gauge};

pub(super) async fn render(State(ops): State<OpsState>) -> Response {
    let site = Site::read(&ops).await;
    for channel in ops.shared.channels.iter() {
        let name = channel.id.as_str().to_owned();
        let ledger = ops.shared.outbox.store.ledger(&channel.id);
        let failing = !ops.shared.relayed.of(&channel.id).is_empty();
        gauge!("gateway_callbacks_failing", "channel" => name.clone())
            .set(f64::from(u8::from(failing)));
        read_channel(name, &ledger, channel);
    }
    for account in &ops.shared.accounts {
        read_account(account, clock::now());
        read_blocked(account, &site);
    }
    read_archive(&ops).await;
    let writable = ops.shared.outbox.store.has_room().is_ok();
    gauge!("gateway_store_has_room").set(f64::from(u8::from(writable)));
    let text = ops
        .shared
        .metrics
        .as_ref()
        .map(|handle| handle.render())
        .unwrap_or_default();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// What waits in a channel that is paused or held is held, else queued (design.md G2).
fn read_channel(channel: String, ledger: &Ledger, of: &Channel) {
    let (queued, held) = if of.is_stopped() {
        (0, ledger.queued)
    } else {
        (ledger.queued, 0)
    };
    let states = [
        ("queued", queued),
        ("held", held),
        ("in_flight", ledger.attempting),
        ("unknown", ledger.unknown),
        ("accepted_by_provider", ledger.accepted_by_provider),
        ("failed", ledger.failed),
        ("lost", ledger.lost()),
        ("uncounted", ledger.uncounted.map_or(0, |off| off.messages)),
    ];
    for (state, n) in states {
        gauge!("gateway_messages", "channel" => channel.clone(), "state" => state).set(n as f64);
    }
    let callbacks = [
        ("waiting", ledger.callbacks_waiting),
        ("taken", ledger.callbacks_taken),
        ("dead_letter", ledger.dead_letters),
    ];
    for (state, n) in callbacks {
        gauge!("gateway_callbacks", "channel" => channel.clone(), "state" => state).set(n as f64);
    }
    let flag = |on: bool| f64::from(u8::from(on));
    let is_held = of.account.holding.is_held(&of.id);
    gauge!("gateway_channel_held", "channel" => channel.clone()).set(flag(is_held));
    gauge!("gateway_channel_paused", "channel" => channel).set(flag(of.is_paused()));
}

async fn read_archive(ops: &OpsState) {
    let Some(records) = &ops.shared.records else {
        return;
    };
    for account in ops.shared.accounts.iter().map(|one| &one.account.id) {
        let name = || account.as_str().to_owned();
        let failing = records.trouble(account).is_some();
        gauge!("gateway_datastore_failing", "account" => name()).set(f64::from(u8::from(failing)));
        if let Some(waiting) = records::waiting(ops, account).await {
            gauge!("gateway_datastore_waiting", "account" => name()).set(waiting as f64);
        }
    }
}

/// 1 for the reason why an account sends nothing or less than it is set to, 0 for all others.
fn read_blocked(ops: &AccountOps, site: &Site) {
    let reason = why::account(site, &AccountFacts::read(ops)).map(|reason| reason.code);
    for code in Code::OF_ACCOUNTS {
        let account = ops.account.id.as_str().to_owned();
        gauge!("gateway_blocked", "account" => account, "reason" => code.as_str())
            .set(f64::from(u8::from(reason == Some(code))));
    }
}

fn read_account(ops: &AccountOps, now: UnixMs) {
    let account = || ops.account.id.as_str().to_owned();
    let flag = |on: bool| f64::from(u8::from(on));
    let limit = ops.account.limiter.now();
    let scope = Scope::Account(ops.account.id.clone());
    let hold = ops.account.holding.hold(&scope);
    let held = ops.account.held().is_some()
        || ops.account.store_hold().is_some()
        || hold.is_some_and(|hold| hold.is_held());
    gauge!("gateway_account_held", "account" => account()).set(flag(held));
    gauge!("gateway_breaker_open", "account" => account()).set(flag(ops.breaker.is_open()));
    counter!("gateway_calls_started_total", "account" => account()).absolute(limit.started);
    gauge!("gateway_calls_in_flight", "account" => account()).set(limit.in_flight as f64);
    // 0 stands for no limit, and for no token that could end.
    let per_second = limit.effective.unwrap_or_default();
    gauge!("gateway_rate_per_second", "account" => account()).set(per_second);
    let pause = limit.pause.unwrap_or_default().as_secs_f64();
    gauge!("gateway_asked_to_wait_seconds", "account" => account()).set(pause);
    let left = match ops.provider.token_state() {
        TokenState::Fresh { expires_at, .. } => expires_at.since(now).as_secs_f64(),
        _ => 0.0,
    };
    gauge!("gateway_token_seconds_left", "account" => account()).set(left);
}
