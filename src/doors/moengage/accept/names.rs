//! The variables that parameters name (`parameter_name`).
//!
//! MoEngage's documents show parameters by place only; Meta's API has names for templates whose variables
//! have names, and callers that fill in such templates send them. All texts of a body name their variable or
//! none does, and no two the same: anything else could be sent in more than one order.

use super::place::Place;
use super::{Fault, MAX_NAME, bounded, text};
use crate::doors::moengage::wire::{Json, Parameter};
use crate::json::LOST;
use std::collections::HashMap;

impl Place {
    /// Takes the variable that a parameter names out of it. A blank name is none.
    pub(super) fn name(
        self,
        parameter: &mut Parameter<'_>,
        at: usize,
    ) -> Result<Option<String>, Fault> {
        let Self {
            component,
            is_damaged,
        } = self;
        let place =
            format_args!("template.components[{component}].parameters[{at}].parameter_name");
        let name = match std::mem::take(&mut parameter.parameter_name) {
            // {{1}} may be named by the number itself.
            Json::Number(Some(number)) => return Ok(Some(number.to_string())),
            leaf => text(leaf, place)?,
        };
        let name = name.filter(|name| !name.trim().is_empty());
        let Some(name) = name else { return Ok(None) };
        if is_damaged && name.contains(LOST) {
            return Err(Fault::Malformed(format!(
                "{place} has a character that is no valid Unicode"
            )));
        }
        let name = name.trim().to_owned();
        bounded(name.into(), MAX_NAME, format_args!("{place}")).map(Some)
    }
}

/// The variables of a body's texts, one for each; none where no text names one.
pub(super) fn of_all(names: Vec<Option<String>>) -> Result<Vec<String>, Fault> {
    if names.iter().all(Option::is_none) {
        return Ok(Vec::new());
    }
    let mut first = HashMap::new();
    for (at, name) in names.iter().enumerate() {
        let Some(name) = name else {
            return Err(Fault::template(format_args!(
                "body parameter {} has no parameter_name, and others have one",
                at + 1
            )));
        };
        if let Some(first) = first.insert(name, at) {
            return Err(Fault::template(format_args!(
                "body parameters {} and {} have the same parameter_name",
                first + 1,
                at + 1
            )));
        }
    }
    Ok(names.into_iter().flatten().collect())
}
