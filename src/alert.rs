//! Alerts: what a person must hear of, each with a stable code and the one it is about. In the log
//! always; a line in Slack where `SLACK_WEBHOOK_URL` is set. Never waits, never fails the caller.
//!
//! [`raise`] is for what needs a person, [`trouble`] for what heals by itself; [`over`] ends both.
//! `incidents` decides what is told when; `many` raises what strangers bring about at a rate.

mod incidents;
mod many;

use crate::http::outgoing;
use incidents::{Book, CALM, HEALS_WITHIN, Key, Line};
pub use many::Many;
use secrecy::{ExposeSecret, SecretString};
use std::sync::{LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

/// Lines that may wait for Slack; more are only logged.
const MOST_WAITING: usize = 32;
/// The most characters of a line that Slack is told.
const LONGEST: usize = 1000;
/// How long Slack may take for a line.
const ANSWER_IN: Duration = Duration::from_secs(10);

/// What is wrong. The words never change: people search for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// An account does not send until somebody has done something about it.
    AccountHeld,
    /// The provider answers alike to several messages; they wait for a trial.
    MessagesHeld,
    /// The provider refuses the messages to one recipient as if it refused all.
    OneRecipientRefused,
    /// The refresh token of an account is of no use any more.
    TokenDead,
    /// The provider does not work; it is tried again.
    CircuitOpen,
    /// The provider asked for a long pause.
    ProviderPause,
    /// Nothing can be stored.
    StoreUnreachable,
    /// Another installation goes on with what is stored.
    StoreTakenOver,
    /// The store went back to an older state, and not all that was sent since is known.
    StoreWentBack,
    /// The store forgot messages that were accepted.
    MessagesLost,
    /// The store is not the one that its mark is of.
    StoreIsAnother,
    /// MoEngage takes no callbacks.
    CallbacksFailing,
    /// Records do not reach Datastore.
    DatastoreFailing,
    /// The store does not have the opt-outs that Datastore keeps.
    OptOutsNotMerged,
    /// A channel is not configured any more and still has work.
    ChannelRemoved,
    /// A part of the gateway ended by itself.
    PartEnded,
    /// Many requests come without the secret or token, or with a wrong one.
    SecretsGuessed,
    /// Many people opt out.
    ManyOptOuts,
}

impl Code {
    /// The word of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccountHeld => "account_held",
            Self::MessagesHeld => "messages_held",
            Self::OneRecipientRefused => "one_recipient_refused",
            Self::TokenDead => "token_dead",
            Self::CircuitOpen => "circuit_open",
            Self::ProviderPause => "provider_pause",
            Self::StoreUnreachable => "store_unreachable",
            Self::StoreTakenOver => "store_taken_over",
            Self::StoreWentBack => "store_went_back",
            Self::MessagesLost => "messages_lost",
            Self::StoreIsAnother => "store_is_another",
            Self::CallbacksFailing => "callbacks_failing",
            Self::DatastoreFailing => "datastore_failing",
            Self::OptOutsNotMerged => "optouts_not_merged",
            Self::ChannelRemoved => "channel_removed",
            Self::PartEnded => "part_ended",
            Self::SecretsGuessed => "secrets_guessed",
            Self::ManyOptOuts => "many_opt_outs",
        }
    }
}

static SLACK: OnceLock<mpsc::Sender<String>> = OnceLock::new();
/// Locked for a moment by whoever reports, and by the timers of open incidents.
static BOOK: LazyLock<Mutex<Book>> = LazyLock::new(Mutex::default);

fn book() -> MutexGuard<'static, Book> {
    BOOK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(code: Code, subject: &str) -> Key {
    (code, subject.to_owned())
}

/// Something needs a person, who is told at once; reported again while it lasts, after hours.
/// `subject` is who is concerned, such as `account default`.
pub fn raise(code: Code, subject: &str, text: &str) {
    report(code, subject, text, true);
}

/// Something is wrong that heals by itself. A person is told when it lasts for a minute.
pub fn trouble(code: Code, subject: &str, text: &str) {
    report(code, subject, text, false);
}

fn report(code: Code, subject: &str, text: &str, at_once: bool) {
    let key = key(code, subject);
    let mut book = book();
    let begins = !book.is_open(&key);
    let lines = book.report(key, text, at_once, Instant::now());
    drop(book);
    lines.iter().for_each(emit);
    if begins && !at_once {
        look_after(HEALS_WITHIN);
    }
}

/// What was raised or in trouble is well again. Cheap when it was well before.
pub fn over(code: Code, subject: &str) {
    if book().over(&key(code, subject), Instant::now()) {
        look_after(CALM);
    }
}

/// Whether this is wrong now.
pub fn is_open(code: Code, subject: &str) -> bool {
    book().is_open(&key(code, subject))
}

/// Looks again when time may have brought something about.
fn look_after(wait: Duration) {
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    runtime.spawn(async move {
        sleep(wait).await;
        let lines = book().due(Instant::now());
        lines.iter().for_each(emit);
    });
}

fn emit(line: &Line) {
    let text = match line {
        // What is said is a value, because it may hold words of others.
        Line::Raised {
            key: (code, subject),
            text,
            lasted,
        } => {
            let (code, lasted) = (code.as_str(), lasted.as_secs());
            tracing::error!(
                alert = true,
                code,
                subject,
                what = text,
                lasts_s = lasted,
                event = "alert",
                "ALERT"
            );
            metrics::counter!("gateway_alerts_total").increment(1);
            match lasted {
                0 => format!("ALERT {code} ({subject}): {text}"),
                _ => format!("ALERT {code} ({subject}), for {lasted} s now: {text}"),
            }
        }
        Line::Resolved {
            key: (code, subject),
            lasted,
        } => {
            let (code, lasted) = (code.as_str(), lasted.as_secs());
            tracing::info!(
                code,
                subject,
                after_s = lasted,
                event = "alert_resolved",
                "RESOLVED"
            );
            format!("RESOLVED {code} ({subject}) after {lasted} s")
        }
    };
    if let Some(slack) = SLACK.get() {
        // A full queue means that Slack is slow; the log has the line.
        let _ = slack.try_send(text);
    }
}

/// Starts telling Slack too. The task ends with the runtime.
pub fn start_slack(url: SecretString) -> Result<(), outgoing::Error> {
    let client = outgoing::client(ANSWER_IN, ANSWER_IN)
        .retry(outgoing::asks_once())
        .build()?;
    let (sender, mut lines) = mpsc::channel::<String>(MOST_WAITING);
    if SLACK.set(sender).is_err() {
        return Ok(());
    }
    tokio::spawn(async move {
        while let Some(line) = lines.recv().await {
            let posted = client
                .post(url.expose_secret())
                .json(&body(&line))
                .send()
                .await;
            let answer = match posted {
                Ok(answer) if answer.status().is_success() => continue,
                Ok(answer) => format!("HTTP {}", answer.status().as_u16()),
                // The address is a secret; the error would print it.
                Err(error) => error.without_url().to_string(),
            };
            tracing::warn!(
                answer,
                event = "alert_not_delivered",
                "an alert did not reach Slack"
            );
        }
    });
    Ok(())
}

/// The message of a line. Words of others are in it: what Slack would take for a mention, a link or
/// a format is written so that it is shown as it is, and no address is looked up.
fn body(line: &str) -> serde_json::Value {
    let mut text = String::from("WhatsApp gateway: ");
    for c in line.chars().take(LONGEST) {
        match c {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            c if c.is_control() => text.push(' '),
            c => text.push(c),
        }
    }
    serde_json::json!({
        "text": text, "mrkdwn": false, "parse": "none", "link_names": false,
        "unfurl_links": false, "unfurl_media": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The timer tells, though nobody reports again.
    #[tokio::test(start_paused = true)]
    async fn r_42_trouble_is_told_after_a_minute_and_its_end_a_moment_later() {
        let subject = "account of the alert test";
        let is_reported = || book().is_told(&key(Code::CircuitOpen, subject));
        trouble(Code::CircuitOpen, subject, "503");
        sleep(HEALS_WITHIN - Duration::from_secs(1)).await;
        assert!(!is_reported() && is_open(Code::CircuitOpen, subject));
        sleep(Duration::from_secs(2)).await;
        assert!(is_reported());
        over(Code::CircuitOpen, subject);
        assert!(is_reported() && !is_open(Code::CircuitOpen, subject));
        sleep(CALM + Duration::from_secs(1)).await;
        assert!(!is_reported(), "it is forgotten");
    }

    #[test]
    fn words_of_others_are_shown_and_not_obeyed() {
        for (line, text) in [
            ("held: HTTP 401", "held: HTTP 401"),
            ("<!channel> <@U1>", "&lt;!channel&gt; &lt;@U1&gt;"),
            (
                "<https://evil.test|click>",
                "&lt;https://evil.test|click&gt;",
            ),
            ("&lt;!here&gt;", "&amp;lt;!here&amp;gt;"),
            ("a\nb\u{1b}[2J\0c", "a b [2J c"),
        ] {
            assert_eq!(body(line)["text"], format!("WhatsApp gateway: {text}"));
        }
        let body = body(&"<".repeat(100_000));
        assert!(
            body["text"]
                .as_str()
                .is_some_and(|text| text.len() < 5 * LONGEST)
        );
        for name in ["mrkdwn", "link_names", "unfurl_links", "unfurl_media"] {
            assert_eq!(body[name], false, "{name}");
        }
        assert_eq!(body["parse"], "none");
    }
}
