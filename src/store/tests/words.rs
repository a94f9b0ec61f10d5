//! The words of the stories: moments, people, messages, events.

use super::*;
use crate::domain::{DoorName, Names};

pub(in crate::store) const DAY: i64 = 86_400;

/// A moment, in seconds after the beginning of the story.
pub(in crate::store) fn at(seconds: i64) -> UnixMs {
    UnixMs(1_900_000_000_000 + seconds * 1000)
}

pub(in crate::store) fn channel(name: &str) -> ChannelId {
    ChannelId::parse(name).unwrap()
}

pub(in crate::store) fn account() -> AccountId {
    AccountId::parse("acc").unwrap()
}

/// The nth person.
pub(in crate::store) fn phone(n: u64) -> Phone {
    Phone::from_number(12_025_550_000 + n).unwrap()
}

pub(in crate::store) fn provider_id(id: &str) -> ProviderId {
    ProviderId::parse(id).unwrap()
}

/// A message to the nth person.
pub(in crate::store) fn message(id: &str, to: u64) -> Message {
    Message {
        msg_id: MsgId::parse(id).unwrap(),
        from: BusinessNumber::parse("+1 202-555-0999").unwrap(),
        to: phone(to),
        template: Template {
            name: "order_update".into(),
            language: "en".into(),
            header: None,
            body: vec!["Ana".into()],
            buttons: Vec::new(),
            names: Names::default(),
        },
        is_damaged: false,
        campaign: None,
    }
}

pub(in crate::store) fn receipt(id: &str) -> Settlement {
    Settlement::Accepted {
        receipt: Receipt {
            provider_id: provider_id(id),
            conversation: None,
        },
        taps: Vec::new(),
    }
}

pub(in crate::store) fn refusal() -> Refusal {
    Refusal::new(RefusalKind::Other, "Template paused")
}

pub(in crate::store) fn unknown_until(seconds: i64) -> Settlement {
    Settlement::Unknown {
        until: at(seconds),
        taps: Vec::new(),
    }
}

pub(in crate::store) fn event(id: &str, status: Status, to: Option<u64>) -> Incoming {
    Incoming::Status(StatusEvent {
        provider_id: provider_id(id),
        status,
        at: None,
        recipient: to.map(phone),
        user: None,
        error: (status == Status::Failed).then(|| "1013 not on WhatsApp".into()),
    })
}

pub(in crate::store) const STOPPED: &str = "131050: User has stopped marketing messages";

/// A failure because the person stopped promotions.
pub(in crate::store) fn stopped(id: &str, to: Option<u64>) -> Incoming {
    Incoming::Status(StatusEvent {
        provider_id: provider_id(id),
        status: Status::Failed,
        at: None,
        recipient: to.map(phone),
        user: None,
        error: Some(STOPPED.into()),
    })
}

pub(in crate::store) fn reply(from: u64, text: &str) -> Reply {
    Reply {
        id: None,
        from: Some(phone(from)),
        user: None,
        context: None,
        text: text.into(),
        at: None,
        dated: String::new(),
    }
}

pub(in crate::store) fn rules(name: &str) -> EventRules {
    EventRules {
        channel: channel(name),
        account: account(),
        keywords: Keywords::new(&["STOP"], &[], &["START"]),
        reply_window: Duration::from_secs(7 * 86_400),
        kept: Duration::from_secs(31 * 86_400),
        clock_doubt: Duration::ZERO,
        vouched: true,
        relay_unmatched: false,
        waba_number: None,
    }
}

pub(in crate::store) fn lane(name: &str, destination: Destination) -> CallbackQueue {
    CallbackQueue {
        channel: channel(name),
        door: DoorName::Moengage,
        destination,
    }
}

pub(in crate::store) fn taken() -> RelayOutcome {
    RelayOutcome::Taken {
        summary: "HTTP 200".into(),
    }
}

pub(in crate::store) fn secs(seconds: i64) -> Duration {
    Duration::from_secs(seconds.unsigned_abs())
}

/// What a sweep at this moment does to a channel: 10 minutes of hold, messages live a day.
pub(in crate::store) fn sweep_rule(name: &str, seconds: i64) -> SweepRule {
    SweepRule {
        channel: channel(name),
        resend: false,
        expired_before: at(seconds - DAY),
        hold: Duration::from_secs(600),
    }
}
