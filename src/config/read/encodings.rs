//! Quantisation encodings, in the forms that people and quantising libraries write them.

use std::collections::BTreeMap;

use super::value::{Fields, Reader};
use crate::config::encodings::{EncodingType, Encodings, TensorEncoding, TensorEncodings};
use crate::config::keys;
use crate::config::problem::Problems;
use crate::config::tree::{Tree, Value};

/// The keys of an entry that may have one value for each channel.
const PER_CHANNEL: [&str; 4] = ["min", "max", "scale", "offset"];

/// Reads the document of a file that `rvc4.encodings` names.
///
/// # Errors
/// Everything in the document that makes it no encodings.
pub fn encodings(tree: &Tree) -> Result<Encodings, Problems> {
    let mut reader = Reader::default();
    let encodings = reader.encodings(tree, "encodings");
    match (Problems::of(reader.problems), encodings) {
        (Some(problems), _) => Err(problems),
        (None, encodings) => Ok(encodings.unwrap_or_default()),
    }
}

impl Reader {
    /// Reads a mapping with the two groups.
    pub(super) fn encodings(&mut self, tree: &Tree, key: &str) -> Option<Encodings> {
        if !matches!(tree.value, Value::Map(_)) {
            self.wrong_type(tree, key, "a mapping: it must deserialize to a dict");
            return None;
        }
        let groups = self.mapping(tree, key, &keys::names(keys::ENCODING_GROUPS))?;
        let mut group = |name: &str| match groups.some(name) {
            Some(tree) => self.encoding_group(tree, &format!("{key}.{name}")),
            None => Some(Vec::new()),
        };
        let (activations, parameters) = (group("activation_encodings"), group("param_encodings"));
        Some(Encodings { activations: activations?, parameters: parameters? })
    }

    fn encoding_group(&mut self, tree: &Tree, key: &str) -> Option<Vec<TensorEncodings>> {
        let mut tensors: Vec<TensorEncodings> = Vec::new();
        let mut places = BTreeMap::new();
        match &tree.value {
            Value::Map(entries) => {
                for entry in entries {
                    let place = format!("{key}.{}", entry.key);
                    let items = match &entry.value.value {
                        Value::List(items) => items.as_slice(),
                        _ => std::slice::from_ref(&entry.value),
                    };
                    let entries = items.iter().map(|item| self.encoding_entry(item, &place));
                    let entries = entries.collect::<Option<Vec<_>>>()?.concat();
                    tensors.push(TensorEncodings { name: entry.key.clone(), entries });
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let place = format!("{key}.{index}");
                    let entries = self.encoding_entry(item, &place)?;
                    let Some(name) = Fields::of(item).some("name") else {
                        self.rule(&item.origin, format!("`{place}` has no tensor name: `name` is missing"));
                        return None;
                    };
                    let name = self.text(name, &format!("{place}.name"))?;
                    let place = *places.entry(name.clone()).or_insert(tensors.len());
                    match tensors.get_mut(place) {
                        Some(tensor) => tensor.entries.extend(entries),
                        None => tensors.push(TensorEncodings { name, entries }),
                    }
                }
            }
            _ => {
                self.wrong_type(tree, key, "a list or dict");
                return None;
            }
        }
        Some(tensors)
    }

    /// Reads one entry, which may stand for several channels.
    fn encoding_entry(&mut self, tree: &Tree, place: &str) -> Option<Vec<TensorEncoding>> {
        let Value::Map(_) = &tree.value else {
            self.wrong_type(tree, place, "a dict encoding entry");
            return None;
        };
        let fields = Fields::of(tree);
        let long_or_short = |long: &str, short: &str| fields.some(long).or_else(|| fields.some(short));
        let common = TensorEncoding {
            bitwidth: match long_or_short("bitwidth", "bw") {
                Some(tree) => Some(self.bitwidth(tree, &format!("{place}.bitwidth"))?),
                None => None,
            },
            is_symmetric: match long_or_short("is_symmetric", "is_sym") {
                Some(tree) => Some(self.boolean(tree, &format!("{place}.is_symmetric"))?),
                None => None,
            },
            dtype: match fields.some("dtype") {
                Some(tree) => Some(self.encoding_type(tree, &format!("{place}.dtype"))?),
                None => None,
            },
            ..TensorEncoding::default()
        };
        let mut length = None;
        for key in PER_CHANNEL {
            let Some(Tree { value: Value::List(items), origin }) = fields.some(key) else { continue };
            if items.len() == 1 {
                continue;
            }
            if *length.get_or_insert(items.len()) != items.len() || items.is_empty() {
                self.rule(origin, format!("the lists of `{place}` must have matching lengths, at least 1"));
                return None;
            }
        }
        let mut entries = vec![common; length.unwrap_or(1)];
        for key in PER_CHANNEL {
            let Some(tree) = fields.some(key) else { continue };
            let place = format!("{place}.{key}");
            let items = match &tree.value {
                Value::List(items) => items.as_slice(),
                _ => std::slice::from_ref(tree),
            };
            // One value, in a list or not, is for all channels.
            for (entry, item) in entries.iter_mut().zip(items.iter().cycle()) {
                match key {
                    "min" => entry.min = Some(self.number(item, &place)?),
                    "max" => entry.max = Some(self.number(item, &place)?),
                    "scale" => entry.scale = Some(self.number(item, &place)?),
                    _ => entry.offset = Some(self.integer(item, &place, i64::MIN, i64::MAX)?),
                }
            }
        }
        Some(entries)
    }

    fn bitwidth(&mut self, tree: &Tree, key: &str) -> Option<u8> {
        match tree.value.as_integer() {
            Some(bits @ (4 | 8 | 16 | 32)) => u8::try_from(bits).ok(),
            _ => {
                self.wrong_type(tree, key, "4, 8, 16 or 32");
                None
            }
        }
    }

    /// Reads the name of a type, in any case.
    fn encoding_type(&mut self, tree: &Tree, key: &str) -> Option<EncodingType> {
        let folded = match &tree.value {
            Value::Text(text) => Tree::new(Value::Text(text.to_lowercase()), tree.origin.clone()),
            _ => tree.clone(),
        };
        self.named(&folded, key)
    }
}
