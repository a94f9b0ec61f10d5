//! The place of a component in the body, which every refusal names, and how what stands there is read.

use super::kinds::kind;
use super::{Fault, MAX_PARAMETERS, object, text, wrong};
use crate::doors::moengage::wire::{Json, Leaf, List, Object, Parameter};
use std::borrow::Cow;
use std::fmt::Arguments;

/// Where we are in the body.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// The number of the component, from 0.
    pub(super) component: usize,
    /// Whether texts of the body have characters that could not be read.
    pub(super) is_damaged: bool,
}

/// Parameters as they came.
pub(super) type Parameters<'a> = List<'a, Object<'a, Parameter<'a>>>;

impl Place {
    /// The parameters of a component.
    pub(super) fn parameters<'a>(
        self,
        json: Parameters<'a>,
        what: Arguments<'_>,
    ) -> Result<Vec<Parameter<'a>>, Fault> {
        let at = self.component;
        let list = match json {
            Json::Nothing => return Ok(Vec::new()),
            Json::List(list) => list,
            other => {
                let place = format_args!("template.components[{at}].parameters");
                return Err(wrong(place, "an array", other.kind()));
            }
        };
        if list.len() > MAX_PARAMETERS {
            return Err(Fault::template(format_args!(
                "{what} has more than {MAX_PARAMETERS} parameters"
            )));
        }
        let mut parameters = Vec::with_capacity(list.len());
        for (number, json) in list.into_iter().enumerate() {
            let place = format_args!("template.components[{at}].parameters[{number}]");
            parameters.push(object(json, place)?.unwrap_or_default());
        }
        Ok(parameters)
    }

    /// The only parameter of a component, if it has any.
    pub(super) fn only<'a>(
        self,
        json: Parameters<'a>,
        what: Arguments<'_>,
    ) -> Result<Option<Parameter<'a>>, Fault> {
        let mut parameters = self.parameters(json, what)?;
        match parameters.len() {
            0 | 1 => Ok(parameters.pop()),
            more => Err(Fault::template(format_args!(
                "{what} takes one parameter, got {more}"
            ))),
        }
    }

    /// A text of a parameter.
    pub(super) fn field<'a>(
        self,
        leaf: Leaf<'a>,
        parameter: usize,
        name: &str,
    ) -> Result<Option<Cow<'a, str>>, Fault> {
        let at = self.component;
        let place = format_args!("template.components[{at}].parameters[{parameter}].{name}");
        text(leaf, place)
    }

    /// The kind of a parameter.
    pub(super) fn kind<'a>(
        self,
        leaf: Leaf<'a>,
        parameter: usize,
        what: Arguments<'_>,
    ) -> Result<Cow<'a, str>, Fault> {
        let at = self.component;
        let place = format_args!("template.components[{at}].parameters[{parameter}].type");
        kind(leaf, place)?.ok_or_else(|| Fault::template(format_args!("{what} has no type")))
    }
}
