//! Giving inputs the shapes that the user wants.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::Model;
use super::proto::{
    DimensionProto, DimensionValue, GraphProto, TensorShapeProto, TypeProto, TypeValue, ValueInfoProto,
};
use super::tensor::element_count;
use super::value::{Dimension, Shape, Value, ValueKind};
use crate::hint::{Hint, nearest};

/// A shape that an input cannot have.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BindError {
    /// There is no such input.
    #[error("the model has no input `{name}`; its inputs are {}", list(.inputs))]
    NoSuchInput {
        /// What was asked for.
        name: String,
        /// The inputs there are.
        inputs: Vec<String>,
    },
    /// The input is no tensor.
    #[error("input `{name}` is a {kind}, so it has no shape")]
    NotATensor {
        /// The input.
        name: String,
        /// What it is.
        kind: &'static str,
    },
    /// A size below one, or too many elements.
    #[error("{wanted:?} is no shape for input `{name}`: every size must be positive, and their product a number")]
    BadShape {
        /// The input.
        name: String,
        /// What was asked for.
        wanted: Vec<i64>,
    },
    /// The number of dimensions differs.
    #[error("input `{name}` has the shape {shape}, which has {} dimensions, not the {} of {wanted:?}", .shape.rank(), .wanted.len())]
    WrongRank {
        /// The input.
        name: String,
        /// Its shape in the model.
        shape: Shape,
        /// What was asked for.
        wanted: Vec<i64>,
    },
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl Hint for BindError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoSuchInput { name, inputs } => {
                let near = nearest(name, inputs.iter().map(String::as_str));
                near.map(|near| format!("did you mean `{near}`?")).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Returns the inputs that have no complete shape, as the model states them.
pub fn dynamic_inputs(model: &Model) -> Vec<Value> {
    let tensors = model.inputs().into_iter().filter(|input| matches!(input.kind, ValueKind::Tensor { .. }));
    tensors.filter(|input| !input.is_static()).collect()
}

/// Returns whether an input has other sizes in `shapes` than the model states.
pub fn is_resized(model: &Model, shapes: &BTreeMap<String, Vec<i64>>) -> bool {
    let is_other = |(dimension, size): (&Dimension, &i64)| match dimension {
        // No network has an input without elements: 0 is how some exporters write a size they do not know.
        Dimension::Known(stated) => stated != size && *stated != 0,
        Dimension::Symbolic(_) | Dimension::Unknown => false,
    };
    model.inputs().iter().any(|input| {
        let both = input.shape().zip(shapes.get(&input.name));
        both.is_some_and(|(shape, wanted)| shape.0.iter().zip(wanted).any(is_other))
    })
}

/// Returns the model with inputs of the given shapes.
///
/// Where a given size takes the place of a symbol, the symbol takes that size throughout the graph; if two inputs
/// disagree about a symbol, it becomes unknown in the rest of the graph, because exporters use one symbol for
/// unrelated sizes. Where it takes the place of another size, the model's statements about its other values are gone.
///
/// # Errors
/// There is no such input, or it cannot have that shape.
pub fn bind_shapes(model: &Model, shapes: &BTreeMap<String, Vec<i64>>) -> Result<Model, BindError> {
    let inputs = model.inputs();
    let mut symbols: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
    for (name, wanted) in shapes {
        let input = inputs.iter().find(|input| input.name == *name).ok_or_else(|| BindError::NoSuchInput {
            name: name.clone(),
            inputs: inputs.iter().map(|input| input.name.clone()).collect(),
        })?;
        accept(input, wanted)?;
        for (dimension, size) in input.shape().into_iter().flat_map(|shape| &shape.0).zip(wanted) {
            if let Dimension::Symbolic(symbol) = dimension {
                symbols.entry(symbol.clone()).or_default().insert(*size);
            }
        }
    }
    let mut graph = model.graph().clone();
    if is_resized(model, shapes) {
        graph.value_info.clear();
        graph.output.iter_mut().for_each(forget_sizes);
    }
    for input in &mut graph.input {
        if let Some(wanted) = shapes.get(input.name()) {
            set_shape(input, wanted);
        }
    }
    substitute(&mut graph, &symbols);
    Ok(model.with_graph(graph))
}

/// Checks that an input can have a shape.
fn accept(input: &Value, wanted: &[i64]) -> Result<(), BindError> {
    let name = input.name.clone();
    if let ValueKind::Other(kind) = input.kind {
        return Err(BindError::NotATensor { name, kind });
    }
    if wanted.iter().any(|size| *size < 1) || element_count(wanted).is_none() {
        return Err(BindError::BadShape { name, wanted: wanted.to_vec() });
    }
    let Some(shape) = input.shape() else {
        return Ok(());
    };
    if shape.rank() != wanted.len() {
        return Err(BindError::WrongRank { name, shape: shape.clone(), wanted: wanted.to_vec() });
    }
    Ok(())
}

fn set_shape(info: &mut ValueInfoProto, sizes: &[i64]) {
    let typed = info.r#type.get_or_insert_with(TypeProto::default);
    let value = typed.value.get_or_insert_with(|| TypeValue::Tensor(Default::default()));
    if let TypeValue::Tensor(tensor) = value {
        let mut dim = tensor.shape.take().map(|shape| shape.dim).unwrap_or_default();
        dim.resize_with(sizes.len(), DimensionProto::default);
        for (dimension, size) in dim.iter_mut().zip(sizes) {
            dimension.value = Some(DimensionValue::Size(*size));
        }
        tensor.shape = Some(TensorShapeProto { dim });
    }
}

fn forget_sizes(info: &mut ValueInfoProto) {
    if let Some(TypeValue::Tensor(tensor)) = info.r#type.as_mut().and_then(|typed| typed.value.as_mut()) {
        for dimension in tensor.shape.iter_mut().flat_map(|shape| &mut shape.dim) {
            dimension.value = None;
        }
    }
}

/// Gives symbols their sizes in everything the graph states.
fn substitute(graph: &mut GraphProto, symbols: &BTreeMap<String, BTreeSet<i64>>) {
    for info in graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info) {
        let value = info.r#type.as_mut().and_then(|typed| typed.value.as_mut());
        let Some(TypeValue::Tensor(tensor)) = value else {
            continue;
        };
        for dimension in tensor.shape.iter_mut().flat_map(|shape| &mut shape.dim) {
            let Some(DimensionValue::Symbol(symbol)) = &dimension.value else {
                continue;
            };
            if let Some(sizes) = symbols.get(symbol) {
                let mut sizes = sizes.iter();
                dimension.value = match (sizes.next(), sizes.next()) {
                    (Some(size), None) => Some(DimensionValue::Size(*size)),
                    _ => None,
                };
            }
        }
    }
}
