//! Does a model agree with itself? Everything else in [`crate::onnx`] relies on the answer being yes.

use std::collections::HashMap;

use super::element::ElementType;
use super::graph::{canonical_domain, node_label, subgraphs, visit_reads};
use super::names::{ByName, Names};
use super::proto::{AttributeProto, GraphProto, NodeProto, SparseTensorProto, TensorProto, TypeValue, ValueInfoProto};
use super::tensor::{describe, element_count};
use super::{Model, OnnxError, external};

/// Checks the whole model.
pub(super) fn model(model: &Model) -> Result<(), OnnxError> {
    opsets(model)?;
    let graph = model.graph();
    structure(graph)?;
    if graph.output.is_empty() {
        return Err(OnnxError::NoOutputs);
    }
    for function in model.functions() {
        for (index, node) in function.node.iter().enumerate() {
            operator(node, index)?;
        }
        let inputs = function.input.iter().map(String::as_str);
        let scope = Scope { names: inputs.collect(), outer: None };
        nodes(&function.node, scope)?;
    }
    visit_tensors(model, &mut |tensor, place| contents(tensor, place))
}

/// Checks that the values of a main graph are each defined once, before they are read.
pub(super) fn structure(graph: &GraphProto) -> Result<(), OnnxError> {
    scoped_graph(graph, None)
}

fn opsets(model: &Model) -> Result<(), OnnxError> {
    for import in &model.proto.opset_import {
        if import.version() < 1 {
            return Err(OnnxError::BadOpset { domain: import.domain().to_owned(), version: import.version() });
        }
    }
    let speaks_onnx = model.graph().node.iter().any(|node| canonical_domain(node.domain()).is_empty());
    if model.proto.opset_import.is_empty() || (speaks_onnx && model.opset() == 0) {
        return Err(OnnxError::NoOpset);
    }
    Ok(())
}

/// The names that can be read at one point of a graph.
struct Scope<'a> {
    names: Names<'a>,
    outer: Option<&'a Scope<'a>>,
}

impl<'a> Scope<'a> {
    fn knows(&self, name: &str) -> bool {
        self.names.contains(name) || self.outer.is_some_and(|outer| outer.knows(name))
    }

    fn define(&mut self, name: &'a str) -> Result<(), OnnxError> {
        if self.names.insert(name) { Ok(()) } else { Err(OnnxError::DuplicateValue { value: name.to_owned() }) }
    }
}

fn scoped_graph(graph: &GraphProto, outer: Option<&Scope<'_>>) -> Result<(), OnnxError> {
    let mut scope = Scope { names: Names::default(), outer };
    for input in &graph.input {
        scope.define(named(input.name(), "an input")?)?;
        value_info(input, "input")?;
    }
    // An initializer may give an input its value, so the two may share a name; two initializers may not.
    let mut constants = Names::default();
    let sparse = graph.sparse_initializer.iter().filter_map(|tensor| tensor.values.as_ref());
    for tensor in graph.initializer.iter().chain(sparse) {
        let name = named(tensor.name(), "an initializer")?;
        if !constants.insert(name) {
            return Err(OnnxError::DuplicateValue { value: name.to_owned() });
        }
        scope.names.insert(name);
    }
    for (index, node) in graph.node.iter().enumerate() {
        operator(node, index)?;
    }
    let scope = nodes(&graph.node, scope)?;
    let mut outputs = Names::default();
    for output in &graph.output {
        let name = named(output.name(), "an output")?;
        if !outputs.insert(name) {
            return Err(OnnxError::DuplicateValue { value: name.to_owned() });
        }
        if !scope.knows(name) {
            return Err(OnnxError::UndefinedOutput { value: name.to_owned() });
        }
        value_info(output, "output")?;
    }
    graph.value_info.iter().try_for_each(|info| value_info(info, "value"))
}

fn named<'a>(name: &'a str, what: &'static str) -> Result<&'a str, OnnxError> {
    if name.is_empty() { Err(OnnxError::Nameless { what }) } else { Ok(name) }
}

fn operator(node: &NodeProto, index: usize) -> Result<(), OnnxError> {
    if node.op_type().is_empty() {
        return Err(OnnxError::NoOperator { index, name: node.name().to_owned() });
    }
    Ok(())
}

/// Follows nodes in order; returns what can be read after the last one.
fn nodes<'a>(nodes: &'a [NodeProto], mut scope: Scope<'a>) -> Result<Scope<'a>, OnnxError> {
    for (index, node) in nodes.iter().enumerate() {
        if let Some(value) = node.input.iter().find(|input| !input.is_empty() && !scope.knows(input)) {
            return Err(disorder(nodes, index, value));
        }
        for graph in subgraphs(node) {
            scoped_graph(graph, Some(&scope)).map_err(|error| match error {
                // What a nested graph misses may be computed later in this one.
                OnnxError::Undefined { node, value } => match producer_of(nodes, &value) {
                    Some(_) => disorder(nodes, index, &value),
                    None => OnnxError::Undefined { node, value },
                },
                other => other,
            })?;
        }
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            scope.define(output)?;
        }
    }
    Ok(scope)
}

fn producer_of(nodes: &[NodeProto], value: &str) -> Option<usize> {
    nodes.iter().position(|node| node.output.iter().any(|output| output == value))
}

/// Finds out why node `reader` cannot read `value` yet.
fn disorder(nodes: &[NodeProto], reader: usize, value: &str) -> OnnxError {
    let label = |index: usize| nodes.get(index).map(node_label).unwrap_or(node_label(&NodeProto::default()));
    let Some(producer) = producer_of(nodes, value) else {
        return OnnxError::Undefined { node: label(reader), value: value.to_owned() };
    };
    match path(nodes, reader, producer) {
        Some(mut cycle) => {
            cycle.push(reader);
            OnnxError::Cycle { nodes: cycle.into_iter().map(|index| label(index).to_string()).collect() }
        }
        None => {
            OnnxError::Unsorted { node: label(reader), value: value.to_owned(), producer: Box::new(label(producer)) }
        }
    }
}

/// Finds a path along which the result of node `from` reaches node `to`, both included.
fn path(nodes: &[NodeProto], from: usize, to: usize) -> Option<Vec<usize>> {
    let mut readers: ByName<'_, Vec<usize>> = ByName::default();
    for (index, node) in nodes.iter().enumerate() {
        visit_reads(node, &mut |name| readers.entry(name).or_default().push(index));
    }
    let mut came_from: HashMap<usize, usize> = HashMap::new();
    let mut waiting = vec![from];
    while let Some(index) = waiting.pop() {
        if index == to {
            let before = |index: &usize| if *index == from { None } else { came_from.get(index).copied() };
            let mut path: Vec<usize> = std::iter::successors(Some(to), before).collect();
            path.reverse();
            return Some(path);
        }
        let outputs = nodes.get(index).map_or(&[][..], |node| &node.output);
        for &reader in outputs.iter().filter_map(|output| readers.get(output.as_str())).flatten() {
            if reader != from && !came_from.contains_key(&reader) {
                came_from.insert(reader, index);
                waiting.push(reader);
            }
        }
    }
    None
}

fn value_info(info: &ValueInfoProto, what: &str) -> Result<(), OnnxError> {
    let Some(TypeValue::Tensor(tensor)) = info.r#type.as_ref().and_then(|typed| typed.value.as_ref()) else {
        return Ok(());
    };
    let describe = || format!("{what} `{}`", info.name());
    if tensor.elem_type() != 0 && ElementType::from_code(tensor.elem_type()).is_none() {
        return Err(OnnxError::UnknownElementType { what: describe(), code: tensor.elem_type() });
    }
    let Some(shape) = &tensor.shape else {
        return Ok(());
    };
    let mut sizes = Vec::with_capacity(shape.dim.len());
    for dimension in &shape.dim {
        match dimension.value {
            // -1 is how some exporters write a size they do not know.
            Some(super::proto::DimensionValue::Size(size)) if size >= -1 => sizes.push(size.max(1)),
            Some(super::proto::DimensionValue::Size(dimension)) => {
                return Err(OnnxError::NegativeDimension { what: describe(), dimension });
            }
            _ => {}
        }
    }
    match element_count(&sizes) {
        Some(_) => Ok(()),
        None => Err(OnnxError::TooManyElements { what: describe(), dimensions: sizes }),
    }
}

/// What is done with each tensor; the second argument describes it.
pub(super) type TensorVisitor<'v> = dyn FnMut(&TensorProto, &dyn Fn() -> String) -> Result<(), OnnxError> + 'v;

/// Calls `visit` for every tensor in the model, wherever it is.
pub(super) fn visit_tensors(model: &Model, visit: &mut TensorVisitor<'_>) -> Result<(), OnnxError> {
    graph_tensors(model.graph(), visit)?;
    for function in model.functions() {
        function.node.iter().try_for_each(|node| node_tensors(node, visit))?;
        let default = || format!("function `{}`", function.name());
        function.attribute_proto.iter().try_for_each(|attribute| attribute_tensors(attribute, &default, visit))?;
    }
    Ok(())
}

fn graph_tensors(graph: &GraphProto, visit: &mut TensorVisitor<'_>) -> Result<(), OnnxError> {
    for tensor in &graph.initializer {
        visit(tensor, &|| describe(tensor, "initializer"))?;
    }
    for tensor in &graph.sparse_initializer {
        sparse_tensor(tensor, &|| "sparse initializer".to_owned(), visit)?;
    }
    graph.node.iter().try_for_each(|node| node_tensors(node, visit))
}

fn node_tensors(node: &NodeProto, visit: &mut TensorVisitor<'_>) -> Result<(), OnnxError> {
    let owner = || node_label(node).to_string();
    node.attribute.iter().try_for_each(|attribute| attribute_tensors(attribute, &owner, visit))
}

fn attribute_tensors(
    attribute: &AttributeProto,
    owner: &dyn Fn() -> String,
    visit: &mut TensorVisitor<'_>,
) -> Result<(), OnnxError> {
    let place = || format!("attribute `{}` of {}", attribute.name(), owner());
    for tensor in attribute.t.as_deref().into_iter().chain(&attribute.tensors) {
        visit(tensor, &place)?;
    }
    for tensor in attribute.sparse_tensor.as_deref().into_iter().chain(&attribute.sparse_tensors) {
        sparse_tensor(tensor, &place, visit)?;
    }
    attribute.g.as_deref().into_iter().chain(&attribute.graphs).try_for_each(|graph| graph_tensors(graph, visit))
}

fn sparse_tensor(
    tensor: &SparseTensorProto,
    place: &dyn Fn() -> String,
    visit: &mut TensorVisitor<'_>,
) -> Result<(), OnnxError> {
    count(&tensor.dims, place)?;
    for part in tensor.values.iter().chain(&tensor.indices) {
        visit(part, &|| describe(part, &place()))?;
    }
    Ok(())
}

fn count(dimensions: &[i64], place: &dyn Fn() -> String) -> Result<u64, OnnxError> {
    if let Some(&dimension) = dimensions.iter().find(|size| **size < 0) {
        return Err(OnnxError::NegativeDimension { what: place(), dimension });
    }
    let too_many = || OnnxError::TooManyElements { what: place(), dimensions: dimensions.to_vec() };
    element_count(dimensions).ok_or_else(too_many)
}

/// Checks that a tensor has as many elements as its dimensions promise, in the one place where they belong.
fn contents(tensor: &TensorProto, place: &dyn Fn() -> String) -> Result<(), OnnxError> {
    let elements = count(&tensor.dims, place)?;
    let code = tensor.data_type();
    let element = ElementType::from_code(code).ok_or_else(|| OnnxError::UnknownElementType { what: place(), code })?;
    let ambiguous = |reason| OnnxError::AmbiguousData { what: place(), reason };
    if tensor.segment.is_some() {
        return Err(ambiguous("is split into segments, which no reader supports"));
    }
    let wrong = |expected: u64, found: u64, unit| OnnxError::WrongLength {
        what: place(),
        dimensions: tensor.dims.clone(),
        element,
        expected,
        found,
        unit,
    };
    let bytes = |bits: u64| match elements.checked_mul(bits) {
        Some(bits) => Ok(bits.div_ceil(8)),
        None => Err(OnnxError::TooManyElements { what: place(), dimensions: tensor.dims.clone() }),
    };
    if let Some(data) = external::read(tensor, place)? {
        let bits = element.bits().ok_or_else(|| ambiguous("is text, which cannot be in another file"))?;
        let expected = bytes(bits)?;
        return match data.length {
            Some(found) if found != expected => Err(wrong(expected, found, "bytes")),
            _ => Ok(()),
        };
    }
    let (typed, others) = typed_lengths(tensor, element);
    let raw = tensor.raw_data.as_ref().filter(|raw| !raw.is_empty());
    if others > 0 {
        return Err(ambiguous("has data in a field that does not belong to its element type"));
    }
    match (raw, element.bits()) {
        (Some(_), None) => Err(ambiguous("is text, but has raw data")),
        (Some(_), Some(_)) if typed > 0 => Err(ambiguous("has raw data and typed data at the same time")),
        (Some(raw), Some(bits)) => {
            let (expected, found) = (bytes(bits)?, raw.len() as u64);
            if found == expected { Ok(()) } else { Err(wrong(expected, found, "bytes")) }
        }
        (None, _) => {
            let expected = match element {
                ElementType::Complex64 | ElementType::Complex128 => bytes(2 * 8)?,
                // Types below a byte share entries of 8 bits.
                _ => bytes(element.bits().filter(|bits| *bits < 8).unwrap_or(8))?,
            };
            if typed == expected { Ok(()) } else { Err(wrong(expected, typed, "values")) }
        }
    }
}

/// Returns how many entries the field of this element type has, and how many entries the other typed fields have.
fn typed_lengths(tensor: &TensorProto, element: ElementType) -> (u64, u64) {
    use ElementType::*;
    let lengths = [
        tensor.float_data.len(),
        tensor.double_data.len(),
        tensor.string_data.len(),
        tensor.int64_data.len(),
        tensor.uint64_data.len(),
        tensor.int32_data.len(),
    ];
    let own = match element {
        Float32 | Complex64 => tensor.float_data.len(),
        Float64 | Complex128 => tensor.double_data.len(),
        String => tensor.string_data.len(),
        Int64 => tensor.int64_data.len(),
        Uint32 | Uint64 => tensor.uint64_data.len(),
        _ => tensor.int32_data.len(),
    };
    let all: usize = lengths.iter().sum();
    (own as u64, (all - own) as u64)
}
