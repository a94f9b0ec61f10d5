//! People: they answer what they got, and some want no more. Strangers are told of by Jumper too.

use crate::fault::plan::Plan;
use crate::fault::run::now_ms;
use crate::fault::traffic::{person, twin};
use crate::kit::harness::{Sandbox, digits};
use fastrand::Rng;
use reqwest::Client;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long Jumper may need to hand over what was said, whatever is broken meanwhile.
const HAND_OVER: Duration = Duration::from_secs(90);
/// How often a person looks at the phone.
const LOOK: Duration = Duration::from_millis(200);

/// What a person said.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) n: usize,
    pub(crate) text: String,
    /// Whether the gateway answered 200.
    pub(crate) taken: bool,
    /// When that was heard, in milliseconds since 1970.
    pub(crate) at_ms: i64,
}

impl Said {
    /// Whether the person wants no more messages.
    pub(crate) fn is_stop(&self) -> bool {
        self.text == "STOP"
    }
}

/// What the person who gets message `n` will say, and how it comes.
fn words(n: usize) -> Option<(String, &'static str)> {
    // Only the message that was sent to a person can be meant by what nothing is quoted in.
    if twin(n).is_some() {
        return None;
    }
    match n % 20 {
        5 | 15 => Some((format!("reply {n}"), "quoted")),
        10 => Some((format!("reply {n}"), "click")),
        3 => Some((format!("reply {n}"), "free")),
        13 => Some(("STOP".to_owned(), "free")),
        _ => None,
    }
}

/// Lets people answer the first half of the messages, as soon as they have them; `all_sent` tells
/// them that they will get no more.
pub(crate) async fn answer(
    http: &Client,
    plan: &Plan,
    url: &str,
    all_sent: CancellationToken,
) -> Vec<Said> {
    let mut rng = Rng::with_seed(plan.seed ^ 0xa5);
    let mut people = JoinSet::new();
    for n in 0..plan.messages / 2 {
        if let Some((text, kind)) = words(n) {
            let pause = Duration::from_millis(rng.u64(0..1_500));
            let (http, url, all_sent) = (http.clone(), url.to_owned(), all_sent.clone());
            people.spawn(async move {
                let id = got(&http, &url, n, &all_sent).await?;
                // waits because people read before they write
                tokio::time::sleep(pause).await;
                let wish = json!({ "message_id": id, "text": text, "kind": kind });
                let delivery = post(&http, &format!("{url}/_sandbox/reply"), &wish).await;
                let taken = delivery["status"] == 200;
                let at_ms = now_ms();
                Some(Said {
                    n,
                    text,
                    taken,
                    at_ms,
                })
            });
        }
    }
    people.join_all().await.into_iter().flatten().collect()
}

/// The provider's id of message `n`, once it was sent; none if it never is.
async fn got(http: &Client, url: &str, n: usize, all_sent: &CancellationToken) -> Option<String> {
    let to = person(n);
    loop {
        let is_last_look = all_sent.is_cancelled();
        let asked = http.get(format!("{url}/_sandbox/sends?to={}", digits(&to)));
        if let Ok(answer) = asked.send().await {
            let sends: Value = answer.json().await.unwrap_or_default();
            if let Some(id) = sends[0]["message_id"].as_str() {
                return Some(id.to_owned());
            }
        }
        if is_last_look {
            return None;
        }
        tokio::select! {
            // waits because people look now and then
            () = tokio::time::sleep(LOOK) => {}
            () = all_sent.cancelled() => {}
        }
    }
}

async fn post(http: &Client, url: &str, body: &Value) -> Value {
    let request = http.post(url).json(body);
    match request.timeout(HAND_OVER).send().await {
        Ok(answer) => answer.json().await.unwrap_or_default(),
        Err(_) => Value::Null,
    }
}

/// A stranger's message to the same person, of which Jumper tells before ours is accepted: it is no
/// evidence for ours. No person is told of more than one.
pub(crate) async fn stranger(http: &Client, plan: &Plan, url: &str, n: usize) {
    if n % 8 != 6 || plan.shifts_clocks() {
        return;
    }
    let body = json!({ "event": { "type": "UPDATE", "subscription_type": "livechat", "data": {
        "message_uuid": format!("stranger-{n}"), "status": "delivered", "channel": "whatsapp",
        "to": digits(&person(n)), "timestamp": "2031-03-01T10:00:00Z" } } });
    let wish = json!({ "body": body });
    post(http, &format!("{url}/_sandbox/events"), &wish).await;
}

/// Whether a message to someone who said STOP is refused.
pub(crate) async fn is_refused(sandbox: &Sandbox, door: &str, said: &Said) -> bool {
    let body = crate::fault::traffic::message(&format!("stop{}", said.n), said.n);
    let request = sandbox
        .http
        .post(format!("http://{door}/jumper_send_whatsapp"));
    let request = request.bearer_auth(crate::kit::harness::TOKEN).body(body);
    let Ok(answer) = request.send().await else {
        return false;
    };
    answer.text().await.is_ok_and(|text| text.contains("7003"))
}
