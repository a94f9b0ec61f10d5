//! What the clock brings about: holds that end, retention, test calls of held accounts, pauses that
//! the provider asks for. Each loop ends with `stop` and never touches a message by itself.

mod back;
mod hold;
mod mark;
mod sweep;

pub use back::follow_store;
pub use hold::watch_hold;
pub use mark::keep_marks;
pub use sweep::sweep;

use crate::accounts::{Account, Channel, Channels};
use crate::alert::{self, Code};
use crate::clock;
use crate::outbox::Outbox;
use crate::providers::Provider;
use crate::store::{Owner, StoreError};
use metrics::counter;
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How often a shared store is asked what others did.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often the leases of this process are renewed (design.md section 6).
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// How often a store that was in trouble is looked at.
const STORE_EVERY: Duration = Duration::from_secs(1);
/// How often holds of unknown outcomes are looked at.
const HOLDS_EVERY: Duration = Duration::from_secs(1);
/// How often retention runs, unless what is kept is kept shorter.
const RETENTION_EVERY: Duration = Duration::from_secs(3600);
/// How often samples of metrics are put together.
const METRICS_EVERY: Duration = Duration::from_secs(5);

/// Keeps the leases of this process, and looks at what other processes did: where there is news, it
/// wakes those who wait. Only for a store that other processes share, and while it is the owners'.
pub async fn keep_lease(
    outbox: Outbox,
    channels: Arc<Channels>,
    owners: Vec<Owner>,
    stop: CancellationToken,
) {
    let (mut renew_at, mut silent, mut missed) = (Instant::now(), false, false);
    while !stopped(&stop, LOOK_EVERY).await {
        let mut kept = Ok(());
        let open = |channel: &Arc<Channel>| outbox.store.is_open(&channel.account.id);
        // Until work is handed out again, all who share the store are asked often.
        if Instant::now() >= renew_at || !channels.iter().all(open) {
            kept = match outbox.store.stay(&owners).await {
                Ok(()) => {
                    outbox.is_ours();
                    outbox.store.renew().await
                }
                Err(error) => Err(error),
            };
            let next = if kept.is_ok() {
                RENEW_EVERY
            } else {
                LOOK_EVERY
            };
            renew_at = Instant::now() + next;
        }
        follow_store(&outbox, &channels);
        let looked = outbox.store.look().await;
        // One connection that broke says nothing of the store: the renewal is tried again at once.
        let missed_before = std::mem::replace(&mut missed, kept.is_err());
        let is_first =
            matches!(kept, Err(StoreError::Unavailable(_))) && looked.is_ok() && !missed_before;
        match kept.and(looked) {
            Ok(()) => {
                if std::mem::take(&mut silent) {
                    tracing::info!(
                        event = "store_works_again",
                        "the store answers again; work goes on"
                    );
                }
                let changed = outbox.store.changed_channels();
                for channel in changed.iter().filter_map(|id| channels.get(id.as_str())) {
                    outbox.wake(&channel.id);
                    channel.account.work.notify_one();
                }
            }
            Err(error) if !silent && !is_first => {
                silent = true;
                tracing::warn!(%error, event = "store_unusable",
                    "the store cannot be used: messages are refused with 503, \
                    nothing is sent or relayed; retrying several times per second");
                outbox.failed(&error);
            }
            Err(_) => {}
        }
    }
}

/// Until an operator has decided, looks whether they did. For a store that no other process changes.
pub async fn keep_hold(outbox: Outbox, channels: Arc<Channels>, stop: CancellationToken) {
    let is_held = || {
        let mut accounts = channels.accounts().into_iter();
        accounts.any(|account| !outbox.store.is_open(&account.id))
    };
    while is_held() {
        follow_store(&outbox, &channels);
        if stopped(&stop, LOOK_EVERY).await {
            return;
        }
    }
    follow_store(&outbox, &channels);
    stop.cancelled().await;
}

/// Finds out when a store that could not be used can be used again. Asks nothing while all is well.
pub async fn watch_store(outbox: Outbox, stop: CancellationToken) {
    while !stopped(&stop, STORE_EVERY).await {
        if outbox.is_in_doubt() {
            outbox.prove().await;
        }
    }
}

/// How long things are kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Settled messages.
    pub messages: Duration,
    /// Early statuses and events that are not relayed.
    pub events: Duration,
}

/// Removes what is settled and old.
pub async fn retain(outbox: Outbox, keep: Retention, stop: CancellationToken) {
    let every = RETENTION_EVERY
        .min(keep.messages.min(keep.events) / 4)
        .max(HOLDS_EVERY);
    // A message that is forgotten could be sent again, so no leap of the clock may bring that about.
    // A leap is one from the first reading on, so that is taken now.
    clock::surely();
    while !stopped(&stop, every).await {
        let now = clock::surely();
        match outbox
            .store
            .purge(now.minus(keep.messages), now.minus(keep.events))
            .await
        {
            Ok(purged) if purged == Default::default() => {}
            Ok(purged) => {
                counter!("gateway_expired_statuses_total").increment(purged.early_statuses as u64);
                tracing::info!(
                    messages = purged.messages,
                    early_statuses = purged.early_statuses,
                    others = purged.others,
                    event = "retention_done",
                    "removed what is settled and old"
                );
            }
            Err(error) => {
                tracing::warn!(
                    %error, event = "retention_failed",
                    "retention could not run; retrying later"
                )
            }
        }
    }
}

/// Renders nothing, but lets the recorder put its samples together: without it they would pile up
/// where nobody asks for `/metrics`.
pub async fn tidy_metrics(metrics: Option<PrometheusHandle>, stop: CancellationToken) {
    while !stopped(&stop, METRICS_EVERY).await {
        if let Some(metrics) = &metrics {
            metrics.run_upkeep();
        }
    }
}

/// An account and its provider.
#[derive(Debug)]
pub struct Watched {
    /// The account.
    pub account: Arc<Account>,
    /// Its provider.
    pub provider: Arc<Provider>,
}

/// Tells a person when the provider asks for a long pause.
pub async fn tell_of_pauses(account: Arc<Account>, stop: CancellationToken) {
    loop {
        let left = tokio::select! {
            left = account.limiter.long_pause() => left,
            () = stop.cancelled() => return,
        };
        let seconds = left.as_secs_f64().ceil();
        let id = &account.id;
        let text = format!(
            "The provider answered \"too many\" or \"unavailable\" and asked to wait {seconds} s. Nothing \
             is sent until then; messages wait in the queue. To send sooner: PUT \
             /api/accounts/{id}/rate or resume a channel of it, at the ops listener."
        );
        let subject = format!("account {id}");
        alert::raise(Code::ProviderPause, &subject, &text);
        // An operator may end it sooner.
        while account.limiter.now().pause.is_some() {
            if stopped(&stop, HOLDS_EVERY).await {
                return;
            }
        }
        alert::over(Code::ProviderPause, &subject);
    }
}

async fn stopped(stop: &CancellationToken, after: Duration) -> bool {
    tokio::select! {
        () = stop.cancelled() => true,
        () = sleep(after) => false,
    }
}

#[cfg(test)]
mod tests;
