//! The demo's MoEngage as a caller: POSTs the campaign faster than the provider takes it, and
//! keeps the answers. Never retries: what is answered is what counts.

use super::super::reach;
use super::campaign::{self, Expected, Post};
use crate::http::outgoing::Client;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// POSTs a second.
pub(super) const PER_SECOND: u32 = 100;
/// POSTs at once.
const AT_ONCE: u32 = 4;
/// How long the gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Answers told when they are not the expected ones.
const MOST_WRONG: usize = 5;

/// What MoEngage was told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answers {
    /// Different messages answered success.
    pub(super) accepted: u64,
    /// Repeats answered success.
    pub(super) repeated: u64,
    /// Refusals: code and reason, and how many.
    pub(super) refused: BTreeMap<(String, String), u64>,
    /// Answers that were not the expected ones, the first few in words.
    pub(super) wrong: Vec<String>,
}

/// One answer, read.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Success,
    /// Code (or HTTP status) and reason.
    Refused(String, String),
}

/// Sends, and remembers. Clones share what they remember.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    http: Client,
    url: String,
    answers: Arc<Mutex<Answers>>,
    /// The next message to send.
    next: Arc<AtomicU32>,
}

impl Caller {
    /// A caller of this send route.
    pub(super) fn new(url: String) -> anyhow::Result<Self> {
        Ok(Self {
            http: reach::client(PATIENCE)?,
            url,
            answers: Arc::default(),
            next: Arc::default(),
        })
    }

    /// What was answered so far.
    pub(super) fn answers(&self) -> Answers {
        self.locked().clone()
    }

    /// Starts sending so many messages; the set is empty when all are answered.
    pub(super) fn start(&self, messages: u32) -> JoinSet<()> {
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..AT_ONCE {
            let caller = self.clone();
            tasks.spawn(async move {
                loop {
                    let n = caller.next.fetch_add(1, Ordering::Relaxed);
                    if n >= messages {
                        return;
                    }
                    sleep_until(began + n * Duration::from_secs(1) / PER_SECOND).await;
                    caller.message(n).await;
                }
            });
        }
        tasks
    }

    async fn message(&self, n: u32) {
        let post = campaign::post(n);
        self.send(&post, false).await;
        if campaign::is_repeated(n) {
            self.send(&post, true).await;
        }
    }

    /// Sends one POST and keeps its answer; `again` tells that it was sent before.
    pub(super) async fn send(&self, post: &Post, again: bool) {
        let request = self
            .http
            .post(format!("{}?campaign_id=spring_demo", self.url))
            .bearer_auth(post.token)
            .header("content-type", "application/json")
            .body(post.body.clone());
        let answer = match request.send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                read(status, &answer.text().await.unwrap_or_default())
            }
            Err(error) => Answer::Refused("no answer".to_owned(), reach::why(&error)),
        };
        self.locked().take(post.expected, answer, again);
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answers {
    fn take(&mut self, expected: Expected, answer: Answer, again: bool) {
        if !fits(expected, &answer) && self.wrong.len() < MOST_WRONG {
            self.wrong
                .push(format!("expected {expected:?}, got {answer:?}"));
        }
        match (answer, again) {
            (Answer::Success, false) => self.accepted += 1,
            (Answer::Success, true) => self.repeated += 1,
            (Answer::Refused(code, reason), _) => {
                *self.refused.entry((code, reason)).or_default() += 1;
            }
        }
    }
}

fn fits(expected: Expected, answer: &Answer) -> bool {
    match (expected, answer) {
        (Expected::Success | Expected::CodeSoonerOrLater(_), Answer::Success) => true,
        (
            Expected::Code(wanted) | Expected::CodeSoonerOrLater(wanted),
            Answer::Refused(code, _),
        ) => code == wanted,
        (Expected::Malformed, Answer::Refused(code, _)) => code == "HTTP 400",
        _ => false,
    }
}

/// Reads an answer (contracts/moengage.md section 4).
fn read(status: u16, body: &str) -> Answer {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or("without a reason").to_owned();
    match (status, body["status"].as_str()) {
        (200, Some("success")) => Answer::Success,
        (200, _) => Answer::Refused(
            text(&body["error"]["code"]),
            text(&body["error"]["message"]),
        ),
        _ => Answer::Refused(format!("HTTP {status}"), text(&body["message"])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str) -> Answer {
        Answer::Refused(code.to_owned(), "why".to_owned())
    }

    #[test]
    fn answers_are_read_as_the_contract_says() {
        let failure = r#"{"status":"failure","error":{"code":"7002","message":"why"}}"#;
        for (status, body, answer) in [
            (200, r#"{"status":"success"}"#, Answer::Success),
            (200, failure, refused("7002")),
            (400, r#"{"message":"why"}"#, refused("HTTP 400")),
            (
                502,
                "<html>",
                Answer::Refused("HTTP 502".into(), "without a reason".into()),
            ),
        ] {
            assert_eq!(read(status, body), answer);
        }
    }

    #[test]
    fn an_unexpected_answer_is_told() {
        for (expected, answer, right) in [
            (Expected::Success, Answer::Success, true),
            (Expected::Success, refused("7001"), false),
            (Expected::Code("7001"), refused("7001"), true),
            (Expected::Code("7001"), refused("7004"), false),
            (Expected::Code("7001"), Answer::Success, false),
            (Expected::CodeSoonerOrLater("7001"), Answer::Success, true),
            (Expected::CodeSoonerOrLater("7001"), refused("7001"), true),
            (Expected::Malformed, refused("HTTP 400"), true),
            (Expected::Malformed, refused("7001"), false),
        ] {
            let mut answers = Answers::default();
            answers.take(expected, answer, false);
            assert_eq!(answers.wrong.is_empty(), right, "{expected:?}: {answers:?}");
        }
    }

    #[test]
    fn a_repeat_is_not_a_second_message() {
        let mut answers = Answers::default();
        answers.take(Expected::Success, Answer::Success, false);
        answers.take(Expected::Success, Answer::Success, true);
        assert_eq!((answers.accepted, answers.repeated), (1, 1));
    }
}
