//! MoEngage's JSON as it comes and as it goes (contracts/moengage.md sections 3 to 6).
//!
//! Reading never fails on a type: every field takes any JSON value, and `accept` decides with the
//! field's name at hand. So an error of the parser is an error of JSON syntax and echoes nothing.

use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// Elements of an array that are kept; the rest is read and forgotten, so that a body of very many costs
/// little. More than any array may have.
pub(super) const KEPT_ELEMENTS: usize = 65;

/// Any JSON value. Objects are read as `O`, the elements of arrays as `E`.
#[derive(Debug, Default)]
pub(super) enum Json<'a, O, E> {
    /// Absent or null.
    #[default]
    Nothing,
    Flag,
    /// The value, when it is a whole number that fits.
    Number(Option<i64>),
    Text(Cow<'a, str>),
    List(Vec<E>),
    Object(O),
}

pub(super) type Leaf<'a> = Json<'a, IgnoredAny, IgnoredAny>;
pub(super) type Object<'a, O> = Json<'a, O, IgnoredAny>;
pub(super) type List<'a, E> = Json<'a, IgnoredAny, E>;

impl<O, E> Json<'_, O, E> {
    /// What kind of value came, for the answer.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Flag => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

impl<'de: 'a, 'a, O: Deserialize<'de>, E: Deserialize<'de>> Deserialize<'de> for Json<'a, O, E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything(PhantomData))
    }
}

struct Anything<'a, O, E>(PhantomData<Json<'a, O, E>>);

impl<'de: 'a, 'a, O: Deserialize<'de>, E: Deserialize<'de>> Visitor<'de> for Anything<'a, O, E> {
    type Value = Json<'a, O, E>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<X>(self) -> Result<Self::Value, X> {
        Ok(Json::Nothing)
    }

    fn visit_bool<X>(self, _: bool) -> Result<Self::Value, X> {
        Ok(Json::Flag)
    }

    fn visit_i64<X>(self, number: i64) -> Result<Self::Value, X> {
        Ok(Json::Number(Some(number)))
    }

    fn visit_u64<X>(self, number: u64) -> Result<Self::Value, X> {
        Ok(Json::Number(number.try_into().ok()))
    }

    fn visit_f64<X>(self, _: f64) -> Result<Self::Value, X> {
        Ok(Json::Number(None))
    }

    fn visit_borrowed_str<X>(self, text: &'de str) -> Result<Self::Value, X> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<X>(self, text: &str) -> Result<Self::Value, X> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while elements.len() < KEPT_ELEMENTS
            && let Some(element) = list.next_element()?
        {
            elements.push(element);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Json::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        O::deserialize(MapAccessDeserializer::new(map)).map(Json::Object)
    }
}

/// The body of a send.
#[derive(Debug, Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(super) struct Send<'a> {
    #[serde(borrow)]
    pub msg_id: Leaf<'a>,
    #[serde(borrow)]
    pub from: Leaf<'a>,
    #[serde(borrow)]
    pub to: Leaf<'a>,
    #[serde(borrow)]
    pub template: Object<'a, Template<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Template<'a> {
    #[serde(borrow)]
    pub name: Leaf<'a>,
    #[serde(borrow)]
    pub language: Object<'a, Language<'a>>,
    #[serde(borrow)]
    pub components: Components<'a>,
}

/// An array, or a text that holds one.
pub(super) type Components<'a> = List<'a, Object<'a, Component<'a>>>;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Language<'a> {
    #[serde(borrow)]
    pub code: Leaf<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Component<'a> {
    #[serde(borrow, rename = "type")]
    pub kind: Leaf<'a>,
    #[serde(borrow)]
    pub sub_type: Leaf<'a>,
    #[serde(borrow)]
    pub index: Leaf<'a>,
    #[serde(borrow)]
    pub parameters: List<'a, Object<'a, Parameter<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Parameter<'a> {
    #[serde(borrow, rename = "type")]
    pub kind: Leaf<'a>,
    #[serde(borrow)]
    pub parameter_name: Leaf<'a>,
    #[serde(borrow)]
    pub text: Leaf<'a>,
    #[serde(borrow)]
    pub payload: Leaf<'a>,
    #[serde(borrow)]
    pub currency: Object<'a, Fallback<'a>>,
    #[serde(borrow)]
    pub date_time: Object<'a, Fallback<'a>>,
    #[serde(borrow)]
    pub image: Object<'a, Media<'a>>,
    #[serde(borrow)]
    pub video: Object<'a, Media<'a>>,
    #[serde(borrow)]
    pub document: Object<'a, Media<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fallback<'a> {
    #[serde(borrow)]
    pub fallback_value: Leaf<'a>,
    #[serde(borrow)]
    pub amount_1000: Leaf<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Media<'a> {
    #[serde(borrow)]
    pub link: Leaf<'a>,
    #[serde(borrow)]
    pub filename: Leaf<'a>,
}

/// The answer to a send that was understood.
#[derive(Debug, Serialize)]
pub(super) struct Failure<'a> {
    pub status: &'static str,
    pub error: FailureError<'a>,
}

#[derive(Debug, Serialize)]
pub(super) struct FailureError<'a> {
    pub code: &'static str,
    pub message: &'a str,
}

/// One entry of a status callback.
#[derive(Debug, Serialize)]
pub(super) struct Status<'a> {
    pub msg_id: &'a str,
    pub status: &'static str,
    pub timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<StatusError<'a>>,
}

/// Callbacks say `description` where replies say `message`.
#[derive(Debug, Serialize)]
pub(super) struct StatusError<'a> {
    pub code: &'static str,
    pub description: &'a str,
}

/// An inbound callback.
#[derive(Debug, Serialize)]
pub(super) struct Inbound<'a> {
    pub from: String,
    pub waba_number: &'a str,
    pub timestamp: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub context: Context<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub button: Option<Tap<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct Context<'a> {
    pub msg_id: &'a str,
}

#[derive(Debug, Serialize)]
pub(super) struct Text<'a> {
    pub body: &'a str,
}

#[derive(Debug, Serialize)]
pub(super) struct Tap<'a> {
    pub payload: &'a str,
    pub text: &'a str,
}

/// What a 2xx answer of MoEngage may say (contracts/moengage.md Q12).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Acknowledgement<'a> {
    #[serde(borrow)]
    pub status: Leaf<'a>,
    pub success: Option<serde_json::Value>,
}
