//! JSON that is carried through: keys in their order, values to the last digit.
//!
//! Owns [`Carried`], the object of somebody else's keys, and the indentation of documents that hold one. Must not
//! interpret a value, except where its owner asks for a text.

use std::fmt;

use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::ser::{Error as _, SerializeMap};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// Far deeper than any real document; each level costs its indentation on every line.
const DEEPEST: usize = 64;

/// A JSON object whose values nobody here reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried(Vec<(String, String)>);

impl Carried {
    /// Returns the text under `key`, if there is a text.
    pub fn text(&self, key: &str) -> Option<String> {
        let (_, value) = self.0.iter().find(|(known, _)| known == key)?;
        serde_json::from_str(value).ok()
    }

    /// Puts a text under `key`, in its old place if it has one, else last.
    pub fn put_text(&mut self, key: &str, text: &str) {
        self.put(key, serde_json::Value::from(text).to_string());
    }

    /// Puts JSON without white space under `key`, in its old place if it has one, else last.
    pub(super) fn put(&mut self, key: &str, json: String) {
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = json,
            None => self.0.push((key.to_owned(), json)),
        }
    }

    /// Returns the keys, in their order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key.as_str())
    }

    /// Returns whether there is a value under `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(known, _)| known == key)
    }

    /// Reads the value under `key`.
    ///
    /// # Errors
    /// There is none, or it is something else than wanted; the text names the key.
    pub(super) fn read<T: DeserializeOwned>(&self, key: &str) -> Result<T, String> {
        let (_, value) = self.0.iter().find(|(known, _)| known == key).ok_or(format!("`{key}` is missing"))?;
        serde_json::from_str(value).map_err(|error| format!("`{key}`: {error}"))
    }

    /// Takes the value under `key` away.
    pub(super) fn remove(&mut self, key: &str) {
        self.0.retain(|(known, _)| known != key);
    }

    /// Puts `key` and JSON in front of all others.
    pub(super) fn prepend(&mut self, key: &str, json: String) {
        self.0.insert(0, (key.to_owned(), json));
    }
}

impl<'de> Deserialize<'de> for Carried {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Carried;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Carried, A::Error> {
                let mut entries: Vec<(String, String)> = Vec::new();
                let mut keys = std::collections::BTreeSet::new();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if !keys.insert(key.clone()) {
                        return Err(A::Error::custom(format!("key `{key}` stands twice")));
                    }
                    let value = compact(value.get()).ok_or_else(|| {
                        A::Error::custom(format!("the value of `{key}` is nested deeper than {DEEPEST} levels"))
                    })?;
                    entries.push((key, value));
                }
                Ok(Carried(entries))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

impl Serialize for Carried {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, &RawValue::from_string(value.clone()).map_err(S::Error::custom)?)?;
        }
        map.end()
    }
}

/// A piece of valid JSON: a string with its quotes, a mark, white space, or the rest.
fn pieces(json: &str) -> impl Iterator<Item = &str> {
    let mut rest = json;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let length = match first {
            '"' => {
                let mut escaped = false;
                let closing = rest.char_indices().skip(1).find(|(_, letter)| {
                    let closes = *letter == '"' && !escaped;
                    escaped = *letter == '\\' && !escaped;
                    closes
                });
                closing.map_or(rest.len(), |(at, _)| at + 1)
            }
            '{' | '}' | '[' | ']' | ',' | ':' => 1,
            _ if first.is_ascii_whitespace() => rest.find(|c: char| !c.is_ascii_whitespace()).unwrap_or(rest.len()),
            _ => rest.find(|c: char| c.is_ascii_whitespace() || "{}[],:\"".contains(c)).unwrap_or(rest.len()),
        };
        let (piece, after) = rest.split_at_checked(length)?;
        rest = after;
        Some(piece)
    })
}

/// Returns valid JSON without white space, or nothing if it is nested too deeply.
fn compact(json: &str) -> Option<String> {
    let mut text = String::with_capacity(json.len());
    let mut depth = 0_usize;
    for piece in pieces(json) {
        match piece {
            "{" | "[" => depth += 1,
            "}" | "]" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return None;
        }
        if !piece.starts_with(|first: char| first.is_ascii_whitespace()) {
            text.push_str(piece);
        }
    }
    Some(text)
}

/// Returns valid JSON without white space, one value a line and indented by four.
pub(super) fn indented(compact: &str) -> String {
    let mut text = String::with_capacity(compact.len() * 2);
    let mut depth = 0_usize;
    let line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n("    ", depth));
    };
    let mut pieces = pieces(compact).peekable();
    while let Some(piece) = pieces.next() {
        match piece {
            "{" | "[" => {
                text.push_str(piece);
                if let Some(end) = pieces.next_if(|next| matches!(*next, "}" | "]")) {
                    text.push_str(end);
                } else {
                    depth += 1;
                    line(&mut text, depth);
                }
            }
            "}" | "]" => {
                depth = depth.saturating_sub(1);
                line(&mut text, depth);
                text.push_str(piece);
            }
            "," => {
                text.push(',');
                line(&mut text, depth);
            }
            ":" => text.push_str(": "),
            _ => text.push_str(piece),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn order_and_digits_stay() {
        let text = "{ \"z\" : [ 1e-5, 0.10 ,1.0E+2 ],\n \"a\": {\"y\": \"{ \\\" ,\", \"b\": 18446744073709551616} }";
        let carried: Carried = serde_json::from_str(text).unwrap();
        let expected = r#"{"z":[1e-5,0.10,1.0E+2],"a":{"y":"{ \" ,","b":18446744073709551616}}"#;
        assert_eq!(serde_json::to_string(&carried).unwrap(), expected);
    }

    #[test]
    fn texts_are_read_and_replaced_in_place() {
        let mut carried: Carried = serde_json::from_str(r#"{"a": "x\n", "b": 2}"#).unwrap();
        assert_eq!((carried.text("a").as_deref(), carried.text("b"), carried.text("c")), (Some("x\n"), None, None));
        carried.put_text("a", "\"");
        carried.put_text("c", "d");
        assert_eq!(serde_json::to_string(&carried).unwrap(), r#"{"a":"\"","b":2,"c":"d"}"#);
    }

    #[test]
    fn doubles_and_bottomless_values_are_refused() {
        let read = |text: &str| serde_json::from_str::<Carried>(text);
        assert!(read(r#"{"a": 1, "a": 2}"#).unwrap_err().to_string().contains("stands twice"));
        let deep = |levels: usize| format!("{{\"a\": {}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(read(&deep(DEEPEST)).is_ok());
        assert!(read(&deep(DEEPEST + 1)).unwrap_err().to_string().contains("nested deeper"));
        assert!(read(&deep(1 << 20)).is_err());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,8}|[\"\\\\{}\\[\\],: \n]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("[a\"{ ]{0,3}", inner, 0..5).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn indentation_is_that_of_the_library_and_goes_away_again(value in any_json()) {
            let plain = serde_json::to_string(&value).unwrap();
            let mut pretty = Vec::new();
            let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut pretty, formatter)).unwrap();
            let pretty = String::from_utf8(pretty).unwrap();
            prop_assert_eq!(&indented(&plain), &pretty);
            prop_assert_eq!(compact(&pretty), Some(plain));
        }
    }
}
