//! What an operator sets at run time, stored: the pause of a channel, the rate of an account. It stays
//! until it is reset, and holds for all that share the store.

use super::channel::Channel;
use crate::domain::AccountId;
use crate::limit::Rate;
use crate::outbox::Outbox;
use crate::store::StoreError;
use serde::{Deserialize, Serialize};

/// Calls per second and at once beyond which a wish is taken for a mistake.
pub const MOST_RATE: f64 = 100_000.0;
/// Calls per second below which a wish is taken for a mistake, as in the configuration.
pub const LEAST_RATE: f64 = 0.01;

/// A rate as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    per_second: Option<f64>,
    concurrency: usize,
}

/// The name under which an account's rate is stored, since the first version.
fn rate_setting(account: &AccountId) -> String {
    format!("pace:{account}")
}

/// The rate that an operator set earlier, if one is stored.
pub async fn load_rate(outbox: &Outbox, account: &AccountId) -> Result<Option<Rate>, StoreError> {
    let text = outbox.store.load_setting(&rate_setting(account)).await?;
    let stored = text.and_then(|text| serde_json::from_str::<Stored>(&text).ok());
    let stored = stored.filter(|rate| {
        rate.per_second
            .is_none_or(|rate| (LEAST_RATE..=MOST_RATE).contains(&rate))
            && rate.concurrency > 0
    });
    Ok(stored.map(|stored| Rate {
        per_second: stored.per_second,
        concurrency: stored.concurrency,
    }))
}

/// Stores the rate that an operator sets; `None` forgets it.
pub async fn save_rate(
    outbox: &Outbox,
    account: &AccountId,
    rate: Option<Rate>,
) -> Result<(), StoreError> {
    let stored = rate.map(|rate| Stored {
        per_second: rate.per_second,
        concurrency: rate.concurrency,
    });
    // Two numbers under fixed keys: writing them as JSON cannot fail.
    let text = stored.map(|stored| serde_json::to_string(&stored).unwrap_or_default());
    outbox
        .store
        .save_setting(&rate_setting(account), text)
        .await
}

/// How the store keeps a pause, and its end.
const STORED_PAUSED: &str = "1";
const STORED_RESUMED: &str = "0";

/// The name under which a channel's pause is stored.
fn pause_setting(channel: &Channel) -> String {
    format!("paused:{}", channel.id)
}

/// Whether a channel is paused: what an operator said last, else what is configured.
pub async fn load_pause(outbox: &Outbox, channel: &Channel) -> Result<bool, StoreError> {
    let stored = outbox.store.load_setting(&pause_setting(channel)).await?;
    Ok(stored.map_or(channel.starts_paused, |word| word == STORED_PAUSED))
}

/// Stores what an operator says. What is configured anyway needs no entry, and follows the configuration
/// when that changes; but other processes on the same store may be configured otherwise.
pub async fn save_pause(
    outbox: &Outbox,
    channel: &Channel,
    paused: bool,
) -> Result<(), StoreError> {
    let word = if paused {
        STORED_PAUSED
    } else {
        STORED_RESUMED
    };
    let differs = paused != channel.starts_paused || outbox.store.is_shared();
    let value = differs.then(|| word.to_owned());
    outbox
        .store
        .save_setting(&pause_setting(channel), value)
        .await
}
