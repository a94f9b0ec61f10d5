//! The bodies of Jumper's other webhooks: inbound messages (contracts/jumper.md 6.3), and odd events that no
//! client should trip over (section 7, points 8 and 13). Pure JSON building, like `shape`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::shape::{
    Moment, Status, Subject, envelope, gen2, gen3, rfc3339, split_country, template_text,
};

/// Events outside the expected (contracts/jumper.md 7, point 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Odd {
    EmptyStatuses,
    UnknownStatus,
    UnknownType,
    MissingData,
    NumberForText,
    UnknownId,
}

impl Odd {
    pub(super) const ALL: [Self; 6] = [
        Self::EmptyStatuses,
        Self::UnknownStatus,
        Self::UnknownType,
        Self::MissingData,
        Self::NumberForText,
        Self::UnknownId,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::EmptyStatuses => "odd:empty_statuses",
            Self::UnknownStatus => "odd:unknown_status",
            Self::UnknownType => "odd:unknown_type",
            Self::MissingData => "odd:missing_data",
            Self::NumberForText => "odd:number_for_text",
            Self::UnknownId => "odd:unknown_id",
        }
    }

    pub(super) fn body(self, subject: &Subject, at_ms: u64) -> Value {
        let moment = Moment {
            status: Status::Delivered,
            at_ms,
            failure: None,
        };
        match self {
            Self::EmptyStatuses => gen3(subject, &[]),
            Self::UnknownStatus => {
                let mut body = gen2(subject, moment);
                body["event"]["data"]["status"] = "teleported".into();
                body
            }
            Self::UnknownType => envelope(
                "ARCHIVE",
                json!({"conversationid": subject.conversation_id}),
            ),
            Self::MissingData => {
                json!({"event": {"type": "UPDATE", "subscription_type": "livechat"}})
            }
            Self::NumberForText => {
                let mut body = gen2(subject, moment);
                body["event"]["data"]["status"] = 7.into();
                body
            }
            Self::UnknownId => {
                let message_id = format!("unknown-{}", subject.message_id);
                let stranger = Subject {
                    message_id,
                    to: "910000000000".into(),
                    ..subject.clone()
                };
                gen3(&stranger, &[moment])
            }
        }
    }
}

/// The kinds of inbound and other `NEW` events (contracts/jumper.md 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyKind {
    /// A tapped quick-reply button.
    Click,
    /// A text quoting our message.
    Quoted,
    /// The same in the first generation, told by the template id only.
    Gen1,
    /// A text quoting nothing.
    #[default]
    Free,
    /// A message written by a human agent.
    Agent,
    /// A message written by the bot.
    Bot,
    /// A picture: the text is empty.
    Media,
    /// A text whose country code is null and whose number is whole.
    NullCountryCode,
}

/// The webhook body of an inbound message.
pub(super) fn inbound(
    subject: &Subject,
    kind: ReplyKind,
    text: &str,
    id: &str,
    at_ms: u64,
) -> Value {
    let (country, mobile) = split_country(&subject.to);
    let mut data = json!({
        "messageid": id,
        "conversationid": subject.conversation_id,
        "message": text,
        "mobilecountrycode": country,
        "mobile": mobile,
        "created": rfc3339(at_ms),
        "platform": "whatsapp",
        "agent": null,
    });
    let quoted = json!({
        "messageid": subject.message_id,
        "conversationid": subject.conversation_id,
        "message": template_text(subject),
        "replied": true,
    });
    match kind {
        ReplyKind::Click | ReplyKind::Quoted => data["replytomessage"] = quoted,
        ReplyKind::Gen1 => {
            data["replytomessage"] = json!({
                "conversationid": subject.conversation_id,
                "message": template_text(subject),
            });
        }
        ReplyKind::Free => {}
        ReplyKind::Agent => data["agent"] = json!({"id": "A1", "agent_nickname": "Sam"}),
        ReplyKind::Bot => data["from_bot"] = true.into(),
        ReplyKind::Media => data["message"] = "".into(),
        ReplyKind::NullCountryCode => {
            data["mobilecountrycode"] = Value::Null;
            data["mobile"] = subject.to.clone().into();
        }
    }
    envelope("NEW", data)
}
