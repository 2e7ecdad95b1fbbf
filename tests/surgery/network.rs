//! Networks of one input and one output for tests of rewritings.

use crate::builder::{self, FLOAT, Graph, Node, Tensor, sizes};

/// Numbers without order, the same ones every time, about between -1 and 1.
pub fn numbers(count: i64) -> Vec<f32> {
    numbers_from(0x2545_f491, count)
}

/// Numbers without order that begin anywhere but at zero.
pub fn numbers_from(mut state: u32, count: i64) -> Vec<f32> {
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// A network that reads `x` and yields `y`, of floating numbers unless it says otherwise.
#[derive(Clone)]
pub struct Network {
    graph: Graph,
    opset: i64,
    domain: Option<&'static str>,
}

impl Network {
    /// Of this operator set, with this shape of `x`.
    pub fn new(opset: i64, shape: &[i64]) -> Self {
        Self::fed(opset, FLOAT, shape)
    }

    /// Of this operator set, with this type and shape of `x`.
    pub fn fed(opset: i64, element: i32, shape: &[i64]) -> Self {
        Self { graph: Graph::new().input("x", element, &sizes(shape)), opset, domain: None }
    }

    /// With the operators of another domain.
    pub fn domain(mut self, domain: &'static str) -> Self {
        self.domain = Some(domain);
        self
    }

    pub fn node(mut self, node: Node) -> Self {
        self.graph = self.graph.node(node);
        self
    }

    /// A node without attributes.
    pub fn apply(self, operator: &str, inputs: &[&str], outputs: &[&str]) -> Self {
        self.node(Node::new(operator, inputs, outputs))
    }

    /// A constant of numbers without order.
    pub fn weights(self, name: &str, dims: &[i64]) -> Self {
        let values = numbers(dims.iter().product());
        self.floats(name, dims, &values)
    }

    pub fn floats(mut self, name: &str, dims: &[i64], values: &[f32]) -> Self {
        self.graph = self.graph.initializer(Tensor::floats(name, dims, values));
        self
    }

    pub fn integers(mut self, name: &str, values: &[i64]) -> Self {
        self.graph = self.graph.initializer(Tensor::integers(name, &[values.len() as i64], values));
        self
    }

    pub fn constant(mut self, tensor: Tensor) -> Self {
        self.graph = self.graph.initializer(tensor);
        self
    }

    /// The file, with this shape of `y`.
    pub fn bytes(self, shape: &[i64]) -> Vec<u8> {
        self.bytes_of(FLOAT, shape)
    }

    /// The file, with this type and shape of `y`.
    pub fn bytes_of(self, element: i32, shape: &[i64]) -> Vec<u8> {
        let graph = self.graph.output("y", element, &sizes(shape));
        let model = builder::Model::new(graph).opset(self.opset);
        self.domain.into_iter().fold(model, |model, domain| model.domain(domain, 1)).bytes()
    }
}
