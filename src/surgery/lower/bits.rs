//! The bits of whole numbers, and sums of small ones that wrap around (ONNX's operator sets 11, 14 and 18).
//!
//! Neither the operator set that is read nor the device knows bits: they are computed with real numbers, where divisions by
//! powers of two are exact. Single precision holds whole numbers exactly up to 2^24, the halves of the device up to 2^11.

use super::super::draft::{Draft, Site};
use super::whole::{floating, is_whole};
use crate::onnx::{ElementType, element_count};

/// The most bits of constants: greater powers of two are no halves.
const MOST_BITS: u32 = 15;
/// The most bits that are laid out.
const MOST_PLACES: u64 = 1 << 24;

/// How many bits the elements of a small type have, and whether the last one counts below zero.
const fn small(element: ElementType) -> Option<(u32, bool)> {
    match element {
        ElementType::Int8 => Some((8, true)),
        ElementType::Uint8 => Some((8, false)),
        ElementType::Int16 => Some((16, true)),
        ElementType::Uint16 => Some((16, false)),
        _ => None,
    }
}

/// A power of two; exponents are those of bits.
fn power(exponent: i64) -> f64 {
    i32::try_from(exponent).map_or(0.0, |exponent| 2_f64.powi(exponent))
}

pub(super) fn rewrite(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (output, element) = (site.output(0)?, site.facts.element(site.input(0)?)?);
    if small(element).is_none() && !is_whole(element) {
        return None;
    }
    draft.begin(output, ElementType::Float32);
    let result = match site.node.op_type() {
        "BitShift" => moved(site, draft, element)?,
        "BitwiseNot" => {
            let value = floating(site, draft, 0)?;
            let turned = draft.unary("Neg", &value);
            let greatest = match small(element) {
                Some((bits, false)) => power(bits.into()) - 1.0,
                _ => -1.0,
            };
            draft.with_number("Add", &turned, greatest)
        }
        _ => combined(site, draft, element)?,
    };
    let result = draft.cast(&result, element);
    draft.yields(&result, output);
    Some(())
}

/// Moves bits by constant numbers of places: divisions by powers of two, rounded down, and products with them.
fn moved(site: &Site<'_>, draft: &mut Draft, element: ElementType) -> Option<String> {
    let (bits, false) = small(element)? else { return None };
    let places = integers(site, 1)?;
    let dims = site.sizes(1)?;
    let is_left = site.text("direction", "RIGHT") == "LEFT";
    let bits = i64::from(bits);
    let powers = |exponent: &dyn Fn(i64) -> i64| -> Vec<f64> {
        places.iter().map(|places| power(exponent((*places).clamp(0, bits)))).collect()
    };
    let value = floating(site, draft, 0)?;
    if !is_left {
        let factors = draft.floats(&dims, &powers(&|places| -places));
        let moved = draft.binary("Mul", &value, &factors);
        return Some(draft.unary("Floor", &moved));
    }
    // What would leave at the upper end is taken away first.
    let (whole, part) = (powers(&|places| bits - places), powers(&|places| places - bits));
    let (whole, part) = (draft.floats(&dims, &whole), draft.floats(&dims, &part));
    let rest = rest(draft, &value, &whole, &part);
    let factors = draft.floats(&dims, &powers(&|places| places));
    Some(draft.binary("Mul", &rest, &factors))
}

/// What is left of whole numbers without all multiples of `whole`, of which `part` is the inverse.
fn rest(draft: &mut Draft, value: &str, whole: &str, part: &str) -> String {
    let times = draft.binary("Mul", value, part);
    let times = draft.unary("Floor", &times);
    let taken = draft.binary("Mul", &times, whole);
    draft.binary("Sub", value, &taken)
}

/// The elements of an input that is a constant of integers of any type.
fn integers(site: &Site<'_>, place: usize) -> Option<Vec<i64>> {
    crate::onnx::Array::of(site.constant(place)?)?.to_integers()
}

/// Combines the bits of two values. With those that both have, the others follow from the sum.
fn combined(site: &Site<'_>, draft: &mut Draft, element: ElementType) -> Option<String> {
    let sizes = site.facts.sizes(site.output(0)?)?;
    let count = element_count(&sizes).filter(|count| *count > 0)?;
    let (mask, place) = match (integers(site, 0), integers(site, 1)) {
        (None, Some(mask)) => (Some(mask), 0),
        (Some(mask), None) => (Some(mask), 1),
        _ => (None, 0),
    };
    let spread = |draft: &mut Draft, value: &str, own: &[i64]| {
        let shape = draft.integers(&sizes);
        if own == sizes { value.to_owned() } else { draft.apply("Expand", &[value, &shape]) }
    };
    let value = floating(site, draft, place)?;
    let value = spread(draft, &value, &site.sizes(place)?);
    let Some(mask) = mask else {
        let (bits, is_signed) = small(element)?;
        let other = floating(site, draft, 1)?;
        let other = spread(draft, &other, &site.sizes(1)?);
        let [one, two] = [&value, &other].map(|value| bits_of(draft, value, count, bits));
        let both = draft.binary("Mul", &one?, &two?);
        let mut weights: Vec<f64> = (0..bits).map(|bit| power(bit.into())).collect();
        if let Some(sign) = weights.last_mut().filter(|_| is_signed) {
            *sign = -*sign;
        }
        let both = weighed(draft, &both, &[1, i64::from(bits)], &weights, &sizes);
        return joined(site, draft, [&value, &other, &both]);
    };
    // A mask below zero has all but few bits.
    let is_below = mask.iter().all(|mask| *mask < 0);
    let few: Vec<i64> = mask.iter().map(|mask| if is_below { !mask } else { *mask }).collect();
    let bits = small(element).map_or(MOST_BITS, |(bits, _)| bits);
    let bits = few.iter().map(|mask| i64::BITS - mask.leading_zeros()).max().filter(|found| *found <= bits)?.max(1);
    let dims = site.sizes(1 - place)?;
    let rows = match few.len() {
        1 => 1,
        _ if dims == sizes => i64::try_from(count).ok()?,
        _ => return None,
    };
    let laid = bits_of(draft, &value, count, bits)?;
    let weight = |mask: &i64, bit: u32| if mask >> bit & 1 == 1 { power(bit.into()) } else { 0.0 };
    let weights: Vec<f64> = few.iter().flat_map(|mask| (0..bits).map(move |bit| weight(mask, bit))).collect();
    let common = weighed(draft, &laid, &[rows, i64::from(bits)], &weights, &sizes);
    let numbers: Vec<f64> = mask.iter().map(|mask| *mask as f64).collect();
    let mask = draft.floats(&dims, &numbers);
    // What is common with a mask below zero is what is not common with the other.
    let common = if is_below { draft.binary("Sub", &value, &common) } else { common };
    joined(site, draft, [&value, &mask, &common])
}

/// The result of an operator, from both values and the bits that both have.
fn joined(site: &Site<'_>, draft: &mut Draft, [one, two, common]: [&str; 3]) -> Option<String> {
    let times = match site.node.op_type() {
        "BitwiseAnd" => return Some(common.to_owned()),
        "BitwiseOr" => 1.0,
        "BitwiseXor" => 2.0,
        _ => return None,
    };
    let sum = draft.binary("Add", one, two);
    let taken = if times == 1.0 { common.to_owned() } else { draft.with_number("Mul", common, times) };
    Some(draft.binary("Sub", &sum, &taken))
}

/// The bits of whole numbers, `[count, bits]`, from the lowest on.
fn bits_of(draft: &mut Draft, value: &str, count: u64, bits: u32) -> Option<String> {
    count.checked_mul(bits.into()).filter(|count| *count <= MOST_PLACES)?;
    let column = draft.reshape(value, &[i64::try_from(count).ok()?, 1]);
    let fractions: Vec<f64> = (0..bits).map(|bit| power(-i64::from(bit))).collect();
    let fractions = draft.floats(&[1, bits.into()], &fractions);
    let moved = draft.binary("Mul", &column, &fractions);
    let whole = draft.unary("Floor", &moved);
    let (two, half) = (draft.number(2.0), draft.number(0.5));
    Some(rest(draft, &whole, &two, &half))
}

/// Adds up bits, each times its weight.
fn weighed(draft: &mut Draft, bits: &str, dims: &[i64], weights: &[f64], sizes: &[i64]) -> String {
    let weights = draft.floats(dims, weights);
    let products = draft.binary("Mul", bits, &weights);
    let sums = draft.reduce("ReduceSum", &products, &[1], false);
    draft.reshape(&sums, sizes)
}

/// Adds or subtracts integers of 8 bits, which wrap around.
pub(super) fn sum(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (output, element) = (site.output(0)?, site.facts.element(site.input(0)?)?);
    let (8, is_signed) = small(element)? else { return None };
    if site.node.input.iter().all(|input| site.facts.is_constant(input)) {
        return None;
    }
    draft.begin(output, ElementType::Float32);
    let number = |draft: &mut Draft, place: usize| match integers(site, place) {
        Some(values) => {
            let values: Vec<f64> = values.into_iter().map(|value| value as f64).collect();
            Some(draft.floats(&site.sizes(place)?, &values))
        }
        None => Some(draft.cast(site.input(place)?, ElementType::Float32)),
    };
    let (left, right) = (number(draft, 0)?, number(draft, 1)?);
    let mut result = draft.binary(site.node.op_type(), &left, &right);
    if is_signed {
        result = draft.with_number("Add", &result, 128.0);
    }
    let (whole, part) = (draft.number(256.0), draft.number(1.0 / 256.0));
    result = rest(draft, &result, &whole, &part);
    if is_signed {
        result = draft.with_number("Sub", &result, 128.0);
    }
    let result = draft.cast(&result, element);
    draft.yields(&result, output);
    Some(())
}
