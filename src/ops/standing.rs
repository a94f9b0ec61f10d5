//! Where a message stands, in words that a person can trust: `accepted` alone would say of a message
//! that WhatsApp could not deliver that all is well.

use super::why::Reason;
use crate::domain::{State, Status, UnixMs};
use crate::store::Moment;

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// In the queue.
    Waiting,
    /// The provider may be reading it now.
    Sending,
    /// Nobody knows whether the provider took it.
    Unknown,
    /// The provider took it.
    Sent,
    /// It reached the phone.
    Delivered,
    /// The person opened it.
    Read,
    /// The provider took it, and WhatsApp could not deliver it.
    FailedAtWhatsApp,
    /// The gateway gave it up.
    Failed,
}

/// What the history writes before the provider's words about a failed delivery.
const FAILED_LATER: &str = "failed: Failed after acceptance: ";

/// Why a message waits whose channel is not in the configuration.
const UNKNOWN_CHANNEL: &str = "this process does not know its channel, and does not send it";

impl Standing {
    pub(super) fn of(state: State, status: Option<Status>) -> Self {
        match (state, status) {
            (State::Queued, _) => Self::Waiting,
            (State::Attempting, _) => Self::Sending,
            (State::Unknown, _) => Self::Unknown,
            (State::Failed, _) => Self::Failed,
            (State::Accepted, None | Some(Status::Sent)) => Self::Sent,
            (State::Accepted, Some(Status::Delivered)) => Self::Delivered,
            (State::Accepted, Some(Status::Read)) => Self::Read,
            (State::Accepted, Some(Status::Failed)) => Self::FailedAtWhatsApp,
        }
    }

    /// The word of it, in the API.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Unknown => "unknown",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::FailedAtWhatsApp => "failed_at_whatsapp",
            Self::Failed => "failed",
        }
    }

    /// Why it failed, as the history tells it.
    fn cause(self, history: &[Moment]) -> Option<&str> {
        let mut newest = history.iter().rev();
        match self {
            Self::Failed => {
                let failed = newest.find(|moment| moment.what == "failed")?;
                Some(&failed.detail)
            }
            Self::FailedAtWhatsApp => newest
                .filter(|moment| moment.what == "status")
                .find_map(|moment| moment.detail.strip_prefix(FAILED_LATER)),
            _ => None,
        }
    }

    /// The code of a failure: ours, or the provider's.
    pub(super) fn code(self, history: &[Moment]) -> Option<&str> {
        let first = self.cause(history)?.split(' ').next()?;
        // Codes are short; a number at the beginning may be somebody's.
        let is_code = (1..=6).contains(&first.len()) && first.bytes().all(|b| b.is_ascii_digit());
        is_code.then_some(first)
    }

    /// The same in a sentence, with what a person wants to know next.
    pub(super) fn means(
        self,
        history: &[Moment],
        due: Option<UnixMs>,
        why: Option<&Reason>,
    ) -> String {
        let cause = self.cause(history).unwrap_or("no reason is known");
        match self {
            Self::Waiting => why.map_or_else(|| UNKNOWN_CHANNEL.to_owned(), Reason::sentence),
            Self::Sending => "the gateway is sending it now".to_owned(),
            Self::Unknown => {
                let until = due.map_or(String::new(), |due| {
                    format!(" until {}", super::why::clock_time(due))
                });
                format!(
                    "nobody knows whether the provider took it; the gateway waits for a status as \
                     evidence{until}"
                )
            }
            Self::Sent => "the provider took it; nothing says yet that it was delivered".to_owned(),
            Self::Delivered => "it reached the person's phone".to_owned(),
            Self::Read => "the person opened it".to_owned(),
            Self::FailedAtWhatsApp => {
                format!("the provider took it, and WhatsApp could not deliver it: {cause}")
            }
            Self::Failed => format!("the gateway gave it up and tells MoEngage: {cause}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(what: &str, detail: &str) -> Moment {
        Moment {
            at: 1,
            what: what.into(),
            detail: detail.into(),
        }
    }

    #[test]
    fn r_40_accepted_says_what_became_of_it() {
        let word = |state, status| Standing::of(state, status).as_str();
        for (status, text) in [
            (None, "sent"),
            (Some(Status::Sent), "sent"),
            (Some(Status::Delivered), "delivered"),
            (Some(Status::Read), "read"),
            (Some(Status::Failed), "failed_at_whatsapp"),
        ] {
            assert_eq!(word(State::Accepted, status), text);
        }
        for (state, text) in [
            (State::Queued, "waiting"),
            (State::Attempting, "sending"),
            (State::Unknown, "unknown"),
            (State::Failed, "failed"),
        ] {
            // Whatever was told of it before.
            for status in [None, Some(Status::Failed)] {
                assert_eq!(word(state, status), text);
            }
        }
    }

    #[test]
    fn r_40_a_failure_says_whose_it_is_and_its_code() {
        let later = [
            moment("status", "sent"),
            moment(
                "status",
                "failed: Failed after acceptance: 131047 Re-engagement message",
            ),
            moment("relayed", "failed, HTTP 200, try 1"),
        ];
        let at_whatsapp = Standing::FailedAtWhatsApp;
        assert_eq!(at_whatsapp.code(&later), Some("131047"));
        let means = at_whatsapp.means(&later, None, None);
        assert!(
            means.ends_with("could not deliver it: 131047 Re-engagement message"),
            "{means}"
        );
        let here = [
            moment("attempt", "1"),
            moment("failed", "7004 Outcome unknown: maybe"),
        ];
        assert_eq!(Standing::Failed.code(&here), Some("7004"));
        let means = Standing::Failed.means(&here, None, None);
        assert!(
            means.contains("gave it up and tells MoEngage: 7004 Outcome"),
            "{means}"
        );
        // The provider gave no code, or the line is gone from the history.
        let wordless = [moment(
            "status",
            "failed: Failed after acceptance: no reason given",
        )];
        for history in [&wordless[..], &[]] {
            assert_eq!(at_whatsapp.code(history), None);
        }
        assert_eq!(Standing::Delivered.code(&later), None);
        let person = [moment(
            "status",
            "failed: Failed after acceptance: 12025550142 is not on WhatsApp",
        )];
        assert_eq!(at_whatsapp.code(&person), None, "a number is no code");
    }
}
