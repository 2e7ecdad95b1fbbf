//! How many places a window has as it moves along an axis, for convolutions and pooling.

use super::{Dims, map};
use crate::onnx::attributes::Attributes;
use crate::onnx::value::Dimension;

/// The windows of a node: one entry for each spatial axis.
pub(super) struct Windows<'a> {
    attributes: Attributes<'a>,
    kernel: Vec<Option<i64>>,
}

impl<'a> Windows<'a> {
    /// Windows of the sizes that the node states, or else of those that its weights have.
    pub(super) fn new(attributes: Attributes<'a>, weights: Option<&[Dimension]>) -> Option<Self> {
        let stated = attributes.ints("kernel_shape").filter(|sizes| !sizes.is_empty());
        let kernel = match (stated, weights) {
            (Some(sizes), _) => sizes.iter().copied().map(Some).collect(),
            (None, Some(weights)) => weights.iter().map(super::known).collect(),
            (None, None) => return None,
        };
        Some(Self { attributes, kernel })
    }

    fn at(&self, name: &str, axis: usize, default: i64) -> i64 {
        self.attributes.ints(name).and_then(|list| list.get(axis)).copied().unwrap_or(default)
    }

    fn automatic(&self) -> &'a str {
        self.attributes.text("auto_pad").unwrap_or("NOTSET")
    }

    /// What a window covers, with the gaps in it.
    fn extent(&self, axis: usize) -> Option<i64> {
        let kernel = self.kernel.get(axis).copied().flatten()?;
        kernel.checked_sub(1)?.checked_mul(self.at("dilations", axis, 1))?.checked_add(1)
    }

    fn padding(&self, axis: usize) -> Option<(i64, i64)> {
        match self.automatic() {
            "VALID" => Some((0, 0)),
            _ => Some((self.at("pads", axis, 0), self.at("pads", self.kernel.len() + axis, 0))),
        }
    }

    /// The number of places along each axis.
    pub(super) fn places(&self, spatial: &[Dimension]) -> Option<Dims> {
        (spatial.len() == self.kernel.len()).then_some(())?;
        let rounds_up = self.attributes.flag("ceil_mode");
        let along = |(axis, dimension): (usize, &Dimension)| {
            map(dimension, |size| {
                let stride = Some(self.at("strides", axis, 1)).filter(|stride| *stride > 0)?;
                if self.automatic().starts_with("SAME") {
                    return Some(size.checked_add(stride - 1)? / stride);
                }
                let (before, after) = self.padding(axis)?;
                let padded = size.checked_add(before)?.checked_add(after)?;
                let room = padded.checked_sub(self.extent(axis)?).filter(|room| *room >= 0)?;
                let count = if rounds_up { room.checked_add(stride - 1)? / stride + 1 } else { room / stride + 1 };
                // A window that begins in the padding behind is none.
                let begins_behind = rounds_up && (count - 1).checked_mul(stride)? >= size.checked_add(before)?;
                Some(if begins_behind { count - 1 } else { count })
            })
        };
        Some(spatial.iter().enumerate().map(along).collect())
    }

    /// The sizes whose windows have as many places as `spatial` says: what a transposed convolution computes.
    pub(super) fn origins(&self, spatial: &[Dimension]) -> Option<Dims> {
        (spatial.len() == self.kernel.len()).then_some(())?;
        if let Some(stated) = self.attributes.ints("output_shape").filter(|sizes| !sizes.is_empty()) {
            let spatial_only = stated.get(stated.len().checked_sub(spatial.len())?..)?;
            return Some(spatial_only.iter().map(|&size| Dimension::Known(size)).collect());
        }
        let along = |(axis, dimension): (usize, &Dimension)| {
            map(dimension, |size| {
                let stride = self.at("strides", axis, 1);
                if self.automatic().starts_with("SAME") {
                    return size.checked_mul(stride);
                }
                let (before, after) = self.padding(axis)?;
                let moved = size.checked_sub(1)?.checked_mul(stride)?.checked_add(self.extent(axis)?)?;
                moved.checked_add(self.at("output_padding", axis, 0))?.checked_sub(before)?.checked_sub(after)
            })
        };
        Some(spatial.iter().enumerate().map(along).collect())
    }
}
