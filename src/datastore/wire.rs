//! Entities as Datastore's REST API writes them. Whole numbers travel as text, moments as RFC 3339
//! with any offset, so both are parsed and never compared as text.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, json};
use std::collections::BTreeMap;

/// A longer text must not be indexed, in bytes.
const LONGEST_INDEXED: usize = 1500;

/// A value of a property.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A text.
    Text(String),
    /// A moment, in milliseconds since 1970.
    Time(i64),
    /// Names with values in them; read only.
    Entity(BTreeMap<String, Value>),
    /// A kind of value that this program never writes and does not look into.
    Other,
}

/// A property: its value and whether it can be searched by.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// The value.
    pub value: Value,
    /// Whether it is indexed. Never for a text beyond 1,500 bytes, which Datastore refuses.
    pub indexed: bool,
}

/// One entity, whole. Its kind is the client's, its key a name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Entity {
    /// The name in its key; empty when it was made with a number.
    pub name: String,
    /// Its properties.
    pub properties: BTreeMap<String, Property>,
}

impl Entity {
    /// An entity without properties.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            properties: BTreeMap::new(),
        }
    }

    /// Adds a property that can be searched by; a text too long for that is kept unindexed.
    #[must_use]
    pub fn with(self, name: &str, value: Value) -> Self {
        let short = !matches!(&value, Value::Text(text) if text.len() > LONGEST_INDEXED);
        self.put(name, value, short)
    }

    /// Adds a property that cannot be searched by.
    #[must_use]
    pub fn with_unindexed(self, name: &str, value: Value) -> Self {
        self.put(name, value, false)
    }

    fn put(mut self, name: &str, value: Value, indexed: bool) -> Self {
        let property = Property { value, indexed };
        self.properties.insert(name.to_owned(), property);
        self
    }

    /// The value of a property; [`Value::Null`] when there is none.
    pub fn get(&self, name: &str) -> &Value {
        const NOTHING: &Value = &Value::Null;
        self.properties.get(name).map_or(NOTHING, |one| &one.value)
    }

    /// A text; a whole number counts as its digits.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.get(name) {
            Value::Text(text) => Some(text.clone()),
            Value::Integer(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// A whole number.
    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Value::Integer(number) => Some(*number),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// A moment in milliseconds since 1970; a text in RFC 3339 counts.
    pub fn time(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Value::Time(at) => Some(*at),
            Value::Text(text) => moment(text),
            _ => None,
        }
    }

    /// Its size on the wire, roughly, in bytes.
    pub fn size(&self) -> usize {
        let size = |value: &Value| match value {
            Value::Text(text) => text.len(),
            _ => 32,
        };
        let properties = self.properties.iter();
        let sum: usize = properties
            .map(|(name, one)| name.len() + size(&one.value) + 80)
            .sum();
        sum + self.name.len() + 200
    }

    pub(super) fn write(&self, kind: &str) -> serde_json::Value {
        let properties: Map<_, _> = self
            .properties
            .iter()
            .map(|(name, one)| (name.clone(), written(one)))
            .collect();
        json!({ "key": key(kind, &self.name), "properties": properties })
    }
}

pub(super) fn key(kind: &str, name: &str) -> serde_json::Value {
    json!({ "path": [{ "kind": kind, "name": name }] })
}

fn written(property: &Property) -> serde_json::Value {
    let mut value = match &property.value {
        Value::Null | Value::Entity(_) | Value::Other => json!({ "nullValue": null }),
        Value::Bool(yes) => json!({ "booleanValue": yes }),
        Value::Integer(number) => json!({ "integerValue": number.to_string() }),
        Value::Text(text) => json!({ "stringValue": text }),
        Value::Time(at) => match Timestamp::from_millisecond(*at) {
            Ok(at) => json!({ "timestampValue": at.to_string() }),
            Err(_) => json!({ "nullValue": null }),
        },
    };
    if !property.indexed {
        value["excludeFromIndexes"] = true.into();
    }
    value
}

/// A moment in milliseconds since 1970, from RFC 3339 with any offset.
fn moment(text: &str) -> Option<i64> {
    text.parse::<Timestamp>()
        .ok()
        .map(Timestamp::as_millisecond)
}

/// An entity as an answer has it.
#[derive(Deserialize)]
pub(super) struct WireEntity {
    #[serde(default)]
    key: WireKey,
    #[serde(default)]
    properties: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize, Default)]
struct WireKey {
    #[serde(default)]
    path: Vec<WireElement>,
}

#[derive(Deserialize)]
struct WireElement {
    #[serde(default)]
    name: String,
}

impl WireEntity {
    pub(super) fn read(self) -> Entity {
        let name = self.key.path.into_iter().next_back();
        let properties = self.properties.into_iter().map(|(name, value)| {
            let indexed = value["excludeFromIndexes"] != true;
            let value = read(&value);
            (name, Property { value, indexed })
        });
        Entity {
            name: name.map(|element| element.name).unwrap_or_default(),
            properties: properties.collect(),
        }
    }
}

fn read(value: &serde_json::Value) -> Value {
    let Some(object) = value.as_object() else {
        return Value::Other;
    };
    let kind = object.iter().find(|(name, _)| name.ends_with("Value"));
    let Some((kind, value)) = kind else {
        // An emulator may leave out a null altogether.
        return Value::Null;
    };
    let read = match kind.as_str() {
        "nullValue" => Some(Value::Null),
        "booleanValue" => value.as_bool().map(Value::Bool),
        // Text in Google's JSON, a number in some emulator's.
        "integerValue" => value
            .as_str()
            .map_or_else(|| value.as_i64(), |text| text.parse().ok())
            .map(Value::Integer),
        "stringValue" => value.as_str().map(|text| Value::Text(text.to_owned())),
        "timestampValue" => value.as_str().and_then(moment).map(Value::Time),
        "doubleValue" => value.as_f64().and_then(whole).map(Value::Integer),
        "entityValue" => value["properties"].as_object().map(|properties| {
            let one =
                |(name, value): (&String, &serde_json::Value)| (name.clone(), self::read(value));
            Value::Entity(properties.iter().map(one).collect())
        }),
        _ => None,
    };
    read.unwrap_or(Value::Other)
}

/// The old connector ran on JavaScript, where a number may arrive as a double.
fn whole(number: f64) -> Option<i64> {
    // Beyond 2^53 a double does not hold every whole number any more.
    let exact = number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "checked on the line above")]
    exact.then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_comes_back_as_it_was() {
        let entity = Entity::named("default:m1")
            .with("n", Value::Integer(i64::MAX))
            .with("t", Value::Text("x".repeat(1500)))
            .with("long", Value::Text("x".repeat(1501)))
            .with("at", Value::Time(1_930_000_000_123))
            .with("yes", Value::Bool(true))
            .with("none", Value::Null)
            .with_unindexed("history", Value::Text("[]".into()));
        let wire = entity.write("K");
        assert_eq!(
            wire["key"]["path"][0],
            json!({ "kind": "K", "name": "default:m1" })
        );
        assert_eq!(
            wire["properties"]["n"]["integerValue"],
            i64::MAX.to_string()
        );
        let unindexed = |name: &str| wire["properties"][name]["excludeFromIndexes"] == true;
        assert!(unindexed("long") && unindexed("history") && !unindexed("t"));
        let back: WireEntity = serde_json::from_value(wire).unwrap();
        assert_eq!(back.read(), entity);
    }

    #[test]
    fn what_others_write_is_read() {
        let wire = json!({
            "key": { "path": [{ "kind": "K", "name": "P1" }] },
            "properties": {
                "z": { "timestampValue": "2031-03-01T10:00:00+00:00" },
                "iso": { "stringValue": "2031-03-01T10:00:00.000000123Z" },
                "id": { "doubleValue": 5_629_499_534_213_120.0_f64 },
                "half": { "doubleValue": 0.5 },
                "status": { "entityValue": { "properties": { "read": { "booleanValue": true } } } },
                "list": { "arrayValue": { "values": [] } },
                "bare": {},
            },
        });
        let entity = serde_json::from_value::<WireEntity>(wire).unwrap().read();
        assert_eq!(entity.time("z"), Some(1_930_125_600_000));
        assert_eq!(entity.time("iso"), entity.time("z"));
        assert_eq!(entity.text("id").as_deref(), Some("5629499534213120"));
        assert_eq!(entity.get("half"), &Value::Other);
        assert_eq!(entity.get("list"), &Value::Other);
        assert_eq!(entity.get("bare"), &Value::Null);
        let Value::Entity(status) = entity.get("status") else {
            panic!("{:?}", entity.get("status"))
        };
        assert_eq!(status["read"], Value::Bool(true));
    }
}
