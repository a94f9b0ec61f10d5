//! One transaction of records, all of it or nothing, and whose fault it is when it fails.

use super::{Records, entity};
use crate::clock;
use crate::datastore::{Entity, Error};
use crate::store::Dirty;
use metrics::counter;
use std::collections::HashMap;
use tokio::time::{Instant, timeout_at};

/// A message that changed, and its record.
pub(super) struct Pair {
    /// The message.
    pub(super) dirty: Dirty,
    /// The record of it.
    pub(super) entity: Entity,
}

/// How a transaction ended that did not write.
pub(super) enum Failure {
    /// Something in it is refused.
    Refused(Error),
    /// Others wrote the same meanwhile, or hold it.
    Lost(Error),
    /// The call failed, for all that is known whatever was in it.
    Call(Error),
    /// It failed before a record was named, so none can be the cause.
    Begin(Error),
}

impl Failure {
    fn of(error: Error) -> Self {
        if error.blames_an_entity() {
            Self::Refused(error)
        } else if error.is_conflict() {
            Self::Lost(error)
        } else {
            Self::Call(error)
        }
    }
}

impl Records {
    /// Writes what is newer than what is there, all of it or nothing. How many that were.
    pub(super) async fn transact(&self, chunk: &[Pair]) -> Result<usize, Failure> {
        let client = &self.shared.client;
        let transaction = client.begin().await.map_err(Failure::Begin)?;
        let names: Vec<String> = chunk.iter().map(|one| one.entity.name.clone()).collect();
        let there = match client.lookup(&names, Some(&transaction)).await {
            Ok(there) => there,
            Err(error) => {
                // It would end by itself; a failure of this call changes nothing.
                let _ = client.rollback(transaction).await;
                return Err(Failure::of(error));
            }
        };
        let there: HashMap<&str, &Entity> =
            there.iter().map(|one| (one.name.as_str(), one)).collect();
        let now = clock::now();
        let is_newer = |one: &&Pair| {
            let there = there.get(one.entity.name.as_str());
            there.is_none_or(|there| entity::supersedes(&one.entity, there, now))
        };
        let newer: Vec<Entity> = chunk
            .iter()
            .filter(is_newer)
            .map(|one| one.entity.clone())
            .collect();
        if newer.is_empty() {
            let _ = client.rollback(transaction).await;
        } else {
            let committed = client.commit(transaction, &newer).await;
            committed.map_err(Failure::of)?;
        }
        count("written", newer.len());
        count("superseded", chunk.len() - newer.len());
        Ok(newer.len())
    }

    /// Whether Datastore takes anything at all, tried with an entity that is no record.
    pub(super) async fn takes_anything(&self, until: Instant) -> Result<(), Error> {
        let client = self.shared.client.clone();
        // A task of its own: it removes the entity also when nobody waits any more.
        let tried = tokio::spawn(async move { client.takes_anything(clock::now().0).await });
        match timeout_at(until, tried).await {
            Ok(Ok(taken)) => taken,
            // Not in time, or the runtime ends.
            Err(_) | Ok(Err(_)) => Err(Error::TooSlow),
        }
    }
}

pub(super) fn count(outcome: &'static str, n: usize) {
    if n > 0 {
        counter!("gateway_datastore_records_total", "outcome" => outcome).increment(n as u64);
    }
}
