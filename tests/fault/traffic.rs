//! MoEngage's part: posts every message at a fixed rate, and again until it is told `success`, as
//! its connector does. Some it posts twice.

use crate::fault::books::tag;
use crate::fault::people::stranger;
use crate::fault::plan::Plan;
use crate::fault::run::now_ms;
use crate::kit::harness::{TOKEN, send};
use fastrand::Rng;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How long MoEngage waits for an answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// Its pause before the next try.
const PAUSE: Duration = Duration::from_millis(150);
/// How long a message may stay unaccepted after the last harm.
const GIVE_UP: Duration = Duration::from_secs(90);
/// Posts at once.
const AT_ONCE: usize = 48;

/// Who gets message `n`. Of eight people one gets two.
pub(crate) fn person(n: usize) -> String {
    let whose = if n % 8 == 1 { n - 1 } else { n };
    format!("+1202{}", FIRST + whose)
}

/// The other message to the person who gets message `n`, if there is one.
pub(crate) fn twin(n: usize) -> Option<usize> {
    (n % 8 < 2).then_some(n ^ 1)
}

/// A message, known again by a parameter of its template.
pub(crate) fn message(msg_id: &str, n: usize) -> String {
    let words = ["Ana".to_owned(), tag(n)].map(|text| json!({ "type": "text", "text": text }));
    let components = json!([{ "type": "body", "parameters": words }]);
    send(msg_id, &person(n), "order_update", "en_US", components).to_string()
}

/// The first of the numbers, without the area.
pub(crate) const FIRST: usize = 2_000_000;

/// What MoEngage knows of its posts when all are done.
#[derive(Debug, Default)]
pub(crate) struct Posted {
    /// Posts that were answered `success`, repeats included.
    pub(crate) successes: AtomicUsize,
    /// When each was first answered so, and when that post began, in milliseconds since 1970.
    accepted: std::sync::Mutex<BTreeMap<usize, (i64, i64)>>,
    /// Answers that the message cannot be stored now.
    pub(crate) refused: AtomicUsize,
    /// Answers that a good message must not get, the first few.
    pub(crate) wrong: std::sync::Mutex<Vec<String>>,
}

impl Posted {
    pub(crate) fn accepted_at(&self) -> BTreeMap<usize, i64> {
        let posts = self.posts();
        posts.into_iter().map(|(n, (_, at))| (n, at)).collect()
    }

    /// From and until when each was stored.
    pub(crate) fn posts(&self) -> BTreeMap<usize, (i64, i64)> {
        self.accepted.lock().expect("no panic holds it").clone()
    }
}

/// Posts all messages of a plan; returns when each has been answered `success`.
pub(crate) async fn post_all(
    plan: &Arc<Plan>,
    door: SocketAddr,
    fakes: &str,
    posted: &Arc<Posted>,
) {
    // Of several gateways each is to get its share: a connection stays with one.
    let idle = if plan.replicas > 1 { 0 } else { AT_ONCE };
    let http = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(idle)
        .timeout(PATIENCE)
        .build()
        .expect("a client");
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut rng = Rng::with_seed(plan.seed);
    let mut posts = JoinSet::new();
    let started = Instant::now();
    for n in 0..plan.messages {
        let due = started + Duration::from_secs_f64(n as f64 / plan.post_rate());
        // waits because MoEngage posts at this rate
        tokio::time::sleep_until(due.into()).await;
        let again = match rng.f64() < plan.repeats {
            true => rng.usize(1..4),
            false => 0,
        };
        for copy in 0..=again {
            let later = match copy {
                0 => 0,
                _ => rng.u64(0..6_000) * u64::from(rng.bool()),
            };
            let (http, places, posted) = (http.clone(), places.clone(), posted.clone());
            let (plan, fakes) = (plan.clone(), fakes.to_owned());
            posts.spawn(async move {
                // Copies do not wait, and by then it would be no stranger's.
                if again == 0 {
                    stranger(&http, &plan, &fakes, n).await;
                }
                // waits because the repeat of a message comes later
                tokio::time::sleep(Duration::from_millis(later)).await;
                until_taken(&http, &places, &posted, door, n).await;
            });
        }
        while posts.try_join_next().is_some() {}
    }
    while let Some(post) = posts.join_next().await {
        post.expect("a post does not panic");
    }
}

async fn until_taken(
    http: &reqwest::Client,
    places: &Semaphore,
    posted: &Posted,
    door: SocketAddr,
    n: usize,
) {
    let body = message(&format!("m{n}"), n);
    let give_up = Instant::now() + GIVE_UP;
    loop {
        let (begun_ms, answer) = {
            let _place = places.acquire().await.expect("never closed");
            let request = http
                .post(format!("http://{door}/jumper_send_whatsapp"))
                .bearer_auth(TOKEN)
                .body(body.clone());
            (now_ms(), read(request).await)
        };
        match answer {
            Some((200, text)) if text == r#"{"status":"success"}"# => {
                posted.successes.fetch_add(1, Ordering::Relaxed);
                let mut accepted = posted.accepted.lock().expect("no panic holds it");
                accepted.entry(n).or_insert_with(|| (begun_ms, now_ms()));
                return;
            }
            // What MoEngage tries again: no answer, and the 5xx.
            None => {}
            Some((500..=599, _)) => {
                posted.refused.fetch_add(1, Ordering::Relaxed);
            }
            Some((status, text)) => {
                let mut wrong = posted.wrong.lock().expect("no panic holds it");
                wrong.push(format!("m{n} was answered {status} {text}"));
                return;
            }
        }
        if Instant::now() > give_up {
            let mut wrong = posted.wrong.lock().expect("no panic holds it");
            return wrong.push(format!("m{n} was not accepted within {GIVE_UP:?}"));
        }
        // waits because MoEngage tries again later
        tokio::time::sleep(PAUSE).await;
    }
}

async fn read(request: reqwest::RequestBuilder) -> Option<(u16, String)> {
    let answer = request.send().await.ok()?;
    let status = answer.status().as_u16();
    Some((status, answer.text().await.ok()?))
}
