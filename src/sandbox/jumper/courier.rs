//! Posts Jumper's webhooks: one after another for a message, many messages at once within the knob
//! `webhook_parallel`. Sends no signature and no auth header, as Jumper does (contracts/jumper.md 6.1).

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use axum::body::Bytes;
use serde::Serialize;
use tokio::{sync::oneshot, time::sleep};

use super::{
    account::Account,
    modes::Shape,
    plan::{Content, Plan},
    record::EventRecord,
    shape::{self, Moment, Subject},
};
use crate::sandbox::{clock::now_ms, lock::lock, world::World};

/// How the client took a webhook.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Delivery {
    /// HTTP status of the last answer; absent when none came.
    pub status: Option<u16>,
    /// Body of the last answer.
    pub body: String,
    /// Milliseconds the last post took.
    pub latency_ms: u64,
    /// Posts made; none when nobody is subscribed.
    pub tries: u32,
}

impl Delivery {
    fn acknowledged(&self) -> bool {
        self.status
            .is_some_and(|status| (200..300).contains(&status))
    }
}

/// An accepted message on its way to having events.
pub(super) struct Journey {
    pub(super) subject: Subject,
    pub(super) accepted_ms: u64,
    pub(super) plan: Plan,
}

/// Starts posting a plan; the receiver, if any, tells when the first event has been answered.
pub(super) fn dispatch(
    world: &Arc<World>,
    account: &Arc<Account>,
    journey: Journey,
) -> Option<oneshot::Receiver<()>> {
    let steps = journey.plan.steps.len();
    if steps == 0 {
        return None;
    }
    account.ledger().tally.events_planned += steps as u64;
    account.pending.fetch_add(steps, Ordering::Relaxed);
    let (first, done) = oneshot::channel();
    let wait = journey.plan.before_answer;
    let (world, account) = (Arc::clone(world), Arc::clone(account));
    let tasks = world.tasks.clone();
    tasks.spawn(async move {
        let stop = world.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = travel(&world, &account, journey, first) => {}
        }
    });
    wait.then_some(done)
}

async fn travel(world: &World, account: &Account, journey: Journey, first: oneshot::Sender<()>) {
    let mut first = Some(first);
    for (order, step) in journey.plan.steps.into_iter().enumerate() {
        if step.delay_ms > 0 {
            sleep(Duration::from_millis(step.delay_ms)).await;
        }
        let (body, status, shape) = render(&journey.subject, journey.accepted_ms, &step.content);
        let said_ms = stamps(journey.accepted_ms, shape, &step.content);
        let delivery = post(world, account, body.into()).await;
        let about = About {
            message_id: &journey.subject.message_id,
            status,
            shape,
            order,
            said_ms,
        };
        record(world, account, about, &delivery);
        account.pending.fetch_sub(1, Ordering::Relaxed);
        if let Some(first) = first.take() {
            // Nobody listens when the send did not ask for its event first.
            let _ = first.send(());
        }
    }
}

fn render(
    subject: &Subject,
    accepted_ms: u64,
    content: &Content,
) -> (String, String, &'static str) {
    match content {
        Content::Odd(odd) => {
            let body = odd.body(subject, accepted_ms).to_string();
            (body, "odd".to_owned(), odd.name())
        }
        Content::Status(kind, planned) => {
            let moments: Vec<_> = planned
                .iter()
                .map(|one| Moment {
                    status: one.status,
                    at_ms: accepted_ms + one.offset_ms,
                    failure: one.failure,
                })
                .collect();
            let words: Vec<_> = moments.iter().map(|one| one.status.word()).collect();
            let body = shape::status(subject, *kind, &moments).to_string();
            (body, words.join("+"), kind.name())
        }
    }
}

/// When the statuses of an event happened, as it says; the first generation says nothing.
fn stamps(accepted_ms: u64, shape: &str, content: &Content) -> Vec<u64> {
    match content {
        Content::Status(_, planned) if shape != Shape::Gen1.name() => {
            let at = planned.iter().map(|one| accepted_ms + one.offset_ms);
            at.collect()
        }
        _ => Vec::new(),
    }
}

/// What an event is, for the record.
pub(super) struct About<'a> {
    pub(super) message_id: &'a str,
    pub(super) status: String,
    pub(super) shape: &'static str,
    pub(super) order: usize,
    pub(super) said_ms: Vec<u64>,
}

/// Keeps an event and how it was taken.
pub(super) fn record(world: &World, account: &Account, about: About<'_>, delivery: &Delivery) {
    let event = EventRecord {
        at_ms: now_ms(),
        message_id: about.message_id.to_owned(),
        status: about.status,
        shape: about.shape,
        order: about.order,
        said_ms: about.said_ms,
        acknowledged: delivery.status,
        latency_ms: delivery.latency_ms,
        tries: delivery.tries,
    };
    let keep = world.knobs().keep;
    account.ledger().event(event, delivery.acknowledged(), keep);
}

/// Posts a body to everyone subscribed, with repeats; the result is the last target's, or the first failure.
pub(super) async fn post(world: &World, account: &Account, body: Bytes) -> Delivery {
    let mut result = Delivery::default();
    for url in targets(world, account) {
        let delivery = deliver(world, &url, &body).await;
        let failed = !delivery.acknowledged();
        result = delivery;
        if failed {
            break;
        }
    }
    result
}

/// The subscribed URLs and the fixed one, each once.
fn targets(world: &World, account: &Account) -> Vec<String> {
    let fixed = account
        .merchant
        .webhook_url
        .as_ref()
        .or(world.jumper.webhook_url.as_ref());
    let mut urls: Vec<_> = lock(&account.subscriptions)
        .iter()
        .filter(|one| one.deliver)
        .map(|one| one.webhook.clone())
        .chain(fixed.cloned())
        .collect();
    urls.sort_unstable();
    urls.dedup();
    urls
}

async fn deliver(world: &World, url: &str, body: &Bytes) -> Delivery {
    let mut tries = 0;
    loop {
        let mut delivery = once(world, url, body).await;
        tries += 1;
        delivery.tries = tries;
        let knobs = world.knobs();
        if delivery.acknowledged() || tries > knobs.webhook_retries {
            return delivery;
        }
        let pause = knobs
            .webhook_retry_ms
            .saturating_mul(1 << (tries - 1).min(16))
            .min(knobs.webhook_retry_max_ms);
        sleep(Duration::from_millis(pause)).await;
    }
}

async fn once(world: &World, url: &str, body: &Bytes) -> Delivery {
    let slots = world.jumper.slots();
    // Semaphores here are never closed; without a place the post is simply not made.
    let Ok(_place) = slots.acquire().await else {
        return Delivery::default();
    };
    let started = Instant::now();
    let knobs = world.knobs();
    let mut request = world
        .client
        .post(url)
        .header("content-type", "application/json")
        .timeout(Duration::from_millis(knobs.webhook_timeout_ms))
        .body(body.clone());
    if !knobs.webhook_keep_alive {
        request = request.header("connection", "close");
    }
    let (status, body) = match request.send().await {
        Ok(response) => (
            Some(response.status().as_u16()),
            response.text().await.unwrap_or_default(),
        ),
        Err(error) => {
            tracing::debug!(%error, "webhook not answered");
            (None, String::new())
        }
    };
    let latency_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Delivery {
        status,
        body,
        latency_ms,
        tries: 1,
    }
}
