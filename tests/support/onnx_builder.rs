//! Small ONNX models for tests, written as bytes.
//!
//! Knows the wire format and the field numbers by itself, so that it checks the product's messages instead of trusting
//! them, and so that tests inside and outside the library can use it.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub const FLOAT: i32 = 1;
pub const UINT8: i32 = 2;
pub const INT8: i32 = 3;
pub const INT64: i32 = 7;
pub const STRING: i32 = 8;
pub const BOOL: i32 = 9;
pub const FLOAT16: i32 = 10;

/// One dimension of a value.
#[derive(Clone, Copy)]
pub enum Dim<'a> {
    Size(i64),
    Symbol(&'a str),
    Unknown,
}

fn sequence_info(name: &str, element: i32) -> Vec<u8> {
    let [mut tensor, mut member, mut sequence, mut kind, mut info] = [const { Vec::new() }; 5];
    number(1, element.into(), &mut tensor);
    bytes(1, &tensor, &mut member);
    bytes(1, &member, &mut sequence);
    bytes(4, &sequence, &mut kind);
    bytes(1, name.as_bytes(), &mut info);
    bytes(2, &kind, &mut info);
    info
}

/// Dimensions that are all known.
pub fn sizes(sizes: &[i64]) -> Vec<Dim<'static>> {
    sizes.iter().map(|&size| Dim::Size(size)).collect()
}

fn varint(mut value: u64, to: &mut Vec<u8>) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn number(field: u64, value: i64, to: &mut Vec<u8>) {
    varint(field << 3, to);
    varint(value as u64, to);
}

fn bytes(field: u64, value: &[u8], to: &mut Vec<u8>) {
    varint(field << 3 | 2, to);
    varint(value.len() as u64, to);
    to.extend_from_slice(value);
}

fn value_info(name: &str, element: i32, dims: &[Dim]) -> Vec<u8> {
    let mut shape = Vec::new();
    for dim in dims {
        let mut dimension = Vec::new();
        match dim {
            Dim::Size(size) => number(1, *size, &mut dimension),
            Dim::Symbol(symbol) => bytes(2, symbol.as_bytes(), &mut dimension),
            Dim::Unknown => {}
        }
        bytes(1, &dimension, &mut shape);
    }
    let mut tensor = Vec::new();
    number(1, element.into(), &mut tensor);
    bytes(2, &shape, &mut tensor);
    let mut kind = Vec::new();
    bytes(1, &tensor, &mut kind);
    let mut info = Vec::new();
    bytes(1, name.as_bytes(), &mut info);
    bytes(2, &kind, &mut info);
    info
}

/// A constant.
#[derive(Clone)]
pub struct Tensor(Vec<u8>);

impl Tensor {
    pub fn raw(name: &str, element: i32, dims: &[i64], raw: &[u8]) -> Self {
        let mut tensor = Self::header(name, element, dims);
        bytes(9, raw, &mut tensor.0);
        tensor
    }

    pub fn floats(name: &str, dims: &[i64], values: &[f32]) -> Self {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::raw(name, FLOAT, dims, &raw)
    }

    pub fn integers(name: &str, dims: &[i64], values: &[i64]) -> Self {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::raw(name, INT64, dims, &raw)
    }

    /// Floats in `float_data` instead of `raw_data`.
    pub fn typed_floats(name: &str, dims: &[i64], values: &[f32]) -> Self {
        let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let mut tensor = Self::header(name, FLOAT, dims);
        bytes(4, &packed, &mut tensor.0);
        tensor
    }

    /// A tensor whose data are in another file, described by these keys and values.
    pub fn external(name: &str, element: i32, dims: &[i64], description: &[(&str, &str)]) -> Self {
        let mut tensor = Self::header(name, element, dims);
        for (key, value) in description {
            let mut entry = Vec::new();
            bytes(1, key.as_bytes(), &mut entry);
            bytes(2, value.as_bytes(), &mut entry);
            bytes(13, &entry, &mut tensor.0);
        }
        number(14, 1, &mut tensor.0);
        tensor
    }

    fn header(name: &str, element: i32, dims: &[i64]) -> Self {
        let mut tensor = Vec::new();
        dims.iter().for_each(|&size| number(1, size, &mut tensor));
        number(2, element.into(), &mut tensor);
        bytes(8, name.as_bytes(), &mut tensor);
        Self(tensor)
    }
}

/// A node.
#[derive(Clone)]
pub struct Node(Vec<u8>);

impl Node {
    pub fn new(operator: &str, inputs: &[&str], outputs: &[&str]) -> Self {
        let mut node = Vec::new();
        inputs.iter().for_each(|input| bytes(1, input.as_bytes(), &mut node));
        outputs.iter().for_each(|output| bytes(2, output.as_bytes(), &mut node));
        if !operator.is_empty() {
            bytes(4, operator.as_bytes(), &mut node);
        }
        Self(node)
    }

    pub fn named(mut self, name: &str) -> Self {
        bytes(3, name.as_bytes(), &mut self.0);
        self
    }

    pub fn domain(mut self, domain: &str) -> Self {
        bytes(7, domain.as_bytes(), &mut self.0);
        self
    }

    pub fn int(self, name: &str, value: i64) -> Self {
        self.attribute(name, 2, |attribute| number(3, value, attribute))
    }

    pub fn ints(self, name: &str, values: &[i64]) -> Self {
        self.attribute(name, 7, |attribute| values.iter().for_each(|&value| number(8, value, attribute)))
    }

    pub fn float(self, name: &str, value: f32) -> Self {
        self.attribute(name, 1, |attribute| {
            varint(2 << 3 | 5, attribute);
            attribute.extend_from_slice(&value.to_le_bytes());
        })
    }

    pub fn floats(self, name: &str, values: &[f32]) -> Self {
        self.attribute(name, 6, |attribute| {
            for value in values {
                varint(7 << 3 | 5, attribute);
                attribute.extend_from_slice(&value.to_le_bytes());
            }
        })
    }

    pub fn text(self, name: &str, value: &str) -> Self {
        self.attribute(name, 3, |attribute| bytes(4, value.as_bytes(), attribute))
    }

    pub fn texts(self, name: &str, values: &[&str]) -> Self {
        self.attribute(name, 8, |attribute| values.iter().for_each(|value| bytes(9, value.as_bytes(), attribute)))
    }

    pub fn tensor(self, name: &str, value: &Tensor) -> Self {
        self.attribute(name, 4, |attribute| bytes(5, &value.0, attribute))
    }

    pub fn graph(self, name: &str, value: &Graph) -> Self {
        self.attribute(name, 5, |attribute| bytes(6, &value.0, attribute))
    }

    fn attribute(mut self, name: &str, kind: i64, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut attribute = Vec::new();
        bytes(1, name.as_bytes(), &mut attribute);
        write(&mut attribute);
        number(20, kind, &mut attribute);
        bytes(5, &attribute, &mut self.0);
        self
    }
}

/// A graph.
#[derive(Clone)]
pub struct Graph(Vec<u8>);

impl Graph {
    pub fn new() -> Self {
        let mut graph = Vec::new();
        bytes(2, b"test", &mut graph);
        Self(graph)
    }

    pub fn node(mut self, node: Node) -> Self {
        bytes(1, &node.0, &mut self.0);
        self
    }

    pub fn initializer(mut self, tensor: Tensor) -> Self {
        bytes(5, &tensor.0, &mut self.0);
        self
    }

    pub fn input(self, name: &str, element: i32, dims: &[Dim]) -> Self {
        self.info(11, name, element, dims)
    }

    pub fn output(self, name: &str, element: i32, dims: &[Dim]) -> Self {
        self.info(12, name, element, dims)
    }

    pub fn value(self, name: &str, element: i32, dims: &[Dim]) -> Self {
        self.info(13, name, element, dims)
    }

    /// An input that is a sequence of tensors.
    pub fn sequence_input(mut self, name: &str, element: i32) -> Self {
        bytes(11, &sequence_info(name, element), &mut self.0);
        self
    }

    /// An output that is a sequence of tensors.
    pub fn sequence_output(mut self, name: &str, element: i32) -> Self {
        bytes(12, &sequence_info(name, element), &mut self.0);
        self
    }

    fn info(mut self, field: u64, name: &str, element: i32, dims: &[Dim]) -> Self {
        bytes(field, &value_info(name, element, dims), &mut self.0);
        self
    }
}

impl Default for Graph {
    fn default() -> Self {
        Self::new()
    }
}

/// A model.
#[derive(Clone)]
pub struct Model {
    graph: Graph,
    ir_version: i64,
    opsets: Vec<(String, i64)>,
}

impl Model {
    /// A model of IR version 8 at opset 13.
    pub fn new(graph: Graph) -> Self {
        Self { graph, ir_version: 8, opsets: vec![(String::new(), 13)] }
    }

    pub fn ir(mut self, version: i64) -> Self {
        self.ir_version = version;
        self
    }

    /// The version of ONNX's own operators; 0 leaves it out.
    pub fn opset(mut self, version: i64) -> Self {
        self.opsets.retain(|(domain, _)| !domain.is_empty());
        if version != 0 {
            self.opsets.push((String::new(), version));
        }
        self
    }

    pub fn domain(mut self, domain: &str, version: i64) -> Self {
        self.opsets.push((domain.to_owned(), version));
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut model = Vec::new();
        number(1, self.ir_version, &mut model);
        bytes(2, b"test builder", &mut model);
        bytes(7, &self.graph.0, &mut model);
        for (domain, version) in &self.opsets {
            let mut import = Vec::new();
            if !domain.is_empty() {
                bytes(1, domain.as_bytes(), &mut import);
            }
            number(2, *version, &mut import);
            bytes(8, &import, &mut model);
        }
        model
    }
}
