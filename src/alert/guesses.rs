//! Requests without the right token or secret, by the minute. One is a slip; many are somebody who guesses,
//! or a partner that has an old one: either way a person must hear of it.

use super::{Code, over, raise};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

/// So many within [`WINDOW`] are told.
const MANY: u32 = 100;
const WINDOW: Duration = Duration::from_secs(60);
/// It is over after this. Of two windows one is whole, wherever in them the last one with many ended.
const QUIET: Duration = Duration::from_secs(120);

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
    /// The last one beyond [`MANY`] in a window.
    last_full: Option<Instant>,
    /// Whether a task waits for the end.
    watched: bool,
}

impl Guesses {
    /// Counts at this door; made for statics.
    pub const fn at(subject: &'static str, words: &'static str) -> Self {
        let seen = Seen {
            since: None,
            count: 0,
            last_full: None,
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
            if many {
                seen.last_full = Some(now);
            }
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

    /// Tells the end, when [`QUIET`] passed without a window that had many.
    async fn watch(&'static self) {
        while let Some(end) = self.quiet_at() {
            sleep_until(end).await;
        }
        over(Code::SecretsGuessed, self.subject);
    }

    /// When it will have been quiet for long enough, unless it has been: then nobody watches any more.
    fn quiet_at(&self) -> Option<Instant> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let end = seen.last_full.map(|full| full + QUIET);
        let end = end.filter(|end| Instant::now() < *end);
        seen.watched = end.is_some();
        end
    }
}

#[cfg(test)]
mod tests {
    use super::super::is_open;
    use super::*;
    use tokio::time::sleep;

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

    #[tokio::test(start_paused = true)]
    async fn r_73_guessing_is_not_over_while_it_goes_on_more_slowly() {
        static DOOR: Guesses = Guesses::at("door that is guessed at slowly", "were wrong");
        let told = || is_open(Code::SecretsGuessed, DOOR.subject);
        let guess = async |count: u64, pause: u64| {
            for n in 0..count {
                DOOR.wrong();
                sleep(Duration::from_millis(pause)).await;
                assert!(told() || n < 150, "number {n}, one each {pause} ms");
            }
        };
        guess(150, 20).await;
        assert!(told());
        // Five a second, then two, are more than a hundred within a minute.
        for (count, pause) in [(5 * 600, 200), (2 * 600, 500)] {
            guess(count, pause).await;
            assert!(told(), "one each {pause} ms");
        }
        sleep(QUIET - WINDOW).await;
        assert!(told(), "a minute may be a pause");
        sleep(WINDOW * 2).await;
        assert!(!told());
    }
}
