//! Looking around in a graph: names, readers, nested graphs.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::OnceLock;

use foldhash::fast::RandomState;

use super::Model;
use super::names::{ByName, Names};
use super::proto::{GraphProto, NodeProto};

/// Returns whether a domain is ONNX's own, under either of its names.
pub fn is_onnx_domain(domain: &str) -> bool {
    canonical_domain(domain).is_empty()
}

/// Returns whether a domain is that of ONNX Runtime's own operators.
pub fn is_runtime_domain(domain: &str) -> bool {
    domain == "com.microsoft"
}

/// Returns the domain under its shortest name.
pub(super) fn canonical_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

/// How a node is named to people: its name, or what it computes if it has none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeLabel {
    /// The operator, with its domain unless that is ONNX's own.
    pub operator: String,
    /// The node's name, or the name of the first value it computes.
    pub name: String,
}

/// Prints ``Conv `backbone/conv1` ``.
impl fmt::Display for NodeLabel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} `{}`", self.operator, self.name)
    }
}

/// Names a node to people.
pub fn node_label(node: &NodeProto) -> NodeLabel {
    let first_output = || node.output.iter().find(|output| !output.is_empty());
    let name = match node.name() {
        "" => first_output().map_or_else(String::new, String::clone),
        name => name.to_owned(),
    };
    let operator = match canonical_domain(node.domain()) {
        "" => node.op_type().to_owned(),
        domain => format!("{domain}.{}", node.op_type()),
    };
    NodeLabel { operator, name }
}

/// Returns the graphs that the attributes of a node hold.
pub fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.as_deref().into_iter().chain(&attribute.graphs))
}

/// Returns the names of the values that a graph's initializers define, dense and sparse.
pub(super) fn initializer_names(graph: &GraphProto) -> Names<'_> {
    let dense = graph.initializer.iter().map(|tensor| tensor.name());
    let sparse =
        graph.sparse_initializer.iter().filter_map(|tensor| tensor.values.as_ref()).map(|tensor| tensor.name());
    dense.chain(sparse).collect()
}

/// Returns the names that a graph defines itself: inputs, initializers and results of its nodes.
fn defined(graph: &GraphProto) -> Names<'_> {
    let mut names = initializer_names(graph);
    names.extend(graph.input.iter().map(|input| input.name()));
    names.extend(graph.node.iter().flat_map(|node| &node.output).map(String::as_str));
    names
}

/// Calls `visit` for each value of the surrounding graph that a node reads, itself or in a nested graph.
pub(super) fn visit_reads<'a>(node: &'a NodeProto, visit: &mut impl FnMut(&'a str)) {
    for input in node.input.iter().filter(|input| !input.is_empty()) {
        visit(input);
    }
    for graph in subgraphs(node) {
        let own = defined(graph);
        let mut outside = |name: &'a str| {
            if !own.contains(name) {
                visit(name);
            }
        };
        visit_graph_reads(graph, &mut outside);
    }
}

/// As [`visit_reads`], for all nodes and outputs of a nested graph. Not generic over the callback, because it recurses.
fn visit_graph_reads<'a>(graph: &'a GraphProto, mut visit: &mut dyn FnMut(&'a str)) {
    for node in &graph.node {
        visit_reads(node, &mut visit);
    }
    for output in &graph.output {
        visit(output.name());
    }
}

/// Replaces what a node reads, itself or in nested graphs, wherever `renamed` knows a new name.
pub fn rename_reads(node: &mut NodeProto, renamed: &BTreeMap<String, String>) {
    for input in &mut node.input {
        if let Some(new) = renamed.get(input) {
            input.clone_from(new);
        }
    }
    for attribute in &mut node.attribute {
        for graph in attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs) {
            let own = defined(graph);
            let visible: BTreeMap<String, String> = renamed
                .iter()
                .filter(|(old, _)| !own.contains(old.as_str()))
                .map(|(old, new)| (old.clone(), new.clone()))
                .collect();
            if visible.is_empty() {
                continue;
            }
            for node in &mut graph.node {
                rename_reads(node, &visible);
            }
            for output in &mut graph.output {
                if let Some(new) = visible.get(output.name()) {
                    output.name = Some(new.clone());
                }
            }
        }
    }
}

/// Who reads and who computes each value of the main graph. A node that reads a value in a nested graph counts. Each is found
/// out when somebody asks first.
#[derive(Debug)]
pub struct Reads<'a> {
    graph: &'a GraphProto,
    readers: OnceLock<ByName<'a, Vec<usize>>>,
    producers: OnceLock<ByName<'a, usize>>,
    outputs: BTreeSet<&'a str>,
}

impl<'a> Reads<'a> {
    /// Prepares to look at every node once.
    pub fn of(graph: &'a GraphProto) -> Self {
        let outputs = graph.output.iter().map(|output| output.name()).collect();
        Self { graph, readers: OnceLock::new(), producers: OnceLock::new(), outputs }
    }

    fn all_readers(&self) -> &ByName<'a, Vec<usize>> {
        self.readers.get_or_init(|| {
            let mut readers: ByName<'_, Vec<usize>> = ByName::default();
            readers.reserve(self.graph.node.len());
            for (index, node) in self.graph.node.iter().enumerate() {
                visit_reads(node, &mut |name| {
                    let readers = readers.entry(name).or_default();
                    if readers.last() != Some(&index) {
                        readers.push(index);
                    }
                });
            }
            readers
        })
    }

    fn all_producers(&self) -> &ByName<'a, usize> {
        self.producers.get_or_init(|| {
            let mut producers = ByName::default();
            producers.reserve(self.graph.node.len());
            for (index, node) in self.graph.node.iter().enumerate() {
                for output in node.output.iter().filter(|output| !output.is_empty()) {
                    producers.insert(output.as_str(), index);
                }
            }
            producers
        })
    }

    /// Returns the places of the nodes that read a value, ascending.
    pub fn readers(&self, value: &str) -> &[usize] {
        self.all_readers().get(value).map_or(&[], Vec::as_slice)
    }

    /// Returns the place of the node that computes a value.
    pub fn producer(&self, value: &str) -> Option<usize> {
        self.all_producers().get(value).copied()
    }

    /// Returns whether a value is an output of the graph.
    pub fn is_output(&self, value: &str) -> bool {
        self.outputs.contains(value)
    }

    /// Returns the names of the outputs of the graph, sorted.
    pub fn outputs(&self) -> impl Iterator<Item = &'a str> {
        self.outputs.iter().copied()
    }

    /// Returns for each node whether an output of the graph depends on it.
    pub fn live_nodes(&self, graph: &GraphProto) -> Vec<bool> {
        let mut live = vec![false; graph.node.len()];
        let mut waiting: Vec<usize> = self.outputs.iter().filter_map(|output| self.producer(output)).collect();
        while let Some(index) = waiting.pop() {
            match (live.get_mut(index), graph.node.get(index)) {
                (Some(mark), Some(node)) if !*mark => {
                    *mark = true;
                    visit_reads(node, &mut |name| waiting.extend(self.producer(name)));
                }
                _ => {}
            }
        }
        live
    }
}

/// Makes names that nothing in a model has, the same ones every time. The model is looked at when the first one is made.
#[derive(Debug)]
pub struct FreshNames<'model> {
    model: &'model Model,
    taken: Option<HashSet<Cow<'model, str>, RandomState>>,
}

impl<'model> FreshNames<'model> {
    /// Prepares to make names that no value or node of the model has, nested graphs included.
    pub const fn of(model: &'model Model) -> Self {
        Self { model, taken: None }
    }

    fn taken(model: &Model) -> HashSet<Cow<'_, str>, RandomState> {
        fn collect<'model>(graph: &'model GraphProto, taken: &mut HashSet<Cow<'model, str>, RandomState>) {
            taken.extend(defined(graph).into_iter().map(Cow::Borrowed));
            taken.extend(graph.output.iter().chain(&graph.value_info).map(|info| Cow::Borrowed(info.name())));
            for node in &graph.node {
                taken.insert(Cow::Borrowed(node.name()));
                taken.extend(node.input.iter().map(|input| Cow::Borrowed(input.as_str())));
                subgraphs(node).for_each(|graph| collect(graph, taken));
            }
        }
        let mut taken = HashSet::default();
        collect(model.graph(), &mut taken);
        taken
    }

    /// Returns `wanted`, or `wanted` with the first number that makes it new, and takes it.
    pub fn make(&mut self, wanted: &str) -> String {
        let numbered = (1_u64..).map(|number| format!("{wanted}_{number}"));
        let taken = self.taken.get_or_insert_with(|| Self::taken(self.model));
        let name = std::iter::once(wanted.to_owned()).chain(numbered).find(|name| !taken.contains(name.as_str()));
        let name = name.unwrap_or_default();
        taken.insert(Cow::Owned(name.clone()));
        name
    }
}
