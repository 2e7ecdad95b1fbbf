//! What operators of ONNX compute, on constants.
//!
//! Owns [`evaluate`]: the one way in. A kernel computes exactly what ONNX says, the same on every machine: sums and
//! functions are computed in binary64 by code that is compiled into the program, and rounded once. What a kernel cannot
//! compute that way, or what would take more memory than allowed, is left to others; it is never approximated.

mod elementwise;
mod index;
mod layout;
mod make;
mod product;
mod quantize;
mod reduce;

use super::array::{Array, width};
use super::attributes::Attributes;
use super::element::ElementType;
use super::graph::is_onnx_domain;
use super::proto::NodeProto;

/// The most elements of an operand with which is calculated; as numbers, they take 8 or 16 bytes each. Moving elements
/// around has no such limit.
const MAX_CALCULATED: usize = 1 << 22;

/// One node, its constant inputs, and how much room there is for the results.
struct Task<'a> {
    node: &'a NodeProto,
    attributes: Attributes<'a>,
    opset: i64,
    inputs: &'a [Option<Array>],
    limit: u64,
}

/// Computes all outputs of a node whose inputs are constants, in order; `inputs` are in order too, `None` where the node
/// leaves an optional one out. `limit` is in bytes for each result.
///
/// Returns `None` if there is no kernel, if ONNX does not define the result, or if it would be too large.
pub fn evaluate(node: &NodeProto, opset: i64, inputs: &[Option<Array>], limit: u64) -> Option<Vec<Array>> {
    let stated = node.input.iter().map(|name| !name.is_empty());
    if !is_onnx_domain(node.domain()) || !stated.eq(inputs.iter().map(Option::is_some)) {
        return None;
    }
    let task = Task { node, attributes: Attributes(node), opset, inputs, limit };
    let results = task.run()?;
    (results.len() >= node.output.len()).then_some(results)
}

impl Task<'_> {
    fn run(&self) -> Option<Vec<Array>> {
        let result = match self.node.op_type() {
            "Split" => return layout::split(self),
            "Dropout" => return layout::dropout(self),
            "Unique" => return index::unique(self),
            "Identity" => self.input(0)?.clone(),
            "Reshape" => layout::reshape(self)?,
            "Flatten" => layout::flatten(self)?,
            "Squeeze" => layout::squeeze(self)?,
            "Unsqueeze" => layout::unsqueeze(self)?,
            "Transpose" => layout::transpose(self)?,
            "Slice" => layout::slice(self)?,
            "Concat" => layout::concat(self)?,
            "Expand" => layout::expand(self)?,
            "Tile" => layout::tile(self)?,
            "Pad" => layout::pad(self)?,
            "DepthToSpace" => layout::depth_to_space(self)?,
            "SpaceToDepth" => layout::space_to_depth(self)?,
            "Gather" => index::gather(self)?,
            "GatherElements" => index::gather_elements(self)?,
            "GatherND" => index::gather_nd(self)?,
            "ScatterElements" | "Scatter" => index::scatter_elements(self)?,
            "ScatterND" => index::scatter_nd(self)?,
            "Compress" => index::compress(self)?,
            "OneHot" => index::one_hot(self)?,
            "NonZero" => index::non_zero(self)?,
            "Trilu" => index::triangle(self)?,
            "Constant" => make::constant(self)?,
            "ConstantOfShape" => make::constant_of_shape(self)?,
            "Shape" => make::shape(self)?,
            "Size" => Array::integers(Vec::new(), &[i64::try_from(self.input(0)?.count()).ok()?])?,
            "Range" => make::range(self)?,
            "EyeLike" => make::eye(self)?,
            "HannWindow" | "HammingWindow" | "BlackmanWindow" => make::window(self)?,
            "MelWeightMatrix" => make::mel_weights(self)?,
            "Cast" | "CastLike" => make::cast(self)?,
            "MatMul" => product::matrix(self)?,
            "Gemm" => product::gemm(self)?,
            "QuantizeLinear" => quantize::quantize(self)?,
            "DequantizeLinear" => quantize::dequantize(self)?,
            "ArgMax" | "ArgMin" => reduce::arg(self)?,
            "CumSum" => reduce::cumulate(self)?,
            "Softmax" | "LogSoftmax" => reduce::softmax(self)?,
            operator if operator.starts_with("Reduce") => reduce::reduce(self)?,
            _ => elementwise::compute(self)?,
        };
        Some(vec![result])
    }

    fn input(&self, place: usize) -> Option<&Array> {
        self.inputs.get(place)?.as_ref()
    }

    /// Returns a list that older operator sets have as an attribute and newer ones as an input.
    fn integers(&self, attribute: &str, place: usize) -> Option<Vec<i64>> {
        match self.input(place) {
            Some(input) => input.to_integers(),
            None => self.attributes.ints(attribute).map(<[i64]>::to_vec),
        }
    }

    /// Returns the number of elements of a result, if there is room for it.
    fn room(&self, sizes: &[usize], element: ElementType) -> Option<usize> {
        let count = sizes.iter().try_fold(1_usize, |count, size| count.checked_mul(*size))?;
        let bytes = count.checked_mul(width(element)?)?;
        (bytes as u64 <= self.limit).then_some(count)
    }

    /// As [`Task::room`], for a result that is calculated.
    fn calculable(&self, sizes: &[usize], element: ElementType) -> Option<usize> {
        let small = |count: &usize| *count <= MAX_CALCULATED;
        let inputs = self.inputs.iter().flatten().map(Array::count);
        self.room(sizes, element).filter(small).filter(|_| inputs.into_iter().all(|count| small(&count)))
    }
}

#[cfg(test)]
mod tests;
