//! From the bytes of a send to a checked [`Message`], or to the exact reason why not.
//!
//! Pure: no clock, no store, no channel. The decision table is contracts/moengage.md section 4:
//! what cannot be understood is malformed (4xx), what is understood and cannot be sent is refused
//! with a code. Answers name the field and the place, and never echo the body.

mod button;
mod components;
mod kinds;
mod names;
mod number;
mod parameters;
mod place;
#[cfg(test)]
mod tests;

use super::wire::{self, Json, Leaf, Object};
use crate::domain::phone::mask_numbers;
use crate::domain::{BusinessNumber, Message, MsgId, Phone, Refusal, RefusalKind, Template};
use crate::json::{self, Mended, Numbers};
use std::borrow::Cow;
use std::fmt::{self, Arguments};

pub use number::{dialled, warm_up};

/// Components of a template.
pub const MAX_COMPONENTS: usize = 32;
/// Parameters of one component.
pub const MAX_PARAMETERS: usize = 64;
// Of too many there is always one more than may be.
const _: () = assert!(wire::KEPT_ELEMENTS > MAX_COMPONENTS && wire::KEPT_ELEMENTS > MAX_PARAMETERS);
/// Characters of a text parameter or a payload.
pub const MAX_TEXT: usize = 4096;
/// Characters of a template's name, a language code or a file name.
pub const MAX_NAME: usize = 512;
/// Characters of a link or of the suffix of one.
pub const MAX_URL: usize = 2048;

/// Why a send is not a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejected {
    /// It cannot be understood.
    Malformed {
        /// The HTTP status to answer.
        status: u16,
        /// What is wrong and where.
        message: String,
    },
    /// It is understood and cannot be sent.
    Refused {
        /// Its id: a repeat of an accepted send answers success whatever its content is now.
        msg_id: MsgId,
        /// The brand's number, when that could be read.
        from: Option<BusinessNumber>,
        /// The code and the reason.
        refusal: Refusal,
    },
}

/// What may be wrong with one field.
#[derive(Debug)]
enum Fault {
    Malformed(String),
    Refused(Refusal),
}

impl Fault {
    fn template(reason: impl fmt::Display) -> Self {
        Self::Refused(Refusal::new(RefusalKind::Template, reason.to_string()))
    }
}

/// Reads one send. `campaign` is kept with the message.
pub fn read(bytes: &[u8], campaign: Option<&str>) -> Result<Message, Rejected> {
    let not_json = |error| malformed(format!("Body is not valid JSON: {error}"));
    let error = match serde_json::from_slice(bytes) {
        Ok(body) => return message(body, campaign, false),
        Err(error) => error,
    };
    let mended = Mended::new(bytes, Numbers::AsFloat);
    if let Some(name) = &mended.damaged_name {
        return Err(malformed(damaged_name(name)));
    }
    match &mended.bytes {
        Cow::Borrowed(_) => Err(not_json(error)),
        Cow::Owned(bytes) => {
            let body = serde_json::from_slice(bytes).map_err(not_json)?;
            message(body, campaign, mended.is_damaged)
        }
    }
}

/// What is wrong with a member of this name.
fn damaged_name(name: &str) -> String {
    let name = mask_numbers(name);
    format!("The member name {name} has a character that is no valid Unicode")
}

/// With `is_damaged`, texts of the body have characters that could not be read.
fn message(
    body: Object<'_, wire::Send<'_>>,
    campaign: Option<&str>,
    mut is_damaged: bool,
) -> Result<Message, Rejected> {
    let Json::Object(send) = body else {
        let message = format!("Body must be a JSON object, not {}", body.kind());
        return Err(malformed(message));
    };
    if is_damaged {
        intact(&send)?;
    }
    let msg_id = msg_id(&send.msg_id)?;
    let mut from = None;
    content(send, &mut from, &mut is_damaged).map_or_else(
        |fault| {
            Err(match fault {
                Fault::Malformed(message) => malformed(message),
                Fault::Refused(refusal) => Rejected::Refused {
                    msg_id: msg_id.clone(),
                    from: from.clone(),
                    refusal,
                },
            })
        },
        |(from, to, template)| {
            Ok(Message {
                msg_id: msg_id.clone(),
                from,
                to,
                template,
                is_damaged,
                campaign: campaign.map(Into::into),
            })
        },
    )
}

fn malformed(message: String) -> Rejected {
    Rejected::Malformed {
        status: 400,
        message,
    }
}

/// What names a message, a person or a template must be whole: two of them could become one.
fn intact(send: &wire::Send<'_>) -> Result<(), Rejected> {
    let template = match &send.template {
        Json::Object(template) => Some(template),
        _ => None,
    };
    let language = template.and_then(|template| match &template.language {
        Json::Object(language) => Some(&language.code),
        _ => None,
    });
    let fields = [
        ("msg_id", Some(&send.msg_id)),
        ("to", Some(&send.to)),
        ("from", Some(&send.from)),
        ("template.name", template.map(|template| &template.name)),
        ("template.language.code", language),
    ];
    let is_lost = |leaf: &Leaf<'_>| matches!(leaf, Json::Text(text) if text.contains(json::LOST));
    match fields.iter().find(|(_, leaf)| leaf.is_some_and(is_lost)) {
        Some((field, _)) => Err(malformed(format!(
            "{field} has a character that is no valid Unicode"
        ))),
        None => Ok(()),
    }
}

fn msg_id(leaf: &Leaf<'_>) -> Result<MsgId, Rejected> {
    match leaf {
        Json::Nothing => Err(malformed("msg_id is missing".into())),
        Json::Text(text) => {
            MsgId::parse(text).map_err(|error| malformed(format!("msg_id {error}")))
        }
        other => Err(malformed(format!(
            "msg_id must be a string, not {}",
            other.kind()
        ))),
    }
}

type Content = (BusinessNumber, Phone, Template);

/// Everything but the id. `seen` gets the brand's number as soon as it is known, `is_damaged` what texts
/// within texts lost.
fn content(
    send: wire::Send<'_>,
    seen: &mut Option<BusinessNumber>,
    is_damaged: &mut bool,
) -> Result<Content, Fault> {
    let Some(template) = object(send.template, format_args!("template"))? else {
        return Err(Fault::Malformed("template is missing".into()));
    };
    // Types first: a body of wrong types is malformed, whatever else is wrong with it.
    let from = text(send.from, format_args!("from"))?;
    let to = text(send.to, format_args!("to"))?;
    let from = sender(from.as_deref())?;
    *seen = Some(from.clone());
    let template = self::template(template, is_damaged)?;
    Ok((from, recipient(to.as_deref())?, template))
}

fn sender(from: Option<&str>) -> Result<BusinessNumber, Fault> {
    let refuse = |reason: String| Fault::Refused(Refusal::new(RefusalKind::Credentials, reason));
    let from = from.ok_or_else(|| refuse("Sender (from) is missing".into()))?;
    BusinessNumber::parse(from)
        .map_err(|error| refuse(format!("Sender (from) is not a phone number: it {error}")))
}

fn recipient(to: Option<&str>) -> Result<Phone, Fault> {
    let refuse = |reason: String| Fault::Refused(Refusal::new(RefusalKind::Phone, reason));
    let to = to.ok_or_else(|| refuse("Recipient (to) is missing".into()))?;
    let phone = Phone::parse(to)
        .map_err(|error| refuse(format!("Recipient is not an E.164 number: it {error}")))?;
    let reason = "Recipient is not a possible number: wrong country code or length";
    dialled(phone).ok_or_else(|| refuse(reason.into()))
}

fn template(template: wire::Template<'_>, is_damaged: &mut bool) -> Result<Template, Fault> {
    let name = text(template.name, format_args!("template.name"))?;
    let language = object(template.language, format_args!("template.language"))?;
    let code = match language {
        Some(language) => text(language.code, format_args!("template.language.code"))?,
        None => None,
    };
    let mapped = components::read(template.components, is_damaged)?;
    Ok(Template {
        name: named(name, "template name")?,
        language: named(code, "template language")?,
        header: mapped.header,
        body: mapped.body,
        buttons: mapped.buttons,
        names: mapped.names,
    })
}

fn named(text: Option<Cow<'_, str>>, what: &str) -> Result<String, Fault> {
    let text = text.filter(|text| !text.trim().is_empty());
    let text = text.ok_or_else(|| Fault::template(format_args!("{what} is empty")))?;
    bounded(text, MAX_NAME, format_args!("{what}"))
}

fn bounded(text: Cow<'_, str>, limit: usize, what: Arguments<'_>) -> Result<String, Fault> {
    // No text has more characters than bytes.
    if text.len() > limit && text.chars().count() > limit {
        return Err(Fault::template(format_args!(
            "{what} is longer than {limit} characters"
        )));
    }
    Ok(text.into_owned())
}

/// A text, or nothing; another type is malformed.
fn text<'a>(leaf: Leaf<'a>, place: Arguments<'_>) -> Result<Option<Cow<'a, str>>, Fault> {
    match leaf {
        Json::Nothing => Ok(None),
        Json::Text(text) => Ok(Some(text)),
        other => Err(wrong(place, "a string", other.kind())),
    }
}

/// An object, or nothing; another type is malformed.
fn object<O>(json: Object<'_, O>, place: Arguments<'_>) -> Result<Option<O>, Fault> {
    match json {
        Json::Nothing => Ok(None),
        Json::Object(object) => Ok(Some(object)),
        other => Err(wrong(place, "an object", other.kind())),
    }
}

fn wrong(place: Arguments<'_>, wanted: &str, got: &str) -> Fault {
    Fault::Malformed(format!("{place} must be {wanted}, not {got}"))
}
