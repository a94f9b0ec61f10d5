//! A template's components as header, body texts and buttons (contracts/moengage.md section 3.3).
//!
//! Nothing is dropped silently: a kind that cannot be sent is refused with 7004, a known kind in
//! the wrong place or number with 7001. Reasons count parameters from 1, as people do.

use super::kinds::{kind, other, unsupported};
use super::place::Place;
use super::{Fault, MAX_COMPONENTS, damaged_name, object, wrong};
use crate::domain::{Button, Header, Names};
use crate::doors::moengage::wire::{self, Component, Json, Object};
use crate::json::{Mended, Numbers};

/// The parameters of a template.
#[derive(Debug, Default)]
pub(super) struct Mapped {
    pub(super) header: Option<Header>,
    pub(super) body: Vec<String>,
    pub(super) buttons: Vec<Button>,
    pub(super) names: Names,
}

/// Reads components as an array, as nothing, or as a text that holds an array (Q18). Such a text may be
/// damaged by itself.
pub(super) fn read(
    components: wire::Components<'_>,
    is_damaged: &mut bool,
) -> Result<Mapped, Fault> {
    match components {
        Json::Nothing => Ok(Mapped::default()),
        Json::List(list) => map(list, *is_damaged),
        Json::Text(inner) => {
            // Where the body around it was damaged, so may be a name in it that parses.
            if !*is_damaged && let Ok(components) = serde_json::from_str(&inner) {
                return within(Some(components), false);
            }
            let mended = Mended::within(inner.as_bytes(), Numbers::AsFloat, *is_damaged);
            if let Some(name) = &mended.damaged_name {
                return Err(Fault::Malformed(damaged_name(name)));
            }
            *is_damaged |= mended.is_damaged;
            within(serde_json::from_slice(&mended.bytes).ok(), *is_damaged)
        }
        other => Err(wrong(
            format_args!("template.components"),
            "an array",
            other.kind(),
        )),
    }
}

/// The same of what such a text holds, if it is JSON.
fn within(components: Option<wire::Components<'_>>, is_damaged: bool) -> Result<Mapped, Fault> {
    match components {
        Some(Json::Nothing) => Ok(Mapped::default()),
        Some(Json::List(list)) => map(list, is_damaged),
        _ => Err(Fault::template(
            "template.components is a text that holds no array",
        )),
    }
}

fn map(components: Vec<Object<'_, Component<'_>>>, is_damaged: bool) -> Result<Mapped, Fault> {
    if components.len() > MAX_COMPONENTS {
        return Err(Fault::template(format_args!(
            "template has more than {MAX_COMPONENTS} components"
        )));
    }
    let mut mapped = Mapped::default();
    let mut has_body = false;
    for (at, component) in components.into_iter().enumerate() {
        let nth = at + 1;
        let Some(component) = object(component, format_args!("template.components[{at}]"))? else {
            return Err(Fault::template(format_args!("component {nth} is null")));
        };
        let kind = kind(
            component.kind,
            format_args!("template.components[{at}].type"),
        )?;
        let place = Place {
            component: at,
            is_damaged,
        };
        match kind.as_deref() {
            Some("header") if mapped.header.is_some() => {
                return Err(Fault::template("template has two headers"));
            }
            Some("header") => {
                let (header, name) = place.header(component.parameters)?;
                mapped.header = Some(header);
                mapped.names.header = name;
            }
            Some("body") if has_body => return Err(Fault::template("template has two bodies")),
            Some("body") => {
                has_body = true;
                (mapped.body, mapped.names.body) = place.body(component.parameters)?;
            }
            Some("button") => {
                let (button, name) =
                    place.button(component.sub_type, component.index, component.parameters)?;
                let index = button.index();
                if mapped.buttons.iter().any(|other| other.index() == index) {
                    return Err(Fault::template(format_args!(
                        "two buttons have the index {index}"
                    )));
                }
                mapped.buttons.push(button);
                mapped.names.buttons.extend(name.map(|name| (index, name)));
            }
            Some("carousel") => {
                return Err(other("Carousel is not supported by this gateway".into()));
            }
            Some(kind) => return Err(unsupported("Component", kind)),
            None => {
                let fault = format_args!("component {nth} has no type");
                return Err(Fault::template(fault));
            }
        }
    }
    Ok(mapped)
}
