//! One post to MoEngage, and what its answer means for each entry.

use super::{SUSPECT_AFTER, Settings, pause};
use crate::clock;
use crate::domain::{Callback, Lane, UnixMs};
use crate::moengage::callback::{Callbacks, Delivery};
use crate::store::{PendingCallback, RelayOutcome};
use metrics::{counter, histogram};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What became of one post: each callback's end, and how the endpoint looked.
pub(super) struct Posted {
    pub(super) ends: Vec<(i64, RelayOutcome)>,
    pub(super) health: Health,
}

pub(super) enum Health {
    Answers,
    /// It does not take callbacks now; it may have said for how long.
    Down(Option<Duration>),
    /// One entry that failed often before failed again, alone.
    Suspect,
}

/// One post with all it needs, so that it can run beside others.
pub(super) struct Post {
    pub(super) url: Arc<str>,
    pub(super) callbacks: Callbacks,
    pub(super) settings: Settings,
    pub(super) lane: Lane,
}

impl Post {
    /// Posts a batch; when MoEngage refuses it, one by one, to find out who is refused.
    pub(super) async fn run(self, batch: Vec<PendingCallback>) -> Posted {
        let delivery = self.post(&batch).await;
        if let (Delivery::Refused { .. }, 2..) = (&delivery, batch.len()) {
            // Somebody in the batch is refused; one by one shows who.
            return self.one_by_one(batch).await;
        }
        let suspect = batch.len() == 1 && batch[0].tries >= SUSPECT_AFTER;
        let health = match &delivery {
            Delivery::Taken { .. } | Delivery::Refused { .. } => Health::Answers,
            Delivery::Later { .. } if suspect => Health::Suspect,
            Delivery::Later { retry_after, .. } => Health::Down(*retry_after),
        };
        let now = clock::now();
        let ends = batch
            .iter()
            .map(|one| (one.handle, self.end(one, &delivery, now)))
            .collect();
        Posted { ends, health }
    }

    async fn one_by_one(&self, batch: Vec<PendingCallback>) -> Posted {
        let mut posted = Posted {
            ends: Vec::with_capacity(batch.len()),
            health: Health::Answers,
        };
        for one in &batch {
            let delivery = if matches!(posted.health, Health::Down(_)) {
                // The endpoint went away meanwhile: the rest was not tried.
                Delivery::Later {
                    reason: "not tried".into(),
                    retry_after: None,
                }
            } else {
                self.post(std::slice::from_ref(one)).await
            };
            if let Delivery::Later { retry_after, .. } = &delivery {
                posted.health = Health::Down(*retry_after);
            }
            posted
                .ends
                .push((one.handle, self.end(one, &delivery, clock::now())));
        }
        let dead = |(_, end): &(i64, RelayOutcome)| matches!(end, RelayOutcome::Dead { .. });
        if posted.ends.iter().all(dead) {
            // All refused says more about the endpoint than about the entries. They are told alone
            // after some tries, and then each one's refusal counts.
            let now = clock::now();
            let later = Delivery::Later {
                reason: "all were refused".into(),
                retry_after: None,
            };
            for (one, end) in batch.iter().zip(&mut posted.ends) {
                end.1 = self.end(one, &later, now);
            }
            posted.health = Health::Down(None);
        }
        posted
    }

    async fn post(&self, batch: &[PendingCallback]) -> Delivery {
        let entries: Vec<Callback> = batch.iter().map(|one| one.callback.clone()).collect();
        let body = self.callbacks.batch(&entries);
        let began = Instant::now();
        let delivery = self.callbacks.post(&self.url, &body).await;
        histogram!("gateway_callback_seconds").record(began.elapsed().as_secs_f64());
        if let Delivery::Taken {
            warning: Some(warning),
            ..
        } = &delivery
        {
            tracing::warn!(
                lane = self.lane.as_str(),
                entries = batch.len(),
                warning,
                "MoEngage took callbacks and speaks of a failure; they are not told again"
            );
        }
        let outcome = match &delivery {
            Delivery::Taken { .. } => "taken",
            Delivery::Refused { .. } => "refused",
            Delivery::Later { .. } => "later",
        };
        counter!("gateway_callback_posts_total", "lane" => self.lane.as_str(), "outcome" => outcome)
            .increment(1);
        delivery
    }

    fn end(&self, one: &PendingCallback, delivery: &Delivery, now: UnixMs) -> RelayOutcome {
        match delivery {
            Delivery::Taken { http, .. } => RelayOutcome::Taken {
                summary: format!("HTTP {http}"),
            },
            Delivery::Refused { http, text } => RelayOutcome::Dead {
                reason: format!("refused with HTTP {http}: {text}"),
            },
            Delivery::Later { reason, .. } if now.since(one.created) > self.settings.retry_for => {
                RelayOutcome::Dead {
                    reason: format!("not taken in time: {reason}"),
                }
            }
            Delivery::Later { retry_after, .. } => {
                let pause = pause(one.tries + 1, self.settings.longest_pause);
                RelayOutcome::Later {
                    due: now.plus(pause.max(retry_after.unwrap_or_default())),
                }
            }
        }
    }
}
