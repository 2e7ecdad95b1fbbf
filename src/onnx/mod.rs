//! ONNX models: read from bytes, checked, looked at, changed, and written again.
//!
//! Owns the model as a value. A [`Model`] is valid by construction: its graph exists, every value has one producer that
//! comes before its readers, every tensor has the elements its dimensions promise. External data is described, and taken
//! in as bytes that somebody else has read. What should be changed, and why, is decided elsewhere. Follows the ONNX IR specification
//! (versions 3 to 13) over the types in [`proto`].

mod array;
mod attributes;
mod bind;
mod check;
mod conflicts;
mod element;
mod external;
mod facts;
mod feed;
mod freeze;
mod geometry;
mod graph;
pub mod kernels;
mod known;
mod names;
mod order;
mod patch;
mod peaks;
pub mod proto;
mod save;
mod select;
mod state;
mod tensor;
mod types;
mod value;
mod wire;

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use thiserror::Error;

pub use self::array::Array;
pub use self::attributes::Attributes;
pub use self::bind::{BindError, bind_shapes, dynamic_inputs, is_resized};
pub use self::conflicts::{SizeConflict, size_conflict};
pub use self::element::ElementType;
pub use self::external::{ExternalData, Whereabouts};
pub use self::facts::Facts;
pub use self::feed::select_inputs;
pub use self::freeze::{FreezeError, freeze_inputs};
pub use self::graph::{
    FreshNames, NodeLabel, Reads, is_onnx_domain, is_runtime_domain, node_label, rename_reads, subgraphs,
};
pub use self::known::Known;
pub use self::patch::{Patch, PatchError};
pub use self::peaks::{Peak, Watched, watched};
pub use self::save::{MAX_MODEL_BYTES, SaveError};
pub use self::select::{SelectError, select_outputs};
pub use self::state::{Versions, restate_shapes, restate_versions};
pub use self::tensor::{
    TensorError, changed_floats, element_count, floats, integers, read_floats, read_integers, transposed,
};
pub use self::types::element_types;
pub use self::value::{Dimension, Shape, Value, ValueKind};

use self::proto::{GraphProto, ModelProto};
use crate::hint::Hint;
use crate::intake::foreign_hint;

/// Bytes that are no valid ONNX model, and why.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// No bytes at all.
    #[error("the ONNX model is empty")]
    Empty,
    /// Another kind of file.
    #[error("not an ONNX model but {what}")]
    Foreign {
        /// The other kind, with its article.
        what: &'static str,
    },
    /// The file ends inside a field.
    #[error("the ONNX model is truncated: it ends after {length} bytes, within the field that starts at byte {offset}")]
    Truncated {
        /// Where the field starts, in bytes from the beginning.
        offset: usize,
        /// The length of the file in bytes.
        length: usize,
    },
    /// The bytes are no protobuf message.
    #[error("not an ONNX model: byte {offset} begins no valid protobuf field")]
    Malformed {
        /// Where decoding broke, in bytes from the beginning.
        offset: usize,
    },
    /// The messages nest too deeply.
    #[error("the ONNX model nests messages more than {limit} levels deep")]
    TooDeep {
        /// The deepest nesting that is read.
        limit: usize,
    },
    /// The decoded structures would exhaust memory.
    #[error("the structure of the ONNX model, without its weights, would take more than {limit} bytes of memory")]
    TooLarge {
        /// The most memory that the structure may take, in bytes.
        limit: u64,
    },
    /// A field does not have the type that the schema gives it.
    #[error("not an ONNX model: the bytes do not follow the ONNX schema")]
    Decode(#[source] prost::DecodeError),
    /// There is no graph.
    #[error("not an ONNX model: there is no graph")]
    NoGraph,
    /// The version of the operators is not stated.
    #[error("the ONNX model does not say which opset it uses")]
    NoOpset,
    /// An opset import without a positive version.
    #[error("the ONNX model imports opset {version} of domain `{domain}`")]
    BadOpset {
        /// The domain, empty for ONNX's own operators.
        domain: String,
        /// The version.
        version: i64,
    },
    /// The graph computes nothing.
    #[error("the graph of the ONNX model has no outputs")]
    NoOutputs,
    /// Something that must have a name has none.
    #[error("{what} of the ONNX model has no name")]
    Nameless {
        /// The kind of thing, with its article.
        what: &'static str,
    },
    /// A node that applies no operator.
    #[error("node {index} (`{name}`) of the ONNX model has no operator")]
    NoOperator {
        /// Its place among the nodes of its graph, from 0.
        index: usize,
        /// Its name.
        name: String,
    },
    /// Two things define one value.
    #[error("value `{value}` of the ONNX model is defined more than once")]
    DuplicateValue {
        /// The value's name.
        value: String,
    },
    /// A node reads a value that nothing defines.
    #[error("{node} reads `{value}`, which nothing in the ONNX model defines")]
    Undefined {
        /// The node.
        node: NodeLabel,
        /// The value's name.
        value: String,
    },
    /// A graph output that nothing defines.
    #[error("output `{value}` is not defined by anything in the ONNX model")]
    UndefinedOutput {
        /// The output's name.
        value: String,
    },
    /// Nodes that need each other's results.
    #[error("the nodes of the ONNX model form a cycle: {}", .nodes.join(" -> "))]
    Cycle {
        /// The nodes on the cycle, each read by the next, the first once more at the end.
        nodes: Vec<String>,
    },
    /// A node stands before the producer of what it reads.
    #[error("the nodes of the ONNX model are not in order: {node} reads `{value}` before {producer} computes it")]
    Unsorted {
        /// The reader.
        node: NodeLabel,
        /// The value's name.
        value: String,
        /// The producer. Boxed to keep the error small.
        producer: Box<NodeLabel>,
    },
    /// A dimension below zero.
    #[error("{what} has the negative dimension {dimension}")]
    NegativeDimension {
        /// The tensor or value.
        what: String,
        /// The dimension.
        dimension: i64,
    },
    /// More elements than can be counted.
    #[error("{what} has too many elements: {dimensions:?}")]
    TooManyElements {
        /// The tensor or value.
        what: String,
        /// Its dimensions.
        dimensions: Vec<i64>,
    },
    /// A tensor of an unknown element type.
    #[error("{what} has the unknown element type {code}")]
    UnknownElementType {
        /// The tensor or value.
        what: String,
        /// The number of the type in the file.
        code: i32,
    },
    /// A tensor whose data and dimensions disagree.
    #[error("{what} has {found} {unit} of data, but its dimensions {dimensions:?} of {element} need {expected}")]
    WrongLength {
        /// The tensor.
        what: String,
        /// Its dimensions.
        dimensions: Vec<i64>,
        /// Its element type.
        element: ElementType,
        /// How much data there must be.
        expected: u64,
        /// How much data there is.
        found: u64,
        /// What is counted: bytes or values.
        unit: &'static str,
    },
    /// A tensor with data in more than one place, or split into segments.
    #[error("{what} {reason}")]
    AmbiguousData {
        /// The tensor.
        what: String,
        /// What is wrong, as a verb phrase.
        reason: &'static str,
    },
    /// A tensor in another file, described in a way that cannot be followed.
    #[error("the external data of {what} is not described: {reason}")]
    BadExternalData {
        /// The tensor.
        what: String,
        /// What is missing or wrong.
        reason: &'static str,
    },
}

impl Hint for OnnxError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Foreign { what: "a ZIP archive" | "a Python pickle" } => {
                vec!["PyTorch checkpoints must be exported to ONNX first (`torch.onnx.export`)".into()]
            }
            Self::Foreign { what } => foreign_hint(what).into_iter().collect(),
            Self::Truncated { .. } => vec!["copy or download the file again".into()],
            Self::Unsorted { .. } => {
                vec!["sort the nodes, for instance by loading and saving with ONNX Runtime".into()]
            }
            _ => Vec::new(),
        }
    }
}

/// A valid ONNX model.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    proto: ModelProto,
    /// Taken out of `proto`, so that it is known to exist.
    graph: GraphProto,
}

impl Model {
    /// Reads a model. The weights stay where they are: the model shares them with `bytes`.
    ///
    /// # Errors
    /// The bytes are no ONNX model, or one that contradicts itself.
    pub fn parse(bytes: Bytes) -> Result<Self, OnnxError> {
        wire::survey(&bytes)?;
        Self::from_proto(ModelProto::decode(bytes).map_err(OnnxError::Decode)?)
    }

    /// Checks a model that was put together from messages, and puts its nodes in order.
    ///
    /// # Errors
    /// The model contradicts itself.
    pub fn from_proto(mut proto: ModelProto) -> Result<Self, OnnxError> {
        let mut graph = proto.graph.take().ok_or(OnnxError::NoGraph)?;
        order::sort(&mut graph);
        let model = Self { proto, graph };
        check::model(&model)?;
        Ok(model)
    }

    /// Returns the messages of the model.
    pub fn into_proto(self) -> ModelProto {
        ModelProto { graph: Some(self.graph), ..self.proto }
    }

    /// Returns the main graph.
    pub fn graph(&self) -> &GraphProto {
        &self.graph
    }

    /// Returns the version of the model format.
    pub fn ir_version(&self) -> i64 {
        self.proto.ir_version.unwrap_or(0)
    }

    /// Returns what wrote the model: name and version, each possibly empty.
    pub fn producer(&self) -> (&str, &str) {
        (self.proto.producer_name(), self.proto.producer_version())
    }

    /// Returns the operator set version of each domain. ONNX's own domain is the empty text.
    pub fn opsets(&self) -> BTreeMap<&str, i64> {
        let imports = self.proto.opset_import.iter();
        imports.map(|import| (graph::canonical_domain(import.domain()), import.version())).collect()
    }

    /// Returns the version of ONNX's own operators, 0 if the model uses none.
    pub fn opset(&self) -> i64 {
        self.opsets().get("").copied().unwrap_or(0)
    }

    /// Returns the operators that the model defines itself.
    pub fn functions(&self) -> &[proto::FunctionProto] {
        &self.proto.functions
    }

    /// Returns the real inputs: graph inputs that no initializer gives a value.
    pub fn inputs(&self) -> Vec<Value> {
        let constants = graph::initializer_names(&self.graph);
        let inputs = self.graph.input.iter().filter(|input| !constants.contains(input.name()));
        inputs.map(Value::from_proto).collect()
    }

    /// Returns whether a value is an input without a constant of its name.
    pub fn is_fed(&self, name: &str) -> bool {
        let graph = &self.graph;
        graph.input.iter().any(|input| input.name() == name)
            && !graph.initializer.iter().any(|tensor| tensor.name() == name)
    }

    /// Returns the outputs.
    pub fn outputs(&self) -> Vec<Value> {
        self.graph.output.iter().map(Value::from_proto).collect()
    }

    /// Returns what the model says about the value `name` of the main graph: an input, an output, an initializer or an
    /// intermediate value. `None` if the model says nothing, which does not mean that there is no such value.
    pub fn value(&self, name: &str) -> Option<Value> {
        let graph = &self.graph;
        let mut infos = graph.input.iter().chain(&graph.output).chain(&graph.value_info);
        infos
            .find(|info| info.name() == name)
            .map(Value::from_proto)
            .or_else(|| graph.initializer.iter().find(|tensor| tensor.name() == name).map(Value::from_tensor))
    }

    /// Returns the tensors whose elements are in other files, wherever they are in the model, in order.
    pub fn external_data(&self) -> Vec<ExternalData> {
        external::list(self)
    }

    /// Returns the model with the elements of its external tensors in itself, shared with `files`: the contents of each
    /// file that [`Model::external_data`] names, by location.
    ///
    /// # Errors
    /// A file is missing, or is too short for a tensor.
    pub fn with_external_data(self, files: &BTreeMap<String, Bytes>) -> Result<Self, OnnxError> {
        external::embed(self, files)
    }

    /// Returns the model without its weights, which it expects in a file at `location` beside it, and the pieces of that
    /// file in order. This is how a model is written that has more bytes than one file may have.
    pub fn without_weights(&self, location: &str) -> (Self, Vec<Bytes>) {
        external::detach(self.clone(), location)
    }

    /// Returns the model with another main graph.
    fn with_graph(&self, graph: GraphProto) -> Self {
        Self { proto: self.proto.clone(), graph }
    }
}

#[cfg(test)]
pub(crate) mod tests;
