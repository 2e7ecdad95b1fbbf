//! A document as a tree of values, each of which knows where it was said.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;

use super::Origin;

/// A value and where it was said.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    /// The value.
    pub value: Value,
    /// Where it was said.
    pub origin: Origin,
}

/// A value, with trees inside.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each name says all there is")]
pub enum Value {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<Entry>),
}

/// A key of a mapping and its value. Mappings keep the order in which they were written.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key was said.
    pub origin: Origin,
    /// The value.
    pub value: Tree,
}

impl Value {
    /// Returns what kind of value it is, for people.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }

    /// Returns the integer that the value is.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            // A float without fraction is what some tools write for an integer. The cast is exact in this range.
            Self::Float(value) if value.fract() == 0.0 && value.abs() < 9e15 => Some(*value as i64),
            _ => None,
        }
    }

    /// Returns the value for people: short ones as they are, others by their kind.
    pub fn describe(&self) -> String {
        match self {
            Self::Boolean(value) => format!("`{value}`"),
            Self::Integer(value) => format!("`{value}`"),
            Self::Float(value) => format!("`{value}`"),
            Self::Text(text) if text.chars().count() <= 60 && !text.contains('\n') => format!("the text `{text}`"),
            other => other.kind().to_owned(),
        }
    }
}

impl Tree {
    /// Puts a value and its origin together.
    pub const fn new(value: Value, origin: Origin) -> Self {
        Self { value, origin }
    }

    /// Returns a value that the program itself made.
    pub const fn made(value: Value) -> Self {
        Self { value, origin: Origin::Made }
    }

    /// Returns the value of `key`, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
            _ => None,
        }
    }

    /// Returns how many values there are, this one and those inside.
    pub fn size(&self) -> usize {
        let inside = match &self.value {
            Value::List(items) => items.iter().map(Self::size).sum(),
            Value::Map(entries) => entries.iter().map(|entry| entry.value.size()).sum(),
            _ => 0,
        };
        1 + inside
    }

    /// Returns the tree without origins. Numbers that JSON cannot write become null.
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Null => Json::Null,
            Value::Boolean(value) => (*value).into(),
            Value::Integer(value) => (*value).into(),
            Value::Float(value) => (*value).into(),
            Value::Text(text) => text.clone().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect(),
        }
    }

    /// Returns the tree of a JSON value, which stands at one place.
    pub fn from_json(json: &Json, origin: &Origin) -> Self {
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Boolean(*value),
            Json::Number(number) => match number.as_i64() {
                Some(value) => Value::Integer(value),
                None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Value::Text(text.clone()),
            Json::Array(items) => Value::List(items.iter().map(|item| Self::from_json(item, origin)).collect()),
            Json::Object(entries) => Value::Map(
                entries
                    .iter()
                    .map(|(key, value)| Entry {
                        key: key.clone(),
                        origin: origin.clone(),
                        value: Self::from_json(value, origin),
                    })
                    .collect(),
            ),
        };
        Self { value, origin: origin.clone() }
    }

    /// Calls `visit` with the path (`inputs.0.shape`) and origin of every value, outer ones first.
    pub fn visit_origins(&self, visit: &mut dyn FnMut(&str, &Origin)) {
        self.visit_origins_below("", visit);
    }

    fn visit_origins_below(&self, path: &str, visit: &mut dyn FnMut(&str, &Origin)) {
        visit(path, &self.origin);
        match &self.value {
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    item.visit_origins_below(&below(path, &index.to_string()), visit);
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    entry.value.visit_origins_below(&below(path, &entry.key), visit);
                }
            }
            _ => {}
        }
    }

    /// Gives every value the origin that `origin` has for its path. Keys share the origin of their values.
    pub fn set_origins(&mut self, origin: &mut dyn FnMut(&str) -> Origin) {
        self.set_origins_below("", origin);
    }

    fn set_origins_below(&mut self, path: &str, origin: &mut dyn FnMut(&str) -> Origin) {
        self.origin = origin(path);
        match &mut self.value {
            Value::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    item.set_origins_below(&below(path, &index.to_string()), origin);
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    entry.value.set_origins_below(&below(path, &entry.key), origin);
                    entry.origin = entry.value.origin.clone();
                }
            }
            _ => {}
        }
    }
}

fn below(path: &str, segment: &str) -> String {
    if path.is_empty() { segment.to_owned() } else { format!("{path}.{segment}") }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.value {
            Value::Null => serializer.serialize_unit(),
            Value::Boolean(value) => serializer.serialize_bool(*value),
            Value::Integer(value) => serializer.serialize_i64(*value),
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Value::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|entry| map.serialize_entry(&entry.key, &entry.value))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor).map(Self::made)
    }
}

/// Takes any value of a self-describing format. YAML with its places goes another way, see `yaml`.
struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some((key, value)) = entries.next_entry()? {
            map.push(Entry { key, origin: Origin::Made, value });
        }
        Ok(Value::Map(map))
    }
}
