//! Requests without the right token or secret, by the minute. One is a slip; many are somebody who guesses,
//! or a partner that has an old one: either way a person must hear of it.

use super::{Code, over, raise};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

/// So many within [`WINDOW`] are told.
const MANY: u32 = 100;
const WINDOW: Duration = Duration::from_secs(60);

/// Counts the wrong ones at one door.
#[derive(Debug)]
pub struct Guesses {
    /// Whose door it is.
    subject: &'static str,
    /// What was wrong, and who may be behind it; completes "... requests within a minute".
    words: &'static str,
    /// Locked for a moment by whoever turns a caller away, and by the watch.
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    /// When the window of the count began.
    since: Option<Instant>,
    count: u32,
    /// Whether a task waits for the end.
    watched: bool,
}

impl Guesses {
    /// Counts at this door; made for statics.
    pub const fn at(subject: &'static str, words: &'static str) -> Self {
        let seen = Seen {
            since: None,
            count: 0,
            watched: false,
        };
        Self {
            subject,
            words,
            seen: Mutex::new(seen),
        }
    }

    /// One more. Never waits.
    pub fn wrong(&'static self) {
        let begins = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            if seen.since.is_none_or(|since| now - since >= WINDOW) {
                (seen.since, seen.count) = (Some(now), 0);
            }
            seen.count = seen.count.saturating_add(1);
            let many = seen.count >= MANY;
            many && !std::mem::replace(&mut seen.watched, true)
        };
        if begins {
            let words = self.words;
            let text = format!("{MANY} requests within a minute {words}. They are answered no.");
            raise(Code::SecretsGuessed, self.subject, &text);
            if let Ok(runtime) = Handle::try_current() {
                runtime.spawn(self.watch());
            }
        }
    }

    /// Tells the end, when a whole window had fewer.
    async fn watch(&'static self) {
        loop {
            sleep(WINDOW).await;
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let current = seen.since.is_some_and(|since| since.elapsed() < WINDOW);
            if !current || seen.count < MANY {
                seen.watched = false;
                break;
            }
        }
        over(Code::SecretsGuessed, self.subject);
    }
}

#[cfg(test)]
mod tests {
    use super::super::is_open;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn r_73_many_wrong_secrets_within_a_minute_are_told_once_and_so_is_their_end() {
        static DOOR: Guesses = Guesses::at("door of the guesses test", "were wrong");
        let told = || is_open(Code::SecretsGuessed, DOOR.subject);
        for _ in 0..MANY - 1 {
            DOOR.wrong();
        }
        assert!(!told(), "a few are slips");
        sleep(WINDOW).await;
        DOOR.wrong();
        assert!(!told(), "spread over time too");
        for _ in 0..3000 {
            DOOR.wrong();
        }
        assert!(told());
        sleep(WINDOW * 3).await;
        assert!(!told());
        for _ in 0..MANY {
            DOOR.wrong();
        }
        assert!(told(), "they may come again");
    }
}
