//! Statuses of messages that only Datastore still knows: sent by the old connector, or by a gateway
//! whose store is gone. Each id is asked for once, when nothing matched it for a while; what is
//! found is taken into the outbox, which folds and relays its statuses like any other.

use super::{Archive, told};
use crate::clock;
use crate::datastore::Error;
use crate::domain::{AccountId, ProviderId};
use crate::outbox::Outbox;
use crate::store::Adopted;
use crate::telemetry::count_folded;
use metrics::counter;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Ids asked for at once.
const AT_ONCE: usize = 16;
/// How often the outbox is looked through, at the most.
const EVERY: Duration = Duration::from_secs(5);
/// How long Datastore is left alone when it cannot be asked.
const PAUSE: Duration = Duration::from_secs(15);

/// Asks for the ids of one account.
#[derive(Debug)]
pub struct Late {
    /// Whom to ask.
    pub archive: Archive,
    /// Where the statuses wait.
    pub outbox: Outbox,
    /// The account.
    pub account: AccountId,
    /// How long a status waits for its message before Datastore is asked.
    pub ask_after: Duration,
}

type Asked = (ProviderId, Result<Option<Adopted>, Error>);

impl Late {
    /// Asks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let wait = tokio::select! {
                wait = self.step() => wait,
                () = stop.cancelled() => return,
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Asks for what waits now. Returns how long to wait before looking again.
    async fn step(&self) -> Duration {
        let before = clock::moment().earliest.minus(self.ask_after);
        let waiting = self.outbox.store.unmatched(&self.account, before, AT_ONCE);
        let waiting = match waiting.await {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::warn!(account = %self.account, %error,
                    "unmatched statuses could not be looked through; tried again");
                return EVERY;
            }
        };
        let full = waiting.len() == AT_ONCE;
        let mut asked = JoinSet::new();
        for one in waiting {
            let (archive, account) = (self.archive.clone(), self.account.clone());
            asked.spawn(async move {
                let found = archive.sent_as(&account, &one.provider_id).await;
                (one.provider_id, found)
            });
        }
        let mut healthy = true;
        while let Some(done) = asked.join_next().await {
            healthy &= match done {
                Ok(asked) => self.take(asked).await,
                Err(_) => false,
            };
        }
        match (healthy, full) {
            (false, _) => PAUSE,
            (true, true) => Duration::ZERO,
            (true, false) => EVERY.min(self.ask_after),
        }
    }

    /// Whether the id was asked for and the answer is stored.
    async fn take(&self, (id, found): Asked) -> bool {
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(account = %self.account, error = told(&error),
                    "Datastore could not be asked for the message of a status; asked again later");
                return false;
            }
        };
        let message = found
            .as_ref()
            .map(|one| (one.channel.clone(), one.msg_id.clone()));
        let adopt = self
            .outbox
            .store
            .adopt(&self.account, &id, found, clock::now());
        let folded = match adopt.await {
            Ok(folded) => folded,
            Err(error) => {
                tracing::warn!(account = %self.account, provider_id = %id, %error,
                    "what Datastore said of a status could not be stored; asked again later");
                return false;
            }
        };
        let outcome = if message.is_some() {
            "found"
        } else {
            "not_found"
        };
        counter!("gateway_datastore_asked_total", "outcome" => outcome).increment(1);
        match &message {
            Some((channel, msg_id)) => tracing::info!(%channel, %msg_id, provider_id = %id,
                statuses = folded.emitted, "a status of a message that only Datastore knew"),
            None => tracing::debug!(account = %self.account, provider_id = %id,
                "a status of a message that Datastore does not know either"),
        }
        count_folded(&folded);
        folded
            .ring
            .iter()
            .for_each(|channel| self.outbox.ring(channel));
        true
    }
}
