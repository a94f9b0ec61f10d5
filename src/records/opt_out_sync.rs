//! Opt-outs and Datastore. What Datastore keeps comes into the store at each start and each time after the store may
//! have lost some, before anything is sent; what is said here goes there within seconds. Of two words the later counts.

use super::OptOuts;
use super::opt_outs::Kept;
use crate::accounts::Account;
use crate::alert::{self, Code};
use crate::clock;
use crate::datastore;
use crate::domain::{ChannelId, UnixMs};
use crate::outbox::{Outbox, retry_delay};
use crate::store::{Entrance, StoreError};
use serde::{Deserialize, Serialize};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

/// How often the store is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// The first and the longest pause after a failure.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// Entities of one transaction. Datastore takes 500.
const MOST: u64 = 200;
/// How often a part is asked for before the reading begins anew.
const TRIES: u32 = 3;
/// How long before the time up to which all is known is read again: clocks differ, and a write takes its time.
const AGAIN: Duration = Duration::from_secs(600);
/// How long the last writes may take, at the end of a process.
const LAST: Duration = Duration::from_secs(5);

/// Keeps one account's opt-outs alike in its store and in Datastore.
#[derive(Debug)]
pub struct OptOutSync {
    /// The account.
    pub account: Arc<Account>,
    /// Its channels.
    pub channels: Vec<ChannelId>,
    /// Where they are.
    pub outbox: Outbox,
    /// Where they are kept too.
    pub datastore: Option<OptOuts>,
}

/// Up to when the store has all of a channel that Datastore had. Kept in the store: it goes back with it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Merged {
    place: String,
    at: i64,
}

/// Why they do not come together.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{}", .0.with_advice())]
    Datastore(#[from] datastore::Error),
    #[error("the store lost what was read meanwhile")]
    Lost,
}

impl OptOutSync {
    /// Keeps them until `stop`, after a last write.
    #[tracing::instrument(name = "opt_outs", level = "debug", skip_all, fields(account = %self.account.id))]
    pub async fn run(self, stop: CancellationToken) {
        let (mut failures, mut most) = (0, MOST);
        // In which opening the list was filled up.
        let listed = AtomicU64::new(u64::MAX);
        loop {
            let opening = self.outbox.store.openings(&self.account.id);
            let mut step = pin!(self.watched(opening, self.step(opening, &listed, most)));
            let done = tokio::select! {
                done = &mut step => done,
                () = stop.cancelled() => {
                    // What it is writing is hidden from whoever looks next.
                    let end = Instant::now() + LAST;
                    let _ = timeout_at(end, step).await;
                    self.write_all(end).await;
                    return;
                }
            };
            let wait = match done {
                Ok(written) => {
                    (failures, most) = (0, (2 * most).min(MOST));
                    if written { Duration::ZERO } else { EVERY }
                }
                Err(error) => {
                    failures += 1;
                    // In case one of them is the cause.
                    most = (most / 2).max(1);
                    if failures == 1 {
                        tracing::warn!(account = %self.account.id, %error,
                            event = "opt_outs_not_merged",
                            "opt-outs and Datastore do not come together yet; the gateway tries again by itself");
                    }
                    retry_delay(failures, PAUSES.0, PAUSES.1, 1.0)
                }
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = stop.cancelled() => break,
            }
        }
        // What cannot be written now is owed at the next start.
        self.write_all(Instant::now() + LAST).await;
    }

    async fn write_all(&self, end: Instant) {
        while let Ok(Ok(true)) = timeout_at(end, self.write(MOST)).await {}
    }

    /// Does a step, and tells when sending has waited for it for too long.
    async fn watched<T>(
        &self,
        opening: u64,
        step: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut step = pin!(step);
        let Some(until) = self.account.opt_outs.waits_until(opening) else {
            return step.await;
        };
        tokio::select! {
            biased;
            done = &mut step => {
                let (is_late, failed) = (until <= Instant::now(), done.as_ref().err());
                if let (true, Some(error)) = (is_late, failed) {
                    self.tell(&error.to_string());
                }
                done
            }
            () = sleep_until(until) => {
                self.tell("they are not read yet");
                step.await
            }
        }
    }

    fn tell(&self, why: &str) {
        let id = &self.account.id;
        let text = format!(
            "The store of account {id} does not have the opt-outs that Datastore keeps: {why}. The gateway waited 30 s \
             and sends again. If the store was emptied or put back, people who opted out may get a message. The gateway \
             goes on trying. Pause the channels until it says that it has them: POST /api/channels/ID/pause at the ops \
             listener."
        );
        alert::raise(Code::OptOutsNotMerged, &format!("account {id}"), &text);
    }

    /// Puts into the list what an older program wrote.
    async fn list(&self) -> Result<(), StoreError> {
        for channel in &self.channels {
            self.outbox.store.list_older_opt_outs(channel).await?;
        }
        Ok(())
    }

    /// Whether there may be more to write.
    async fn step(&self, opening: u64, listed: &AtomicU64, most: u64) -> Result<bool, Failure> {
        let merged = self.merge_all(opening).await;
        if listed.load(Relaxed) != opening {
            self.list().await?;
            listed.store(opening, Relaxed);
        }
        // What is said here goes there also where not all can be read.
        let written = self.write(most).await;
        merged.and(written)
    }

    async fn merge_all(&self, opening: u64) -> Result<(), Failure> {
        if self.account.opt_outs.waits_until(opening).is_none() {
            return Ok(());
        }
        let mut changed = 0;
        for channel in &self.channels {
            changed += self.merge(channel).await?;
        }
        self.account.opt_outs.learn(opening);
        self.account.work.notify_one();
        alert::over(
            Code::OptOutsNotMerged,
            &format!("account {}", self.account.id),
        );
        tracing::info!(
            account = %self.account.id, changed, event = "opt_outs_merged",
            "the store has the opt-outs that Datastore keeps"
        );
        Ok(())
    }

    /// Reads what the store may lack; of how many people that changed what they want.
    async fn merge(&self, channel: &ChannelId) -> Result<usize, Failure> {
        let Some(datastore) = &self.datastore else {
            return Ok(0);
        };
        let (store, setting) = (&self.outbox.store, setting(channel));
        let began = clock::now();
        let kept = store.load_setting(&setting).await?;
        let kept = kept.and_then(|text| serde_json::from_str::<Merged>(&text).ok());
        let since = match kept {
            Some(merged) if merged.place == datastore.place() => UnixMs(merged.at).minus(AGAIN),
            Some(_) => {
                store.owe_opt_outs(channel).await?;
                UnixMs(0)
            }
            None => UnixMs(0),
        };
        // Where this is gone at the end, the store lost what was read meanwhile.
        let begun = format!("opt_outs_merging:{channel}");
        let token = store
            .keep_setting(&begun, format!("{:016x}", fastrand::u64(..)))
            .await?;
        let (mut changed, mut next) = (0, None::<String>);
        loop {
            let part = self
                .part(datastore, channel, since, next.as_deref())
                .await?;
            let taken = store.take_opt_outs(&self.account.id, Entrance::Merge, part.entries);
            changed += taken.await?;
            next = part.next;
            if next.is_none() {
                break;
            }
        }
        if store.load_setting(&begun).await? != Some(token) {
            return Err(Failure::Lost);
        }
        let merged = Merged {
            place: datastore.place().to_owned(),
            at: began.0,
        };
        let merged = serde_json::to_string(&merged).unwrap_or_default();
        store.save_setting(&setting, Some(merged)).await?;
        store.save_setting(&begun, None).await?;
        Ok(changed)
    }

    /// A part of what is there. One call that fails does not begin a long list anew.
    async fn part(
        &self,
        datastore: &OptOuts,
        channel: &ChannelId,
        since: UnixMs,
        behind: Option<&str>,
    ) -> Result<Kept, Failure> {
        for tries in 1..TRIES {
            match datastore.read(channel, since, behind).await {
                Err(error) if error.is_worth_retrying() => sleep(PAUSES.0 * tries).await,
                read => return Ok(read?),
            }
        }
        Ok(datastore.read(channel, since, behind).await?)
    }

    /// Writes what Datastore lacks, once; whether there may be more.
    async fn write(&self, most: u64) -> Result<bool, Failure> {
        let Some(datastore) = &self.datastore else {
            return Ok(false);
        };
        let (store, account) = (&self.outbox.store, &self.account.id);
        let owed = store
            .owed_opt_outs(account, &self.channels, most, clock::now())
            .await?;
        if owed.is_empty() {
            return Ok(false);
        }
        let is_full = owed.len() as u64 == most;
        let later = datastore.write(&owed).await?;
        if !later.is_empty() {
            let merge = Entrance::Merge;
            store.take_opt_outs(account, merge, later).await?;
        }
        store.opt_outs_kept(account, owed).await?;
        Ok(is_full)
    }
}

/// The name under which it is kept up to when a channel's opt-outs are known.
fn setting(channel: &ChannelId) -> String {
    format!("opt_outs_merged:{channel}")
}
