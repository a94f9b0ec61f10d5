//! Where everything durable is: the one place that chooses the store.

use super::marks::Marks;
use crate::config::Config;
use crate::store::redis::{Connection, Settings, Store};
use crate::store::{self, StoreError, embedded};
use anyhow::Context;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a Redis that does not answer is waited for at start.
const REDIS_PATIENCE: Duration = Duration::from_secs(15);

/// The roles of the store that was chosen.
pub(in crate::app) struct Stores {
    pub(in crate::app) outbox: store::Outbox,
    pub(in crate::app) tokens: store::Tokens,
    pub(in crate::app) cache: store::Cache,
    /// The connection that all of them share, when they are at Redis.
    pub(in crate::app) connection: Option<Connection>,
    pub(in crate::app) marks: Marks,
}

impl Stores {
    /// Opens the store that the configuration names. With Redis there is none in the data directory.
    pub(in crate::app) async fn open(config: &Config) -> anyhow::Result<Self> {
        match config.store.redis() {
            Some(settings) => shared(config, &settings).await,
            None => embedded(config).await,
        }
    }
}

async fn embedded(config: &Config) -> anyhow::Result<Stores> {
    let settings = embedded::Settings {
        data_dir: config.store.data_dir.clone(),
        min_free: config.store.min_free,
        mark_dirty: config.datastore.is_some(),
    };
    let store = embedded::Store::open(&settings)?;
    let outbox = store::Outbox::Embedded(store.clone());
    Ok(Stores {
        marks: Marks::remember(config, &outbox).await?,
        outbox,
        tokens: store::Tokens::Embedded(store.clone()),
        cache: store::Cache::Embedded(store),
        connection: None,
    })
}

async fn shared(config: &Config, settings: &Settings) -> anyhow::Result<Stores> {
    let connection = Connection::new(settings)?;
    reach(&connection).await.context(
        "the store at REDIS_URL cannot be used; start again when it can (`gateway check` tells more)",
    )?;
    connection.warn_of_weakness().await;
    let channels = config.channels.iter();
    let channels = channels.map(|channel| (channel.id.clone(), channel.account.clone()));
    let store = Store::open(
        connection.clone(),
        channels.collect(),
        config.datastore.is_some(),
    );
    let outbox = store::Outbox::Redis(store.clone());
    let marks = Marks::remember(config, &outbox).await?;
    // A renewal may end a roll call, and work would be handed out before it is held.
    if !config.hold {
        store.renew().await?;
    }
    store.look().await?;
    Ok(Stores {
        outbox,
        tokens: store::Tokens::Redis(connection.clone()),
        cache: store::Cache::Redis(connection.clone()),
        connection: Some(connection),
        marks,
    })
}

/// Waits until Redis takes a write: it may be starting, as we are.
async fn reach(connection: &Connection) -> Result<(), StoreError> {
    let give_up = Instant::now() + REDIS_PATIENCE;
    loop {
        match connection.writable().await {
            Err(error) if Instant::now() < give_up => {
                tracing::warn!(%error, event = "redis_awaited", "waiting for Redis");
                sleep(Duration::from_secs(1)).await;
            }
            reached => return reached,
        }
    }
}
