//! Nested graphs and functions as nodes of the main graph, which is all that the tools look at.
//!
//! Owns the copying of graphs under new names. What cannot be decided before the network runs stays as it is; what would
//! take too many nodes is refused by name.

mod branches;
mod choices;
mod domains;
mod functions;
mod loops;

use std::collections::BTreeMap;

use crate::onnx::proto::{GraphProto, NodeProto, TensorProto};
use crate::onnx::{FreshNames, is_onnx_domain, rename_reads};

pub use self::branches::InlineBranches;
pub use self::choices::ChooseBranches;
pub use self::domains::UnusedDomains;
pub use self::functions::InlineFunctions;
pub use self::loops::UnrollLoops;

/// The most nodes that one node may become. A network of more would not fit any device.
const MAX_NODES: usize = 1 << 16;

/// Makes a node.
pub(super) fn node(operator: &str, name: String, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        op_type: Some(operator.to_owned()),
        name: Some(name),
        input: inputs.iter().map(|input| (*input).to_owned()).collect(),
        output: outputs.iter().map(|output| (*output).to_owned()).collect(),
        ..NodeProto::default()
    }
}

/// Copies graphs into the main graph.
struct Transplant<'a, 'model> {
    names: &'a mut FreshNames<'model>,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

impl<'a, 'model> Transplant<'a, 'model> {
    fn new(names: &'a mut FreshNames<'model>) -> Self {
        Self { names, nodes: Vec::new(), constants: Vec::new() }
    }

    /// Copies what a graph has as constants, once for all copies of its nodes; adds their new names to `renamed`.
    fn constants(&mut self, graph: &GraphProto, prefix: &str, renamed: &mut BTreeMap<String, String>) {
        for tensor in &graph.initializer {
            let name = self.names.make(&format!("{prefix}/{}", tensor.name()));
            renamed.insert(tensor.name().to_owned(), name.clone());
            self.constants.push(TensorProto { name: Some(name), ..tensor.clone() });
        }
        for node in graph.node.iter().filter(|node| is_constant(node)) {
            self.node(node, prefix, renamed);
        }
    }

    /// Copies the nodes of a graph, except its constants. `renamed` says how what they read is called outside; what they
    /// compute is added.
    fn nodes(&mut self, graph: &GraphProto, prefix: &str, renamed: &mut BTreeMap<String, String>) {
        for node in graph.node.iter().filter(|node| !is_constant(node)) {
            self.node(node, prefix, renamed);
        }
    }

    fn node(&mut self, node: &NodeProto, prefix: &str, renamed: &mut BTreeMap<String, String>) {
        let mut copy = node.clone();
        rename_reads(&mut copy, renamed);
        for output in copy.output.iter_mut().filter(|output| !output.is_empty()) {
            // The caller may have decided what a result is called.
            let name = match renamed.get(output) {
                Some(name) => name.clone(),
                None => self.names.make(&format!("{prefix}/{output}")),
            };
            renamed.insert(std::mem::replace(output, name.clone()), name);
        }
        if !node.name().is_empty() {
            copy.name = Some(self.names.make(&format!("{prefix}/{}", node.name())));
        }
        self.nodes.push(copy);
    }

    /// Gives a value of the main graph another name.
    fn alias(&mut self, value: &str, name: &str) {
        let label = self.names.make(&format!("{name}/Identity"));
        self.nodes.push(node("Identity", label, &[value], &[name]));
    }
}

fn is_constant(node: &NodeProto) -> bool {
    node.op_type() == "Constant" && is_onnx_domain(node.domain())
}

/// Copies a graph that runs once, so that its outputs have the given names; empty ones are not wanted.
fn splice(
    transplant: &mut Transplant<'_, '_>,
    graph: &GraphProto,
    prefix: &str,
    mut renamed: BTreeMap<String, String>,
    outputs: &[String],
) {
    let wanted: Vec<(&str, &String)> =
        graph.output.iter().map(|output| output.name()).zip(outputs).filter(|(_, name)| !name.is_empty()).collect();
    let computed = |value: &str| graph.node.iter().any(|node| node.output.iter().any(|output| output == value));
    for (inner, outer) in &wanted {
        if computed(inner) && !renamed.contains_key(*inner) {
            renamed.insert((*inner).to_owned(), (*outer).clone());
        }
    }
    transplant.constants(graph, prefix, &mut renamed);
    transplant.nodes(graph, prefix, &mut renamed);
    for (inner, outer) in wanted {
        let value = renamed.get(inner).cloned().unwrap_or_else(|| inner.to_owned());
        if value != *outer {
            transplant.alias(&value, outer);
        }
    }
}

/// Returns what a node is called in names that are made for it.
fn prefix(node: &NodeProto) -> String {
    let first = node.output.iter().find(|output| !output.is_empty());
    if node.name().is_empty() { first.cloned().unwrap_or_default() } else { node.name().to_owned() }
}
