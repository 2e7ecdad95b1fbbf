//! Nodes that compute the same on every run.

use std::collections::{BTreeMap, HashMap};

use super::inline;
use super::{Pass, PassError};
use crate::onnx::proto::NodeProto;
use crate::onnx::{Array, Facts, FreshNames, Known, Patch, Reads, kernels};

/// What one constant may take, in bytes, although it is larger than what it is computed of. Weights that an exporter
/// writes as a small value and a large shape stay that way.
const SMALL: u64 = 1 << 20;

/// How much larger, in bytes, the constants may become in all.
const MAX_GROWTH: u64 = 256 << 20;

/// Replaces what is computed of constants, or of shapes that are known, by constants.
#[derive(Clone, Copy, Debug)]
pub struct FoldConstants;

impl Pass for FoldConstants {
    fn name(&self) -> &'static str {
        "fold-constants"
    }

    fn reason(&self) -> &'static str {
        "what is the same on every run is computed once, so that the tools need not know how"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let graph = model.graph();
        let reads = model.reads();
        let mut folding = Folding { facts: model.facts(), opset: model.opset(), results: HashMap::new(), growth: 0 };
        let mut patch = Patch::default();
        for (place, node) in graph.node.iter().enumerate() {
            let is_constant = matches!(node.op_type(), "Constant" | "Identity") && gives_output(node, reads);
            if node.op_type() != "Constant" && !is_constant && folding.fold(node, reads) {
                patch.removed_nodes.insert(place);
            }
        }
        if patch.removed_nodes.is_empty() {
            return Ok(None);
        }
        let mut names = FreshNames::of(model);
        let is_kept = |place: &usize| !patch.removed_nodes.contains(place);
        let mut outputs = BTreeMap::new();
        for (place, node) in graph.node.iter().enumerate().filter(|(place, _)| !is_kept(place)) {
            for name in node.output.iter().filter(|name| !name.is_empty()) {
                let Some(array) = folding.results.get(name.as_str()) else {
                    continue;
                };
                if reads.is_output(name) {
                    // An output is computed by a node, for the sake of tools that look for one.
                    let constant = names.make(&format!("{name}/constant"));
                    patch.added_initializers.push(array.to_tensor(&constant));
                    let label = names.make(&format!("{name}/Identity"));
                    outputs.entry(place).or_insert_with(Vec::new).push(inline::node(
                        "Identity",
                        label,
                        &[&constant],
                        &[name],
                    ));
                } else if reads.readers(name).iter().any(is_kept) {
                    patch.added_initializers.push(array.to_tensor(name));
                }
            }
        }
        patch.inserted_nodes = outputs;
        Ok(Some(patch))
    }
}

fn gives_output(node: &NodeProto, reads: &Reads<'_>) -> bool {
    node.output.iter().any(|name| reads.is_output(name))
}

struct Folding<'model> {
    facts: &'model Facts<'model>,
    opset: i64,
    /// What was computed so far.
    results: HashMap<&'model str, Array>,
    growth: u64,
}

impl<'model> Folding<'model> {
    /// Computes a node, if it is constant and the result is not too large.
    fn fold(&mut self, node: &'model NodeProto, reads: &Reads<'_>) -> bool {
        let Some(arrays) = self.known(node).or_else(|| self.computed(node, reads)) else {
            return false;
        };
        self.results.extend(node.output.iter().map(String::as_str).zip(arrays));
        true
    }

    /// What inference has found out already.
    fn known(&self, node: &NodeProto) -> Option<Vec<Array>> {
        let outputs = node.output.iter();
        outputs.map(|name| self.facts.array(name)).collect::<Option<Vec<_>>>().filter(|arrays| !arrays.is_empty())
    }

    fn computed(&mut self, node: &NodeProto, reads: &Reads<'_>) -> Option<Vec<Array>> {
        let array = |name: &String| match name.as_str() {
            "" => Some(None),
            name => self.results.get(name).cloned().or_else(|| self.facts.array(name)).map(Some),
        };
        // Most nodes read something that varies; find that out before large constants are touched.
        let is_known = |name: &&String| {
            name.is_empty() || self.results.contains_key(name.as_str()) || self.facts.is_constant(name)
        };
        if !node.input.iter().all(|name| is_known(&name)) {
            return None;
        }
        let inputs = node.input.iter().map(array).collect::<Option<Vec<_>>>()?;
        let sizes = |arrays: &[Array]| arrays.iter().map(|array| array.bytes().len() as u64).sum::<u64>();
        let own = sizes(&inputs.iter().flatten().cloned().collect::<Vec<_>>());
        // Weights that were quantised to save room have to be floats for the tools; and products of constants, as a
        // table of positions that small layers make, are no way of saving room, and the tools cannot read them.
        let limit = match node.op_type() {
            "DequantizeLinear" | "MatMul" | "Gemm" => MAX_GROWTH,
            _ => own.max(SMALL),
        };
        let results = kernels::evaluate(node, self.opset, &inputs, limit)?;
        let freed = node.input.iter().zip(&inputs).filter(|(name, _)| reads.readers(name).len() == 1);
        let freed: u64 = freed.filter_map(|(_, array)| array.as_ref()).map(|array| array.bytes().len() as u64).sum();
        let growth = self.growth.saturating_add(sizes(&results)).saturating_sub(freed);
        if growth > MAX_GROWTH {
            return None;
        }
        self.growth = growth;
        Some(results)
    }
}
