//! Which operators the tools for MyriadX cannot take.
//!
//! Owns tables of measured facts about OpenVINO 2021.4.2: what the ONNX importer of the Inference Engine does not know,
//! what the Model Optimizer does not know, and what the MYRIAD compiler has no layer for. Only what surely fails is
//! refused; the tools have the last word on everything else. How the facts were measured: every operator of ONNX's
//! domains in a model of its own, and the node tests of the onnx package, through both front ends and the compiler, and
//! what was compiled was computed on OpenVINO's CPU device beside ONNX Runtime: what is read wrongly is refused too.

use std::collections::HashSet;

use super::lower::opset::{self, OldForms};
use crate::onnx::proto::{GraphProto, NodeProto};
use crate::onnx::{Model, NodeLabel, Reads, is_onnx_domain, node_label, subgraphs};

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

/// Lists the nodes of a model that surely fail on the way to a MyriadX blob, in the order of the graph.
pub fn unsupported(model: &Model, front_end: FrontEnd) -> Vec<Refusal> {
    let graph = model.graph();
    let reads = Reads::of(graph);
    let live = reads.live_nodes(graph);
    let mut variable: HashSet<&str> = graph_inputs(model);
    // What is computed from the results of refused nodes.
    let mut lost: HashSet<&str> = HashSet::new();
    let mut refusals = Vec::new();
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
            .or_else(|| misread(node, &reads))
            .or_else(|| if compiled { uncompilable(node, front_end) } else { None });
        let is_behind = node.input.iter().any(|input| lost.contains(input.as_str()));
        if is_behind || reason.is_some() {
            lost.extend(node.output.iter().map(String::as_str).filter(|output| !output.is_empty()));
        }
        if let Some(reason) = reason {
            let mut advice = advice(node, front_end, compiled);
            // A network that ends before this node would still have the one before it.
            if !is_behind {
                advice.extend(end_before(model, node, &variable));
            }
            refusals.push(Refusal { node: node_label(node), reason, advice });
        }
        subgraphs(node).for_each(|graph| nested(graph, front_end, &mut refusals));
    }
    refusals
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
    let (operator, domain) = (node.op_type(), node.domain());
    match front_end {
        FrontEnd::Importer if domain == "ai.onnx" => {
            Some(format!("{tool} does not know the domain `ai.onnx` by this spelling"))
        }
        FrontEnd::Importer if !domain.is_empty() && domain != OPENVINO_DOMAIN => {
            Some(format!("{tool} does not know operators of the domain `{domain}`"))
        }
        FrontEnd::Importer if domain.is_empty() && IMPORTER_LACKS.contains(&operator) => {
            Some(format!("{tool} does not know this operator"))
        }
        FrontEnd::ModelOptimizer if OPTIMIZER_LACKS_DOMAINS.contains(&domain) => {
            Some(format!("{tool} does not know operators of the domain `{domain}`"))
        }
        FrontEnd::ModelOptimizer
            if (is_onnx_domain(domain) && OPTIMIZER_LACKS.contains(&operator))
                || (domain == "com.microsoft" && OPTIMIZER_LACKS_OF_MICROSOFT.contains(&operator)) =>
        {
            Some(format!("{tool} does not know this operator"))
        }
        _ => None,
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

/// Why the compiler cannot take a node that is left in the network, if so.
fn uncompilable(node: &NodeProto, front_end: FrontEnd) -> Option<String> {
    if !is_onnx_domain(node.domain()) {
        return None;
    }
    let operator = node.op_type();
    if let Some((_, layer)) = COMPILER_LACKS.iter().find(|(name, _)| *name == operator) {
        return Some(format!("the MYRIAD compiler has no layer {layer}"));
    }
    let (_, layer) = IMPORTED_AS.iter().find(|(name, _)| *name == operator && front_end == FrontEnd::Importer)?;
    Some(format!("the MYRIAD compiler has no layer {layer}, as which the ONNX importer reads it"))
}

fn advice(node: &NodeProto, front_end: FrontEnd, compiled: bool) -> Vec<String> {
    let mut advice: Vec<String> = own_advice(node).into_iter().collect();
    let other = front_end.other();
    if unreadable(node, other).is_none() && !(compiled && uncompilable(node, other).is_some()) {
        advice.push(format!("let {} read the model instead", other.as_str()));
    }
    advice
}

/// Returns advice to end the network before a node, if anything is computed before it.
fn end_before(model: &Model, node: &NodeProto, variable: &HashSet<&str>) -> Option<String> {
    let inputs = graph_inputs(model);
    let before: Vec<String> = node
        .input
        .iter()
        .filter(|input| variable.contains(input.as_str()) && !inputs.contains(input.as_str()))
        .map(|input| format!("`{input}`"))
        .collect();
    (!before.is_empty()).then(|| format!("end the network before it, with the outputs {}", before.join(", ")))
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

/// What the importer reports as unsupported, whatever the node looks like.
const IMPORTER_LACKS: &[&str] = &[
    "AffineGrid",
    "Attention",
    "Bernoulli",
    "BitCast",
    "BitwiseAnd",
    "BitwiseNot",
    "BitwiseOr",
    "BitwiseXor",
    "BlackmanWindow",
    "CastLike",
    "CausalConvWithState",
    "CenterCropPad",
    "Col2Im",
    "ConcatFromSequence",
    "ConvInteger",
    "CumProd",
    "DFT",
    "DeformConv",
    "Det",
    "Einsum",
    "Gelu",
    "GridSample",
    "GroupNormalization",
    "HammingWindow",
    "HannWindow",
    "HardSwish",
    "If",
    "ImageDecoder",
    "IsInf",
    "IsNaN",
    "LayerNormalization",
    "LinearAttention",
    "LpPool",
    "MatMulInteger",
    "MaxRoiPool",
    "MaxUnpool",
    "MelWeightMatrix",
    "Mish",
    "Multinomial",
    "Optional",
    "OptionalGetElement",
    "OptionalHasElement",
    "QLinearConv",
    "QLinearMatMul",
    "RMSNormalization",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "RegexFullMatch",
    "RotaryEmbedding",
    "STFT",
    "Scan",
    "SequenceAt",
    "SequenceConstruct",
    "SequenceEmpty",
    "SequenceErase",
    "SequenceInsert",
    "SequenceLength",
    "SequenceMap",
    "SplitToSequence",
    "StringConcat",
    "StringNormalizer",
    "StringSplit",
    "SwiGLU",
    "TensorScatter",
    "TfIdfVectorizer",
    "Trilu",
    "Unique",
];

/// What the Model Optimizer cannot infer, whatever the node looks like.
const OPTIMIZER_LACKS: &[&str] = &[
    "AffineGrid",
    "Attention",
    "Bernoulli",
    "BitCast",
    "BitShift",
    "BitwiseAnd",
    "BitwiseNot",
    "BitwiseOr",
    "BitwiseXor",
    "BlackmanWindow",
    "CastLike",
    "CausalConvWithState",
    "Celu",
    "CenterCropPad",
    "Col2Im",
    "Compress",
    "ConcatFromSequence",
    "ConvInteger",
    "CumProd",
    "DFT",
    "DeformConv",
    "Det",
    "DynamicQuantizeLinear",
    "EyeLike",
    "GlobalLpPool",
    "GridSample",
    "GroupNormalization",
    "HammingWindow",
    "HannWindow",
    "HardSwish",
    "Hardmax",
    "If",
    "ImageDecoder",
    "IsInf",
    "IsNaN",
    "LayerNormalization",
    "LinearAttention",
    "LpPool",
    "MatMulInteger",
    "MaxRoiPool",
    "MaxUnpool",
    "Mean",
    "MelWeightMatrix",
    "Mish",
    "Mod",
    "Multinomial",
    "NegativeLogLikelihoodLoss",
    "Optional",
    "OptionalGetElement",
    "OptionalHasElement",
    "QLinearConv",
    "QLinearMatMul",
    "RMSNormalization",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceSumSquare",
    "RegexFullMatch",
    "RotaryEmbedding",
    "STFT",
    "Scan",
    "Selu",
    "SequenceAt",
    "SequenceConstruct",
    "SequenceEmpty",
    "SequenceErase",
    "SequenceInsert",
    "SequenceLength",
    "SequenceMap",
    "Shrink",
    "SoftmaxCrossEntropyLoss",
    "SplitToSequence",
    "StringConcat",
    "StringNormalizer",
    "StringSplit",
    "SwiGLU",
    "TensorScatter",
    "TfIdfVectorizer",
    "Trilu",
];

/// Domains of which the Model Optimizer knows no operator.
const OPTIMIZER_LACKS_DOMAINS: &[&str] = &["ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training"];

/// Operators of ONNX Runtime that the Model Optimizer cannot infer.
const OPTIMIZER_LACKS_OF_MICROSOFT: &[&str] = &[
    "Attention",
    "BiasGelu",
    "ConvTransposeWithDynamicPads",
    "DynamicQuantizeLSTM",
    "DynamicQuantizeMatMul",
    "EmbedLayerNormalization",
    "FastGelu",
    "FusedConv",
    "FusedGemm",
    "FusedMatMul",
    "GridSample",
    "GroupQueryAttention",
    "Inverse",
    "Irfft",
    "MatMulIntegerToFloat",
    "MatMulNBits",
    "MultiHeadAttention",
    "NhwcConv",
    "NhwcMaxPool",
    "QGemm",
    "QLinearAdd",
    "QLinearAveragePool",
    "QLinearConcat",
    "QLinearGlobalAveragePool",
    "QLinearLeakyRelu",
    "QLinearMul",
    "QLinearSigmoid",
    "QLinearSoftmax",
    "QuickGelu",
    "Rfft",
    "RotaryEmbedding",
    "SimplifiedLayerNormalization",
    "SkipLayerNormalization",
];

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
        for table in [IMPORTER_LACKS, OPTIMIZER_LACKS, OPTIMIZER_LACKS_OF_MICROSOFT, QUANTIZED, &names, &young] {
            assert!(table.is_sorted_by(|left, right| left < right), "{table:?}");
        }
        for name in young {
            assert!(IMPORTER_LACKS.contains(&name), "{name}");
        }
    }

    #[test]
    fn nodes_are_refused_by_what_is_known_of_each_tool() {
        let node = |operator: &str| Node::new(operator, &["a"], &["y"]).named("n");
        let cases = [
            (node("Relu"), None, None),
            (node("NonMaxSuppression"), None, None),
            (node("DequantizeLinear"), None, None),
            (node("HardSwish"), Some("does not know this operator"), Some("does not know this operator")),
            (node("Einsum"), Some("does not know this operator"), None),
            (node("Celu"), None, Some("does not know this operator")),
            (node("Abs"), Some("has no layer Abs"), Some("has no layer Abs")),
            (node("QuantizeLinear"), Some("has no layer FakeQuantize"), Some("has no layer FakeQuantize")),
            (node("GRU"), Some("has no layer GRUSequence"), None),
            (node("Relu").domain("ai.onnx"), Some("by this spelling"), None),
            (node("FusedConv").domain("com.microsoft"), Some("domain `com.microsoft`"), Some("this operator")),
            (node("Whatever").domain("odd"), Some("domain `odd`"), None),
            (node("ZipMap").domain("ai.onnx.ml"), Some("domain `ai.onnx.ml`"), Some("domain `ai.onnx.ml`")),
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
        assert!(advice(Node::new("QuantizeLinear", &["a"], &["y"]), FrontEnd::Importer)[0].contains("quantization"));
    }

    #[test]
    fn nested_graphs_are_read_by_name_too() {
        let body = Graph::new().node(Node::new("IsNaN", &["x"], &["inner"])).output("inner", FLOAT, &[]);
        let model = network(&[Node::new("Loop", &["", ""], &["y"]).graph("body", &body)], "y");
        assert_eq!(reasons(&model, FrontEnd::Importer).len(), 1);
    }
}
