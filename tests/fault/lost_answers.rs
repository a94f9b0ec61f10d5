//! When an answer of the provider may have got lost: on the road, or with the gateway that waited for
//! it. By the clock of the machine, from harm that was really done.

use crate::fault::plan::{Harm, Party};
use crate::fault::upset::Upset;
use crate::kit::harness::TAKE_OVER;

/// How long a call may go on after the harm, and its end be written down, in milliseconds.
const CALL_MS: i64 = 6_000 + 1_000;

/// What an answer got lost with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum With {
    Road,
    Gateway,
}

/// A time in which it may become unknown what became of a send, in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doubt {
    pub(crate) with: With,
    pub(crate) from_ms: i64,
    pub(crate) until_ms: i64,
}

impl Doubt {
    pub(crate) fn holds(&self, at_ms: i64) -> bool {
        (self.from_ms..=self.until_ms).contains(&at_ms)
    }
}

/// The doubts that harm brought about; each with its beginning and its end.
pub(crate) fn doubts(done: &[(&Harm, i64, i64)]) -> Vec<Doubt> {
    let take_over = TAKE_OVER.as_millis() as i64;
    // Meanwhile nothing is written down, and right after nobody is taken for dead.
    let away = done.iter().filter(|(harm, ..)| stops_store(harm));
    let away = away.map(|(.., to_ms)| *to_ms).max();
    let calm = away.map_or(0, |_| take_over);
    let of = |&(harm, from_ms, to_ms): &(&Harm, i64, i64)| {
        let (with, after_ms) = match harm {
            Harm::Road(Party::Jumper, _) => (With::Road, CALL_MS),
            Harm::Kill(_) | Harm::Freeze(_) | Harm::Upset(Upset::ANEW) => {
                (With::Gateway, CALL_MS + take_over + calm)
            }
            _ => return None,
        };
        Some(Doubt {
            with,
            from_ms,
            until_ms: to_ms.max(away.unwrap_or(0)) + after_ms,
        })
    };
    done.iter().filter_map(of).collect()
}

fn stops_store(harm: &Harm) -> bool {
    matches!(
        harm,
        Harm::RedisKill
            | Harm::RedisPause
            | Harm::Upset(_)
            | Harm::Road(Party::Redis, _)
            | Harm::SlowDisk(_)
    )
}
