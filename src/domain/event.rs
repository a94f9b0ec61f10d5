//! What a provider's webhook brings, in our own words.

use super::{
    Keyword, Moment, OptOut, Phone, ProviderId, Refusal, RefusalKind, Status, UnixMs, UserId,
};
use std::fmt;
use std::time::Duration;

/// One thing that a webhook said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A message of ours moved on.
    Status(StatusEvent),
    /// A person wrote or tapped.
    Reply(Reply),
    /// Something we know and leave alone, or do not know: kept and counted, never relayed.
    Other {
        /// A short word of a closed set, for the counter: `agent`, `bot`, `damaged`, `media`,
        /// `no_status`, `unknown_status`, `unknown_type`, `unreadable`.
        kind: &'static str,
        /// What came, as text.
        raw: String,
        /// How often in one body; the first of them is kept.
        times: u32,
    },
}

/// How far a provider's clock may be off. What lies farther ahead, or farther before the acceptance of
/// its message, is not believed: it is told with the time at which it came.
pub const BELIEVED: Duration = Duration::from_hours(24);

impl Incoming {
    /// Forgets times that nobody believes, whatever messages they are about, of which none is `kept` longer
    /// than that; tells how many.
    pub fn forget_odd_times(events: &mut [Self], kept: Duration, now: Moment) -> u32 {
        let odd = events
            .iter_mut()
            .map(|event| event.forget_odd_time(kept, now));
        odd.map(u32::from).sum()
    }

    fn forget_odd_time(&mut self, kept: Duration, now: Moment) -> bool {
        let believed = now.earliest.minus(kept + BELIEVED)..=now.latest.plus(BELIEVED);
        let at = match self {
            Self::Status(event) => &mut event.at,
            Self::Reply(reply) => &mut reply.at,
            Self::Other { .. } => return false,
        };
        at.take_if(|at| !believed.contains(at)).is_some()
    }
}

/// A delivery status as the provider told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusEvent {
    /// The message, by the provider's id.
    pub provider_id: ProviderId,
    /// What happened.
    pub status: Status,
    /// When it happened, if the event says so.
    pub at: Option<UnixMs>,
    /// Whom it names, if it names anyone: the evidence of design.md G3.
    pub recipient: Option<Phone>,
    /// Its own id of whom it names, if it gives one.
    pub user: Option<UserId>,
    /// The provider's code and text of a failure ([`stops_marketing`]).
    pub error: Option<String>,
}

/// WhatsApp's own code, whoever passes it on: the person stopped this number's marketing messages.
pub const STOPPED_MARKETING: &str = "131050";

/// Whether a failure says that the person stopped marketing messages: [`STOPPED_MARKETING`] stands in
/// front of its words. Whoever reads the provider's answer puts it there.
pub fn stops_marketing(error: &str) -> bool {
    let rest = error.strip_prefix(STOPPED_MARKETING);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(": "))
}

impl StatusEvent {
    /// Whether it is a failure because the person stopped marketing messages.
    pub fn opts_out(&self) -> bool {
        self.status == Status::Failed && self.error.as_deref().is_some_and(stops_marketing)
    }

    /// What MoEngage is told of a failure: that the person opted out of marketing messages, where that
    /// is why.
    pub fn failure(&self) -> Option<Refusal> {
        if self.status != Status::Failed {
            return None;
        }
        let text = self.error.as_deref().unwrap_or("no reason given");
        let reason = format!("Failed after acceptance: {text}");
        Some(if self.opts_out() {
            let opted_out = OptOut::Marketing.refusal();
            Refusal::new(opted_out.kind, format!("{reason} ({})", opted_out.reason))
        } else {
            Refusal::new(RefusalKind::Other, reason)
        })
    }
}

/// A reply of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The provider's id of the reply itself; repeats of the same id are one reply.
    pub id: Option<ProviderId>,
    /// Who wrote; nothing where the provider names them by a user id alone.
    pub from: Option<Phone>,
    /// The provider's own id of who wrote, beside or in place of the number.
    pub user: Option<UserId>,
    /// The message being answered, if the person quoted or tapped one.
    pub context: Option<ProviderId>,
    /// What they wrote, or the label they tapped.
    pub text: String,
    /// When, if the event says so and is believed.
    pub at: Option<UnixMs>,
    /// When, as the event wrote it, whatever it says: what tells replies without an id apart.
    pub dated: String,
}

impl Reply {
    /// Who wrote, for people.
    pub fn shown_from(&self) -> String {
        self.from
            .map_or_else(|| "a user id".to_owned(), |from| from.to_string())
    }

    /// What the history of the message says of it; `keyword` is what it means.
    pub fn in_history(&self, keyword: Option<Keyword>) -> String {
        let from = format!("from {}", self.shown_from());
        match keyword {
            Some(Keyword::Stop(scope)) => format!("{from}, who opts out ({})", scope.as_str()),
            Some(Keyword::Start) => format!("{from}, who opts in"),
            None => from,
        }
    }
}

/// What a reply is towards MoEngage (contracts/moengage.md section 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyKind {
    /// Free text.
    Text,
    /// A tap on a quick-reply button, with the payload to echo.
    Button {
        /// The payload that MoEngage sent with the button, or its label.
        payload: String,
    },
}

impl fmt::Display for ReplyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Button { .. } => "button",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_21_a_failure_of_who_stopped_marketing_says_so() {
        let failure = |status, error: Option<&str>| {
            let event = StatusEvent {
                provider_id: ProviderId::parse("P1").unwrap(),
                status,
                at: None,
                recipient: None,
                user: None,
                error: error.map(str::to_owned),
            };
            event.failure().map(|refusal| refusal.kind)
        };
        for error in ["131050: User has stopped marketing messages", "131050"] {
            assert_eq!(
                failure(Status::Failed, Some(error)),
                Some(RefusalKind::OptedOut)
            );
            assert_eq!(failure(Status::Sent, Some(error)), None);
        }
        for error in [
            None,
            Some("131047 Re-engagement message"),
            Some("1310501"),
            Some("131050 or so"),
        ] {
            assert_eq!(failure(Status::Failed, error), Some(RefusalKind::Other));
        }
    }

    #[test]
    fn r_28_a_time_that_nobody_believes_is_forgotten() {
        let now = UnixMs(1_700_000_000_000);
        let kept = Duration::from_secs(31 * 86_400);
        let odd = |at: UnixMs, now: Moment| {
            let mut event = Incoming::Status(StatusEvent {
                provider_id: ProviderId::parse("P1").unwrap(),
                status: Status::Read,
                at: Some(at),
                recipient: None,
                user: None,
                error: None,
            });
            event.forget_odd_time(kept, now)
        };
        for (at, expected) in [
            (now.plus(BELIEVED), false),
            (UnixMs(4_070_908_800_000), true),
            (now.minus(kept + BELIEVED), false),
            (UnixMs(now.minus(kept + BELIEVED).0 - 1), true),
            (UnixMs(1), true),
        ] {
            assert_eq!(odd(at, now.into()), expected, "{at:?}");
        }
        // While our own clocks disagree, either may be right.
        let moment = Moment {
            latest: now.plus(10 * BELIEVED),
            earliest: now.minus(10 * BELIEVED),
        };
        assert!(!odd(now.plus(10 * BELIEVED), moment));
        assert!(!odd(now.minus(40 * BELIEVED), moment));
    }
}
