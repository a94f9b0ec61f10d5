//! What is done to Redis as a whole: it is left for another one, forbids something, resets everybody,
//! or goes back to an older state. And when it may forget what was stored by that.

use crate::fault::plan::{Harm, Plan};
use fastrand::Rng;
use std::sync::LazyLock;

/// A harm to Redis as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upset {
    /// The replica takes over, and the master becomes its replica.
    Failover,
    /// All connections are reset, and again after so many milliseconds each.
    Resets(u64),
    /// A command is not permitted.
    Forbid(&'static str),
    /// Redis dies at its end, and what was appended meanwhile is lost.
    TailLost,
    /// A copy of its files, made at the beginning, is put back at the end.
    PutBack {
        /// All gateways died before, so that nobody remembers.
        anew: bool,
    },
    /// The replica takes over and the name leads to it, and the master does not hear of it until the end.
    TwoMasters,
    /// Its clock is off by so many seconds.
    Clock(i64),
}

impl Upset {
    pub(crate) const ANEW: Self = Self::PutBack { anew: true };

    /// Whether Redis loses what it had answered for.
    pub(crate) fn forgets(self) -> bool {
        match self {
            Self::Failover | Self::TailLost | Self::PutBack { .. } | Self::TwoMasters => true,
            Self::Resets(_) | Self::Forbid(_) | Self::Clock(_) => false,
        }
    }

    /// Whether it hits at its end, and not while it lasts.
    pub(crate) fn hits_at_its_end(self) -> bool {
        matches!(self, Self::TailLost | Self::PutBack { .. })
    }
}

/// What the user of the gateway is permitted, by the line of docs/redis.md that the gateway's own list is
/// compared with. Not what is only nice to know, or not used in a run.
static COMMANDS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let mut lines = include_str!("../../docs/redis.md").lines();
    let line = lines.find(|line| line.starts_with("user gateway on "));
    let words = line.expect("the page has the line").split_whitespace();
    let rules = words.filter_map(|word| word.strip_prefix('+'));
    // The last two are asked for so seldom that a run may pass without them.
    let unused = ["config|get", "wait", "select", "zcount", "hlen"];
    rules.filter(|rule| !unused.contains(rule)).collect()
});

/// One command that the gateway needs.
pub(crate) fn command(rng: &mut Rng) -> &'static str {
    COMMANDS[rng.usize(..COMMANDS.len())]
}

/// How long a write to the append-only file may be put off while a sync is under way, in milliseconds;
/// Redis writes before it answers otherwise.
const PUT_OFF_MS: i64 = 2_000;
/// How far a replica may be behind, in milliseconds.
const BEHIND_MS: i64 = 1_000;

/// Until when each gateway has seen that the name leads elsewhere, in milliseconds: it looks every five seconds.
const SEEN_MS: i64 = 7_000;

/// How long the way back of an answer may take, however busy the machine is, in milliseconds.
const ANSWERED_MS: i64 = 1_000;

/// How long a reply may come to what those who died had sent and nobody remembers, in milliseconds.
const WAITED_MS: i64 = 25_000;

/// A time of which Redis may have forgotten what was stored, in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lapse {
    pub(crate) from_ms: i64,
    pub(crate) until_ms: i64,
    /// Nobody else knows either.
    pub(crate) is_whole: bool,
    /// What was answered for is kept all the same: a replica had it.
    pub(crate) keeps_answers: bool,
    /// Another master took writes all the while.
    pub(crate) has_two_masters: bool,
}

impl Lapse {
    /// The lapse that a harm brought about: when it began, had begun and was over.
    pub(crate) fn of(plan: &Plan, harm: &Harm, times: [i64; 3]) -> Option<Self> {
        let Harm::Upset(upset) = harm else {
            return None;
        };
        let [from_ms, begun_ms, to_ms] = times;
        let put_off = if plan.redis_always { 0 } else { PUT_OFF_MS };
        let (from_ms, until_ms) = match upset {
            Upset::Failover => (from_ms - BEHIND_MS, begun_ms),
            Upset::TwoMasters => (from_ms - BEHIND_MS, begun_ms + SEEN_MS),
            Upset::TailLost | Upset::PutBack { .. } => (from_ms - put_off, to_ms),
            Upset::Resets(_) | Upset::Forbid(_) | Upset::Clock(_) => return None,
        };
        Some(Self {
            from_ms,
            until_ms,
            is_whole: *upset == Upset::ANEW,
            keeps_answers: *upset == Upset::TwoMasters && plan.wait_replicas > 0,
            has_two_masters: *upset == Upset::TwoMasters,
        })
    }

    /// Whether what was stored between these two moments may be forgotten.
    fn meets(&self, (from_ms, until_ms): (i64, i64)) -> bool {
        from_ms <= self.until_ms && self.from_ms <= until_ms
    }

    /// The same for what was answered for.
    pub(crate) fn takes(&self, time: (i64, i64)) -> bool {
        !self.keeps_answers && self.meets(time)
    }

    /// Whether somebody's words of then may be lost, whoever lives: the old master took them, or nobody remembers.
    pub(crate) fn silences(&self, at_ms: i64) -> bool {
        let lost = self.has_two_masters && self.takes((at_ms - ANSWERED_MS, at_ms));
        lost || self.confuses(at_ms)
    }

    /// Whether who answered a message then may have spoken of what nobody remembers. Those who live put back what
    /// they sent, and replies wait for it.
    pub(crate) fn confuses(&self, at_ms: i64) -> bool {
        self.is_whole && (self.from_ms..=self.until_ms + WAITED_MS).contains(&at_ms)
    }
}

/// Whether what was answered then may be forgotten: it was stored a little before.
pub(crate) fn may_be_forgotten(lapses: &[Lapse], at_ms: i64) -> bool {
    let time = (at_ms - ANSWERED_MS, at_ms);
    lapses.iter().any(|lapse| lapse.takes(time))
}

/// The same for what the gateway had to write down a little after that moment, and was asked to do a little
/// before.
pub(crate) fn may_go_unwritten(lapses: &[Lapse], at_ms: i64) -> bool {
    let time = (at_ms - ANSWERED_MS, at_ms + ANSWERED_MS);
    lapses.iter().any(|lapse| lapse.meets(time))
}
