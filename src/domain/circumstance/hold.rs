//! A hold: one scope keeps its messages and sends none but trials, until one is taken.

use super::Cause;
use crate::domain::{AccountId, ChannelId, Phone, UnixMs};
use std::fmt;
use std::time::Duration;

/// Between two trials, by how many there were.
const PAUSES: [Duration; 6] = [
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(120),
    Duration::from_secs(300),
];
/// How long a scope is on probation after a trial went well.
const PROBATION: Duration = Duration::from_secs(600);

/// Whom a hold stops.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// One number.
    Channel(ChannelId),
    /// All that goes out with one set of credentials.
    Account(AccountId),
}

impl Scope {
    /// The kind of scope, in the API.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Channel(_) => "channel",
            Self::Account(_) => "account",
        }
    }

    /// Whether it stops this channel of the account.
    pub(super) fn contains(&self, channel: &ChannelId) -> bool {
        match self {
            Self::Channel(id) => id == channel,
            Self::Account(_) => true,
        }
    }

    /// The name of the channel or account.
    pub fn name(&self) -> &str {
        match self {
            Self::Channel(id) => id.as_str(),
            Self::Account(id) => id.as_str(),
        }
    }
}

/// As the id of a hold: `channel:NAME` or `account:NAME`.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), self.name())
    }
}

/// Which answers brought a hold about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing was handed on, and more than one message is concerned.
    Accused,
    /// Messages were refused for good, many alike.
    Refused,
}

impl Kind {
    /// The code, in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accused => "accused_alike",
            Self::Refused => "refused_alike",
        }
    }

    /// Reads the code.
    pub fn parse(code: &str) -> Option<Self> {
        [Self::Accused, Self::Refused]
            .into_iter()
            .find(|kind| kind.as_str() == code)
    }
}

/// How far a hold has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Nothing is sent but trials.
    Held {
        /// Trials so far.
        trials: u32,
        /// Not before this comes the next one.
        next: UnixMs,
        /// Recipient and template of the last one: the next one is another's.
        tried: Option<(Phone, String)>,
    },
    /// It sends again; few answers alike hold it again.
    Probation {
        /// Until then.
        until: UnixMs,
    },
}

/// A hold, or the probation after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Whom it stops.
    pub scope: Scope,
    /// Which answers brought it about.
    pub kind: Kind,
    /// What those share.
    pub reason: String,
    /// One of them, for people.
    pub words: String,
    /// Since when.
    pub since: UnixMs,
    /// How far it has come.
    pub stage: Stage,
}

impl Hold {
    /// A hold that begins now.
    pub fn begin(scope: Scope, kind: Kind, cause: &Cause, now: UnixMs) -> Self {
        Self {
            scope,
            kind,
            reason: cause.reason.clone(),
            words: cause.words.clone(),
            since: now,
            stage: Stage::Held {
                trials: 0,
                next: now.plus(PAUSES[0]),
                tried: None,
            },
        }
    }

    /// Whether it stops its scope now.
    pub fn is_held(&self) -> bool {
        matches!(self.stage, Stage::Held { .. })
    }

    /// How long until the next trial, no pause being longer than `longest`; `None` on probation. A
    /// clock that was set back cannot put it off.
    pub fn trial_in(&self, now: UnixMs, longest: Duration) -> Option<Duration> {
        match &self.stage {
            Stage::Held { trials, next, .. } => Some(next.since(now).min(pause(*trials, longest))),
            Stage::Probation { .. } => None,
        }
    }

    /// Recipient and template of the last trial.
    pub fn tried(&self) -> Option<&(Phone, String)> {
        match &self.stage {
            Stage::Held { tried, .. } => tried.as_ref(),
            Stage::Probation { .. } => None,
        }
    }

    /// A trial did not go well. Without a message only the list call was made.
    #[must_use]
    pub fn tried_in_vain(
        self,
        message: Option<(Phone, String)>,
        now: UnixMs,
        longest: Duration,
    ) -> Self {
        let Stage::Held { trials, tried, .. } = self.stage else {
            return self;
        };
        let trials = trials.saturating_add(1);
        let stage = Stage::Held {
            trials,
            next: now.plus(pause(trials, longest)),
            tried: message.or(tried),
        };
        Self { stage, ..self }
    }

    /// A trial went well, or an operator releases it.
    #[must_use]
    pub fn released(self, now: UnixMs) -> Self {
        let until = now.plus(PROBATION);
        Self {
            stage: Stage::Probation { until },
            ..self
        }
    }

    /// Whether it is a probation that is over.
    pub fn is_over(&self, now: UnixMs) -> bool {
        match self.stage {
            Stage::Held { .. } => false,
            // One that lies farther ahead was written by a clock that has been set back since.
            Stage::Probation { until } => {
                until.0 <= now.0 || until.since(now) > PROBATION + Duration::from_secs(60)
            }
        }
    }
}

fn pause(trials: u32, longest: Duration) -> Duration {
    let place = (trials as usize).min(PAUSES.len() - 1);
    PAUSES[place].min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold() -> Hold {
        let cause = Cause {
            reason: "http 403".into(),
            words: "HTTP 403".into(),
        };
        let scope = Scope::Channel(ChannelId::parse("a").unwrap());
        Hold::begin(scope, Kind::Accused, &cause, UnixMs(1_000_000))
    }

    #[test]
    fn pauses_between_trials_grow_to_the_longest() {
        let seconds = |longest: u64| {
            let longest = Duration::from_secs(longest);
            let (mut hold, now) = (hold(), UnixMs(1_000_000));
            (0..8)
                .map(|_| {
                    let wait = hold.trial_in(now, longest).unwrap().as_secs();
                    hold = hold.clone().tried_in_vain(None, now, longest);
                    wait
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(seconds(300), [5, 15, 30, 60, 120, 300, 300, 300]);
        assert_eq!(seconds(20), [5, 15, 20, 20, 20, 20, 20, 20]);
    }

    #[test]
    fn a_clock_that_is_set_back_puts_no_trial_off_and_prolongs_no_probation() {
        let long_ago = UnixMs(1_000_000 - 3_600_000);
        let wait = hold().trial_in(long_ago, Duration::from_secs(300));
        assert_eq!(wait, Some(Duration::from_secs(5)));
        let probation = hold().released(UnixMs(1_000_000));
        assert!(!probation.is_held() && !probation.is_over(UnixMs(1_000_001)));
        assert!(probation.is_over(UnixMs(1_600_000)));
        assert!(probation.is_over(long_ago));
    }
}
