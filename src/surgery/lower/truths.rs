//! Truth values that a network gives out.

use std::collections::BTreeMap;

use super::super::draft::Draft;
use super::super::{Pass, PassError};
use crate::onnx::proto::NodeProto;
use crate::onnx::{ElementType, Known, Patch, is_onnx_domain, node_label, subgraphs};

/// The first operator set whose comparisons broadcast like NumPy.
const NUMPY_BROADCASTING: i64 = 7;

/// Lets a comparison that nothing else reads give out each truth value.
///
/// The compiler gives out truth values as whole numbers, and only comparisons have such. Inside of a network they are
/// halves, and what reads both is refused.
#[derive(Clone, Copy, Debug)]
pub struct TruthOutputs;

impl Pass for TruthOutputs {
    fn name(&self) -> &'static str {
        "truth-given-out-by-comparisons"
    }

    fn reason(&self) -> &'static str {
        "the MYRIAD compiler gives out what a comparison says, and no other truth values"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let (graph, facts, reads) = (model.graph(), model.facts(), model.reads());
        if model.opset() < NUMPY_BROADCASTING {
            return Ok(None);
        }
        let mut draft = Draft::of(model);
        let mut replaced: BTreeMap<usize, Vec<NodeProto>> = BTreeMap::new();
        let outputs = graph.output.iter().map(|output| output.name());
        for output in outputs.filter(|output| facts.element(output) == Some(ElementType::Boolean)) {
            let Some((maker_place, maker)) =
                reads.producer(output).and_then(|place| Some((place, graph.node.get(place)?)))
            else {
                continue;
            };
            let readers = reads.readers(output);
            let is_nested = |place: &usize| graph.node.get(*place).is_some_and(|node| subgraphs(node).next().is_some());
            let is_given_out = matches!(maker.op_type(), "Equal" | "Greater" | "Less") && readers.is_empty();
            // What is a constant is computed sooner or later, and then stands for itself.
            if facts.is_constant(output)
                || is_given_out
                || !is_onnx_domain(maker.domain())
                || readers.iter().any(is_nested)
            {
                continue;
            }
            draft.begin(output, ElementType::Float32);
            let truth = draft.name("truth");
            let number = draft.cast(&truth, ElementType::Float32);
            let middle = draft.number(0.5);
            let said = draft.binary("Greater", &number, &middle);
            draft.yields(&said, output);
            for place in std::iter::once(&maker_place).chain(readers) {
                let Some(node) = graph.node.get(*place) else { continue };
                let nodes = replaced.entry(*place).or_insert_with(|| vec![node.clone()]);
                let Some(node) = nodes.first_mut() else { continue };
                let names = node.input.iter_mut().chain(&mut node.output).filter(|name| *name == output);
                names.for_each(|name| truth.clone_into(name));
                if *place == maker_place && node.name().is_empty() {
                    // People know it by what it gives out.
                    node.name = Some(output.to_owned());
                }
            }
            replaced.entry(maker_place).or_default().extend(draft.take());
        }
        let Some(node) = replaced.values().flatten().next().map(node_label) else { return Ok(None) };
        let added_initializers = draft.finish().map_err(|source| PassError::Constant { node, source })?;
        let mut patch = Patch { added_initializers, ..Patch::default() };
        replaced.into_iter().for_each(|(place, nodes)| patch.replace(place, nodes));
        Ok(Some(patch))
    }
}
