//! Operators that the model defines itself.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{MAX_NODES, Transplant, prefix, splice};
use crate::onnx::proto::{AttributeProto, FunctionProto, GraphProto, NodeProto, ValueInfoProto};
use crate::onnx::{FreshNames, Known, Patch, is_onnx_domain, node_label, subgraphs};
use crate::surgery::{Pass, PassError};

/// How deep functions may call functions; exporters make one level for each module in a module.
const MAX_DEPTH: usize = 64;

/// Puts the nodes of a function in the place of each of its calls.
#[derive(Clone, Copy, Debug)]
pub struct InlineFunctions;

impl Pass for InlineFunctions {
    fn name(&self) -> &'static str {
        "inline-functions"
    }

    fn reason(&self) -> &'static str {
        "the tools know no operators that a model defines itself"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let functions = model.functions().iter();
        let functions: Functions<'_> = functions
            .filter(|function| gives_its_outputs(function))
            .map(|function| (key(function.domain(), function.name(), function.overload()), function))
            .collect();
        if functions.is_empty() {
            return Ok(None);
        }
        let graph = model.graph();
        if !graph.node.iter().any(|node| calls(node, &functions)) {
            return Ok(None);
        }
        let mut names = FreshNames::of(model);
        let mut expansion = Expansion { functions: &functions, names: &mut names, count: 0 };
        let mut patch = Patch::default();
        for (place, node) in graph.node.iter().enumerate().filter(|(_, node)| calls(node, &functions)) {
            let mut nodes = Vec::new();
            expansion.expand(node.clone(), &mut Vec::new(), &mut nodes)?;
            patch.replace(place, nodes);
        }
        // What the bodies speak, the main graph has to speak from now on.
        let imports = functions.values().flat_map(|function| &function.opset_import);
        patch.added_domains = imports.map(|import| (import.domain().to_owned(), import.version())).collect();
        let opsets = model.opsets();
        patch.added_domains.retain(|domain, _| !opsets.contains_key(if is_onnx_domain(domain) { "" } else { domain }));
        Ok(Some(patch))
    }
}

/// Names a function or a call of it: domain, operator, overload.
fn key(domain: &str, operator: &str, overload: &str) -> String {
    format!("{}\0{operator}\0{overload}", plain(domain))
}

/// Returns whether everything that a function promises is there.
fn gives_its_outputs(function: &FunctionProto) -> bool {
    let computed: HashSet<&String> =
        function.input.iter().chain(function.node.iter().flat_map(|it| &it.output)).collect();
    function.output.iter().all(|output| computed.contains(output))
}

type Functions<'a> = HashMap<String, &'a FunctionProto>;

fn called<'a>(node: &NodeProto, functions: &Functions<'a>) -> Option<&'a FunctionProto> {
    let function = functions.get(&key(node.domain(), node.op_type(), node.overload())).copied();
    function.filter(|function| node.output.len() <= function.output.len())
}

fn plain(domain: &str) -> &str {
    if is_onnx_domain(domain) { "" } else { domain }
}

/// Returns whether a node calls a function, itself or in a nested graph.
fn calls(node: &NodeProto, functions: &Functions<'_>) -> bool {
    called(node, functions).is_some()
        || subgraphs(node).any(|graph| graph.node.iter().any(|node| calls(node, functions)))
}

struct Expansion<'a, 'model> {
    functions: &'a Functions<'a>,
    names: &'a mut FreshNames<'model>,
    /// How many nodes were made.
    count: usize,
}

impl<'a> Expansion<'a, '_> {
    /// Adds to `nodes` what a node becomes. `callers` are the functions that led here.
    fn expand(
        &mut self,
        mut node: NodeProto,
        callers: &mut Vec<&'a FunctionProto>,
        nodes: &mut Vec<NodeProto>,
    ) -> Result<(), PassError> {
        let Some(function) = called(&node, self.functions) else {
            for attribute in &mut node.attribute {
                for graph in attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs) {
                    let mut inner = Vec::with_capacity(graph.node.len());
                    for node in std::mem::take(&mut graph.node) {
                        self.expand(node, callers, &mut inner)?;
                    }
                    graph.node = inner;
                }
            }
            nodes.push(node);
            return Ok(());
        };
        if callers.iter().any(|caller| std::ptr::eq(*caller, function)) {
            return Err(PassError::RecursiveFunction { function: node_label(&node).operator });
        }
        self.count = self.count.saturating_add(function.node.len());
        if self.count > MAX_NODES {
            return Err(PassError::TooManyNodes { node: node_label(&node), limit: MAX_NODES });
        }
        if callers.len() >= MAX_DEPTH {
            return Err(PassError::DeepFunctions { function: node_label(&node).operator, limit: MAX_DEPTH });
        }
        let body = body(function, &node);
        let given = node.input.iter().cloned().chain(std::iter::repeat(String::new()));
        let renamed: BTreeMap<String, String> = function.input.iter().cloned().zip(given).collect();
        let mut transplant = Transplant::new(self.names);
        splice(&mut transplant, &body, &prefix(&node), renamed, &node.output);
        let inlined = transplant.nodes;
        callers.push(function);
        for node in inlined {
            self.expand(node, callers, nodes)?;
        }
        callers.pop();
        Ok(())
    }
}

/// Returns the nodes of a function with the attributes of one call.
fn body(function: &FunctionProto, call: &NodeProto) -> GraphProto {
    let mut node = function.node.clone();
    node.iter_mut().for_each(|node| bind(node, function, call));
    let output = function.output.iter();
    GraphProto {
        node,
        output: output.map(|name| ValueInfoProto { name: Some(name.clone()), ..ValueInfoProto::default() }).collect(),
        ..GraphProto::default()
    }
}

/// Gives attributes that refer to one of the function's its value: that of the call, or the default, or none.
fn bind(node: &mut NodeProto, function: &FunctionProto, call: &NodeProto) {
    let attributes = std::mem::take(&mut node.attribute);
    for mut attribute in attributes {
        if attribute.ref_attr_name().is_empty() {
            for graph in attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs) {
                graph.node.iter_mut().for_each(|node| bind(node, function, call));
            }
            node.attribute.push(attribute);
            continue;
        }
        let mut all = call.attribute.iter().chain(&function.attribute_proto);
        if let Some(value) = all.find(|value| value.name() == attribute.ref_attr_name()) {
            node.attribute.push(AttributeProto { name: attribute.name.take(), ..value.clone() });
        }
    }
}
