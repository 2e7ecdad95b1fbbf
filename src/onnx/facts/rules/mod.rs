//! The shapes of results, operator by operator (ONNX operator sets 1 to 24).
//!
//! A rule returns what holds whatever the unknown sizes turn out to be, or nothing.

mod layout;
mod neural;
pub(super) mod runtime;
mod windows;

use std::collections::BTreeMap;

use super::call::Call;
use super::entries::Entry;
use crate::onnx::geometry;
use crate::onnx::value::Dimension;

/// The dimensions of one result.
type Dims = Vec<Dimension>;

/// The dimensions of each result, as far as they are known.
type Shapes = Vec<Option<Dims>>;

/// The first operator set whose arithmetic broadcasts like NumPy; before, the second operand fits the first.
const NUMPY_BROADCASTING: i64 = 7;

/// Returns what is known about the shapes of a node's results, in order.
pub(super) fn shapes(call: &Call<'_, '_>) -> Option<Shapes> {
    let operator = call.operator();
    if let Some(shapes) = neural::shapes(call) {
        return Some(shapes);
    }
    if matches!(operator, "Split" | "TopK") {
        return layout::several(call);
    }
    let dims = match operator {
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "And" | "Or" | "Xor" | "Equal" | "Less" | "Greater"
            if call.opset < NUMPY_BROADCASTING =>
        {
            call.dims(0)?.to_vec()
        }
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Mod" | "And" | "Or" | "Xor" | "Equal" | "Less" | "LessOrEqual"
        | "Greater" | "GreaterOrEqual" | "BitShift" | "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" | "Where" | "Max"
        | "Min" | "Sum" | "Mean" | "StringConcat" => together(call)?,
        "Abs"
        | "Acos"
        | "Acosh"
        | "Asin"
        | "Asinh"
        | "Atan"
        | "Atanh"
        | "Bernoulli"
        | "BitwiseNot"
        | "Cast"
        | "CastLike"
        | "Ceil"
        | "Celu"
        | "Clip"
        | "Cos"
        | "Cosh"
        | "CumSum"
        | "DequantizeLinear"
        | "Elu"
        | "Erf"
        | "Exp"
        | "EyeLike"
        | "Floor"
        | "Gelu"
        | "HardSigmoid"
        | "HardSwish"
        | "Hardmax"
        | "Identity"
        | "IsInf"
        | "IsNaN"
        | "LRN"
        | "LeakyRelu"
        | "Log"
        | "LogSoftmax"
        | "LpNormalization"
        | "MeanVarianceNormalization"
        | "Mish"
        | "Neg"
        | "Not"
        | "PRelu"
        | "QuantizeLinear"
        | "RMSNormalization"
        | "RandomNormalLike"
        | "RandomUniformLike"
        | "Reciprocal"
        | "Relu"
        | "ReverseSequence"
        | "RotaryEmbedding"
        | "Round"
        | "Scatter"
        | "ScatterElements"
        | "ScatterND"
        | "Selu"
        | "Shrink"
        | "Sigmoid"
        | "Sign"
        | "Sin"
        | "Sinh"
        | "Softmax"
        | "Softplus"
        | "Softsign"
        | "Sqrt"
        | "SwiGLU"
        | "Swish"
        | "Tan"
        | "Tanh"
        | "TensorScatter"
        | "ThresholdedRelu"
        | "Trilu"
        | "RegexFullMatch"
        | "InstanceNormalization"
        | "GroupNormalization" => call.dims(0)?.to_vec(),
        "GatherElements" => call.dims(1)?.to_vec(),
        "Size" | "SequenceLength" | "OptionalHasElement" => Dims::new(),
        "Shape" => vec![Dimension::Known(call.shape_range(call.rank(0)?).len() as i64)],
        "Constant" => {
            let attribute = call.node.attribute.first()?;
            match attribute.name() {
                "value_int" | "value_float" | "value_string" => Dims::new(),
                "value_ints" => vec![Dimension::Known(attribute.ints.len() as i64)],
                "value_floats" => vec![Dimension::Known(attribute.floats.len() as i64)],
                "value_strings" => vec![Dimension::Known(attribute.strings.len() as i64)],
                "sparse_value" => {
                    attribute.sparse_tensor.as_ref()?.dims.iter().map(|&it| Dimension::Known(it)).collect()
                }
                _ => return None,
            }
        }
        "ConstantOfShape" => sizes_of(&call.entries(0)?),
        "RandomNormal" | "RandomUniform" => {
            call.attributes.ints("shape")?.iter().map(|&it| Dimension::Known(it)).collect()
        }
        "Range" => vec![range(call).unwrap_or(Dimension::Unknown)],
        "MatMul" | "MatMulInteger" => product(call.dims(0)?, call.dims(1)?)?,
        "QLinearMatMul" => product(call.dims(0)?, call.dims(3)?)?,
        "Gemm" => gemm(call, 1)?,
        "Einsum" => einsum(call)?,
        "Det" => call.dims(0)?.split_last_chunk::<2>()?.0.to_vec(),
        "ArgMax" | "ArgMin" => reduced(call, &[call.axis(0, call.rank(0)?)?])?,
        _ if operator.starts_with("Reduce") => reduce(call)?,
        _ => layout::shape(call)?,
    };
    one(dims)
}

/// The shape of the only result that is followed.
#[expect(clippy::unnecessary_wraps, reason = "rules return options")]
fn one(dims: Dims) -> Option<Shapes> {
    Some(vec![Some(dims)])
}

fn sizes_of(entries: &[Entry]) -> Dims {
    entries.iter().map(Entry::dimension).collect()
}

/// Calculates with a known size.
fn map(dimension: &Dimension, function: impl Fn(i64) -> Option<i64>) -> Dimension {
    match dimension {
        Dimension::Known(size) => {
            function(*size).filter(|size| *size >= 0).map_or(Dimension::Unknown, Dimension::Known)
        }
        _ => Dimension::Unknown,
    }
}

fn known(dimension: &Dimension) -> Option<i64> {
    if let Dimension::Known(size) = dimension { Some(*size) } else { None }
}

/// The product of dimensions, if all are known.
fn count(dims: &[Dimension]) -> Dimension {
    let product = dims.iter().try_fold(1_i64, |product, dimension| product.checked_mul(known(dimension)?));
    product.map_or(Dimension::Unknown, Dimension::Known)
}

/// Two dimensions that are the same, of which one may say more.
fn same(one: &Dimension, other: &Dimension) -> Dimension {
    match (one, other) {
        (Dimension::Known(_), _) | (_, Dimension::Unknown) => one.clone(),
        (_, Dimension::Known(_)) | (Dimension::Unknown, _) => other.clone(),
        (Dimension::Symbolic(_), Dimension::Symbolic(_)) => one.clone(),
    }
}

/// The dimensions that two operands have together; `None` if they do not fit.
fn broadcast(left: &[Dimension], right: &[Dimension]) -> Option<Dims> {
    let rank = left.len().max(right.len());
    let at = |dims: &[Dimension], index: usize| {
        let place = (index + dims.len()).checked_sub(rank);
        place.and_then(|place| dims.get(place)).cloned().unwrap_or(Dimension::Known(1))
    };
    let both = |index| match (at(left, index), at(right, index)) {
        (Dimension::Known(1), any) | (any, Dimension::Known(1)) => Some(any),
        (Dimension::Known(left), Dimension::Known(right)) => (left == right).then_some(Dimension::Known(left)),
        (Dimension::Known(size), _) | (_, Dimension::Known(size)) => Some(Dimension::Known(size)),
        (Dimension::Symbolic(left), Dimension::Symbolic(right)) if left == right => Some(Dimension::Symbolic(left)),
        _ => Some(Dimension::Unknown),
    };
    (0..rank).map(both).collect()
}

/// All inputs, broadcast.
fn together(call: &Call<'_, '_>) -> Option<Dims> {
    (0..call.node.input.len()).try_fold(Dims::new(), |dims, place| broadcast(&dims, call.dims(place)?))
}

/// `Range` from 0 in steps of 1 has as many elements as its end says.
fn range(call: &Call<'_, '_>) -> Option<Dimension> {
    let single = |place| call.entries(place)?.into_iter().next();
    match (single(0)?, single(1)?, single(2)?) {
        (Entry::Known(0), end, Entry::Known(1)) => Some(end.dimension()),
        _ => None,
    }
}

fn product(left: &[Dimension], right: &[Dimension]) -> Option<Dims> {
    let (left_batches, rows): (&[Dimension], _) = match left {
        [] => return None,
        [_] => (&[], None),
        [batches @ .., rows, _] => (batches, Some(rows)),
    };
    let (right_batches, columns): (&[Dimension], _) = match right {
        [] => return None,
        [_] => (&[], None),
        [batches @ .., _, columns] => (batches, Some(columns)),
    };
    let mut dims = broadcast(left_batches, right_batches)?;
    dims.extend(rows.into_iter().chain(columns).cloned());
    Some(dims)
}

/// `right` is the place of the second matrix.
fn gemm(call: &Call<'_, '_>, right: usize) -> Option<Dims> {
    let ([left_rows, left_columns], [right_rows, right_columns]) = (call.dims(0)?, call.dims(right)?) else {
        return None;
    };
    let rows = if call.attributes.flag("transA") { left_columns } else { left_rows };
    let columns = if call.attributes.flag("transB") { right_rows } else { right_columns };
    Some(vec![rows.clone(), columns.clone()])
}

fn reduced(call: &Call<'_, '_>, axes: &[usize]) -> Option<Dims> {
    let keep = call.attributes.int("keepdims").unwrap_or(1) != 0;
    let dims = call.dims(0)?.iter().enumerate();
    let result = dims.filter_map(|(axis, dimension)| match axes.contains(&axis) {
        true => keep.then_some(Dimension::Known(1)),
        false => Some(dimension.clone()),
    });
    Some(result.collect())
}

fn reduce(call: &Call<'_, '_>) -> Option<Dims> {
    let rank = call.rank(0)?;
    let given = call.has(1) || call.attributes.find("axes").is_some();
    let axes = if given { Some(call.list("axes", 1)) } else { None };
    match axes {
        Some(None) if call.attributes.int("keepdims").unwrap_or(1) != 0 => Some(vec![Dimension::Unknown; rank]),
        Some(None) => None,
        Some(Some(axes)) if !axes.is_empty() => reduced(call, &geometry::axes(&axes, rank)?),
        _ if call.attributes.flag("noop_with_empty_axes") => Some(call.dims(0)?.to_vec()),
        _ => reduced(call, &(0..rank).collect::<Vec<_>>()),
    }
}

fn einsum(call: &Call<'_, '_>) -> Option<Dims> {
    let equation: String = call.attributes.text("equation")?.chars().filter(|letter| !letter.is_whitespace()).collect();
    let (inputs, output) = match equation.split_once("->") {
        Some((inputs, output)) => (inputs.to_owned(), Some(output.to_owned())),
        None => (equation.clone(), None),
    };
    let mut sizes: BTreeMap<char, (Dimension, usize)> = BTreeMap::new();
    let mut rest = Dims::new();
    for (place, term) in inputs.split(',').enumerate() {
        let dims = call.dims(place)?;
        let (front, back) = term.split_once("...").unwrap_or((term, ""));
        let hidden = dims.len().checked_sub(front.chars().count() + back.chars().count())?;
        (hidden == 0 || term.contains("...")).then_some(())?;
        let before = front.chars().count();
        rest = broadcast(&rest, dims.get(before..before + hidden)?)?;
        let named = dims.iter().take(before).chain(dims.iter().skip(before + hidden));
        for (letter, dimension) in front.chars().chain(back.chars()).zip(named) {
            let entry = sizes.entry(letter).or_insert((Dimension::Known(1), 0));
            entry.0 = broadcast(std::slice::from_ref(&entry.0), std::slice::from_ref(dimension))?.pop()?;
            entry.1 += 1;
        }
    }
    // Without an output, what occurs once is left, in the order of the alphabet.
    let output = output.unwrap_or_else(|| {
        let single: String = sizes.iter().filter(|(_, (_, times))| *times == 1).map(|(letter, _)| *letter).collect();
        if inputs.contains("...") { format!("...{single}") } else { single }
    });
    let (front, back) = output.split_once("...").unwrap_or((&output, ""));
    let named = |letters: &str| {
        letters.chars().map(|letter| sizes.get(&letter).map(|(size, _)| size.clone())).collect::<Option<Dims>>()
    };
    let hidden = if output.contains("...") { rest } else { Dims::new() };
    Some([named(front)?, hidden, named(back)?].concat())
}
