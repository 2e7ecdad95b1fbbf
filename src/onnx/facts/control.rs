//! Inference through nested graphs.

use super::{Contents, Fact, Scope, follow};
use crate::onnx::attributes::Attributes;
use crate::onnx::geometry;
use crate::onnx::names::ByName;
use crate::onnx::proto::{GraphProto, NodeProto};
use crate::onnx::value::{Dimension, Shape};

/// Infers what is known about the results of an `If`, `Loop` or `Scan`.
pub(super) fn infer<'model>(node: &'model NodeProto, opset: i64, scope: &Scope<'_, 'model>) -> Vec<Fact<'model>> {
    match node.op_type() {
        "If" => branches(node, opset, scope),
        "Loop" => repeated(node, opset, scope),
        _ => scanned(node, opset, scope),
    }
    .unwrap_or_default()
}

/// Returns what is known about the outputs of a nested graph.
pub(super) fn outputs<'model>(
    graph: &'model GraphProto,
    opset: i64,
    outer: &Scope<'_, 'model>,
    given: Vec<Fact<'model>>,
) -> Vec<Fact<'model>> {
    let scope = Scope { facts: ByName::default(), outer: Some(outer) };
    let names = graph.input.iter().map(|input| input.name());
    let inner = follow(graph, opset, scope, names.zip(given).collect());
    graph.output.iter().map(|output| inner.find(output.name()).cloned().unwrap_or_default()).collect()
}

/// Either branch may run, so only what both agree on is known, unless the condition is.
fn branches<'model>(node: &'model NodeProto, opset: i64, scope: &Scope<'_, 'model>) -> Option<Vec<Fact<'model>>> {
    let attributes = Attributes(node);
    let of = |branch: &str| attributes.graph(branch).map(|graph| outputs(graph, opset, scope, Vec::new()));
    let condition = node.input.first().and_then(|name| scope.find(name)).and_then(Fact::small_array);
    match condition.and_then(|array| array.to_integer()) {
        Some(0) => of("else_branch"),
        Some(_) => of("then_branch"),
        None => {
            let (yes, no) = (of("then_branch")?, of("else_branch")?);
            Some(yes.into_iter().zip(no).map(|(yes, no)| either(yes, &no)).collect())
        }
    }
}

/// Keeps what holds for both.
fn either<'model>(one: Fact<'model>, other: &Fact<'_>) -> Fact<'model> {
    let shape = one.shape.zip(other.shape.as_ref()).filter(|(one, other)| one.rank() == other.rank());
    let dimension = |(one, other): (Dimension, &Dimension)| if one == *other { one } else { Dimension::Unknown };
    Fact {
        element: one.element.filter(|element| other.element == Some(*element)),
        shape: shape.map(|(one, other)| Shape(one.0.into_iter().zip(&other.0).map(dimension).collect())),
        contents: Contents::Unknown,
    }
}

/// What a nested graph that runs repeatedly may assume: the values it starts with, but not their elements.
fn carried<'model>(node: &'model NodeProto, first: usize, scope: &Scope<'_, 'model>) -> Vec<Fact<'model>> {
    let names = node.input.iter().skip(first);
    names
        .map(|name| match scope.find(name) {
            Some(fact) => Fact { element: fact.element, shape: fact.shape.clone(), contents: Contents::Unknown },
            None => Fact::default(),
        })
        .collect()
}

/// Carried values keep their shape if the body, fed with such shapes, returns such shapes. What it returns otherwise
/// was inferred from shapes that later rounds do not have, so that only element types are known.
fn repeated<'model>(node: &'model NodeProto, opset: i64, scope: &Scope<'_, 'model>) -> Option<Vec<Fact<'model>>> {
    let body = Attributes(node).graph("body")?;
    let given = carried(node, 2, scope);
    let scalar = || Fact { shape: Some(Shape::default()), ..Fact::default() };
    let all = [vec![scalar(), scalar()], given.clone()].concat();
    let results = outputs(body, opset, scope, all);
    let results = results.get(1..)?;
    let (states, scans) = results.split_at_checked(given.len())?;
    let stable = states.iter().zip(&given).all(|(after, before)| after.shape == before.shape);
    let trips = node.input.first().and_then(|name| scope.find(name)).and_then(Fact::small_array);
    // A loop may also end early, unless nothing but the number of trips decides.
    let unconditional = node.input.get(1).is_none_or(String::is_empty) && is_passed_on(body);
    let count = match trips.and_then(|trips| trips.to_integer()) {
        Some(count) if unconditional && count >= 0 => Dimension::Known(count),
        _ => Dimension::Unknown,
    };
    let known = |fact: &Fact<'model>, front: Option<&Dimension>| Fact {
        element: fact.element,
        shape: fact
            .shape
            .as_ref()
            .filter(|_| stable)
            .map(|shape| Shape([front.into_iter().cloned().collect(), shape.0.clone()].concat())),
        contents: Contents::Unknown,
    };
    let states = states.iter().map(|fact| known(fact, None));
    Some(states.chain(scans.iter().map(|fact| known(fact, Some(&count)))).collect())
}

/// Returns whether a loop's body returns the condition that it is given.
fn is_passed_on(body: &GraphProto) -> bool {
    let (Some(input), Some(output)) = (body.input.get(1), body.output.first()) else {
        return false;
    };
    let is_copy =
        |node: &NodeProto| node.op_type() == "Identity" && node.input.first().map(String::as_str) == Some(input.name());
    let producer = body.node.iter().find(|node| node.output.iter().any(|name| name == output.name()));
    producer.map_or(input.name() == output.name(), is_copy)
}

fn scanned<'model>(node: &'model NodeProto, opset: i64, scope: &Scope<'_, 'model>) -> Option<Vec<Fact<'model>>> {
    // The form of operator set 8 has a batch axis and is nobody's.
    let attributes = Attributes(node);
    let body = attributes.graph("body").filter(|_| opset >= 9)?;
    let scans = usize::try_from(attributes.int("num_scan_inputs")?).ok()?;
    let states = node.input.len().checked_sub(scans)?;
    let mut given = carried(node, 0, scope);
    let mut length = Dimension::Unknown;
    for (place, fact) in given.iter_mut().skip(states).enumerate() {
        let wanted = attributes.ints("scan_input_axes").and_then(|axes| axes.get(place)).copied().unwrap_or(0);
        if let Some(shape) = &mut fact.shape {
            let axis = geometry::axis(wanted, shape.rank())?;
            let scanned = shape.0.remove(axis);
            if !matches!(length, Dimension::Known(_)) {
                length = scanned;
            }
        }
    }
    let results = outputs(body, opset, scope, given.clone());
    let stable = results.iter().zip(&given).take(states).all(|(after, before)| after.shape == before.shape);
    let known = |(place, fact): (usize, &Fact<'model>)| {
        let mut shape = fact.shape.clone().filter(|_| stable);
        if let (Some(shape), Some(place)) = (&mut shape, place.checked_sub(states)) {
            let wanted = attributes.ints("scan_output_axes").and_then(|axes| axes.get(place)).copied().unwrap_or(0);
            shape.0.insert(geometry::axis(wanted, shape.rank() + 1)?, length.clone());
        }
        Some(Fact { element: fact.element, shape, contents: Contents::Unknown })
    };
    results.iter().enumerate().map(known).collect()
}
