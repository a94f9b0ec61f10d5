//! The loop that writes changed messages into Datastore, one an account.
//!
//! While Datastore is down the marks stay in the outbox, and one batch at a time tests it after
//! growing pauses. Never waited for by anything else.

use super::batch::{End, Written};
use super::{Records, Trouble};
use crate::alert::{self, Code};
use crate::clock;
use crate::datastore::Error;
use crate::domain::AccountId;
use crate::outbox::{Outbox, retry_delay};
use crate::store::DirtyEnd;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Entities of one transaction. Datastore takes 500; fewer keep a repeat cheap.
const BATCH: usize = 200;
/// Batches under way at once, so that the way to Google does not bound the rate.
const AT_ONCE: usize = 4;
/// How often the outbox is looked through. Changes of one message within it are one write.
const EVERY: Duration = Duration::from_millis(500);
/// The first and the longest pause when Datastore may heal by itself.
const HEALS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// The same when somebody must do something first: who has done it wants to see the records follow.
const NEEDS_A_PERSON: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// How much later than others those are tried again that failed one by one.
const BEHIND: Duration = Duration::from_secs(2);

/// Writes the records of one account.
#[derive(Debug)]
pub struct Writer {
    records: Records,
    outbox: Outbox,
    account: AccountId,
    /// Batches in a row that failed.
    failures: u32,
    /// How many records are taken at once: fewer after each failure, in case one of them is its cause.
    most: usize,
    /// Until then records of ours wait to be tried again, so nothing else has to be.
    waits_until: Instant,
}

impl Writer {
    /// The writer of an account's records.
    pub fn new(records: Records, outbox: Outbox, account: AccountId) -> Self {
        Self {
            records,
            outbox,
            account,
            failures: 0,
            most: BATCH,
            waits_until: Instant::now(),
        }
    }

    /// Writes until `stop`. What is under way then is given up: its marks are still there.
    #[tracing::instrument(name = "records", level = "debug", skip_all, fields(account = %self.account))]
    pub async fn run(mut self, stop: CancellationToken) {
        let mut batches = JoinSet::new();
        let mut look_at = Instant::now();
        loop {
            if self.has_room(&batches) && Instant::now() >= look_at {
                let more = self.begin(&mut batches).await;
                look_at = Instant::now() + if more { Duration::ZERO } else { EVERY };
            }
            tokio::select! {
                // A batch that fell needs nothing: its marks come back by themselves.
                Some(done) = batches.join_next() => if let Ok(written) = done {
                    let wait = self.ended(written).await;
                    look_at = look_at.max(Instant::now() + wait);
                },
                () = sleep_until(look_at), if self.has_room(&batches) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// While Datastore fails, one batch at a time tests it.
    fn has_room(&self, batches: &JoinSet<Written>) -> bool {
        batches.len() < if self.failures > 0 { 1 } else { AT_ONCE }
    }

    /// Begins as many batches as may be under way; whether more waits.
    async fn begin(&mut self, batches: &mut JoinSet<Written>) -> bool {
        while self.has_room(batches) {
            let store = &self.outbox.store;
            let taken = match store
                .take_dirty(&self.account, self.most, clock::now())
                .await
            {
                Ok(taken) => taken,
                Err(error) => {
                    tracing::warn!(account = %self.account, %error,
                        event = "records_not_read",
                        "changed messages could not be looked for; Datastore gets them later");
                    return false;
                }
            };
            let (records, some) = (self.records.clone(), taken.len());
            if some > 0 {
                batches.spawn(async move { records.write(taken).await });
            } else if self.failures > 0 && Instant::now() >= self.waits_until {
                // Another replica has written them, or was faster: nobody else would find out that all is well.
                self.waits_until = Instant::now() + BEHIND + EVERY;
                batches.spawn(async move { records.probe().await });
            }
            if some < self.most {
                return false;
            }
        }
        true
    }

    /// Stores how a batch ended; how long to leave Datastore alone.
    async fn ended(&mut self, written: Written) -> Duration {
        let wait = match &written.error {
            Some(error) => self.failed(error),
            None if written.has_some() || written.proved => {
                self.recovered();
                Duration::ZERO
            }
            // Who waits by itself says nothing about the others.
            None => Duration::ZERO,
        };
        if !written.left.is_empty() || !written.behind.is_empty() {
            self.waits_until = Instant::now() + wait + BEHIND + EVERY;
        }
        let due = clock::now().plus(wait);
        let later = |due| move |(handle, version)| (handle, version, DirtyEnd::Later { due });
        let left = written.left.into_iter().map(later(due));
        let behind = written.behind.into_iter().map(later(due.plus(BEHIND)));
        let ends: Vec<End> = written.ends.into_iter().chain(left).chain(behind).collect();
        let settled = self
            .outbox
            .store
            .settle_dirty(&self.account, ends, clock::now());
        if let Err(error) = settled.await {
            tracing::warn!(account = %self.account, %error,
                event = "records_not_noted",
                "what Datastore has could not be noted; it is compared once more in 30 s");
        }
        wait
    }

    fn recovered(&mut self) {
        self.most = (self.most * 2).min(BATCH);
        if std::mem::take(&mut self.failures) > 0
            && let Some(trouble) = self.records.troubles().remove(&self.account)
        {
            let minutes = clock::now().since(trouble.since).as_secs() / 60;
            tracing::info!(
                account = %self.account, minutes, event = "records_written_again",
                "Datastore takes records again"
            );
            alert::over(Code::DatastoreFailing, &self.subject());
        }
    }

    /// Whom an alert is about.
    fn subject(&self) -> String {
        format!("account {}", self.account)
    }

    fn failed(&mut self, error: &Error) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.most = (self.most / 2).max(1);
        let is_refused = error.blames_an_entity();
        let mut reason = error.with_advice();
        if is_refused {
            reason += ". It refuses every record that was tried, so look at DT_PROJECT_ID and DT_KIND, and at \
                       the database of the project";
        }
        let trouble = Trouble {
            since: clock::now(),
            reason: reason.clone(),
        };
        let mut troubles = self.records.troubles();
        let since = troubles.entry(self.account.clone()).or_insert(trouble);
        since.reason = reason.clone();
        drop(troubles);
        let heals = error.is_worth_retrying();
        if self.failures == 1 {
            tracing::warn!(account = %self.account, error = reason,
                event = "records_wait",
                "records wait for Datastore; messages are sent and told all the same");
        }
        let text = format!(
            "Records of account {} do not reach Datastore: {reason}. Messages are sent and told all \
             the same; the records wait.",
            self.account
        );
        let tell = if heals { alert::trouble } else { alert::raise };
        tell(Code::DatastoreFailing, &self.subject(), &text);
        let (first, longest) = match heals || is_refused {
            true => HEALS,
            false => NEEDS_A_PERSON,
        };
        retry_delay(self.failures, first, longest, 0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::tests::picky;
    use super::super::find::tests::{account, records};
    use super::*;
    use crate::store::{self, testing};
    use axum::http::StatusCode;

    fn answered(status: &str) -> Error {
        Error::Answered {
            status: status.into(),
            words: "said".into(),
        }
    }

    #[tokio::test]
    async fn r_66_trouble_is_over_though_another_replica_wrote_the_records() {
        let (_dir, store) = testing::store();
        let outbox = Outbox::new(store::Outbox::Embedded(store), []);
        let down = (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE");
        let (site, records) = picky(down.0, down.1, true).await;
        let account = account("acc");
        let mut writer = Writer::new(records.clone(), outbox, account.clone());
        let mut batches = JoinSet::new();
        writer.begin(&mut batches).await;
        assert!(batches.is_empty(), "nothing failed");
        let failed = Written {
            behind: vec![(1, 1)],
            error: Some(answered("UNAVAILABLE")),
            ..Written::default()
        };
        writer.ended(failed).await;
        writer.begin(&mut batches).await;
        assert!(batches.is_empty(), "a record of ours is tried soon");
        for (failures, all) in [(2, true), (0, false)] {
            writer.waits_until = Instant::now();
            site.answers(down.0, down.1, all);
            writer.begin(&mut batches).await;
            writer.begin(&mut batches).await;
            assert_eq!(
                batches.len(),
                1,
                "whatever it says, the next probe is not at once"
            );
            let probed = batches.join_next().await.unwrap().unwrap();
            let wait = writer.ended(probed).await;
            assert_eq!((writer.failures, wait > Duration::ZERO), (failures, all));
            assert_eq!(records.trouble(&account).is_some(), all);
        }
    }

    #[tokio::test]
    async fn trouble_is_told_with_what_to_do_until_it_is_over() {
        let (_dir, store) = testing::store();
        let outbox = Outbox::new(store::Outbox::Embedded(store), []);
        let (records, account) = (records(&[]), account("acc"));
        let mut writer = Writer::new(records.clone(), outbox, account.clone());
        for _ in 0..20 {
            let wait = writer.failed(&answered("UNAVAILABLE"));
            assert!(wait >= HEALS.0 / 2 && wait <= HEALS.1, "{wait:?}");
        }
        assert_eq!(writer.most, 1);
        let since = records.trouble(&account).unwrap().since;
        let wait = writer.failed(&answered("PERMISSION_DENIED"));
        assert!(wait >= HEALS.1, "pressing on is of no use: {wait:?}");
        let trouble = records.trouble(&account).unwrap();
        assert!(
            trouble.reason.contains("Cloud Datastore User"),
            "{trouble:?}"
        );
        assert_eq!(trouble.since, since);
        let wait = writer.failed(&answered("INVALID_ARGUMENT"));
        assert!(wait <= HEALS.1, "seconds after the cure: {wait:?}");
        let reason = records.trouble(&account).unwrap().reason;
        assert!(
            reason.contains("every record") && reason.contains("DT_KIND"),
            "{reason}"
        );
        writer.recovered();
        assert_eq!((records.trouble(&account), writer.failures), (None, 0));
        for _ in 0..20 {
            writer.recovered();
        }
        assert_eq!(writer.most, BATCH);
        assert!(writer.failed(&answered("ABORTED")) <= HEALS.0);
    }
}
