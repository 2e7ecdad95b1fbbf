//! Products of bytes with weights that have no sign.

use super::draft::{Draft, Site, rewrite_nodes_of};
use super::{Pass, PassError};
use crate::onnx::proto::TensorProto;
use crate::onnx::{ElementType, Known, Patch, element_count, is_onnx_domain, is_runtime_domain};

/// Moves weights of bytes that have a sign, and their zero points, to bytes that have none: `w - z` stays what it is.
///
/// ONNX Runtime adds up products of bytes with and without a sign in 16 bits, which do not hold them, on x86-64 processors
/// that have AVX2 and no VNNI; those of bytes without signs it adds up in 32 bits on all of them.
#[derive(Clone, Copy, Debug)]
pub struct UnsignedWeights;

impl Pass for UnsignedWeights {
    fn name(&self) -> &'static str {
        "weights-without-sign"
    }

    fn reason(&self) -> &'static str {
        "ONNX Runtime adds up products with signed weights in 16 bits on processors without VNNI"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let is_domain = |domain: &str| is_onnx_domain(domain) || is_runtime_domain(domain);
        rewrite_nodes_of(model, is_domain, |node| !weights(node.op_type()).is_empty(), rewrite)
    }
}

/// Returns where an operator takes weights that it multiplies with bytes, each with the place of its zero point (ONNX
/// operator set 10; ONNX Runtime, contrib operators).
fn weights(operator: &str) -> &'static [(usize, usize)] {
    match operator {
        "ConvInteger" | "DynamicQuantizeMatMul" | "MatMulInteger" => &[(1, 3)],
        "MatMulIntegerToFloat" => &[(1, 5)],
        "QAttention" => &[(1, 7)],
        "QGemm" | "QLinearConv" | "QLinearMatMul" => &[(3, 5)],
        "DynamicQuantizeLSTM" => &[(1, 9), (2, 11)],
        _ => &[],
    }
}

fn rewrite(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let is_signed = |place: usize| site.facts.element(site.input(place)?).map(|element| element == ElementType::Int8);
    // Two operands with a sign are multiplied exactly.
    if is_signed(0)? {
        return None;
    }
    let mut node = site.node.clone();
    let mut is_changed = false;
    for &(place, zero) in weights(node.op_type()) {
        if is_signed(place) != Some(true) {
            continue;
        }
        node.input.resize(node.input.len().max(zero + 1), String::new());
        *node.input.get_mut(place)? = unsigned(site, draft, place)?;
        *node.input.get_mut(zero)? = match site.input(zero) {
            Some(_) => unsigned(site, draft, zero)?,
            None => {
                // One for each direction of a network of memory cells.
                let dims = site.sizes(place).filter(|_| node.op_type() == "DynamicQuantizeLSTM");
                let dims: Vec<i64> = dims.into_iter().flat_map(|sizes| sizes.into_iter().take(1)).collect();
                let count = usize::try_from(element_count(&dims)?).ok()?;
                draft.constant(bytes(&dims, vec![MIDDLE; count]))
            }
        };
        is_changed = true;
    }
    is_changed.then(|| draft.keep(node))
}

/// What stands for zero where a byte has no sign.
const MIDDLE: u8 = 1 << 7;

/// Writes an input without signs.
fn unsigned(site: &Site<'_>, draft: &mut Draft, place: usize) -> Option<String> {
    if let Some(moved) = site.constant(place).and_then(moved) {
        return Some(draft.constant(moved));
    }
    let wide = draft.cast(site.input(place)?, ElementType::Int32);
    let middle = draft.whole(ElementType::Int32, MIDDLE.into());
    let sum = draft.binary("Add", &wide, &middle);
    Some(draft.cast(&sum, ElementType::Uint8))
}

fn moved(tensor: &TensorProto) -> Option<TensorProto> {
    let moved: Vec<u8> = match &tensor.raw_data {
        Some(raw) => raw.iter().map(|byte| byte ^ MIDDLE).collect(),
        None => tensor.int32_data.iter().map(|number| *number as u8 ^ MIDDLE).collect(),
    };
    (element_count(&tensor.dims)? == moved.len() as u64).then(|| bytes(&tensor.dims, moved))
}

fn bytes(dims: &[i64], bytes: Vec<u8>) -> TensorProto {
    TensorProto {
        dims: dims.to_vec(),
        data_type: Some(ElementType::Uint8.code()),
        raw_data: Some(bytes.into()),
        ..TensorProto::default()
    }
}
