//! Sampling at places that the network itself computes: `GridSample` and `AffineGrid` (ONNX's operator sets 16 to 22).
//!
//! The elements around each place are looked up and weighed. A place has an index for each axis and not one for all, so
//! that the halves of the device tell neighbours apart in pictures of up to 2048 rows and columns.

use super::super::draft::{Draft, Site};
use super::comparisons::magnitude;
use crate::onnx::ElementType;
use crate::onnx::element_count;

/// What is outside of the data.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outside {
    Zeros,
    Border,
    Reflection,
}

/// How an element between others is computed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Linear,
    Nearest,
    Cubic,
}

/// The parameter of the cubic kernel.
const BEND: f64 = -0.75;

/// The most places that are written as a constant.
const MOST_PLACES: i64 = 1 << 24;

/// Elements along one axis, one for each place: their indices, and what each counts.
#[derive(Clone)]
struct Tap {
    index: String,
    /// `None` counts fully.
    weight: Option<String>,
}

/// One axis of the data.
struct Axis {
    length: i64,
    /// Whether -1 and 1 are the middles of the outer elements, and not their outer ends.
    aligned: bool,
    mode: Mode,
    outside: Outside,
}

/// Writes the places that a linear transformation takes the elements of a picture to as a product with it.
pub(super) fn places(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (transformation, output) = (site.input(0)?, site.output(0)?);
    let sizes = site.constant_integers(1)?;
    let (&[batch, _], lengths) = sizes.split_first_chunk()?;
    let aligned = site.integer("align_corners") == Some(1);
    let count = i64::try_from(element_count(lengths)?).ok().filter(|count| *count <= MOST_PLACES)?;
    let width = lengths.len() as i64 + 1;
    let mut rows = Vec::new();
    for place in 0..count {
        let mut rest = place;
        // Places begin with the last axis, and end with 1 for what is added.
        for &length in lengths.iter().rev() {
            let at = (rest % length) as f64;
            rest /= length;
            rows.push(match length {
                1 => 0.0,
                _ if aligned => 2.0 * at / (length - 1) as f64 - 1.0,
                _ => (2.0 * at + 1.0) / length as f64 - 1.0,
            });
        }
        rows.push(1.0);
    }
    let rows = draft.floats(&[1, count, width], &rows);
    let turned = draft.transpose(transformation, &[0, 2, 1]);
    let product = draft.apply("MatMul", &[&rows, &turned]);
    let result = draft.reshape(&product, &[&[batch], lengths, &[width - 1]].concat());
    draft.yields(&result, output);
    Some(())
}

pub(super) fn rewrite(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, grid, output) = (site.input(0)?, site.input(1)?, site.output(0)?);
    let mode = match &*site.text("mode", "bilinear") {
        "bilinear" | "linear" => Mode::Linear,
        "nearest" => Mode::Nearest,
        "bicubic" | "cubic" => Mode::Cubic,
        _ => return None,
    };
    let outside = match &*site.text("padding_mode", "zeros") {
        "zeros" => Outside::Zeros,
        "border" => Outside::Border,
        "reflection" => Outside::Reflection,
        _ => return None,
    };
    let aligned = site.integer("align_corners") == Some(1);
    let (sizes, places) = (site.sizes(0)?, site.sizes(1)?);
    let (&[batch, channels], lengths) = sizes.split_first_chunk()?;
    let (_, inner) = places.split_last()?;
    let rows = element_count(inner).and_then(|count| i64::try_from(count).ok())?;
    let is_float = |name: &str| site.facts.element(name).is_some_and(ElementType::is_float);
    if places.len() != sizes.len() || !is_float(input) || !is_float(grid) || lengths.contains(&0) {
        return None;
    }
    let each = rows.checked_div(batch).filter(|each| *each > 0)?;
    let element = site.facts.element(input)?;
    let is_alike = site.facts.element(grid) == Some(element);
    let grid = if is_alike { grid.to_owned() } else { draft.cast(grid, element) };
    let flat = draft.reshape(&grid, &[rows, lengths.len() as i64]);
    let mut columns = draft.split(&flat, 1, &vec![1; lengths.len()]);
    // Places begin with the last axis.
    columns.reverse();
    let axis = |length: i64| Axis { length, aligned, mode, outside };
    let axes = lengths.iter().map(|length| axis(*length));
    let taps: Vec<Vec<Tap>> = axes.zip(&columns).map(|(axis, column)| axis.taps(draft, column)).collect();
    let last = sizes.len() - 1;
    let data = elements_last(draft, input, batch, channels, lengths);
    let found = looked_up(draft, &data, batch, each, taps)?;
    let apart = draft.reshape(&found, &[inner, &[channels]].concat());
    let order: Vec<usize> = [0, last].into_iter().chain(1..last).collect();
    let result = draft.transpose(&apart, &order);
    draft.yields(&result, output);
    Some(())
}

/// What a picture of one batch, with nothing around it, has between its elements: `[places, channels]`, at indices of rows
/// and of columns, `[places, 1]` each.
pub(super) fn between(
    draft: &mut Draft,
    input: &str,
    channels: i64,
    lengths: [i64; 2],
    at: &[String],
) -> Option<String> {
    let axis = |length: i64| Axis { length, aligned: true, mode: Mode::Linear, outside: Outside::Zeros };
    let axes = lengths.map(axis);
    let taps: Vec<Vec<Tap>> = axes.iter().zip(at).map(|(axis, at)| axis.taps_at(draft, at)).collect();
    let data = elements_last(draft, input, 1, channels, &lengths);
    looked_up(draft, &data, 1, 1, taps)
}

/// Brings the channels of a value behind its places; a single batch goes.
fn elements_last(draft: &mut Draft, input: &str, batch: i64, channels: i64, lengths: &[i64]) -> String {
    let first: &[i64] = if batch == 1 { &[] } else { &[batch] };
    let apart = draft.reshape(input, &[first, &[channels], lengths].concat());
    let (from, end) = (first.len(), first.len() + lengths.len());
    let order: Vec<usize> = (0..from).chain(from + 1..=end).chain([from]).collect();
    draft.transpose(&apart, &order)
}

/// Adds up what each combination of elements counts, for `each` places in each of `batch` values.
fn looked_up(draft: &mut Draft, data: &str, batch: i64, each: i64, taps: Vec<Vec<Tap>>) -> Option<String> {
    let rows = batch.checked_mul(each)?;
    let first: Vec<f64> = (0..rows).map(|row| (row / each) as f64).collect();
    let first = (batch != 1).then(|| draft.floats(&[rows, 1], &first));
    let mut chosen: Vec<Vec<Tap>> = vec![Vec::new()];
    for taps in taps {
        let with = |before: &Vec<Tap>| {
            let longer = |tap: &Tap| before.iter().chain([tap]).cloned().collect();
            taps.iter().map(longer).collect::<Vec<Vec<Tap>>>()
        };
        chosen = chosen.iter().flat_map(with).collect();
    }
    let mut sum: Option<String> = None;
    for taps in chosen {
        let indices: Vec<&str> =
            first.as_deref().into_iter().chain(taps.iter().map(|tap| tap.index.as_str())).collect();
        let indices = draft.concat(&indices, 1);
        let indices = draft.cast(&indices, ElementType::Int64);
        let found = draft.apply("GatherND", &[data, &indices]);
        let weights = taps.into_iter().filter_map(|tap| tap.weight);
        let weight = weights.reduce(|product, weight| draft.binary("Mul", &product, &weight));
        let weighed = weight.map_or(found.clone(), |weight| draft.binary("Mul", &found, &weight));
        sum = Some(sum.map_or(weighed.clone(), |sum| draft.binary("Add", &sum, &weighed)));
    }
    sum
}

impl Axis {
    fn last(&self) -> f64 {
        (self.length - 1) as f64
    }

    /// The elements that count at each place from -1 to 1, as columns.
    fn taps(&self, draft: &mut Draft, places: &str) -> Vec<Tap> {
        let at = self.coordinate(draft, places);
        self.taps_at(draft, &at)
    }

    /// The elements that count at each place that is given as an index between elements, as columns.
    fn taps_at(&self, draft: &mut Draft, at: &str) -> Vec<Tap> {
        if self.mode == Mode::Nearest {
            let at = rounded(draft, at);
            return vec![self.tap(draft, &at, None)];
        }
        let below = draft.unary("Floor", at);
        let part = draft.binary("Sub", at, &below);
        let shifts: &[f64] = if self.mode == Mode::Cubic { &[-1.0, 0.0, 1.0, 2.0] } else { &[0.0, 1.0] };
        let tap = |shift: &f64| {
            let index = if *shift == 0.0 { below.clone() } else { draft.with_number("Add", &below, *shift) };
            let weight = if self.mode == Mode::Cubic {
                cubic(draft, &part, *shift)
            } else if *shift == 0.0 {
                let one = draft.number(1.0);
                draft.binary("Sub", &one, &part)
            } else {
                part.clone()
            };
            self.tap(draft, &index, Some(weight))
        };
        shifts.iter().map(tap).collect()
    }

    /// An element by its index, which may be outside.
    fn tap(&self, draft: &mut Draft, index: &str, weight: Option<String>) -> Tap {
        let inside = draft.clip(index, [0.0, self.last()]);
        if self.outside == Outside::Reflection {
            let index = self.reflected(draft, index);
            // Rounding may have left it a little outside.
            return Tap { index: draft.clip(&index, [0.0, self.last()]), weight };
        }
        if self.outside == Outside::Border {
            return Tap { index: inside, weight };
        }
        // What is outside does not count. Indices are whole, so it is at least 1 away.
        let distance = draft.binary("Sub", index, &inside);
        let distance = magnitude(draft, &distance);
        let one = draft.number(1.0);
        let missing = draft.apply("Min", &[&distance, &one]);
        let counts = draft.binary("Sub", &one, &missing);
        let weight = match weight {
            Some(weight) => draft.binary("Mul", &weight, &counts),
            None => counts,
        };
        Tap { index: inside, weight: Some(weight) }
    }

    /// From -1 to 1 to indices.
    fn coordinate(&self, draft: &mut Draft, places: &str) -> String {
        let (factor, middle) = ((self.length - i64::from(self.aligned)) as f64 / 2.0, self.last() / 2.0);
        let spread = draft.with_number("Mul", places, factor);
        draft.with_number("Add", &spread, middle)
    }

    /// Reflects at the middles of the outer elements, or at their outer ends.
    fn reflected(&self, draft: &mut Draft, at: &str) -> String {
        let margin = if self.aligned { 0.0 } else { 0.5 };
        let range = self.last() + 2.0 * margin;
        if range == 0.0 {
            return draft.with_number("Mul", at, 0.0);
        }
        let from_first = draft.with_number("Add", at, margin);
        let times = draft.with_number("Mul", &from_first, 0.5 / range);
        let times = draft.unary("Floor", &times);
        let back = draft.with_number("Mul", &times, 2.0 * range);
        let around = draft.binary("Sub", &from_first, &back);
        let from_turn = draft.with_number("Sub", &around, range);
        let distance = magnitude(draft, &from_turn);
        let end = draft.number(range - margin);
        draft.binary("Sub", &end, &distance)
    }
}

/// Rounds to the nearest whole number, and from the middle to the even one.
fn rounded(draft: &mut Draft, at: &str) -> String {
    let raised = draft.with_number("Add", at, 0.5);
    let above = draft.unary("Floor", &raised);
    let is_middle = draft.binary("Equal", &raised, &above);
    let half = draft.with_number("Mul", &above, 0.5);
    let half = draft.unary("Floor", &half);
    let even = draft.with_number("Mul", &half, 2.0);
    draft.apply("Where", &[&is_middle, &even, &above])
}

/// What an element counts at a place that is `part` behind the element before it.
fn cubic(draft: &mut Draft, part: &str, shift: f64) -> String {
    // From the element to the place.
    let distance = draft.with_number("Sub", part, shift);
    let distance = if shift > 0.0 { draft.unary("Neg", &distance) } else { distance };
    let factors = if (0.0..=1.0).contains(&shift) {
        [1.0, 0.0, -(BEND + 3.0), BEND + 2.0]
    } else {
        [-4.0 * BEND, 8.0 * BEND, -5.0 * BEND, BEND]
    };
    draft.series(&distance, &factors)
}
