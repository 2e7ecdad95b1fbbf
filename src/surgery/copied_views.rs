//! What several nodes make of what one convolution yields.

use super::{Pass, PassError};
use crate::onnx::proto::{GraphProto, NodeProto};
use crate::onnx::{Attributes, ElementType, Facts, FreshNames, Known, Patch, Reads, is_onnx_domain};

/// Operators that give the elements of a value another shape: to the compiler, a part of that value.
const VIEWS: [&str; 4] = ["Flatten", "Reshape", "Squeeze", "Unsqueeze"];

/// Operators that the importer writes with shapes.
const WITH_VIEWS: [&str; 2] = ["DepthToSpace", "SpaceToDepth"];

/// The operator that the compiler computes as a fully connected layer if one operand is constant: of rows, which are a
/// shape of what it reads.
const OF_ROWS: &str = "MatMul";

/// Gives other shapes to a copy of what a convolution yields, if others read that too, or several read such a shape.
///
/// The compiler leaves the results of convolutions in fast memory, and moves them out of it when it needs that memory: not
/// if they have parts, and are read by further layers. It ends with `Memory allocation failed: unable to satisfy
/// requirements` or `AssertionFailed: cmxDataProducerInd < failedStageInd`, now for one pair of readers and now for
/// another, as the layers behind them need memory.
#[derive(Clone, Copy, Debug)]
pub struct CopiedViews;

impl Pass for CopiedViews {
    fn name(&self) -> &'static str {
        "shapes-of-a-copied-convolution"
    }

    fn reason(&self) -> &'static str {
        "the MYRIAD compiler does not find memory for what a convolution yields in several shapes"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let (graph, reads, facts) = (model.graph(), model.reads(), model.facts());
        let mut names = FreshNames::of(model);
        let mut patch = Patch::default();
        let values = graph.node.iter().filter(|node| !is_view(node, facts)).filter_map(|node| node.output.first());
        for value in values {
            let readers: Vec<(usize, &NodeProto)> = readers(value, graph, reads).collect();
            if !readers.iter().any(|(_, node)| is_view(node, facts))
                || !is_read_twice(value, graph, reads, facts)
                || !facts.element(value).is_some_and(ElementType::is_float)
                || !is_left_behind(value, graph, reads, facts)
            {
                continue;
            }
            let copy = names.make(&format!("{value}/copy"));
            let label = names.make(&format!("{value}/Max"));
            let mut made = vec![super::inline::node("Max", label, &[value, value], &[&copy])];
            for (place, view) in readers.into_iter().filter(|(_, node)| is_view(node, facts)) {
                let mut view = view.clone();
                view.input.iter_mut().filter(|input| *input == value).for_each(|input| input.clone_from(&copy));
                made.push(view);
                patch.replace(place, std::mem::take(&mut made));
            }
        }
        Ok(Some(patch))
    }
}

fn readers<'graph>(
    value: &str,
    graph: &'graph GraphProto,
    reads: &'graph Reads<'_>,
) -> impl Iterator<Item = (usize, &'graph NodeProto)> {
    reads.readers(value).iter().filter_map(|place| Some((*place, graph.node.get(*place)?)))
}

/// Whether more than one node reads a value, be it in another shape. A shape that no node reads is an output.
fn is_read_twice(value: &str, graph: &GraphProto, reads: &Reads<'_>, facts: &Facts<'_>) -> bool {
    let (mut shapes, mut count) = (vec![value], 0);
    while let Some(shape) = shapes.pop() {
        count += usize::from(reads.readers(shape).is_empty());
        for (_, node) in readers(shape, graph, reads) {
            match node.output.first() {
                Some(other) if is_shape(node, facts) => shapes.push(other),
                _ => count += 1,
            }
        }
        if count > 1 {
            return true;
        }
    }
    false
}

fn is_view(node: &NodeProto, facts: &Facts<'_>) -> bool {
    let is_of_rows = || node.op_type() == OF_ROWS && node.input.get(1).is_some_and(|input| facts.is_constant(input));
    is_shape(node, facts) || is_onnx_domain(node.domain()) && (WITH_VIEWS.contains(&node.op_type()) || is_of_rows())
}

/// Whether a node gives the elements of a value, in their order, another shape: also a transposition of dimensions of one.
fn is_shape(node: &NodeProto, facts: &Facts<'_>) -> bool {
    let keeps_order = || {
        let sizes = facts.sizes(node.input.first()?)?;
        let default = (0..sizes.len() as i64).rev().collect();
        let order = Attributes(node).ints("perm").map_or(default, <[i64]>::to_vec);
        let is_long = |axis: &i64| usize::try_from(*axis).ok().and_then(|axis| sizes.get(axis)) != Some(&1);
        Some(order.into_iter().filter(is_long).is_sorted())
    };
    is_onnx_domain(node.domain())
        && (VIEWS.contains(&node.op_type()) || node.op_type() == "Transpose" && keeps_order() == Some(true))
}

/// Whether a value is what a convolution or a pooling yields, but for what the compiler merges with it.
pub(super) fn is_left_behind(value: &str, graph: &GraphProto, reads: &Reads<'_>, facts: &Facts<'_>) -> bool {
    let mut value = value;
    loop {
        let Some(node) = reads.producer(value).and_then(|place| graph.node.get(place)) else {
            return false;
        };
        let varying = |input: &&String| !input.is_empty() && !facts.is_constant(input);
        let inputs: Vec<&String> = node.input.iter().filter(varying).collect();
        match (node.op_type(), inputs.as_slice()) {
            _ if !is_onnx_domain(node.domain()) => return false,
            // The importer writes such reductions as poolings.
            ("AveragePool" | "Conv" | "ConvTranspose" | "MaxPool" | "ReduceMax" | "ReduceMean", _) => return true,
            ("Add" | "BatchNormalization" | "Clip" | "Div" | "LeakyRelu" | "Mul" | "Relu" | "Sub", [input]) => {
                value = input;
            }
            (_, [input]) if is_shape(node, facts) => value = input,
            _ => return false,
        }
    }
}
