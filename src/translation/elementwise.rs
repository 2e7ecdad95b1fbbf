//! What is done to each element for itself.

use super::network::{Attribute, CHANNELS_FIRST, Network};
use super::operators::{constant, input, output};
use super::{Order, Trouble, refused};
use crate::onnx::ElementType;
use crate::tflite::{Activation, Constant, Operator, TensorId, Values};

/// Operators of one operand that ONNX has too.
const UNARY: &[(&str, &str)] = &[
    ("ABS", "Abs"),
    ("CEIL", "Ceil"),
    ("COS", "Cos"),
    ("EXP", "Exp"),
    ("FLOOR", "Floor"),
    ("LOG", "Log"),
    ("LOGICAL_NOT", "Not"),
    ("LOGISTIC", "Sigmoid"),
    ("NEG", "Neg"),
    ("RELU", "Relu"),
    ("ROUND", "Round"),
    ("SIGN", "Sign"),
    ("SIN", "Sin"),
    ("SQRT", "Sqrt"),
    ("TANH", "Tanh"),
];

/// What the names of operators begin with that converters leave to TensorFlow (`SELECT_TF_OPS`).
pub(super) const OF_TENSORFLOW: &str = "Flex";

/// Operators of TensorFlow, of one operand and without options that matter, that ONNX has too.
const TENSORFLOW: &[(&str, &str)] = &[
    ("FlexAcos", "Acos"),
    ("FlexAcosh", "Acosh"),
    ("FlexAsin", "Asin"),
    ("FlexAsinh", "Asinh"),
    ("FlexAtan", "Atan"),
    ("FlexAtanh", "Atanh"),
    ("FlexCosh", "Cosh"),
    ("FlexErf", "Erf"),
    ("FlexSelu", "Selu"),
    ("FlexSinh", "Sinh"),
    ("FlexSoftplus", "Softplus"),
    ("FlexSoftsign", "Softsign"),
    ("FlexTan", "Tan"),
];

/// Operators of two operands that ONNX has too.
const BINARY: &[(&str, &str)] = &[
    ("ADD", "Add"),
    ("DIV", "Div"),
    ("EQUAL", "Equal"),
    ("GREATER", "Greater"),
    ("LESS", "Less"),
    ("LOGICAL_AND", "And"),
    ("LOGICAL_OR", "Or"),
    ("MAXIMUM", "Max"),
    ("MINIMUM", "Min"),
    ("MUL", "Mul"),
    ("POW", "Pow"),
    ("STABLEHLO_ADD", "Add"),
    ("STABLEHLO_AND", "And"),
    ("STABLEHLO_MAXIMUM", "Max"),
    ("STABLEHLO_MINIMUM", "Min"),
    ("STABLEHLO_MULTIPLY", "Mul"),
    ("SUB", "Sub"),
];

/// Why operators that thin out boxes have no translation.
pub(super) const CHOOSES: &str = "chooses among boxes one after the other, which no network does";

/// Comparisons that are the opposite of one.
const NEGATED: &[(&str, &str)] = &[("GREATER_EQUAL", "Less"), ("LESS_EQUAL", "Greater"), ("NOT_EQUAL", "Equal")];

fn listed(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    table.iter().find(|(tflite, _)| *tflite == name).map(|(_, onnx)| *onnx)
}

/// Returns what an operator of TensorFlow is in ONNX.
pub(super) fn of_tensorflow(name: &str) -> Option<&'static str> {
    listed(TENSORFLOW, name)
}

pub(super) fn translate(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let name = operator.name.as_str();
    if let Some(onnx) = listed(UNARY, name) {
        return unary(network, operator, onnx, &[]);
    }
    if matches!(name, "MAXIMUM" | "MINIMUM" | "STABLEHLO_MAXIMUM" | "STABLEHLO_MINIMUM") && !is_real(network, operator)?
    {
        // The operator set has these for real numbers only.
        let is_left = if name.ends_with("MAXIMUM") { "Greater" } else { "Less" };
        return composed(network, operator, |network, operands, raw| {
            if let [left, right] = operands {
                let chosen = network.inner(is_left, operands, &format!("{raw}/is_left"), &[]);
                network.node("Where", &[&chosen, left, right], raw, &[]);
            }
        });
    }
    if name == "STABLEHLO_AND" && network.element(output(operator, 0)?)? != ElementType::Boolean {
        return Err(refused("takes the bits of numbers"));
    }
    if let Some(onnx) = listed(BINARY, name) {
        let is_arithmetic = matches!(name, "ADD" | "SUB" | "MUL" | "DIV");
        return binary(
            network,
            operator,
            onnx,
            if is_arithmetic { operator.fused_activation()? } else { Activation::None },
        );
    }
    if let Some(opposite) = listed(NEGATED, name) {
        return composed(network, operator, |network, operands, raw| {
            let opposite = network.inner(opposite, operands, &format!("{raw}/not"), &[]);
            network.node("Not", &[&opposite], raw, &[]);
        });
    }
    match name {
        "RELU6" => clip(network, operator, [0.0, 6.0]),
        "RELU_N1_TO_1" => clip(network, operator, [-1.0, 1.0]),
        "RELU_0_TO_1" => clip(network, operator, [0.0, 1.0]),
        "LEAKY_RELU" => unary(network, operator, "LeakyRelu", &[Attribute::Float("alpha", operator.factor()?)]),
        "ELU" => unary(network, operator, "Elu", &[Attribute::Float("alpha", 1.0)]),
        "PRELU" => parametric_relu(network, operator),
        "CAST" => cast(network, operator),
        "SELECT" | "SELECT_V2" => select(network, operator),
        "ADD_N" => sum(network, operator),
        "SQUARE" => composed(network, operator, |network, operands, raw| {
            if let [operand] = operands {
                network.node("Mul", &[operand, operand], raw, &[]);
            }
        }),
        "RSQRT" => composed(network, operator, |network, operands, raw| {
            let root = network.inner("Sqrt", operands, &format!("{raw}/root"), &[]);
            let one = network.number(&format!("{raw}/one"), 1.0);
            network.node("Div", &[&one, &root], raw, &[]);
        }),
        "SQUARED_DIFFERENCE" => composed(network, operator, |network, operands, raw| {
            let difference = network.inner("Sub", operands, &format!("{raw}/difference"), &[]);
            network.node("Mul", &[&difference, &difference], raw, &[]);
        }),
        "FLOOR_DIV" if is_real(network, operator)? => composed(network, operator, |network, operands, raw| {
            let quotient = network.inner("Div", operands, &format!("{raw}/quotient"), &[]);
            network.node("Floor", &[&quotient], raw, &[]);
        }),
        "FLOOR_MOD" if is_real(network, operator)? => composed(network, operator, |network, operands, raw| {
            let quotient = network.inner("Div", operands, &format!("{raw}/quotient"), &[]);
            let whole = network.inner("Floor", &[&quotient], &format!("{raw}/whole"), &[]);
            if let [dividend, divisor] = operands {
                let product = network.inner("Mul", &[&whole, divisor], &format!("{raw}/product"), &[]);
                network.node("Sub", &[dividend, &product], raw, &[]);
            }
        }),
        // The remainder has the sign of the divisor, so what is left is a multiple of it.
        "FLOOR_DIV" => composed(network, operator, |network, operands, raw| {
            if let [dividend, divisor] = operands {
                let rest = network.inner("Mod", operands, &format!("{raw}/rest"), &[]);
                let multiple = network.inner("Sub", &[dividend, &rest], &format!("{raw}/multiple"), &[]);
                network.node("Div", &[&multiple, divisor], raw, &[]);
            }
        }),
        "FLOOR_MOD" => binary(network, operator, "Mod", Activation::None),
        // x * clip(x + 3, 0, 6) / 6
        "HARD_SWISH" => composed(network, operator, |network, operands, raw| {
            if let [operand] = operands {
                let three = network.number(&format!("{raw}/three"), 3.0);
                let shifted = network.inner("Add", &[operand, &three], &format!("{raw}/shifted"), &[]);
                let gate = network.fresh(&format!("{raw}/gate"));
                network.clip(&shifted, [0.0, 6.0], &gate);
                let product = network.inner("Mul", &[operand, &gate], &format!("{raw}/product"), &[]);
                let sixth = network.number(&format!("{raw}/sixth"), 1.0 / 6.0);
                network.node("Mul", &[&product, &sixth], raw, &[]);
            }
        }),
        "GELU" => gelu(network, operator),
        "ATAN2" => angle(network, operator),
        "NON_MAX_SUPPRESSION_V4" | "NON_MAX_SUPPRESSION_V5" => Err(refused(CHOOSES)),
        "UNIQUE" | "WHERE" => Err(refused("has a result whose size depends on what is computed")),
        "WHILE" => Err(refused("repeats as often as what is computed says, or too often to be written out")),
        "IF" => Err(refused("has branches whose results differ in shape")),
        "STABLEHLO_COMPOSITE" => Err(refused("stands for operators that keep a state, or are too many")),
        "STABLEHLO_CASE" => Err(refused("chooses among branches by number, which are not written out")),
        "STABLEHLO_SHIFT_LEFT" => Err(refused("moves bits up, beyond what the device keeps of whole numbers")),
        "BITCAST" => Err(refused("takes the bits of numbers for numbers of another type")),
        "EMBEDDING_LOOKUP_SPARSE" | "LSH_PROJECTION" | "SKIP_GRAM" => {
            Err(refused("looks up words or features in lists of any length, which no network does"))
        }
        "CALL" | "CONCAT_EMBEDDINGS" | "DELEGATE" => Err(refused("is nothing that the format's own runtime runs")),
        name if name.starts_with("STABLEHLO_") => {
            Err(refused("is of another dialect, and nothing that the format's own runtime runs"))
        }
        "ASSIGN_VARIABLE" | "CALL_ONCE" | "READ_VARIABLE" | "RNN" | "SVDF" | "VAR_HANDLE" => {
            Err(refused("keeps a state between runs"))
        }
        "MULTINOMIAL" | "RANDOM_STANDARD_NORMAL" | "RANDOM_UNIFORM" | "STABLEHLO_RNG_BIT_GENERATOR" => {
            Err(refused("draws random numbers, so nobody could tell whether the result is right"))
        }
        "HASHTABLE" | "HASHTABLE_FIND" | "HASHTABLE_IMPORT" | "HASHTABLE_LOOKUP" | "HASHTABLE_SIZE" => {
            Err(refused("looks keys up in a table, which no network does"))
        }
        _ => Err(refused("has no translation")),
    }
}

fn is_real(network: &Network<'_>, operator: &Operator) -> Result<bool, Trouble> {
    Ok(network.element(output(operator, 0)?)? == ElementType::Float32)
}

pub(super) fn unary(
    network: &mut Network<'_>,
    operator: &Operator,
    onnx: &str,
    attributes: &[Attribute],
) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let order = network.order(from);
    let operand = network.take(from, order)?;
    network.write(to, order, onnx, &[&operand], attributes)
}

fn clip(network: &mut Network<'_>, operator: &Operator, bounds: [f64; 2]) -> Result<(), Trouble> {
    composed(network, operator, |network, operands, raw| {
        if let [operand] = operands {
            network.clip(operand, bounds, raw);
        }
    })
}

fn binary(network: &mut Network<'_>, operator: &Operator, onnx: &str, fused: Activation) -> Result<(), Trouble> {
    let to = output(operator, 0)?;
    let (order, operands) = operands(network, operator, to)?;
    let result = network.begin(to, order, fused)?;
    let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
    network.node(onnx, &operands, &result.raw, &[]);
    network.end(&result);
    Ok(())
}

/// Writes a result with several nodes: `write` gets the operands and the name of the result.
fn composed(
    network: &mut Network<'_>,
    operator: &Operator,
    write: impl FnOnce(&mut Network<'_>, &[&str], &str),
) -> Result<(), Trouble> {
    let to = output(operator, 0)?;
    let (order, operands) = operands(network, operator, to)?;
    let result = network.begin(to, order, Activation::None)?;
    let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
    write(network, &operands, &result.raw);
    Ok(())
}

/// Returns all operands in one order, with as many dimensions as the result has, and that order.
fn operands(network: &mut Network<'_>, operator: &Operator, to: TensorId) -> Result<(Order, Vec<String>), Trouble> {
    let rank = network.tensor(to)?.shape.len();
    let is_first = |id: &TensorId| network.order(*id) == Order::ChannelsFirst;
    let order = match operator.inputs.iter().flatten().any(is_first) {
        true if rank == 4 => Order::ChannelsFirst,
        _ => Order::AsStored,
    };
    let ids: Vec<TensorId> = operator.inputs.iter().flatten().copied().collect();
    if ids.is_empty() {
        return Err(refused("lacks operand 0"));
    }
    let operands = ids.into_iter().map(|id| operand(network, id, rank, order)).collect::<Result<_, _>>()?;
    Ok((order, operands))
}

/// Returns an operand in an order; missing dimensions are put in front, as broadcasting does.
fn operand(network: &mut Network<'_>, id: TensorId, rank: usize, order: Order) -> Result<String, Trouble> {
    let tensor = network.tensor(id)?;
    let own = tensor.shape.len();
    if own >= rank {
        return network.take(id, order);
    }
    let mut shape = vec![1; rank - own];
    shape.extend(&tensor.shape);
    if let Some(constant) = network.constant(id)? {
        let constant = spread(constant, &shape, order).ok_or_else(|| refused("has an odd constant"))?;
        return Ok(network.initializer(&tensor.name, &constant));
    }
    let stored = network.take(id, Order::AsStored)?;
    let wide = network.fresh(&format!("{}/wide", tensor.name));
    network.reshape(&stored, &shape, &wide);
    if order == Order::AsStored {
        return Ok(wide);
    }
    let reordered = network.fresh(&format!("{}/channels_first", tensor.name));
    network.reorder(&wide, &shape, order, &reordered)?;
    Ok(reordered)
}

fn spread(constant: Constant, shape: &[i64], order: Order) -> Option<Constant> {
    let constant = constant.reshaped(shape)?;
    if order == Order::ChannelsFirst { constant.transposed(&CHANNELS_FIRST) } else { Some(constant) }
}

/// One slope for each channel, or each element.
fn parametric_relu(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let slopes = constant(network, operator, 1)?;
    if !matches!(slopes.values, Values::Real(_)) {
        return Err(refused("has slopes that are integers without a scale"));
    }
    let order = network.order(from);
    let rank = network.tensor(from)?.shape.len();
    let mut shape = vec![1; rank.saturating_sub(slopes.shape.len())];
    shape.extend(&slopes.shape);
    let mut slopes = spread(slopes, &shape, order).ok_or_else(|| refused("has odd slopes"))?;
    // Tools look for slopes without the batch.
    if let [1, rest @ ..] = slopes.shape.as_slice() {
        slopes.shape = rest.to_vec();
    }
    let operand = network.take(from, order)?;
    let slopes = network.initializer(&network.tensor(input(operator, 1)?)?.name, &slopes);
    network.write(to, order, "PRelu", &[&operand, &slopes], &[])
}

fn cast(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let element = network.element(to)?;
    if network.element(from)? == element {
        return network.share(from, to);
    }
    unary(network, operator, "Cast", &[Attribute::Integer("to", element.code().into())])
}

fn select(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let to = output(operator, 0)?;
    let conditions = &network.tensor(input(operator, 0)?)?.shape;
    let (name, rank) = (&network.tensor(to)?.name, network.tensor(to)?.shape.len());
    if network.element(to)? == ElementType::Boolean {
        return composed(network, operator, |network, operands, raw| {
            if let [condition, yes, no] = operands {
                choose_truth(network, [condition, yes, no], raw);
            }
        });
    }
    if operator.name == "SELECT_V2" || conditions.is_empty() || conditions.len() == rank {
        return binary(network, operator, "Where", Activation::None);
    }
    // The older operator lets a list of conditions choose among rows.
    let mut shape = conditions.clone();
    shape.resize(rank, 1);
    let conditions = network.take(input(operator, 0)?, Order::AsStored)?;
    let wide = network.fresh(&format!("{name}/rows"));
    network.reshape(&conditions, &shape, &wide);
    let yes = network.take(input(operator, 1)?, Order::AsStored)?;
    let no = network.take(input(operator, 2)?, Order::AsStored)?;
    network.write(to, Order::AsStored, "Where", &[&wide, &yes, &no], &[])
}

/// Chooses among truth values, which not every tool can.
pub(super) fn choose_truth(network: &mut Network<'_>, [condition, yes, no]: [&str; 3], raw: &str) {
    let yes = network.inner("And", &[condition, yes], &format!("{raw}/yes"), &[]);
    let opposite = network.inner("Not", &[condition], &format!("{raw}/not"), &[]);
    let no = network.inner("And", &[&opposite, no], &format!("{raw}/no"), &[]);
    network.node("Or", &[&yes, &no], raw, &[]);
}

fn sum(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    composed(network, operator, |network, operands, raw| network.node("Sum", operands, raw, &[]))
}

/// `x / 2 * (1 + erf(x / sqrt(2)))`, or its approximation with a hyperbolic tangent.
fn gelu(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let is_approximate = operator.is_approximate()?;
    composed(network, operator, |network, operands, raw| {
        let [operand] = operands else { return };
        let step = |network: &mut Network<'_>, onnx: &str, what: &str, operand: &str, value: f32| {
            let number = network.number(&format!("{raw}/{what}"), value);
            network.inner(onnx, &[operand, &number], &format!("{raw}/{what}"), &[])
        };
        let curve = if is_approximate {
            let square = network.inner("Mul", &[operand, operand], &format!("{raw}/square"), &[]);
            let small = step(network, "Mul", "small", &square, 0.044_715);
            let near_one = step(network, "Add", "near_one", &small, 1.0);
            let bent = network.inner("Mul", &[operand, &near_one], &format!("{raw}/bent"), &[]);
            let scaled = step(network, "Mul", "scaled", &bent, (2.0_f32 / std::f32::consts::PI).sqrt());
            network.inner("Tanh", &[&scaled], &format!("{raw}/curve"), &[])
        } else {
            let scaled = step(network, "Mul", "scaled", operand, std::f32::consts::FRAC_1_SQRT_2);
            network.inner("Erf", &[&scaled], &format!("{raw}/curve"), &[])
        };
        let gate = step(network, "Add", "gate", &curve, 1.0);
        let half = step(network, "Mul", "half", operand, 0.5);
        network.node("Mul", &[&half, &gate], raw, &[]);
    })
}

/// The angle of a point, whose ordinate is the first operand. An abscissa of zero has no slope.
fn angle(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    use std::f32::consts::{FRAC_PI_2, PI};
    composed(network, operator, |network, operands, raw| {
        let [ordinate, abscissa] = operands else { return };
        let [zero, one, half, whole, less] =
            [0.0, 1.0, FRAC_PI_2, PI, -PI].map(|value| network.number(&format!("{raw}/number"), value));
        let inner = |network: &mut Network<'_>, onnx: &str, operands: &[&str]| {
            network.inner(onnx, operands, &format!("{raw}/{}", onnx.to_lowercase()), &[])
        };
        let is_upright = inner(network, "Equal", &[abscissa, &zero]);
        let divisor = inner(network, "Where", &[&is_upright, &one, abscissa]);
        let slope = inner(network, "Div", &[ordinate, &divisor]);
        let angle = inner(network, "Atan", &[&slope]);
        // On the left, the slope is that of the opposite point.
        let is_below = inner(network, "Less", &[ordinate, &zero]);
        let turn = inner(network, "Where", &[&is_below, &less, &whole]);
        let is_left = inner(network, "Less", &[abscissa, &zero]);
        let turn = inner(network, "Where", &[&is_left, &turn, &zero]);
        let turned = inner(network, "Add", &[&angle, &turn]);
        let sign = inner(network, "Sign", &[ordinate]);
        let upright = inner(network, "Mul", &[&sign, &half]);
        network.node("Where", &[&is_upright, &upright, &turned], raw, &[]);
    })
}
