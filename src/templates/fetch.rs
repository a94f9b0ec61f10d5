//! Fetching the list: one fetch at a time, on a timer and when somebody asks.

use super::known::{CONFIRM, Known};
use super::{LEAST_GAP, List, Progress, Templates};
use crate::clock::now;
use crate::domain::Answer;
use crate::domain::template::TemplateList;
use crate::outbox::retry_delay;
use crate::store::CachedTemplates;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The first pause after a list that could not be fetched; doubles up to [`LEAST_GAP`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);

impl Templates {
    /// Fetches the list now, or waits for the fetch that is under way.
    pub async fn refresh(&self) -> Result<(), Answer> {
        let seen = self.progress().ended;
        let this = self.clone();
        // A task of its own: whoever stops waiting leaves the fetch to the others.
        let step = tokio::spawn(async move { this.fetch(seen).await });
        step.await.unwrap_or_else(|_| Err(Answer::default()))
    }

    pub(super) fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.shared
            .progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches unless a fetch has ended since the caller had `seen` that many end.
    async fn fetch(&self, seen: u64) -> Result<(), Answer> {
        let mut last = self.shared.flight.lock().await;
        let asked = Instant::now();
        {
            let mut progress = self.progress();
            if progress.ended != seen {
                return last.clone();
            }
            progress.began = Some(asked);
            progress.running = true;
        }
        let account = &self.shared.account;
        *last = match self.shared.provider.list_templates().await {
            Ok(list) => {
                self.take(list, asked).await;
                Ok(())
            }
            Err(answer) => {
                warn!(
                    %account, answer = answer.summary(), event = "templates_not_fetched",
                    "the templates cannot be fetched"
                );
                Err(answer)
            }
        };
        let mut progress = self.progress();
        progress.ended += 1;
        progress.running = false;
        last.clone()
    }

    async fn take(&self, list: TemplateList, asked: Instant) {
        let (account, before) = (&self.shared.account, self.list());
        let known = before.known.fold(list, asked, now());
        self.tell(&before.known, &known);
        let kept = CachedTemplates {
            fetched_at: known.kept_at(),
            variants: known.variants().cloned().collect(),
        };
        if let Err(error) = self.shared.cache.save_templates(account, &kept).await {
            warn!(
                %account, %error, event = "templates_not_stored",
                "the templates cannot be stored"
            );
        }
        if known.in_doubt {
            self.shared.doubted.notify_one();
        }
        let round = before.round + 1;
        self.put(List { known, round });
    }

    fn tell(&self, before: &Known, after: &Known) {
        let account = &self.shared.account;
        let variants = after.variants().count();
        info!(%account, variants, event = "templates_fetched", "fetched the templates");
        let lost = after.lost();
        if after.in_doubt && (!before.in_doubt || lost != before.lost()) {
            warn!(
                %account, lost, wait_s = CONFIRM.as_secs(),
                event = "templates_in_doubt",
                "the provider's template list lost templates or is empty; no template is called \
                 missing until another list says the same, messages wait in the queue meanwhile"
            );
        }
        if before.in_doubt && !after.in_doubt {
            info!(
                %account, variants, event = "templates_certain",
                "the template list is no longer in doubt"
            );
        }
        if !after.whole && (before.whole || before.fetched_at.is_none()) {
            warn!(
                %account,
                event = "templates_not_whole",
                "the provider's template list is not whole; a template that is not on it is not \
                 called missing, its messages wait in the queue"
            );
        }
    }

    /// Waits for the time of the next list: a list in doubt is followed by another soon, whoever
    /// asked for it.
    async fn rest(&self, interval: Duration) {
        let second = async {
            self.shared.doubted.notified().await;
            tokio::time::sleep(CONFIRM).await;
        };
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = second => {}
        }
    }

    /// Renews the list every `interval`, until `shutdown`. After a failure it is tried again soon,
    /// then ever later, and at once when the tokens change.
    #[tracing::instrument(name = "templates", level = "debug", skip_all, fields(account = %self.shared.account))]
    pub async fn keep_fresh(&self, interval: Duration, shutdown: CancellationToken) {
        let mut tokens = self.shared.provider.token_changes();
        let renew = async {
            let mut failures = 0;
            loop {
                if self.refresh().await.is_ok() {
                    failures = 0;
                    self.rest(interval).await;
                    continue;
                }
                failures += 1;
                let pause = retry_delay(failures, FIRST_PAUSE, interval.min(LEAST_GAP), 1.0);
                tokio::select! {
                    () = tokens.next() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = renew => {}
        }
    }
}
