//! The queues towards MoEngage: in order per message (per person for replies), one in flight.

use super::damage::{self, Text};
use super::{AccountKeys, Call, Store};
use crate::domain::UnixMs;
use crate::store::row::RowError;
use crate::store::{CallbackLease, CallbackQueue, PendingCallback, RelayOutcome, StoreError, row};
use std::time::Duration;

/// Callbacks moved in one step.
const AT_ONCE: usize = 1000;
/// How long a callback that only a newer program can read is left for one.
const FOR_A_NEWER: Duration = Duration::from_secs(60);

/// A callback as it is kept: order, message, tries, since when, row.
pub(super) fn split(kept: &str) -> Option<(u32, i64, &str)> {
    let mut parts = kept.splitn(5, '|').skip(2);
    let (tries, created) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some((tries, created, parts.next()?))
}

impl Store {
    /// Takes up to `most` due callbacks. They stay taken until they are settled or the lease is over.
    /// One that cannot be read becomes a dead letter, so that it holds back nothing; one of a newer
    /// program is left for it.
    pub async fn take_callbacks(
        &self,
        queue: &CallbackQueue,
        most: usize,
        now: UnixMs,
    ) -> Result<Vec<PendingCallback>, StoreError> {
        self.shared.connection.may_begin()?;
        let claim = self.shared.in_flight.claim();
        let found = self.take_at(queue, most, claim, now).await;
        let taken = found.iter().flatten().map(|(callback, _)| *callback);
        self.shared.in_flight.claimed(claim, taken.collect());
        let found = found?;
        let AccountKeys {
            account, prefix, ..
        } = self.home(&queue.channel)?;
        let term = self.term(&queue.channel);
        for (callback, _) in &found {
            self.shared.in_flight.hold(account, *callback, claim);
        }
        let (mut taken, mut ends, mut newer) = (Vec::new(), Vec::new(), 0);
        for (callback, kept) in found {
            let handle = CallbackLease { callback, claim };
            let read = split(kept.as_str())
                .ok_or_else(|| RowError::Damaged("no callback".into()))
                .and_then(|(tries, created, text)| Ok((tries, created, row::read_callback(text)?)));
            match read {
                Ok((tries, created, callback)) => taken.push(PendingCallback {
                    handle,
                    term,
                    callback,
                    tries,
                    created: UnixMs(created),
                }),
                Err(RowError::Newer(_)) => {
                    newer += 1;
                    let due = now.plus(FOR_A_NEWER);
                    ends.push((handle, RelayOutcome::Later { due }));
                }
                Err(RowError::Damaged(_)) => {
                    damage::tell([format!("{prefix}c:{callback}").into()]);
                    let reason = "cannot be read by this version of the gateway".into();
                    ends.push((handle, RelayOutcome::Dead { reason }));
                }
            }
        }
        self.tell_of_newer(self.home(&queue.channel)?, "callbacks", newer);
        if !ends.is_empty() {
            let unreadable: Vec<CallbackLease> = ends.iter().map(|(handle, _)| *handle).collect();
            if let Err(error) = self.settle_callbacks(queue, ends, now).await {
                // Those that were found are taken and must be handed out all the same; these go back
                // with the renewal after they are settled.
                unreadable
                    .into_iter()
                    .for_each(|take| self.shared.in_flight.let_go(account, take));
                tracing::warn!(
                    %error, event = "callback_unreadable",
                    "unreadable callbacks stay until the lease is renewed"
                );
            }
        }
        Ok(taken)
    }

    async fn take_at(
        &self,
        queue: &CallbackQueue,
        most: usize,
        claim: u64,
        now: UnixMs,
    ) -> Result<Vec<(i64, Text)>, StoreError> {
        let home = self.home(&queue.channel)?;
        let call = Call::new(&self.shared.scripts.take_callbacks, home)
            .arg(self.replica())
            .arg(claim)
            .arg(queue.number())
            .arg(queue.channel.as_str())
            .arg(now.0)
            .arg(most);
        if let Some(found) = self.take(&call).await? {
            return Ok(found);
        }
        self.renew_one(home).await?;
        let found: Option<_> = self.take(&call).await?;
        found.ok_or_else(|| StoreError::Unavailable("Redis does not keep our lease".into()))
    }

    /// When the next callback of this queue is due, taken ones aside.
    pub async fn next_callback_due(
        &self,
        queue: &CallbackQueue,
    ) -> Result<Option<UnixMs>, StoreError> {
        let prefix = &self.home(&queue.channel)?.prefix;
        let key = format!("{prefix}cr:{}:{}", queue.number(), queue.channel);
        Ok(self.first_score(key).await?.map(UnixMs))
    }

    /// Ends tries to relay.
    pub async fn settle_callbacks(
        &self,
        queue: &CallbackQueue,
        ends: Vec<(CallbackLease, RelayOutcome)>,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        let home = self.home(&queue.channel)?;
        let mut call = Call::new(&self.shared.scripts.settle_callbacks, home)
            .arg(self.replica())
            .arg(queue.number())
            .arg(queue.channel.as_str())
            .arg(now.0);
        for (take, end) in &ends {
            call.push(take.callback);
            call.push(take.claim);
            match end {
                RelayOutcome::Taken { summary } => {
                    call.push("taken");
                    call.push(summary.as_str());
                }
                RelayOutcome::Later { due } => {
                    call.push("later");
                    call.push(due.0);
                }
                RelayOutcome::Dead { reason } => {
                    call.push("dead");
                    call.push(reason.as_str());
                }
            }
        }
        let _: u8 = self.run(&call).await?;
        let in_flight = &self.shared.in_flight;
        for (take, _) in ends {
            in_flight.let_go(&home.account, take);
        }
        Ok(())
    }

    /// MoEngage answers again: what waits for a later try is due now.
    pub async fn hasten_callbacks(
        &self,
        queue: &CallbackQueue,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        let home = self.home(&queue.channel)?;
        loop {
            let call = Call::new(&self.shared.scripts.hasten, home)
                .arg(queue.number())
                .arg(queue.channel.as_str())
                .arg(now.0)
                .arg(AT_ONCE);
            let more: bool = self.ask(&call).await?;
            if !more {
                return Ok(());
            }
        }
    }
}

/// A callback in words, for people; of one that is damaged, that it is.
pub(super) fn spoken(place: &str, kept: &str, reason: &str) -> String {
    let (tries, _, text) = split(kept).unwrap_or_default();
    let words = row::spoken(text);
    match place {
        "dead" => format!("{words}: given up, {reason}"),
        "ready" => format!("{words}: waits for MoEngage, {}", row::attempts(tries)),
        _ => format!("{words}: waits for the one before it"),
    }
}
