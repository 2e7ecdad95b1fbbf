//! Elements that move apart, borders, and what windows make of what they see, along any number of dimensions.
//!
//! Each dimension is gone through for itself, as the second of three: what is around it and what is inside it are one each.

use super::network::{Attribute, Network};
use super::operators::{input, integers, output};
use super::{Order, Trouble, refused};
use crate::onnx::ElementType;
use crate::tflite::{Activation, Constant, Operator, TensorId, Values};

/// The most elements of windows along all dimensions, each of which is a slice of the whole, and how far elements are moved
/// apart at most.
const WIDEST: i64 = 128;

/// A tensor on its way, in the stored order.
struct Value {
    name: String,
    sizes: Vec<i64>,
    /// How what is written on the way is called.
    stem: String,
    element: ElementType,
}

/// What a dimension gets: elements between its own and at both ends. A negative end is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spread {
    between: i64,
    ends: [i64; 2],
}

/// How a window goes along a dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    size: i64,
    stride: i64,
    dilation: i64,
}

impl Value {
    fn of(network: &mut Network<'_>, from: TensorId, to: TensorId) -> Result<Self, Trouble> {
        let name = network.take(from, Order::AsStored)?;
        let (sizes, stem) = (network.tensor(from)?.shape.clone(), network.tensor(to)?.name.clone());
        Ok(Self { name, sizes, stem, element: network.element(from)? })
    }

    fn size(&self, axis: usize) -> i64 {
        self.sizes.get(axis).copied().unwrap_or(1)
    }

    /// Makes a dimension of one size the second of three.
    fn lay(&mut self, network: &mut Network<'_>, axis: usize) -> Result<[i64; 3], Trouble> {
        let product = |sizes: &[i64]| sizes.iter().try_fold(1_i64, |all, size| all.checked_mul(*size));
        let (before, after) = (self.sizes.get(..axis), self.sizes.get(axis + 1..));
        let (Some(outer), Some(inner)) = (before.and_then(product), after.and_then(product)) else {
            return Err(refused("goes through more elements than can be counted"));
        };
        let sizes = [outer, self.size(axis), inner];
        self.reshape(network, &sizes);
        Ok(sizes)
    }

    fn reshape(&mut self, network: &mut Network<'_>, sizes: &[i64]) {
        let name = network.fresh(&format!("{}/laid", self.stem));
        network.reshape(&self.name, sizes, &name);
        self.name = name;
    }

    fn slice(&self, network: &mut Network<'_>, axis: i64, [from, to, step]: [i64; 3]) -> String {
        let mut operands = vec![self.name.clone()];
        for (what, value) in [("begin", from), ("end", to), ("axis", axis), ("step", step)] {
            operands.push(network.list(&format!("{}/{what}", self.stem), &[value]));
        }
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        network.inner("Slice", &operands, &format!("{}/slice", self.stem), &[])
    }

    fn pad(&mut self, network: &mut Network<'_>, borders: &[i64], fill: f32) {
        let borders = network.list(&format!("{}/borders", self.stem), borders);
        let fill = network.number(&format!("{}/fill", self.stem), fill);
        let mode = [Attribute::Text("mode", "constant")];
        self.name = network.inner("Pad", &[&self.name, &borders, &fill], &format!("{}/padded", self.stem), &mode);
    }

    /// Spreads a dimension; what is new is `fill`.
    fn spread(&mut self, network: &mut Network<'_>, axis: usize, spread: Spread, fill: f32) -> Result<(), Trouble> {
        let Spread { between, ends } = spread;
        let size = self.size(axis);
        if between == 0 && ends == [0, 0] {
            return Ok(());
        }
        if self.element != ElementType::Float32 {
            return Err(refused("puts integers between or around others"));
        }
        if !(0..WIDEST).contains(&between) {
            return Err(refused(format!("moves elements together, or further apart than {WIDEST}")));
        }
        let wide = (size - 1).max(0).checked_mul(between).and_then(|new| new.checked_add(size));
        let is_cut_off = |wide: i64| ends.iter().any(|end| *end <= -wide);
        let wide = wide.filter(|wide| !is_cut_off(*wide));
        let all = wide.and_then(|wide| wide.checked_add(ends[0])?.checked_add(ends[1]));
        let (Some(wide), Some(all)) = (wide, all.filter(|all| *all > 0 && size > 0)) else {
            return Err(refused("has a result without elements"));
        };
        let [outer, _, inner] = self.lay(network, axis)?;
        if between > 0 {
            // Each element gets its neighbours behind it, the last one too.
            self.reshape(network, &[outer, size, 1, inner]);
            self.pad(network, &[0, 0, 0, 0, 0, 0, between, 0], fill);
            self.reshape(network, &[outer, size * (between + 1), inner]);
            self.name = self.slice(network, 1, [0, wide, 1]);
        }
        let [before, after] = ends;
        if before < 0 || after < 0 {
            self.name = self.slice(network, 1, [(-before).max(0), wide - (-after).max(0), 1]);
        }
        if before > 0 || after > 0 {
            self.pad(network, &[0, before.max(0), 0, 0, after.max(0), 0], fill);
        }
        if let Some(size) = self.sizes.get_mut(axis) {
            *size = all;
        }
        Ok(())
    }

    /// Writes what windows along a dimension make of what they see.
    fn reduce(&mut self, network: &mut Network<'_>, axis: usize, window: Window, join: Join) -> Result<(), Trouble> {
        let Window { size, stride, dilation } = window;
        if (size, stride) == (1, 1) {
            return Ok(());
        }
        let seen = (size - 1).checked_mul(dilation).and_then(|last| last.checked_add(1));
        let Some(free) = seen.map(|seen| self.size(axis) - seen).filter(|free| *free >= 0) else {
            return Err(refused("has a window of more elements than there are"));
        };
        let count = free / stride + 1;
        self.lay(network, axis)?;
        let mut parts = Vec::new();
        for place in 0..size {
            let from = place * dilation;
            parts.push(self.slice(network, 1, [from, from + (count - 1) * stride + 1, stride]));
        }
        self.name = join.all(network, self.element, &parts, &self.stem)?;
        if let Some(size) = self.sizes.get_mut(axis) {
            *size = count;
        }
        Ok(())
    }

    /// Writes the greatest or the least number that windows along a dimension see, as a pooling: what is outside, and there
    /// in each window is something inside, does not count.
    fn pool(
        &mut self,
        network: &mut Network<'_>,
        axis: usize,
        Window { size, stride, .. }: Window,
        [before, after]: [i64; 2],
        is_least: bool,
    ) -> Result<(), Trouble> {
        if (size, stride, before, after) == (1, 1, 0, 0) {
            return Ok(());
        }
        let whole = self.size(axis).checked_add(before + after).filter(|whole| *whole >= size);
        let whole = whole.ok_or_else(|| refused("has a window of more elements than there are"))?;
        let [outer, length, inner] = self.lay(network, axis)?;
        self.reshape(network, &[1, outer, length, inner]);
        let negate = |value: &mut Self, network: &mut Network<'_>| {
            if is_least {
                value.name = network.inner("Neg", &[&value.name], &format!("{}/negative", value.stem), &[]);
            }
        };
        negate(self, network);
        let attributes = [
            Attribute::Integers("kernel_shape", vec![size, 1]),
            Attribute::Integers("strides", vec![stride, 1]),
            Attribute::Integers("pads", vec![before, 0, after, 0]),
        ];
        self.name = network.inner("MaxPool", &[&self.name], &format!("{}/greatest", self.stem), &attributes);
        negate(self, network);
        if let Some(length) = self.sizes.get_mut(axis) {
            *length = (whole - size) / stride + 1;
        }
        Ok(())
    }

    /// Writes the tensor.
    fn write(self, network: &mut Network<'_>, to: TensorId) -> Result<(), Trouble> {
        if network.tensor(to)?.shape != self.sizes {
            return Err(refused("has a result of another size than it says"));
        }
        let (result, element) = (network.begin(to, Order::AsStored, Activation::None)?, network.element(to)?);
        if self.element == element {
            network.reshape(&self.name, &self.sizes, &result.raw);
            return Ok(());
        }
        let shaped = network.fresh(&format!("{}/numbers", self.stem));
        network.reshape(&self.name, &self.sizes, &shaped);
        network.node("Cast", &[&shaped], &result.raw, &cast_to(element));
        Ok(())
    }
}

/// How two elements become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Join {
    Sum,
    Product,
    Least,
    Greatest,
    All,
    Any,
}

impl Join {
    /// Reads the name of an operator of two operands.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "ADD" | "STABLEHLO_ADD" => Self::Sum,
            "MUL" | "STABLEHLO_MULTIPLY" => Self::Product,
            "MINIMUM" | "STABLEHLO_MINIMUM" => Self::Least,
            "MAXIMUM" | "STABLEHLO_MAXIMUM" => Self::Greatest,
            "LOGICAL_AND" | "STABLEHLO_AND" => Self::All,
            "LOGICAL_OR" | "STABLEHLO_OR" => Self::Any,
            _ => return None,
        })
    }

    /// Whether joining with a number changes nothing.
    fn is_neutral(self, values: &Values) -> bool {
        match (self, values) {
            (Self::Sum, Values::Real(values)) => *values == [0.0],
            (Self::Product, Values::Real(values)) => *values == [1.0],
            (Self::Least, Values::Real(values)) => *values == [f32::INFINITY],
            (Self::Greatest, Values::Real(values)) => *values == [f32::NEG_INFINITY],
            (Self::Sum | Self::Any, Values::Integer(values, _)) => *values == [0],
            (Self::Product | Self::All, Values::Integer(values, _)) => *values == [1],
            (Self::Least, Values::Integer(values, element)) => {
                *values == [if *element == ElementType::Int32 { i32::MAX.into() } else { i64::MAX }]
            }
            (Self::Greatest, Values::Integer(values, element)) => {
                *values == [if *element == ElementType::Int32 { i32::MIN.into() } else { i64::MIN }]
            }
            _ => false,
        }
    }

    /// Writes what all values come to, element by element.
    pub(super) fn all(
        self,
        network: &mut Network<'_>,
        element: ElementType,
        values: &[String],
        stem: &str,
    ) -> Result<String, Trouble> {
        let is_real = element == ElementType::Float32;
        if (element == ElementType::Boolean) != matches!(self, Self::All | Self::Any) {
            return Err(refused("joins elements of a type that has no such operation"));
        }
        let wanted = format!("{stem}/joined");
        let operator = match self {
            Self::Sum => "Add",
            Self::Product => "Mul",
            Self::Least => "Min",
            Self::Greatest => "Max",
            Self::All => "And",
            Self::Any => "Or",
        };
        let mut values = values.iter();
        let mut result = values.next().cloned().unwrap_or_default();
        for value in values {
            result = match self {
                // The operator set has these for real numbers only.
                Self::Least | Self::Greatest if !is_real => {
                    let is_left = if self == Self::Least { "Less" } else { "Greater" };
                    let chosen = network.inner(is_left, &[&result, value], &format!("{stem}/is_left"), &[]);
                    network.inner("Where", &[&chosen, &result, value], &wanted, &[])
                }
                _ => network.inner(operator, &[&result, value], &wanted, &[]),
            };
        }
        Ok(result)
    }
}

const fn cast_to(element: ElementType) -> [Attribute; 1] {
    [Attribute::Integer("to", element.code() as i64)]
}

/// Returns a real number that has to be constant.
fn number(network: &Network<'_>, operator: &Operator, place: usize) -> Result<f32, Trouble> {
    match network.constant(input(operator, place)?)? {
        Some(Constant { values: Values::Real(values), .. }) => Ok(values.first().copied().unwrap_or(0.0)),
        Some(_) => Err(refused("fills with integers")),
        None => Err(refused("fills with what is computed")),
    }
}

/// Returns how each dimension is gone through, out of lists with a number for each.
fn each<T>(rank: usize, lists: &[&[i64]], make: impl Fn(&[i64]) -> T) -> Result<Vec<T>, Trouble> {
    if lists.iter().any(|list| list.len() != rank) {
        return Err(refused("does not have a number for each dimension"));
    }
    let row = |axis: usize| lists.iter().filter_map(|list| list.get(axis)).copied().collect::<Vec<i64>>();
    Ok((0..rank).map(|axis| make(&row(axis))).collect())
}

/// Moves elements apart and puts borders around them.
fn write_spread(network: &mut Network<'_>, operator: &Operator, spread: &[Spread], fill: f32) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let mut value = Value::of(network, from, to)?;
    for (axis, spread) in spread.iter().enumerate() {
        value.spread(network, axis, *spread, fill)?;
    }
    value.write(network, to)
}

/// Puts a number between elements. Operands: data, how far apart elements are along each dimension, the number.
pub(super) fn dilate(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let distances = integers(network, operator, 1)?;
    let rank = network.tensor(input(operator, 0)?)?.shape.len();
    let spread =
        each(rank, &[&distances], |row| Spread { between: row.iter().sum::<i64>().saturating_sub(1), ends: [0, 0] })?;
    let fill = number(network, operator, 2)?;
    write_spread(network, operator, &spread, fill)
}

/// `STABLEHLO_PAD`: a number at both ends of dimensions, and between elements.
pub(super) fn pad(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let [low, high, interior] = operator.edges()?;
    let rank = network.tensor(input(operator, 0)?)?.shape.len();
    let spread = each(rank, &[&low, &high, &interior], |row| match *row {
        [low, high, between] => Spread { between, ends: [low, high] },
        _ => Spread { between: 0, ends: [0, 0] },
    })?;
    let fill = number(network, operator, 1)?;
    write_spread(network, operator, &spread, fill)
}

/// Operands: data, what each window begins with, and sizes, strides and dilations of the windows.
pub(super) fn reduce(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let join = operator.window_function()?.and_then(Join::named);
    let lists = [2, 3, 4].map(|place| integers(network, operator, place));
    let [sizes, strides, dilations] = lists;
    let lists = [sizes?, strides?, dilations?];
    let rank = network.tensor(input(operator, 0)?)?.shape.len();
    let spread = vec![Spread { between: 0, ends: [0, 0] }; rank];
    write_reduced(network, operator, join, &spread, &lists)
}

/// `STABLEHLO_REDUCE_WINDOW`, whose windows are said beside its operands: data, what each window begins with.
pub(super) fn reduce_beside(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let join = network.joins_with(operator)?.and_then(Join::named);
    let [base, padding] = operator.surroundings()?;
    let rank = network.tensor(input(operator, 0)?)?.shape.len();
    let side = |side: usize| padding.iter().skip(side).step_by(2).copied().collect::<Vec<i64>>();
    let spread = each(rank, &[&base, &side(0), &side(1)], |row| match *row {
        [base, low, high] => Spread { between: base.saturating_sub(1), ends: [low, high] },
        _ => Spread { between: 0, ends: [0, 0] },
    })?;
    write_reduced(network, operator, join, &spread, &operator.windows()?)
}

fn write_reduced(
    network: &mut Network<'_>,
    operator: &Operator,
    join: Option<Join>,
    spread: &[Spread],
    [sizes, strides, dilations]: &[Vec<i64>; 3],
) -> Result<(), Trouble> {
    let join = join.ok_or_else(|| refused("joins elements by more than one operation"))?;
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let windows = each(spread.len(), &[sizes, strides, dilations], |row| match *row {
        [size, stride, dilation] => Window { size, stride, dilation },
        _ => Window { size: 1, stride: 1, dilation: 1 },
    })?;
    let total = windows.iter().try_fold(0_i64, |all, window| all.checked_add(window.size));
    if total.is_none_or(|total| total > WIDEST) {
        return Err(refused(format!("has windows of more than {WIDEST} elements along all dimensions")));
    }
    let is_positive = |window: &Window| window.size > 0 && window.stride > 0 && window.dilation > 0;
    if !windows.iter().all(is_positive) {
        return Err(refused("has a window without size"));
    }
    let begin = input(operator, 1)?;
    let constant = network.constant(begin)?;
    let is_neutral = constant.is_some_and(|constant| join.is_neutral(&constant.values));
    let mut value = Value::of(network, from, to)?;
    let mut begin = if is_neutral { None } else { Some(network.take(begin, Order::AsStored)?) };
    let mut join = join;
    if let (ElementType::Boolean, Join::All | Join::Any) = (value.element, join) {
        // Truth values are seen as zeros and ones, as in other reductions.
        join = if join == Join::All { Join::Least } else { Join::Greatest };
        value.element = ElementType::Float32;
        let wanted = format!("{}/numbers", value.stem);
        for name in std::iter::once(&mut value.name).chain(&mut begin) {
            *name = network.inner("Cast", &[name], &wanted, &cast_to(value.element));
        }
    }
    let is_pooled = matches!(join, Join::Least | Join::Greatest) && value.element == ElementType::Float32;
    for (axis, (spread, window)) in spread.iter().zip(&windows).enumerate() {
        let is_inside = spread.ends.iter().all(|end| (0..window.size).contains(end));
        if is_pooled
            && spread.between == 0
            && window.dilation == 1
            && is_inside
            && (is_neutral || spread.ends == [0, 0])
        {
            value.pool(network, axis, *window, spread.ends, join == Join::Least)?;
            continue;
        }
        if (spread.between, spread.ends) != (0, [0, 0]) {
            // What windows begin with is also what they see outside.
            let fill = number(network, operator, 1)?;
            if !fill.is_finite() {
                return Err(refused("has windows that see infinity, which the device does not know"));
            }
            value.spread(network, axis, *spread, fill)?;
        }
        value.reduce(network, axis, *window, join)?;
    }
    if let Some(begin) = begin {
        value.name = join.all(network, value.element, &[value.name, begin], &value.stem)?;
    }
    value.write(network, to)
}
