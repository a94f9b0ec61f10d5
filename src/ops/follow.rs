//! What an operator sets at one process holds for all that share the store. The rate is kept with
//! the permits and needs no looking after; the pause of a channel is looked at every second.

use super::OpsState;
use super::waits::tell_waits;
use crate::accounts::load_pause;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How often.
const EVERY: Duration = Duration::from_secs(1);
/// The same for the addresses of webhooks, which change seldom.
const WEBHOOKS_EVERY: Duration = Duration::from_secs(60);

/// Follows what other processes set, where there may be others, and tells why messages wait; until
/// `stop`.
pub async fn follow(ops: OpsState, stop: CancellationToken) {
    if ops.shared.outbox.store.is_shared() {
        tokio::join!(
            follow_pauses(&ops, &stop),
            follow_webhooks(&ops, &stop),
            tell_waits(&ops, &stop)
        );
    } else {
        tell_waits(&ops, &stop).await;
    }
}

/// Another process may have closed an address or changed a secret.
async fn follow_webhooks(ops: &OpsState, stop: &CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(WEBHOOKS_EVERY) => {}
        }
        for webhook in ops.shared.webhooks.values() {
            // The store's own trouble is told elsewhere.
            let _ = webhook.look().await;
        }
    }
}

async fn follow_pauses(ops: &OpsState, stop: &CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(EVERY) => {}
        }
        for channel in ops.shared.channels.iter() {
            let seen = channel.pause_seen();
            match load_pause(&ops.shared.outbox, channel).await {
                Ok(paused) if channel.follow_pause(seen, paused) => {
                    let now = if paused { "paused" } else { "resumed" };
                    tracing::info!(
                        channel = %channel.id, now, event = "pause_set_elsewhere",
                        "set at another gateway process"
                    );
                }
                Ok(_) => {}
                // The store's own trouble is told elsewhere; what holds goes on holding.
                Err(_) => break,
            }
        }
    }
}
