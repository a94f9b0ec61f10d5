//! How values look in a stored row. JSON with short names and a version, so that a row written by
//! one version is read by the next, and a newer row is refused politely by an older program.

mod history;
mod refusal_kind;
#[cfg(test)]
mod versions;
mod words;

pub use history::Moment;
pub(crate) use history::{moment, read_history};
pub(crate) use refusal_kind::{failure, kind_word};
pub(crate) use words::{attempts, spoken};

use crate::domain::{
    BusinessNumber, Button, Callback, Header, InboundEntry, Message, MsgId, Names, Phone, Refusal,
    ReplyKind, Status, StatusEntry, Template, UnixMs,
};
use serde::{Deserialize, Serialize};

/// The newest version of a message's row that this program reads. It is written only where parameters
/// name their variables: an older program would send them in the wrong order, so it must leave them.
pub(crate) const MESSAGE_VERSION: u32 = 2;
/// The version of a message's row without names, which the oldest program reads.
const PLAIN_MESSAGE: u32 = 1;
/// The version of a callback's row.
pub(crate) const CALLBACK_VERSION: u32 = 1;

/// Why a row cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowError {
    #[error("it was written by a newer version ({0}); upgrade this process")]
    Newer(u32),
    #[error("it is damaged: {0}")]
    Damaged(String),
}

fn damaged(error: impl std::fmt::Display) -> RowError {
    RowError::Damaged(error.to_string())
}

fn encode<T: Serialize>(row: &T) -> String {
    // Rows are plain structs with text keys; writing them to a string cannot fail.
    serde_json::to_string(row).unwrap_or_default()
}

/// What the rows of every version have, however the rest of them looks.
#[derive(Deserialize)]
struct AnyRow {
    v: u32,
    /// In every row of a message: replies are told with it (`lua/events.lua`).
    from: Option<String>,
}

fn decode<'a, T: Deserialize<'a>>(
    text: &'a str,
    newest: u32,
    version: fn(&T) -> u32,
) -> Result<T, RowError> {
    let read = serde_json::from_str::<T>(text).map_err(damaged);
    let version = match &read {
        Ok(row) => version(row),
        // A newer row may look different, and is not damaged for that.
        Err(_) => serde_json::from_str::<AnyRow>(text).map_or(newest, |row| row.v),
    };
    if version > newest {
        return Err(RowError::Newer(version));
    }
    read
}

#[derive(Serialize, Deserialize)]
struct MessageRow {
    v: u32,
    from: String,
    name: String,
    lang: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    header: Option<HeaderRow>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    body: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    buttons: Vec<ButtonRow>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    damaged: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    campaign: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    names: Option<NamesRow>,
}

#[derive(Serialize, Deserialize)]
struct NamesRow {
    header: Option<String>,
    body: Vec<String>,
    buttons: Vec<(u32, String)>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum HeaderRow {
    Text(String),
    Image(String),
    Video(String),
    Document(String, Option<String>),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ButtonRow {
    Url(u32, Option<String>),
    QuickReply(u32, Option<String>),
}

/// A message as text; `msg_id` and `to` have columns of their own.
pub(crate) fn write_message(message: &Message) -> String {
    let template = &message.template;
    let header = template.header.clone().map(|header| match header {
        Header::Text(text) => HeaderRow::Text(text),
        Header::Image(link) => HeaderRow::Image(link),
        Header::Video(link) => HeaderRow::Video(link),
        Header::Document { link, filename } => HeaderRow::Document(link, filename),
    });
    let button = |button: &Button| match button.clone() {
        Button::Url { index, suffix } => ButtonRow::Url(index, suffix),
        Button::QuickReply { index, payload } => ButtonRow::QuickReply(index, payload),
    };
    let names = template.names.clone();
    let names = (!names.is_empty()).then_some(NamesRow {
        header: names.header,
        body: names.body,
        buttons: names.buttons,
    });
    encode(&MessageRow {
        v: names.as_ref().map_or(PLAIN_MESSAGE, |_| MESSAGE_VERSION),
        from: message.from.as_written().into(),
        name: template.name.clone(),
        lang: template.language.clone(),
        header,
        body: template.body.clone(),
        buttons: template.buttons.iter().map(button).collect(),
        damaged: message.is_damaged,
        campaign: message.campaign.as_deref().map(Into::into),
        names,
    })
}

/// The message of a row.
pub(crate) fn read_message(msg_id: MsgId, to: Phone, text: &str) -> Result<Message, RowError> {
    let row = decode::<MessageRow>(text, MESSAGE_VERSION, |row| row.v)?;
    let header = row.header.map(|header| match header {
        HeaderRow::Text(text) => Header::Text(text),
        HeaderRow::Image(link) => Header::Image(link),
        HeaderRow::Video(link) => Header::Video(link),
        HeaderRow::Document(link, filename) => Header::Document { link, filename },
    });
    let button = |button| match button {
        ButtonRow::Url(index, suffix) => Button::Url { index, suffix },
        ButtonRow::QuickReply(index, payload) => Button::QuickReply { index, payload },
    };
    let names = row.names.map(|names| Names {
        header: names.header,
        body: names.body,
        buttons: names.buttons,
    });
    Ok(Message {
        msg_id,
        from: BusinessNumber::parse(&row.from).map_err(damaged)?,
        to,
        template: Template {
            name: row.name,
            language: row.lang,
            header,
            body: row.body,
            buttons: row.buttons.into_iter().map(button).collect(),
            names: names.unwrap_or_default(),
        },
        is_damaged: row.damaged,
        campaign: row.campaign.map(Into::into),
    })
}

/// The part of a row that names this template.
pub(crate) fn naming_template(name: &str) -> String {
    format!("\"name\":{}", encode(&name))
}

/// Who sent the message of a row, also of one that only a newer version can read.
pub(crate) fn sender(text: &str) -> Option<BusinessNumber> {
    let row: AnyRow = serde_json::from_str(text).ok()?;
    BusinessNumber::parse(&row.from?).ok()
}

#[derive(Serialize, Deserialize)]
struct CallbackRow {
    v: u32,
    at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    msg_id: Option<String>,
    #[serde(flatten)]
    kind: CallbackKind,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CallbackKind {
    Status {
        status: String,
        error: Option<(String, String)>,
    },
    Inbound {
        from: u64,
        waba: String,
        text: String,
        payload: Option<String>,
    },
}

/// A callback as text.
pub(crate) fn write_callback(callback: &Callback) -> String {
    let (at, msg_id, kind) = match callback {
        Callback::Status(entry) => {
            let error = entry
                .error
                .as_ref()
                .map(|why| (kind_word(why.kind).into(), why.reason.clone()));
            let kind = CallbackKind::Status {
                status: entry.status.as_str().into(),
                error,
            };
            (entry.at, Some(entry.msg_id.as_str().into()), kind)
        }
        Callback::Inbound(entry) => {
            let payload = match &entry.kind {
                ReplyKind::Text => None,
                ReplyKind::Button { payload } => Some(payload.clone()),
            };
            let kind = CallbackKind::Inbound {
                from: entry.from.number(),
                waba: entry.waba_number.clone(),
                text: entry.text.clone(),
                payload,
            };
            (
                entry.at,
                entry.msg_id.as_ref().map(|id| id.as_str().into()),
                kind,
            )
        }
    };
    encode(&CallbackRow {
        v: CALLBACK_VERSION,
        at: at.0,
        msg_id,
        kind,
    })
}

/// The callback of a row.
pub(crate) fn read_callback(text: &str) -> Result<Callback, RowError> {
    let row = decode::<CallbackRow>(text, CALLBACK_VERSION, |row| row.v)?;
    let at = UnixMs(row.at);
    let msg_id = row.msg_id.as_deref().map(MsgId::parse);
    let msg_id = msg_id.transpose().map_err(damaged)?;
    match row.kind {
        CallbackKind::Status { status, error } => Ok(Callback::Status(StatusEntry {
            msg_id: msg_id.ok_or_else(|| damaged("a status without msg_id"))?,
            status: Status::parse(&status).ok_or_else(|| damaged("an unknown status"))?,
            at,
            error: error.map(|(kind, reason)| Refusal::new(refusal_kind::read_kind(&kind), reason)),
        })),
        CallbackKind::Inbound {
            from,
            waba,
            text,
            payload,
        } => Ok(Callback::Inbound(InboundEntry {
            from: Phone::from_number(from).map_err(damaged)?,
            waba_number: waba,
            at,
            kind: payload.map_or(ReplyKind::Text, |payload| ReplyKind::Button { payload }),
            text,
            msg_id,
        })),
    }
}

/// A refusal as a callback's row has it.
pub(crate) fn write_refusal(refusal: &Refusal) -> String {
    encode(&(kind_word(refusal.kind), &refusal.reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RefusalKind;
    use proptest::prelude::*;

    fn any_header() -> impl Strategy<Value = Option<Header>> {
        let text = ".{0,20}";
        prop::option::of(prop_oneof![
            text.prop_map(Header::Text),
            text.prop_map(Header::Image),
            text.prop_map(Header::Video),
            (text, prop::option::of(text))
                .prop_map(|(link, filename)| Header::Document { link, filename }),
        ])
    }

    fn any_button() -> impl Strategy<Value = Button> {
        prop_oneof![
            (any::<u32>(), prop::option::of(".{0,9}"))
                .prop_map(|(index, suffix)| Button::Url { index, suffix }),
            (any::<u32>(), prop::option::of(".{0,9}"))
                .prop_map(|(index, payload)| Button::QuickReply { index, payload }),
        ]
    }

    fn any_names() -> impl Strategy<Value = Names> {
        let name = "[a-z_0-9]{1,9}";
        (
            prop::option::of(name),
            prop::collection::vec(name, 0..4),
            prop::collection::vec((any::<u32>(), name), 0..3),
        )
            .prop_map(|(header, body, buttons)| Names {
                header,
                body,
                buttons,
            })
    }

    proptest! {
        #[test]
        fn a_message_comes_back_as_it_was(
            header in any_header(),
            body in prop::collection::vec(".{0,20}", 0..5),
            buttons in prop::collection::vec(any_button(), 0..4),
            name in ".{0,20}",
            names in any_names(),
            is_damaged in any::<bool>(),
        ) {
            let message = Message {
                msg_id: MsgId::parse("m1").unwrap(),
                from: BusinessNumber::parse("+1 202 555 0100").unwrap(),
                to: Phone::parse("12025550143").unwrap(),
                template: Template { name, language: "en".into(), header, body, buttons, names: names.clone() },
                is_damaged,
                campaign: None,
            };
            let text = write_message(&message);
            // 0.1.0 reads what has no names, and leaves the rest to us.
            let version = if names.is_empty() { "{\"v\":1," } else { "{\"v\":2," };
            prop_assert!(text.starts_with(version) && text.contains("\"names\"") != names.is_empty());
            let back = read_message(message.msg_id.clone(), message.to, &text).unwrap();
            prop_assert_eq!(back.from.as_written(), message.from.as_written());
            prop_assert_eq!(back, message);
        }

        #[test]
        fn reading_rubbish_is_an_error_and_no_panic(text in ".{0,80}") {
            prop_assert!(read_callback(&text).is_err());
            prop_assert!(read_message(MsgId::parse("m").unwrap(), Phone::parse("12025550143").unwrap(), &text).is_err());
            prop_assert_eq!(read_history(&text).len(), text.lines().count());
        }
    }

    #[test]
    fn callbacks_come_back_as_they_were() {
        let status = Callback::Status(StatusEntry {
            msg_id: MsgId::parse("m1").unwrap(),
            status: Status::Failed,
            at: UnixMs(5),
            error: Some(Refusal::new(RefusalKind::Other, "outcome unknown")),
        });
        let reply = Callback::Inbound(InboundEntry {
            from: Phone::parse("12025550143").unwrap(),
            waba_number: "+12025550100".into(),
            at: UnixMs(7),
            kind: ReplyKind::Button {
                payload: "{'a':1}".into(),
            },
            text: "Keep it".into(),
            msg_id: None,
        });
        for callback in [status, reply] {
            assert_eq!(read_callback(&write_callback(&callback)).unwrap(), callback);
        }
    }

    #[test]
    fn a_row_of_a_newer_version_is_refused_by_name() {
        let row = r#"{"v":2,"at":1,"msg_id":"m","status":{"status":"sent","error":null}}"#;
        assert!(matches!(read_callback(row), Err(RowError::Newer(2))));
        let (msg_id, to) = (
            MsgId::parse("m").unwrap(),
            Phone::parse("12025550143").unwrap(),
        );
        // Nothing but the version and the sender need be as it was.
        let row = r#"{"v":300,"from":"12025550100","template":{"id":7}}"#;
        let read = read_message(msg_id.clone(), to, row);
        assert!(matches!(read, Err(RowError::Newer(300))), "{read:?}");
        assert_eq!(sender(row).unwrap().as_written(), "12025550100");
        let row = r#"{"v":1,"from":"12025550100"}"#;
        let read = read_message(msg_id, to, row);
        assert!(matches!(read, Err(RowError::Damaged(_))), "{read:?}");
    }
}
