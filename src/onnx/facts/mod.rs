//! What is known about the values of a model's main graph: element types, shapes, contents.
//!
//! Owns [`Facts`], the one thing that passes ask. Everything is inferred from the inputs on, node by node; what the model
//! states about intermediate values only fills the gaps, because statements become stale when a graph is changed. A
//! fact is proven or absent: what is not known to hold for every run of the network is not said.

mod call;
mod control;
mod entries;
mod rules;

use std::sync::OnceLock;

use self::call::Call;
use self::entries::Entry;
use super::Model;
use super::array::Array;
use super::attributes::Attributes;
use super::element::ElementType;
use super::graph::{is_onnx_domain, is_runtime_domain};
use super::kernels;
use super::names::ByName;
use super::proto::{GraphProto, NodeProto, TensorProto};
use super::types::result_type;
use super::value::{Dimension, Shape, Value};

/// The most elements of a value that inference computes, rather than only its shape: what shapes, axes, indices and
/// scales are made of.
const MAX_FOLLOWED: usize = 4096;

/// What is known about one value.
#[derive(Clone, Debug, Default)]
struct Fact<'model> {
    element: Option<ElementType>,
    shape: Option<Shape>,
    contents: Contents<'model>,
}

/// What is known about the elements of a value.
#[derive(Clone, Debug, Default)]
enum Contents<'model> {
    #[default]
    Unknown,
    /// All of them, as the model has them.
    Tensor(&'model TensorProto),
    /// All of them.
    Array(Array),
    /// Some of them; of integers, and at most one axis of them.
    Entries(Vec<Entry>),
}

impl Fact<'_> {
    fn of_array(array: Array) -> Self {
        let shape = Shape(array.sizes().iter().map(|&size| Dimension::Known(size as i64)).collect());
        Self { element: Some(array.element()), shape: Some(shape), contents: Contents::Array(array) }
    }

    /// Returns the elements, if all are known.
    fn array(&self) -> Option<Array> {
        match &self.contents {
            Contents::Tensor(tensor) => Array::of(tensor),
            Contents::Array(array) => Some(array.clone()),
            Contents::Entries(_) | Contents::Unknown => None,
        }
    }

    /// Returns the number of elements, if all dimensions are known.
    fn count(&self) -> Option<usize> {
        let sizes = self.shape.as_ref()?.known()?;
        sizes.into_iter().try_fold(1_usize, |count, size| count.checked_mul(usize::try_from(size).ok()?))
    }

    /// Returns the elements, if all are known and they are few.
    fn small_array(&self) -> Option<Array> {
        self.count().filter(|count| *count <= MAX_FOLLOWED).and_then(|_| self.array())
    }

    /// Adds what the model states about the value: its element type, and sizes that inference does not know.
    fn complete(&mut self, stated: &Value) {
        self.element = self.element.or(stated.element());
        let Some(stated) = stated.shape() else {
            return;
        };
        match &mut self.shape {
            None => self.shape = Some(stated.clone()),
            Some(shape) if shape.rank() == stated.rank() => {
                for (own, stated) in shape.0.iter_mut().zip(&stated.0) {
                    match (&own, stated) {
                        (Dimension::Unknown, _) | (Dimension::Symbolic(_), Dimension::Known(_)) => {
                            own.clone_from(stated);
                        }
                        _ => {}
                    }
                }
            }
            Some(_) => {}
        }
    }
}

/// The values that a graph can read, its own and those around it.
#[derive(Clone, Debug)]
struct Scope<'scope, 'model> {
    facts: ByName<'model, Fact<'model>>,
    outer: Option<&'scope Scope<'scope, 'model>>,
}

impl<'model> Scope<'_, 'model> {
    fn find(&self, name: &str) -> Option<&Fact<'model>> {
        self.facts.get(name).or_else(|| self.outer.and_then(|outer| outer.find(name)))
    }
}

/// What is known about the values of the main graph of one model, by name. It is found out when somebody asks first.
#[derive(Clone, Debug)]
pub struct Facts<'model> {
    model: &'model Model,
    scope: OnceLock<Scope<'model, 'model>>,
}

impl<'model> Facts<'model> {
    /// Infers what is known about a model.
    pub const fn of(model: &'model Model) -> Self {
        Self { model, scope: OnceLock::new() }
    }

    fn scope(&self) -> &Scope<'model, 'model> {
        let infer = || {
            let scope = Scope { facts: ByName::default(), outer: None };
            follow(self.model.graph(), self.model.opset(), scope, ByName::default())
        };
        self.scope.get_or_init(infer)
    }

    fn find(&self, name: &str) -> Option<&Fact<'model>> {
        self.scope().find(name)
    }

    /// Returns the element type and the dimensions of each output of a nested graph that takes no inputs, as far as they
    /// are known.
    pub fn of_branch(&self, graph: &'model GraphProto) -> Vec<(Option<ElementType>, Option<Vec<i64>>)> {
        let outputs = control::outputs(graph, self.model.opset(), self.scope(), Vec::new());
        outputs.into_iter().map(|fact| (fact.element, fact.shape.as_ref().and_then(Shape::known))).collect()
    }

    /// Returns the element type of a value.
    pub fn element(&self, name: &str) -> Option<ElementType> {
        self.find(name)?.element
    }

    /// Returns the shape of a value, in which single dimensions may be unknown.
    pub fn shape(&self, name: &str) -> Option<&Shape> {
        self.find(name)?.shape.as_ref()
    }

    /// Returns the dimensions of a value, outermost first, if all of them are known.
    pub fn sizes(&self, name: &str) -> Option<Vec<i64>> {
        self.shape(name).and_then(Shape::known)
    }

    /// Returns the number of dimensions of a value.
    pub fn rank(&self, name: &str) -> Option<usize> {
        self.shape(name).map(Shape::rank)
    }

    /// Returns the tensor of a value that an initializer or a `Constant` node gives.
    pub fn constant(&self, name: &str) -> Option<&'model TensorProto> {
        match self.find(name)?.contents {
            Contents::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// Returns the elements of a value that does not depend on what the network is fed: a constant of the model, or what
    /// is computed of constants and of known shapes, if that is little.
    pub fn array(&self, name: &str) -> Option<Array> {
        self.find(name)?.array()
    }

    /// Returns whether a value is an initializer or a `Constant`, or something small that is computed of such.
    pub fn is_constant(&self, name: &str) -> bool {
        self.find(name).is_some_and(|fact| matches!(fact.contents, Contents::Tensor(_) | Contents::Array(_)))
    }

    /// Returns the elements of a value of integers that does not depend on what the network is fed: axes, shapes, pads.
    pub fn integers(&self, name: &str) -> Option<Vec<i64>> {
        self.array(name).filter(|array| array.element() != ElementType::Boolean)?.to_integers()
    }

    /// Returns the elements of a value of floating numbers that does not depend on what the network is fed.
    pub fn floats(&self, name: &str) -> Option<Vec<f64>> {
        self.array(name)?.to_floats()
    }
}

/// Follows the nodes of a graph, in order. `given` are facts about its inputs.
fn follow<'scope, 'model>(
    graph: &'model GraphProto,
    opset: i64,
    mut scope: Scope<'scope, 'model>,
    mut given: ByName<'model, Fact<'model>>,
) -> Scope<'scope, 'model> {
    let mut stated: ByName<'_, Value> = ByName::default();
    for info in graph.value_info.iter().chain(&graph.output) {
        stated.insert(info.name(), Value::from_proto(info));
    }
    for input in &graph.input {
        let mut fact = given.remove(input.name()).unwrap_or_default();
        fact.complete(&Value::from_proto(input));
        scope.facts.insert(input.name(), fact);
    }
    for tensor in &graph.initializer {
        scope.facts.insert(tensor.name(), of_tensor(tensor));
    }
    for sparse in &graph.sparse_initializer {
        if let Some(values) = &sparse.values {
            let shape = Shape(sparse.dims.iter().map(|&size| Dimension::Known(size)).collect());
            let element = ElementType::from_code(values.data_type());
            scope.facts.insert(values.name(), Fact { element, shape: Some(shape), contents: Contents::Unknown });
        }
    }
    for node in &graph.node {
        let mut results = infer(node, opset, &scope).into_iter();
        for name in &node.output {
            let mut fact = results.next().unwrap_or_default();
            if let Some(stated) = stated.get(name.as_str()) {
                fact.complete(stated);
            }
            if !name.is_empty() {
                scope.facts.insert(name, fact);
            }
        }
    }
    scope
}

fn of_tensor(tensor: &TensorProto) -> Fact<'_> {
    let value = Value::from_tensor(tensor);
    Fact { element: value.element(), shape: value.shape().cloned(), contents: Contents::Tensor(tensor) }
}

/// Infers what is known about the results of one node.
fn infer<'model>(node: &'model NodeProto, opset: i64, scope: &Scope<'_, 'model>) -> Vec<Fact<'model>> {
    if is_runtime_domain(node.domain()) {
        let call = Call::new(node, opset, scope);
        return described(&call, scope, rules::runtime::shapes(&call), None);
    }
    if !is_onnx_domain(node.domain()) {
        return Vec::new();
    }
    if let ("Constant", Some(tensor)) = (node.op_type(), Attributes(node).tensor("value")) {
        return vec![of_tensor(tensor)];
    }
    if matches!(node.op_type(), "If" | "Loop" | "Scan") {
        return control::infer(node, opset, scope);
    }
    if let Some(results) = computed(node, opset, scope) {
        return results.into_iter().map(Fact::of_array).collect();
    }
    let call = Call::new(node, opset, scope);
    described(&call, scope, rules::shapes(&call), entries::results(&call))
}

/// What is known about the results of a node whose elements are not all known; `entries` are of the first one.
fn described<'model>(
    call: &Call<'_, 'model>,
    scope: &Scope<'_, 'model>,
    shapes: Option<Vec<Option<Vec<Dimension>>>>,
    mut entries: Option<Vec<Entry>>,
) -> Vec<Fact<'model>> {
    let node = call.node;
    let mut shapes = shapes.unwrap_or_default().into_iter();
    let element = |name: &str| scope.find(name).and_then(|fact| fact.element);
    (0..node.output.len())
        .map(|place| {
            let shape = shapes.next().flatten().map(plausible);
            let element = result_type(node, place, &element);
            let entries = entries.take().filter(|_| place == 0);
            with_entries(Fact { element, shape, contents: Contents::Unknown }, entries)
        })
        .collect()
}

/// Returns a shape as a rule has it from attributes and inputs, which may say lengths that nothing has: those are unknown.
fn plausible(dims: Vec<Dimension>) -> Shape {
    let plausible = |dimension| match dimension {
        Dimension::Known(size) if size < 0 => Dimension::Unknown,
        dimension => dimension,
    };
    Shape(dims.into_iter().map(plausible).collect())
}

/// Computes a node whose inputs are all known and small.
fn computed(node: &NodeProto, opset: i64, scope: &Scope<'_, '_>) -> Option<Vec<Array>> {
    let inputs = node.input.iter().map(|name| match name.as_str() {
        "" => Some(None),
        name => scope.find(name)?.small_array().map(Some),
    });
    let inputs = inputs.collect::<Option<Vec<_>>>()?;
    // Eight bytes an element, the widest that shapes are calculated with.
    kernels::evaluate(node, opset, &inputs, 8 * MAX_FOLLOWED as u64)
}

/// Adds known elements to a fact; if all are known, as an array.
fn with_entries<'model>(mut fact: Fact<'model>, entries: Option<Vec<Entry>>) -> Fact<'model> {
    let fits = |entries: &Vec<Entry>| match fact.shape.as_ref().map(|shape| shape.0.as_slice()) {
        Some([]) => entries.len() == 1,
        Some([Dimension::Known(size)]) => usize::try_from(*size) == Ok(entries.len()),
        _ => false,
    };
    let Some(entries) = entries.filter(fits) else {
        return fact;
    };
    let sizes =
        if fact.shape.as_ref().is_some_and(|shape| shape.rank() == 0) { Vec::new() } else { vec![entries.len()] };
    let known: Option<Vec<i128>> = entries.iter().map(|entry| entry.known().map(i128::from)).collect();
    let array = known.zip(fact.element).and_then(|(known, element)| Array::of_whole(element, sizes, &known));
    fact.contents = array.map_or(Contents::Entries(entries), Contents::Array);
    fact
}

#[cfg(test)]
mod tests;
