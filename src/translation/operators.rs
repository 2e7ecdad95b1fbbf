//! Which function translates which operator, and what all of them need.

use super::elementwise::OF_TENSORFLOW;
use super::network::Network;
use super::scattered::Scattered;
use super::{
    Order, Trouble, batches, bits, elementwise, indices, layers, places, quantized, recurrent, reductions, refused,
    scattered, segments, shapes, slices, spectra, volumes, windows,
};
use crate::tflite::{Constant, Operator, TensorId};

/// Returns the operands that a translation looks at. The rest says what the shape of the result says too, and is often
/// computed by operators that are then not needed.
pub(super) fn reads(operator: &Operator) -> Vec<TensorId> {
    let wanted: &[usize] = match operator.name.as_str() {
        "RESHAPE" | "SQUEEZE" | "EXPAND_DIMS" | "BROADCAST_TO" | "RESIZE_BILINEAR" | "RESIZE_NEAREST_NEIGHBOR" => &[0],
        "SHAPE" | "RANK" | "ZEROS_LIKE" => &[],
        "FILL" => &[1],
        "TRANSPOSE_CONV" | "CONV_3D_TRANSPOSE" => &[1, 2, 3],
        _ => return operator.inputs.iter().flatten().copied().collect(),
    };
    wanted.iter().filter_map(|place| operator.input(*place)).collect()
}

/// Writes what an operator computes.
pub(super) fn translate(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    if operator.is_custom {
        return match operator.name.as_str() {
            "Convolution2DTransposeBias" => layers::transposed_convolution_with_bias(network, operator),
            "TFLite_Detection_PostProcess" => Err(refused(elementwise::CHOOSES)),
            name => match elementwise::of_tensorflow(name) {
                Some(onnx) => elementwise::unary(network, operator, onnx, &[]),
                None if name.starts_with(OF_TENSORFLOW) => {
                    Err(refused("an operator of TensorFlow's, which a model in TFLite only names"))
                }
                None => Err(refused("an operator of the model's own, which only its runtime knows")),
            },
        };
    }
    match operator.name.as_str() {
        "CONV_2D" | "DEPTHWISE_CONV_2D" => layers::convolution(network, operator, None),
        "TRANSPOSE_CONV" => layers::transposed_convolution(network, operator),
        "CONV_3D" => volumes::convolution(network, operator),
        "CONV_3D_TRANSPOSE" => volumes::transposed_convolution(network, operator),
        "FULLY_CONNECTED" => layers::fully_connected(network, operator),
        "BATCH_MATMUL" => layers::matrix_product(network, operator),
        "AVERAGE_POOL_2D" | "L2_POOL_2D" | "MAX_POOL_2D" => layers::pool(network, operator),
        "RESIZE_BILINEAR" | "RESIZE_NEAREST_NEIGHBOR" => layers::resize(network, operator),
        "SPACE_TO_DEPTH" | "DEPTH_TO_SPACE" => layers::blocks(network, operator),
        "LOCAL_RESPONSE_NORMALIZATION" => layers::local_response(network, operator),
        "SPACE_TO_BATCH_ND" => batches::space_to_batch(network, operator),
        "BATCH_TO_SPACE_ND" => batches::batch_to_space(network, operator),
        "UNIDIRECTIONAL_SEQUENCE_LSTM" => recurrent::lstm(network, operator),
        "UNIDIRECTIONAL_SEQUENCE_RNN" => recurrent::rnn(network, operator),
        "BIDIRECTIONAL_SEQUENCE_LSTM" => recurrent::lstm_in_both_directions(network, operator),
        "BIDIRECTIONAL_SEQUENCE_RNN" => recurrent::rnn_in_both_directions(network, operator),
        "LSTM" => recurrent::basic_lstm(network, operator),
        "RFFT2D" => spectra::transform(network, operator),
        "COMPLEX_ABS" => spectra::magnitude(network, operator),
        "REAL" | "IMAG" => spectra::part(network, operator),
        "L2_NORMALIZATION" => reductions::unit_length(network, operator),
        "MEAN" => reductions::reduce(network, operator, "ReduceMean"),
        "SUM" => reductions::reduce(network, operator, "ReduceSum"),
        "REDUCE_ANY" | "REDUCE_MAX" => reductions::reduce(network, operator, "ReduceMax"),
        "REDUCE_ALL" | "REDUCE_MIN" => reductions::reduce(network, operator, "ReduceMin"),
        "REDUCE_PROD" => reductions::reduce(network, operator, "ReduceProd"),
        "CUMSUM" => reductions::cumulate(network, operator),
        "ARG_MAX" => reductions::position(network, operator, "ArgMax"),
        "ARG_MIN" => reductions::position(network, operator, "ArgMin"),
        "SOFTMAX" => reductions::softmax(network, operator, "Softmax"),
        "LOG_SOFTMAX" => reductions::softmax(network, operator, "LogSoftmax"),
        "QUANTIZE" => quantized::quantize(network, operator),
        "FAKE_QUANT" => quantized::pretend(network, operator),
        "DEQUANTIZE" | "DENSIFY" => network.share(input(operator, 0)?, output(operator, 0)?),
        "RESHAPE" | "SQUEEZE" | "EXPAND_DIMS" if is_complex(network, operator) => spectra::reshape(network, operator),
        "RESHAPE" | "SQUEEZE" | "EXPAND_DIMS" => shapes::reshape(network, operator),
        "TRANSPOSE" => shapes::transpose(network, operator),
        "CONCATENATION" => shapes::concatenate(network, operator),
        "SPLIT" => shapes::split(network, operator, 1, 0),
        "SPLIT_V" => shapes::split(network, operator, 0, 2),
        "PACK" => shapes::pack(network, operator),
        "UNPACK" => shapes::unpack(network, operator),
        "SHAPE" | "RANK" => shapes::shape(network, operator),
        "BROADCAST_TO" => shapes::broadcast(network, operator, 0),
        "FILL" => shapes::broadcast(network, operator, 1),
        "ZEROS_LIKE" => shapes::zeros(network, operator),
        "TILE" => shapes::tile(network, operator),
        "GATHER" => shapes::gather(network, operator),
        "EMBEDDING_LOOKUP" => shapes::look_up(network, operator),
        "GATHER_ND" => indices::gather_points(network, operator),
        "SCATTER_ND" => scattered::points(network, operator, &Scattered { indices: 0, updates: 1 }),
        "SEGMENT_SUM" | "UNSORTED_SEGMENT_SUM" => {
            scattered::points(network, operator, &Scattered { indices: 1, updates: 0 })
        }
        "UNSORTED_SEGMENT_MAX" => segments::reduce(network, operator, "ReduceMax"),
        "UNSORTED_SEGMENT_MIN" => segments::reduce(network, operator, "ReduceMin"),
        "UNSORTED_SEGMENT_PROD" => segments::reduce(network, operator, "ReduceProd"),
        "BUCKETIZE" => segments::bucketize(network, operator),
        "REVERSE_SEQUENCE" => segments::reverse(network, operator),
        "DYNAMIC_UPDATE_SLICE" => segments::update(network, operator),
        "BITWISE_XOR" => bits::differing(network, operator),
        "RIGHT_SHIFT" => bits::shifted(network, operator),
        "MATRIX_DIAG" => scattered::diagonal(network, operator),
        "MATRIX_SET_DIAG" => scattered::with_diagonal(network, operator),
        "TOPK_V2" => indices::greatest(network, operator),
        "ONE_HOT" => indices::one_hot(network, operator),
        "REVERSE_V2" => indices::reverse(network, operator),
        "RANGE" => indices::range(network, operator),
        "SLICE" => slices::slice(network, operator),
        "STRIDED_SLICE" => slices::strided_slice(network, operator),
        "PAD" | "PADV2" => slices::pad(network, operator),
        "DILATE" => windows::dilate(network, operator),
        "STABLEHLO_PAD" => windows::pad(network, operator),
        "REDUCE_WINDOW" => windows::reduce(network, operator),
        "STABLEHLO_REDUCE_WINDOW" => windows::reduce_beside(network, operator),
        "STABLEHLO_GATHER" => places::take(network, operator),
        "STABLEHLO_SCATTER" => places::put(network, operator),
        "SPARSE_TO_DENSE" => scattered::from_sparse(network, operator),
        "MIRROR_PAD" => slices::mirror_pad(network, operator),
        _ => elementwise::translate(network, operator),
    }
}

fn is_complex(network: &Network<'_>, operator: &Operator) -> bool {
    operator.input(0).is_some_and(|id| network.complex(id).is_some())
}

/// Returns an operand.
pub(super) fn input(operator: &Operator, place: usize) -> Result<TensorId, Trouble> {
    operator.input(place).ok_or_else(|| refused(format!("lacks operand {place}")))
}

/// Returns a result.
pub(super) fn output(operator: &Operator, place: usize) -> Result<TensorId, Trouble> {
    operator.outputs.get(place).copied().ok_or_else(|| refused(format!("lacks result {place}")))
}

/// Returns an operand that has to be constant.
pub(super) fn constant(network: &Network<'_>, operator: &Operator, place: usize) -> Result<Constant, Trouble> {
    let constant = network.constant(input(operator, place)?)?;
    constant.ok_or_else(|| refused(format!("computes its operand {place}; it has to be constant")))
}

/// Returns an operand that has to be a constant list of integers, such as axes or sizes.
pub(super) fn integers(network: &Network<'_>, operator: &Operator, place: usize) -> Result<Vec<i64>, Trouble> {
    let constant = constant(network, operator, place)?;
    constant.integers().map(<[i64]>::to_vec).ok_or_else(|| refused(format!("has no integers as operand {place}")))
}

/// Returns an axis counted from the front.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, Trouble> {
    let from_front = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    let axis_of = usize::try_from(from_front).ok().filter(|axis| *axis < rank);
    axis_of.ok_or_else(|| refused(format!("names the axis {axis} of a tensor with {rank} dimensions")))
}

/// Returns where a stored axis stands in a value held in an order.
pub(super) const fn axis_in(order: Order, axis: usize) -> i64 {
    match (order, axis) {
        (Order::AsStored, axis) => axis as i64,
        (Order::ChannelsFirst, 1) => 2,
        (Order::ChannelsFirst, 2) => 3,
        (Order::ChannelsFirst, 3) => 1,
        (Order::ChannelsFirst, axis) => axis as i64,
    }
}
