//! Statuses of messages that only Datastore still knows: sent by the old connector, or by a gateway
//! whose store is gone. Each id is asked for once, when nothing matched it for a while; what is
//! found is taken into the outbox, which folds and relays its statuses like any other.
//!
//! Strangers can make ids up without end where webhooks are open, and a query costs money. So one query
//! asks for many ids, at most one goes out in a second, and the store says whose turn it is
//! ([`Outbox::unmatched`](crate::store::Outbox::unmatched)).

use super::{APART, Records};
use crate::clock;
use crate::datastore::MOST_TEXTS;
use crate::domain::{AccountId, ProviderId};
use crate::outbox::Outbox;
use crate::store::Adopted;
use crate::telemetry::{OncePerSecond, count_folded, tell_opt_outs};
use metrics::{counter, gauge};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Lines about answers that cannot be stored: many come at once.
static LOG: OncePerSecond = OncePerSecond::new();

/// How often the outbox is looked through, at the most.
const EVERY: Duration = Duration::from_secs(5);
/// How long Datastore is left alone when it cannot be asked.
const PAUSE: Duration = Duration::from_secs(15);

/// Asks for the ids of one account.
#[derive(Debug)]
pub struct Late {
    /// Whom to ask.
    pub records: Records,
    /// Where the statuses wait.
    pub outbox: Outbox,
    /// The account.
    pub account: AccountId,
    /// How long a status waits for its message before Datastore is asked.
    pub ask_after: Duration,
}

impl Late {
    /// Asks until `stop`.
    #[tracing::instrument(name = "late_statuses", level = "debug", skip_all, fields(account = %self.account))]
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

    /// Asks once for what waits now. Returns how long to wait before looking again.
    async fn step(&self) -> Duration {
        let before = clock::moment().earliest.minus(self.ask_after);
        let waiting = self
            .outbox
            .store
            .unmatched(&self.account, before, MOST_TEXTS);
        let waiting = match waiting.await {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::warn!(account = %self.account, %error,
                    event = "late_statuses_not_read",
                    "unmatched statuses could not be looked through; retrying");
                return EVERY;
            }
        };
        let full = waiting.len() == MOST_TEXTS;
        gauge!("gateway_datastore_behind", "account" => self.account.as_str().to_owned())
            .set(f64::from(u8::from(full)));
        let ids: Vec<ProviderId> = waiting.into_iter().map(|one| one.provider_id).collect();
        match (self.ask(ids).await, full) {
            (false, _) => PAUSE,
            (true, true) => APART,
            (true, false) => EVERY.min(self.ask_after).max(APART),
        }
    }

    /// Whether these ids were asked for and all answers are stored.
    async fn ask(&self, ids: Vec<ProviderId>) -> bool {
        if ids.is_empty() {
            return true;
        }
        let answers = match self.records.sent_as(&self.account, &ids).await {
            Ok(answers) => answers,
            Err(error) => {
                tracing::warn!(account = %self.account, error = error.with_advice(),
                    event = "late_statuses_not_asked",
                    "Datastore could not be asked for the messages of statuses; asked again later");
                return false;
            }
        };
        tracing::debug!(account = %self.account, ids = ids.len(), found = answers.iter().flatten().count(),
            "asked Datastore for the messages of statuses");
        // Beside one another: the store writes together what waits together.
        let mut taken = JoinSet::new();
        for (id, found) in ids.into_iter().zip(answers) {
            taken.spawn(take(self.outbox.clone(), self.account.clone(), id, found));
        }
        let mut all_stored = true;
        while let Some(stored) = taken.join_next().await {
            all_stored &= stored.unwrap_or(false);
        }
        all_stored
    }
}

/// Stores the answer for an id; whether it is stored.
async fn take(outbox: Outbox, account: AccountId, id: ProviderId, found: Option<Adopted>) -> bool {
    let message = found
        .as_ref()
        .map(|one| (one.channel.clone(), one.msg_id.clone()));
    let folded = match outbox.store.adopt(&account, &id, found, clock::now()).await {
        Ok(folded) => folded,
        Err(error) => {
            if LOG.passes() {
                tracing::warn!(%account, provider_id = %id, %error,
                    event = "late_status_not_stored",
                    "what Datastore said of a status could not be stored; asked again later");
            }
            return false;
        }
    };
    let outcome = if message.is_some() {
        "found"
    } else {
        "not_found"
    };
    counter!("gateway_datastore_asked_total", "outcome" => outcome).increment(1);
    if let Some((channel, msg_id)) = &message {
        tracing::info!(%channel, %msg_id, provider_id = %id, statuses = folded.emitted,
            event = "late_status_found", "a status of a message that only Datastore knew");
        tell_opt_outs(channel, &folded);
    }
    count_folded(&account, &folded);
    folded.wake.iter().for_each(|channel| outbox.wake(channel));
    true
}
