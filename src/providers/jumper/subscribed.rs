//! Keeps the webhook subscription in place at Jumper: at the start, and again and again.

use super::Account;
use super::subscription::SubscriptionState;
use super::webhook::secret::Webhook;
use crate::domain::AccountId;
use crate::outbox::retry_delay;
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The first pause after a subscription that did not work.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause (design.md section 9: within 10 s when Jumper answers).
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// What is to be subscribed.
#[derive(Debug, Clone)]
pub struct WantedSubscription {
    /// Whose it is.
    pub account: AccountId,
    /// The URL; the secret of the channel's webhook is added.
    pub url: SecretString,
    /// The webhook that it leads to.
    pub webhook: Arc<Webhook>,
    /// How often it is looked at.
    pub every: Duration,
}

impl Account {
    /// Makes sure that the subscription is in place, until `stop`.
    #[tracing::instrument(name = "subscription", level = "debug", skip_all, fields(account = %wanted.account))]
    pub async fn keep_subscribed(&self, wanted: &WantedSubscription, stop: CancellationToken) {
        let mut changes = self.tokens().changes();
        let mut failures = 0;
        let webhook = &wanted.webhook;
        loop {
            // Another process may have changed it. The store's own trouble is told elsewhere.
            let _ = webhook.look().await;
            let secret = webhook.secret();
            let ensured = tokio::select! {
                ensured = self.ensure_subscription(&wanted.url, secret.as_ref()) => ensured,
                () = stop.cancelled() => return,
            };
            let wait = match ensured {
                Ok(state) => {
                    tracing::info!(
                        account = %wanted.account, %state, event = "subscription_in_place",
                        "webhook subscription is in place"
                    );
                    failures = 0;
                    let alone = state == SubscriptionState::Added;
                    // Where this cannot be stored, the next look does it.
                    let _ = webhook.confirmed(secret.as_ref(), alone).await;
                    if !webhook.is_current(secret.as_ref()) {
                        continue;
                    }
                    wanted.every
                }
                Err(answer) => {
                    failures += 1;
                    tracing::warn!(account = %wanted.account, answer = %answer.summary(),
                        event = "subscription_not_verified",
                        "could not verify the webhook subscription; retrying");
                    let most = LONGEST_PAUSE.min(wanted.every);
                    retry_delay(failures, FIRST_PAUSE, most, 1.0)
                }
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = changes.next(), if failures > 0 => {}
                () = webhook.changed() => {}
                () = stop.cancelled() => return,
            }
        }
    }
}
