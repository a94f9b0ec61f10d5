//! What works by itself: for each account, and for all of them.

use super::parts::{AccountParts, Parts};
use super::supervisor::Supervisor;
use crate::config::Config;
use crate::maintenance;
use crate::providers::Provider;

/// Starts what works by itself, until the supervisor stops it.
pub(super) fn start_work(config: &Config, parts: &Parts, supervisor: &Supervisor) {
    for one in &parts.accounts {
        start_account(config, parts, one, supervisor);
    }
    let stop = || supervisor.stop.child_token();
    for relay in parts.relays(config) {
        supervisor.spawn("relay", relay.run(stop()));
    }
    let keep = maintenance::Retention {
        messages: config.store.retention,
        events: config.store.event_retention,
    };
    let outbox = parts.outbox.clone();
    let (store, store_stop) = (outbox.store.clone(), stop());
    supervisor.spawn("store", async move {
        tokio::select! {
            () = store.ended() => {}
            () = store_stop.cancelled() => {}
        }
    });
    supervisor.spawn(
        "sweep",
        maintenance::sweep(outbox.clone(), parts.channels.clone(), stop()),
    );
    supervisor.spawn(
        "store watch",
        maintenance::watch_store(outbox.clone(), stop()),
    );
    supervisor.spawn("retention", maintenance::retain(outbox, keep, stop()));
    supervisor.spawn(
        "metrics",
        maintenance::tidy_metrics(parts.metrics.clone(), stop()),
    );
}

fn start_account(config: &Config, parts: &Parts, one: &AccountParts, supervisor: &Supervisor) {
    let stop = || supervisor.stop.child_token();
    let (worker, trials) = parts.worker(one);
    supervisor.spawn("worker", worker.run(stop()));
    supervisor.spawn("trials of holds", trials.run(stop()));
    supervisor.spawn("hold maintenance", one.holds.clone().keep(stop()));
    let (provider, token_stop) = (one.provider.clone(), stop());
    supervisor.spawn("token maintenance", async move {
        provider.keep_tokens(token_stop).await;
    });
    let (templates, template_stop) = (one.templates.clone(), stop());
    let every = one.configured.template_refresh;
    supervisor.spawn("template maintenance", async move {
        templates.keep_fresh(every, template_stop).await;
    });
    if let Some((writer, late)) = parts.record_writers(config, one) {
        supervisor.spawn("writer of records", writer.run(stop()));
        supervisor.spawn("search for late statuses", late.run(stop()));
    }
    let watched = maintenance::Watched {
        account: one.account.clone(),
        provider: one.provider.clone(),
    };
    supervisor.spawn(
        "pause watch",
        maintenance::tell_of_pauses(one.account.clone(), stop()),
    );
    let probe = config.policy.hold_probe;
    supervisor.spawn(
        "account watch",
        maintenance::watch_hold(watched, probe, stop()),
    );
    if let Some(wanted) = parts.subscription(config, one) {
        let (provider, subscription_stop) = (one.provider.clone(), stop());
        supervisor.spawn("subscription", async move {
            match &*provider {
                Provider::Jumper(account) => {
                    account.keep_subscribed(&wanted, subscription_stop).await;
                }
            }
        });
    }
}
