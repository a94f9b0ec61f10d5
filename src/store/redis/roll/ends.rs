//! How attempts ended that were put back: said again until Redis has it.

use super::super::memory::{Attempt, End};
use super::super::{AccountKeys, Store};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Ends that are stored at once.
const ENDS_AT_ONCE: usize = 32;
/// The pause before an end is stored again.
const END_AGAIN: Duration = Duration::from_secs(1);
/// How long after the last of them replies wait for more (lua/common.lua).
const LATELY: Duration = Duration::from_secs(5);

impl Store {
    /// Says again how attempts ended that were put back.
    pub(super) async fn store_ends(self, home: AccountKeys, ends: Vec<(Attempt, End)>) {
        let _ending = home.standing.ends.lock().await;
        for some in ends.chunks(ENDS_AT_ONCE) {
            let mut all = JoinSet::new();
            for (attempt, end) in some {
                all.spawn(self.clone().store_end(attempt.clone(), end.clone()));
            }
            all.join_all().await;
            self.go_on_waiting(&home).await;
        }
    }

    /// There may be more ends to come: replies that may be about these messages wait (lua/take_callbacks.lua).
    async fn go_on_waiting(&self, home: &AccountKeys) {
        let mut set = redis::cmd("SET");
        let lately = format!("{}lately", home.prefix);
        set.arg(lately)
            .arg(1)
            .arg("PX")
            .arg(LATELY.as_millis() as u64);
        if let Err(error) = self.shared.connection.command_beside::<()>(&set).await {
            tracing::debug!(account = %home.account, %error, "replies may be told before all ends are stored");
        }
    }

    async fn store_end(self, attempt: Attempt, end: End) {
        let channel = &attempt.channel;
        loop {
            match self.settle_at(channel, attempt.key(), end.clone()).await {
                Ok(folded) => {
                    let wake = folded.wake.iter();
                    return wake.for_each(|channel| self.shared.ledgers.wake(channel));
                }
                Err(error) => tracing::warn!(%channel, msg_id = attempt.msg_id, %error,
                    event = "forgotten_end_not_stored",
                    "the outcome of a send that Redis forgot could not be stored; retrying"),
            }
            // waits because Redis may be on its way back
            sleep(END_AGAIN).await;
        }
    }
}
