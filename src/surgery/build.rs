//! Nodes as passes write them, in the form that the model's operator set wants.

use crate::onnx::proto::{AttributeProto, AttributeType, NodeProto, TensorProto};
use crate::onnx::{ElementType, FreshNames, TensorError, floats};

/// The first operator set whose arithmetic broadcasts like NumPy. Before it, broadcasting has to be asked for.
const NUMPY_BROADCASTING: i64 = 7;

/// The first operator set whose `Split` takes its lengths as an input.
const SPLIT_LENGTHS_AS_INPUT: i64 = 13;

/// The first operator set whose `Clip` takes its bounds as inputs.
const CLIP_BOUNDS_AS_INPUTS: i64 = 11;

/// How a constant meets the tensor it is combined with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Along {
    /// One value for all elements.
    Everything,
    /// One value for each index along an axis of a tensor of some rank.
    Axis {
        /// The axis, from 0.
        axis: usize,
        /// The rank.
        rank: usize,
    },
}

/// Makes nodes and their constants for one model.
pub(super) struct Builder<'model> {
    opset: i64,
    names: FreshNames<'model>,
    /// The constants of the nodes made so far.
    pub(super) constants: Vec<TensorProto>,
}

impl<'model> Builder<'model> {
    pub(super) fn new(opset: i64, names: FreshNames<'model>) -> Self {
        Self { opset, names, constants: Vec::new() }
    }

    /// Returns a name that nothing in the model has.
    pub(super) fn name(&mut self, wanted: &str) -> String {
        self.names.make(wanted)
    }

    /// Adds a constant of a floating type; returns its name.
    pub(super) fn constant(
        &mut self,
        wanted: &str,
        element: ElementType,
        dims: &[i64],
        values: &[f64],
    ) -> Result<String, TensorError> {
        let name = self.name(wanted);
        self.constants.push(floats(&name, element, dims, values)?);
        Ok(name)
    }

    /// Makes an `Add`, `Sub` or `Mul` of a tensor and a constant.
    pub(super) fn arithmetic(
        &mut self,
        operator: &str,
        [input, output]: [&str; 2],
        (element, values, along): (ElementType, &[f64], Along),
    ) -> Result<NodeProto, TensorError> {
        let count = values.len() as i64;
        let legacy = self.opset < NUMPY_BROADCASTING;
        let dims = match along {
            Along::Everything if legacy => vec![1],
            Along::Everything => Vec::new(),
            Along::Axis { .. } if legacy => vec![count],
            Along::Axis { axis, rank } => (0..rank).map(|index| if index == axis { count } else { 1 }).collect(),
        };
        let constant = self.constant(&format!("{output}/constant"), element, &dims, values)?;
        let mut node = self.node(operator, &[input, &constant], &[output]);
        if legacy {
            node.attribute.push(integer("broadcast", 1));
            if let Along::Axis { axis, .. } = along {
                node.attribute.push(integer("axis", axis as i64));
            }
        }
        Ok(node)
    }

    /// Makes a `Clip`.
    pub(super) fn clip(
        &mut self,
        [input, output]: [&str; 2],
        element: ElementType,
        [minimum, maximum]: [f64; 2],
    ) -> Result<NodeProto, TensorError> {
        if self.opset < CLIP_BOUNDS_AS_INPUTS {
            let mut node = self.node("Clip", &[input], &[output]);
            node.attribute = vec![float("min", minimum as f32), float("max", maximum as f32)];
            return Ok(node);
        }
        let minimum = self.constant(&format!("{output}/minimum"), element, &[], &[minimum])?;
        let maximum = self.constant(&format!("{output}/maximum"), element, &[], &[maximum])?;
        Ok(self.node("Clip", &[input, &minimum, &maximum], &[output]))
    }

    /// Makes a `Split` into slices of length 1.
    pub(super) fn split_singly(&mut self, input: &str, outputs: &[String], axis: usize) -> NodeProto {
        let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
        let lengths = vec![1; outputs.len()];
        let mut node = if self.opset < SPLIT_LENGTHS_AS_INPUT {
            let mut node = self.node("Split", &[input], &outputs);
            node.attribute.push(integers_attribute("split", lengths));
            node
        } else {
            let name = self.name(&format!("{input}/split/lengths"));
            self.constants.push(crate::onnx::integers(&name, &[lengths.len() as i64], &lengths));
            self.node("Split", &[input, &name], &outputs)
        };
        node.attribute.push(integer("axis", axis as i64));
        node
    }

    /// Makes a `Concat`.
    pub(super) fn concat(&mut self, inputs: &[&str], output: &str, axis: usize) -> NodeProto {
        let mut node = self.node("Concat", inputs, &[output]);
        node.attribute.push(integer("axis", axis as i64));
        node
    }

    /// Makes a `Cast`.
    pub(super) fn cast(&mut self, input: &str, output: &str, element: ElementType) -> NodeProto {
        let mut node = self.node("Cast", &[input], &[output]);
        node.attribute.push(integer("to", element.code().into()));
        node
    }

    /// Makes a node without attributes.
    pub(super) fn node(&mut self, operator: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
        let text = |text: &&str| (*text).to_owned();
        // Vendor tools name layers after nodes, so a node needs a name of its own.
        let name = self.name(&format!("{}/{operator}", outputs.first().unwrap_or(&"")));
        NodeProto {
            op_type: Some(operator.to_owned()),
            name: Some(name),
            input: inputs.iter().map(text).collect(),
            output: outputs.iter().map(text).collect(),
            ..NodeProto::default()
        }
    }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(kind as i32), ..AttributeProto::default() }
}

pub(super) fn integer(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, AttributeType::Int) }
}

pub(super) fn integers_attribute(name: &str, values: Vec<i64>) -> AttributeProto {
    AttributeProto { ints: values, ..attribute(name, AttributeType::Ints) }
}

pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, AttributeType::Float) }
}

pub(super) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        s: Some(bytes::Bytes::copy_from_slice(value.as_bytes())),
        ..attribute(name, AttributeType::String)
    }
}
