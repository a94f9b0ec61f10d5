//! What time brings about in messages: holds that end, ages, and a clock that is set back.

use super::{HOLDS_EVERY, stopped};
use crate::accounts::{Channel, Channels};
use crate::clock;
use crate::domain::Moment;
use crate::outbox::Outbox;
use crate::store::{SweepRule, SweepScope, Swept};
use metrics::counter;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often the queue is searched for messages that grew too old.
const AGE_EVERY: Duration = Duration::from_secs(60);

/// Ends holds of unknown outcomes and fails what is too old. When the clock was set back, what waits
/// for a later try does not wait for that time to come once more.
pub async fn sweep(outbox: Outbox, channels: Arc<Channels>, stop: CancellationToken) {
    let mut ages_at = Instant::now();
    let (mut wait, mut look, mut store_down) = (HOLDS_EVERY, SweepScope::Holds, false);
    let mut doubted = false;
    while !stopped(&stop, wait).await {
        // A sweep that was not finished, or did not work, goes on with all that it looked at.
        if look == SweepScope::Holds && Instant::now() >= ages_at {
            look = SweepScope::Ages;
        }
        if let Some(by) = clock::set_back() {
            tracing::warn!(
                seconds = by.as_secs(),
                event = "clock_set_back",
                "the clock was set back; whatever waits for a \
                later try is due now"
            );
            look = SweepScope::SetBack;
        }
        let now = clock::moment();
        tell_of_doubt(&mut doubted, now);
        let rules = channels.iter().map(|channel| rule(channel, now)).collect();
        match outbox.store.sweep(rules, look, now).await {
            Ok(swept) => {
                store_down = false;
                tell(&outbox, &channels, &swept);
                wait = if swept.more {
                    Duration::ZERO
                } else {
                    HOLDS_EVERY
                };
                if look == SweepScope::SetBack {
                    wake(&outbox, &channels);
                }
                if !swept.more
                    && std::mem::replace(&mut look, SweepScope::Holds) != SweepScope::Holds
                {
                    ages_at = Instant::now() + AGE_EVERY.min(shortest_age(&channels));
                }
            }
            Err(error) => {
                // Told once an outage.
                if !std::mem::replace(&mut store_down, true) {
                    tracing::warn!(
                        %error, event = "sweep_failed",
                        "holds and ages cannot be looked at; retrying"
                    );
                }
                wait = HOLDS_EVERY;
            }
        }
    }
}

/// Says once that the clocks disagree.
fn tell_of_doubt(doubted: &mut bool, now: Moment) {
    let reported = std::mem::replace(doubted, now.is_in_doubt());
    if now.is_in_doubt() && !reported {
        tracing::warn!(
            seconds = now.latest.since(now.earliest).as_secs(),
            event = "clocks_disagree",
            "two clocks disagree: somebody set one, or the machine slept. The gateway neither fails nor \
             sends messages about whose age they disagree, and sends all others. It believes the leap \
             after 5 minutes"
        );
    }
}

/// Whoever sleeps until something is due looks again.
fn wake(outbox: &Outbox, channels: &Channels) {
    for channel in channels.iter() {
        outbox.wake(&channel.id);
        channel.account.work.notify_one();
    }
}

fn shortest_age(channels: &Channels) -> Duration {
    let ages = channels.iter().map(|channel| channel.policy.max_age / 10);
    ages.min().unwrap_or(AGE_EVERY).max(HOLDS_EVERY)
}

fn rule(channel: &Channel, now: Moment) -> SweepRule {
    SweepRule {
        channel: channel.id.clone(),
        resend: channel.policy.ambiguous == crate::domain::policy::Ambiguous::Resend,
        expired_before: now.ages(channel.policy.max_age).failed_before,
        hold: channel.policy.ambiguous_hold,
    }
}

fn tell(outbox: &Outbox, channels: &Channels, swept: &Swept) {
    for (channel, msg_id, refusal) in &swept.failed {
        tracing::warn!(
            %channel, %msg_id, refusal = refusal.line(), event = "message_failed",
            "failed, MoEngage is told"
        );
        outbox.wake(channel);
    }
    for (channel, msg_id) in &swept.resent {
        tracing::warn!(
            %channel, %msg_id, event = "message_sent_again",
            "outcome still unknown, sent once more as configured"
        );
        if let Some(channel) = channels.get(channel.as_str()) {
            channel.account.work.notify_one();
        }
    }
    swept.wake.iter().for_each(|channel| outbox.wake(channel));
    if swept.inferred > 0 {
        counter!("gateway_inferred_receipts_total").increment(swept.inferred.into());
        channels.iter().for_each(|channel| outbox.wake(&channel.id));
    }
}
