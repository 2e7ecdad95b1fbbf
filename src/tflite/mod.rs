//! TFLite models: read from bytes, checked, looked at.
//!
//! Owns the model as a value: the tensors and operators of its first subgraph, and the subgraphs that loops and branches
//! run. A [`Model`] is valid by construction: every index exists, every constant has the bytes that its shape promises,
//! every tensor is computed once and before it is read. What an operator means for other formats is decided elsewhere.
//! Follows the TensorFlow Lite schema, version 3.

mod constant;
mod control;
mod evaluate;
mod flat;
mod operators;
mod options;
mod shapes;
mod sparse;
mod variables;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use thiserror::Error;

pub use self::constant::{Constant, Values};
pub use self::options::{
    Activation, Convolution, CumulativeSum, LocalResponse, Lstm, Padding, Pieces, Pool, Pretended, Resize, Rnn,
    StridedSlice, VolumeConvolution,
};

use self::flat::{Table, Vector};
use self::sparse::Sparsity;
use crate::hint::Hint;
use crate::intake::{foreign, foreign_hint};
use crate::onnx::{ElementType, element_count};

/// The first bytes of the second word of every TFLite file.
const IDENTIFIER: &[u8] = b"TFL3";
/// The version of the schema.
const VERSION: u32 = 3;
/// No kernel of the format's own runtime takes more dimensions.
const MAX_RANK: usize = 8;
/// How many bytes names, shapes and lists of operands may take. A small file can say the same long name very often.
const MAX_STRUCTURE: usize = 32 << 20;

/// Bytes that are no valid TFLite model, and why.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TfliteError {
    /// Another kind of file.
    #[error("not a TFLite model{}", what.map_or(": bytes 4 to 7 are not `TFL3`".to_owned(), |what| format!(" but {what}")))]
    Foreign {
        /// The other kind, with its article, if it is known.
        what: Option<&'static str>,
    },
    /// An offset that leads nowhere.
    #[error("the TFLite model is broken or truncated: what stands at byte {offset} does not fit the file")]
    Malformed {
        /// Where, in bytes from the beginning.
        offset: usize,
    },
    /// Another version of the format.
    #[error("the TFLite model has version {version} of the schema; version 3 is read")]
    Version {
        /// The version.
        version: u32,
    },
    /// Nothing to compute.
    #[error("the TFLite model has no {what}")]
    Lacks {
        /// What there must be at least one of.
        what: &'static str,
    },
    /// The structure would exhaust memory.
    #[error("the structure of the TFLite model, without its weights, takes more than {limit} bytes")]
    TooLarge {
        /// The most bytes that it may take.
        limit: usize,
    },
    /// An index that names nothing.
    #[error("{what} of the TFLite model names the {kind} {index}, of which there are {count}")]
    NoSuch {
        /// Who names it.
        what: String,
        /// What is named.
        kind: &'static str,
        /// The index.
        index: i64,
        /// How many there are.
        count: usize,
    },
    /// A shape that no tensor has.
    #[error("tensor `{tensor}` has the impossible shape {shape:?}")]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its dimensions.
        shape: Vec<i64>,
    },
    /// A constant with another number of bytes than its shape says.
    #[error("constant `{tensor}` has {found} bytes, but its shape needs {expected}")]
    Length {
        /// The tensor.
        tensor: String,
        /// How many there must be.
        expected: u64,
        /// How many there are.
        found: usize,
    },
    /// A constant in another file.
    #[error("constant `{tensor}` is in another file")]
    External {
        /// The tensor.
        tensor: String,
    },
    /// Scales, zero points and shape that do not fit together.
    #[error("the quantization of tensor `{tensor}` does not fit its shape")]
    Quantization {
        /// The tensor.
        tensor: String,
    },
    /// A sparse constant whose description contradicts itself.
    #[error("the sparsity of constant `{tensor}` does not fit its shape and data")]
    Sparsity {
        /// The tensor.
        tensor: String,
    },
    /// A tensor that is read before it is there, or never computed.
    #[error("{reader} of the TFLite model reads `{tensor}`, which nothing computes before it")]
    Undefined {
        /// Who reads.
        reader: String,
        /// The tensor.
        tensor: String,
    },
    /// Two things define one tensor.
    #[error("tensor `{tensor}` of the TFLite model is defined more than once")]
    Defined {
        /// The tensor.
        tensor: String,
    },
    /// An option whose value has no meaning.
    #[error("operator {operator} of the TFLite model has an impossible {option}: {value}")]
    Option {
        /// The operator's name.
        operator: String,
        /// What is said.
        option: &'static str,
        /// The value.
        value: i64,
    },
}

impl Hint for TfliteError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Foreign { what } => what.and_then(foreign_hint).into_iter().collect(),
            Self::Malformed { .. } | Self::Length { .. } => vec!["copy or download the file again".to_owned()],
            Self::External { .. } => vec!["convert the model again to a single file".to_owned()],
            Self::Version { .. } => vec!["convert the model again with a current TensorFlow".to_owned()],
            _ => Vec::new(),
        }
    }
}

/// Which tensor, by its place in the model.
pub type TensorId = usize;

/// A valid TFLite model.
#[derive(Clone, Debug)]
pub struct Model {
    main: Graph,
    /// What loops and branches run, by its place in the file.
    nested: BTreeMap<usize, Graph>,
}

/// A graph; places of tensors are its own.
#[derive(Clone, Debug, Default)]
struct Graph {
    tensors: Vec<Tensor>,
    operators: Vec<Operator>,
    inputs: Vec<TensorId>,
    outputs: Vec<TensorId>,
}

/// A tensor: an input, a constant, or what an operator computes.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Its name, which no other tensor has.
    pub name: String,
    /// Its dimensions, outermost first; 1 stands where a dimension is open.
    pub shape: Vec<i64>,
    /// As `shape`, with -1 where a dimension is open.
    pub signature: Vec<i64>,
    /// The type of the stored elements, if it is a type of tensors at all.
    pub element: Option<ElementType>,
    /// How stored integers stand for real numbers, if they do.
    pub quantization: Option<Quantization>,
    /// Whether it keeps its value from one run to the next.
    pub is_variable: bool,
    /// Whether `shape` is what it has, given the shapes of the inputs.
    pub has_known_shape: bool,
    data: Option<Bytes>,
    sparsity: Option<Sparsity>,
}

/// How stored integers stand for real numbers: `scale * (stored - zero_point)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantization {
    /// One scale, or one for each index along `axis`.
    pub scales: Vec<f32>,
    /// As many zero points as scales.
    pub zero_points: Vec<i64>,
    /// The dimension that several scales go along.
    pub axis: usize,
}

/// An application of an operator.
#[derive(Clone, Debug, Default)]
pub struct Operator {
    /// The name in the schema, or the one that the model gives to an operator of its own.
    pub name: String,
    /// Whether the model brings the operator itself.
    pub is_custom: bool,
    /// What it reads; optional operands may be left out.
    pub inputs: Vec<Option<TensorId>>,
    /// What it computes.
    pub outputs: Vec<TensorId>,
    options: Option<Table>,
    /// What an operator of the model's own says, in the form of its runtime.
    own_options: Bytes,
}

impl Model {
    /// Reads a model. The constants stay where they are: the model shares them with `bytes`.
    ///
    /// # Errors
    /// The bytes are no TFLite model, or one that contradicts itself.
    pub fn parse(bytes: &Bytes) -> Result<Self, TfliteError> {
        if bytes.get(4..8) != Some(IDENTIFIER) {
            return Err(TfliteError::Foreign { what: foreign(bytes) });
        }
        let root = Table::root(bytes)?;
        match root.scalar::<u32>(0, 0)? {
            VERSION => {}
            version => return Err(TfliteError::Version { version }),
        }
        let mut budget = Budget(MAX_STRUCTURE);
        let file = File {
            codes: codes(&root, &mut budget)?,
            buffers: root.tables(4)?.map(|buffer| contents(bytes, &buffer?)).collect::<Result<_, _>>()?,
            graphs: root.tables(2)?.collect::<Result<_, _>>()?,
        };
        let mut main = file.graph(file.graphs.first().ok_or(TfliteError::Lacks { what: "subgraph" })?, &mut budget)?;
        if main.outputs.is_empty() {
            return Err(TfliteError::Lacks { what: "outputs" });
        }
        // One value that comes out twice has one name.
        let mut seen = HashSet::new();
        main.outputs.retain(|id| seen.insert(*id));
        let mut nested = BTreeMap::new();
        let mut waiting = main.runs()?;
        while let Some((operator, index)) = waiting.pop() {
            let place = existing(index, file.graphs.len(), "subgraph", &operator)?;
            if let (false, Some(table)) = (nested.contains_key(&place), file.graphs.get(place)) {
                let graph = file.graph(table, &mut budget)?;
                waiting.extend(graph.runs()?);
                nested.insert(place, graph);
            }
        }
        variables::settle(&mut main, &nested, &mut budget)?;
        Ok(Self { main, nested })
    }

    /// Returns the inputs, in order.
    pub fn inputs(&self) -> &[TensorId] {
        &self.main.inputs
    }

    /// Returns the outputs, in order.
    pub fn outputs(&self) -> &[TensorId] {
        &self.main.outputs
    }

    /// Returns the operators; each stands after those whose results it reads.
    pub fn operators(&self) -> &[Operator] {
        &self.main.operators
    }

    /// Returns all tensors with their places.
    pub fn tensors(&self) -> impl Iterator<Item = (TensorId, &Tensor)> {
        self.main.tensors.iter().enumerate()
    }

    /// Returns a tensor; `None` for a place that this model does not have.
    pub fn tensor(&self, id: TensorId) -> Option<&Tensor> {
        self.main.tensors.get(id)
    }

    /// Returns the name of the operator that `STABLEHLO_REDUCE_WINDOW` or `STABLEHLO_SCATTER` join two elements with: nothing
    /// is done where it is empty, the second element stays. `None` for more than one operator.
    ///
    /// # Errors
    /// The operator's options are broken.
    pub fn joins_with(&self, operator: &Operator) -> Result<Option<&str>, TfliteError> {
        let place = operator.body()?.and_then(|index| usize::try_from(index).ok());
        let Some(graph) = place.and_then(|place| self.nested.get(&place)) else { return Ok(None) };
        if let ([], &[_, second]) = (graph.operators.as_slice(), graph.inputs.as_slice())
            && graph.outputs == [second]
        {
            return Ok(Some(""));
        }
        let [only] = graph.operators.as_slice() else { return Ok(None) };
        let is_whole = only.inputs.iter().flatten().eq(&graph.inputs) && only.outputs == graph.outputs;
        Ok((is_whole && graph.inputs.len() == 2).then_some(only.name.as_str()))
    }

    /// Returns the tensor with a name.
    pub fn find(&self, name: &str) -> Option<TensorId> {
        self.main.tensors.iter().position(|tensor| tensor.name == name)
    }
}

impl Graph {
    /// Returns the graphs that its operators run, with who runs them.
    fn runs(&self) -> Result<Vec<(String, i32)>, TfliteError> {
        let mut runs = Vec::new();
        for (place, operator) in self.operators.iter().enumerate() {
            let graphs = operator.graphs()?.into_iter().flatten().chain(operator.body()?).chain(operator.first_run()?);
            runs.extend(graphs.map(|index| (format!("operator {place} ({})", operator.name), index)));
        }
        Ok(runs)
    }

    /// Returns the graphs that are run once, before everything else.
    fn first_runs(&self) -> Result<Vec<i32>, TfliteError> {
        let runs = self.operators.iter().filter_map(|operator| operator.first_run().transpose());
        runs.collect()
    }

    /// Every tensor is defined once, and before it is read.
    fn check(&mut self) -> Result<(), TfliteError> {
        let computed: HashSet<TensorId> =
            self.operators.iter().flat_map(|operator| &operator.outputs).copied().collect();
        let given: HashSet<TensorId> = self.inputs.iter().copied().collect();
        for (id, tensor) in self.tensors.iter_mut().enumerate() {
            // What an operator computes in each run is not kept, whatever the model says.
            tensor.is_variable &= !computed.contains(&id);
            // A constant without elements has no bytes either.
            if tensor.shape.contains(&0) && tensor.data.is_none() && !computed.contains(&id) && !given.contains(&id) {
                tensor.data = Some(Bytes::new());
            }
        }
        let name = |id: TensorId| self.tensors.get(id).map_or_else(String::new, |tensor| tensor.name.clone());
        let mut defined: HashSet<TensorId> = HashSet::new();
        for (id, tensor) in self.tensors.iter().enumerate() {
            if tensor.data.is_some() || tensor.is_variable {
                defined.insert(id);
            }
        }
        let once = |id: TensorId, defined: &mut HashSet<TensorId>| {
            if defined.insert(id) { Ok(()) } else { Err(TfliteError::Defined { tensor: name(id) }) }
        };
        self.inputs.iter().try_for_each(|&id| once(id, &mut defined))?;
        for (place, operator) in self.operators.iter().enumerate() {
            let missing = operator.inputs.iter().flatten().find(|id| !defined.contains(id));
            if let Some(&id) = missing {
                let reader = format!("operator {place} ({})", operator.name);
                return Err(TfliteError::Undefined { reader, tensor: name(id) });
            }
            operator.outputs.iter().try_for_each(|&id| once(id, &mut defined))?;
        }
        match self.outputs.iter().find(|id| !defined.contains(id)) {
            Some(&id) => Err(TfliteError::Undefined { reader: "the list of outputs".to_owned(), tensor: name(id) }),
            None => Ok(()),
        }
    }
}

impl Operator {
    /// Returns the operand at a place, if it is there.
    pub fn input(&self, place: usize) -> Option<TensorId> {
        self.inputs.get(place).copied().flatten()
    }
}

/// What may still be copied out of the file.
struct Budget(usize);

impl Budget {
    fn spend(&mut self, bytes: usize) -> Result<(), TfliteError> {
        self.0 = self.0.checked_sub(bytes).ok_or(TfliteError::TooLarge { limit: MAX_STRUCTURE })?;
        Ok(())
    }
}

fn existing(index: i32, count: usize, kind: &'static str, what: &str) -> Result<usize, TfliteError> {
    let found = usize::try_from(index).ok().filter(|index| *index < count);
    found.ok_or_else(|| TfliteError::NoSuch { what: what.to_owned(), kind, index: index.into(), count })
}

/// What all graphs of a file share.
struct File {
    /// The names of operators, and whether they are the model's own.
    codes: Vec<(String, bool)>,
    buffers: Vec<Bytes>,
    graphs: Vec<Table>,
}

impl File {
    fn graph(&self, table: &Table, budget: &mut Budget) -> Result<Graph, TfliteError> {
        let tensors = self.tensors(table, budget)?;
        let operators = self.operators(table, tensors.len(), budget)?;
        let ids = |number: usize, what: &str| -> Result<Vec<TensorId>, TfliteError> {
            table.vector::<i32>(number)?.iter().map(|index| existing(index, tensors.len(), "tensor", what)).collect()
        };
        let (inputs, outputs) = (ids(1, "the list of inputs")?, ids(2, "the list of outputs")?);
        let mut graph = Graph { tensors, operators, inputs, outputs };
        graph.check()?;
        Ok(graph)
    }

    fn tensors(&self, graph: &Table, budget: &mut Budget) -> Result<Vec<Tensor>, TfliteError> {
        let mut names = HashSet::new();
        let mut tensors = Vec::new();
        for (place, table) in graph.tables(0)?.enumerate() {
            let table = table?;
            budget.spend(size_of::<Tensor>() + table.vector::<u8>(3)?.len())?;
            let name = unique(table.text(3)?, place, &mut names);
            tensors.push(tensor(&table, name, &self.buffers, budget)?);
        }
        Ok(tensors)
    }

    fn operators(&self, graph: &Table, tensors: usize, budget: &mut Budget) -> Result<Vec<Operator>, TfliteError> {
        let mut list = Vec::new();
        for (place, table) in graph.tables(3)?.enumerate() {
            let table = table?;
            let what = format!("operator {place}");
            let index = i32::try_from(table.scalar::<u32>(0, 0)?).unwrap_or(i32::MAX);
            let code = existing(index, self.codes.len(), "operator code", &what)?;
            let Some((name, is_custom)) = self.codes.get(code) else { continue };
            let (inputs, outputs) = (table.vector::<i32>(1)?, table.vector::<i32>(2)?);
            budget.spend(size_of::<Operator>() + name.len() + 16 * (inputs.len() + outputs.len()))?;
            let operand = |index: i32| match index {
                -1 => Ok(None),
                index => existing(index, tensors, "tensor", &what).map(Some),
            };
            let results = outputs.iter().map(|index| existing(index, tensors, "tensor", &what));
            list.push(Operator {
                name: name.clone(),
                is_custom: *is_custom,
                inputs: inputs.iter().map(operand).collect::<Result<_, _>>()?,
                outputs: results.collect::<Result<_, _>>()?,
                // What came into the schema later has a field of its own.
                options: table.table(4)?.map_or_else(|| table.table(12), |options| Ok(Some(options)))?,
                own_options: table.vector::<u8>(5)?.bytes().clone(),
            });
        }
        Ok(list)
    }
}

/// Names are for people and other formats, which need different ones.
fn unique(name: String, place: usize, names: &mut HashSet<String>) -> String {
    let name = if name.is_empty() { format!("tensor_{place}") } else { name };
    let name = if names.contains(&name) { format!("{name}#{place}") } else { name };
    names.insert(name.clone());
    name
}

/// Returns the bytes of a buffer. Those of large models lie behind the tables, where offset and size say.
fn contents(bytes: &Bytes, buffer: &Table) -> Result<Bytes, TfliteError> {
    let (offset, size) = (buffer.scalar::<u64>(1, 0)?, buffer.scalar::<u64>(2, 0)?);
    // 0 and 1 are written where nothing is meant.
    if offset <= 1 {
        return Ok(buffer.vector::<u8>(0)?.bytes().clone());
    }
    let start = usize::try_from(offset).ok();
    let end = offset.checked_add(size).and_then(|end| usize::try_from(end).ok()).filter(|end| *end <= bytes.len());
    match (start, end) {
        (Some(start), Some(end)) => Ok(bytes.slice(start..end)),
        _ => Err(TfliteError::Malformed { offset: start.unwrap_or(usize::MAX) }),
    }
}

fn tensor(table: &Table, name: String, buffers: &[Bytes], budget: &mut Budget) -> Result<Tensor, TfliteError> {
    let sizes = |vector: Vector<i32>| vector.iter().take(MAX_RANK + 1).map(i64::from).collect::<Vec<i64>>();
    let shape = sizes(table.vector(0)?);
    let count = element_count(&shape).filter(|_| shape.len() <= MAX_RANK);
    let Some(count) = count else { return Err(TfliteError::Shape { tensor: name, shape }) };
    let signature = match sizes(table.vector(7)?) {
        signature if signature.len() == shape.len() => signature,
        _ => shape.clone(),
    };
    let element = element(table.scalar::<i8>(1, 0)?);
    let is_float = element.is_some_and(ElementType::is_float);
    let quantization = match table.table(4)? {
        // What floating numbers would have been quantized to stands there too; they stand for themselves.
        Some(table) if !is_float => quantization(&table, &name, &shape, budget)?,
        Some(_) | None => None,
    };
    let sparsity = match table.table(6)? {
        Some(table) => {
            Some(Sparsity::read(&table, &shape, budget)?.ok_or(TfliteError::Sparsity { tensor: name.clone() })?)
        }
        None => None,
    };
    if table.scalar::<u32>(10, 0)? != 0 {
        return Err(TfliteError::External { tensor: name });
    }
    let buffer = table.scalar::<u32>(2, 0)?;
    let no_such = || TfliteError::NoSuch {
        what: format!("tensor `{name}`"),
        kind: "buffer",
        index: buffer.into(),
        count: buffers.len(),
    };
    let data = buffers.get(buffer as usize).ok_or_else(no_such)?;
    let data = (!data.is_empty()).then(|| data.clone());
    let expected =
        element.and_then(ElementType::bits).and_then(|bits| count.checked_mul(bits)).map(|bits| bits.div_ceil(8));
    if let (Some(data), Some(expected), None) = (&data, expected, &sparsity)
        && data.len() as u64 != expected
    {
        return Err(TfliteError::Length { tensor: name, expected, found: data.len() });
    }
    let is_variable = table.flag(5)?;
    Ok(Tensor { name, shape, signature, element, quantization, is_variable, has_known_shape: true, data, sparsity })
}

fn quantization(
    table: &Table,
    name: &str,
    shape: &[i64],
    budget: &mut Budget,
) -> Result<Option<Quantization>, TfliteError> {
    let (scales, zero_points) = (table.vector::<f32>(2)?, table.vector::<i64>(3)?);
    if scales.len() == 0 {
        return Ok(None);
    }
    budget.spend(scales.len().saturating_mul(12))?;
    let axis = usize::try_from(table.scalar::<i32>(6, 0)?).unwrap_or(usize::MAX);
    let fits = scales.len() == 1 || shape.get(axis).is_some_and(|size| usize::try_from(*size) == Ok(scales.len()));
    let zero_points: Vec<i64> = match zero_points.len() {
        0 => vec![0; scales.len()],
        1 => zero_points.iter().flat_map(|zero_point| vec![zero_point; scales.len()]).collect(),
        _ => zero_points.iter().collect(),
    };
    let scales: Vec<f32> = scales.iter().collect();
    let sane = scales.iter().all(|scale| scale.is_finite()) && zero_points.len() == scales.len();
    if !fits || !sane {
        return Err(TfliteError::Quantization { tensor: name.to_owned() });
    }
    Ok(Some(Quantization { scales, zero_points, axis }))
}

fn codes(root: &Table, budget: &mut Budget) -> Result<Vec<(String, bool)>, TfliteError> {
    let mut codes = Vec::new();
    for code in root.tables(1)? {
        let code = code?;
        // Numbers above 127 stand in the younger field only; older writers know the other one only.
        let number = i32::from(code.scalar::<i8>(0, 0)?).max(code.scalar::<i32>(3, 0)?);
        budget.spend(code.vector::<u8>(1)?.len())?;
        codes.push(match operators::name(number) {
            _ if number == operators::CUSTOM => (code.text(1)?, true),
            Some(name) => (name.to_owned(), false),
            None => (format!("BUILTIN_{number}"), false),
        });
    }
    Ok(codes)
}

/// Returns the element type with a number of the schema's enumeration `TensorType`.
const fn element(code: i8) -> Option<ElementType> {
    Some(match code {
        0 => ElementType::Float32,
        1 => ElementType::Float16,
        2 => ElementType::Int32,
        3 => ElementType::Uint8,
        4 => ElementType::Int64,
        5 => ElementType::String,
        6 => ElementType::Boolean,
        7 => ElementType::Int16,
        8 => ElementType::Complex64,
        9 => ElementType::Int8,
        10 => ElementType::Float64,
        11 => ElementType::Complex128,
        12 => ElementType::Uint64,
        15 => ElementType::Uint32,
        16 => ElementType::Uint16,
        17 => ElementType::Int4,
        18 => ElementType::Bfloat16,
        // Resources and variants are no tensors.
        _ => return None,
    })
}
