//! What an operator sets at one process holds for all that share the store. The pace is kept with
//! the permits and needs no looking after; the pause of a channel is looked at every second.

use super::waits::tell_waits;
use super::{Desk, stored_pause};
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How often.
const EVERY: Duration = Duration::from_secs(1);

/// Follows what other processes set, where there may be others, and tells why messages wait; until
/// `stop`.
pub async fn follow(desk: Desk, stop: CancellationToken) {
    if desk.shared.outbox.store.is_shared() {
        tokio::join!(follow_pauses(&desk, &stop), tell_waits(&desk, &stop));
    } else {
        tell_waits(&desk, &stop).await;
    }
}

async fn follow_pauses(desk: &Desk, stop: &CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(EVERY) => {}
        }
        for channel in desk.shared.channels.iter() {
            let seen = channel.pause_seen();
            match stored_pause(&desk.shared.outbox, channel).await {
                Ok(paused) if channel.follow_pause(seen, paused) => {
                    let now = if paused { "paused" } else { "resumed" };
                    tracing::info!(channel = %channel.id, now, "set at another gateway process");
                }
                Ok(_) => {}
                // The store's own trouble is told elsewhere; what holds goes on holding.
                Err(_) => break,
            }
        }
    }
}
