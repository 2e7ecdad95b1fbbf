//! Operators that the tools for MyriadX lack, written with operators that they have.
//!
//! Owns the exact rewritings of single nodes: each computes what the node computed, up to the rounding of its
//! arithmetic. What the tools lack was measured with OpenVINO 2021.4.2, the oldest of them; newer ones read the same forms. What
//! a rewriting does not know enough about (a rank, a size, a constant) it leaves, and [`super::support`] names it.

mod activations;
mod attention;
mod bits;
mod blocks;
mod caches;
mod comparisons;
mod contractions;
mod curves;
mod deformed;
mod edges;
mod einsum;
mod fourier;
mod gates;
mod integers;
mod maxima;
mod myriad;
mod normalization;
pub(super) mod opset;
mod pieces;
mod pooling;
mod precision;
mod quantized;
mod recurrent;
mod regions;
mod remainders;
mod resize;
mod rotary;
mod runtime;
mod sampling;
mod scatter;
mod scheme;
mod sequences;
mod shapes;
mod steps;
mod truths;
mod volumes;
mod whole;
mod windows;

pub use self::myriad::MYRIAD;
pub use self::opset::OldForms;
pub use self::precision::SinglePrecision;
pub use self::quantized::{Unquantize, UnquantizeDynamically};
pub use self::runtime::{RUNTIME, RuntimeLowering, UNROUNDED};
pub use self::steps::{Quantization, quantized_outputs};
pub use self::truths::TruthOutputs;
pub use self::whole::WholeNumberInputs;

use super::draft::{Draft, Site, rewrite_nodes};
use super::{Pass, PassError};
use crate::onnx::{Known, Patch};

/// The rewriting of the nodes of some operators.
pub struct Lowering {
    name: &'static str,
    reason: &'static str,
    operators: &'static [&'static str],
    rewrite: fn(&Site<'_>, &mut Draft) -> Option<()>,
}

impl Pass for Lowering {
    fn name(&self) -> &'static str {
        self.name
    }

    fn reason(&self) -> &'static str {
        self.reason
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        rewrite_nodes(model, |node| self.operators.contains(&node.op_type()), self.rewrite)
    }
}

/// Means of incomplete windows whose padding counts, as the standard has them.
pub static AVERAGES: Lowering = Lowering {
    name: "averages-by-the-standard",
    reason: "ONNX Runtime 1.19 divides by whole windows where some are incomplete",
    operators: &["AveragePool"],
    rewrite: pooling::incomplete_averages,
};

const IMPORTER_LACKS: &str = "the ONNX importer of OpenVINO does not know the operator";
const COMPILER_LACKS: &str = "the MYRIAD compiler has no such layer";
const IMPORTER_MISREADS: &str = "the ONNX importer of OpenVINO misreads this form of the operator";
const IMPORTER_REFUSES: &str = "the ONNX importer of OpenVINO refuses this form of the operator";
const COMPILER_REFUSES: &str = "the MYRIAD compiler refuses this form of the layer";

/// What is rewritten of quantized networks, in order.
pub static QUANTIZED: &[Lowering] = &[
    Lowering {
        name: "quantized-operators-to-numbers",
        reason: IMPORTER_LACKS,
        operators: &["QLinearConv", "QLinearMatMul"],
        rewrite: quantized::operator,
    },
    Lowering {
        name: "products-of-integers-to-numbers",
        reason: IMPORTER_LACKS,
        operators: &["ConvInteger", "MatMulInteger"],
        rewrite: integers::product,
    },
    Lowering {
        name: "quantized-movements-to-numbers",
        reason: "MyriadX computes with halves",
        operators: quantized::MOVING,
        rewrite: quantized::movement,
    },
    Lowering {
        name: "dequantized-constants",
        reason: "MyriadX computes with halves",
        operators: &["DequantizeLinear"],
        rewrite: quantized::constant,
    },
    Lowering {
        name: "dequantized-tables",
        reason: "MyriadX computes with halves",
        operators: &["DequantizeLinear"],
        rewrite: quantized::looked_up,
    },
    Lowering {
        name: "dequantization-to-arithmetic",
        reason: COMPILER_LACKS,
        operators: &["DequantizeLinear"],
        rewrite: quantized::variable,
    },
];

/// What is rewritten of the small integers that are left, in order.
pub static SMALL: &[Lowering] = &[
    Lowering {
        name: "quantization-to-rounding",
        reason: COMPILER_LACKS,
        operators: &["QuantizeLinear"],
        rewrite: steps::rounded,
    },
    Lowering {
        name: "small-integers-cut-off",
        reason: "small integers are halves to the MYRIAD compiler, and keep what stands behind the point",
        operators: &["Cast"],
        rewrite: steps::cut_off,
    },
    Lowering {
        name: "truth-of-numbers-to-comparison",
        reason: IMPORTER_MISREADS,
        operators: &["Cast"],
        rewrite: steps::truth,
    },
    Lowering {
        name: "not-through-small-integers",
        reason: COMPILER_REFUSES,
        operators: &["Cast"],
        rewrite: steps::at_once,
    },
];
