//! Quantisation encodings: which numbers of a tensor become which integers.
//!
//! Owns the one form that the many forms of people and of quantising libraries are brought to: for each tensor a list of
//! entries, one for each channel or one for all.

use super::tree::{Entry, Tree, Value};
use super::{Named, Origin, emit};

/// The encodings of a network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Encodings {
    /// Of what flows through the network, in the order written.
    pub activations: Vec<TensorEncodings>,
    /// Of weights, in the order written.
    pub parameters: Vec<TensorEncodings>,
}

/// The encodings of one tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorEncodings {
    /// Its name.
    pub name: String,
    /// One for all of it, or one for each channel.
    pub entries: Vec<TensorEncoding>,
}

/// How numbers become integers; what is not said is the quantiser's to choose.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TensorEncoding {
    /// 4, 8, 16 or 32 bits.
    pub bitwidth: Option<u8>,
    /// Whether zero stands in the middle.
    pub is_symmetric: Option<bool>,
    /// What the quantised numbers are.
    pub dtype: Option<EncodingType>,
    /// The smallest number.
    pub min: Option<f64>,
    /// The largest number.
    pub max: Option<f64>,
    /// The step between neighbours.
    pub scale: Option<f64>,
    /// The integer that zero becomes.
    pub offset: Option<i64>,
}

super::targets::named!(
    /// What quantised numbers are.
    EncodingType {
        Int "int",
        Float "float",
    }
);

impl Encodings {
    /// Returns the encodings as the document that SNPE reads, which reads back the same.
    ///
    /// SNPE wants `is_symmetric` as the texts `True` and `False`.
    pub fn to_tree(&self) -> Tree {
        let group = |tensors: &[TensorEncodings]| {
            let entries = tensors.iter().map(|tensor| {
                let entries = tensor.entries.iter().map(|entry| Tree::made(entry.value())).collect();
                (tensor.name.as_str(), Value::List(entries))
            });
            map(entries)
        };
        Tree::made(map([
            ("activation_encodings", group(&self.activations)),
            ("param_encodings", group(&self.parameters)),
        ]))
    }
}

impl TensorEncoding {
    fn value(&self) -> Value {
        let symmetric = |symmetric: bool| Value::Text(if symmetric { "True" } else { "False" }.to_owned());
        let said = [
            ("bitwidth", self.bitwidth.map(|bits| Value::Integer(bits.into()))),
            ("is_symmetric", self.is_symmetric.map(symmetric)),
            ("dtype", self.dtype.map(|dtype| Value::Text(dtype.as_str().to_owned()))),
            ("min", self.min.map(emit::number)),
            ("max", self.max.map(emit::number)),
            ("scale", self.scale.map(emit::number)),
            ("offset", self.offset.map(Value::Integer)),
        ];
        map(said.into_iter().filter_map(|(key, value)| Some((key, value?))))
    }
}

fn map<'k>(entries: impl IntoIterator<Item = (&'k str, Value)>) -> Value {
    let entry =
        |(key, value): (&str, Value)| Entry { key: key.to_owned(), origin: Origin::Made, value: Tree::made(value) };
    Value::Map(entries.into_iter().map(entry).collect())
}
