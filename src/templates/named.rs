//! Parameters that name their variables, put into the order in which the provider takes their values. Pure.
//!
//! Each variable gets the value of its name and no value is left over; else the message is refused, because
//! the person would read something else than MoEngage meant. Values without names keep their order.

use crate::domain::Template;
use crate::domain::phone::mask_numbers;
use crate::domain::template::{ButtonShape, Detail, HeaderNeeds};
use std::collections::HashMap;

/// A name longer than this is not repeated in a reason.
const LONGEST_SHOWN: usize = 60;

/// The template with its values in order, or why they fit in none; `None` while their order cannot be told,
/// because the provider has told nothing of the template.
pub(super) fn in_order(template: &Template, detail: &Detail) -> Result<Option<Template>, String> {
    let names = &template.names;
    if let (Some(HeaderNeeds::Text), Some(name)) = (detail.header, &names.header) {
        same("as its header value", detail.header_name.as_ref(), name)?;
    }
    for (index, name) in &names.buttons {
        if let Some(ButtonShape::DynamicUrl { name: variable }) = detail.button(*index) {
            let what = format!("as the value of button {index}");
            same(&what, variable.as_ref(), name)?;
        }
    }
    let mut fitted = template.clone();
    if names.body.is_empty() {
        return Ok(Some(fitted));
    }
    if names.body.len() != template.body.len() {
        return Err("got more or fewer names than body values".into());
    }
    let order = match &detail.body_names {
        Some(variables) => order(&names.body, variables)?,
        None => match by_number(&names.body) {
            Some(order) => order,
            None if *detail == Detail::default() => return Ok(None),
            None => {
                return Err(
                    "got body values with a parameter_name, and the provider does not tell the \
                     names of its variables; send them in order and without names"
                        .into(),
                );
            }
        },
    };
    let value = |at: &usize| template.body.get(*at).cloned();
    fitted.body = order.iter().filter_map(value).collect();
    // They have done their work, and are not in the order of the values any more.
    fitted.names.body.clear();
    Ok(Some(fitted))
}

/// Whether a value that stands alone is meant for the variable that stands there, where that is known.
fn same(place: &str, variable: Option<&String>, name: &String) -> Result<(), String> {
    match variable {
        Some(variable) if variable != name => Err(format!(
            "needs {} {place}, got {}",
            shown(variable),
            shown(name)
        )),
        _ => Ok(()),
    }
}

/// The places of the values in the order of the variables that they name.
fn order(names: &[String], variables: &[String]) -> Result<Vec<usize>, String> {
    let places: HashMap<&String, usize> = names.iter().zip(0..).collect();
    let found: Vec<Option<usize>> = variables
        .iter()
        .map(|variable| places.get(variable).copied())
        .collect();
    let missing = found.iter().position(Option::is_none);
    let missing = missing.map(|at| shown(&variables[at]));
    let left_over = names.iter().find(|name| !variables.contains(name));
    match (missing, left_over.map(|name| shown(name))) {
        (Some(missing), Some(got)) => Err(format!("needs a body value named {missing}, got {got}")),
        (Some(missing), None) => Err(format!("needs a body value named {missing}, got none")),
        (None, Some(got)) => Err(format!("has no body variable named {got}")),
        (None, None) if names.len() != found.len() => Err("got two body values of one name".into()),
        (None, None) => Ok(found.into_iter().flatten().collect()),
    }
}

/// The order of values that are named by their numbers, or of one that is alone.
fn by_number(names: &[String]) -> Option<Vec<usize>> {
    if names.len() == 1 {
        return Some(vec![0]);
    }
    let numbers: Vec<String> = (1..=names.len()).map(|n| n.to_string()).collect();
    order(names, &numbers).ok()
}

/// A name in a reason. It is somebody else's word: shown when it looks like a name, and no number
/// survives in it.
fn shown(name: &str) -> String {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-. ".contains(&byte);
    if name.len() <= LONGEST_SHOWN && name.bytes().all(is_name) {
        mask_numbers(name)
    } else {
        "(unreadable)".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Button, Header, Names};
    use proptest::prelude::*;
    use proptest::sample::SizeRange;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().copied().map(str::to_owned).collect()
    }

    /// A template whose body values are the names in upper case.
    fn template(names: &[&str]) -> Template {
        Template {
            name: "order_left".into(),
            language: "en".into(),
            header: None,
            body: names.iter().map(|name| name.to_uppercase()).collect(),
            buttons: Vec::new(),
            names: Names {
                body: texts(names),
                ..Names::default()
            },
        }
    }

    fn body(variables: &[&str]) -> Detail {
        Detail {
            body_names: Some(texts(variables)),
            ..Detail::default()
        }
    }

    fn reason(template: &Template, detail: &Detail) -> String {
        in_order(template, detail).unwrap_err()
    }

    #[test]
    fn r_27_values_go_to_the_variables_that_they_name() {
        let detail = body(&["customer", "order_id"]);
        let given = template(&["order_id", "customer"]);
        let fitted = in_order(&given, &detail).unwrap().unwrap();
        assert_eq!(fitted.body, ["CUSTOMER", "ORDER_ID"]);
        assert_eq!(fitted.names, Names::default());
        let mut nameless = given;
        nameless.names = Names::default();
        let fitted = in_order(&nameless, &detail).unwrap().unwrap();
        assert_eq!(fitted, nameless, "without names the order is MoEngage's");
    }

    #[test]
    fn r_27_names_that_do_not_fit_are_refused_with_what_is_wrong() {
        let detail = body(&["customer", "order_id"]);
        for (given, expected) in [
            (
                &["order_nr", "customer"][..],
                "needs a body value named order_id, got order_nr",
            ),
            (&["customer"], "needs a body value named order_id, got none"),
            (
                &["a", "order_id", "customer"],
                "has no body variable named a",
            ),
            (
                &["customer", "customer", "order_id"],
                "got two body values of one name",
            ),
            (&["1", "2"], "needs a body value named customer, got 1"),
            (
                &["12025550143", "customer"],
                "needs a body value named order_id, got 12*******43",
            ),
            (
                &["a\nb", "customer"],
                "needs a body value named order_id, got (unreadable)",
            ),
        ] {
            assert_eq!(reason(&template(given), &detail), expected);
        }
        let got = reason(&template(&["a"]), &body(&[]));
        assert_eq!(got, "has no body variable named a");
    }

    #[test]
    fn r_27_a_header_and_a_link_have_a_variable_too() {
        let link = |name: Option<&str>| ButtonShape::DynamicUrl {
            name: name.map(Into::into),
        };
        let mut detail = Detail {
            header: Some(HeaderNeeds::Text),
            header_name: Some("customer".into()),
            buttons: Some(vec![ButtonShape::Static, link(Some("path")), link(None)]),
            ..Detail::default()
        };
        let mut given = template(&[]);
        given.header = Some(Header::Text("Ana".into()));
        let suffix = Some("x".to_owned());
        given.buttons = (0..3)
            .map(|index| Button::Url {
                index,
                suffix: suffix.clone(),
            })
            .collect();
        let names = |header: &str, link: &str| Names {
            header: Some(header.into()),
            body: Vec::new(),
            buttons: vec![(0, "any".into()), (1, link.into()), (2, "any".into())],
        };
        given.names = names("customer", "path");
        assert_eq!(in_order(&given, &detail), Ok(Some(given.clone())));
        given.names = names("customer", "1");
        let expected = "needs path as the value of button 1, got 1";
        assert_eq!(reason(&given, &detail), expected);
        given.names = names("brand", "path");
        let expected = "needs customer as its header value, got brand";
        assert_eq!(reason(&given, &detail), expected);
        // Unknown is not wrong.
        detail.header_name = None;
        assert_eq!(in_order(&given, &detail), Ok(Some(given.clone())));
    }

    #[test]
    fn r_27_while_nothing_is_known_only_numbers_have_an_order() {
        let nothing = Detail::default();
        assert_eq!(in_order(&template(&["b", "a"]), &nothing), Ok(None));
        assert_eq!(in_order(&template(&["2", "3"]), &nothing), Ok(None));
        let fitted = in_order(&template(&["2", "1"]), &nothing).unwrap().unwrap();
        assert_eq!(fitted.body, ["1", "2"]);
        let alone = in_order(&template(&["a"]), &nothing).unwrap().unwrap();
        assert_eq!(alone.body, ["A"]);
        let silent = Detail {
            header: Some(HeaderNeeds::Nothing),
            ..Detail::default()
        };
        let got = reason(&template(&["b", "a"]), &silent);
        assert!(got.contains("does not tell the names"), "{got}");
    }

    fn upper(names: &[String]) -> Vec<String> {
        names.iter().map(|name| name.to_uppercase()).collect()
    }

    fn names(size: impl Into<SizeRange>) -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[a-e1-3]{1,2}", size)
    }

    proptest! {
        /// Whatever is given, each variable gets the value of its name, and nothing is lost or made up.
        #[test]
        fn r_27_every_value_goes_to_its_variable_or_all_are_refused(
            given in names(0..6),
            variables in prop::option::of(names(0..6)),
        ) {
            let variables = variables.map(|mut names| {
                names.sort();
                names.dedup();
                names
            });
            let fits = variables.as_ref().is_some_and(|variables| {
                let mut sorted = given.clone();
                sorted.sort();
                sorted == *variables
            });
            let borrowed: Vec<&str> = given.iter().map(String::as_str).collect();
            let template = template(&borrowed);
            let detail = Detail { body_names: variables.clone(), ..Detail::default() };
            match in_order(&template, &detail) {
                Ok(Some(fitted)) => {
                    if let (false, Some(variables)) = (given.is_empty(), variables) {
                        prop_assert_eq!(&fitted.body, &upper(&variables));
                    }
                    let (mut sent, mut all) = (fitted.body.clone(), template.body);
                    sent.sort();
                    all.sort();
                    prop_assert_eq!(sent, all);
                }
                Ok(None) => prop_assert!(variables.is_none()),
                Err(_) => prop_assert!(!fits && variables.is_some()),
            }
        }

        #[test]
        fn r_27_any_shuffle_is_sent_as_the_template_has_it(
            (variables, given) in names(1..9).prop_flat_map(|mut names| {
                names.sort();
                names.dedup();
                (Just(names.clone()), Just(names).prop_shuffle())
            }),
        ) {
            let borrowed: Vec<&str> = given.iter().map(String::as_str).collect();
            let named: Vec<&str> = variables.iter().map(String::as_str).collect();
            let fitted = in_order(&template(&borrowed), &body(&named)).unwrap().unwrap();
            prop_assert_eq!(fitted.body, upper(&variables));
        }
    }
}
