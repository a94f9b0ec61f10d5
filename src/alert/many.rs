//! What strangers may bring about, by the minute: requests without the right token or secret, opt-outs. One
//! is a slip or a person's wish; many are somebody's doing, and a person must hear of it.

use super::{Code, over, raise};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

const WINDOW: Duration = Duration::from_secs(60);
/// It is over after this. Of two windows one is whole, wherever in them the last one with many ended.
const QUIET: Duration = Duration::from_secs(120);

/// Counts one kind of them.
#[derive(Debug)]
pub struct Many {
    code: Code,
    /// Where it happens.
    subject: &'static str,
    /// So many within a minute are told.
    many: u32,
    /// What happened, who may be behind it, what the gateway does; follows "N within a minute: ".
    words: &'static str,
    /// Locked for a moment by whoever counts, and by the watch.
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    /// When the window of the count began.
    since: Option<Instant>,
    count: u32,
    /// The last one beyond what is told in a window.
    last_full: Option<Instant>,
    /// Whether a task waits for the end.
    watched: bool,
}

impl Many {
    /// Counts from zero; made for statics.
    pub const fn of(code: Code, subject: &'static str, many: u32, words: &'static str) -> Self {
        let seen = Seen {
            since: None,
            count: 0,
            last_full: None,
            watched: false,
        };
        Self {
            code,
            subject,
            many,
            words,
            seen: Mutex::new(seen),
        }
    }

    /// So many more. Never waits.
    pub fn more(&'static self, more: u32) {
        if more == 0 {
            return;
        }
        let begins = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            if seen.since.is_none_or(|since| now - since >= WINDOW) {
                (seen.since, seen.count) = (Some(now), 0);
            }
            seen.count = seen.count.saturating_add(more);
            let many = seen.count >= self.many;
            if many {
                seen.last_full = Some(now);
            }
            many && !std::mem::replace(&mut seen.watched, true)
        };
        if begins {
            let text = format!("{} within a minute: {}", self.many, self.words);
            raise(self.code, self.subject, &text);
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
        over(self.code, self.subject);
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

    const MANY: u32 = 100;

    #[tokio::test(start_paused = true)]
    async fn r_73_many_wrong_secrets_within_a_minute_are_told_once_and_so_is_their_end() {
        static DOOR: Many = Many::of(Code::SecretsGuessed, "door of the test", MANY, "wrong");
        let is_reported = || is_open(Code::SecretsGuessed, DOOR.subject);
        for _ in 0..MANY - 1 {
            DOOR.more(1);
        }
        assert!(!is_reported(), "a few are slips");
        sleep(WINDOW).await;
        DOOR.more(1);
        assert!(!is_reported(), "spread over time too");
        for _ in 0..3000 {
            DOOR.more(1);
        }
        assert!(is_reported());
        sleep(WINDOW * 3).await;
        assert!(!is_reported());
        for _ in 0..MANY {
            DOOR.more(1);
        }
        assert!(is_reported(), "they may come again");
    }

    #[tokio::test(start_paused = true)]
    async fn r_73_guessing_is_not_over_while_it_goes_on_more_slowly() {
        static DOOR: Many = Many::of(
            Code::SecretsGuessed,
            "door that is guessed at slowly",
            MANY,
            "wrong",
        );
        let is_reported = || is_open(Code::SecretsGuessed, DOOR.subject);
        let guess = async |count: u64, pause: u64| {
            for n in 0..count {
                DOOR.more(1);
                sleep(Duration::from_millis(pause)).await;
                assert!(is_reported() || n < 150, "number {n}, one each {pause} ms");
            }
        };
        guess(150, 20).await;
        assert!(is_reported());
        // Five a second, then two, are more than a hundred within a minute.
        for (count, pause) in [(5 * 600, 200), (2 * 600, 500)] {
            guess(count, pause).await;
            assert!(is_reported(), "one each {pause} ms");
        }
        sleep(QUIET - WINDOW).await;
        assert!(is_reported(), "a minute may be a pause");
        sleep(WINDOW * 2).await;
        assert!(!is_reported());
    }
}
