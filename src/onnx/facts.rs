//! What is known about the values of a model's main graph: element types, shapes, constants.
//!
//! Owns [`Facts`], the one thing that passes ask. What the model states is taken first; the rest is inferred from it.

use std::collections::HashMap;

use super::element::ElementType;
use super::proto::TensorProto;
use super::tensor::read_integers;
use super::types::element_types;
use super::value::{Shape, Value};
use super::{Model, is_onnx_domain};

/// What is known about the values of the main graph of one model, by name.
#[derive(Clone, Debug)]
pub struct Facts<'model> {
    elements: HashMap<&'model str, ElementType>,
    shapes: HashMap<&'model str, Shape>,
    constants: HashMap<&'model str, &'model TensorProto>,
}

impl<'model> Facts<'model> {
    /// Collects what is known about a model.
    pub fn of(model: &'model Model) -> Self {
        let graph = model.graph();
        let mut shapes = HashMap::new();
        for info in graph.value_info.iter().chain(&graph.output).chain(&graph.input) {
            shapes.extend(Value::from_proto(info).shape().map(|shape| (info.name(), shape.clone())));
        }
        let mut constants = HashMap::new();
        for tensor in &graph.initializer {
            shapes.extend(Value::from_tensor(tensor).shape().map(|shape| (tensor.name(), shape.clone())));
            constants.insert(tensor.name(), tensor);
        }
        for node in graph.node.iter().filter(|node| node.op_type() == "Constant" && is_onnx_domain(node.domain())) {
            let value = node.attribute.iter().find(|attribute| attribute.name() == "value");
            if let (Some(output), Some(tensor)) = (node.output.first(), value.and_then(|value| value.t.as_deref())) {
                shapes.extend(Value::from_tensor(tensor).shape().map(|shape| (output.as_str(), shape.clone())));
                constants.insert(output, tensor);
            }
        }
        Self { elements: element_types(model), shapes, constants }
    }

    /// Returns the element type of a value.
    pub fn element(&self, name: &str) -> Option<ElementType> {
        self.elements.get(name).copied()
    }

    /// Returns the shape of a value, in which single dimensions may be unknown.
    pub fn shape(&self, name: &str) -> Option<&Shape> {
        self.shapes.get(name)
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
        self.constants.get(name).copied()
    }

    /// Returns the elements of a value of integers that does not depend on what the network is fed: axes, shapes, pads.
    pub fn integers(&self, name: &str) -> Option<Vec<i64>> {
        self.constant(name).and_then(|tensor| read_integers(tensor).ok())
    }
}
