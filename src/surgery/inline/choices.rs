//! `If` whose condition is known only when the network runs.

use std::collections::{BTreeMap, HashSet};

use super::{Transplant, node, prefix, splice};
use crate::onnx::proto::{GraphProto, NodeProto, ValueInfoProto};
use crate::onnx::{Attributes, FreshNames, Known, Patch, integers, is_onnx_domain, subgraphs};
use crate::surgery::{Pass, PassError};

/// The first operator set with `Where`.
const WHERE: i64 = 9;

/// Computes both branches of an `If` and chooses between their results, if these have the same types and shapes.
#[derive(Clone, Copy, Debug)]
pub struct ChooseBranches;

impl Pass for ChooseBranches {
    fn name(&self) -> &'static str {
        "branches-to-choice"
    }

    fn reason(&self) -> &'static str {
        "the tools know no branches: both are computed, and the results of one are chosen"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let is_branch = |node: &NodeProto| node.op_type() == "If" && is_onnx_domain(node.domain());
        if model.opset() < WHERE || !model.graph().node.iter().any(is_branch) {
            return Ok(None);
        }
        let mut names = FreshNames::of(model);
        let mut patch = Patch::default();
        for (place, node) in model.graph().node.iter().enumerate().filter(|(_, node)| is_branch(node)) {
            let Some(branches) = alike(node, model) else {
                continue;
            };
            let mut transplant = Transplant::new(&mut names);
            choose(&mut transplant, node, branches, model);
            patch.added_initializers.append(&mut transplant.constants);
            patch.replace(place, transplant.nodes);
        }
        Ok(Some(patch))
    }
}

/// Returns both branches, if their results can take each other's place and what is fed decides between them.
fn alike<'model>(node: &'model NodeProto, model: &Known<'model>) -> Option<[&'model GraphProto; 2]> {
    let attributes = Attributes(node);
    let branches = [attributes.graph("then_branch")?, attributes.graph("else_branch")?];
    let whole = |graph: &&GraphProto| graph.sparse_initializer.is_empty() && graph.output.len() == node.output.len();
    // What is written out first may decide the branch.
    let repeats = |node: &NodeProto| matches!(node.op_type(), "Loop" | "Scan" | "SequenceMap");
    let plain = |graph: &&GraphProto| whole(graph) && !graph.node.iter().any(repeats);
    if !branches.iter().all(plain) || !is_fed(node.input.first()?, model) {
        return None;
    }
    let [yes, no] = branches.map(|graph| model.facts().of_branch(graph));
    let known = yes.iter().all(|(element, sizes)| element.is_some() && sizes.is_some());
    (known && yes == no).then_some(branches)
}

/// Returns whether the elements of what the network is fed, and not only their number, decide a value.
fn is_fed(value: &str, model: &Known<'_>) -> bool {
    let mut seen = HashSet::new();
    let mut waiting = vec![value];
    while let Some(name) = waiting.pop() {
        if !seen.insert(name) {
            continue;
        }
        match model.reads().producer(name).and_then(|place| model.graph().node.get(place)) {
            // It may become known when the nested graph is written out.
            Some(node) if subgraphs(node).next().is_some() => return false,
            Some(node) if COUNTING.contains(&node.op_type()) => {}
            Some(node) => waiting.extend(node.input.iter().filter(|input| !input.is_empty()).map(String::as_str)),
            None if model.is_fed(name) => return true,
            None => {}
        }
    }
    false
}

/// Operators that tell how many elements or members there are.
const COUNTING: &[&str] = &["OptionalHasElement", "SequenceLength", "Shape", "Size"];

/// Writes both branches and the choice between them.
fn choose(transplant: &mut Transplant<'_, '_>, branch: &NodeProto, graphs: [&GraphProto; 2], model: &Known<'_>) {
    let prefix = prefix(branch);
    let results = graphs.map(|graph| {
        let wanted = |(output, inner): (&String, &ValueInfoProto)| match output.as_str() {
            "" => String::new(),
            _ => transplant.names.make(&format!("{prefix}/{}", inner.name())),
        };
        let outputs: Vec<String> = branch.output.iter().zip(&graph.output).map(wanted).collect();
        splice(transplant, graph, &prefix, BTreeMap::new(), &outputs);
        outputs
    });
    let Some(mut condition) = branch.input.first().cloned() else { return };
    if model.facts().rank(&condition) != Some(0) {
        // A condition of one element must not give results an axis.
        let shape = transplant.names.make(&format!("{prefix}/shape"));
        transplant.constants.push(integers(&shape, &[0], &[]));
        let scalar = transplant.names.make(&format!("{prefix}/condition"));
        let label = transplant.names.make(&format!("{scalar}/Reshape"));
        transplant.nodes.push(node("Reshape", label, &[&condition, &shape], &[&scalar]));
        condition = scalar;
    }
    let [yes, no] = &results;
    for ((yes, no), output) in yes.iter().zip(no).zip(&branch.output).filter(|(_, output)| !output.is_empty()) {
        let label = transplant.names.make(&format!("{output}/Where"));
        transplant.nodes.push(node("Where", label, &[&condition, yes, no], &[output]));
    }
}
