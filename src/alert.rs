//! Alerts: what a person must hear of. Always an error in the log; a line in Slack where
//! `SLACK_WEBHOOK_URL` is set. Never waits, never fails the caller.

use secrecy::{ExposeSecret, SecretString};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::sync::mpsc;

/// Lines that may wait for Slack; more are only logged.
const MOST_WAITING: usize = 32;
/// The most characters of a line that Slack is told.
const LONGEST: usize = 1000;

static SLACK: OnceLock<mpsc::Sender<String>> = OnceLock::new();

/// Tells a person.
pub fn tell(text: &str) {
    // As a value, because it may hold words of others.
    tracing::error!(alert = true, what = text, "a person is needed");
    metrics::counter!("gateway_alerts_total").increment(1);
    if let Some(slack) = SLACK.get() {
        // A full queue means that Slack is slow; the log has the line.
        let _ = slack.try_send(text.to_owned());
    }
}

/// Starts telling Slack too. The task ends with the runtime.
pub fn start_slack(url: SecretString) -> Result<(), reqwest::Error> {
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
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
            tracing::warn!(answer, "an alert did not reach Slack");
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
