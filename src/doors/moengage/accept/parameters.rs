//! The parameters of one component: what kinds may stand there, and the text or link of each.

use super::kinds::misplaced;
use super::place::{Parameters, Place};
use super::{Fault, MAX_NAME, MAX_TEXT, MAX_URL, bounded, names, object, wrong};
use crate::domain::Header;
use crate::doors::moengage::wire::{self, Json, Object, Parameter};
use std::borrow::Cow;
use std::fmt::Arguments;

impl Place {
    /// The header's parameter, and the variable that it names.
    pub(super) fn header(self, json: Parameters<'_>) -> Result<(Header, Option<String>), Fault> {
        let what = format_args!("header");
        let Some(mut parameter) = self.only(json, what)? else {
            return Err(Fault::template("header takes one parameter, got 0"));
        };
        let name = self.name(&mut parameter, 0)?;
        let kind = self.kind(parameter.kind, 0, format_args!("header parameter"))?;
        let header = match &*kind {
            "text" => {
                let text = self.field(parameter.text, 0, "text")?;
                let text = required(text, MAX_TEXT, format_args!("header parameter"), "text");
                return Ok((Header::Text(text?), name));
            }
            "image" => Ok(Header::Image(self.media(parameter.image, "image")?.0)),
            "video" => Ok(Header::Video(self.media(parameter.video, "video")?.0)),
            "document" => {
                let (link, filename) = self.media(parameter.document, "document")?;
                Ok(Header::Document { link, filename })
            }
            other => Err(misplaced(
                format_args!("header parameter"),
                "text, image, video or document",
                other,
            )),
        };
        // No variable stands in a picture or a file.
        header.map(|header| (header, None))
    }

    fn media(
        self,
        json: Object<'_, wire::Media<'_>>,
        name: &str,
    ) -> Result<(String, Option<String>), Fault> {
        let at = self.component;
        let place = format_args!("template.components[{at}].parameters[0].{name}");
        let media = object(json, place)?.unwrap_or_default();
        let link = self.field(media.link, 0, &format!("{name}.link"))?;
        let filename = self.field(media.filename, 0, &format!("{name}.filename"))?;
        let link = required(link, MAX_URL, format_args!("header {name}"), "link")?;
        if !is_web_link(&link) {
            return Err(Fault::template(format_args!(
                "link of the header {name} does not begin with http:// or https://"
            )));
        }
        let filename = filename
            .map(|name| bounded(name, MAX_NAME, format_args!("document filename")))
            .transpose()?;
        Ok((link, filename))
    }

    /// The body's texts, and the variables that they name.
    pub(super) fn body(self, json: Parameters<'_>) -> Result<(Vec<String>, Vec<String>), Fault> {
        let parameters = self.parameters(json, format_args!("body"))?;
        let mut texts = Vec::with_capacity(parameters.len());
        let mut names = Vec::with_capacity(parameters.len());
        for (at, mut parameter) in parameters.into_iter().enumerate() {
            names.push(self.name(&mut parameter, at)?);
            texts.push(self.body_text(parameter, at)?);
        }
        Ok((texts, names::of_all(names)?))
    }

    fn body_text(self, parameter: Parameter<'_>, at: usize) -> Result<String, Fault> {
        let what = format_args!("body parameter {}", at + 1);
        let kind = self.kind(parameter.kind, at, what)?;
        match &*kind {
            "text" => {
                let text = self.field(parameter.text, at, "text")?;
                required(text, MAX_TEXT, what, "text")
            }
            "currency" => self.fallback(parameter.currency, at, "currency"),
            "date_time" => self.fallback(parameter.date_time, at, "date_time"),
            other => Err(misplaced(what, "text, currency or date_time", other)),
        }
    }

    /// The text of a currency or a date: the provider takes texts only.
    fn fallback(
        self,
        json: Object<'_, wire::Fallback<'_>>,
        at: usize,
        name: &str,
    ) -> Result<String, Fault> {
        let component = self.component;
        let place = format_args!("template.components[{component}].parameters[{at}].{name}");
        let value = object(json, place)?.unwrap_or_default();
        let what = format_args!("body parameter {}", at + 1);
        let text = self.field(value.fallback_value, at, &format!("{name}.fallback_value"))?;
        let is_whole = match value.amount_1000 {
            Json::Nothing | Json::Number(Some(_)) => true,
            Json::Number(None) => false,
            Json::Text(text) => text.trim().parse::<i64>().is_ok(),
            other => {
                let place = format_args!("{place}.amount_1000");
                return Err(wrong(place, "a number or a string", other.kind()));
            }
        };
        if !is_whole {
            return Err(Fault::template(format_args!(
                "{what} has an amount_1000 that is not a whole number"
            )));
        }
        required(text, MAX_TEXT, what, "fallback_value")
    }
}

pub(super) fn required(
    text: Option<Cow<'_, str>>,
    limit: usize,
    what: Arguments<'_>,
    field: &str,
) -> Result<String, Fault> {
    let text = text.ok_or_else(|| Fault::template(format_args!("{what} has no {field}")))?;
    bounded(text, limit, format_args!("{field} of {what}"))
}

/// Whether a text is a link that a provider can fetch. The gateway itself never does.
fn is_web_link(link: &str) -> bool {
    let after = |scheme: &str| {
        link.get(..scheme.len())
            .filter(|start| start.eq_ignore_ascii_case(scheme))
            .map(|_| &link[scheme.len()..])
    };
    let rest = after("https://").or_else(|| after("http://"));
    rest.is_some_and(|rest| {
        !rest.is_empty()
            && !rest.starts_with(['/', '?', '#'])
            && !link.chars().any(|c| c.is_whitespace() || c.is_control())
    })
}
