//! Fourier transforms of known length, as products with a constant matrix (ONNX's operator sets 17 and 20).
//!
//! Numbers are pairs of a real and an imaginary part along the last axis; of real signals that axis has one element.

use std::f64::consts::TAU;

use super::super::build::integers_attribute;
use super::super::draft::{Draft, Site};
use crate::onnx::read_floats;

/// The most elements of a matrix.
const MOST_ELEMENTS: i64 = 1 << 24;
/// The first operator set whose `DFT` takes its axis as an input.
const AXIS_AS_INPUT: i64 = 20;

/// One transform.
struct Transform {
    /// The length of what is transformed; elements behind it do not count.
    length: i64,
    /// How many frequencies there are.
    results: i64,
    /// Whether the angles are positive and the result is divided by the length.
    inverse: bool,
}

impl Transform {
    /// How much part `from` of the element at `place` counts for part `to` of a frequency; parts are 0 and 1.
    fn weight(&self, [place, from]: [i64; 2], [frequency, to]: [i64; 2]) -> f64 {
        if place >= self.length {
            return 0.0;
        }
        // The angle is small, so that it is exact.
        let angle = TAU * (place * frequency % self.length) as f64 / self.length as f64;
        let (cosine, sine) = (libm::cos(angle), libm::sin(angle));
        let sine = if self.inverse { sine } else { -sine };
        let weight = match (from, to) {
            (0, 0) | (1, 1) => cosine,
            (0, _) => sine,
            _ => -sine,
        };
        if self.inverse { weight / self.length as f64 } else { weight }
    }
}

pub(super) fn whole(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let sizes = site.sizes(0)?;
    let last = sizes.len().checked_sub(1)?;
    let axis = match site.opset() {
        ..AXIS_AS_INPUT => site.integer("axis").unwrap_or(1),
        _ if site.input(2).is_some() => *site.constant_integers(2)?.first()?,
        _ => -2,
    };
    let axis = Site::axis(axis, sizes.len()).filter(|axis| *axis < last)?;
    let (count, parts) = (*sizes.get(axis)?, *sizes.get(last)?);
    let length = match site.input(1) {
        Some(_) => *site.constant_integers(1)?.first()?,
        None => count,
    };
    let flag = |name: &str| site.integer(name).is_some_and(|value| value != 0);
    let (inverse, onesided) = (flag("inverse"), flag("onesided"));
    // The other half of a spectrum would have to be its mirror.
    if length < 1 || !(1..=2).contains(&parts) || (inverse && onesided) || !site.facts.element(input)?.is_float() {
        return None;
    }
    let transform = Transform { length, results: if onesided { length / 2 + 1 } else { length }, inverse };
    let (rows, columns) = (count.checked_mul(parts)?, transform.results.checked_mul(2)?);
    rows.checked_mul(columns).filter(|count| *count <= MOST_ELEMENTS)?;
    let pairs = |count: i64, parts: i64| (0..count).flat_map(move |place| (0..parts).map(move |part| [place, part]));
    let weights: Vec<f64> = pairs(count, parts)
        .flat_map(|from| pairs(transform.results, 2).map(move |to| (from, to)))
        .map(|(from, to)| transform.weight(from, to))
        .collect();
    let matrix = draft.floats(&[rows, columns], &weights);
    // The axis comes before the parts.
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.swap(axis, last - 1);
    let is_before = axis == last - 1;
    let turned = if is_before { input.to_owned() } else { draft.transpose(input, &order) };
    let mut shape = sizes.clone();
    shape.swap(axis, last - 1);
    shape.truncate(last - 1);
    let flat = draft.reshape(&turned, &[&shape[..], &[rows]].concat());
    let product = draft.apply("MatMul", &[&flat, &matrix]);
    let apart = draft.reshape(&product, &[&shape[..], &[transform.results, 2]].concat());
    let result = if is_before { apart } else { draft.transpose(&apart, &order) };
    draft.yields(&result, output);
    Some(())
}

/// Transforms frames of a signal that lie a step apart, each multiplied by a window: a convolution along time.
pub(super) fn frames(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let &[batch, count, parts] = site.sizes(0)?.as_slice() else { return None };
    let step = *site.constant_integers(1)?.first().filter(|step| **step > 0)?;
    let window = match site.input(2) {
        Some(_) => Some(read_floats(site.constant(2)?).ok()?),
        None => None,
    };
    let length = match (site.input(3), &window) {
        (Some(_), _) => *site.constant_integers(3)?.first()?,
        (None, Some(window)) => i64::try_from(window.len()).ok()?,
        (None, None) => return None,
    };
    let onesided = site.integer("onesided").is_none_or(|value| value != 0);
    if !(1..=count).contains(&length) || !(1..=2).contains(&parts) || !site.facts.element(input)?.is_float() {
        return None;
    }
    let window = window.unwrap_or_else(|| vec![1.0; usize::try_from(length).unwrap_or_default()]);
    if i64::try_from(window.len()).ok()? != length {
        return None;
    }
    let transform = Transform { length, results: if onesided { length / 2 + 1 } else { length }, inverse: false };
    let columns = transform.results.checked_mul(2)?;
    columns.checked_mul(length)?.checked_mul(parts).filter(|count| *count <= MOST_ELEMENTS)?;
    let mut kernel = Vec::new();
    for column in 0..columns {
        for part in 0..parts {
            let places = (0..length).zip(&window);
            kernel.extend(
                places.map(|(place, factor)| transform.weight([place, part], [column / 2, column % 2]) * factor),
            );
        }
    }
    let kernel = draft.floats(&[columns, parts, length], &kernel);
    let channels =
        if parts == 1 { draft.reshape(input, &[batch, 1, count]) } else { draft.transpose(input, &[0, 2, 1]) };
    let attributes = vec![integers_attribute("kernel_shape", vec![length]), integers_attribute("strides", vec![step])];
    let found = draft.apply_with("Conv", &[&channels, &kernel], attributes);
    let frames = (count - length) / step + 1;
    let turned = draft.transpose(&found, &[0, 2, 1]);
    let result = draft.reshape(&turned, &[batch, frames, transform.results, 2]);
    draft.yields(&result, output);
    Some(())
}
