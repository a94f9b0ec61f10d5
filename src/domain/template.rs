//! A provider's templates, in neutral words.

use super::{BusinessNumber, Phone, Template};
use std::collections::HashSet;

/// One approved language of one template at the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// The template's name.
    pub name: String,
    /// The language code, matched exactly.
    pub language: String,
    /// The provider's id of this variant.
    pub id: String,
    /// Whether the provider lists it as MARKETING. Any other category, and none, is not.
    pub is_marketing: bool,
}

/// What a list of templates says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TemplateList {
    /// The approved variants, in the provider's order.
    pub variants: Vec<Variant>,
    /// Whether it is all there is: what is not on a list that is not whole may be there all the same.
    pub whole: bool,
    /// Names of templates that are on it and could not be read to the end.
    pub unread: HashSet<String>,
}

/// What a template wants, as far as the provider told. Absent facts are unknown, not zero.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Detail {
    /// How many values the body takes.
    pub body_values: Option<usize>,
    /// The variables of the body, in the order in which the provider takes their values.
    pub body_names: Option<Vec<String>>,
    /// What the header takes.
    pub header: Option<HeaderNeeds>,
    /// The variable of the header's text.
    pub header_name: Option<String>,
    /// All buttons in order; absent when the provider did not list them.
    pub buttons: Option<Vec<ButtonShape>>,
}

impl Detail {
    /// The button at this place, where the provider listed the buttons.
    pub fn button(&self, index: u32) -> Option<&ButtonShape> {
        let shapes = self.buttons.as_ref()?;
        shapes.get(usize::try_from(index).ok()?)
    }
}

/// What a header takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderNeeds {
    /// No parameter.
    Nothing,
    /// One text.
    Text,
    /// A link to an image.
    Image,
    /// A link to a video.
    Video,
    /// A link to a document.
    Document,
}

/// One button of an approved template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ButtonShape {
    /// A link with a placeholder: takes a suffix.
    DynamicUrl {
        /// The variable, where the link shows it.
        name: Option<String>,
    },
    /// A tap that comes back as a reply; the label is what the person sees.
    QuickReply {
        /// The label; empty where it could not be read.
        label: String,
    },
    /// A fixed link, a phone number: takes nothing and is not sent.
    Static,
    /// A kind that this program does not know; forwarded as given.
    Unrecognized,
}

/// One send, ready for the provider: a template resolved to its variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The recipient.
    pub to: Phone,
    /// The sending number, when the channel has one configured.
    pub from: Option<BusinessNumber>,
    /// The provider's id of the template variant.
    pub variant: String,
    /// The parameters, static buttons already dropped.
    pub template: Template,
}
