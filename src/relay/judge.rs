//! What a post says about the endpoint: whether to go on, to pause, and what a person is told.

use super::post::Health;
use super::{Relay, pause};
use crate::alert::{self, Code};
use std::time::Duration;
use tokio::time::Instant;

/// Refusals in a row, and nothing taken in between, that say something about the endpoint.
const REFUSALS: u32 = 3;

impl Relay {
    /// Draws the conclusions of a post that began then.
    pub(super) async fn judge(&mut self, began: Instant, health: &Health) {
        match health {
            // While all is well one entry that is not taken says nothing about the endpoint.
            Health::Suspect(_) if self.failures == 0 => {}
            Health::Takes => {
                self.refusals = 0;
                if std::mem::take(&mut self.troubled) {
                    self.recovered();
                }
                self.go_on().await;
            }
            // It answers, so nothing is paused; but it takes nothing.
            Health::Refuses(answer) => {
                self.refusals = self.refusals.saturating_add(1);
                if self.refusals >= REFUSALS || self.troubled {
                    self.in_trouble(answer, "Refused callbacks are kept as dead letters");
                }
                self.go_on().await;
            }
            Health::Down(reason, asked) => self.pause(began, reason, asked.unwrap_or_default()),
            Health::Suspect(reason) => self.pause(began, reason, Duration::ZERO),
        }
    }

    /// After failures everything is due at once.
    async fn go_on(&mut self) {
        if std::mem::take(&mut self.failures) > 0 {
            (self.failed_at, self.paused_until) = (None, None);
            self.hasten().await;
        }
    }

    /// Whom an alert is about.
    fn subject(&self) -> String {
        let (channel, lane) = (&self.queue.channel, self.queue.destination.as_str());
        format!("channel {channel}, {lane} lane")
    }

    fn recovered(&self) {
        tracing::info!(channel = %self.queue.channel, lane = self.queue.destination.as_str(),
            event = "callbacks_work_again",
            "MoEngage takes callbacks again; everything that waits is due now");
        self.standing.works(&self.queue);
        alert::over(Code::CallbacksFailing, &self.subject());
    }

    fn in_trouble(&mut self, answer: &str, consequence: &str) {
        self.troubled = true;
        self.standing.fails(&self.queue, answer);
        let channel = &self.queue.channel;
        let text = format!(
            "MoEngage does not take callbacks of channel {channel}: {answer}. {consequence}; check \
             its callback_url (MOENGAGE_CALLBACK_URL)."
        );
        alert::trouble(Code::CallbacksFailing, &self.subject(), &text);
    }

    fn pause(&mut self, began: Instant, reason: &str, asked: Duration) {
        let now = Instant::now();
        let mut wait = asked;
        // Posts that were under way together fail together: that is one failure, not many.
        if self.failed_at.is_none_or(|seen| began >= seen) {
            self.failures = self.failures.saturating_add(1);
            self.failed_at = Some(now);
            wait = wait.max(pause(self.failures, self.settings.longest_pause));
            tracing::warn!(channel = %self.queue.channel, lane = self.queue.destination.as_str(),
                failures = self.failures, again_in_ms = wait.as_millis() as u64, reason,
                event = "callbacks_failing",
                "MoEngage does not take callbacks; they wait and nothing is lost");
            self.in_trouble(reason, "They wait and are tried again");
        }
        self.paused_until = self.paused_until.max(Some(now + wait));
    }
}
