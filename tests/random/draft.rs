//! A network that grows step by step, and the strategy that draws the steps.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::builder::{FLOAT, Graph, Model, Node, Tensor, sizes};
use crate::network::numbers_from;
use crate::operators::OPERATORS;

/// More elements than this no value has: a random network is small.
const LARGEST: i64 = 60_000;

/// One step of a network: an operator, how far back the value is that it reads, and what settles its attributes.
#[derive(Clone, Debug)]
pub struct Step {
    operator: usize,
    back: usize,
    how: [u8; 6],
}

/// What a network is drawn from. Fewer steps and smaller numbers are a simpler network.
#[derive(Clone, Debug)]
pub struct Plan {
    opset: i64,
    shape: Vec<i64>,
    /// Whether there is another input of that shape.
    is_twice: bool,
    steps: Vec<Step>,
}

/// Plans of 4 to 13 steps, most of them on what the step before yields.
pub fn plans() -> impl Strategy<Value = Plan> {
    let back = prop_oneof![5 => Just(0_usize), 2 => Just(1), 2 => 2..9_usize];
    let step =
        (0..OPERATORS.len(), back, any::<[u8; 6]>()).prop_map(|(operator, back, how)| Step { operator, back, how });
    let side = || select(vec![8_i64, 12, 16]);
    let batch = prop_oneof![12 => Just(1_i64), 1 => Just(2)];
    let picture = (batch, select(vec![3_i64, 4, 8, 1]), side(), side()).prop_map(|(n, c, h, w)| vec![n, c, h, w]);
    let sequence = (select(vec![6_i64, 9]), select(vec![8_i64, 16])).prop_map(|(n, c)| vec![1, n, c]);
    let shape = prop_oneof![6 => picture, 1 => sequence, 1 => Just(vec![1, 12])];
    let opset = select(vec![17_i64, 13, 15, 18]);
    (opset, shape, prop::bool::weighted(0.15), vec(step, 4..14)).prop_map(|(opset, shape, is_twice, steps)| Plan {
        opset,
        shape,
        is_twice,
        steps,
    })
}

impl Plan {
    /// The model, unless no step of the plan can be done.
    pub fn model(&self) -> Option<Vec<u8>> {
        let names = if self.is_twice { &["z", "x"][..] } else { &["x"] };
        let value = |name: &&str| Value { name: (*name).to_owned(), shape: self.shape.clone() };
        let inputs: Vec<Value> = names.iter().map(value).collect();
        let input = |graph: Graph, value: &Value| graph.input(&value.name, FLOAT, &sizes(&value.shape));
        let graph = inputs.iter().fold(Graph::new(), input);
        let read = names.iter().map(|&name| name.to_owned()).collect();
        let mut draft = Draft { graph, opset: self.opset, values: inputs, read, count: 0 };
        for step in &self.steps {
            let back = step.back % draft.values.len();
            let value = draft.values[draft.values.len() - 1 - back].clone();
            let mut next = draft.clone();
            if OPERATORS[step.operator](&mut next, &value, &mut How { bytes: step.how, place: 0 }).is_some() {
                draft = next;
            }
        }
        draft.model()
    }
}

/// A value that steps can read.
#[derive(Clone)]
pub struct Value {
    pub name: String,
    pub shape: Vec<i64>,
}

impl Value {
    /// Batch, channels, rows and columns.
    pub fn picture(&self) -> Option<[i64; 4]> {
        self.shape.as_slice().try_into().ok()
    }

    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The shape with another size of one axis.
    pub fn with(&self, axis: usize, size: i64) -> Vec<i64> {
        let mut shape = self.shape.clone();
        shape[axis] = size;
        shape
    }
}

/// What settles the attributes of one step.
pub struct How {
    bytes: [u8; 6],
    place: usize,
}

impl How {
    pub fn below(&mut self, count: usize) -> usize {
        let byte = self.bytes[self.place % self.bytes.len()];
        self.place += 1;
        usize::from(byte) % count.max(1)
    }

    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub fn flips(&mut self) -> bool {
        self.below(2) == 1
    }

    /// An axis that is not the batch.
    pub fn axis(&mut self, value: &Value) -> Option<usize> {
        (value.rank() > 1).then(|| 1 + self.below(value.rank() - 1))
    }
}

/// A network with what later steps can read.
#[derive(Clone)]
pub struct Draft {
    graph: Graph,
    pub opset: i64,
    pub values: Vec<Value>,
    read: BTreeSet<String>,
    count: usize,
}

impl Draft {
    fn fresh(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("{kind}{}", self.count)
    }

    pub fn constant(&mut self, dims: &[i64], values: &[f32]) -> String {
        let name = self.fresh("c");
        self.graph = self.graph.clone().initializer(Tensor::floats(&name, dims, values));
        name
    }

    pub fn scalar(&mut self, value: f32) -> String {
        self.constant(&[], &[value])
    }

    pub fn integers(&mut self, values: &[i64]) -> String {
        self.tensor(&[values.len() as i64], values)
    }

    pub fn tensor(&mut self, dims: &[i64], values: &[i64]) -> String {
        let name = self.fresh("i");
        self.graph = self.graph.clone().initializer(Tensor::integers(&name, dims, values));
        name
    }

    /// Numbers without order between -1 and 1, other ones for each constant.
    pub fn numbers(&self, count: i64) -> Vec<f32> {
        let first = 0x9e37_79b9_u32.wrapping_mul(self.count as u32 + 1) | 1;
        numbers_from(first, count)
    }

    /// Weights that keep the size of what `summed` numbers each are multiplied and added.
    pub fn weights(&mut self, dims: &[i64], summed: i64) -> String {
        let scale = (3.0 / summed.max(1) as f32).sqrt();
        let values: Vec<f32> = self.numbers(dims.iter().product()).iter().map(|number| number * scale).collect();
        self.constant(dims, &values)
    }

    /// Numbers between a half and one and a half.
    pub fn positive(&mut self, count: i64) -> String {
        let values: Vec<f32> = self.numbers(count).iter().map(|number| 1.0 + number / 2.0).collect();
        self.constant(&[count], &values)
    }

    /// A node, and its value.
    pub fn node(&mut self, operator: &str, inputs: &[&str], set: impl FnOnce(Node) -> Node) -> String {
        self.several(operator, inputs, 1, set).remove(0)
    }

    /// A node of several values.
    pub fn several(
        &mut self,
        operator: &str,
        inputs: &[&str],
        count: usize,
        set: impl FnOnce(Node) -> Node,
    ) -> Vec<String> {
        let outputs: Vec<String> = (0..count).map(|_| self.fresh("v")).collect();
        let names: Vec<&str> = outputs.iter().map(String::as_str).collect();
        let named = self.fresh("n");
        self.graph = self.graph.clone().node(set(Node::new(operator, inputs, &names).named(&named)));
        self.read.extend(inputs.iter().map(|&input| input.to_owned()));
        outputs
    }

    /// Lets later steps read a value.
    pub fn keep(&mut self, name: String, shape: Vec<i64>) -> Option<()> {
        let fits = shape.iter().all(|&size| size > 0) && shape.iter().product::<i64>() <= LARGEST;
        fits.then(|| self.values.push(Value { name, shape }))
    }

    /// A node whose value later steps can read.
    pub fn yields(
        &mut self,
        operator: &str,
        inputs: &[&str],
        shape: Vec<i64>,
        set: impl FnOnce(Node) -> Node,
    ) -> Option<()> {
        let name = self.node(operator, inputs, set);
        self.keep(name, shape)
    }

    /// One of the values with a shape that `fits`.
    pub fn other(&self, how: &mut How, fits: impl Fn(&[i64]) -> bool) -> Option<Value> {
        let fitting: Vec<&Value> = self.values.iter().filter(|value| fits(&value.shape)).collect();
        (!fitting.is_empty()).then(|| how.of(&fitting).clone())
    }

    /// The model; its outputs are what nothing reads.
    fn model(self) -> Option<Vec<u8>> {
        let Self { graph, opset, values, read, .. } = self;
        let outputs: Vec<Value> = values.into_iter().filter(|value| !read.contains(&value.name)).collect();
        let with = |graph: Graph, value: &Value| graph.output(&value.name, FLOAT, &sizes(&value.shape));
        (!outputs.is_empty()).then(|| Model::new(outputs.iter().fold(graph, with)).opset(opset).bytes())
    }
}
