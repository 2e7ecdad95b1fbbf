//! One node with what is known about its inputs.

use std::ops::Range;

use super::entries::Entry;
use super::{Fact, Scope};
use crate::onnx::array::Array;
use crate::onnx::attributes::Attributes;
use crate::onnx::geometry;
use crate::onnx::proto::NodeProto;
use crate::onnx::value::Dimension;

/// A node as the rules of inference see it.
pub(super) struct Call<'call, 'model> {
    pub node: &'model NodeProto,
    pub opset: i64,
    pub attributes: Attributes<'model>,
    scope: &'call Scope<'call, 'model>,
}

impl<'call, 'model> Call<'call, 'model> {
    pub(super) fn new(node: &'model NodeProto, opset: i64, scope: &'call Scope<'call, 'model>) -> Self {
        Self { node, opset, attributes: Attributes(node), scope }
    }

    pub(super) fn operator(&self) -> &'model str {
        self.node.op_type()
    }

    /// Returns whether an optional input is given.
    pub(super) fn has(&self, place: usize) -> bool {
        self.node.input.get(place).is_some_and(|name| !name.is_empty())
    }

    pub(super) fn fact(&self, place: usize) -> Option<&Fact<'model>> {
        self.scope.find(self.node.input.get(place).filter(|name| !name.is_empty())?)
    }

    pub(super) fn dims(&self, place: usize) -> Option<&[Dimension]> {
        self.fact(place)?.shape.as_ref().map(|shape| shape.0.as_slice())
    }

    pub(super) fn rank(&self, place: usize) -> Option<usize> {
        self.dims(place).map(<[Dimension]>::len)
    }

    /// Returns the elements of an input, if all are known.
    pub(super) fn array(&self, place: usize) -> Option<Array> {
        self.fact(place)?.small_array()
    }

    /// Returns the elements of an input of integers, if all are known.
    pub(super) fn integers(&self, place: usize) -> Option<Vec<i64>> {
        self.array(place)?.to_integers()
    }

    /// Returns the elements of an input of integers as sizes, as far as they are known.
    pub(super) fn entries(&self, place: usize) -> Option<Vec<Entry>> {
        self.fact(place)?.entries()
    }

    /// Returns a list that older operator sets have as an attribute and newer ones as an input.
    pub(super) fn list(&self, attribute: &str, place: usize) -> Option<Vec<i64>> {
        if self.has(place) { self.integers(place) } else { self.attributes.ints(attribute).map(<[i64]>::to_vec) }
    }

    /// Returns the attribute `axis`, counted from 0.
    pub(super) fn axis(&self, default: i64, rank: usize) -> Option<usize> {
        geometry::axis(self.attributes.int("axis").unwrap_or(default), rank)
    }

    /// Returns which dimensions of a tensor of some rank `Shape` tells.
    pub(super) fn shape_range(&self, rank: usize) -> Range<usize> {
        let signed = i64::try_from(rank).unwrap_or(i64::MAX);
        let bound = |name: &str, default: i64| {
            let place = self.attributes.int(name).unwrap_or(default);
            let counted = if place < 0 { place.saturating_add(signed) } else { place };
            usize::try_from(counted.clamp(0, signed)).unwrap_or(rank)
        };
        bound("start", 0)..bound("end", signed)
    }
}
