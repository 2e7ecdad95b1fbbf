//! Products of matrices, and what is made of them.

use super::plain;
use crate::builder::Node;
use crate::draft::{Draft, How, Value};

pub fn matmul_constant(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    (x.rank() > 1).then_some(())?;
    let last = x.rank() - 1;
    let columns = how.of(&[8, 4, 16]);
    let weights = draft.weights(&[x.shape[last], columns], x.shape[last]);
    draft.yields("MatMul", &[&x.name, &weights], x.with(last, columns), plain)
}

/// The product of a value with its transpose.
pub fn matmul_itself(draft: &mut Draft, x: &Value, _: &mut How) -> Option<()> {
    let rank = x.rank();
    (rank > 2).then_some(())?;
    let mut order: Vec<i64> = (0..rank as i64).collect();
    order.swap(rank - 2, rank - 1);
    let turned = draft.node("Transpose", &[&x.name], |node| node.ints("perm", &order));
    let product = draft.node("MatMul", &[&x.name, &turned], plain);
    let scale = draft.scalar(1.0 / x.shape[rank - 1] as f32);
    draft.yields("Mul", &[&product, &scale], x.with(rank - 1, x.shape[rank - 2]), plain)
}

/// Queries, keys and values of a sequence, in heads.
pub fn attention(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, length, c] = x.shape.as_slice().try_into().ok()?;
    let (heads, wide) = how.of(&[(2, 4), (1, 8), (4, 4)]);
    let (apart, together) = (draft.integers(&[0, 0, heads, wide]), draft.integers(&[0, 0, heads * wide]));
    let part = |draft: &mut Draft, order: [i64; 4]| {
        let weights = draft.weights(&[c, heads * wide], c);
        let all = draft.node("MatMul", &[&x.name, &weights], plain);
        let apart = draft.node("Reshape", &[&all, &apart], plain);
        draft.node("Transpose", &[&apart], |node| node.ints("perm", &order))
    };
    let query = part(draft, [0, 2, 1, 3]);
    let key = part(draft, [0, 2, 3, 1]);
    let value = part(draft, [0, 2, 1, 3]);
    let scores = draft.node("MatMul", &[&query, &key], plain);
    let scale = draft.scalar((wide as f32).sqrt());
    let scores = draft.node("Div", &[&scores, &scale], plain);
    let scores = draft.node("Softmax", &[&scores], |node| node.int("axis", -1));
    let heads_out = draft.node("MatMul", &[&scores, &value], plain);
    let turned = draft.node("Transpose", &[&heads_out], |node| node.ints("perm", &[0, 2, 1, 3]));
    draft.yields("Reshape", &[&turned, &together], vec![n, length, heads * wide], plain)
}

pub fn gemm(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [rows, c] = x.shape.as_slice().try_into().ok()?;
    let turned = how.flips();
    let weights = draft.weights(&if turned { [8, c] } else { [c, 8] }, c);
    let bias = draft.weights(&[8], 1);
    let set = |node: Node| node.int("transB", turned.into()).float("alpha", how.of(&[1.0, 0.5]));
    draft.yields("Gemm", &[&x.name, &weights, &bias], vec![rows, 8], set)
}

pub fn einsum(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    match (x.shape.as_slice(), how.flips()) {
        (&[n, a, b], true) => {
            let set = |node: Node| node.text("equation", "bij,bkj->bik");
            let product = draft.node("Einsum", &[&x.name, &x.name], set);
            let scale = draft.scalar(1.0 / b as f32);
            draft.yields("Mul", &[&product, &scale], vec![n, a, a], plain)
        }
        (&[n, c, h, w], true) => {
            let weights = draft.weights(&[c, 8], c);
            let set = |node: Node| node.text("equation", "nchw,cd->ndhw");
            draft.yields("Einsum", &[&x.name, &weights], vec![n, 8, h, w], set)
        }
        (&[n, c, h, w], false) => {
            let weights = draft.weights(&[c, w], w);
            let set = |node: Node| node.text("equation", "nchw,cw->nch");
            draft.yields("Einsum", &[&x.name, &weights], vec![n, c, h], set)
        }
        _ => None,
    }
}

/// LSTM and GRU over the first axis behind the batch, in one direction or two.
pub fn recurrent(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [1, length, c] = x.shape[..] else { return None };
    (length <= 16).then_some(())?;
    let (operator, gates) = how.of(&[("LSTM", 4), ("GRU", 3)]);
    let (direction, ways) = how.of(&[("forward", 1), ("bidirectional", 2), ("reverse", 1)]);
    let first = draft.node("Transpose", &[&x.name], |node| node.ints("perm", &[1, 0, 2]));
    let (weights, again) = (draft.weights(&[ways, gates * 4, c], c), draft.weights(&[ways, gates * 4, 4], 4));
    let bias = draft.weights(&[ways, gates * 8], 4);
    let linear = i64::from(how.flips());
    let states = draft.node(operator, &[&first, &weights, &again, &bias], |node| {
        let node = node.int("hidden_size", 4).text("direction", direction);
        if operator == "GRU" { node.int("linear_before_reset", linear) } else { node }
    });
    let turned = draft.node("Transpose", &[&states], |node| node.ints("perm", &[2, 0, 1, 3]));
    let to = draft.integers(&[1, length, ways * 4]);
    draft.yields("Reshape", &[&turned, &to], vec![1, length, ways * 4], plain)
}
