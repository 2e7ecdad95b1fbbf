//! The attributes of a node, by name.

use std::str;

use super::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};

/// The attributes of one node. What has another type than asked for is not there.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a>(pub &'a NodeProto);

impl<'a> Attributes<'a> {
    /// Returns an attribute.
    pub fn find(self, name: &str) -> Option<&'a AttributeProto> {
        self.0.attribute.iter().find(|attribute| attribute.name() == name)
    }

    /// Returns an integer.
    pub fn int(self, name: &str) -> Option<i64> {
        self.find(name).and_then(|attribute| attribute.i)
    }

    /// Returns whether an integer is there and not 0, which is how ONNX spells a flag.
    pub fn flag(self, name: &str) -> bool {
        self.int(name).is_some_and(|value| value != 0)
    }

    /// Returns a list of integers. A list without elements is indistinguishable from one of another type.
    pub fn ints(self, name: &str) -> Option<&'a [i64]> {
        self.find(name).map(|attribute| attribute.ints.as_slice())
    }

    /// Returns a floating number.
    pub fn float(self, name: &str) -> Option<f32> {
        self.find(name).and_then(|attribute| attribute.f)
    }

    /// Returns a list of floating numbers.
    pub fn floats(self, name: &str) -> Option<&'a [f32]> {
        self.find(name).map(|attribute| attribute.floats.as_slice())
    }

    /// Returns a text; one that is not UTF-8 is not there.
    pub fn text(self, name: &str) -> Option<&'a str> {
        self.find(name).and_then(|attribute| attribute.s.as_ref()).and_then(|text| str::from_utf8(text).ok())
    }

    /// Returns a tensor.
    pub fn tensor(self, name: &str) -> Option<&'a TensorProto> {
        self.find(name).and_then(|attribute| attribute.t.as_deref())
    }

    /// Returns a graph.
    pub fn graph(self, name: &str) -> Option<&'a GraphProto> {
        self.find(name).and_then(|attribute| attribute.g.as_deref())
    }
}
