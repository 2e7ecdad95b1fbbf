//! Operators of ONNX Runtime, as its optimizer and its quantizer write them, in terms of ONNX's own.
//!
//! Owns the domain `com.microsoft`, and what old versions of ONNX Runtime put into ONNX's own domain before ONNX had it.

mod fused;
mod grouped;
mod packed;
mod quantized;

use super::super::draft::rewrite_nodes_of;
use super::super::draft::{Draft, Site};
use super::super::{Pass, PassError};
use super::{IMPORTER_LACKS, Lowering, attention, rotary};
use crate::onnx::{Known, Patch, is_runtime_domain};

/// A rewriting of ONNX Runtime's own operators.
pub struct RuntimeLowering(Lowering);

impl Pass for RuntimeLowering {
    fn name(&self) -> &'static str {
        self.0.name
    }

    fn reason(&self) -> &'static str {
        self.0.reason
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let Lowering { operators, rewrite, .. } = self.0;
        rewrite_nodes_of(model, is_runtime_domain, |node| operators.contains(&node.op_type()), rewrite)
    }
}

fn attend(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    match site.node.op_type() {
        "Attention" => attention::fused(site, draft),
        "EmbedLayerNormalization" => attention::embedding(site, draft),
        "GroupQueryAttention" => grouped::attention(site, draft),
        "MultiHeadAttention" => attention::multi_head(site, draft),
        "RotaryEmbedding" => rotary::runtime(site, draft),
        _ => None,
    }
}

/// What leaves out that values are rounded to integers.
pub const UNROUNDED: &str = "dynamic-runtime-operators-to-numbers";

/// What is rewritten of ONNX Runtime's own operators, in order, before all else.
pub static RUNTIME: &[RuntimeLowering] = &[
    RuntimeLowering(Lowering {
        name: "runtime-operators-to-onnx",
        reason: IMPORTER_LACKS,
        operators: &[
            "BiasGelu",
            "FastGelu",
            "FusedConv",
            "FusedGemm",
            "FusedMatMul",
            "Gelu",
            "QuickGelu",
            "SkipLayerNormalization",
            "SkipSimplifiedLayerNormalization",
        ],
        rewrite: fused::rewrite,
    }),
    RuntimeLowering(Lowering {
        name: "runtime-attention-to-products",
        reason: IMPORTER_LACKS,
        operators: &[
            "Attention",
            "EmbedLayerNormalization",
            "GroupQueryAttention",
            "MultiHeadAttention",
            "RotaryEmbedding",
        ],
        rewrite: attend,
    }),
    RuntimeLowering(Lowering {
        name: "packed-weights-to-numbers",
        reason: IMPORTER_LACKS,
        operators: &["MatMulNBits"],
        rewrite: packed::product,
    }),
    RuntimeLowering(Lowering {
        name: "quantized-runtime-operators-to-onnx",
        reason: IMPORTER_LACKS,
        operators: &[
            "DequantizeLinear",
            "QGemm",
            "QLinearAdd",
            "QLinearAveragePool",
            "QLinearConcat",
            "QLinearGlobalAveragePool",
            "QLinearLeakyRelu",
            "QLinearMul",
            "QLinearSigmoid",
            "QLinearSoftmax",
            "QuantizeLinear",
        ],
        rewrite: quantized::rewrite,
    }),
    RuntimeLowering(Lowering {
        name: UNROUNDED,
        reason: "MyriadX computes with halves: values are not rounded to integers first",
        operators: &[
            "DynamicQuantizeLSTM",
            "DynamicQuantizeMatMul",
            "MatMulIntegerToFloat",
            "QAttention",
            "QEmbedLayerNormalization",
        ],
        rewrite: quantized::dynamic,
    }),
];
