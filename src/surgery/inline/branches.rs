//! `If` whose outcome is known.

use std::collections::{BTreeMap, HashMap};

use super::{Transplant, prefix, splice};
use crate::onnx::proto::{GraphProto, NodeProto, TensorProto};
use crate::onnx::{Attributes, Facts, FreshNames, Known, Patch, is_onnx_domain, rename_reads};
use crate::surgery::{Pass, PassError};

/// Puts the branch that is taken in the place of an `If` whose condition is constant, or whose branches are the same.
#[derive(Clone, Copy, Debug)]
pub struct InlineBranches;

impl Pass for InlineBranches {
    fn name(&self) -> &'static str {
        "inline-branches"
    }

    fn reason(&self) -> &'static str {
        "a branch that is always taken is no branch, and the tools know none"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let is_branch = |node: &NodeProto| node.op_type() == "If" && is_onnx_domain(node.domain());
        if !model.graph().node.iter().any(is_branch) {
            return Ok(None);
        }
        let facts = model.facts();
        let mut names = FreshNames::of(model);
        let mut patch = Patch::default();
        for (place, node) in model.graph().node.iter().enumerate().filter(|(_, node)| is_branch(node)) {
            let Some(graph) = taken(node, facts) else {
                continue;
            };
            let mut transplant = Transplant::new(&mut names);
            splice(&mut transplant, graph, &prefix(node), BTreeMap::new(), &node.output);
            patch.added_initializers.append(&mut transplant.constants);
            patch.replace(place, transplant.nodes);
        }
        Ok(Some(patch))
    }
}

/// Returns the branch that surely is taken. Sparse constants have nowhere to go.
fn taken<'a>(node: &'a NodeProto, facts: &Facts<'_>) -> Option<&'a GraphProto> {
    let attributes = Attributes(node);
    let (yes, no) = (attributes.graph("then_branch")?, attributes.graph("else_branch")?);
    let condition = node.input.first().and_then(|name| facts.array(name)).and_then(|array| array.to_integer());
    let graph = match condition {
        Some(0) => no,
        Some(_) => yes,
        None if Form::of(yes) == Form::of(no) => yes,
        None => return None,
    };
    (graph.sparse_initializer.is_empty() && graph.output.len() == node.output.len()).then_some(graph)
}

/// A graph without the names that it gives.
#[derive(PartialEq)]
struct Form {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    outputs: Vec<String>,
}

impl Form {
    fn of(graph: &GraphProto) -> Self {
        let mut numbered: HashMap<&str, String> = HashMap::new();
        let constants = graph.initializer.iter().map(|tensor| tensor.name());
        let computed = graph.node.iter().flat_map(|node| &node.output).map(String::as_str);
        for name in constants.chain(computed).filter(|name| !name.is_empty()) {
            // No value of ONNX has such a name.
            let number = format!("\0{}", numbered.len());
            numbered.insert(name, number);
        }
        let renamed: BTreeMap<String, String> =
            numbered.iter().map(|(name, number)| ((*name).to_owned(), number.clone())).collect();
        let new = |name: &str| numbered.get(name).cloned().unwrap_or_else(|| name.to_owned());
        let plain = |node: &NodeProto| {
            let mut copy = NodeProto { name: None, doc_string: None, metadata_props: Vec::new(), ..node.clone() };
            rename_reads(&mut copy, &renamed);
            copy.output.iter_mut().for_each(|output| *output = new(output));
            copy
        };
        Self {
            nodes: graph.node.iter().map(plain).collect(),
            constants: graph
                .initializer
                .iter()
                .map(|tensor| TensorProto { name: Some(new(tensor.name())), doc_string: None, ..tensor.clone() })
                .collect(),
            outputs: graph.output.iter().map(|output| new(output.name())).collect(),
        }
    }
}
