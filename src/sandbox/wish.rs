//! How a rule is written: the members of `POST /_sandbox/rules`, what each means, and what is wrong with
//! one that makes no sense. The same table is shown by `GET /_sandbox/rules` and `gateway sandbox --help`.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    notation::decoded,
    outcome::{ListMode, OUTCOMES, Outcome},
    reply::Written,
    route::Route,
};

/// A rule as it is posted and shown; see [`MEMBERS`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wish {
    pub(super) route: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) recipient: Option<String>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "text_or_number"
    )]
    pub(super) template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) for_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) every: Option<std::num::NonZeroU64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    taken: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    list: Option<ListMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
}

/// The members of a rule and what they mean.
const MEMBERS: [(&str, &str); 13] = [
    (
        "route",
        "the calls it is about, by a name of the table of routes",
    ),
    (
        "recipient",
        "only calls to this number, digits (route send)",
    ),
    (
        "template",
        "only calls about this template, by name or by variant id (routes send, detail)",
    ),
    ("next", "it answers this many calls, then it is over"),
    (
        "for_s",
        "it answers for this many seconds; without next and for_s it answers until it is deleted",
    ),
    ("every", "it answers every so many-th of these calls"),
    ("status", "HTTP status, 200 to 599; 200 if not given"),
    ("headers", "object of headers, such as {\"Retry-After\": 7}"),
    ("body", "JSON, or a text that is sent as it is"),
    (
        "bytes",
        "in place of body: raw bytes, base64, or hex after \"hex:\"",
    ),
    (
        "taken",
        "true: the call has its effect first (a message is taken); false if not given",
    ),
    (
        "list",
        "in place of status and body: \"empty\", \"half\" or \"next\" (half, with a cursor to the rest) of \
         what the fake has (routes list and, but for next, list_subscription)",
    ),
    (
        "outcome",
        "in place of status and body: one of the outcomes",
    ),
];

/// The shape of a rule, for who asks the control API.
pub(super) fn shape() -> Value {
    let members: BTreeMap<_, _> = MEMBERS.into_iter().collect();
    let routes: BTreeMap<_, _> = Route::ALL
        .into_iter()
        .map(|route| (route.name(), route.path()))
        .collect();
    json!({
        "post": "a rule or a list of rules; the oldest that fits and is not over answers",
        "members": members,
        "routes": routes,
        "outcomes": OUTCOMES,
        "example": {"route": "send", "recipient": "12025550143", "next": 2, "status": 503,
            "headers": {"Retry-After": 7}, "body": {"error": "busy"}},
    })
}

/// The shape of a rule, for who asks the command line.
pub fn help() -> String {
    let mut text = String::from(
        "Rules: POST /_sandbox/rules tells a route what to answer, GET lists the rules with how often each \
         was used, DELETE clears them. One rule, or a list:\n\
         \x20 {\"route\": \"send\", \"recipient\": \"12025550143\", \"next\": 2, \"status\": 503, \
         \"headers\": {\"Retry-After\": 7}}\n",
    );
    let mut line = |name: &str, meaning: &str| {
        // Writing to a text does not fail.
        let _ = writeln!(text, "  {name:<18} {meaning}");
    };
    MEMBERS
        .into_iter()
        .for_each(|(name, meaning)| line(name, meaning));
    line("", "");
    for route in Route::ALL {
        line(route.name(), route.path());
    }
    let outcomes = OUTCOMES.join(", ");
    text + "\nOutcomes: " + &outcomes
}

impl Wish {
    /// One rule or a list of them.
    pub(super) fn read(body: &[u8]) -> Result<Vec<Self>, String> {
        match serde_json::from_slice(body).map_err(|error| error.to_string())? {
            Value::Array(all) if all.is_empty() => Err("a list without rules".to_owned()),
            Value::Array(all) => all.into_iter().map(Self::of).collect(),
            one => Ok(vec![Self::of(one)?]),
        }
    }

    fn of(value: Value) -> Result<Self, String> {
        let Value::Object(members) = &value else {
            return Err("a rule is a JSON object".to_owned());
        };
        for (name, value) in members {
            // One member at a time, so that the message can name the one at fault.
            let alone = json!({ name: value });
            Self::deserialize(&alone).map_err(|error| format!("{name}: {error}"))?;
        }
        Self::deserialize(&value).map_err(|error| error.to_string())
    }

    /// What it wants a call of this route to become, or what is wrong with that.
    pub(super) fn outcome(&self, route: Route) -> Result<Outcome, String> {
        let written = self.status.is_some()
            || !self.headers.is_empty()
            || self.body.is_some()
            || self.bytes.is_some();
        match (&self.outcome, self.list) {
            (None, None) if written => self.written(),
            (None, None) => Err("status, body, bytes, list or outcome: one is needed".to_owned()),
            _ if written || self.taken => {
                Err("status, headers, body, bytes, taken: not with outcome or list".to_owned())
            }
            (Some(_), Some(_)) => Err("outcome: not with list".to_owned()),
            (Some(name), None) => Outcome::parse(name)
                .ok_or_else(|| format!("outcome: {name:?} is none of {}", OUTCOMES.join(", "))),
            (None, Some(mode)) => match (route, mode) {
                (Route::List, _) | (Route::ListSubscription, ListMode::Empty | ListMode::Half) => {
                    Ok(Outcome::List(mode))
                }
                (Route::ListSubscription, ListMode::Next) => {
                    Err("list: subscriptions have no next".to_owned())
                }
                _ => Err("list: for the routes list and list_subscription only".to_owned()),
            },
        }
    }

    fn written(&self) -> Result<Outcome, String> {
        let status = self.status.unwrap_or(200);
        if !(200..=599).contains(&status) {
            return Err("status: an HTTP status between 200 and 599".to_owned());
        }
        let (kind, body) = match (&self.body, &self.bytes) {
            (Some(_), Some(_)) => return Err("bytes: not with body".to_owned()),
            (Some(Value::String(text)), None) => ("text/plain", Bytes::from(text.clone())),
            (Some(json), None) => ("application/json", Bytes::from(json.to_string())),
            (None, Some(bytes)) => ("application/json", Bytes::from(decoded(bytes)?)),
            (None, None) => ("text/plain", Bytes::new()),
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        for (name, value) in &self.headers {
            let value = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let fault = || format!("headers: {name:?} with {value:?} is no header");
            let name = HeaderName::try_from(name).map_err(|_| fault())?;
            let value = HeaderValue::try_from(&value).map_err(|_| fault())?;
            headers.insert(name, value);
        }
        let written = Arc::new(Written {
            status,
            headers,
            body,
        });
        Ok(match self.taken {
            true => Outcome::TakenThen(written),
            false => Outcome::Written(written),
        })
    }
}

fn text_or_number<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    super::notation::text_or_number(from).map(|text| Some(text).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_is_documented() {
        let known = json!(Wish {
            recipient: Some(String::new()),
            template: Some(String::new()),
            next: Some(1),
            for_s: Some(1.0),
            status: Some(1),
            headers: [(String::new(), Value::Null)].into(),
            body: Some(Value::Null),
            bytes: Some(String::new()),
            taken: true,
            list: Some(ListMode::Half),
            outcome: Some(String::new()),
            ..Wish::default()
        });
        let (shape, help) = (shape(), help());
        for name in known.as_object().unwrap().keys() {
            assert!(shape["members"][name].is_string(), "{name}");
            assert!(help.contains(&format!("\n  {name} ")), "{name}");
        }
        for name in OUTCOMES {
            let plain = name.replace("STATUS", "503").replace("SECONDS", "1");
            assert!(Outcome::parse(&plain).is_some(), "{name}");
        }
    }
}
