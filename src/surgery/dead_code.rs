//! Nodes and constants that no output depends on.

use std::collections::BTreeSet;

use super::{Pass, PassError};
use crate::onnx::{Known, Patch};

/// Removes what does not contribute to an output. Inputs stay, used or not.
#[derive(Clone, Copy, Debug)]
pub struct DeadCode;

impl Pass for DeadCode {
    fn name(&self) -> &'static str {
        "dead-code"
    }

    fn reason(&self) -> &'static str {
        "what no output depends on need not be compiled"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let graph = model.graph();
        let reads = model.reads();
        let live = reads.live_nodes(graph);
        let dead_nodes = live.iter().enumerate().filter(|(_, live)| !**live).map(|(place, _)| place);
        let inputs: BTreeSet<&str> = graph.input.iter().map(|input| input.name()).collect();
        let is_read = |name: &str| reads.readers(name).iter().any(|reader| live.get(*reader) == Some(&true));
        let sparse = graph.sparse_initializer.iter().filter_map(|tensor| tensor.values.as_ref());
        let constants = graph.initializer.iter().chain(sparse).map(|tensor| tensor.name());
        // A constant that is an input's default is left to the pass that decides about inputs.
        let dead_constants = constants
            .filter(|name| !is_read(name) && !reads.is_output(name) && !inputs.contains(name))
            .map(str::to_owned);
        Ok(Some(Patch {
            removed_nodes: dead_nodes.collect(),
            removed_initializers: dead_constants.collect(),
            ..Patch::default()
        }))
    }
}
