//! Operators that compute each element by itself, with broadcasting.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use super::Task;
use crate::onnx::array::{Array, Numbers};
use crate::onnx::element::ElementType;
use crate::onnx::geometry::{Offsets, broadcast, repeated};

/// The first operator set whose arithmetic broadcasts like NumPy.
const NUMPY_BROADCASTING: i64 = 7;

pub(super) fn compute(task: &Task<'_>) -> Option<Array> {
    match task.node.op_type() {
        "Where" => select(task),
        "Clip" => clip(task),
        "Max" | "Min" | "Sum" => several(task),
        "Mean" => {
            let count = Array::of_floats(task.input(0)?.element(), Vec::new(), &[task.inputs.len() as f64])?;
            pair(task, "Div", &several(task)?, &count)
        }
        _ => match (task.input(0), task.input(1)) {
            (Some(left), Some(right)) => pair(task, task.node.op_type(), left, &legacy(task, left, right)?),
            (Some(input), None) => single(task, input),
            _ => None,
        },
    }
}

fn single(task: &Task<'_>, input: &Array) -> Option<Array> {
    let operator = task.node.op_type();
    task.calculable(input.sizes(), input.element())?;
    let (element, sizes) = (input.element(), input.sizes().to_vec());
    match input.numbers()? {
        Numbers::Whole(values) => {
            let boolean = element == ElementType::Boolean;
            let function: fn(i128) -> i128 = match operator {
                "Not" if boolean => |it| i128::from(it == 0),
                _ if boolean => return None,
                "Neg" => |it| -it,
                "Abs" => i128::abs,
                "Sign" => i128::signum,
                "Relu" => |it| it.max(0),
                "BitwiseNot" => |it| !it,
                _ => return None,
            };
            Array::of_whole(element, sizes, &values.into_iter().map(function).collect::<Vec<_>>())
        }
        Numbers::Floats(values) if matches!(operator, "IsNaN" | "IsInf") => {
            let (positive, negative) = (sign_wanted(task, "detect_positive"), sign_wanted(task, "detect_negative"));
            let is = |it: f64| match operator {
                "IsNaN" => it.is_nan(),
                _ => (positive && it == f64::INFINITY) || (negative && it == f64::NEG_INFINITY),
            };
            let values: Vec<i128> = values.into_iter().map(|it| is(it).into()).collect();
            Array::of_whole(ElementType::Boolean, sizes, &values)
        }
        Numbers::Floats(values) => {
            let function = function(task)?;
            Array::of_floats(element, sizes, &values.into_iter().map(function).collect::<Vec<_>>())
        }
    }
}

fn sign_wanted(task: &Task<'_>, attribute: &str) -> bool {
    task.attributes.int(attribute).unwrap_or(1) != 0
}

/// The functions of one real number.
fn function(task: &Task<'_>) -> Option<Box<dyn Fn(f64) -> f64>> {
    let parameter = |name: &str, default: f32| f64::from(task.attributes.float(name).unwrap_or(default));
    let (alpha, beta) = (|default| parameter("alpha", default), |default| parameter("beta", default));
    fn sigmoid(it: f64) -> f64 {
        1.0 / (1.0 + libm::exp(-it))
    }
    fn softplus(it: f64) -> f64 {
        it.max(0.0) + libm::log1p(libm::exp(-it.abs()))
    }
    Some(match task.node.op_type() {
        "Neg" => Box::new(|it| -it),
        "Abs" => Box::new(f64::abs),
        "Sign" => Box::new(|it| if it == 0.0 || it.is_nan() { it } else { it.signum() }),
        "Ceil" => Box::new(f64::ceil),
        "Floor" => Box::new(f64::floor),
        "Round" => Box::new(f64::round_ties_even),
        "Sqrt" => Box::new(f64::sqrt),
        "Reciprocal" => Box::new(f64::recip),
        "Relu" => Box::new(|it| if it.is_nan() { it } else { it.max(0.0) }),
        "Exp" => Box::new(libm::exp),
        "Log" => Box::new(libm::log),
        "Sin" => Box::new(libm::sin),
        "Cos" => Box::new(libm::cos),
        "Tan" => Box::new(libm::tan),
        "Asin" => Box::new(libm::asin),
        "Acos" => Box::new(libm::acos),
        "Atan" => Box::new(libm::atan),
        "Sinh" => Box::new(libm::sinh),
        "Cosh" => Box::new(libm::cosh),
        "Tanh" => Box::new(libm::tanh),
        "Asinh" => Box::new(libm::asinh),
        "Acosh" => Box::new(libm::acosh),
        "Atanh" => Box::new(libm::atanh),
        "Erf" => Box::new(libm::erf),
        "Sigmoid" => Box::new(sigmoid),
        "Softplus" => Box::new(softplus),
        "Softsign" => Box::new(|it| it / (1.0 + it.abs())),
        "Mish" => Box::new(|it| it * libm::tanh(softplus(it))),
        "HardSwish" => Box::new(|it| it * (it / 6.0 + 0.5).clamp(0.0, 1.0)),
        "HardSigmoid" => {
            let (alpha, beta) = (alpha(0.2), beta(0.5));
            Box::new(move |it| (alpha * it + beta).clamp(0.0, 1.0))
        }
        "LeakyRelu" => {
            let alpha = alpha(0.01);
            Box::new(move |it| if it < 0.0 { alpha * it } else { it })
        }
        "Elu" => {
            let alpha = alpha(1.0);
            Box::new(move |it| if it < 0.0 { alpha * libm::expm1(it) } else { it })
        }
        "Celu" => {
            let alpha = alpha(1.0);
            Box::new(move |it| it.max(0.0) + (alpha * libm::expm1(it / alpha)).min(0.0))
        }
        "Selu" => {
            let (alpha, gamma) = (alpha(1.673_263_2), parameter("gamma", 1.050_701));
            Box::new(move |it| gamma * if it > 0.0 { it } else { alpha * libm::expm1(it) })
        }
        "ThresholdedRelu" => {
            let alpha = alpha(1.0);
            Box::new(move |it| if it > alpha { it } else { 0.0 })
        }
        "Gelu" if task.attributes.text("approximate") == Some("tanh") => {
            Box::new(|it| 0.5 * it * (1.0 + libm::tanh((2.0 / PI).sqrt() * (it + 0.044715 * it * it * it))))
        }
        "Gelu" => Box::new(|it| 0.5 * it * (1.0 + libm::erf(it * FRAC_1_SQRT_2))),
        _ => return None,
    })
}

/// Gives the second operand of an old operator, which names the axis where it belongs, the rank it needs.
fn legacy(task: &Task<'_>, left: &Array, right: &Array) -> Option<Array> {
    if task.opset >= NUMPY_BROADCASTING || left.sizes() == right.sizes() {
        return Some(right.clone());
    }
    let end = match task.attributes.int("axis") {
        Some(axis) => usize::try_from(axis).ok()?.checked_add(right.sizes().len())?,
        None => left.sizes().len(),
    };
    let behind = left.sizes().len().checked_sub(end)?;
    right.reshaped([right.sizes(), &vec![1; behind]].concat())
}

fn pair(task: &Task<'_>, operator: &str, left: &Array, right: &Array) -> Option<Array> {
    let sizes = broadcast(left.sizes(), right.sizes())?;
    task.calculable(&sizes, left.element())?;
    let element = left.element();
    if element != right.element() && !matches!(operator, "Pow") {
        return None;
    }
    let operands = Operands { left: left.sizes(), right: right.sizes(), sizes: &sizes };
    let truth = |values: Option<Vec<bool>>| {
        let values: Vec<i128> = values?.into_iter().map(i128::from).collect();
        Array::of_whole(ElementType::Boolean, sizes.clone(), &values)
    };
    match (left.numbers()?, right.numbers()?) {
        (Numbers::Floats(left), Numbers::Floats(right)) => {
            if let Some(relation) = relation(operator) {
                return truth(operands.zip(&left, &right, |left, right| Some(relation(left, right))));
            }
            let function: fn(f64, f64) -> f64 = match operator {
                "Add" | "Sum" => |left, right| left + right,
                "Sub" => |left, right| left - right,
                "Mul" => |left, right| left * right,
                "Div" => |left, right| left / right,
                "Max" => |left, right| if left.is_nan() || right.is_nan() { f64::NAN } else { left.max(right) },
                "Min" => |left, right| if left.is_nan() || right.is_nan() { f64::NAN } else { left.min(right) },
                "Pow" => libm::pow,
                "PRelu" => |left, right| if left < 0.0 { left * right } else { left },
                "Mod" if task.attributes.flag("fmod") => libm::fmod,
                _ => return None,
            };
            let values = operands.zip(&left, &right, |left, right| Some(function(left, right)))?;
            Array::of_floats(element, sizes, &values)
        }
        (Numbers::Whole(left), Numbers::Whole(right)) => {
            if let Some(relation) = relation(operator) {
                return truth(operands.zip(&left, &right, |left, right| Some(relation(left, right))));
            }
            let function = whole_function(task, operator, element)?;
            let values = operands.zip(&left, &right, function)?;
            Array::of_whole(element, sizes, &values)
        }
        (Numbers::Floats(left), Numbers::Whole(right)) if operator == "Pow" => {
            let right: Vec<f64> = right.into_iter().map(|it| it as f64).collect();
            let values = operands.zip(&left, &right, |left, right| Some(libm::pow(left, right)))?;
            Array::of_floats(element, sizes, &values)
        }
        _ => None,
    }
}

/// The functions of two integers of one type. Truth values know logic only.
fn whole_function(task: &Task<'_>, operator: &str, element: ElementType) -> Option<fn(i128, i128) -> Option<i128>> {
    if element == ElementType::Boolean {
        return Some(match operator {
            "And" => |left, right| Some(left & right),
            "Or" => |left, right| Some(left | right),
            "Xor" => |left, right| Some(left ^ right),
            _ => return None,
        });
    }
    Some(match operator {
        "Add" | "Sum" => |left, right| Some(left + right),
        "Sub" => |left, right| Some(left - right),
        "Mul" => |left, right| Some(left.wrapping_mul(right)),
        "Div" => |left, right| left.checked_div(right),
        "Max" => |left, right| Some(left.max(right)),
        "Min" => |left, right| Some(left.min(right)),
        "Mod" if task.attributes.flag("fmod") => |left, right| left.checked_rem(right),
        // The result has the sign of the divisor.
        "Mod" => |left, right| {
            let rest = left.checked_rem(right)?;
            Some(if rest != 0 && (rest < 0) != (right < 0) { rest + right } else { rest })
        },
        "Pow" => |left, right| left.checked_pow(u32::try_from(right).ok()?),
        "PRelu" => |left, right| Some(if left < 0 { left.wrapping_mul(right) } else { left }),
        "BitwiseAnd" => |left, right| Some(left & right),
        "BitwiseOr" => |left, right| Some(left | right),
        "BitwiseXor" => |left, right| Some(left ^ right),
        "BitShift" if task.attributes.text("direction") == Some("LEFT") => {
            |left, right| left.checked_shl(u32::try_from(right).ok().filter(|bits| *bits < 64)?)
        }
        "BitShift" => |left, right| left.checked_shr(u32::try_from(right).ok().filter(|bits| *bits < 64)?),
        _ => return None,
    })
}

fn relation<T: PartialOrd>(operator: &str) -> Option<fn(T, T) -> bool> {
    Some(match operator {
        "Equal" => |left, right| left == right,
        "Less" => |left, right| left < right,
        "LessOrEqual" => |left, right| left <= right,
        "Greater" => |left, right| left > right,
        "GreaterOrEqual" => |left, right| left >= right,
        _ => return None,
    })
}

struct Operands<'a> {
    left: &'a [usize],
    right: &'a [usize],
    sizes: &'a [usize],
}

impl Operands<'_> {
    fn zip<T: Copy, R>(&self, left: &[T], right: &[T], function: impl Fn(T, T) -> Option<R>) -> Option<Vec<R>> {
        let (left_strides, right_strides) = (repeated(self.left, self.sizes), repeated(self.right, self.sizes));
        Offsets::new(self.sizes, &left_strides, 0)
            .zip(Offsets::new(self.sizes, &right_strides, 0))
            .map(|(of_left, of_right)| function(*left.get(of_left)?, *right.get(of_right)?))
            .collect()
    }
}

/// Combines any number of operands, rounding after each.
fn several(task: &Task<'_>) -> Option<Array> {
    let mut result = task.input(0)?.clone();
    for input in task.inputs.iter().skip(1) {
        result = pair(
            task,
            if task.node.op_type() == "Mean" { "Sum" } else { task.node.op_type() },
            &result,
            input.as_ref()?,
        )?;
    }
    Some(result)
}

fn clip(task: &Task<'_>) -> Option<Array> {
    let input = task.input(0)?;
    let bound = |place: usize, name: &str| match task.input(place) {
        Some(bound) => Some(bound.clone()),
        None => Array::of_floats(input.element(), Vec::new(), &[task.attributes.float(name)?.into()]),
    };
    let mut result = input.clone();
    if let Some(minimum) = bound(1, "min") {
        result = pair(task, "Max", &result, &minimum)?;
    }
    if let Some(maximum) = bound(2, "max") {
        result = pair(task, "Min", &result, &maximum)?;
    }
    Some(result)
}

/// Chooses elements of any type.
fn select(task: &Task<'_>) -> Option<Array> {
    let (condition, yes, no) = (task.input(0)?, task.input(1)?, task.input(2)?);
    let sizes = broadcast(&broadcast(condition.sizes(), yes.sizes())?, no.sizes())?;
    let count = task.calculable(&sizes, yes.element())?;
    if condition.element() != ElementType::Boolean || yes.element() != no.element() {
        return None;
    }
    let width = yes.width();
    let walk = |array: &Array| Offsets::new(&sizes, &repeated(array.sizes(), &sizes), 0).collect::<Vec<_>>();
    let (conditions, of_yes, of_no) = (walk(condition), walk(yes), walk(no));
    let mut bytes = Vec::with_capacity(count * width);
    for ((condition_at, yes_at), no_at) in conditions.into_iter().zip(of_yes).zip(of_no) {
        let chosen = *condition.bytes().get(condition_at)? != 0;
        let (array, at) = if chosen { (yes, yes_at) } else { (no, no_at) };
        bytes.extend_from_slice(array.bytes().get(at * width..(at + 1) * width)?);
    }
    Array::new(yes.element(), sizes, bytes.into())
}
