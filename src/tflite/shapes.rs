//! The shapes of results, where the model leaves a dimension open.
//!
//! Converters write 1 for every open dimension, also where it is not the batch that is open: a file says `[1, 1]` of what
//! is `[16, 24]` for a batch of one. The format's own runtime finds the shapes out when it is told those of the inputs.

use super::evaluate::{self, Known};
use super::{Operator, Padding, Tensor};
use crate::onnx::element_count;

/// Operators whose result has the shape that their operands are broadcast to.
const ELEMENTWISE: &[&str] = &[
    "ABS",
    "ADD",
    "ADD_N",
    "ATAN2",
    "BITWISE_XOR",
    "BUCKETIZE",
    "CAST",
    "CEIL",
    "COS",
    "CUMSUM",
    "DEQUANTIZE",
    "DIV",
    "ELU",
    "EQUAL",
    "EXP",
    "FAKE_QUANT",
    "FLOOR",
    "FLOOR_DIV",
    "FLOOR_MOD",
    "GELU",
    "GREATER",
    "GREATER_EQUAL",
    "HARD_SWISH",
    "L2_NORMALIZATION",
    "LEAKY_RELU",
    "LESS",
    "LESS_EQUAL",
    "LOCAL_RESPONSE_NORMALIZATION",
    "LOG",
    "LOGICAL_AND",
    "LOGICAL_NOT",
    "LOGICAL_OR",
    "LOGISTIC",
    "LOG_SOFTMAX",
    "MAXIMUM",
    "MINIMUM",
    "MUL",
    "NEG",
    "NOT_EQUAL",
    "POW",
    "PRELU",
    "QUANTIZE",
    "RELU",
    "RELU6",
    "RELU_0_TO_1",
    "RELU_N1_TO_1",
    "RIGHT_SHIFT",
    "ROUND",
    "RSQRT",
    "SELECT_V2",
    "SIGN",
    "SIN",
    "SOFTMAX",
    "SQRT",
    "SQUARE",
    "SQUARED_DIFFERENCE",
    "STABLEHLO_ADD",
    "STABLEHLO_AND",
    "STABLEHLO_MAXIMUM",
    "STABLEHLO_MINIMUM",
    "STABLEHLO_MULTIPLY",
    "SUB",
    "TANH",
    "ZEROS_LIKE",
];

/// An operator whose operands and results are places among tensors.
pub(super) struct Applied<'a> {
    pub(super) operator: &'a Operator,
    pub(super) tensors: &'a [Tensor],
    pub(super) known: &'a Known,
}

/// Returns what shapes are broadcast to.
fn broadcast<'a>(shapes: impl Iterator<Item = &'a [i64]>) -> Option<Vec<i64>> {
    let mut result: Vec<i64> = Vec::new();
    for shape in shapes {
        while result.len() < shape.len() {
            result.insert(0, 1);
        }
        for (size, given) in result.iter_mut().rev().zip(shape.iter().rev()) {
            match (*size, *given) {
                (size, given) if size == given => {}
                (1, given) => *size = given,
                (_, 1) => {}
                _ => return None,
            }
        }
    }
    Some(result)
}

/// Returns an axis counted from the front.
fn from_front(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis.checked_add(rank as i64)? } else { axis };
    usize::try_from(axis).ok().filter(|axis| *axis < rank)
}

/// Returns a shape with another size along an axis.
fn with(shape: &[i64], axis: usize, size: i64) -> Option<Vec<i64>> {
    let mut shape = shape.to_vec();
    *shape.get_mut(axis)? = size;
    Some(shape)
}

fn without(shape: &[i64], axes: &[usize]) -> Vec<i64> {
    shape.iter().enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, size)| *size).collect()
}

impl Applied<'_> {
    fn shape(&self, place: usize) -> Option<&[i64]> {
        Some(self.tensors.get(self.operator.input(place)?)?.shape.as_slice())
    }

    fn elements(&self, place: usize) -> Option<Vec<i64>> {
        evaluate::elements(self.tensors, self.known, self.operator.input(place)?)
    }

    fn axes(&self, place: usize, rank: usize) -> Option<Vec<usize>> {
        self.elements(place)?.into_iter().map(|axis| from_front(axis, rank)).collect()
    }

    /// Returns the shapes of all results; nothing if they do not follow.
    pub(super) fn results(&self) -> Option<Vec<Vec<i64>>> {
        let Self { operator, .. } = self;
        let count = operator.outputs.len();
        match operator.name.as_str() {
            "UNPACK" => {
                let shape = self.shape(0)?;
                let axis = from_front(operator.axis().ok()?, shape.len())?;
                Some(vec![without(shape, &[axis]); count])
            }
            "SPLIT" => {
                let shape = self.shape(1)?;
                let axis = *self.axes(0, shape.len())?.first()?;
                let size = shape.get(axis)?.checked_div(i64::try_from(count).ok()?)?;
                Some(vec![with(shape, axis, size)?; count])
            }
            "SPLIT_V" => {
                let (shape, mut sizes) = (self.shape(0)?, self.elements(1)?);
                let axis = *self.axes(2, shape.len())?.first()?;
                let known: i64 = sizes.iter().filter(|size| **size >= 0).sum();
                sizes
                    .iter_mut()
                    .filter(|size| **size < 0)
                    .for_each(|size| *size = shape.get(axis).map_or(0, |all| all - known));
                sizes.into_iter().map(|size| with(shape, axis, size)).collect()
            }
            "TOPK_V2" => {
                let shape = self.shape(0)?;
                Some(vec![with(shape, shape.len().checked_sub(1)?, *self.elements(1)?.first()?)?; count])
            }
            _ if count == 1 => Some(vec![self.result()?]),
            _ => None,
        }
    }

    /// Returns the shape of the only result.
    fn result(&self) -> Option<Vec<i64>> {
        let Self { operator, tensors, .. } = self;
        let shape = self.shape(0)?;
        let rank = shape.len();
        match operator.name.as_str() {
            "RESHAPE" => self.reshaped(shape),
            "SQUEEZE" => {
                let axes = operator
                    .squeezed()
                    .ok()?
                    .into_iter()
                    .map(|axis| from_front(axis, rank))
                    .collect::<Option<Vec<_>>>()?;
                let ones: Vec<usize> = (0..rank).filter(|axis| shape.get(*axis) == Some(&1)).collect();
                Some(without(shape, if axes.is_empty() { &ones } else { &axes }))
            }
            "EXPAND_DIMS" => {
                let mut shape = shape.to_vec();
                shape.insert(*self.axes(1, rank + 1)?.first()?, 1);
                Some(shape)
            }
            "TRANSPOSE" => self.axes(1, rank)?.into_iter().map(|axis| shape.get(axis).copied()).collect(),
            "FULLY_CONNECTED" => {
                let &[outputs, inputs] = self.shape(1)? else { return None };
                if operator.keeps_rank().ok()? {
                    return with(shape, rank.checked_sub(1)?, outputs);
                }
                let count = i64::try_from(element_count(shape)?).ok()?;
                Some(vec![count.checked_div(inputs)?, outputs])
            }
            "BATCH_MATMUL" => self.product(shape, self.shape(1)?),
            "CONCATENATION" => {
                let axis = from_front(operator.axis().ok()?, rank)?;
                let along = (0..operator.inputs.len()).map(|place| self.shape(place)?.get(axis).copied());
                with(shape, axis, along.sum::<Option<i64>>()?)
            }
            "PACK" => {
                let mut shape = shape.to_vec();
                shape.insert(from_front(operator.axis().ok()?, rank + 1)?, operator.inputs.len() as i64);
                Some(shape)
            }
            "MEAN" | "SUM" | "REDUCE_ALL" | "REDUCE_ANY" | "REDUCE_MAX" | "REDUCE_MIN" | "REDUCE_PROD" => {
                let axes = self.axes(1, rank)?;
                if !operator.keeps_dimensions().ok()? {
                    return Some(without(shape, &axes));
                }
                axes.into_iter().try_fold(shape.to_vec(), |shape, axis| with(&shape, axis, 1))
            }
            "DYNAMIC_UPDATE_SLICE" | "REVERSE_SEQUENCE" => Some(shape.to_vec()),
            "SEGMENT_SUM" => with(shape, 0, self.elements(1)?.last()?.checked_add(1)?),
            "ARG_MAX" | "ARG_MIN" => Some(without(shape, &self.axes(1, rank)?)),
            "GATHER" => {
                let axis = from_front(operator.axis().ok()?, rank)?;
                let indices = self.shape(1)?;
                let batches = i64::from(operator.batch_dimensions().ok()?);
                let batches = from_front(batches, indices.len() + 1)?;
                Some([shape.get(..axis)?, indices.get(batches..)?, shape.get(axis + 1..)?].concat())
            }
            "GATHER_ND" => {
                let (parts, places) = self.shape(1)?.split_last()?;
                Some([places, shape.get(usize::try_from(*parts).ok()?..)?].concat())
            }
            "ONE_HOT" => {
                let axis = operator.axis().ok()?;
                let mut shape = shape.to_vec();
                shape.insert(from_front(axis, rank + 1)?, *self.elements(1)?.first()?);
                Some(shape)
            }
            "SCATTER_ND" => self.elements(2),
            "SPARSE_TO_DENSE" => self.elements(1),
            "SELECT" => self.shape(1).map(<[i64]>::to_vec),
            // How long a result is does not depend on what is fed.
            "UNIDIRECTIONAL_SEQUENCE_LSTM" | "UNIDIRECTIONAL_SEQUENCE_RNN" => {
                with(shape, 2, *tensors.get(*operator.outputs.first()?)?.shape.get(2)?)
            }
            "SPACE_TO_BATCH_ND" | "BATCH_TO_SPACE_ND" => self.in_batches(shape),
            "TILE" => shape.iter().zip(self.elements(1)?).map(|(size, count)| size.checked_mul(count)).collect(),
            "BROADCAST_TO" => self.elements(1),
            "FILL" | "TRANSPOSE_CONV" => self.elements(0),
            "PAD" | "PADV2" | "MIRROR_PAD" => {
                let amounts = self.elements(1)?;
                Some(
                    shape
                        .iter()
                        .zip(amounts.chunks(2))
                        .map(|(size, amounts)| size + amounts.iter().sum::<i64>())
                        .collect(),
                )
            }
            "SLICE" => {
                let (begins, sizes) = (self.elements(1)?, self.elements(2)?);
                let spans = shape.iter().zip(begins.into_iter().zip(sizes));
                Some(spans.map(|(all, (begin, size))| if size < 0 { all - begin } else { size }).collect())
            }
            "STRIDED_SLICE" => self.strided(shape),
            "RESIZE_BILINEAR" | "RESIZE_NEAREST_NEIGHBOR" => {
                let (&[batch, _, _, channels], &[height, width]) = (shape, self.elements(1)?.as_slice()) else {
                    return None;
                };
                Some(vec![batch, height, width, channels])
            }
            "CONV_2D" | "DEPTHWISE_CONV_2D" | "AVERAGE_POOL_2D" | "L2_POOL_2D" | "MAX_POOL_2D" => self.windows(shape),
            "DEPTH_TO_SPACE" | "SPACE_TO_DEPTH" => {
                let (&[batch, height, width, channels], block) = (shape, operator.block_size().ok()?) else {
                    return None;
                };
                Some(match operator.name.as_str() {
                    "DEPTH_TO_SPACE" => vec![batch, height * block, width * block, channels / (block * block)],
                    _ => vec![batch, height / block, width / block, channels * block * block],
                })
            }
            name if ELEMENTWISE.contains(&name) => {
                let operands = operator.inputs.iter().flatten();
                broadcast(operands.filter_map(|id| tensors.get(*id)).map(|tensor| tensor.shape.as_slice()))
            }
            _ => None,
        }
    }

    fn reshaped(&self, shape: &[i64]) -> Option<Vec<i64>> {
        let mut wanted = match self.operator.input(1) {
            Some(_) => self.elements(1)?,
            None => self.operator.new_shape().ok()?,
        };
        let count = i64::try_from(element_count(shape)?).ok()?;
        let rest: i64 = wanted.iter().filter(|size| **size >= 0).try_fold(1_i64, |all, size| all.checked_mul(*size))?;
        if let Some(open) = wanted.iter_mut().find(|size| **size < 0) {
            *open = count.checked_div(rest)?;
        }
        (element_count(&wanted)? == count.unsigned_abs()).then_some(wanted)
    }

    /// Returns the sizes of what goes from space to the batch, or back.
    fn in_batches(&self, shape: &[i64]) -> Option<Vec<i64>> {
        let (blocks, borders) = (self.elements(1)?, self.elements(2)?);
        let is_to_batch = self.operator.name == "SPACE_TO_BATCH_ND";
        let mut shape = shape.to_vec();
        let (batch, space) = shape.split_first_mut()?;
        if blocks.len() > space.len() || borders.len() != 2 * blocks.len() {
            return None;
        }
        for ((size, block), border) in space.iter_mut().zip(blocks).zip(borders.chunks(2)) {
            let border = border.iter().try_fold(0_i64, |all, side| all.checked_add(*side))?;
            if is_to_batch {
                *size = size.checked_add(border)?.checked_div(block)?;
                *batch = batch.checked_mul(block)?;
            } else {
                *size = size.checked_mul(block)?.checked_sub(border)?;
                *batch = batch.checked_div(block)?;
            }
        }
        shape.iter().all(|size| *size >= 0).then_some(shape)
    }

    fn product(&self, left: &[i64], right: &[i64]) -> Option<Vec<i64>> {
        let [is_left_turned, is_right_turned] = self.operator.adjoints().ok()?;
        let (&[ref before @ .., rows, columns], &[ref behind @ .., other_rows, other_columns]) = (left, right) else {
            return None;
        };
        let mut shape = broadcast([before, behind].into_iter())?;
        shape.push(if is_left_turned { columns } else { rows });
        shape.push(if is_right_turned { other_rows } else { other_columns });
        Some(shape)
    }

    fn strided(&self, shape: &[i64]) -> Option<Vec<i64>> {
        let options = self.operator.strided_slice().ok()?;
        let (begins, ends, steps) = (self.elements(1)?, self.elements(2)?, self.elements(3)?);
        if options.ellipsis | options.new_axis != 0 || options.has_offsets || begins.len() > shape.len() {
            return None;
        }
        let mut result = Vec::new();
        for (axis, size) in shape.iter().copied().enumerate() {
            let (Some(&begin), Some(&end), Some(&step)) = (begins.get(axis), ends.get(axis), steps.get(axis)) else {
                result.push(size);
                continue;
            };
            let bit = |mask: i32| mask & 1_i32.checked_shl(u32::try_from(axis).unwrap_or(31)).unwrap_or(0) != 0;
            if bit(options.shrink) {
                continue;
            }
            let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
            let place = |given: i64| (if given < 0 { given.saturating_add(size) } else { given }).clamp(low, high);
            let (first, last) = if step > 0 { (low, high) } else { (high, low) };
            let from = if bit(options.begin) { first } else { place(begin) };
            let to = if bit(options.end) { last } else { place(end) };
            let (span, step) = if step > 0 { (to - from, step) } else { (from - to, step.checked_neg()?) };
            result.push(span.max(0).checked_add(step - 1)?.checked_div(step)?);
        }
        Some(result)
    }

    /// Returns how often a window fits in, with the channels that the model says.
    fn windows(&self, shape: &[i64]) -> Option<Vec<i64>> {
        let Self { operator, tensors, .. } = self;
        let &[batch, height, width, channels] = shape else { return None };
        let (padding, strides, spans) = match operator.name.as_str() {
            "CONV_2D" | "DEPTHWISE_CONV_2D" => {
                let options =
                    if operator.name == "CONV_2D" { operator.convolution() } else { operator.depthwise_convolution() };
                let options = options.ok()?;
                let &[_, kernel_height, kernel_width, _] = self.shape(1)? else { return None };
                let [vertical, horizontal] = options.dilations;
                (
                    options.padding,
                    options.strides,
                    [(kernel_height - 1) * vertical + 1, (kernel_width - 1) * horizontal + 1],
                )
            }
            _ => {
                let options = operator.pool().ok()?;
                (options.padding, options.strides, options.kernel)
            }
        };
        let fits = |size: i64, axis: usize| {
            let (stride, span) = (strides.get(axis)?, spans.get(axis)?);
            let room = if padding == Padding::Same { size } else { size - span + 1 };
            (room + stride - 1).checked_div(*stride)
        };
        let said = tensors.get(*operator.outputs.first()?)?.signature.get(3).copied().filter(|said| *said > 0);
        Some(vec![batch, fits(height, 0)?, fits(width, 1)?, said.unwrap_or(channels)])
    }
}

/// Returns whether a shape is one of those that a signature allows.
pub(super) fn allows(signature: &[i64], shape: &[i64]) -> bool {
    signature.len() == shape.len()
        && signature.iter().zip(shape).all(|(said, size)| said == size || (*said < 0 && *size >= 0))
}
