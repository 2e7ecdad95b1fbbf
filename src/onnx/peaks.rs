//! How large the values inside of a network become, told by the network itself.

use super::facts::Facts;
use super::graph::{FreshNames, is_onnx_domain, node_label};
use super::proto::{
    AttributeProto, AttributeType, NodeProto, TensorShapeProto, TensorTypeProto, TypeProto, TypeValue, ValueInfoProto,
};
use super::{ElementType, Model, NodeLabel};

/// Operators whose results are as far from zero on either side.
const SUMS_OF_PRODUCTS: [&str; 4] = ["Conv", "ConvTranspose", "Gemm", "MatMul"];

/// Operators whose results may be larger than what they are given. Large numbers below zero are how attention leaves
/// something out, so only those above count.
const GROWING: [&str; 12] = [
    "Add",
    "BatchNormalization",
    "Div",
    "Exp",
    "InstanceNormalization",
    "Mul",
    "Pow",
    "ReduceL2",
    "ReduceSum",
    "ReduceSumSquare",
    "Sub",
    "Sum",
];

/// A network that tells its peaks.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The network, with an output for each peak, a number without dimensions.
    pub model: Model,
    /// These outputs, in the order of the graph, each with the value that it is of and the node that computes it.
    pub peaks: Vec<Peak>,
}

/// The largest element of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peak {
    /// The output that tells it.
    pub output: String,
    /// The value.
    pub value: String,
    /// The node that computes the value.
    pub node: NodeLabel,
}

/// Returns the network with outputs that tell how large its values become: the largest element, for sums of products the
/// largest magnitude.
pub fn watched(model: &Model) -> Watched {
    let facts = Facts::of(model);
    let mut names = FreshNames::of(model);
    let (mut nodes, mut peaks) = (Vec::new(), Vec::new());
    for node in model.graph().node.iter().filter(|node| is_onnx_domain(node.domain())) {
        let is_sum = SUMS_OF_PRODUCTS.contains(&node.op_type());
        let Some(value) = node.output.first().filter(|_| is_sum || GROWING.contains(&node.op_type())) else { continue };
        if facts.element(value) != Some(ElementType::Float32) || facts.array(value).is_some() {
            continue;
        }
        let mut of = value.clone();
        if is_sum {
            let magnitude = names.make(&format!("{value}/magnitude"));
            nodes.push(plain("Abs", &of, &magnitude));
            of = magnitude;
        }
        let output = names.make(&format!("{value}/peak"));
        let mut peak = plain("ReduceMax", &of, &output);
        peak.attribute.push(AttributeProto {
            name: Some("keepdims".to_owned()),
            r#type: Some(AttributeType::Int as i32),
            i: Some(0),
            ..AttributeProto::default()
        });
        nodes.push(peak);
        peaks.push(Peak { output, value: value.clone(), node: node_label(node) });
    }
    let mut graph = model.graph().clone();
    graph.node.extend(nodes);
    let number =
        TensorTypeProto { elem_type: Some(ElementType::Float32.code()), shape: Some(TensorShapeProto::default()) };
    let told = |peak: &Peak| ValueInfoProto {
        name: Some(peak.output.clone()),
        r#type: Some(TypeProto { value: Some(TypeValue::Tensor(number.clone())), ..TypeProto::default() }),
        ..ValueInfoProto::default()
    };
    graph.output.extend(peaks.iter().map(told));
    Watched { model: model.with_graph(graph), peaks }
}

fn plain(operator: &str, input: &str, output: &str) -> NodeProto {
    NodeProto {
        op_type: Some(operator.to_owned()),
        input: vec![input.to_owned()],
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::tests::builder::{FLOAT, Graph, INT64, Model as Builder, Node, Tensor, sizes};

    #[test]
    fn what_grows_is_watched() {
        let graph = Graph::new()
            .input("x", FLOAT, &sizes(&[1, 4]))
            .input("n", INT64, &sizes(&[1]))
            .initializer(Tensor::floats("w", &[4, 4], &[1.0; 16]))
            .node(Node::new("MatMul", &["x", "w"], &["a"]).named("product"))
            .node(Node::new("Relu", &["a"], &["b"]))
            .node(Node::new("Add", &["b", "x"], &["y"]))
            .node(Node::new("Add", &["n", "n"], &["m"]))
            .node(Node::new("Add", &["w", "w"], &["constant"]))
            .output("y", FLOAT, &sizes(&[1, 4]))
            .output("m", INT64, &sizes(&[1]));
        let model = Model::parse(Builder::new(graph).opset(13).bytes().into()).unwrap();
        let Watched { model, peaks } = watched(&model);
        let told: Vec<(&str, String)> = peaks.iter().map(|it| (it.value.as_str(), it.node.to_string())).collect();
        assert_eq!(told, [("a", "MatMul `product`".to_owned()), ("y", "Add `y`".to_owned())]);
        let outputs: Vec<String> = model.outputs().into_iter().map(|output| output.name).collect();
        assert_eq!(outputs, ["y", "m", "a/peak", "y/peak"]);
        let last: Vec<&str> = model.graph().node.iter().skip(5).map(|node| node.op_type()).collect();
        assert_eq!(last, ["Abs", "ReduceMax", "ReduceMax"], "what attention leaves out is far below zero");
    }
}
