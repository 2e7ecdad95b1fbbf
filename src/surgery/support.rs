//! Which operators the tools for MyriadX cannot take.
//!
//! Owns tables of measured facts about OpenVINO 2021.4.2: what the ONNX importer of the Inference Engine knows, what
//! the Model Optimizer knows, and what the MYRIAD compiler has no layer for. Only what surely fails is
//! refused; the tools have the last word on everything else. How the facts were measured: every operator of ONNX's
//! domains in a model of its own, and the node tests of the onnx package, through both front ends and the compiler, and
//! what was compiled was computed on OpenVINO's CPU device beside ONNX Runtime: what is read wrongly is refused too.

mod counted;
mod left;

use std::collections::HashSet;

use self::counted::Counted;
use super::lower::opset::{self, OldForms};
use crate::onnx::proto::{GraphProto, NodeProto};
use crate::onnx::{self, Facts, Model, NodeLabel, Reads, is_onnx_domain, node_label, subgraphs};

/// What reads the ONNX model on the way to the MYRIAD compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontEnd {
    /// The importer inside the Inference Engine.
    Importer,
    /// The Model Optimizer, `mo`.
    ModelOptimizer,
}

impl FrontEnd {
    const fn other(self) -> Self {
        match self {
            Self::Importer => Self::ModelOptimizer,
            Self::ModelOptimizer => Self::Importer,
        }
    }

    /// The forms of nodes that are read.
    const fn forms(self) -> OldForms {
        match self {
            Self::Importer => OldForms::Importer,
            Self::ModelOptimizer => OldForms::Optimizer,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Importer => "the ONNX importer of the Inference Engine",
            Self::ModelOptimizer => "the Model Optimizer",
        }
    }
}

/// A node that the tools cannot take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The operator and the name of the node.
    pub node: NodeLabel,
    /// Why it cannot be taken, as a fragment that names the tool.
    pub reason: String,
    /// What the user can do, most useful first.
    pub advice: Vec<String>,
}

/// How many values are looked at for those of which people know.
const MOST_SEEN: usize = 1000;

/// Lists the nodes of a model that surely fail on the way to a MyriadX blob, in the order of the graph.
pub fn unsupported(model: &Model, front_end: FrontEnd) -> Vec<Refusal> {
    unsupported_among(model, front_end, &|_| true)
}

/// The same for a rewritten model, where people know only the values of which `is_known` says so: advice names these.
pub fn unsupported_among(model: &Model, front_end: FrontEnd, is_known: &dyn Fn(&str) -> bool) -> Vec<Refusal> {
    let graph = model.graph();
    let reads = Reads::of(graph);
    let live = reads.live_nodes(graph);
    let mut variable: HashSet<&str> = graph_inputs(model);
    // What is computed from the results of refused nodes.
    let mut lost: HashSet<&str> = HashSet::new();
    let mut refusals = Vec::new();
    let counted = Counted::of(model, &varying(model));
    let facts = Facts::of(model);
    let newer: HashSet<usize> = opset::without_old_form(model, front_end.forms()).into_iter().collect();
    for (place, (node, live)) in graph.node.iter().zip(live).enumerate() {
        let varies = depends(node, &variable);
        if varies {
            variable.extend(node.output.iter().map(String::as_str));
        }
        // The Model Optimizer turns the results of dead nodes into outputs.
        let compiled = varies && (live || front_end == FrontEnd::ModelOptimizer);
        let reason = unreadable(node, front_end)
            .or_else(|| newer.contains(&place).then(|| too_new(front_end)))
            .map(|reason| left::reason(node, model, &reads, &facts).unwrap_or(reason))
            .or_else(|| misread(node, &reads))
            .or_else(|| if compiled { uncompilable(node, front_end) } else { None })
            .or_else(|| padded(node, &counted, &facts));
        let is_behind = node.input.iter().any(|input| lost.contains(input.as_str()));
        if is_behind || reason.is_some() {
            lost.extend(node.output.iter().map(String::as_str).filter(|output| !output.is_empty()));
        }
        if let Some(reason) = reason {
            let mut advice = advice(node, front_end, compiled);
            if matches!(node.op_type(), "If" | "Loop" | "Range") {
                advice.extend(decide(model, &reads, node));
            }
            let is_counted = node.input.first().is_some_and(|input| counted.has(input));
            if is_counted && matches!(node.op_type(), "If" | "Loop" | "Pad") {
                // The other front end would read it, and the compiler is the same.
                advice.retain(|_| node.op_type() != "Pad");
                let before = counted.before.iter().flat_map(|value| known_before(model, &reads, value, is_known));
                advice.extend(counted::advice(before));
            } else if !is_behind {
                // A network that ends before a later node would still have this one.
                let before = node.input.iter().filter(|input| variable.contains(input.as_str()));
                advice.extend(end_before(before.flat_map(|value| known_before(model, &reads, value, is_known))));
            }
            refusals.push(Refusal { node: node_label(node), reason, advice });
        }
        subgraphs(node).for_each(|graph| nested(graph, front_end, &mut refusals));
    }
    refusals
}

/// Lists what depends on what the network is fed.
fn varying(model: &Model) -> HashSet<&str> {
    let mut variable = graph_inputs(model);
    for node in &model.graph().node {
        if depends(node, &variable) {
            variable.extend(node.output.iter().map(String::as_str));
        }
    }
    variable
}

/// Reading is by name, so it fails in nested graphs too.
fn nested(graph: &GraphProto, front_end: FrontEnd, refusals: &mut Vec<Refusal>) {
    for node in &graph.node {
        if let Some(reason) = unreadable(node, front_end) {
            refusals.push(Refusal { node: node_label(node), reason, advice: own_advice(node).into_iter().collect() });
        }
        subgraphs(node).for_each(|graph| nested(graph, front_end, refusals));
    }
}

fn graph_inputs(model: &Model) -> HashSet<&str> {
    let real = model.inputs();
    let inputs = model.graph().input.iter().map(|input| input.name());
    inputs.filter(|name| real.iter().any(|input| input.name == *name)).collect()
}

/// Returns whether the results of a node depend on what the network is fed. Shapes do not: they are bound by then.
fn depends(node: &NodeProto, variable: &HashSet<&str>) -> bool {
    let is_shape = is_onnx_domain(node.domain()) && matches!(node.op_type(), "Shape" | "Size");
    let reads_variable = || node.input.iter().any(|input| variable.contains(input.as_str()));
    // Nested graphs read from outside in ways that are not worth following for a conservative answer.
    !is_shape && reads_variable()
}

/// Why a front end cannot read a node, if so.
fn unreadable(node: &NodeProto, front_end: FrontEnd) -> Option<String> {
    let tool = front_end.as_str();
    let domain = node.domain();
    let knows = |names: &str| names.split(' ').any(|name| name.eq_ignore_ascii_case(node.op_type()));
    match front_end {
        FrontEnd::Importer if domain == "ai.onnx" => {
            Some(format!("{tool} does not know the domain `ai.onnx` by this spelling"))
        }
        FrontEnd::Importer if domain == OPENVINO_DOMAIN => None,
        FrontEnd::Importer if !domain.is_empty() => {
            Some(format!("{tool} does not know operators of the domain `{domain}`"))
        }
        FrontEnd::Importer if !knows(IMPORTER_KNOWS) => Some(format!("{tool} does not know this operator")),
        FrontEnd::ModelOptimizer if !knows(OPTIMIZER_KNOWS) => Some(format!("{tool} does not know this operator")),
        FrontEnd::Importer | FrontEnd::ModelOptimizer => None,
    }
}

fn too_new(front_end: FrontEnd) -> String {
    let newest = front_end.forms().newest();
    format!("{} reads opset {newest} at most, in which this node has no form", front_end.as_str())
}

/// Why the tools would compute something else than the node says, if so. What can be said otherwise has been rewritten.
fn misread(node: &NodeProto, reads: &Reads<'_>) -> Option<String> {
    if !is_onnx_domain(node.domain()) {
        return None;
    }
    let attribute = |name: &str| node.attribute.iter().find(|attribute| attribute.name() == name);
    let integer = |name: &str| attribute(name).and_then(|attribute| attribute.i);
    let dilated = attribute("dilations").is_some_and(|dilations| dilations.ints.iter().any(|value| *value != 1));
    let is_read = |output: &String| !reads.readers(output).is_empty() || reads.is_output(output);
    let what = match node.op_type() {
        "MaxPool" if node.output.get(1).is_some_and(is_read) => "the wish for the indices of a pooling",
        "AveragePool" | "LpPool" | "MaxPool" if dilated => "dilations of a pooling",
        "AveragePool" if integer("ceil_mode") == Some(1) && integer("count_include_pad") == Some(1) => {
            "incomplete windows whose padding counts"
        }
        "ConvTranspose" if attribute("output_shape").is_some() => "`output_shape`",
        "GRU" | "LSTM" | "RNN" if integer("layout") == Some(1) => "a layout with the batch first",
        "LSTM" if node.input.get(7).is_some_and(|peepholes| !peepholes.is_empty()) => "peepholes",
        "LSTM" if has_odd_functions(node) => "the activations and limits of this layer",
        "Resize" if integer("antialias") == Some(1) => "`antialias`",
        "ScatterElements" | "ScatterND"
            if attribute("reduction").is_some_and(|reduction| reduction.s() != b"none".as_slice()) =>
        {
            "a reduction"
        }
        _ => return None,
    };
    Some(format!("OpenVINO ignores {what}, and would compute something else"))
}

/// Whether an LSTM has other functions than the usual ones. Measured: the compiler makes the same blob of it, whatever they are.
fn has_odd_functions(node: &NodeProto) -> bool {
    const USUAL: [&str; 3] = ["Sigmoid", "Tanh", "Tanh"];
    let is_odd = |(place, name): (usize, &bytes::Bytes)| {
        USUAL.get(place % USUAL.len()).is_none_or(|usual| !name.eq_ignore_ascii_case(usual.as_bytes()))
    };
    node.attribute.iter().any(|attribute| match attribute.name() {
        "activations" => attribute.strings.iter().enumerate().any(is_odd),
        "clip" => attribute.f.is_some_and(|limit| limit > 0.0),
        "input_forget" => attribute.i == Some(1),
        _ => false,
    })
}

/// Why the compiler cannot take a node that is left in the network, if so.
fn uncompilable(node: &NodeProto, front_end: FrontEnd) -> Option<String> {
    if !is_onnx_domain(node.domain()) {
        return None;
    }
    let operator = node.op_type();
    if operator == "Range" {
        return Some("the MYRIAD compiler has no values whose size depends on what the network is fed".to_owned());
    }
    if let Some((_, layer)) = COMPILER_LACKS.iter().find(|(name, _)| *name == operator) {
        return Some(format!("the MYRIAD compiler has no layer {layer}"));
    }
    let (_, layer) = IMPORTED_AS.iter().find(|(name, _)| *name == operator && front_end == FrontEnd::Importer)?;
    Some(format!("the MYRIAD compiler has no layer {layer}, as which the ONNX importer reads it"))
}

/// Why the compiler cannot fill up values whose number depends on what the network is fed, if a node does that.
fn padded(node: &NodeProto, counted: &Counted<'_>, facts: &Facts<'_>) -> Option<String> {
    let input = node.input.first().filter(|input| node.op_type() == "Pad" && counted.has(input))?;
    facts
        .sizes(input)
        .is_none()
        .then(|| "the MYRIAD compiler pads no values whose number depends on what the network is fed".to_owned())
}

fn advice(node: &NodeProto, front_end: FrontEnd, compiled: bool) -> Vec<String> {
    let mut advice: Vec<String> = own_advice(node).into_iter().collect();
    let other = front_end.other();
    if unreadable(node, other).is_none() && !(compiled && uncompilable(node, other).is_some()) {
        advice.push(format!("let {} read the model instead", other.as_str()));
    }
    advice
}

/// Returns advice to fix the inputs that decide a branch, a number of rounds or a size, if they are no pictures or the like.
fn decide(model: &Model, reads: &Reads<'_>, node: &NodeProto) -> Option<String> {
    let nodes = &model.graph().node;
    // A loop is decided by its number of rounds and its first condition, a branch by its condition.
    let count = match node.op_type() {
        "If" => 1,
        "Loop" => 2,
        _ => node.input.len(),
    };
    let mut waiting: Vec<&str> = node.input.iter().take(count).map(String::as_str).collect();
    let mut found: HashSet<&str> = HashSet::new();
    while let Some(name) = waiting.pop() {
        if found.insert(name) {
            let producer = reads.producer(name).and_then(|place| nodes.get(place));
            waiting.extend(producer.iter().flat_map(|node| &node.input).map(String::as_str));
        }
    }
    let inputs = model.inputs();
    let deciding: Vec<_> = inputs.iter().filter(|input| found.contains(input.name.as_str())).collect();
    let is_switch = |input: &&onnx::Value| input.element().is_some_and(|element| !element.is_float());
    if deciding.is_empty() || !deciding.iter().all(is_switch) {
        return None;
    }
    let names: Vec<String> = deciding.iter().map(|input| format!("`{}`", input.name)).collect();
    Some(format!("fix what decides it: give a `frozen_value` to {}", names.join(" and ")))
}

/// Returns advice to end the network before a node, if anything is computed before it.
fn end_before<'model>(before: impl Iterator<Item = &'model str>) -> Option<String> {
    let before = counted::listed(before);
    (!before.is_empty()).then(|| format!("end the network before it, with the outputs {before}"))
}

/// Returns the values of which people know that `value` is, or is computed of directly: rewritings make others. What the
/// network is fed is no place to end it at.
fn known_before<'model>(
    model: &'model Model,
    reads: &Reads<'model>,
    value: &'model str,
    is_known: &dyn Fn(&str) -> bool,
) -> Vec<&'model str> {
    let inputs = graph_inputs(model);
    let (mut found, mut seen, mut waiting) = (Vec::new(), HashSet::new(), vec![value]);
    while let Some(name) = waiting.pop().filter(|_| seen.len() < MOST_SEEN) {
        let Some(maker) = reads.producer(name).and_then(|place| model.graph().node.get(place)) else { continue };
        if !seen.insert(name) || inputs.contains(name) {
            continue;
        }
        if is_known(name) {
            found.push(name);
        } else {
            waiting.extend(maker.input.iter().rev().filter(|input| !input.is_empty()).map(String::as_str));
        }
    }
    found
}

/// What can be done about an operator, whatever the graph around it.
fn own_advice(node: &NodeProto) -> Option<String> {
    let operator = node.op_type();
    if node.domain() == "ai.onnx.ml" {
        return Some("leave the classical estimator out of the export and run it on the host".into());
    }
    if node.domain() == "com.microsoft" {
        return Some("export without ONNX Runtime's own optimizations and quantization".into());
    }
    if node.domain().starts_with("ai.onnx.preview.training") {
        return Some("export the model for inference, not for training".into());
    }
    if !is_onnx_domain(node.domain()) {
        return Some("export the model with ONNX's own operators only".into());
    }
    if let Some((_, opset)) = YOUNG.iter().find(|(name, _)| *name == operator) {
        return Some(format!("export with opset {}, in which exporters write it with simpler operators", opset - 1));
    }
    if let Some((_, advice)) = FORMS.iter().find(|(name, _)| *name == operator) {
        return Some((*advice).into());
    }
    if QUANTIZED.contains(&operator) {
        return Some("convert the model from before its quantization; MyriadX computes in FP16".into());
    }
    if matches!(operator, "If" | "Scan") {
        return Some("export with fixed shapes and a model simplifier, which decide constant conditions".into());
    }
    None
}

/// The domain of the vendor's own operators, which the importer knows.
const OPENVINO_DOMAIN: &str = "org.openvinotoolkit";

/// The operators that the importer knows in ONNX's own domain, apart by spaces; some older ones, and some of the vendor's, are
/// found there too.
const IMPORTER_KNOWS: &str = "\
    ATen Abs Acos Acosh Add Affine And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization \
    BitShift Cast Ceil Celu Clip Compress Concat Constant ConstantFill ConstantOfShape Conv ConvTranspose Cos \
    Cosh Crop CumSum DeformableConv2D DepthToSpace DequantizeLinear DetectionOutput Div Dropout \
    DynamicQuantizeLinear Elu Equal Erf Exp Expand ExperimentalDetectronDetectionOutput \
    ExperimentalDetectronGenerateProposalsSingleImage ExperimentalDetectronGroupNorm \
    ExperimentalDetectronPriorGridGenerator ExperimentalDetectronROIFeatureExtractor \
    ExperimentalDetectronTopKROIs EyeLike FakeQuantize Flatten Floor GRU Gather GatherElements GatherND Gemm \
    GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GroupNorm HardSigmoid Hardmax Identity \
    ImageScaler InstanceNormalization LRN LSTM LeakyRelu Less LessOrEqual Log LogSoftmax Loop LpNormalization \
    MatMul Max MaxPool Mean MeanVarianceNormalization Min Mod Mul Neg NegativeLogLikelihoodLoss \
    NonMaxSuppression NonZero Normalize Not OneHot Or PRelu Pad Pow PriorBox PriorBoxClustered QuantizeLinear \
    RNN Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin \
    ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence RoiAlign Round Scatter \
    ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax SoftmaxCrossEntropyLoss \
    Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu Tile TopK Transpose \
    Unsqueeze Upsample Where Xor";

/// The operators that the Model Optimizer knows, whatever their domain: those that it extracts, those that it replaces before
/// it has to, and those of its own that it infers.
const OPTIMIZER_KNOWS: &str = "\
    ATen Abs Accum Acos Acosh Activation AdaptiveAvgPooling Add Affine And ArgMax ArgMin Asin Asinh Assert \
    Assign Atan Atanh AttributedClamp AttributedGather AttributedLRN AttributedPad AttributedPower \
    AttributedRoll AttributedSlice AttributedTile AveragePool Axpy BN BatchNormalization BatchToSpace \
    Binarization BlockLSTM Broadcast Bucketize CTCGreedyDecoder CTCGreedyDecoderSeqLen CTCLoss CaffeSlice Cast \
    Ceil Clamp Clip Concat Const Constant ConstantFill ConstantOfShape Conv ConvTranspose ConvertLike \
    Convolution Correlation Cos Cosh Crop CumSum DataAugmentation Deconvolution DeformableConv2D \
    DeformableConvolution DepthToSpace DequantizeLinear DetectionOutput Div Dropout Einsum Eltwise EltwiseN \
    EltwiseNin1 Elu Enter Equal Erf Exit Exp Expand ExpandDims ExperimentalDetectronDetectionOutput \
    ExperimentalDetectronGenerateProposalsSingleImage ExperimentalDetectronGroupNorm \
    ExperimentalDetectronPriorGridGenerator ExperimentalDetectronROIFeatureExtractor \
    ExperimentalDetectronTopKROIs ExtractImagePatches FakeOutput FakeQuantize Fill Flatten FlattenONNX Floor \
    FullyConnected GRN GRU GRUCell Gather GatherElements GatherND GatherTree Gelu Gemm GlobalAveragePool \
    GlobalMaxPool Greater GreaterOrEqual GroupNorm HardSigmoid Identity IdentityN ImageScaler \
    InstanceNormalization Interp Interpolate LRN LSTM LSTMCell LSTMSequence LeakyReLU LeakyRelu Less LessOrEqual \
    Log LogSoftmax LogSoftmaxONNX LookupTableInsert Loop LpNormalization LstmNonLinearity MVN MVNCaffe MVNOnnx \
    MXFFT MXNetCumSum MXRepeat MXReshape MXSlice MatMul Max MaxPool MeanVarianceNormalization Memory \
    MemoryOffset Merge Min Mul Neg NextIteration NonMaxSuppression NonZero Normalize NormalizeL2 Not ONNXPad \
    ONNXResize10 ONNXResize11 OneHot Or PReLU PRelu PSROIPooling Pack Pad Parameter Permute Pooling PoolingV2 \
    Pow PowerFile PredictionHeatmap PriorBox PriorBoxClustered Proposal QuantizeLinear RNN RNNCell ROIAlign \
    ROIPooling Range Rank ReadValue Reciprocal ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd \
    ReduceSum RegionYolo Relu ReorgYolo Reshape Resize Result Reverse ReverseSequence RoiAlign Roll Round Scale \
    ScaleShift Scatter ScatterElements ScatterND Select Shape ShapeOf ShuffleChannels Sigmoid Sign SimplerNMS \
    Sin Sinh Size Slice SoftMax SoftMaxONNX Softmax Softplus Softsign SpaceToBatch SpaceToDepth \
    SparseFillEmptyRows SparseReshape SparseSegmentMean SparseSegmentSqrtN SparseSegmentSum SpatialTransformer \
    Splice Split Sqrt Squeeze StopGradient StridedSlice Sub Sum SwapAxis Swish Switch TFFFT TFPad TFResize \
    TFSlice Tan Tanh TensorArrayGatherV3 TensorArrayReadV3 TensorArrayScatterV3 TensorArraySizeV3 TensorArrayV3 \
    TensorArrayWriteV3 TensorIterator TensorIteratorBackEdge TensorIteratorCondition TensorIteratorInput \
    TensorIteratorOutput ThresholdedRelu Tile TopK Transpose Unique Unsqueeze Upsample Where Xor \
    _contrib_box_nms batchNormInference copy pnorm slice_like tdnncomponent timeheightconvolutioncomponent";

/// What the compiler has no layer for, through either front end: the operator, and the layer it asks for.
const COMPILER_LACKS: &[(&str, &str)] = &[
    ("Abs", "Abs"),
    ("Acos", "Acos"),
    ("Acosh", "Acosh"),
    ("Asin", "Asin"),
    ("Asinh", "Asinh"),
    ("Atan", "Atan"),
    ("Atanh", "Atanh"),
    ("Cos", "Cos"),
    ("Cosh", "Cosh"),
    ("CumSum", "CumSum"),
    ("HardSigmoid", "HardSigmoid"),
    ("QuantizeLinear", "FakeQuantize"),
    ("ReduceL1", "Abs"),
    ("ReduceProd", "ReduceProd"),
    ("ScatterND", "ScatterNDUpdate"),
    ("Selu", "Selu"),
    ("Sign", "Sign"),
    ("Sin", "Sin"),
    ("Sinh", "Sinh"),
    ("Softsign", "Abs"),
    ("Tan", "Tan"),
];

/// What the importer turns into layers that the compiler does not have, and the Model Optimizer may not.
const IMPORTED_AS: &[(&str, &str)] = &[("GRU", "GRUSequence"), ("RNN", "RNNSequence")];

/// Operators that exporters avoid if asked for an older opset: the operator, and the opset that brought it.
const YOUNG: &[(&str, i64)] = &[
    ("Attention", 23),
    ("CastLike", 15),
    ("CenterCropPad", 18),
    ("Gelu", 20),
    ("GroupNormalization", 18),
    ("HardSwish", 14),
    ("LayerNormalization", 17),
    ("Mish", 18),
    ("RMSNormalization", 23),
    ("RotaryEmbedding", 23),
    ("Trilu", 14),
];

/// Operators of which some forms can be written otherwise: the operator, and what the form has to be.
const FORMS: &[(&str, &str)] = &[
    ("DFT", "let the length and the axis of the transform be constants"),
    ("RoiAlign", "give it a `sampling_ratio` of 1 or more, the mode `avg` and a single batch, or `output_half_pixel`"),
    ("STFT", "let the step, the window and the length of the frames be constants"),
    ("ScatterElements", "let its indices be constants: what is added to known places can be written otherwise"),
    ("ScatterND", "let its indices be constants: what is written to known places can be written otherwise"),
];

/// Operators of quantized networks.
const QUANTIZED: &[&str] =
    &["ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul", "QuantizeLinear"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::tests::builder::{self, FLOAT, Graph, Node, Tensor, sizes};

    fn network(nodes: &[Node], last: &str) -> Model {
        let graph = Graph::new()
            .input("x", FLOAT, &sizes(&[2]))
            .initializer(Tensor::floats("w", &[2], &[1.0, 2.0]))
            .output(last, FLOAT, &sizes(&[2]));
        let graph = nodes.iter().cloned().fold(graph, Graph::node);
        Model::parse(builder::Model::new(graph).domain("com.microsoft", 1).domain("odd", 1).bytes().into()).unwrap()
    }

    fn reasons(model: &Model, front_end: FrontEnd) -> Vec<String> {
        unsupported(model, front_end)
            .into_iter()
            .map(|refusal| format!("{}: {}", refusal.node, refusal.reason))
            .collect()
    }

    #[test]
    fn tables_are_sorted_and_agree() {
        let names: Vec<&str> = COMPILER_LACKS.iter().map(|(name, _)| *name).collect();
        let young: Vec<&str> = YOUNG.iter().map(|(name, _)| *name).collect();
        let known = |names: &'static str| names.split(' ').collect::<Vec<_>>();
        let (importer, optimizer) = (known(IMPORTER_KNOWS), known(OPTIMIZER_KNOWS));
        let forms: Vec<&str> = FORMS.iter().map(|(name, _)| *name).collect();
        for table in [&importer, &optimizer, QUANTIZED, &names, &young, &forms] {
            assert!(table.is_sorted_by(|left, right| left < right), "{table:?}");
        }
        for name in young {
            assert!(!importer.contains(&name), "{name}");
        }
    }

    #[test]
    fn nodes_are_refused_by_what_is_known_of_each_tool() {
        let node = |operator: &str| Node::new(operator, &["a"], &["y"]).named("n");
        let cases = [
            (node("Relu"), None, None),
            (node("NonMaxSuppression"), None, None),
            (node("Range"), Some("has no values whose size depends"), Some("has no values whose size depends")),
            (node("DequantizeLinear"), None, None),
            (node("HardSwish"), Some("does not know this operator"), Some("does not know this operator")),
            (node("Einsum"), Some("does not know this operator"), None),
            (node("Celu"), None, Some("does not know this operator")),
            (node("Abs"), Some("has no layer Abs"), Some("has no layer Abs")),
            (node("QuantizeLinear"), Some("has no layer FakeQuantize"), Some("has no layer FakeQuantize")),
            (node("GRU"), Some("has no layer GRUSequence"), None),
            (node("Relu").domain("ai.onnx"), Some("by this spelling"), None),
            (node("FusedConv").domain("com.microsoft"), Some("domain `com.microsoft`"), Some("this operator")),
            (node("Relu").domain("odd"), Some("domain `odd`"), None),
            (node("EfficientNMS_TRT").domain("TRT"), Some("domain `TRT`"), Some("does not know this operator")),
            (node("Whatever"), Some("does not know this operator"), Some("does not know this operator")),
            (node("FakeQuantize"), None, None),
            (node("ZipMap").domain("ai.onnx.ml"), Some("domain `ai.onnx.ml`"), Some("does not know this operator")),
            (node("Swish").domain(OPENVINO_DOMAIN), None, None),
        ];
        for (node, importer, optimizer) in cases {
            let model = network(&[Node::new("Relu", &["x"], &["a"]), node], "y");
            for (front_end, expected) in [(FrontEnd::Importer, importer), (FrontEnd::ModelOptimizer, optimizer)] {
                let found = reasons(&model, front_end);
                match expected {
                    None => assert_eq!(found, [""; 0]),
                    Some(expected) => {
                        assert_eq!(found.len(), 1, "{expected}");
                        assert!(found[0].contains("`n`") && found[0].contains(expected), "{found:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn constants_and_dead_nodes_are_not_compiled() {
        let folded = [Node::new("Abs", &["w"], &["k"]), Node::new("Mul", &["x", "k"], &["y"])];
        let shape = [
            Node::new("Shape", &["x"], &["s"]),
            Node::new("ReduceProd", &["s"], &["p"]),
            Node::new("Reshape", &["x", "p"], &["y"]),
        ];
        for nodes in [&folded[..], &shape[..]] {
            for front_end in [FrontEnd::Importer, FrontEnd::ModelOptimizer] {
                assert_eq!(unsupported(&network(nodes, "y"), front_end), []);
            }
        }
        let dead = network(&[Node::new("Relu", &["x"], &["y"]), Node::new("Tan", &["x"], &["d"])], "y");
        assert_eq!(unsupported(&dead, FrontEnd::Importer), []);
        assert_eq!(reasons(&dead, FrontEnd::ModelOptimizer), ["Tan `d`: the MYRIAD compiler has no layer Tan"]);
        // Reading is by name: a constant does not help.
        let read = network(&[Node::new("HardSwish", &["w"], &["k"]), Node::new("Mul", &["x", "k"], &["y"])], "y");
        assert_eq!(reasons(&read, FrontEnd::Importer).len(), 1);
    }

    #[test]
    fn a_network_can_only_end_before_the_first_refused_nodes() {
        let nodes = [
            Node::new("Relu", &["x"], &["a"]),
            Node::new("HardSwish", &["a"], &["b"]),
            Node::new("Relu", &["b"], &["c"]),
            Node::new("HardSwish", &["c"], &["d"]),
            Node::new("Mish", &["a"], &["e"]),
            Node::new("Add", &["d", "e"], &["y"]),
        ];
        let refusals = unsupported(&network(&nodes, "y"), FrontEnd::Importer);
        let ends = |refusal: &Refusal| refusal.advice.iter().any(|advice| advice.starts_with("end the network"));
        assert_eq!(refusals.iter().map(ends).collect::<Vec<_>>(), [true, false, true]);
    }

    #[test]
    fn a_network_can_end_before_it_keeps_some_results() {
        let ends = "end the network before it keeps some of the results, with the outputs `boxes`, `scores`";
        let last = [Node::new("Pad", &["kept", "w"], &["y"]), Node::new("If", &["any"], &["y"])];
        for node in last {
            let nodes = [
                Node::new("Relu", &["x"], &["boxes"]),
                Node::new("Relu", &["x"], &["scores"]),
                Node::new("NonMaxSuppression", &["boxes", "scores"], &["places"]),
                Node::new("Gather", &["scores", "places"], &["kept"]),
                Node::new("Shape", &["kept"], &["count"]),
                Node::new("Greater", &["count", "w"], &["any"]),
                node,
            ];
            let refusals = unsupported(&network(&nodes, "y"), FrontEnd::Importer);
            assert_eq!(refusals.len(), 1, "{refusals:?}");
            assert_eq!(refusals[0].advice.last().map(String::as_str), Some(ends));
            assert!(!refusals[0].advice.iter().any(|advice| advice.contains("Model Optimizer read")), "{refusals:?}");
        }
        let nodes = [Node::new("Relu", &["x"], &["a"]), Node::new("Pad", &["a", "w"], &["y"])];
        assert_eq!(unsupported(&network(&nodes, "y"), FrontEnd::Importer), []);
    }

    #[test]
    fn advice_names_what_to_do() {
        let relu = Node::new("Relu", &["x"], &["a"]);
        let advice = |node: Node, front_end| {
            let refusals = unsupported(&network(&[relu.clone(), node], "y"), front_end);
            refusals.into_iter().next().unwrap().advice
        };
        assert_eq!(
            advice(Node::new("HardSwish", &["a"], &["y"]), FrontEnd::Importer),
            [
                "export with opset 13, in which exporters write it with simpler operators",
                "end the network before it, with the outputs `a`"
            ]
        );
        assert_eq!(
            advice(Node::new("Einsum", &["x"], &["y"]), FrontEnd::Importer),
            ["let the Model Optimizer read the model instead"]
        );
        // A value that a rewriting made is not named, but those that it is made of.
        let made = [relu.clone(), Node::new("Neg", &["a"], &["b"]), Node::new("Einsum", &["b"], &["y"])];
        for (known, expected) in [("a", Some("end the network before it, with the outputs `a`")), ("x", None)] {
            let refusals = unsupported_among(&network(&made, "y"), FrontEnd::Importer, &|value| value == known);
            let found = refusals[0].advice.iter().find(|advice| advice.starts_with("end the network"));
            assert_eq!(found.map(String::as_str), expected);
        }
        assert!(advice(Node::new("QuantizeLinear", &["a"], &["y"]), FrontEnd::Importer)[0].contains("quantization"));
    }

    #[test]
    fn what_decides_a_branch_can_be_fixed() {
        let advice = |condition: &str| {
            let branch = |name: &str| Graph::new().node(Node::new("Neg", &["x"], &[name])).output(name, FLOAT, &[]);
            let graph = Graph::new()
                .input("x", FLOAT, &sizes(&[2]))
                .input("rate", builder::INT64, &[])
                .input("late", builder::BOOL, &[])
                .node(Node::new("Not", &["late"], &["early"]))
                .node(Node::new("Cast", &["rate"], &["known"]).int("to", i64::from(builder::BOOL)))
                .node(Node::new("And", &["early", "known"], &["both"]))
                .node(Node::new("Cast", &["x"], &["bright"]).int("to", i64::from(builder::BOOL)))
                .node(
                    Node::new("If", &[condition], &["y"])
                        .graph("then_branch", &branch("t"))
                        .graph("else_branch", &branch("e")),
                )
                .output("y", FLOAT, &sizes(&[2]));
            let model = Model::parse(builder::Model::new(graph).bytes().into()).unwrap();
            let refusals = unsupported(&model, FrontEnd::Importer);
            let advice = refusals.into_iter().next_back().unwrap().advice;
            advice.into_iter().find(|advice| advice.starts_with("fix what decides it"))
        };
        let both = "fix what decides it: give a `frozen_value` to `rate` and `late`";
        assert_eq!(advice("both").as_deref(), Some(both));
        assert!(advice("late").unwrap().ends_with("to `late`"));
        assert_eq!(advice("bright"), None, "nobody fixes a picture");
    }

    #[test]
    fn nested_graphs_are_read_by_name_too() {
        let body = Graph::new().node(Node::new("IsNaN", &["x"], &["inner"])).output("inner", FLOAT, &[]);
        let model = network(&[Node::new("Loop", &["", ""], &["y"]).graph("body", &body)], "y");
        assert_eq!(reasons(&model, FrontEnd::Importer).len(), 1);
    }
}
