//! Writes D and E in one: an event is stored, matched, folded and queued for MoEngage in the same
//! transaction, so that a receipt and an event can never miss each other.

use super::here::Here;
use super::ledger::Counter;
use super::writer::Txn;
use super::{Store, crowd, early, evidence, fold, named, replies};
use crate::domain::{Incoming, StatusEvent, UnixMs};
use crate::store::{EventRules, Folded, StoreError};
use rusqlite::Result;
use std::sync::Arc;
use tokio::time::Instant;

impl Store {
    /// Stores what a webhook brought, in its order. On return it is synced to disk.
    pub async fn take_events(
        &self,
        rules: Arc<EventRules>,
        events: impl Into<Arc<[Incoming]>>,
        now: UnixMs,
        begin_by: Instant,
    ) -> Result<Folded, StoreError> {
        // A nearly full disk has room left for what concerns messages; a file that is gone has none.
        self.shared.disk.intact()?;
        let events = events.into();
        let tight = self.shared.disk.check().is_err();
        let taken = self.step("events", move |txn| {
            // The caller was told that it is not stored: to store it now would be to do it twice.
            if Instant::now() >= begin_by {
                return Ok(None);
            }
            let mut folded = Folded::default();
            let here = Here {
                rules: &rules,
                now,
                tight,
            };
            for event in events.iter() {
                let mut count = 1;
                match event {
                    Incoming::Status(status) => take_status(txn, &here, status, &mut folded)?,
                    Incoming::Reply(reply) => {
                        replies::take(txn, &here, reply, &mut folded)?;
                    }
                    Incoming::Other { kind, raw, times } => {
                        crowd::keep_other(txn, &here, kind, raw, &mut folded)?;
                        folded.other.push((kind, *times));
                        count = *times;
                    }
                }
                txn.deltas
                    .add(&rules.channel, Counter::Events, count.into());
            }
            Ok(Some(folded))
        });
        let busy = || StoreError::Unavailable("the disk was too slow to begin in time".into());
        taken.await?.ok_or_else(busy)
    }
}

fn take_status(
    txn: &mut Txn<'_>,
    here: &Here<'_>,
    event: &StatusEvent,
    folded: &mut Folded,
) -> Result<()> {
    if let Some(message) = fold::by_provider_id(txn.conn, &here.rules.account, &event.provider_id)?
    {
        fold::learn(txn, &message, event, folded)?;
        let at = here.believed(event.at, message.accepted_at, folded);
        let event = StatusEvent {
            at: Some(at),
            ..event.clone()
        };
        return fold::fold(txn, &message, &event, here.now, folded);
    }
    let to = named::number_of(txn, &here.rules.account, event)?;
    early::keep(txn, here, event, to, folded)?;
    match to {
        Some(recipient) => {
            evidence::infer_receipt_of(txn, &here.rules.account, recipient, here.now, folded)
        }
        None => Ok(()),
    }
}
