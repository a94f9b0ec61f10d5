//! Alerts: what a person must hear of. Always an error in the log; a line in Slack where
//! `SLACK_WEBHOOK_URL` is set. Never waits, never fails the caller.

use secrecy::{ExposeSecret, SecretString};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::sync::mpsc;

/// Lines that may wait for Slack; more are only logged.
const MOST_WAITING: usize = 32;

static SLACK: OnceLock<mpsc::Sender<String>> = OnceLock::new();

/// Tells a person.
pub fn tell(text: &str) {
    tracing::error!(alert = true, "{text}");
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
        .build()?;
    let (sender, mut lines) = mpsc::channel::<String>(MOST_WAITING);
    if SLACK.set(sender).is_err() {
        return Ok(());
    }
    tokio::spawn(async move {
        while let Some(line) = lines.recv().await {
            let body = serde_json::json!({ "text": format!("WhatsApp gateway: {line}") });
            let posted = client.post(url.expose_secret()).json(&body).send().await;
            if let Err(error) = posted.and_then(reqwest::Response::error_for_status) {
                // The address is a secret; the error would print it.
                tracing::warn!(error = %error.without_url(), "an alert did not reach Slack");
            }
        }
    });
    Ok(())
}
