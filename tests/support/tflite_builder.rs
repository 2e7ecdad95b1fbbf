//! Small TFLite models for tests, written as bytes.
//!
//! Knows the wire format and the numbers of the fields by itself, so that it checks the product's reader instead of
//! trusting it, and so that tests inside and outside the library can use it. Fields are counted from 0 as in the schema.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub const FLOAT: i8 = 0;
pub const INT32: i8 = 2;
pub const BOOL: i8 = 6;
pub const INT8: i8 = 9;
pub const INT4: i8 = 17;

pub const ADD: i32 = 0;
pub const CONV_2D: i32 = 3;
pub const LESS: i32 = 58;
pub const WHILE: i32 = 119;
pub const RESHAPE: i32 = 22;
pub const CUSTOM: i32 = 32;
pub const PAD: i32 = 34;
pub const BATCH_TO_SPACE_ND: i32 = 37;
pub const SPACE_TO_BATCH_ND: i32 = 38;
pub const UNIDIRECTIONAL_SEQUENCE_LSTM: i32 = 44;
pub const TOPK_V2: i32 = 48;
pub const WHERE: i32 = 109;
pub const DENSIFY: i32 = 124;
pub const SPARSE_TO_DENSE: i32 = 68;
pub const STABLEHLO_GATHER: i32 = 201;
pub const DILATE: i32 = 203;
pub const REDUCE_WINDOW: i32 = 205;

/// A field of a table.
#[derive(Clone)]
pub enum Field {
    Byte(i8),
    Int(i32),
    Long(i64),
    Table(Table),
    Tables(Vec<Table>),
    Bytes(Vec<u8>),
    Ints(Vec<i32>),
    Longs(Vec<i64>),
    Floats(Vec<f32>),
}

use Field::{Byte, Bytes, Floats, Int, Ints, Long, Longs, Tables};

/// Fields with their numbers.
pub type Table = Vec<(usize, Field)>;

fn put(to: &mut Vec<u8>, table: &Table) -> usize {
    let sizes = table.iter().map(|(_, field)| match field {
        Byte(_) => 1,
        Long(_) => 8,
        _ => 4,
    });
    let places: Vec<usize> = sizes
        .scan(4, |next, size| {
            *next += size;
            Some(*next - size)
        })
        .collect();
    let count = table.iter().map(|(number, _)| number + 1).max().unwrap_or(0);
    let mut description = vec![0_u16; 2 + count];
    description[0] = 4 + 2 * count as u16;
    // The size of the table is not looked at.
    description[1] = 4;
    for ((number, _), place) in table.iter().zip(&places) {
        description[2 + number] = *place as u16;
    }
    let start = to.len();
    to.extend(description.iter().flat_map(|word| word.to_le_bytes()));
    let table_start = to.len();
    to.extend(((table_start - start) as u32).to_le_bytes());
    for (_, field) in table {
        match field {
            Byte(value) => to.push(*value as u8),
            Int(value) => to.extend(value.to_le_bytes()),
            Long(value) => to.extend(value.to_le_bytes()),
            _ => to.extend([0; 4]),
        }
    }
    for ((_, field), place) in table.iter().zip(places) {
        let end = to.len();
        let child = match field {
            Byte(_) | Int(_) | Long(_) => continue,
            Field::Table(table) => put(to, table),
            Tables(tables) => {
                to.extend((tables.len() as u32).to_le_bytes());
                to.extend(vec![0; 4 * tables.len()]);
                for (index, table) in tables.iter().enumerate() {
                    let child = put(to, table);
                    link(to, end + 4 + 4 * index, child);
                }
                end
            }
            Bytes(bytes) => vector(to, bytes.len(), bytes),
            Ints(values) => {
                vector(to, values.len(), &values.iter().flat_map(|it| it.to_le_bytes()).collect::<Vec<_>>())
            }
            Longs(values) => {
                vector(to, values.len(), &values.iter().flat_map(|it| it.to_le_bytes()).collect::<Vec<_>>())
            }
            Floats(values) => {
                vector(to, values.len(), &values.iter().flat_map(|it| it.to_le_bytes()).collect::<Vec<_>>())
            }
        };
        link(to, table_start + place, child);
    }
    table_start
}

fn vector(to: &mut Vec<u8>, count: usize, bytes: &[u8]) -> usize {
    let start = to.len();
    to.extend((count as u32).to_le_bytes());
    to.extend(bytes);
    start
}

fn link(to: &mut [u8], place: usize, child: usize) {
    to[place..place + 4].copy_from_slice(&((child - place) as u32).to_le_bytes());
}

/// The bytes of a file whose root is `table`.
pub fn file(table: &Table) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend(b"TFL3");
    let root = put(&mut bytes, table);
    link(&mut bytes, 0, root);
    bytes
}

/// A model that is being put together. Tensors and operators are named by their places.
#[derive(Clone, Default)]
pub struct Model {
    pub tensors: Vec<Table>,
    pub operators: Vec<Table>,
    pub codes: Vec<Table>,
    pub buffers: Vec<Table>,
    /// The graphs that operators run.
    pub graphs: Vec<Table>,
    pub inputs: Vec<i32>,
    pub outputs: Vec<i32>,
    pub version: i32,
}

impl Model {
    pub fn new() -> Self {
        Self { version: 3, buffers: vec![Vec::new()], ..Self::default() }
    }

    /// Adds a tensor.
    pub fn tensor(&mut self, name: &str, kind: i8, shape: &[i32]) -> i32 {
        self.tensors.push(vec![(0, Ints(shape.to_vec())), (1, Byte(kind)), (3, Bytes(name.as_bytes().to_vec()))]);
        self.tensors.len() as i32 - 1
    }

    /// Says something more about the last tensor.
    pub fn with(&mut self, number: usize, field: Field) {
        self.tensors.last_mut().unwrap().push((number, field));
    }

    /// Adds a constant.
    pub fn constant(&mut self, name: &str, kind: i8, shape: &[i32], bytes: Vec<u8>) -> i32 {
        let tensor = self.tensor(name, kind, shape);
        self.with(2, Int(self.buffers.len() as i32));
        self.buffers.push(vec![(0, Bytes(bytes))]);
        tensor
    }

    /// Adds a constant of floating numbers.
    pub fn floats(&mut self, name: &str, shape: &[i32], values: &[f32]) -> i32 {
        self.constant(name, FLOAT, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// Adds a constant list of integers.
    pub fn ints(&mut self, name: &str, shape: &[i32], values: &[i32]) -> i32 {
        self.constant(name, INT32, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    pub fn operator(&mut self, code: i32, inputs: &[i32], outputs: &[i32], options: Table) {
        let old = code.min(127) as i8;
        self.codes.push(vec![(0, Byte(old)), (1, Bytes(b"Mine".to_vec())), (3, Int(code))]);
        self.operators.push(vec![
            (0, Int(self.codes.len() as i32 - 1)),
            (1, Ints(inputs.to_vec())),
            (2, Ints(outputs.to_vec())),
            (4, Field::Table(options)),
        ]);
    }

    /// Adds an operator of the model's own; what it says are integers of 32 bits.
    pub fn own_operator(&mut self, name: &str, inputs: &[i32], outputs: &[i32], content: &[i32]) {
        self.codes.push(vec![(0, Byte(CUSTOM as i8)), (1, Bytes(name.as_bytes().to_vec())), (3, Int(CUSTOM))]);
        self.operators.push(vec![
            (0, Int(self.codes.len() as i32 - 1)),
            (1, Ints(inputs.to_vec())),
            (2, Ints(outputs.to_vec())),
            (5, Bytes(content.iter().flat_map(|value| value.to_le_bytes()).collect())),
        ]);
    }

    /// Adds a graph that operators run, as `write` puts it together; returns its place.
    pub fn nested(&mut self, write: impl FnOnce(&mut Self)) -> i32 {
        let outer = self.clone();
        (self.tensors, self.operators) = (Vec::new(), Vec::new());
        write(self);
        let graph = self.graph();
        let Self { tensors, operators, inputs, outputs, .. } = outer;
        (self.tensors, self.operators, self.inputs, self.outputs) = (tensors, operators, inputs, outputs);
        self.graphs.push(graph);
        self.graphs.len() as i32
    }

    fn graph(&self) -> Table {
        vec![
            (0, Tables(self.tensors.clone())),
            (1, Ints(self.inputs.clone())),
            (2, Ints(self.outputs.clone())),
            (3, Tables(self.operators.clone())),
        ]
    }

    pub fn bytes(&self) -> Vec<u8> {
        let graphs = std::iter::once(self.graph()).chain(self.graphs.clone()).collect();
        file(&vec![
            (0, Int(self.version)),
            (1, Tables(self.codes.clone())),
            (2, Tables(graphs)),
            (4, Tables(self.buffers.clone())),
        ])
    }
}

/// Scales and zero points along an axis.
pub fn quantization(scales: &[f32], zeros: &[i64], axis: i32) -> Field {
    Field::Table(vec![(2, Floats(scales.to_vec())), (3, Longs(zeros.to_vec())), (6, Int(axis))])
}

/// The sparsity of a constant: traversal order, axes of the blocks, and the dimensions as they are stored.
pub fn sparsity(order: &[i32], blocks: &[i32], dimensions: Vec<Table>) -> Field {
    Field::Table(vec![(0, Ints(order.to_vec())), (1, Ints(blocks.to_vec())), (2, Tables(dimensions))])
}

/// A dimension of which all indices are stored.
pub fn dense(size: i32) -> Table {
    vec![(0, Byte(0)), (1, Int(size))]
}

/// A dimension of which some indices are stored.
pub fn listed(segments: &[u8], indices: &[u8]) -> Table {
    let list = |values: &[u8]| Field::Table(vec![(0, Bytes(values.to_vec()))]);
    vec![(0, Byte(1)), (2, Byte(3)), (3, list(segments)), (4, Byte(3)), (5, list(indices))]
}

/// `img` [1, 4, 4, 2] through a convolution of 1x1, a border and a sum to `out` [1, 36], with what readers trip over:
/// several scales, a sparse constant, options, a tensor that nobody reads.
pub fn network() -> Model {
    let mut model = Model::new();
    let image = model.tensor("img", FLOAT, &[1, 4, 4, 2]);
    model.with(7, Ints(vec![-1, 4, 4, 2]));
    let weights = model.constant("w", INT8, &[1, 1, 1, 2], vec![4, 0xfe]);
    model.with(4, quantization(&[0.5, 0.25], &[0, 0], 3));
    let convolved = model.tensor("conv", FLOAT, &[1, 4, 4, 1]);
    model.operator(CONV_2D, &[image, weights, -1], &[convolved], vec![(1, Int(1)), (2, Int(1)), (3, Byte(3))]);
    let borders = model.ints("borders", &[4, 2], &[0, 0, 1, 1, 1, 1, 0, 0]);
    let padded = model.tensor("pad", FLOAT, &[1, 6, 6, 1]);
    model.operator(PAD, &[convolved, borders], &[padded], Vec::new());
    let sparse = model.floats("sparse", &[6, 6], &[1.0, 2.0, 3.0, 4.0]);
    let blocks = vec![dense(3), listed(&[0, 1, 1, 1], &[1]), dense(2), dense(2)];
    model.with(6, sparsity(&[0, 1, 2, 3], &[0, 1], blocks));
    let full = model.tensor("full", FLOAT, &[6, 6]);
    model.operator(DENSIFY, &[sparse], &[full], Vec::new());
    let flat = model.ints("flat", &[2], &[1, 36]);
    let rows = [(padded, "rows"), (full, "addend")].map(|(from, name)| {
        let to = model.tensor(name, FLOAT, &[1, 36]);
        model.operator(RESHAPE, &[from, flat], &[to], Vec::new());
        to
    });
    let out = model.tensor("out", FLOAT, &[1, 36]);
    model.operator(ADD, &rows, &[out], Vec::new());
    model.tensor("out", FLOAT, &[]);
    (model.inputs, model.outputs) = (vec![image], vec![out]);
    model
}

/// `img` [1, 4, 4, 2] through a convolution of 3x3 that old converters write in batches, to its greatest channel:
/// `values` and `places` [1, 4, 4, 1].
pub fn blocks() -> Model {
    let mut model = Model::new();
    let image = model.tensor("img", FLOAT, &[1, 4, 4, 2]);
    let (sizes, border) = (model.ints("sizes", &[2], &[2, 2]), model.ints("border", &[2, 2], &[2; 4]));
    let (nothing, count) = (model.ints("nothing", &[2, 2], &[0; 4]), model.ints("count", &[], &[1]));
    let weights = model.floats("w", &[2, 3, 3, 2], &[0.5; 36]);
    let (batches, convolved) =
        (model.tensor("batches", FLOAT, &[4, 4, 4, 2]), model.tensor("convolved", FLOAT, &[4, 2, 2, 2]));
    let whole = model.tensor("whole", FLOAT, &[1, 4, 4, 2]);
    let (values, places) = (model.tensor("values", FLOAT, &[1, 4, 4, 1]), model.tensor("places", INT32, &[1, 4, 4, 1]));
    model.operator(SPACE_TO_BATCH_ND, &[image, sizes, border], &[batches], Vec::new());
    model.operator(CONV_2D, &[batches, weights], &[convolved], vec![(0, Byte(1)), (1, Int(1)), (2, Int(1))]);
    model.operator(BATCH_TO_SPACE_ND, &[convolved, sizes, nothing], &[whole], Vec::new());
    model.operator(TOPK_V2, &[whole, count], &[values, places], Vec::new());
    (model.inputs, model.outputs) = (vec![image], vec![values, places]);
    model
}

/// `img` [1, 4, 4, 2] moved apart, to the sums that windows see, with a sparse one: `out` [2, 1, 4, 2] are two pieces.
pub fn pieces() -> Model {
    let mut model = Model::new();
    let image = model.tensor("img", FLOAT, &[1, 4, 4, 2]);
    let (distances, zero) = (model.ints("distances", &[4], &[1, 2, 1, 1]), model.floats("zero", &[], &[0.0]));
    let wide = model.tensor("wide", FLOAT, &[1, 7, 4, 2]);
    model.operator(DILATE, &[image, distances, zero], &[wide], Vec::new());
    let (sizes, strides) = (model.ints("sizes", &[4], &[1, 3, 1, 1]), model.ints("strides", &[4], &[1, 2, 1, 1]));
    let (ones, seen) = (model.ints("ones", &[4], &[1; 4]), model.tensor("seen", FLOAT, &[1, 3, 4, 2]));
    model.operator(REDUCE_WINDOW, &[wide, zero, sizes, strides, ones], &[seen], vec![(0, Int(1))]);
    let (places, shape) = (model.ints("places", &[1, 4], &[0, 2, 3, 1]), model.ints("shape", &[4], &[1, 3, 4, 2]));
    let (dense, sum) = (model.tensor("dense", FLOAT, &[1, 3, 4, 2]), model.tensor("sum", FLOAT, &[1, 3, 4, 2]));
    model.operator(SPARSE_TO_DENSE, &[places, shape, zero, zero], &[dense], Vec::new());
    model.operator(ADD, &[seen, dense], &[sum], Vec::new());
    let (begins, out) = (model.ints("begins", &[2, 1], &[2, 0]), model.tensor("out", FLOAT, &[2, 1, 4, 2]));
    let lists = [(0, vec![1, 2, 3]), (1, vec![1]), (2, vec![1]), (4, vec![1, 1, 4, 2])];
    let mut options: Table = lists.into_iter().map(|(number, list)| (number, Longs(list))).collect();
    options.push((3, Long(1)));
    model.operator(STABLEHLO_GATHER, &[sum, begins], &[out], options);
    (model.inputs, model.outputs) = (vec![image], vec![out]);
    model
}

/// A recurrent layer of one cell, with an activation by the schema's number.
pub fn recurrent(steps: i32, limit: f32, activation: i8) -> Model {
    let mut model = Model::new();
    let given = model.tensor("img", FLOAT, &[1, steps, 1]);
    let (weights, bias) = (model.floats("w", &[1, 1], &[0.5]), model.floats("b", &[1], &[0.0]));
    let mut states = [0; 2];
    for (place, state) in states.iter_mut().enumerate() {
        *state = model.tensor(&format!("state{place}"), FLOAT, &[1, 1]);
        model.with(5, Byte(1));
    }
    let out = model.tensor("out", FLOAT, &[1, steps, 1]);
    let mut operands = vec![-1; 20];
    operands[0] = given;
    operands[1..9].fill(weights);
    operands[12..16].fill(bias);
    operands[18..].copy_from_slice(&states);
    let options = vec![(0, Byte(activation)), (1, Int(limit.to_bits() as i32))];
    model.operator(UNIDIRECTIONAL_SEQUENCE_LSTM, &operands, &[out], options);
    (model.inputs, model.outputs) = (vec![given], vec![out]);
    model
}

/// Doubles `img` [1, 4] to `out` as often as `limit` says: a constant, or what is fed.
pub fn repeated(limit: Option<i32>) -> Model {
    let mut model = Model::new();
    let values = |model: &mut Model| {
        let values = [("count", INT32, &[][..]), ("limit", INT32, &[]), ("value", FLOAT, &[1, 4])];
        model.inputs = values.map(|(name, kind, shape)| model.tensor(name, kind, shape)).to_vec();
    };
    let condition = model.nested(|model| {
        values(model);
        let goes_on = model.tensor("goes_on", BOOL, &[]);
        model.operator(LESS, &[0, 1], &[goes_on], Vec::new());
        model.outputs = vec![goes_on];
    });
    let body = model.nested(|model| {
        values(model);
        let one = model.ints("one", &[], &[1]);
        let (next, double) = (model.tensor("next", INT32, &[]), model.tensor("double", FLOAT, &[1, 4]));
        model.operator(ADD, &[0, one], &[next], Vec::new());
        model.operator(ADD, &[2, 2], &[double], Vec::new());
        model.outputs = vec![next, 1, double];
    });
    let (image, count) = (model.tensor("img", FLOAT, &[1, 4]), model.ints("count", &[], &[0]));
    let given = match limit {
        Some(limit) => model.ints("limit", &[], &[limit]),
        None => model.tensor("limit", INT32, &[]),
    };
    let results = [("end", INT32, &[][..]), ("same", INT32, &[]), ("out", FLOAT, &[1, 4])];
    let results = results.map(|(name, kind, shape)| model.tensor(name, kind, shape));
    model.operator(WHILE, &[count, given, image], &results, vec![(0, Int(condition)), (1, Int(body))]);
    model.inputs = if limit.is_some() { vec![image] } else { vec![image, given] };
    model.outputs = vec![results[2]];
    model
}
