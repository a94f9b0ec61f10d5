//! The parameter of a button: the suffix of a dynamic link, or the payload of a quick reply.

use super::kinds::{kind, misplaced, unsupported};
use super::parameters::required;
use super::place::{Parameters, Place};
use super::{Fault, MAX_TEXT, MAX_URL, wrong};
use crate::domain::Button;
use crate::doors::moengage::wire::{Json, Leaf, Parameter};
use std::fmt::Arguments;

impl Place {
    /// The button with its parameter, and the variable that this names.
    pub(super) fn button(
        self,
        sub_type: Leaf<'_>,
        index: Leaf<'_>,
        json: Parameters<'_>,
    ) -> Result<(Button, Option<String>), Fault> {
        let at = self.component;
        let kind = kind(sub_type, format_args!("template.components[{at}].sub_type"))?;
        let kind = match kind.as_deref() {
            Some("url") => "url",
            Some("quick_reply") => "quick_reply",
            Some(other) => return Err(unsupported("Button of type", other)),
            None => {
                return Err(Fault::template(format_args!(
                    "button in component {} has no sub_type",
                    at + 1
                )));
            }
        };
        let index = self.index(index)?;
        let what = format_args!("button {index} ({kind})");
        let mut parameter = self.only(json, what)?;
        if kind == "url" {
            let name = parameter.as_mut().map(|parameter| self.name(parameter, 0));
            let name = name.transpose()?.flatten();
            let suffix = parameter.map(|parameter| self.suffix(parameter, what));
            let suffix = suffix.transpose()?;
            Ok((Button::Url { index, suffix }, name))
        } else {
            let payload = parameter.map(|parameter| self.payload(parameter, what));
            let payload = payload.transpose()?;
            // A payload is nobody's variable.
            Ok((Button::QuickReply { index, payload }, None))
        }
    }

    fn index(self, leaf: Leaf<'_>) -> Result<u32, Fault> {
        let at = self.component;
        let index = match leaf {
            Json::Number(number) => number.and_then(|number| u32::try_from(number).ok()),
            Json::Text(text) => text.trim().parse().ok(),
            Json::Nothing => {
                return Err(Fault::template(format_args!(
                    "button in component {} has no index",
                    at + 1
                )));
            }
            other => {
                let place = format_args!("template.components[{at}].index");
                return Err(wrong(place, "a string or a number", other.kind()));
            }
        };
        index.ok_or_else(|| {
            Fault::template(format_args!(
                "button in component {} has an index that is not a whole number from 0",
                at + 1
            ))
        })
    }

    fn suffix(self, parameter: Parameter<'_>, what: Arguments<'_>) -> Result<String, Fault> {
        match &*self.kind(parameter.kind, 0, what)? {
            "text" => required(
                self.field(parameter.text, 0, "text")?,
                MAX_URL,
                what,
                "text",
            ),
            other => Err(misplaced(what, "text", other)),
        }
    }

    fn payload(self, parameter: Parameter<'_>, what: Arguments<'_>) -> Result<String, Fault> {
        match &*self.kind(parameter.kind, 0, what)? {
            "payload" => {
                let payload = self.field(parameter.payload, 0, "payload")?;
                required(payload, MAX_TEXT, what, "payload")
            }
            other => Err(misplaced(what, "payload", other)),
        }
    }
}
