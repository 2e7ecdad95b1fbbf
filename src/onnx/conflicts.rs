//! Nodes that cannot work on the sizes that they get.
//!
//! What inference knows of inputs, against the rules of operators that hold in all of their versions: how operands are
//! broadcast (ONNX, "Broadcasting in ONNX", from operator set 7 on), and how many channels, columns and elements there
//! must be. Whether there is another conflict, only running the network tells.

use super::Model;
use super::attributes::Attributes;
use super::facts::Facts;
use super::graph::{NodeLabel, is_onnx_domain, node_label};
use super::proto::NodeProto;
use super::value::{Dimension, Shape};

/// The first operator set whose arithmetic broadcasts like NumPy.
const NUMPY_BROADCASTING: i64 = 7;

/// Operators whose operands are all broadcast to one shape.
const BROADCASTING: [&str; 15] =
    ["Add", "And", "Div", "Equal", "Greater", "Less", "Max", "Mean", "Min", "Mul", "Or", "Pow", "Sub", "Sum", "Where"];

/// A node that cannot work on the shapes that it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeConflict {
    /// The node.
    pub node: NodeLabel,
    /// The shapes of its operands.
    pub shapes: Vec<Shape>,
}

/// Returns the first node of the main graph whose operands surely do not fit together.
pub fn size_conflict(model: &Model) -> Option<SizeConflict> {
    let facts = Facts::of(model);
    let nodes = model.graph().node.iter().filter(|node| is_onnx_domain(node.domain()));
    nodes.into_iter().find_map(|node| {
        let shapes: Vec<&Shape> = node.input.iter().map_while(|name| facts.shape(name)).collect();
        let is_conflict = match node.op_type() {
            "Concat" => shapes.len() == node.input.len() && !fit_beside(node, &shapes),
            "Conv" | "ConvTranspose" => !has_its_channels(node, &shapes),
            "Gemm" => !has_its_columns(node, &shapes),
            "MatMul" => !fit_as_matrices(&shapes),
            "Reshape" => !has_as_many(&facts, node),
            operator => {
                BROADCASTING.contains(&operator) && model.opset() >= NUMPY_BROADCASTING && !fit_together(&shapes)
            }
        };
        let shown = if node.op_type() == "Reshape" { 1 } else { shapes.len() };
        let shapes = || shapes.iter().take(shown).map(|shape| (*shape).clone()).collect();
        is_conflict.then(|| SizeConflict { node: node_label(node), shapes: shapes() })
    })
}

/// Returns the size of a dimension, counted from the end where it is negative.
fn size(shape: &Shape, axis: isize) -> Option<i64> {
    let place = if axis < 0 { shape.rank().checked_sub(axis.unsigned_abs())? } else { axis.unsigned_abs() };
    match shape.0.get(place) {
        Some(Dimension::Known(size)) => Some(*size),
        Some(Dimension::Symbolic(_) | Dimension::Unknown) | None => None,
    }
}

/// Returns whether two sizes may be the same.
fn may_equal(one: Option<i64>, other: Option<i64>) -> bool {
    one.zip(other).is_none_or(|(one, other)| one == other)
}

fn fit_together(shapes: &[&Shape]) -> bool {
    let rank = shapes.iter().map(|shape| shape.rank()).max().unwrap_or_default();
    (1..=rank).filter_map(|place| isize::try_from(place).ok()).all(|place| {
        let mut sizes = shapes.iter().filter_map(|shape| size(shape, -place)).filter(|size| *size != 1);
        sizes.next().is_none_or(|first| sizes.all(|size| size == first))
    })
}

fn fit_beside(node: &NodeProto, shapes: &[&Shape]) -> bool {
    let (Some(first), Some(axis)) = (shapes.first(), Attributes(node).int("axis")) else { return true };
    let rank = first.rank();
    let axis = if axis < 0 { rank as i64 + axis } else { axis };
    let beside = |place: usize| i64::try_from(place) != Ok(axis);
    shapes.iter().all(|shape| {
        let place_fits = |place: usize| {
            let place = isize::try_from(place).unwrap_or(isize::MAX);
            may_equal(size(first, place), size(shape, place))
        };
        shape.rank() == rank && (0..rank).filter(|place| beside(*place)).all(place_fits)
    })
}

fn has_its_channels(node: &NodeProto, shapes: &[&Shape]) -> bool {
    let [data, weights, ..] = shapes else { return true };
    let groups = Attributes(node).int("group").unwrap_or(1);
    let wanted = match node.op_type() {
        "Conv" => size(weights, 1).and_then(|size| size.checked_mul(groups)),
        _ => size(weights, 0),
    };
    may_equal(size(data, 1), wanted)
}

fn has_its_columns(node: &NodeProto, shapes: &[&Shape]) -> bool {
    let [one, other, ..] = shapes else { return true };
    let is_turned = |name| Attributes(node).int(name).unwrap_or(0) != 0;
    let columns = size(one, if is_turned("transA") { 0 } else { 1 });
    let rows = size(other, if is_turned("transB") { 1 } else { 0 });
    may_equal(columns, rows)
}

fn fit_as_matrices(shapes: &[&Shape]) -> bool {
    let [one, other] = shapes else { return true };
    let rows = if other.rank() == 1 { -1 } else { -2 };
    may_equal(size(one, -1), size(other, rows))
}

fn has_as_many(facts: &Facts<'_>, node: &NodeProto) -> bool {
    let count = |name: Option<&String>| {
        let sizes = facts.shape(name?)?.known()?;
        sizes.into_iter().try_fold(1_i64, i64::checked_mul)
    };
    let Some(given) = count(node.input.first()) else { return true };
    match node.input.get(1).and_then(|target| facts.integers(target)) {
        Some(target) if target.contains(&-1) => {
            let rest = target.iter().filter(|size| **size > 0).try_fold(1_i64, |count, size| count.checked_mul(*size));
            rest.is_none_or(|rest| target.contains(&0) || given % rest == 0)
        }
        Some(target) if !target.contains(&0) => {
            target.iter().try_fold(1_i64, |count, size| count.checked_mul(*size)) == Some(given)
        }
        _ => may_equal(Some(given), count(node.output.first())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::tests::builder::{FLOAT, Graph, INT64, Model as Builder, Node, Tensor, sizes};

    /// Returns the conflict of one node with operands of these shapes; a target of a reshape is a constant.
    fn conflict(node: Node, shapes: &[&[i64]], target: Option<&[i64]>) -> Option<SizeConflict> {
        let names = ["a", "b", "c"];
        let graph = std::iter::zip(names, shapes)
            .fold(Graph::new(), |graph, (name, shape)| graph.input(name, FLOAT, &sizes(shape)));
        let graph = target
            .into_iter()
            .fold(graph, |graph, target| graph.initializer(Tensor::integers("t", &[target.len() as i64], target)));
        let graph = graph.node(node).output("y", FLOAT, &[]).input("idle", INT64, &sizes(&[1]));
        size_conflict(&Model::parse(Builder::new(graph).opset(13).bytes().into()).unwrap())
    }

    #[test]
    fn operands_that_do_not_fit_are_found_and_no_others() {
        let two = |operator: &str| Node::new(operator, &["a", "b"], &["y"]);
        let concat = || two("Concat").int("axis", -1);
        let grouped = || two("Conv").int("group", 2);
        let reshape = || Node::new("Reshape", &["a", "t"], &["y"]);
        for (node, shapes, target, fits) in [
            (two("Add"), vec![&[1, 4, 8][..], &[4, 1]], None, true),
            (two("Add"), vec![&[1, 4, 8][..], &[3, 1]], None, false),
            (concat(), vec![&[1, 4, 8][..], &[1, 4, 3]], None, true),
            (concat(), vec![&[1, 4, 8][..], &[1, 5, 8]], None, false),
            (concat(), vec![&[1, 4, 8][..], &[4, 8]], None, false),
            (two("Conv"), vec![&[1, 4, 8][..], &[2, 4, 3]], None, true),
            (two("Conv"), vec![&[1, 8, 4][..], &[2, 4, 3]], None, false),
            (grouped(), vec![&[1, 8, 4][..], &[2, 4, 3]], None, true),
            (two("ConvTranspose"), vec![&[1, 4, 8][..], &[4, 2, 3]], None, true),
            (two("ConvTranspose"), vec![&[1, 2, 8][..], &[4, 2, 3]], None, false),
            (two("MatMul"), vec![&[7, 2, 3][..], &[3, 4]], None, true),
            (two("MatMul"), vec![&[7, 2, 3][..], &[3]], None, true),
            (two("MatMul"), vec![&[7, 2, 3][..], &[2, 4]], None, false),
            (two("Gemm").int("transB", 1), vec![&[2, 3][..], &[4, 3]], None, true),
            (two("Gemm"), vec![&[2, 3][..], &[4, 3]], None, false),
            (reshape(), vec![&[2, 6][..]], Some(&[3, -1][..]), true),
            (reshape(), vec![&[2, 6][..]], Some(&[5, -1]), false),
            (reshape(), vec![&[2, 6][..]], Some(&[3, 4]), true),
            (reshape(), vec![&[2, 6][..]], Some(&[3, 5]), false),
            (reshape(), vec![&[2, 6][..]], Some(&[0, 3, 2]), true),
        ] {
            let found = conflict(node.named("n"), &shapes, target);
            assert_eq!(found.is_none(), fits, "{shapes:?} {target:?}: {found:?}");
        }
        let found = conflict(two("Add").named("sum"), &[&[1, 4, 8], &[3, 1]], None).unwrap();
        assert_eq!(found.node.to_string(), "Add `sum`");
        let shown: Vec<String> = found.shapes.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["[1, 4, 8]", "[3, 1]"]);
    }
}
