//! One MoEngage send, checked.

use super::{MsgId, Phone};
use std::fmt;
use std::sync::Arc;

/// One template message to one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// MoEngage's id; the key of idempotency within a channel.
    pub msg_id: MsgId,
    /// The brand's number, as MoEngage wrote it.
    pub from: BusinessNumber,
    /// The recipient.
    pub to: Phone,
    /// What to send.
    pub template: Template,
    /// Whether texts of it lost characters that could not be read.
    pub is_damaged: bool,
    /// The campaign named in the query of the send call, for the record.
    pub campaign: Option<Arc<str>>,
}

/// A template by name and language, with its parameters in the order of the placeholders, or with the
/// names of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The name, as approved.
    pub name: String,
    /// The language code, as approved.
    pub language: String,
    /// The header's parameter.
    pub header: Option<Header>,
    /// The body's texts; currency and date_time come as their fallback text.
    pub body: Vec<String>,
    /// Parameters of buttons.
    pub buttons: Vec<Button>,
    /// The variables that parameters name.
    pub names: Names,
}

/// The template's variables that parameters name, where they name any. Without a name a parameter is
/// known by its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Of the header's text.
    pub header: Option<String>,
    /// Of the body's texts, one for each; empty where they name none.
    pub body: Vec<String>,
    /// Of the suffixes of links, by the button's index.
    pub buttons: Vec<(u32, String)>,
}

impl Names {
    /// Whether no parameter names its variable.
    pub fn is_empty(&self) -> bool {
        self.header.is_none() && self.body.is_empty() && self.buttons.is_empty()
    }
}

/// The parameter of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Header {
    /// The text of the header's one placeholder.
    Text(String),
    /// The link of an image. Never fetched by the gateway.
    Image(String),
    /// The link of a video. Never fetched by the gateway.
    Video(String),
    /// The link of a document and the name to show. Never fetched by the gateway.
    Document {
        /// The link.
        link: String,
        /// The file name that the recipient sees.
        filename: Option<String>,
    },
}

/// The parameter of a button; `index` counts the template's buttons from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Button {
    /// The suffix of a dynamic link, absent when MoEngage sent the button without parameters.
    Url {
        /// Position among the template's buttons.
        index: u32,
        /// The text that completes the approved link.
        suffix: Option<String>,
    },
    /// What comes back when the person taps, absent when MoEngage sent none.
    QuickReply {
        /// Position among the template's buttons.
        index: u32,
        /// The payload, echoed byte for byte in the reply.
        payload: Option<String>,
    },
}

impl Button {
    /// Position among the template's buttons.
    pub fn index(&self) -> u32 {
        match self {
            Self::Url { index, .. } | Self::QuickReply { index, .. } => *index,
        }
    }
}

/// A WhatsApp Business number as MoEngage wrote it; two spellings with the same digits are equal.
#[derive(Clone)]
pub struct BusinessNumber {
    text: Arc<str>,
    phone: Phone,
}

impl BusinessNumber {
    /// Reads a number and keeps its spelling.
    pub fn parse(text: &str) -> Result<Self, super::phone::PhoneError> {
        Ok(Self {
            phone: Phone::parse(text)?,
            text: text.into(),
        })
    }

    /// The number exactly as it was written. For the wire.
    pub fn as_written(&self) -> &str {
        &self.text
    }

    /// The number itself.
    pub fn phone(&self) -> Phone {
        self.phone
    }
}

impl PartialEq for BusinessNumber {
    fn eq(&self, other: &Self) -> bool {
        self.phone == other.phone
    }
}

impl Eq for BusinessNumber {}

impl fmt::Display for BusinessNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.phone.fmt(f)
    }
}

impl fmt::Debug for BusinessNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BusinessNumber({})", self.phone)
    }
}
