//! One post to MoEngage, and what its answer means for each entry.

use super::{STORE_PAUSE, SUSPECT_AFTER, Settings, pause};
use crate::clock;
use crate::domain::callback::Delivery;
use crate::domain::{Callback, MsgId, UnixMs};
use crate::doors::Door;
use crate::outbox::Outbox;
use crate::store::{CallbackLease, CallbackQueue, PendingCallback, RelayOutcome};
use crate::telemetry::{OncePerSecond, caught};
use metrics::{counter, histogram};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Lines about answers that speak of a failure.
static WARNINGS: OncePerSecond = OncePerSecond::new();
/// Lines about refused callbacks that are about no message of ours: strangers can bring them about.
static NOBODYS: OncePerSecond = OncePerSecond::new();

/// What became of a callback.
pub(super) struct End {
    take: CallbackLease,
    outcome: RelayOutcome,
    /// The message it is about, for the log.
    msg_id: Option<MsgId>,
}

/// What became of one post: each callback's end, and how the endpoint looked.
pub(super) struct Posted {
    pub(super) began: Instant,
    pub(super) ends: Vec<End>,
    pub(super) health: Health,
}

pub(super) enum Health {
    /// Something was taken, or some of many.
    Takes,
    /// The only entry is refused: it answers, but whether it takes anything is not known. The answer.
    Refuses(String),
    /// It does not take callbacks now, and why; it may have said for how long.
    Down(String, Option<Duration>),
    /// One entry that failed often before failed again, alone.
    Suspect(String),
}

/// One post with all it needs, so that it can run beside others.
pub(super) struct Post {
    pub(super) url: Arc<str>,
    pub(super) door: Door,
    pub(super) settings: Settings,
    pub(super) queue: CallbackQueue,
}

impl Post {
    /// Posts a batch and tells what became of it.
    #[tracing::instrument(name = "callback", level = "debug", skip_all, fields(channel = %self.queue.channel, entries = batch.len()))]
    pub(super) async fn run(self, batch: Vec<PendingCallback>) -> Posted {
        let began = Instant::now();
        let ended = caught(self.tell(&batch)).await;
        let (ends, health) = ended.unwrap_or_else(|_| self.put_off(&batch));
        Posted {
            began,
            ends,
            health,
        }
    }

    /// The ends of a batch whose post panicked: it is tried again as if it had not been taken, and
    /// soon each callback alone, so that one that does this every time holds back no other.
    fn put_off(&self, batch: &[PendingCallback]) -> (Vec<End>, Health) {
        let reason = "the gateway failed inside while it told this";
        let now = clock::now();
        let end = |one: &PendingCallback| self.end(one, &later(reason), now);
        (
            batch.iter().map(end).collect(),
            Health::Suspect(reason.into()),
        )
    }

    /// Posts a batch; when MoEngage refuses it, one by one, to find out who is refused.
    async fn tell(&self, batch: &[PendingCallback]) -> (Vec<End>, Health) {
        let delivery = self.post(batch).await;
        if let (Delivery::Refused { .. }, 2..) = (&delivery, batch.len()) {
            // Somebody in the batch is refused; one by one shows who.
            return self.one_by_one(batch).await;
        }
        let suspect = batch.len() == 1 && batch[0].tries >= SUSPECT_AFTER;
        let health = match &delivery {
            Delivery::Taken { .. } => Health::Takes,
            Delivery::Refused { http, text } => Health::Refuses(refused(*http, text)),
            Delivery::Later { reason, .. } if suspect => Health::Suspect(reason.clone()),
            Delivery::Later {
                reason,
                retry_after,
            } => Health::Down(reason.clone(), *retry_after),
        };
        let now = clock::now();
        let ends = batch
            .iter()
            .map(|one| self.end(one, &delivery, now))
            .collect();
        (ends, health)
    }

    async fn one_by_one(&self, batch: &[PendingCallback]) -> (Vec<End>, Health) {
        let mut health = Health::Takes;
        let mut deliveries = Vec::with_capacity(batch.len());
        for one in batch {
            let delivery = if matches!(health, Health::Down(..)) {
                // The endpoint went away meanwhile: the rest was not tried.
                later("not tried")
            } else {
                self.post(std::slice::from_ref(one)).await
            };
            if let (
                Health::Takes,
                Delivery::Later {
                    reason,
                    retry_after,
                },
            ) = (&health, &delivery)
            {
                health = Health::Down(reason.clone(), *retry_after);
            }
            deliveries.push(delivery);
        }
        let is_refused = |one: &Delivery| matches!(one, Delivery::Refused { .. });
        if let Some(Delivery::Refused { http, text }) = deliveries.last()
            && deliveries.iter().all(is_refused)
        {
            // All refused says more about the endpoint than about the entries. They are told alone
            // after some tries, and then each one's refusal counts.
            let reason = format!("every entry was refused: {}", refused(*http, text));
            deliveries.fill(later(&reason));
            health = Health::Down(reason, None);
        }
        let now = clock::now();
        let ends = batch.iter().zip(&deliveries);
        let ends = ends
            .map(|(one, delivery)| self.end(one, delivery, now))
            .collect();
        (ends, health)
    }

    async fn post(&self, batch: &[PendingCallback]) -> Delivery {
        let entries: Vec<Callback> = batch.iter().map(|one| one.callback.clone()).collect();
        let began = Instant::now();
        let mut delivery = self.door.post(&self.url, &entries).await;
        if let Delivery::Later {
            retry_after: Some(asked),
            ..
        } = &mut delivery
        {
            // Nobody's mistake may stop the relay for good.
            *asked = self.settings.longest_pause.min(*asked);
        }
        let channel = || self.queue.channel.as_str().to_owned();
        histogram!("gateway_callback_seconds", "channel" => channel())
            .record(began.elapsed().as_secs_f64());
        if let Delivery::Taken {
            warning: Some(warning),
            ..
        } = &delivery
            && WARNINGS.passes()
        {
            tracing::warn!(
                channel = %self.queue.channel,
                lane = self.queue.destination.as_str(),
                entries = batch.len(),
                warning,
                event = "callback_taken_with_warning",
                "MoEngage took callbacks and speaks of a failure; they are not told again"
            );
        }
        let outcome = match &delivery {
            Delivery::Taken { .. } => "taken",
            Delivery::Refused { .. } => "refused",
            Delivery::Later { .. } => "later",
        };
        let lane = self.queue.destination.as_str();
        counter!("gateway_callback_posts_total",
            "channel" => channel(), "lane" => lane, "outcome" => outcome)
        .increment(1);
        delivery
    }

    fn end(&self, one: &PendingCallback, delivery: &Delivery, now: UnixMs) -> End {
        let msg_id = match &one.callback {
            Callback::Status(entry) => Some(&entry.msg_id),
            Callback::Inbound(entry) => entry.msg_id.as_ref(),
        };
        End {
            take: one.handle,
            outcome: self.outcome(one, delivery, now),
            msg_id: msg_id.cloned(),
        }
    }

    fn outcome(&self, one: &PendingCallback, delivery: &Delivery, now: UnixMs) -> RelayOutcome {
        match delivery {
            Delivery::Taken { http, .. } => RelayOutcome::Taken {
                summary: format!("HTTP {http}"),
            },
            Delivery::Refused { http, text } => RelayOutcome::Dead {
                reason: format!("refused with HTTP {http}: {text}"),
            },
            Delivery::Later { reason, .. }
                if clock::moment().earliest.since(one.created) > self.settings.retry_for =>
            {
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

fn refused(http: u16, text: &str) -> String {
    format!("HTTP {http} {text}").trim_end().to_owned()
}

fn later(reason: &str) -> Delivery {
    Delivery::Later {
        reason: reason.into(),
        retry_after: None,
    }
}

/// Keeps the ends of callbacks, however long the store needs. What became due by it is looked for.
pub(super) async fn settle(outbox: Outbox, queue: CallbackQueue, ends: Vec<End>) {
    let pair = |end: &End| (end.take, end.outcome.clone());
    loop {
        let pairs = ends.iter().map(pair).collect();
        let stored = outbox.store.settle_callbacks(&queue, pairs, clock::now());
        // What panicked may have been stored or not; once more does no harm.
        let error = match caught(stored).await {
            Ok(Ok(())) => break,
            Ok(Err(error)) => {
                outbox.failed(&error);
                error.to_string()
            }
            Err(_) => "the gateway failed inside".to_owned(),
        };
        tracing::warn!(channel = %queue.channel, error,
            event = "callback_end_not_stored",
            "the end of a callback could not be stored; retrying every second");
        sleep(STORE_PAUSE).await;
    }
    outbox.wakeup(&queue).notify_one();
    for end in &ends {
        if let RelayOutcome::Dead { reason } = &end.outcome {
            let msg_id = end.msg_id.as_ref().map_or("", MsgId::as_str);
            if msg_id.is_empty() && !NOBODYS.passes() {
                continue;
            }
            tracing::warn!(channel = %queue.channel, msg_id, lane = queue.destination.as_str(), %reason,
                event = "callback_dead",
                "MoEngage does not take this callback; it is kept as a dead letter");
        }
    }
}
