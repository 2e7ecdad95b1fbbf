//! Cutting a graph at other outputs.

use std::collections::{BTreeSet, HashSet};

use thiserror::Error;

use super::graph::{Reads, initializer_names, is_onnx_domain, visit_reads};
use super::patch::forget_lost_values;
use super::proto::{GraphProto, NodeProto, ValueInfoProto};
use super::types::element_types;
use super::{Model, OnnxError, check, proto};
use crate::hint::{Hint, nearest};

/// An output that cannot be selected.
#[derive(Debug, Error)]
pub enum SelectError {
    /// No output is left.
    #[error("no output is selected")]
    Nothing,
    /// Nothing in the model has this name.
    #[error("the model has no output, intermediate value or node `{name}`; its outputs are {}", .outputs.join(", "))]
    NoSuchValue {
        /// What was asked for.
        name: String,
        /// The outputs there are.
        outputs: Vec<String>,
        /// The nearest name in the model.
        nearest: Option<String>,
    },
    /// The value is a constant.
    #[error("`{name}` is a constant of the model, so it cannot be an output")]
    Constant {
        /// What was asked for.
        name: String,
    },
    /// The same value twice.
    #[error("output `{name}` is selected more than once")]
    Duplicate {
        /// The value's name.
        name: String,
    },
    /// The cut model contradicts itself.
    #[error("the model cut at the selected outputs is not valid")]
    Invalid(#[source] OnnxError),
}

impl Hint for SelectError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoSuchValue { nearest: Some(nearest), .. } => vec![format!("did you mean `{nearest}`?")],
            _ => Vec::new(),
        }
    }
}

/// Returns the model with the named outputs, in that order, without the nodes and constants that they do not need.
///
/// A name is that of an output, an intermediate value or a node; a node stands for everything it computes. Inputs that
/// only served what was cut off go too.
///
/// # Errors
/// A name is unknown, a constant's, or given twice.
pub fn select_outputs(model: &Model, names: &[String]) -> Result<Model, SelectError> {
    let graph = model.graph();
    let reads = Reads::of(graph);
    let mut selected: Vec<&str> = Vec::new();
    for name in names {
        for value in values_of(graph, &reads, name)? {
            if selected.contains(&value) {
                return Err(SelectError::Duplicate { name: value.to_owned() });
            }
            selected.push(value);
        }
    }
    if selected.is_empty() {
        return Err(SelectError::Nothing);
    }
    let types = element_types(model);
    let described = |name: &&str| {
        let mut infos = graph.output.iter().chain(&graph.value_info).chain(&graph.input);
        infos.find(|info| info.name() == *name).cloned().unwrap_or_else(|| undescribed(name, types.get(name).copied()))
    };
    let output = selected.iter().map(described).collect();
    let mut cut = GraphProto { output, ..graph.clone() };
    drop_unneeded(&mut cut, graph);
    check::structure(&cut).map_err(SelectError::Invalid)?;
    Ok(model.with_graph(cut))
}

/// Returns the values that a name stands for.
fn values_of<'a>(graph: &'a GraphProto, reads: &Reads<'a>, name: &str) -> Result<Vec<&'a str>, SelectError> {
    let constants = initializer_names(graph);
    let inputs = graph.input.iter().map(|input| input.name()).filter(|input| !constants.contains(input));
    let computed = graph.node.iter().flat_map(|node| &node.output).map(String::as_str);
    let is_constant = |node: &NodeProto| node.op_type() == "Constant" && is_onnx_domain(node.domain());
    let producer = reads.producer(name).and_then(|place| graph.node.get(place));
    if constants.contains(name) || producer.is_some_and(is_constant) {
        return Err(SelectError::Constant { name: name.to_owned() });
    }
    if let Some(value) = inputs.chain(computed).find(|value| *value == name && !value.is_empty()) {
        return Ok(vec![value]);
    }
    if let Some(node) = graph.node.iter().find(|node| node.name() == name && !name.is_empty()) {
        return Ok(node.output.iter().map(String::as_str).filter(|output| !output.is_empty()).collect());
    }
    let values = graph.node.iter().flat_map(|node| node.output.iter().map(String::as_str).chain([node.name()]));
    Err(SelectError::NoSuchValue {
        name: name.to_owned(),
        outputs: graph.output.iter().map(|output| format!("`{}`", output.name())).collect(),
        nearest: nearest(name, reads.outputs().chain(values)).map(str::to_owned),
    })
}

/// A value of which at most the element type is known.
pub(super) fn undescribed(name: &str, element: Option<super::ElementType>) -> ValueInfoProto {
    let tensor = element.map(|element| proto::TensorTypeProto { elem_type: Some(element.code()), shape: None });
    let typed =
        tensor.map(|tensor| proto::TypeProto { denotation: None, value: Some(proto::TypeValue::Tensor(tensor)) });
    ValueInfoProto { name: Some(name.to_owned()), r#type: typed, ..ValueInfoProto::default() }
}

/// Drops dead nodes, and the constants and inputs that only they read.
pub(super) fn drop_unneeded(cut: &mut GraphProto, whole: &GraphProto) {
    let mut live = Reads::of(cut).live_nodes(cut).into_iter();
    cut.node.retain(|_| live.next().unwrap_or(true));
    let mut read: HashSet<&str> = cut.output.iter().map(|output| output.name()).collect();
    cut.node.iter().for_each(|node| visit_reads(node, &mut |name| _ = read.insert(name)));
    let mut read_before: BTreeSet<&str> = whole.output.iter().map(|output| output.name()).collect();
    whole.node.iter().for_each(|node| visit_reads(node, &mut |name| _ = read_before.insert(name)));
    let kept = |name: &str| read.contains(name) || !read_before.contains(name);
    let inputs: Vec<bool> = cut.input.iter().map(|input| kept(input.name())).collect();
    let dense: Vec<bool> = cut.initializer.iter().map(|tensor| kept(tensor.name())).collect();
    let sparse: Vec<bool> = cut
        .sparse_initializer
        .iter()
        .map(|tensor| tensor.values.as_ref().is_none_or(|values| kept(values.name())))
        .collect();
    let (mut inputs, mut dense, mut sparse) = (inputs.into_iter(), dense.into_iter(), sparse.into_iter());
    cut.input.retain(|_| inputs.next().unwrap_or(true));
    cut.initializer.retain(|_| dense.next().unwrap_or(true));
    cut.sparse_initializer.retain(|_| sparse.next().unwrap_or(true));
    forget_lost_values(cut);
}
