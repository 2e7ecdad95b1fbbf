//! Element types of the values of a graph, as far as they follow from what the model says.

use std::collections::HashMap;

use super::Model;
use super::element::ElementType;
use super::graph::{is_onnx_domain, is_runtime_domain};
use super::proto::{AttributeProto, NodeProto, TensorProto};
use super::value::Value;

/// Returns the element type of every value of the main graph whose type is stated or follows from stated ones. Values
/// that an unknown operator computes are left out.
pub fn element_types(model: &Model) -> HashMap<&str, ElementType> {
    let graph = model.graph();
    let mut known = HashMap::new();
    for info in graph.value_info.iter().chain(&graph.output).chain(&graph.input) {
        known.extend(Value::from_proto(info).element().map(|element| (info.name(), element)));
    }
    let sparse = graph.sparse_initializer.iter().filter_map(|tensor| tensor.values.as_ref());
    for tensor in graph.initializer.iter().chain(sparse) {
        known.extend(ElementType::from_code(tensor.data_type()).map(|element| (tensor.name(), element)));
    }
    for node in &graph.node {
        for (place, output) in node.output.iter().enumerate().filter(|(_, output)| !output.is_empty()) {
            if !known.contains_key(output.as_str())
                && let Some(element) = result_type(node, place, &|name| known.get(name).copied())
            {
                known.insert(output, element);
            }
        }
    }
    known
}

/// The type of result number `place` of a node; `known` tells those of other values.
pub(super) fn result_type(
    node: &NodeProto,
    place: usize,
    known: &dyn Fn(&str) -> Option<ElementType>,
) -> Option<ElementType> {
    if is_runtime_domain(node.domain()) {
        return runtime_type(node, place, known);
    }
    if !is_onnx_domain(node.domain()) {
        return None;
    }
    let input = |place: usize| node.input.get(place).and_then(|input| known(input));
    let attribute = |name: &str| node.attribute.iter().find(|attribute| attribute.name() == name);
    let tensor = |tensor: &TensorProto| ElementType::from_code(tensor.data_type());
    let coded = |attribute: &AttributeProto| attribute.i.and_then(|code| i32::try_from(code).ok());
    let stated = |name: &str| attribute(name).and_then(coded).and_then(ElementType::from_code);
    match (node.op_type(), place) {
        ("Constant", _) => node.attribute.iter().find_map(|attribute| match attribute.name() {
            "value" => attribute.t.as_deref().and_then(tensor),
            "sparse_value" => {
                attribute.sparse_tensor.as_ref().and_then(|sparse| sparse.values.as_ref()).and_then(tensor)
            }
            "value_float" | "value_floats" => Some(ElementType::Float32),
            "value_int" | "value_ints" => Some(ElementType::Int64),
            "value_string" | "value_strings" => Some(ElementType::String),
            _ => None,
        }),
        ("ConstantOfShape", _) => match attribute("value") {
            Some(value) => value.t.as_deref().and_then(tensor),
            None => Some(ElementType::Float32),
        },
        ("Cast", _) => stated("to"),
        ("EyeLike" | "RandomNormalLike" | "RandomUniformLike" | "Bernoulli", _) => stated("dtype").or_else(|| input(0)),
        ("RandomNormal" | "RandomUniform", _) => stated("dtype").or(Some(ElementType::Float32)),
        ("Multinomial", _) => stated("dtype").or(Some(ElementType::Int32)),
        ("Shape" | "Size" | "SequenceLength" | "ArgMax" | "ArgMin" | "NonZero" | "NonMaxSuppression", _)
        | ("TopK" | "MaxPool", 1)
        | ("Unique", 1..) => Some(ElementType::Int64),
        ("Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual", _)
        | ("And" | "Or" | "Xor" | "Not" | "IsNaN" | "IsInf", _)
        | ("Dropout", 1)
        | ("OptionalHasElement" | "RegexFullMatch", _) => Some(ElementType::Boolean),
        ("Where" | "CastLike" | "DequantizeLinear", _) => input(1),
        ("OneHot", _) => input(2),
        ("QuantizeLinear", _) => match node.input.get(2).filter(|zero_point| !zero_point.is_empty()) {
            Some(_) => input(2),
            None => stated("output_dtype").or(Some(ElementType::Uint8)),
        },
        ("DynamicQuantizeLinear", 0) => Some(ElementType::Uint8),
        ("DynamicQuantizeLinear", 1) => Some(ElementType::Float32),
        ("DynamicQuantizeLinear", _) => Some(ElementType::Uint8),
        ("ConvInteger" | "MatMulInteger", _) => Some(ElementType::Int32),
        ("QLinearConv" | "QLinearMatMul", _) => input(7),
        ("BatchNormalization", 1 | 3) => input(3),
        ("BatchNormalization", 2 | 4) => input(4),
        // Statistics have the type in which they are calculated.
        ("LayerNormalization" | "SimplifiedLayerNormalization", 1 | 2) => {
            stated("stash_type").or(Some(ElementType::Float32))
        }
        ("TfIdfVectorizer", _) => Some(ElementType::Float32),
        ("HannWindow" | "HammingWindow" | "BlackmanWindow" | "MelWeightMatrix", _) => {
            stated("output_datatype").or(Some(ElementType::Float32))
        }
        // Control flow and what is not made of tensors say their types themselves, or not at all.
        ("If" | "Loop" | "Scan" | "Optional" | "OptionalGetElement", _)
        | ("SequenceAt" | "SequenceConstruct" | "SequenceEmpty" | "SequenceErase" | "SequenceInsert", _)
        | ("SequenceMap" | "SplitToSequence" | "ConcatFromSequence", _)
        | ("StringNormalizer" | "StringConcat" | "StringSplit" | "ImageDecoder" | "BitCast", _) => None,
        // Everything else computes what it is given first.
        _ => input(0),
    }
}

/// As [`result_type`], for ONNX Runtime's own operators; those that are not known here have no type.
fn runtime_type(node: &NodeProto, place: usize, known: &dyn Fn(&str) -> Option<ElementType>) -> Option<ElementType> {
    let input = |place: usize| node.input.get(place).filter(|input| !input.is_empty()).and_then(|input| known(input));
    match (node.op_type(), place) {
        ("QuantizeLinear", _) => match node.input.get(2).filter(|zero_point| !zero_point.is_empty()) {
            Some(_) => input(2),
            None => Some(ElementType::Uint8),
        },
        ("DequantizeLinear" | "QLinearConcat", _) => input(1),
        ("QGemm", _) => match node.input.get(7).filter(|scale| !scale.is_empty()) {
            Some(_) => input(8),
            None => input(1),
        },
        ("MatMulIntegerToFloat" | "EmbedLayerNormalization", 0) | ("EmbedLayerNormalization", 2) => input(2),
        ("QAttention", _) => input(2),
        ("QEmbedLayerNormalization", 0) => input(8),
        ("EmbedLayerNormalization" | "QEmbedLayerNormalization", _) => Some(ElementType::Int32),
        ("SkipLayerNormalization" | "SkipSimplifiedLayerNormalization", 1 | 2) => Some(ElementType::Float32),
        ("BiasGelu" | "FastGelu" | "Gelu" | "QuickGelu", _)
        | ("FusedConv" | "FusedGemm" | "FusedMatMul" | "DynamicQuantizeMatMul" | "DynamicQuantizeLSTM", _)
        | ("QLinearAdd" | "QLinearMul" | "QLinearLeakyRelu" | "QLinearSigmoid" | "QLinearSoftmax", _)
        | ("QLinearAveragePool" | "QLinearGlobalAveragePool", _)
        | ("SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" | "Attention", _)
        | ("GroupQueryAttention" | "MatMulNBits" | "MultiHeadAttention" | "RotaryEmbedding", _) => input(0),
        _ => None,
    }
}
