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

/// What is rewritten for MyriadX, in order: an operator is written with operators that stand below it.
pub static MYRIAD: &[Lowering] = &[
    Lowering {
        name: "members-of-sequences",
        reason: IMPORTER_LACKS,
        operators: &["ConcatFromSequence", "SequenceAt", "SequenceLength"],
        rewrite: sequences::rewrite,
    },
    Lowering {
        name: "optional-values",
        reason: IMPORTER_LACKS,
        operators: &["OptionalGetElement", "OptionalHasElement"],
        rewrite: sequences::optional,
    },
    Lowering {
        name: "gated-activation-to-product",
        reason: IMPORTER_LACKS,
        operators: &["SwiGLU"],
        rewrite: activations::rewrite,
    },
    Lowering {
        name: "lower-activations",
        reason: IMPORTER_LACKS,
        operators: &["Gelu", "HardSwish", "Mish", "Swish"],
        rewrite: activations::rewrite,
    },
    Lowering {
        name: "steep-slope",
        reason: IMPORTER_REFUSES,
        operators: &["LeakyRelu"],
        rewrite: activations::rewrite,
    },
    Lowering {
        name: "lower-elu-kin",
        reason: COMPILER_LACKS,
        operators: &["Celu", "Selu"],
        rewrite: activations::rewrite,
    },
    Lowering {
        name: "lower-normalizations",
        reason: IMPORTER_LACKS,
        operators: &["GroupNormalization", "LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"],
        rewrite: normalization::rewrite,
    },
    Lowering {
        name: "batch-normalization-in-training",
        reason: IMPORTER_MISREADS,
        operators: &["BatchNormalization"],
        rewrite: normalization::trained,
    },
    Lowering {
        name: "lower-mean-variance",
        reason: COMPILER_REFUSES,
        operators: &["MeanVarianceNormalization"],
        rewrite: normalization::mean_variance,
    },
    Lowering {
        name: "bits-to-arithmetic",
        reason: IMPORTER_LACKS,
        operators: &["BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor"],
        rewrite: bits::rewrite,
    },
    Lowering {
        name: "sums-that-wrap-around",
        reason: "MyriadX computes with halves",
        operators: &["Add", "Sub"],
        rewrite: bits::sum,
    },
    Lowering {
        name: "written-rows-to-product",
        reason: IMPORTER_LACKS,
        operators: &["TensorScatter"],
        rewrite: caches::written,
    },
    Lowering {
        name: "rotation-to-products",
        reason: IMPORTER_LACKS,
        operators: &["RotaryEmbedding"],
        rewrite: rotary::standard,
    },
    Lowering {
        name: "attention-to-products",
        reason: IMPORTER_LACKS,
        operators: &["Attention"],
        rewrite: attention::standard,
    },
    Lowering {
        name: "instances-of-two-axes",
        reason: COMPILER_REFUSES,
        operators: &["InstanceNormalization"],
        rewrite: normalization::instances,
    },
    Lowering {
        name: "squares-as-products",
        reason: "the MYRIAD compiler has no layer for the normalization that OpenVINO makes of it",
        operators: &["Pow"],
        rewrite: normalization::squares,
    },
    Lowering { name: "fourier-to-product", reason: IMPORTER_LACKS, operators: &["DFT"], rewrite: fourier::whole },
    Lowering { name: "frames-to-convolution", reason: IMPORTER_LACKS, operators: &["STFT"], rewrite: fourier::frames },
    Lowering {
        name: "high-rank-matmul",
        reason: COMPILER_REFUSES,
        operators: &["MatMul"],
        rewrite: contractions::high_rank,
    },
    Lowering {
        name: "batch-of-vectors-as-matrices",
        reason: COMPILER_REFUSES,
        operators: &["MatMul"],
        rewrite: contractions::batch_of_vectors,
    },
    Lowering { name: "einsum-to-matmul", reason: IMPORTER_LACKS, operators: &["Einsum"], rewrite: einsum::rewrite },
    Lowering {
        name: "product-of-many-rows-and-sum",
        reason: "the time that the MYRIAD compiler takes for a product grows with the square of its rows",
        operators: &["Gemm"],
        rewrite: contractions::many_rows_and_sum,
    },
    Lowering {
        name: "product-of-many-rows-to-convolution",
        reason: "the time that the MYRIAD compiler takes for a product grows with the square of its rows",
        operators: &["MatMul"],
        rewrite: contractions::many_rows,
    },
    Lowering {
        name: "cumulative-sum-to-matmul",
        reason: COMPILER_LACKS,
        operators: &["CumSum"],
        rewrite: contractions::cumulative_sum,
    },
    Lowering {
        name: "assigned-block-to-pieces",
        reason: COMPILER_LACKS,
        operators: &["ScatterND"],
        rewrite: blocks::assigned,
    },
    Lowering {
        name: "scatter-to-arithmetic",
        reason: IMPORTER_MISREADS,
        operators: &["ScatterElements", "ScatterND"],
        rewrite: scatter::reduced,
    },
    Lowering {
        name: "reduction-of-no-axes",
        reason: IMPORTER_REFUSES,
        operators: &["ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"],
        rewrite: contractions::of_no_axes,
    },
    Lowering {
        name: "share-of-sum-of-magnitudes",
        reason: COMPILER_LACKS,
        operators: &["LpNormalization"],
        rewrite: normalization::shares,
    },
    Lowering {
        name: "lower-reductions",
        reason: COMPILER_LACKS,
        operators: &["ReduceL1", "ReduceProd"],
        rewrite: contractions::reduction,
    },
    Lowering {
        name: "recurrence-with-time-first",
        reason: IMPORTER_MISREADS,
        operators: &["GRU", "LSTM", "RNN"],
        rewrite: recurrent::time_first,
    },
    Lowering {
        name: "recurrence-of-one-direction",
        reason: COMPILER_REFUSES,
        operators: &["GRU", "LSTM", "RNN"],
        rewrite: recurrent::one_direction,
    },
    Lowering {
        name: "recurrence-step-by-step",
        reason: COMPILER_LACKS,
        operators: &["GRU", "LSTM", "RNN"],
        rewrite: recurrent::unrolled,
    },
    Lowering {
        name: "lstm-with-all-results",
        reason: COMPILER_REFUSES,
        operators: &["LSTM"],
        rewrite: recurrent::whole_lstm,
    },
    Lowering { name: "resize-to-matmul", reason: COMPILER_LACKS, operators: &["Resize"], rewrite: resize::rewrite },
    Lowering {
        name: "places-to-product",
        reason: IMPORTER_LACKS,
        operators: &["AffineGrid"],
        rewrite: sampling::places,
    },
    Lowering {
        name: "samples-to-lookups",
        reason: IMPORTER_LACKS,
        operators: &["GridSample"],
        rewrite: sampling::rewrite,
    },
    Lowering {
        name: "moved-taps-to-lookups",
        reason: IMPORTER_LACKS,
        operators: &["DeformConv"],
        rewrite: deformed::convolution,
    },
    Lowering {
        name: "regions-to-products",
        reason: IMPORTER_MISREADS,
        operators: &["RoiAlign"],
        rewrite: regions::rewrite,
    },
    Lowering {
        name: "regions-to-maxima",
        reason: IMPORTER_LACKS,
        operators: &["MaxRoiPool"],
        rewrite: regions::maxima,
    },
    Lowering {
        name: "turned-text-to-lookup",
        reason: COMPILER_REFUSES,
        operators: &["ReverseSequence"],
        rewrite: sequences::turned,
    },
    Lowering {
        name: "border-of-a-max-pool",
        reason: COMPILER_REFUSES,
        operators: &["MaxPool"],
        rewrite: pooling::padded_max_pool,
    },
    Lowering {
        name: "max-pool-of-a-copied-border",
        reason: "OpenVINO makes a border that never counts of a border of numbers before a pooling",
        operators: &["MaxPool"],
        rewrite: pooling::max_pool_of_padded,
    },
    Lowering {
        name: "determinant-to-products",
        reason: IMPORTER_LACKS,
        operators: &["Det"],
        rewrite: contractions::determinant,
    },
    Lowering { name: "lower-lp-pool", reason: IMPORTER_LACKS, operators: &["LpPool"], rewrite: pooling::lp_pool },
    Lowering { name: "dilated-max-pool", reason: IMPORTER_MISREADS, operators: &["MaxPool"], rewrite: maxima::dilated },
    Lowering {
        name: "max-pool-of-whole-windows",
        reason: IMPORTER_MISREADS,
        operators: &["MaxPool"],
        rewrite: pooling::complete_max_pool,
    },
    Lowering {
        name: "maxima-back-in-place",
        reason: IMPORTER_LACKS,
        operators: &["MaxUnpool"],
        rewrite: maxima::unpooled,
    },
    Lowering {
        name: "explicit-average-pool",
        reason: IMPORTER_MISREADS,
        operators: &["AveragePool"],
        rewrite: pooling::average_pool,
    },
    Lowering {
        name: "explicit-transposed-convolution",
        reason: IMPORTER_MISREADS,
        operators: &["ConvTranspose"],
        rewrite: pooling::convolution_output_shape,
    },
    Lowering {
        name: "columns-to-transposed-convolution",
        reason: IMPORTER_LACKS,
        operators: &["Col2Im"],
        rewrite: windows::columns_to_picture,
    },
    Lowering {
        name: "volumes-with-bias",
        reason: COMPILER_REFUSES,
        operators: &["Conv"],
        rewrite: windows::biased_volume,
    },
    Lowering {
        name: "computed-kernel-to-product",
        reason: COMPILER_REFUSES,
        operators: &["Conv"],
        rewrite: windows::computed_kernel,
    },
    Lowering {
        name: "transposed-convolution-of-planes",
        reason: COMPILER_REFUSES,
        operators: &["ConvTranspose"],
        rewrite: volumes::transposed,
    },
    Lowering {
        name: "flat-transposed-convolution",
        reason: COMPILER_REFUSES,
        operators: &["ConvTranspose"],
        rewrite: pooling::flat_transposed_convolution,
    },
    Lowering {
        name: "softmax-along-one-axis",
        reason: IMPORTER_MISREADS,
        operators: &["Hardmax", "LogSoftmax", "Softmax"],
        rewrite: shapes::coerced_softmax,
    },
    Lowering { name: "triangle-to-mask", reason: IMPORTER_LACKS, operators: &["Trilu"], rewrite: shapes::triangle },
    Lowering {
        name: "cast-like-to-cast",
        reason: IMPORTER_LACKS,
        operators: &["CastLike"],
        rewrite: shapes::cast_like,
    },
    Lowering {
        name: "joined-with-nothing",
        reason: COMPILER_REFUSES,
        operators: &["Concat"],
        rewrite: pieces::joined_with_nothing,
    },
    Lowering {
        name: "joined-again-as-one-dimension",
        reason: COMPILER_REFUSES,
        operators: &["Concat"],
        rewrite: pieces::joined_again,
    },
    Lowering {
        name: "expanded-to-repeated",
        reason: "OpenVINO gives what is not expanded to all readers of an expanded value, if one is arithmetic",
        operators: &["Expand"],
        rewrite: pieces::expanded,
    },
    Lowering {
        name: "joined-copy-of-an-input",
        reason: COMPILER_REFUSES,
        operators: &["Concat"],
        rewrite: pieces::joined_input,
    },
    Lowering {
        name: "joined-constants-to-sum",
        reason: "the CPU device of OpenVINO, which conversions are proven with, loses constants that are joined with values",
        operators: &["Concat"],
        rewrite: shapes::joined_constants,
    },
    Lowering {
        name: "wrapped-padding-to-lookup",
        reason: IMPORTER_LACKS,
        operators: &["Pad"],
        rewrite: edges::wrapped,
    },
    Lowering { name: "endless-padding-to-sum", reason: COMPILER_REFUSES, operators: &["Pad"], rewrite: edges::endless },
    Lowering {
        name: "centred-cut-to-slice",
        reason: IMPORTER_LACKS,
        operators: &["CenterCropPad"],
        rewrite: edges::centred,
    },
    Lowering {
        name: "negative-padding-to-slice",
        reason: COMPILER_REFUSES,
        operators: &["Pad"],
        rewrite: shapes::negative_padding,
    },
    Lowering {
        name: "padding-of-few-axes",
        reason: COMPILER_REFUSES,
        operators: &["Pad"],
        rewrite: shapes::padding_rank,
    },
    Lowering {
        name: "reflection-of-long-axes",
        reason: IMPORTER_REFUSES,
        operators: &["Pad"],
        rewrite: shapes::reflection,
    },
    Lowering {
        name: "squeeze-of-named-axes",
        reason: IMPORTER_MISREADS,
        operators: &["Squeeze"],
        rewrite: shapes::squeezed_axes,
    },
    Lowering {
        name: "slices-with-axes",
        reason: IMPORTER_MISREADS,
        operators: &["Slice"],
        rewrite: shapes::named_axes,
    },
    Lowering {
        name: "without-empty-inputs",
        reason: IMPORTER_REFUSES,
        operators: &["Clip", "Conv", "Gemm", "Pad", "ReduceSum", "Resize", "Slice", "Squeeze"],
        rewrite: shapes::without_empty,
    },
    Lowering {
        name: "positive-axis",
        reason: COMPILER_REFUSES,
        operators: &["GatherElements"],
        rewrite: shapes::positive_axis,
    },
    Lowering {
        name: "positive-indices",
        reason: IMPORTER_MISREADS,
        operators: &["Gather", "GatherElements"],
        rewrite: shapes::positive_indices,
    },
    Lowering {
        name: "remainder-to-quotient",
        reason: COMPILER_LACKS,
        operators: &["Mod"],
        rewrite: remainders::remainder,
    },
    Lowering {
        name: "last-extreme-from-the-end",
        reason: COMPILER_LACKS,
        operators: &["ArgMax", "ArgMin"],
        rewrite: remainders::last_extreme,
    },
    Lowering {
        name: "one-hot-of-positive-indices",
        reason: IMPORTER_MISREADS,
        operators: &["OneHot"],
        rewrite: remainders::one_hot,
    },
    Lowering {
        name: "form-of-indices-after-lookup",
        reason: COMPILER_REFUSES,
        operators: &["Gather"],
        rewrite: whole::formed_indices,
    },
    Lowering { name: "powers-of-whole-numbers", reason: COMPILER_REFUSES, operators: &["Pow"], rewrite: whole::power },
    Lowering {
        name: "whole-numbers-through-floats",
        reason: COMPILER_REFUSES,
        operators: &[
            "ArgMax",
            "ArgMin",
            "Clip",
            "Expand",
            "Greater",
            "GreaterOrEqual",
            "Less",
            "LessOrEqual",
            "Pad",
            "ReduceMax",
            "ReduceMin",
            "Relu",
            "Tile",
            "TopK",
        ],
        rewrite: whole::through_floats,
    },
    Lowering {
        name: "reduction-of-a-copied-piece",
        reason: "the CPU device of OpenVINO, which conversions are proven with, misreads pieces of values that it reduces",
        operators: &["ReduceLogSum", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"],
        rewrite: pieces::reduced_piece,
    },
    Lowering {
        name: "pooling-of-a-copied-piece",
        reason: "the CPU device of OpenVINO, which conversions are proven with, misreads pieces of values that it pools",
        operators: &["AveragePool"],
        rewrite: pieces::pooled_piece,
    },
    Lowering {
        name: "transposed-convolution-of-a-copied-piece",
        reason: "the CPU device of OpenVINO, which conversions are proven with, misreads pieces of values that are convolved",
        operators: &["ConvTranspose"],
        rewrite: pieces::transposed_piece,
    },
    Lowering {
        name: "normalization-of-a-copied-piece",
        reason: "the CPU device of OpenVINO, which conversions are proven with, does not normalize pieces of values",
        operators: &["LRN"],
        rewrite: pieces::normalized_piece,
    },
    Lowering {
        name: "length-to-root-of-squares",
        reason: "the CPU device of OpenVINO, which conversions are proven with, miscounts lengths that are its own layer",
        operators: &["ReduceL2"],
        rewrite: normalization::length,
    },
    Lowering {
        name: "reduction-of-a-copied-convolution",
        reason: COMPILER_REFUSES,
        operators: &["ReduceLogSum", "ReduceMax", "ReduceMean", "ReduceSum"],
        rewrite: pieces::reduced_channels,
    },
    Lowering {
        name: "scatter-to-concatenation",
        reason: COMPILER_LACKS,
        operators: &["ScatterND"],
        rewrite: scatter::replaced,
    },
    Lowering {
        name: "sum-of-one",
        reason: IMPORTER_MISREADS,
        operators: &["Max", "Mean", "Min", "Sum"],
        rewrite: shapes::sum_of_one,
    },
    Lowering {
        name: "lower-comparisons",
        reason: COMPILER_REFUSES,
        operators: &["GreaterOrEqual", "LessOrEqual", "Or", "Xor"],
        rewrite: comparisons::rewrite,
    },
    Lowering {
        name: "lower-special-numbers",
        reason: IMPORTER_LACKS,
        operators: &["IsInf", "IsNaN"],
        rewrite: comparisons::special,
    },
    Lowering {
        name: "lower-signs",
        reason: COMPILER_LACKS,
        operators: &["Sign", "Softsign"],
        rewrite: comparisons::sign,
    },
    Lowering {
        name: "curves-to-series",
        reason: COMPILER_LACKS,
        operators: &["Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cos", "Cosh", "Sin", "Sinh", "Tan"],
        rewrite: curves::rewrite,
    },
    Lowering {
        name: "absolute-value-to-maximum",
        reason: COMPILER_LACKS,
        operators: &["Abs"],
        rewrite: comparisons::absolute,
    },
];
