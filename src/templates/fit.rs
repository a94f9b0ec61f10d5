//! Do a message's parameters fit the approved template? Pure.
//!
//! Checks only what is known, and drops nothing but static buttons, which take no parameters
//! (contracts/jumper.md section 5). What MoEngage omits is not invented. Parameters that name their
//! variables are put in order (`named`); the others are in order as they come.

use super::named;
use crate::domain::template::{ButtonShape, Detail, HeaderNeeds, Variant};
use crate::domain::{Button, Header, Refusal, RefusalKind, Template};

/// The template as it may be sent, or why it would be rejected; `None` while its parameters name their
/// variables and the provider has told nothing of the template.
pub fn fit(
    template: &Template,
    variant: &Variant,
    detail: &Detail,
) -> Result<Option<Template>, Refusal> {
    let refuse = |what: String| {
        let Variant { name, language, .. } = variant;
        Refusal::new(
            RefusalKind::Template,
            format!("Template {name} ({language}) {what}"),
        )
    };
    if let Some(needed) = detail.body_values
        && needed != template.body.len()
        && (template.names.body.is_empty() || detail.body_names.is_none())
    {
        let plural = if needed == 1 { "" } else { "s" };
        let got = template.body.len();
        return Err(refuse(format!(
            "needs {needed} body value{plural}, got {got}"
        )));
    }
    if let Some(needs) = detail.header {
        header(needs, template.header.as_ref()).map_err(refuse)?;
    }
    let Some(mut fitted) = named::in_order(template, detail).map_err(refuse)? else {
        return Ok(None);
    };
    if let Some(shapes) = &detail.buttons {
        for given in &template.buttons {
            let shape = detail.button(given.index());
            button(shapes.len(), shape, given).map_err(refuse)?;
        }
        fitted
            .buttons
            .retain(|given| detail.button(given.index()) != Some(&ButtonShape::Static));
    }
    Ok(Some(fitted))
}

fn header(needs: HeaderNeeds, given: Option<&Header>) -> Result<(), String> {
    let got = match given {
        None => "none",
        Some(Header::Text(_)) => "a text",
        Some(Header::Image(_)) => "an image",
        Some(Header::Video(_)) => "a video",
        Some(Header::Document { .. }) => "a document",
    };
    let needed = match needs {
        HeaderNeeds::Nothing => "none",
        HeaderNeeds::Text => "a text",
        HeaderNeeds::Image => "an image",
        HeaderNeeds::Video => "a video",
        HeaderNeeds::Document => "a document",
    };
    match (needed, got) {
        _ if needed == got => Ok(()),
        ("none", _) => Err(format!("takes no header value, got {got}")),
        _ => Err(format!("needs {needed} as its header value, got {got}")),
    }
}

fn button(buttons: usize, shape: Option<&ButtonShape>, given: &Button) -> Result<(), String> {
    let index = given.index();
    let (kind, got) = match (shape, given) {
        (None, _) => {
            let plural = if buttons == 1 { "" } else { "s" };
            return Err(format!(
                "has {buttons} button{plural}, none with index {index}"
            ));
        }
        (Some(ButtonShape::DynamicUrl { .. }), Button::QuickReply { .. }) => ("url", "quick_reply"),
        (Some(ButtonShape::QuickReply { .. }), Button::Url { .. }) => ("quick_reply", "url"),
        _ => return Ok(()),
    };
    Err(format!("has a {kind} button with index {index}, got {got}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Names;
    use proptest::prelude::*;

    fn variant() -> Variant {
        Variant {
            name: "confirm_slot".into(),
            language: "en_US".into(),
            id: "1".into(),
            is_marketing: false,
        }
    }

    fn template(body: usize) -> Template {
        Template {
            name: "confirm_slot".into(),
            language: "en_US".into(),
            header: None,
            body: vec!["x".into(); body],
            buttons: Vec::new(),
            names: Names::default(),
        }
    }

    fn reason(template: &Template, detail: &Detail) -> Option<String> {
        let refusal = fit(template, &variant(), detail).err()?;
        assert_eq!(refusal.kind, RefusalKind::Template);
        Some(refusal.reason)
    }

    #[test]
    fn a_wrong_count_is_refused_in_the_words_of_the_contract() {
        let needs = |n| Detail {
            body_values: Some(n),
            ..Detail::default()
        };
        let got = reason(&template(0), &needs(1));
        assert_eq!(
            got.as_deref(),
            Some("Template confirm_slot (en_US) needs 1 body value, got 0")
        );
        let got = reason(&template(3), &needs(2));
        assert_eq!(
            got.as_deref(),
            Some("Template confirm_slot (en_US) needs 2 body values, got 3")
        );
        assert_eq!(reason(&template(2), &needs(2)), None);
        assert_eq!(
            reason(&template(7), &Detail::default()),
            None,
            "unknown counts pass"
        );
    }

    #[test]
    fn a_header_is_of_the_kind_that_was_approved() {
        let given = [
            (HeaderNeeds::Nothing, None),
            (HeaderNeeds::Text, Some(Header::Text("a".into()))),
            (HeaderNeeds::Image, Some(Header::Image("l".into()))),
            (HeaderNeeds::Video, Some(Header::Video("l".into()))),
            (
                HeaderNeeds::Document,
                Some(Header::Document {
                    link: "l".into(),
                    filename: None,
                }),
            ),
        ];
        for (needs, _) in &given {
            let detail = Detail {
                header: Some(*needs),
                ..Detail::default()
            };
            for (kind, header) in &given {
                let template = Template {
                    header: header.clone(),
                    ..template(0)
                };
                assert_eq!(
                    reason(&template, &detail).is_none(),
                    needs == kind,
                    "{needs:?} {kind:?}"
                );
                assert_eq!(reason(&template, &Detail::default()), None);
            }
        }
        let detail = Detail {
            header: Some(HeaderNeeds::Image),
            ..Detail::default()
        };
        let expected = "Template confirm_slot (en_US) needs an image as its header value, got none";
        assert_eq!(reason(&template(0), &detail).as_deref(), Some(expected));
    }

    fn url(index: u32) -> Button {
        Button::Url {
            index,
            suffix: Some("s".into()),
        }
    }

    fn quick(index: u32) -> Button {
        Button::QuickReply {
            index,
            payload: None,
        }
    }

    fn shapes() -> Detail {
        let quick_reply = ButtonShape::QuickReply {
            label: "Yes".into(),
        };
        let shapes = vec![
            ButtonShape::DynamicUrl { name: None },
            quick_reply,
            ButtonShape::Static,
            ButtonShape::Unrecognized,
        ];
        Detail {
            buttons: Some(shapes),
            ..Detail::default()
        }
    }

    #[test]
    fn static_buttons_are_dropped_and_the_rest_is_as_given() {
        let buttons = vec![url(3), url(2), quick(1), quick(2), url(0)];
        let given = Template {
            buttons,
            ..template(0)
        };
        let fitted = fit(&given, &variant(), &shapes()).unwrap().unwrap();
        assert_eq!(fitted.buttons, [url(3), quick(1), url(0)]);
        let unknown = fit(&given, &variant(), &Detail::default())
            .unwrap()
            .unwrap();
        assert_eq!(unknown, given);
        let none = fit(&template(0), &variant(), &shapes()).unwrap().unwrap();
        assert_eq!(none.buttons, [], "what MoEngage omits is not invented");
    }

    /// B-3: an index that the template does not have stopped all tenants.
    #[test]
    fn a_button_that_the_template_does_not_have_is_refused() {
        let cases = [
            (url(4), "has 4 buttons, none with index 4"),
            (quick(u32::MAX), "has 4 buttons, none with index 4294967295"),
            (quick(0), "has a url button with index 0, got quick_reply"),
            (url(1), "has a quick_reply button with index 1, got url"),
        ];
        for (button, expected) in cases {
            let given = Template {
                buttons: vec![button],
                ..template(0)
            };
            let expected = format!("Template confirm_slot (en_US) {expected}");
            assert_eq!(reason(&given, &shapes()), Some(expected));
        }
    }

    proptest! {
        #[test]
        fn nothing_but_static_buttons_is_ever_dropped(
            buttons in prop::collection::vec((any::<bool>(), 0u32..6), 0..8),
        ) {
            let buttons: Vec<_> = buttons.into_iter().map(|(u, i)| if u { url(i) } else { quick(i) }).collect();
            let given = Template { buttons: buttons.clone(), ..template(0) };
            if let Ok(Some(fitted)) = fit(&given, &variant(), &shapes()) {
                let kept: Vec<_> = buttons.into_iter().filter(|b| b.index() != 2).collect();
                prop_assert_eq!(fitted.buttons, kept);
            }
        }
    }
}
