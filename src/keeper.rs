//! What the clock brings about: holds that end, retention, test calls of held accounts, the
//! subscription at the provider. Each loop ends with `stop` and never touches a message by itself.

use crate::channel::{Account, Channel, Channels};
use crate::clock;
use crate::domain::UnixMs;
use crate::outbox::{Outbox, retry_delay};
use crate::provider::{Provider, TokenState};
use crate::store::{Look, SweepRule, Swept};
use metrics::counter;
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How often a shared store is asked what others did.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often the leases of this process are renewed (DESIGN section 6).
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// How often holds of unknown outcomes are looked at.
const HOLDS_EVERY: Duration = Duration::from_secs(1);
/// How often the queue is searched for messages that grew too old; it reads the whole queue.
const AGE_EVERY: Duration = Duration::from_secs(60);
/// How often retention runs, unless what is kept is kept shorter.
const RETENTION_EVERY: Duration = Duration::from_secs(3600);
/// The first pause after a subscription that did not work.
const SUBSCRIBE_AGAIN: Duration = Duration::from_secs(1);
/// The longest such pause (DESIGN section 9: within 10 s when the provider answers).
const SUBSCRIBE_PAUSE: Duration = Duration::from_secs(8);
/// How often samples of metrics are put together.
const METRICS_EVERY: Duration = Duration::from_secs(5);

/// Keeps the leases of this process, and looks at what other processes did: where there is news, it
/// rings for those who wait. Only for a store that other processes share.
pub async fn keep_lease(outbox: Outbox, channels: Arc<Channels>, stop: CancellationToken) {
    let (mut renew_at, mut silent) = (Instant::now(), false);
    while !stopped(&stop, LOOK_EVERY).await {
        let mut kept = Ok(());
        if Instant::now() >= renew_at {
            kept = outbox.store.renew().await;
            let next = if kept.is_ok() {
                RENEW_EVERY
            } else {
                LOOK_EVERY
            };
            renew_at = Instant::now() + next;
        }
        let looked = outbox.store.look().await;
        match kept.and(looked) {
            Ok(()) => {
                if std::mem::take(&mut silent) {
                    tracing::info!("the store answers again; work goes on");
                }
                let news = outbox.store.news();
                for channel in news.iter().filter_map(|id| channels.get(id.as_str())) {
                    outbox.ring(&channel.id);
                    channel.account.work.notify_one();
                }
            }
            Err(error) if !silent => {
                silent = true;
                tracing::error!(%error, "the store does not answer: messages are refused with 503, \
                    nothing is sent or relayed; tried again several times a second");
            }
            Err(_) => {}
        }
    }
}

/// Ends holds of unknown outcomes and fails what is too old.
pub async fn sweep(outbox: Outbox, channels: Arc<Channels>, stop: CancellationToken) {
    let mut ages_at = Instant::now();
    let (mut wait, mut blind) = (HOLDS_EVERY, false);
    let mut set_back = false;
    while !stopped(&stop, wait).await {
        if let Some(by) = clock::set_back() {
            set_back = true;
            tracing::warn!(
                seconds = by.as_secs(),
                "the clock of this machine was set back: what \
                waits for a later try is tried now"
            );
        }
        // A sweep that was not finished goes on with all that it looked at.
        let look = if set_back {
            Look::SetBack
        } else if wait.is_zero() || Instant::now() >= ages_at {
            ages_at = Instant::now() + AGE_EVERY.min(shortest_age(&channels));
            Look::Ages
        } else {
            Look::Holds
        };
        let now = clock::now();
        let rules = channels.iter().map(|channel| rule(channel, now)).collect();
        match outbox.store.sweep(rules, look, now).await {
            Ok(swept) => {
                blind = false;
                tell(&outbox, &channels, &swept);
                if set_back {
                    ring_all(&outbox, &channels);
                    set_back = swept.more;
                }
                wait = if swept.more {
                    Duration::ZERO
                } else {
                    HOLDS_EVERY
                };
            }
            Err(error) => {
                // Told once an outage.
                if !std::mem::replace(&mut blind, true) {
                    tracing::warn!(%error, "holds and ages cannot be looked at; tried again");
                }
                wait = HOLDS_EVERY;
            }
        }
    }
}

fn ring_all(outbox: &Outbox, channels: &Channels) {
    for channel in channels.iter() {
        outbox.ring(&channel.id);
        channel.account.work.notify_one();
    }
}

fn shortest_age(channels: &Channels) -> Duration {
    let ages = channels.iter().map(|channel| channel.policy.max_age / 10);
    ages.min().unwrap_or(AGE_EVERY).max(HOLDS_EVERY)
}

fn rule(channel: &Channel, now: UnixMs) -> SweepRule {
    SweepRule {
        channel: channel.id.clone(),
        resend: channel.policy.ambiguous == crate::domain::policy::Ambiguous::Resend,
        expired_before: now.minus(channel.policy.max_age),
        hold: channel.policy.ambiguous_hold,
    }
}

fn tell(outbox: &Outbox, channels: &Channels, swept: &Swept) {
    for (channel, msg_id, refusal) in &swept.failed {
        tracing::warn!(%channel, %msg_id, %refusal, "failed, MoEngage is told");
        outbox.ring(channel);
    }
    for (channel, msg_id) in &swept.resent {
        tracing::warn!(%channel, %msg_id, "outcome still unknown, sent once more as configured");
        if let Some(channel) = channels.get(channel.as_str()) {
            channel.account.work.notify_one();
        }
    }
    swept.ring.iter().for_each(|channel| outbox.ring(channel));
    if swept.inferred > 0 {
        counter!("gateway_inferred_receipts_total").increment(swept.inferred.into());
        channels.iter().for_each(|channel| outbox.ring(&channel.id));
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
    while !stopped(&stop, every).await {
        let now = clock::now();
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
                    "removed what is settled and old"
                );
            }
            Err(error) => tracing::warn!(%error, "retention could not run; tried again later"),
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
#[derive(Debug, Clone)]
pub struct Watched {
    /// The account.
    pub account: Arc<Account>,
    /// Its provider.
    pub provider: Arc<Provider>,
}

/// Tests a held account every `probe`, and at once when its token came back; holds it when its
/// token is dead or missing.
pub async fn watch_hold(watched: Watched, probe: Duration, stop: CancellationToken) {
    let Watched { account, provider } = watched;
    let mut changes = provider.token_changes();
    loop {
        let of_no_use = of_no_use(&provider.token_state());
        if let Some(reason) = &of_no_use
            && account.hold(reason.clone(), clock::now())
        {
            crate::alert::tell(&format!(
                "Account {} is held: {reason}. Messages are accepted and wait. Put in a new \
                 refresh token: PUT /api/accounts/{}/token/seed at the ops listener, or its \
                 seed_refresh_token or SEED_REFRESH_TOKEN and a restart.",
                account.id, account.id
            ));
        }
        tokio::select! {
            () = changes.next() => {}
            () = sleep(probe) => {}
            () = stop.cancelled() => return,
        }
        if account.held().is_none() || self::of_no_use(&provider.token_state()).is_some() {
            continue;
        }
        tokio::select! {
            verified = provider.verify() => if verified.is_ok() && account.release() {
                crate::alert::tell(&format!(
                    "Account {}: the test call succeeded; sending goes on.", account.id
                ));
            },
            () = stop.cancelled() => return,
        }
    }
}

fn of_no_use(state: &TokenState) -> Option<String> {
    match state {
        TokenState::Dead { reason, .. } => Some(format!("its refresh token is dead ({reason})")),
        TokenState::Missing => Some("no refresh token is known".into()),
        TokenState::Fresh { .. } | TokenState::Stale => None,
    }
}

/// What is to be subscribed.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// The whole URL, with the secret.
    pub url: String,
    /// The secret in it, to find an entry of ours with an old one.
    pub secret: Option<SecretString>,
}

/// Makes sure that the provider's events come here: at start, and again every `interval`.
pub async fn keep_subscribed(
    watched: Watched,
    wanted: Subscription,
    interval: Duration,
    stop: CancellationToken,
) {
    let Watched { account, provider } = watched;
    let mut changes = provider.token_changes();
    let mut failures = 0;
    loop {
        let ensured = tokio::select! {
            ensured = provider.ensure_subscription(&wanted.url, wanted.secret.as_ref()) => ensured,
            () = stop.cancelled() => return,
        };
        let wait = match ensured {
            Ok(state) => {
                tracing::info!(account = %account.id, %state, "the provider's events come here");
                failures = 0;
                interval
            }
            Err(answer) => {
                failures += 1;
                tracing::warn!(account = %account.id, answer = %answer.summary(),
                    "the subscription could not be made sure; tried again");
                retry_delay(
                    failures,
                    SUBSCRIBE_AGAIN,
                    SUBSCRIBE_PAUSE.min(interval),
                    1.0,
                )
            }
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = changes.next(), if failures > 0 => {}
            () = stop.cancelled() => return,
        }
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
