//! Pieces of values, values of pieces, and other shapes.

use super::plain;
use crate::builder::Node;
use crate::draft::{Draft, How, Value};

pub fn concat(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    let like = |shape: &[i64]| {
        shape.len() == x.rank() && (0..x.rank()).all(|place| place == axis || shape[place] == x.shape[place])
    };
    let other = draft.other(how, like)?;
    let mut inputs = vec![x.name.as_str(), &other.name];
    let mut size = x.shape[axis] + other.shape[axis];
    if how.of(&[false, false, true]) {
        inputs.push(&x.name);
        size += x.shape[axis];
    }
    draft.yields("Concat", &inputs, x.with(axis, size), |node| node.int("axis", axis as i64))
}

pub fn split(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    let size = x.shape[axis];
    (size > 1).then_some(())?;
    let first = 1 + how.below(size as usize - 1) as i64;
    let sizes = draft.integers(&[first, size - first]);
    let parts = draft.several("Split", &[&x.name, &sizes], 2, |node| node.int("axis", axis as i64));
    draft.keep(parts[0].clone(), x.with(axis, first))?;
    draft.keep(parts[1].clone(), x.with(axis, size - first))
}

pub fn slice(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    let size = x.shape[axis];
    (size >= 4).then_some(())?;
    let (begin, end, step) =
        how.of(&[(1, size - 1, 1), (0, size, 2), (1, size, 2), (-1, -size - 1, -1), (-3, size, 1)]);
    let bounds = [begin, end, axis as i64, step].map(|bound| draft.integers(&[bound]));
    let [begins, ends, axes, steps] = &bounds;
    let from = |place: i64| if place < 0 { (place + size).max(-1) } else { place };
    let count = (from(end) - from(begin) + step - step.signum()) / step;
    draft.yields("Slice", &[&x.name, begins, ends, axes, steps], x.with(axis, count), plain)
}

pub fn gather(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    let size = x.shape[axis] as usize;
    let set = |node: Node| node.int("axis", axis as i64);
    if how.of(&[false, false, true]) {
        let place = draft.tensor(&[], &[how.below(size) as i64]);
        let mut shape = x.shape.clone();
        shape.remove(axis);
        return draft.yields("Gather", &[&x.name, &place], shape, set);
    }
    let places = draft.integers(&[how.below(size), how.below(size), how.below(size)].map(|place| place as i64));
    draft.yields("Gather", &[&x.name, &places], x.with(axis, 3), set)
}

pub fn tile(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    let mut repeats = vec![1; x.rank()];
    repeats[axis] = 2;
    let repeats = draft.integers(&repeats);
    draft.yields("Tile", &[&x.name, &repeats], x.with(axis, x.shape[axis] * 2), plain)
}

pub fn expand(draft: &mut Draft, x: &Value, _: &mut How) -> Option<()> {
    let axis = 1 + x.shape[1..].iter().position(|&size| size == 1)?;
    let shape = x.with(axis, 4);
    let to = draft.integers(&shape);
    draft.yields("Expand", &[&x.name, &to], shape, plain)
}

pub fn transpose(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    (x.rank() > 2).then_some(())?;
    let mut order: Vec<usize> = (0..x.rank()).collect();
    for place in (2..x.rank()).rev() {
        order.swap(place, 1 + how.below(place));
    }
    let shape = order.iter().map(|&axis| x.shape[axis]).collect();
    let order: Vec<i64> = order.iter().map(|&axis| axis as i64).collect();
    draft.yields("Transpose", &[&x.name], shape, |node| node.ints("perm", &order))
}

/// To two, three or four axes, the first of them the batch.
pub fn reshape(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let count: i64 = x.shape[1..].iter().product();
    let divisors: Vec<i64> = (1..=count.min(64)).filter(|size| count % size == 0).collect();
    let first = how.of(&divisors);
    let rest = count / first;
    let shape = match how.below(3) {
        0 => vec![x.shape[0], first, rest],
        1 => vec![x.shape[0], count],
        _ => {
            let second = (1..=rest).filter(|size| rest % size == 0 && size * size <= rest).max()?;
            vec![x.shape[0], first, second, rest / second]
        }
    };
    let to = draft.integers(&shape);
    draft.yields("Reshape", &[&x.name, &to], shape, plain)
}

/// As exporters write it: the batch of the shape, and the rest as one.
pub fn computed_reshape(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    (x.rank() > 2).then_some(())?;
    let whole = draft.node("Shape", &[&x.name], plain);
    let kept = 1 + how.below(2);
    let mut parts = Vec::new();
    for axis in 0..kept {
        let place = draft.integers(&[axis as i64]);
        parts.push(draft.node("Gather", &[&whole, &place], |node| node.int("axis", 0)));
    }
    parts.push(draft.integers(&[-1]));
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let to = draft.node("Concat", &parts, |node| node.int("axis", 0));
    let mut shape = x.shape[..kept].to_vec();
    shape.push(x.shape[kept..].iter().product());
    draft.yields("Reshape", &[&x.name, &to], shape, plain)
}

pub fn one_axis_more_or_less(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let mut shape = x.shape.clone();
    if let Some(axis) = shape.iter().skip(1).position(|&size| size == 1).filter(|_| shape.len() > 2) {
        shape.remove(axis + 1);
        let axes = draft.integers(&[axis as i64 + 1]);
        return draft.yields("Squeeze", &[&x.name, &axes], shape, plain);
    }
    (shape.len() < 4).then_some(())?;
    let axis = 1 + how.below(shape.len());
    shape.insert(axis, 1);
    let axes = draft.integers(&[axis as i64]);
    draft.yields("Unsqueeze", &[&x.name, &axes], shape, plain)
}

/// Another value put in the place of a part, by indices that are known.
pub fn scattered(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [1, rows, columns] = x.shape[..] else { return None };
    (rows > 2).then_some(())?;
    let update = draft.weights(&[2, columns], 1);
    let first = how.below(rows as usize - 1) as i64;
    let places = draft.tensor(&[2, 2], &[0, first, 0, first + 1]);
    draft.yields("ScatterND", &[&x.name, &places, &update], x.shape.clone(), plain)
}

/// Elements at indices that are known.
pub fn picked(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    let shape = x.with(axis, 2);
    let count: i64 = shape.iter().product();
    let places: Vec<i64> = (0..count).map(|place| place * 7 % x.shape[axis]).collect();
    let places = draft.tensor(&shape, &places);
    draft.yields("GatherElements", &[&x.name, &places], shape, |node| node.int("axis", axis as i64))
}

pub fn triangle(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    (draft.opset >= 14 && x.rank() > 2).then_some(())?;
    draft.yields("Trilu", &[&x.name], x.shape.clone(), |node| node.int("upper", how.flips().into()))
}
