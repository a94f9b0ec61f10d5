//! A merchant's templates: the set itself, what a send needs to know about a variant, and the answers of the
//! list and detail routes (contracts/jumper.md 4.2, 4.3). Knows nothing of HTTP.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::sandbox::{notation::text_or_number, outcome::ListMode};

/// A template with its language variants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Name: lower-case letters, digits and underscores.
    pub name: String,
    /// Meta's category, such as `MARKETING`.
    #[serde(default = "marketing")]
    pub category: String,
    /// One entry per language, usually.
    pub variants: Vec<Variant>,
}

/// A template in one language.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Id, digits; given by the sandbox when absent or empty.
    #[serde(default, deserialize_with = "text_or_number")]
    pub id: String,
    /// Language code.
    pub language: String,
    /// `APPROVED`, `PENDING` or `REJECTED`.
    #[serde(default = "approved")]
    pub status: String,
    /// Body text with `{{1}}` placeholders.
    pub body: String,
    /// Header, if there is one.
    #[serde(default)]
    pub header: Option<Header>,
    /// Buttons as the detail route shows them.
    #[serde(default)]
    pub buttons: Vec<Value>,
}

/// A template's header.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// `TEXT`, `IMAGE`, `VIDEO` or `DOCUMENT`.
    pub format: String,
    /// Text of a `TEXT` header, with at most one placeholder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

fn marketing() -> String {
    "MARKETING".to_owned()
}

fn approved() -> String {
    "APPROVED".to_owned()
}

impl Variant {
    /// What is wrong with `message_params` for this variant; Jumper accepts them all the same and the
    /// message is rejected later (contracts/jumper.md 3.2).
    pub(super) fn mismatch(&self, params: &Value) -> Option<String> {
        let body = list(params, "BODY");
        let wanted = placeholders(&self.body);
        if body.len() != wanted || !body.iter().all(|one| parameter(one) == Some("text")) {
            return Some(format!("body has {} of {wanted} parameters", body.len()));
        }
        let header = list(params, "HEADER");
        let kinds: Vec<_> = header.iter().filter_map(|one| parameter(one)).collect();
        if kinds != self.header_kinds() {
            return Some(format!("header parameters {kinds:?} do not fit"));
        }
        let urls = list(params, "BUTTONS")
            .iter()
            .filter(|button| button["sub_type"] == "url")
            .count();
        let dynamic = self.buttons.iter().filter(|one| is_dynamic(one)).count();
        (urls != dynamic).then(|| format!("{urls} of {dynamic} url button parameters"))
    }

    fn header_kinds(&self) -> Vec<&'static str> {
        let Some(header) = &self.header else {
            return Vec::new();
        };
        match header.format.as_str() {
            "IMAGE" => vec!["image"],
            "VIDEO" => vec!["video"],
            "DOCUMENT" => vec!["document"],
            _ => vec!["text"; placeholders(header.text.as_deref().unwrap_or_default())],
        }
    }
}

fn list<'a>(params: &'a Value, name: &str) -> &'a [Value] {
    params[name].as_array().map_or(&[], Vec::as_slice)
}

/// The type of a `{"<value>":"<type>"}` parameter.
fn parameter(one: &Value) -> Option<&str> {
    let object = one.as_object().filter(|object| object.len() == 1)?;
    object.values().next()?.as_str()
}

/// How many different `{{n}}` a text has.
fn placeholders(text: &str) -> usize {
    let mut names: Vec<_> = text
        .split("{{")
        .skip(1)
        .filter_map(|rest| rest.split_once("}}"))
        .map(|(name, _)| name.trim())
        .collect();
    names.sort_unstable();
    names.dedup();
    names.len()
}

/// A URL button that takes a parameter.
fn is_dynamic(button: &Value) -> bool {
    button["type"] == "URL"
        && (button["url"].as_str().is_some_and(|url| url.contains('{'))
            || !button["example"].is_null())
}

/// A merchant's templates, findable by variant id.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Set {
    pub(in crate::sandbox) templates: Vec<Template>,
    by_id: HashMap<String, (usize, usize)>,
}

impl Set {
    /// Builds the set; variants without an id get one counted up from `first_id`.
    pub(super) fn new(mut templates: Vec<Template>, first_id: u64) -> Self {
        let mut by_id = HashMap::new();
        let mut next = first_id;
        for (t, template) in templates.iter_mut().enumerate() {
            for (v, variant) in template.variants.iter_mut().enumerate() {
                if variant.id.is_empty() {
                    variant.id = next.to_string();
                }
                next += 1;
                by_id.insert(variant.id.clone(), (t, v));
            }
        }
        Self { templates, by_id }
    }

    pub(in crate::sandbox) fn find(&self, id: &str) -> Option<(&Template, &Variant)> {
        let &(t, v) = self.by_id.get(id)?;
        let template = self.templates.get(t)?;
        Some((template, template.variants.get(v)?))
    }

    /// One page of the list route: `limit` is absent (10), a number or `all`; the cursor is an offset. A
    /// rule may make it less than the whole.
    pub(super) fn page(
        &self,
        limit: Option<&str>,
        cursor: Option<&str>,
        mode: Option<ListMode>,
        numbers: bool,
    ) -> Value {
        let whole = self.templates.len();
        let total = match mode {
            Some(ListMode::Empty) => 0,
            Some(ListMode::Half) => whole / 2,
            Some(ListMode::Next) | None => whole,
        };
        let size = match limit {
            // Never more than half, so that there is a rest to point to.
            _ if mode == Some(ListMode::Next) => (total / 2).max(1),
            Some("all") => total,
            Some(text) => text.parse().unwrap_or(DEFAULT_PAGE),
            None => DEFAULT_PAGE,
        };
        let from = cursor
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
            .min(total);
        let to = from.saturating_add(size).min(total);
        let data: Vec<_> = self.templates[from..to]
            .iter()
            .map(|template| list_item(template, numbers))
            .collect();
        json!({
            "success": true,
            "errorMessage": null,
            "prev": (from > 0).then(|| from.saturating_sub(size).to_string()),
            "next": (to < total).then(|| to.to_string()),
            "data": data,
        })
    }
}

/// Templates on a page when no limit is given; small, as the moves to `all` imply.
const DEFAULT_PAGE: usize = 10;

fn list_item(template: &Template, numbers: bool) -> Value {
    let variants: Vec<_> = template
        .variants
        .iter()
        .map(|one| json!({"id": id(&one.id, numbers), "language": one.language, "status": one.status}))
        .collect();
    json!({"template_name": template.name, "category": template.category, "templates": variants})
}

/// The detail route's answer.
pub(super) fn detail(template: &Template, variant: &Variant, numbers: bool) -> Value {
    let mut message = Map::new();
    message.insert("BODY".into(), json!({"text": variant.body}));
    if let Some(header) = &variant.header {
        message.insert("HEADER".into(), json!(header));
    }
    if !variant.buttons.is_empty() {
        message.insert("BUTTONS".into(), json!(variant.buttons));
    }
    let skeleton = |kind: &str| json!({"<custom_field_Name>": kind});
    let body = vec![skeleton("text"); placeholders(&variant.body)];
    let header: Vec<_> = variant.header_kinds().into_iter().map(skeleton).collect();
    let rejected = (variant.status == "REJECTED").then_some("INVALID_FORMAT");
    json!({"success": true, "errorMessage": null, "data": {
        "id": id(&variant.id, numbers),
        "template_name": template.name,
        "language": variant.language,
        "category": template.category,
        "status": variant.status,
        "rejected_reason": rejected,
        "product": null,
        "message": message,
        "message_params": {"BODY": body, "HEADER": header},
    }})
}

/// An id as the knob wants it; ids fit in 53 bits (contracts/jumper.md 1).
pub(super) fn id(text: &str, number: bool) -> Value {
    match text.parse::<u64>() {
        Ok(value) if number => value.into(),
        _ => text.into(),
    }
}

/// The set a merchant has unless told otherwise.
pub(super) fn catalogue() -> serde_json::Result<Vec<Template>> {
    serde_json::from_str(include_str!("catalogue.json"))
}
