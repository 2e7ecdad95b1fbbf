//! What is done to each element.

use super::plain;
use crate::builder::Node;
use crate::draft::{Draft, How, Value};

pub fn activation(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    const ALL: [&str; 13] = [
        "Relu",
        "Relu",
        "Sigmoid",
        "Tanh",
        "LeakyRelu",
        "Elu",
        "HardSigmoid",
        "Softplus",
        "Erf",
        "HardSwish",
        "Softsign",
        "Mish",
        "Selu",
    ];
    let operator = how.of(&ALL);
    let since = match operator {
        "HardSwish" => 14,
        "Mish" => 18,
        _ => 0,
    };
    (draft.opset >= since).then_some(())?;
    draft.yields(operator, &[&x.name], x.shape.clone(), plain)
}

/// Functions that are only fed what is not too large, and no number on which they jump.
pub fn bounded(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let (low, high) = (draft.scalar(-2.7), draft.scalar(2.9));
    let inner = draft.node("Clip", &[&x.name, &low, &high], plain);
    let aside = draft.scalar(0.1173);
    let inner = draft.node("Add", &[&inner, &aside], plain);
    let operator = how.of(&["Abs", "Neg", "Exp", "Floor", "Sin", "Cos", "Sign", "Ceil", "Atan", "Round"]);
    draft.yields(operator, &[&inner], x.shape.clone(), plain)
}

pub fn clip(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let (low, high) = how.of(&[(-1.0, 2.0), (0.0, 6.0), (-3.0, -0.25)]);
    let (low, high) = (draft.scalar(low), draft.scalar(high));
    let inputs: &[&str] = if how.flips() { &[&x.name, &low, &high] } else { &[&x.name, &low] };
    draft.yields("Clip", inputs, x.shape.clone(), plain)
}

pub fn arithmetic(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let operator = how.of(&["Add", "Mul", "Sub", "Max", "Min", "Add"]);
    let other = draft.other(how, |shape| shape == x.shape)?;
    draft.yields(operator, &[&x.name, &other.name], x.shape.clone(), plain)
}

pub fn broadcast(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let operator = how.of(&["Add", "Mul", "Sub"]);
    let is_spread = |shape: &[i64]| {
        let behind = x.rank().checked_sub(shape.len());
        behind.is_some_and(|behind| shape.iter().zip(&x.shape[behind..]).all(|(&a, &b)| a == b || a == 1))
    };
    let other = draft.other(how, |shape| is_spread(shape) && shape != x.shape)?;
    let inputs = if how.flips() { [&x.name, &other.name] } else { [&other.name, &x.name] };
    draft.yields(operator, &inputs.map(String::as_str), x.shape.clone(), plain)
}

/// With a constant of one number, one for each channel, or one for each element.
pub fn constant_arithmetic(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let operator = how.of(&["Add", "Mul", "Sub", "Div", "Max"]);
    let (kind, first) = (how.below(3), how.of(&[false, false, true]) && operator != "Div");
    let mut dims = vec![1; x.rank()];
    match kind {
        0 => dims = vec![],
        1 => dims[x.rank().min(2) - 1] = x.shape[x.rank().min(2) - 1],
        _ => dims[1..].copy_from_slice(&x.shape[1..]),
    }
    let count = dims.iter().product();
    let values: Vec<f32> = draft.numbers(count).iter().map(|number| number / 2.0 + 1.0).collect();
    let constant = draft.constant(&dims, &values);
    let inputs = if first { [&constant, &x.name] } else { [&x.name, &constant] };
    draft.yields(operator, &inputs.map(String::as_str), x.shape.clone(), plain)
}

pub fn several_summed(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let operator = how.of(&["Sum", "Mean", "Max"]);
    let mut other = || draft.other(how, |shape| shape == x.shape).map(|value| value.name);
    let (second, third) = (other()?, other()?);
    draft.yields(operator, &[&x.name, &second, &third], x.shape.clone(), plain)
}

pub fn choose(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let limit = draft.scalar(0.117_31);
    let condition = draft.node(how.of(&["Greater", "Less"]), &[&x.name, &limit], plain);
    if how.flips() {
        let one = |node: Node| node.int("to", 1);
        return draft.yields("Cast", &[&condition], x.shape.clone(), one);
    }
    let otherwise = draft.scalar(-0.5);
    draft.yields("Where", &[&condition, &x.name, &otherwise], x.shape.clone(), plain)
}

pub fn largest(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    (x.shape[axis] > 2).then_some(())?;
    let count = draft.integers(&[2]);
    let found = draft.several("TopK", &[&x.name, &count], 2, |node| node.int("axis", axis as i64));
    draft.keep(found[0].clone(), x.with(axis, 2))
}

/// Of numbers that are not all the same.
pub fn place_of_largest(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    let aside: Vec<f32> = (0..x.shape[axis]).map(|place| (place * 7 % 11) as f32).collect();
    let mut dims = vec![1; x.rank()];
    dims[axis] = x.shape[axis];
    let aside = draft.constant(&dims, &aside);
    let inner = draft.node("Add", &[&x.name, &aside], plain);
    let place = draft.node(how.of(&["ArgMax", "ArgMin"]), &[&inner], |node| node.int("axis", axis as i64));
    draft.yields("Cast", &[&place], x.with(axis, 1), |node| node.int("to", 1))
}

/// SiLU, GELU and gated halves, as exporters write them.
pub fn gated(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    match how.below(3) {
        0 => {
            let gate = draft.node("Sigmoid", &[&x.name], plain);
            draft.yields("Mul", &[&x.name, &gate], x.shape.clone(), plain)
        }
        1 => {
            let [root, one, half] = [2_f32.sqrt(), 1.0, 0.5].map(|number| draft.scalar(number));
            let inner = draft.node("Div", &[&x.name, &root], plain);
            let inner = draft.node("Erf", &[&inner], plain);
            let inner = draft.node("Add", &[&inner, &one], plain);
            let inner = draft.node("Mul", &[&x.name, &inner], plain);
            draft.yields("Mul", &[&inner, &half], x.shape.clone(), plain)
        }
        _ => {
            let axis = how.axis(x)?;
            (x.shape[axis] % 2 == 0).then_some(())?;
            let half = x.shape[axis] / 2;
            let sizes = draft.integers(&[half, half]);
            let halves = draft.several("Split", &[&x.name, &sizes], 2, |node| node.int("axis", axis as i64));
            let gate = draft.node("Sigmoid", &[&halves[1]], plain);
            draft.yields("Mul", &[&halves[0], &gate], x.with(axis, half), plain)
        }
    }
}

/// Powers and roots of what is above zero.
pub fn powers(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [low, high] = [0.25, 6.0].map(|number| draft.scalar(number));
    let inner = draft.node("Clip", &[&x.name, &low, &high], plain);
    let operator = how.of(&["Sqrt", "Reciprocal", "Log", "Pow", "Pow"]);
    if operator != "Pow" {
        return draft.yields(operator, &[&inner], x.shape.clone(), plain);
    }
    let exponent = draft.scalar(how.of(&[2.0, 0.5, -1.0, 3.0, 1.7]));
    draft.yields("Pow", &[&inner, &exponent], x.shape.clone(), plain)
}

pub fn logic(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [low, high] = [-0.3117, 0.4371].map(|number| draft.scalar(number));
    let above = draft.node("Greater", &[&x.name, &low], plain);
    let below = draft.node("Less", &[&x.name, &high], plain);
    let both = draft.node(how.of(&["And", "Or", "Xor"]), &[&above, &below], plain);
    let both = if how.flips() { draft.node("Not", &[&both], plain) } else { both };
    let zero = draft.scalar(0.0);
    draft.yields("Where", &[&both, &x.name, &zero], x.shape.clone(), plain)
}

/// Integers in between.
pub fn whole_numbers(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [low, high, scale, aside] = [-3.0, 3.0, 2.3, 0.1173].map(|number| draft.scalar(number));
    let inner = draft.node("Clip", &[&x.name, &low, &high], plain);
    let inner = draft.node("Mul", &[&inner, &scale], plain);
    let inner = draft.node("Add", &[&inner, &aside], plain);
    let to = how.of(&[6, 7]);
    let whole = draft.node("Cast", &[&inner], |node| node.int("to", to));
    let whole = draft.node(how.of(&["Add", "Mul", "Max"]), &[&whole, &whole], plain);
    draft.yields("Cast", &[&whole], x.shape.clone(), |node| node.int("to", 1))
}

pub fn one_hot(draft: &mut Draft, x: &Value, _: &mut How) -> Option<()> {
    let &[first, .., last] = x.shape.as_slice() else { return None };
    (first == 1 && x.rank() < 4 && last <= 16).then_some(())?;
    let aside: Vec<f32> = (0..last).map(|place| (place * 7 % 11) as f32).collect();
    let aside = draft.constant(&[last], &aside);
    let inner = draft.node("Add", &[&x.name, &aside], plain);
    let place = draft.node("ArgMax", &[&inner], |node| node.int("axis", -1).int("keepdims", 0));
    let depth = draft.tensor(&[], &[last]);
    let values = draft.constant(&[2], &[0.25, 1.5]);
    draft.yields("OneHot", &[&place, &depth, &values], x.shape.clone(), plain)
}
