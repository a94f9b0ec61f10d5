//! The bodies of Jumper's status webhooks, in their three generations (contracts/jumper.md 6.2). Pure JSON
//! building; `strange` has the other bodies.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::modes::Shape;

/// The status of a message, in Meta's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Handed to WhatsApp.
    Sent,
    /// On the phone.
    Delivered,
    /// Opened.
    Read,
    /// Given up.
    Failed,
}

impl Status {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed => "failed",
        }
    }

    /// The word of Vonage's vocabulary.
    fn vonage(self) -> &'static str {
        match self {
            Self::Sent => "submitted",
            Self::Failed => "rejected",
            other => other.word(),
        }
    }
}

impl Shape {
    /// The shape that can carry a status: generation 1 knows `delivered` only, and rejections came as
    /// generation 2 beside it.
    pub(super) fn fit(self, status: Status) -> Self {
        match (self, status) {
            (Self::Gen1, Status::Delivered) => Self::Gen1,
            (Self::Gen1, Status::Failed) => Self::Gen2,
            (Self::Gen1, _) => Self::Gen3,
            (other, _) => other,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gen1 => "gen1",
            Self::Gen2 => "gen2",
            Self::Gen3 => "gen3",
            Self::Gen3Batch => "gen3_batch",
        }
    }
}

/// Why a message failed, as both vocabularies tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: u32,
    pub(super) title: &'static str,
}

/// Failures the dice choose from.
pub(super) const FAILURES: [Failure; 4] = [
    Failure {
        code: 131_026,
        title: "Message undeliverable",
    },
    Failure {
        code: 131_047,
        title: "Outside allowed window",
    },
    Failure {
        code: 131_049,
        title: "This message was not delivered to maintain healthy ecosystem engagement",
    },
    Failure {
        code: 130_472,
        title: "User's number is part of an experiment",
    },
];

/// What becomes of parameters that do not fit their template (contracts/jumper.md 3.2).
pub(super) const MISMATCH: Failure = Failure {
    code: 132_000,
    title: "Number of parameters does not match the expected number of params",
};

/// The message an event speaks of.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Subject {
    pub(super) message_id: String,
    pub(super) conversation_id: String,
    /// Recipient, digits.
    pub(super) to: String,
    pub(super) template_id: String,
}

/// A status and its time, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) status: Status,
    pub(super) at_ms: u64,
    pub(super) failure: Option<Failure>,
}

pub(super) fn envelope(kind: &str, data: Value) -> Value {
    json!({"event": {"type": kind, "subscription_type": "livechat", "data": data}})
}

/// A webhook body carrying one moment, or several in the batch shape.
pub(super) fn status(subject: &Subject, shape: Shape, moments: &[Moment]) -> Value {
    match (shape, moments) {
        (Shape::Gen1, [_]) => gen1(subject),
        (Shape::Gen2, [moment]) => gen2(subject, *moment),
        _ => gen3(subject, moments),
    }
}

fn gen1(subject: &Subject) -> Value {
    let (country, mobile) = split_country(&subject.to);
    envelope(
        "UPDATE",
        json!({
            "messageid": subject.message_id,
            "conversationid": subject.conversation_id,
            "agent": {"id": "A1"},
            "delivered": true,
            "status": "delivered",
            "message": template_text(subject),
            "mobilecountrycode": country,
            "mobile": mobile,
        }),
    )
}

pub(super) fn gen2(subject: &Subject, moment: Moment) -> Value {
    let mut data = json!({
        "message_uuid": subject.message_id,
        "status": moment.status.vonage(),
        "timestamp": rfc3339(moment.at_ms),
        "channel": "whatsapp",
        "to": subject.to,
    });
    if let Some(failure) = moment.failure {
        let code = failure.code.to_string();
        data["error"] = json!({
            "type": format!("https://developer.vonage.com/api-errors/messages#{code}"),
            "title": code,
            "detail": failure.title,
        });
    }
    envelope("UPDATE", data)
}

/// Several moments are spread over entries, changes and statuses in turn: all three arrays may legally hold
/// more than one (contracts/jumper.md 6.2).
pub(super) fn gen3(subject: &Subject, moments: &[Moment]) -> Value {
    let statuses: Vec<_> = moments
        .iter()
        .map(|one| meta_status(subject, *one))
        .collect();
    let change = |statuses: &[Value]| json!({"field": "messages", "value": {"messaging_product": "whatsapp", "statuses": statuses}});
    let entry = |changes: Vec<Value>| json!({"id": "W", "changes": changes});
    let spread = moments.iter().map(|one| one.at_ms / 1000).sum::<u64>() % 3;
    let entries = match (statuses.as_slice(), spread) {
        ([first, rest @ ..], 1) if !rest.is_empty() => {
            vec![entry(vec![
                change(std::slice::from_ref(first)),
                change(rest),
            ])]
        }
        ([first, rest @ ..], 2) if !rest.is_empty() => vec![
            entry(vec![change(std::slice::from_ref(first))]),
            entry(vec![change(rest)]),
        ],
        (all, _) => vec![entry(vec![change(all)])],
    };
    envelope(
        "UPDATE",
        json!({"object": "whatsapp_business_account", "entry": entries}),
    )
}

fn meta_status(subject: &Subject, moment: Moment) -> Value {
    let mut status = json!({
        "id": subject.message_id,
        "status": moment.status.word(),
        "timestamp": (moment.at_ms / 1000).to_string(),
        "recipient_id": subject.to,
    });
    if let Some(failure) = moment.failure {
        status["errors"] = json!([{
            "code": failure.code,
            "title": failure.title,
            "message": failure.title,
            "error_data": {"details": failure.title},
        }]);
    }
    status
}

pub(super) fn template_text(subject: &Subject) -> String {
    format!("s3ndt3mpl4te_{}", subject.template_id)
}

/// Splits a number into country code and the rest; good enough for a fake.
pub(super) fn split_country(digits: &str) -> (&str, &str) {
    const TWO: [&str; 12] = [
        "20", "27", "31", "33", "34", "39", "44", "49", "55", "61", "62", "91",
    ];
    let length = match digits.as_bytes() {
        [b'1' | b'7', ..] => 1,
        _ if TWO.iter().any(|code| digits.starts_with(code)) => 2,
        _ => 3.min(digits.len()),
    };
    digits.split_at(length)
}

pub(super) fn rfc3339(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(at)
        .unwrap_or_default()
        .to_string()
}
