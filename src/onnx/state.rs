//! What a model says about its values, brought in line with what is known about them.

use std::collections::HashMap;

use super::Model;
use super::facts::Facts;
use super::graph::is_onnx_domain;
use super::proto::{
    DimensionProto, DimensionValue, TensorShapeProto, TensorTypeProto, TypeProto, TypeValue, ValueInfoProto,
};
use super::value::{Shape, Value};

/// States the shapes of outputs that inference knows completely, and forgets what is said otherwise about intermediate
/// values, which became wrong when inputs were bound or nodes replaced. Returns whether anything changed.
pub fn restate_shapes(mut model: Model) -> (Model, bool) {
    let facts = Facts::of(&model);
    let graph = model.graph();
    let known = |info: &ValueInfoProto| {
        let stated = Value::from_proto(info);
        let shape = facts.shape(info.name()).filter(|shape| shape.known().is_some() && stated.shape() != Some(shape));
        shape.map(|shape| (info.name().to_owned(), (shape.clone(), facts.element(info.name()).map(|it| it.code()))))
    };
    let outputs: HashMap<_, _> = graph.output.iter().filter_map(known).collect();
    let inner: HashMap<_, _> = graph.value_info.iter().filter_map(known).collect();
    let changed = !outputs.is_empty() || !inner.is_empty();
    for info in model.graph.output.iter_mut() {
        if let Some((shape, element)) = outputs.get(info.name()) {
            state(info, shape, *element);
        }
    }
    for info in model.graph.value_info.iter_mut() {
        if let Some((shape, element)) = inner.get(info.name()) {
            state(info, shape, *element);
        }
    }
    (model, changed)
}

/// Versions of ONNX: of its files, and of its own operator set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says all there is")]
pub struct Versions {
    pub ir: i64,
    pub opset: i64,
}

/// States versions of at most `newest`, and returns whether that changes anything.
///
/// What a network computes stays, as long as its operators are known in those versions: operator sets 22 to 28 and files
/// of the versions 11 to 14 brought further types of elements, operators, and attributes whose defaults are what was done
/// before (ONNX, Changelog.md). Whoever reads the result refuses operators and attributes that are younger.
pub fn restate_versions(mut model: Model, newest: Versions) -> (Model, bool) {
    let mut changed = false;
    let mut lower = |version: &mut Option<i64>, newest: i64| {
        if version.is_some_and(|version| version > newest) {
            *version = Some(newest);
            changed = true;
        }
    };
    lower(&mut model.proto.ir_version, newest.ir);
    let functions = model.proto.functions.iter_mut().flat_map(|function| &mut function.opset_import);
    for import in model.proto.opset_import.iter_mut().chain(functions).filter(|it| is_onnx_domain(it.domain())) {
        lower(&mut import.version, newest.opset);
    }
    (model, changed)
}

fn state(info: &mut ValueInfoProto, shape: &Shape, element: Option<i32>) {
    let typed = info.r#type.get_or_insert_with(TypeProto::default);
    let value = typed.value.get_or_insert_with(|| TypeValue::Tensor(TensorTypeProto::default()));
    if let TypeValue::Tensor(tensor) = value {
        let size = |size: i64| DimensionProto { value: Some(DimensionValue::Size(size)), denotation: None };
        tensor.shape =
            Some(TensorShapeProto { dim: shape.known().unwrap_or_default().into_iter().map(size).collect() });
        tensor.elem_type = tensor.elem_type.filter(|code| *code != 0).or(element);
    }
}
