//! What stands before the call: the template is found and its wants are known, or why not.

use super::Sender;
use crate::accounts::Channel;
use crate::domain::template::{ButtonShape, Detail, Outgoing, Variant};
use crate::domain::{Button, OptOut, Refusal, RefusalKind, Template};
use crate::json::LOST;
use crate::outbox::Claimed;
use crate::store::QuickReply;
use crate::templates::{self, Lookup};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a send waits for a template list that does not name its template yet. It holds a
/// permit meanwhile.
pub(super) const LIST_WAIT: Duration = Duration::from_secs(2);
/// How long a send waits to learn what its template wants.
const DETAIL_WAIT: Duration = Duration::from_secs(2);

/// What stands before the call.
pub(super) enum Ready {
    Go(Box<Outgoing>, Vec<QuickReply>),
    Refused(Refusal),
    /// What the provider says of the template cannot be had now.
    Later,
}

impl Sender {
    pub(super) async fn prepare(&self, channel: &Channel, claimed: &Claimed) -> Ready {
        let template = &claimed.message().template;
        let variant = match self.find(template).await {
            Lookup::Found(variant) => variant,
            Lookup::Unknown => return Ready::Later,
            Lookup::Missing => {
                return Ready::Refused(Refusal::new(
                    RefusalKind::Template,
                    format!(
                        "Template {} ({}) is not approved at the provider",
                        template.name, template.language
                    ),
                ));
            }
        };
        if variant.is_marketing && claimed.refuses_marketing() {
            return Ready::Refused(OptOut::Marketing.refusal());
        }
        let detail = self.detail(&variant).await;
        let mut fitted = templates::fit(template, &variant, &detail);
        if fitted.is_err() && self.templates.current_detail(&variant).is_none() {
            // It was told for an older list; what it says may have changed.
            fitted = templates::fit(template, &variant, &Detail::default());
        }
        match fitted {
            Err(refusal) => Ready::Refused(refusal),
            Ok(None) => Ready::Later,
            Ok(Some(template)) => {
                let taps = taps(&template, &detail, claimed.message().is_damaged);
                let outgoing = outgoing(channel, claimed, &variant, template);
                Ready::Go(Box::new(outgoing), taps)
            }
        }
    }

    async fn find(&self, template: &Template) -> Lookup {
        match self.templates.find(&template.name, &template.language) {
            Lookup::Found(variant) => Lookup::Found(variant),
            _ => {
                let (name, language) = (&template.name, &template.language);
                self.templates
                    .resolve_or_refetch(name, language, LIST_WAIT)
                    .await
            }
        }
    }

    /// What the variant wants; nothing known when it cannot be had soon, and then parameters without
    /// names go as they came.
    async fn detail(&self, variant: &Variant) -> Arc<Detail> {
        let fetched = timeout(DETAIL_WAIT, self.templates.detail(variant)).await;
        let known = fetched
            .ok()
            .flatten()
            .or_else(|| self.templates.known_detail(variant));
        known.unwrap_or_default()
    }
}

fn outgoing(
    channel: &Channel,
    claimed: &Claimed,
    variant: &Variant,
    template: Template,
) -> Outgoing {
    Outgoing {
        to: claimed.message().to,
        from: channel.waba_number.clone(),
        variant: variant.id.clone(),
        template,
    }
}

/// What the person will be able to tap: label from the template, payload from MoEngage, or the
/// label again where MoEngage sent none (contracts/moengage.md Q9). A label that could not be read is not
/// what the person taps, and a damaged payload is not MoEngage's.
fn taps(template: &Template, detail: &Detail, is_damaged: bool) -> Vec<QuickReply> {
    let shapes = detail.buttons.iter().flatten().enumerate();
    shapes
        .filter_map(|(place, shape)| {
            let ButtonShape::QuickReply { label } = shape else {
                return None;
            };
            let sent = template
                .buttons
                .iter()
                .find(|button| button.index() as usize == place);
            let payload = match sent {
                Some(Button::QuickReply {
                    payload: Some(payload),
                    ..
                }) => payload.clone(),
                _ => label.clone(),
            };
            let is_lost = label.is_empty() || is_damaged && payload.contains(LOST);
            (!is_lost).then(|| QuickReply {
                label: label.clone(),
                payload,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Names;

    #[test]
    fn taps_echo_what_moengage_sent_or_the_label() {
        let label = |text: &str| ButtonShape::QuickReply { label: text.into() };
        let detail = Detail {
            buttons: Some(vec![
                label("Keep"),
                ButtonShape::DynamicUrl { name: None },
                label("Move"),
            ]),
            ..Detail::default()
        };
        let template = Template {
            name: "t".into(),
            language: "en".into(),
            header: None,
            body: Vec::new(),
            names: Names::default(),
            buttons: vec![Button::QuickReply {
                index: 2,
                payload: Some("{'a':1}".into()),
            }],
        };
        let tap = |label: &str, payload: &str| QuickReply {
            label: label.into(),
            payload: payload.into(),
        };
        assert_eq!(
            taps(&template, &detail, false),
            [tap("Keep", "Keep"), tap("Move", "{'a':1}")]
        );
    }

    #[test]
    fn r_24_a_damaged_label_or_payload_is_no_tap() {
        let label = |text: &str| ButtonShape::QuickReply { label: text.into() };
        let detail = Detail {
            buttons: Some(vec![label(""), label("Move"), label("Stay")]),
            ..Detail::default()
        };
        let template = Template {
            name: "t".into(),
            language: "en".into(),
            header: None,
            body: Vec::new(),
            names: Names::default(),
            buttons: vec![Button::QuickReply {
                index: 1,
                payload: Some("{'a':'\u{FFFD}'}".into()),
            }],
        };
        let stay = QuickReply {
            label: "Stay".into(),
            payload: "Stay".into(),
        };
        assert_eq!(taps(&template, &detail, true), std::slice::from_ref(&stay));
        // What came as U+FFFD in a sound body is MoEngage's.
        let moved = QuickReply {
            label: "Move".into(),
            payload: "{'a':'\u{FFFD}'}".into(),
        };
        assert_eq!(taps(&template, &detail, false), [moved, stay]);
    }
}
