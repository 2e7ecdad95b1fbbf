//! A change to a model, as a value.
//!
//! Owns applying it: all of it or nothing, and only if the result still agrees with itself.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::graph::{canonical_domain, initializer_names, node_label, rename_reads};
use super::names::Names;
use super::proto::{GraphProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto};
use super::{Model, NodeLabel, OnnxError, check};

/// The first version of the model format in which an initializer need not be an input.
const FREE_INITIALIZERS: i64 = 4;

/// What is to change in the main graph of a model. Places of nodes are those before the change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch {
    /// Nodes to remove, by place.
    pub removed_nodes: BTreeSet<usize>,
    /// Nodes to insert before the node at a place; the number of nodes is the place after the last one.
    pub inserted_nodes: BTreeMap<usize, Vec<NodeProto>>,
    /// Initializers to add.
    pub added_initializers: Vec<TensorProto>,
    /// Initializers to remove, by name.
    pub removed_initializers: BTreeSet<String>,
    /// Inputs to remove, by name.
    pub removed_inputs: BTreeSet<String>,
    /// Values to read instead of others: whatever read the key, nested graphs and outputs included, reads the value.
    /// Inserted nodes are not touched.
    pub rewired: BTreeMap<String, String>,
    /// Types and shapes of values that inserted nodes compute.
    pub added_values: Vec<ValueInfoProto>,
    /// Operator sets to import, by domain, with their versions.
    pub added_domains: BTreeMap<String, i64>,
    /// Domains that are no longer imported. ONNX's own is the empty text.
    pub removed_domains: BTreeSet<String>,
    /// Functions to remove, by place.
    pub removed_functions: BTreeSet<usize>,
}

/// A change that does not fit the model.
#[derive(Debug, Error)]
pub enum PatchError {
    /// There is no node at a place.
    #[error("the patch names node {place}, but the graph has {nodes}")]
    NoSuchNode {
        /// The place.
        place: usize,
        /// How many nodes there are.
        nodes: usize,
    },
    /// An input or initializer to remove does not exist.
    #[error("the patch removes `{name}`, which is no {what} of the graph")]
    NothingToRemove {
        /// The name.
        name: String,
        /// The kind of thing.
        what: &'static str,
    },
    /// An initializer to add has a name that is taken.
    #[error("the patch adds initializer `{name}`, but there is one")]
    InitializerExists {
        /// The name.
        name: String,
    },
    /// The changed model contradicts itself.
    #[error("the patched model is not valid")]
    Invalid(#[source] OnnxError),
}

impl Patch {
    /// Returns whether the patch changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Replaces the node at a place.
    pub fn replace(&mut self, place: usize, nodes: Vec<NodeProto>) {
        self.removed_nodes.insert(place);
        self.inserted_nodes.entry(place).or_default().extend(nodes);
    }

    /// Names the nodes that the patch removes from a model, in order.
    pub fn removed_labels(&self, model: &Model) -> Vec<NodeLabel> {
        self.removed_nodes.iter().filter_map(|place| model.graph().node.get(*place)).map(node_label).collect()
    }

    /// Names the nodes that the patch inserts, in order.
    pub fn inserted_labels(&self) -> Vec<NodeLabel> {
        self.inserted_nodes.values().flatten().map(node_label).collect()
    }

    /// Changes a model.
    ///
    /// # Errors
    /// The patch does not fit the model, or the result would contradict itself.
    pub fn apply(mut self, mut model: Model) -> Result<Model, PatchError> {
        self.fits(model.graph())?;
        let needs_free_initializers = !self.added_initializers.is_empty() || !self.removed_inputs.is_empty();
        if needs_free_initializers && model.ir_version() < FREE_INITIALIZERS {
            model.proto.ir_version = Some(FREE_INITIALIZERS);
        }
        model.proto.opset_import.retain(|import| !self.removed_domains.contains(canonical_domain(import.domain())));
        let added = self.added_domains.into_iter();
        model
            .proto
            .opset_import
            .extend(added.map(|(domain, version)| OperatorSetIdProto { domain: Some(domain), version: Some(version) }));
        let mut functions = 0..;
        model.proto.functions.retain(|_| functions.next().is_none_or(|place| !self.removed_functions.contains(&place)));
        let graph = &mut model.graph;
        let old = std::mem::take(&mut graph.node);
        let end = old.len();
        for (place, mut node) in old.into_iter().enumerate() {
            graph.node.extend(self.inserted_nodes.remove(&place).into_iter().flatten());
            if !self.removed_nodes.contains(&place) {
                rename_reads(&mut node, &self.rewired);
                graph.node.push(node);
            }
        }
        graph.node.extend(self.inserted_nodes.remove(&end).into_iter().flatten());
        for output in &mut graph.output {
            if let Some(new) = self.rewired.get(output.name()) {
                output.name = Some(new.clone());
            }
        }
        graph.input.retain(|input| !self.removed_inputs.contains(input.name()));
        graph.initializer.retain(|tensor| !self.removed_initializers.contains(tensor.name()));
        let keeps = |name: Option<&str>| name.is_none_or(|name| !self.removed_initializers.contains(name));
        graph.sparse_initializer.retain(|tensor| keeps(tensor.values.as_ref().map(|values| values.name())));
        graph.initializer.append(&mut self.added_initializers);
        graph.value_info.append(&mut self.added_values);
        forget_lost_values(graph);
        check::model(&model).map_err(PatchError::Invalid)?;
        Ok(model)
    }

    fn fits(&self, graph: &GraphProto) -> Result<(), PatchError> {
        let nodes = graph.node.len();
        let last_insertion = self.inserted_nodes.keys().next_back().filter(|place| **place > nodes);
        let last_removal = self.removed_nodes.last().filter(|place| **place >= nodes);
        if let Some(&place) = last_insertion.or(last_removal) {
            return Err(PatchError::NoSuchNode { place, nodes });
        }
        let inputs: Names<'_> = graph.input.iter().map(|input| input.name()).collect();
        let constants = initializer_names(graph);
        let lost = |name: &String, what| PatchError::NothingToRemove { name: name.clone(), what };
        if let Some(name) = self.removed_inputs.iter().find(|name| !inputs.contains(name.as_str())) {
            return Err(lost(name, "input"));
        }
        if let Some(name) = self.removed_initializers.iter().find(|name| !constants.contains(name.as_str())) {
            return Err(lost(name, "initializer"));
        }
        let taken = |tensor: &&TensorProto| {
            constants.contains(tensor.name()) && !self.removed_initializers.contains(tensor.name())
        };
        match self.added_initializers.iter().find(taken) {
            Some(tensor) => Err(PatchError::InitializerExists { name: tensor.name().to_owned() }),
            None => Ok(()),
        }
    }
}

/// Drops what is said about values that no longer exist.
pub(super) fn forget_lost_values(graph: &mut GraphProto) {
    let mut names: Names<'_> = initializer_names(graph);
    names.extend(graph.input.iter().map(|input| input.name()));
    names.extend(graph.node.iter().flat_map(|node| &node.output).map(String::as_str));
    let infos = graph.value_info.iter().map(|info| names.contains(info.name())).collect::<Vec<_>>();
    let annotations =
        graph.quantization_annotation.iter().map(|note| names.contains(note.tensor_name())).collect::<Vec<_>>();
    let mut kept = infos.into_iter();
    graph.value_info.retain(|_| kept.next().unwrap_or(true));
    let mut kept = annotations.into_iter();
    graph.quantization_annotation.retain(|_| kept.next().unwrap_or(true));
}
