//! Feeding a graph inside: values that nodes compute become inputs.

use std::collections::BTreeSet;

use super::graph::{FreshNames, Reads};
use super::proto::{GraphProto, NodeProto};
use super::select::{SelectError, drop_unneeded, undescribed};
use super::types::element_types;
use super::{Model, check};
use crate::hint::nearest;

/// Returns the model with the named values as inputs, without the nodes, constants and inputs that only served to
/// compute them. Names that are inputs already stay, and so do other inputs that are still needed.
///
/// # Errors
/// Nothing in the model computes a value of that name.
pub fn select_inputs(model: &Model, names: &[String]) -> Result<Model, SelectError> {
    let graph = model.graph();
    let is_input = |name: &str| model.inputs().iter().any(|input| input.name == name);
    let inner: BTreeSet<&str> = names.iter().map(String::as_str).filter(|name| !is_input(name)).collect();
    if inner.is_empty() {
        return Ok(model.clone());
    }
    let reads = Reads::of(graph);
    if let Some(name) = inner.iter().find(|name| reads.producer(name).is_none()) {
        return Err(SelectError::NoSuchValue {
            name: (*name).to_owned(),
            outputs: graph.output.iter().map(|output| format!("`{}`", output.name())).collect(),
            nearest: nearest(name, reads.outputs()).map(str::to_owned),
        });
    }
    let mut fresh = FreshNames::of(model);
    // A node with other outputs may still be needed for them.
    let mut without = |node: &NodeProto| {
        let output = node.output.iter().map(|output| match inner.contains(output.as_str()) {
            true => fresh.make(output),
            false => output.clone(),
        });
        NodeProto { output: output.collect(), ..node.clone() }
    };
    let mut fed = GraphProto { node: graph.node.iter().map(&mut without).collect(), ..graph.clone() };
    let types = element_types(model);
    for name in &inner {
        let known = graph.value_info.iter().chain(&graph.output).find(|info| info.name() == *name).cloned();
        fed.input.push(known.unwrap_or_else(|| undescribed(name, types.get(*name).copied())));
    }
    fed.value_info.retain(|info| !inner.contains(info.name()));
    drop_unneeded(&mut fed, graph);
    check::structure(&fed).map_err(SelectError::Invalid)?;
    Ok(model.with_graph(fed))
}

#[cfg(test)]
mod tests {
    use super::super::tests::builder::{FLOAT, Graph, INT64, Model as Built, Node, Tensor, sizes};
    use super::*;

    fn model() -> Model {
        let graph = Graph::new()
            .node(Node::new("Add", &["x", "c"], &["sum"]))
            .node(Node::new("TopK", &["sum", "k"], &["values", "places"]))
            .node(Node::new("Relu", &["values"], &["y"]))
            .node(Node::new("Cast", &["places"], &["z"]).int("to", 1))
            .initializer(Tensor::floats("c", &[4], &[1.0, 2.0, 3.0, 4.0]))
            .initializer(Tensor::integers("k", &[1], &[2]))
            .input("x", FLOAT, &sizes(&[4]))
            .value("values", FLOAT, &sizes(&[2]))
            .value("places", INT64, &sizes(&[2]))
            .output("y", FLOAT, &sizes(&[2]))
            .output("z", FLOAT, &sizes(&[2]));
        Model::parse(Built::new(graph).bytes().into()).unwrap()
    }

    fn fed(names: &[&str]) -> Result<(Vec<String>, Vec<String>), SelectError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let model = select_inputs(&model(), &names)?;
        let nodes = model.graph().node.iter().map(|node| node.op_type().to_owned()).collect();
        // What comes out is a model that can be read again.
        let mut bytes = Vec::new();
        model.write_to(&mut bytes).unwrap();
        let again = Model::parse(bytes.into()).unwrap();
        Ok((again.inputs().into_iter().map(|input| input.name).collect(), nodes))
    }

    #[test]
    fn what_only_served_the_new_inputs_goes() {
        for (names, inputs, nodes) in [
            (&["x"][..], &["x"][..], &["Add", "TopK", "Relu", "Cast"][..]),
            (&["sum"], &["sum"], &["TopK", "Relu", "Cast"]),
            (&["values"], &["x", "values"], &["Add", "TopK", "Relu", "Cast"]),
            (&["values", "places"], &["places", "values"], &["Relu", "Cast"]),
        ] {
            let (found, left) = fed(names).unwrap();
            assert_eq!((found, left), (owned(inputs), owned(nodes)), "{names:?}");
        }
        let error = fed(&["vlues"]).unwrap_err();
        assert!(error.to_string().contains("no output, intermediate value or node `vlues`"), "{error}");
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }
}
