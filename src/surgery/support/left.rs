//! Why branches, loops and sequences are still in a network.

use std::collections::HashSet;

use crate::onnx::proto::{GraphProto, NodeProto};
use crate::onnx::{Attributes, Facts, Model, Reads, Value, ValueKind, is_onnx_domain};

/// The first operator set whose `Scan` has no axis for a batch.
const PLAIN_SCAN: i64 = 9;

/// Returns why a node of such a kind could not be written otherwise, as a fragment.
pub(super) fn reason<'model>(
    node: &'model NodeProto,
    model: &Model,
    reads: &Reads<'_>,
    facts: &Facts<'model>,
) -> Option<String> {
    if !is_onnx_domain(node.domain()) {
        return None;
    }
    match node.op_type() {
        "If" => Some(format!("the tools for MyriadX know no branches, and {}", undecided(node, facts)?)),
        "Loop" => Some(
            "the tools for MyriadX know no loops, and how often it runs is known only when the network runs".to_owned(),
        ),
        "Scan" if model.opset() < PLAIN_SCAN => Some(format!(
            "the tools for MyriadX know no scans, and its form of opset 8 is not written out: export with opset \
             {PLAIN_SCAN} or newer"
        )),
        "Scan" => Some(
            "the tools for MyriadX know no scans, and how often it runs is known only when the network runs".to_owned(),
        ),
        "ConcatFromSequence" | "SplitToSequence" => Some(sequence(node, model, reads)),
        operator if operator.starts_with("Sequence") || operator.starts_with("Optional") => {
            Some(sequence(node, model, reads))
        }
        _ => None,
    }
}

/// Why no choice between the results of two branches can be computed.
fn undecided<'model>(node: &'model NodeProto, facts: &Facts<'model>) -> Option<&'static str> {
    let attributes = Attributes(node);
    let branches = [attributes.graph("then_branch")?, attributes.graph("else_branch")?];
    let repeats = |graph: &&GraphProto| graph.node.iter().any(|node| matches!(node.op_type(), "Loop" | "Scan"));
    let [yes, no] = branches.map(|graph| facts.of_branch(graph));
    Some(if yes.iter().chain(&no).any(|(element, sizes)| element.is_none() || sizes.is_none()) {
        "the shapes of what its branches give are not known"
    } else if yes != no {
        "its two branches give values of different types or shapes"
    } else if branches.iter().any(repeats) {
        "its branches have loops in them"
    } else {
        "a size that is not known decides which one is taken"
    })
}

/// Why something of a sequence, or of a value that may not be there, is left.
fn sequence(node: &NodeProto, model: &Model, reads: &Reads<'_>) -> String {
    let kind = |value: &Value| match value.kind {
        ValueKind::Other(kind) => Some(kind),
        ValueKind::Tensor { .. } => None,
    };
    let (inputs, outputs) = (model.inputs(), model.outputs());
    let behind = reached(node.output.iter(), |name| {
        let nodes = reads.readers(name).iter().filter_map(|place| model.graph().node.get(*place));
        nodes.flat_map(|node| &node.output).collect()
    });
    let before = reached(node.input.iter(), |name| {
        let maker = reads.producer(name).and_then(|place| model.graph().node.get(place));
        maker.into_iter().flat_map(|node| &node.input).collect()
    });
    let of = |values: &[Value], names: &HashSet<&str>| {
        let found = values.iter().find(|value| names.contains(value.name.as_str()) && kind(value).is_some())?;
        Some((found.name.clone(), kind(found)?))
    };
    match (of(&inputs, &before), of(&outputs, &behind)) {
        (Some((name, kind)), _) => {
            format!("the input `{name}` of the network is no tensor (it is of the kind `{kind}`), and blobs take only tensors")
        }
        (None, Some((name, kind))) => {
            format!("the output `{name}` of the network is no tensor (it is of the kind `{kind}`), and blobs give only tensors")
        }
        (None, None) => "the tools for MyriadX know no sequences, and which members this one has is known only when the network runs".to_owned(),
    }
}

/// Follows values.
fn reached<'model>(
    first: impl Iterator<Item = &'model String>,
    next: impl Fn(&'model str) -> Vec<&'model String>,
) -> HashSet<&'model str> {
    let mut waiting: Vec<&str> = first.map(String::as_str).collect();
    let mut seen = HashSet::new();
    while let Some(name) = waiting.pop() {
        if seen.insert(name) {
            waiting.extend(next(name).into_iter().map(String::as_str));
        }
    }
    seen
}
