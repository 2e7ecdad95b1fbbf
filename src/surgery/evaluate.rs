//! A slow and plain evaluator of the few operators that the tests of passes use. It shares no code with the passes.

use std::collections::HashMap;

use crate::onnx::proto::{GraphProto, NodeProto};
use crate::onnx::{ElementType, Model, is_onnx_domain, read_floats, read_integers};

/// A tensor of numbers, row-major.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Array {
    pub dims: Vec<usize>,
    pub values: Vec<f64>,
}

pub(super) fn array(dims: &[usize], values: &[f64]) -> Array {
    assert_eq!(dims.iter().product::<usize>(), values.len());
    Array { dims: dims.to_vec(), values: values.to_vec() }
}

/// Computes the outputs of a model, in order.
pub(super) fn evaluate(model: &Model, inputs: &[(&str, Array)]) -> Vec<Array> {
    let scope = inputs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    run(model.graph(), scope, model.opset())
}

fn run(graph: &GraphProto, mut scope: HashMap<String, Array>, opset: i64) -> Vec<Array> {
    for tensor in &graph.initializer {
        let values = match ElementType::from_code(tensor.data_type()).unwrap() {
            ElementType::Int64 => read_integers(tensor).unwrap().into_iter().map(|value| value as f64).collect(),
            ElementType::Boolean => tensor.raw_data.as_ref().unwrap().iter().map(|&byte| byte.into()).collect(),
            _ => read_floats(tensor).unwrap(),
        };
        let dims = tensor.dims.iter().map(|&size| size as usize).collect();
        scope.insert(tensor.name().to_owned(), Array { dims, values });
    }
    for node in &graph.node {
        let results = compute(node, &scope, opset);
        scope.extend(node.output.iter().cloned().zip(results));
    }
    graph.output.iter().map(|output| scope[output.name()].clone()).collect()
}

fn compute(node: &NodeProto, scope: &HashMap<String, Array>, opset: i64) -> Vec<Array> {
    assert!(is_onnx_domain(node.domain()));
    let attribute = |name: &str| node.attribute.iter().find(|attribute| attribute.name() == name);
    let input = |index: usize| &scope[&node.input[index]];
    let float = |name: &str, default: f32| f64::from(attribute(name).and_then(|it| it.f).unwrap_or(default));
    let integer = |name: &str| attribute(name).and_then(|it| it.i);
    let map = |function: &dyn Fn(f64) -> f64| {
        vec![Array { dims: input(0).dims.clone(), values: input(0).values.iter().copied().map(function).collect() }]
    };
    let combine = |function: fn(f64, f64) -> f64| {
        let (left, mut right) = (input(0), input(1).clone());
        if opset < 7 && left.dims != right.dims {
            assert_eq!(integer("broadcast"), Some(1), "legacy operators broadcast only if asked to");
            let axis = integer("axis").map_or(left.dims.len() - right.dims.len(), |axis| axis as usize);
            let behind = left.dims.len() - axis - right.dims.len();
            right.dims.extend(vec![1; behind]);
        }
        vec![broadcast(left, &right, function)]
    };
    match node.op_type() {
        "Identity" => vec![input(0).clone()],
        "Relu" => map(&|x| x.max(0.0)),
        "HardSigmoid" => {
            let (alpha, beta) = (float("alpha", 0.2), float("beta", 0.5));
            map(&|x| (alpha * x + beta).clamp(0.0, 1.0))
        }
        "Clip" if opset < 11 => {
            assert_eq!(node.input.len(), 1);
            let (low, high) = (float("min", f32::MIN), float("max", f32::MAX));
            map(&|x| x.clamp(low, high))
        }
        "Clip" => {
            let (low, high) = (input(1), input(2));
            assert!(low.dims.is_empty() && high.dims.is_empty() && attribute("min").is_none());
            map(&|x| x.clamp(low.values[0], high.values[0]))
        }
        "Add" => combine(|left, right| left + right),
        "Sub" => combine(|left, right| left - right),
        "Mul" => combine(|left, right| left * right),
        "Split" => {
            let lengths = if opset < 13 {
                attribute("split").unwrap().ints.clone()
            } else {
                assert!(attribute("split").is_none());
                input(1).values.iter().map(|&length| length as i64).collect()
            };
            split(input(0), integer("axis").unwrap() as usize, &lengths)
        }
        "Concat" => {
            let parts: Vec<&Array> = (0..node.input.len()).map(input).collect();
            vec![concat(&parts, integer("axis").unwrap() as usize)]
        }
        "If" => {
            let branch = if input(0).values[0] != 0.0 { "then_branch" } else { "else_branch" };
            run(attribute(branch).unwrap().g.as_ref().unwrap(), scope.clone(), opset)
        }
        other => panic!("the evaluator does not know {other}"),
    }
}

fn broadcast(left: &Array, right: &Array, function: fn(f64, f64) -> f64) -> Array {
    let rank = left.dims.len().max(right.dims.len());
    let padded = |array: &Array| [vec![1; rank - array.dims.len()], array.dims.clone()].concat();
    let (left_dims, right_dims) = (padded(left), padded(right));
    let dims: Vec<usize> = left_dims.iter().zip(&right_dims).map(|(&left, &right)| left.max(right)).collect();
    let at = |array: &Array, own: &[usize], index: usize| {
        let (mut rest, mut stride, mut position) = (index, 1, 0);
        for axis in (0..rank).rev() {
            assert!(own[axis] == dims[axis] || own[axis] == 1);
            position += (rest % dims[axis]).min(own[axis] - 1) * stride;
            stride *= own[axis];
            rest /= dims[axis];
        }
        array.values[position]
    };
    let count = dims.iter().product();
    let values = (0..count).map(|index| function(at(left, &left_dims, index), at(right, &right_dims, index))).collect();
    Array { dims, values }
}

fn split(array: &Array, axis: usize, lengths: &[i64]) -> Vec<Array> {
    let inner: usize = array.dims[axis + 1..].iter().product();
    let mut start = 0;
    let mut parts = Vec::new();
    for &length in lengths {
        let length = length as usize;
        let rows = array.values.chunks(array.dims[axis] * inner);
        let values = rows.flat_map(|row| row[start * inner..(start + length) * inner].to_vec()).collect();
        let mut dims = array.dims.clone();
        dims[axis] = length;
        parts.push(Array { dims, values });
        start += length;
    }
    assert_eq!(start, array.dims[axis]);
    parts
}

fn concat(parts: &[&Array], axis: usize) -> Array {
    let outer: usize = parts[0].dims[..axis].iter().product();
    let values = (0..outer).flat_map(|row| {
        parts.iter().flat_map(move |part| {
            let length = part.values.len() / outer;
            part.values[row * length..(row + 1) * length].to_vec()
        })
    });
    let mut dims = parts[0].dims.clone();
    dims[axis] = parts.iter().map(|part| part.dims[axis]).sum();
    Array { values: values.collect(), dims }
}
