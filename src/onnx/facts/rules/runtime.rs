//! Operators that ONNX Runtime writes when it quantizes or optimizes a network: the shapes of their results.

use super::{Dims, Shapes, broadcast, gemm, known, neural, one, product};
use crate::onnx::facts::call::Call;
use crate::onnx::value::Dimension;

pub(in crate::onnx::facts) fn shapes(call: &Call<'_, '_>) -> Option<Shapes> {
    match call.operator() {
        "BiasGelu" | "DequantizeLinear" | "FastGelu" | "Gelu" | "QLinearLeakyRelu" | "QLinearSigmoid"
        | "QLinearSoftmax" | "QuantizeLinear" | "QuickGelu" | "RotaryEmbedding" => one(call.dims(0)?.to_vec()),
        "QLinearAdd" | "QLinearMul" => one(broadcast(call.dims(0)?, call.dims(3)?)?),
        "QLinearConcat" => one(concat(call)?),
        "QLinearAveragePool" | "QLinearGlobalAveragePool" if call.attributes.flag("channels_last") => None,
        "QLinearAveragePool" => one(neural::pooled(call)?),
        "QLinearGlobalAveragePool" => one(neural::pooled_globally(call)?),
        "FusedConv" => one(neural::convolution(call, 1)?),
        "FusedGemm" => one(gemm(call, 1)?),
        "QGemm" => one(gemm(call, 3)?),
        "FusedMatMul" => one(fused_product(call)?),
        "DynamicQuantizeMatMul" | "MatMulIntegerToFloat" => one(product(call.dims(0)?, call.dims(1)?)?),
        "DynamicQuantizeLSTM" if call.attributes.int("hidden_size").is_some() => neural::recurrent(call),
        "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => {
            let dims = call.dims(0)?;
            let statistics = [dims.split_last()?.1, &[Dimension::Known(1)]].concat();
            let whole = Some(dims.to_vec());
            Some(vec![whole.clone(), Some(statistics.clone()), Some(statistics), whole])
        }
        "EmbedLayerNormalization" | "QEmbedLayerNormalization" => {
            let hidden = call.dims(2)?.last()?.clone();
            let dims = [call.dims(0)?, &[hidden]].concat();
            Some(vec![Some(dims.clone()), Some(vec![call.dims(0)?.first()?.clone()]), Some(dims)])
        }
        "Attention" | "QAttention" => attention(call),
        "MultiHeadAttention" => {
            let ([batch, length, _], [_, _, width]) = (call.dims(0)?, call.dims(2)?) else { return None };
            one(vec![batch.clone(), length.clone(), width.clone()])
        }
        "GroupQueryAttention" if call.has(1) => one(call.dims(0)?.to_vec()),
        "MatMulNBits" => {
            let (_, before) = call.dims(0)?.split_last()?;
            one([before, &[Dimension::Known(call.attributes.int("N")?)]].concat())
        }
        _ => None,
    }
}

/// Inputs come with scale and zero point each, after those of the result.
fn concat(call: &Call<'_, '_>) -> Option<Dims> {
    let mut dims = call.dims(2)?.to_vec();
    let axis = call.axis(1, dims.len())?;
    let mut length = 0_i64;
    for place in (2..call.node.input.len()).step_by(3) {
        length = length.checked_add(known(call.dims(place)?.get(axis)?)?)?;
    }
    *dims.get_mut(axis)? = Dimension::Known(length);
    Some(dims)
}

fn fused_product(call: &Call<'_, '_>) -> Option<Dims> {
    let side = |place: usize, turned: &str, with_batch: &str| {
        let mut dims = call.dims(place)?.to_vec();
        let last = dims.len().checked_sub(2)?;
        if call.attributes.flag(with_batch) {
            // The rows stand first.
            dims.get_mut(..=last)?.rotate_left(1);
        }
        if call.attributes.flag(turned) {
            dims.get_mut(last..)?.reverse();
        }
        Some(dims)
    };
    product(&side(0, "transA", "transBatchA")?, &side(1, "transB", "transBatchB")?)
}

fn attention(call: &Call<'_, '_>) -> Option<Shapes> {
    let [batch, length, _] = call.dims(0)? else { return None };
    let hidden = match call.attributes.ints("qkv_hidden_sizes") {
        Some(sizes) => *sizes.get(2)?,
        None => known(call.dims(1)?.get(1)?)? / 3,
    };
    one(vec![batch.clone(), length.clone(), Dimension::Known(hidden)])
}
