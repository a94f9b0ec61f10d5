//! How far a store had come, in Datastore: what a store cannot take with it when it goes back to an older state.

use crate::clock;
use crate::datastore::{Client, Entity, Error, Settings, Value};
use crate::domain::AccountId;
use crate::outbox::Outbox;
use crate::store::{Mark, Marked};
use std::pin::pin;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How often a mark is written that changed.
const EVERY: Duration = Duration::from_secs(10);
/// How long the last one is tried for, at the end of a process.
const LAST: Duration = Duration::from_secs(2);
/// The property that holds it.
const MARK: &str = "mark";

/// The marks in Datastore. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Marks {
    client: Client,
}

impl Marks {
    /// Connects to nobody yet.
    ///
    /// # Errors
    /// When the settings make no client.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let client = Client::new(settings)?.beside_records();
        Ok(Self { client })
    }

    /// What is kept of an account in this store.
    ///
    /// # Errors
    /// When Datastore cannot be asked.
    pub async fn read(&self, of: &Marked) -> Result<Option<Mark>, Error> {
        let found = self
            .client
            .lookup(&[name(&of.account, &of.store)], None)
            .await?;
        Ok(found.first().and_then(mark_of))
    }

    /// Keeps what is later of this one and of the one that is there.
    async fn write(&self, account: &AccountId, mark: &Mark) -> Result<(), Error> {
        let transaction = self.client.begin().await?;
        let there = self
            .client
            .lookup(&[name(account, &mark.store)], Some(&transaction))
            .await;
        let there = match there {
            Ok(there) => there.first().and_then(mark_of),
            Err(error) => {
                // It would end by itself; a failure of this call changes nothing.
                let _ = self.client.rollback(transaction).await;
                return Err(error);
            }
        };
        let mut next = mark.clone();
        if let Some(there) = there {
            next.learn(&there);
        }
        let entity = Entity::named(name(account, &mark.store))
            .with_unindexed(MARK, Value::Text(next.write()))
            .with_unindexed("changed", Value::Time(clock::now().0));
        self.client.commit(transaction, &[entity]).await
    }

    /// The same; the end of the process is not held up by it.
    async fn write_until(
        &self,
        of: &Marked,
        mark: &Mark,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let mut written = pin!(self.write(&of.account, mark));
        tokio::select! {
            written = &mut written => return written,
            () = stop.cancelled() => {}
        }
        timeout(LAST, written).await.unwrap_or(Err(Error::TooSlow))
    }

    /// Writes the mark of an account whenever it changed. Ends with `stop`, after a last try.
    pub async fn keep(self, outbox: Outbox, of: Marked, stop: CancellationToken) {
        let (mut kept, mut failed) = (Mark::default(), false);
        loop {
            let stopped = tokio::select! {
                () = sleep(EVERY) => false,
                () = stop.cancelled() => true,
            };
            let mark = outbox.store.mark(&of);
            if mark != kept {
                match self.write_until(&of, &mark, &stop).await {
                    Ok(()) => (kept, failed) = (mark, false),
                    // Of records it is told with all that hangs on it.
                    Err(error) => {
                        if !std::mem::replace(&mut failed, true) {
                            tracing::info!(account = %of.account, error = error.with_advice(),
                                event = "mark_not_in_datastore",
                                "the mark of the store is not in Datastore yet; the gateway tries again every 10 s");
                        }
                    }
                }
            }
            if stopped {
                return;
            }
        }
    }
}

/// Several stores may have an account of one name, and one Datastore.
fn name(account: &AccountId, store: &str) -> String {
    format!("mark:{account}:{store}")
}

fn mark_of(entity: &Entity) -> Option<Mark> {
    Mark::read(&entity.text(MARK)?)
}
