//! `RoiAlign` with regions that may be smaller than an element (ONNX's operator set 16: `half_pixel`).
//!
//! An element of the result is the mean of samples between the elements of the data. How much each row of the data counts
//! for it depends on nothing but the rows of the region, and likewise each column, so the whole is two products.

use super::super::draft::{Draft, Site};
use super::comparisons::magnitude;
use crate::onnx::element_count;

/// The first operator set in which regions are not widened to an element.
const HALF_PIXEL: i64 = 16;
/// The most samples of an element of the result along an axis.
const MOST_SAMPLES: i64 = 1 << 12;
/// The farthest place of a region.
const FARTHEST: i64 = 1 << 24;
/// The most pieces of which maxima are taken.
const MOST_PIECES: i64 = 1 << 10;
/// The most numbers that say how much rows or columns count.
const MOST_WEIGHTS: i64 = 1 << 24;

/// One axis of the data and of the result.
struct Axis {
    /// The elements of the data and of the result.
    length: i64,
    results: i64,
    /// The places of the beginning and the end of the axis in a region.
    ends: [usize; 2],
}

pub(super) fn rewrite(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, regions, output) = (site.input(0)?, site.input(1)?, site.output(0)?);
    let samples = site.integer("sampling_ratio").unwrap_or(0);
    let is_half = site.opset() >= HALF_PIXEL
        && site.text("coordinate_transformation_mode", "half_pixel") == "half_pixel"
        && site.text("mode", "avg") == "avg";
    // With one batch, it is the batch of all regions.
    let &[1, channels, rows, columns] = site.sizes(0)?.as_slice() else { return None };
    let &[count, 4] = site.sizes(1)?.as_slice() else { return None };
    if !is_half || !site.facts.element(input)?.is_float() || !site.facts.element(regions)?.is_float() {
        return None;
    }
    let (height, width) = (site.integer("output_height").unwrap_or(1), site.integer("output_width").unwrap_or(1));
    let scale = site.float("spatial_scale", 1.0);
    let vertical = Axis { length: rows, results: height, ends: [1, 3] };
    let horizontal = Axis { length: columns, results: width, ends: [0, 2] };
    let mut weights = |axis: &Axis| match site.facts.floats(regions) {
        Some(known) => axis.known_weights(draft, &known, samples, scale),
        None => axis.weights(draft, regions, count, samples, scale),
    };
    let (by_row, by_column) = (weights(&vertical)?, weights(&horizontal)?);
    // Rows first: `[regions * height, rows]` by `[rows, channels * columns]`.
    let apart = draft.reshape(input, &[channels, rows, columns]);
    let apart = draft.transpose(&apart, &[1, 0, 2]);
    let apart = draft.reshape(&apart, &[rows, channels.checked_mul(columns)?]);
    let by_row = draft.reshape(&by_row, &[count.checked_mul(height)?, rows]);
    let found = draft.apply("MatMul", &[&by_row, &apart]);
    // Then columns: `[regions, height * channels, columns]` by `[regions, columns, width]`.
    let found = draft.reshape(&found, &[count, height.checked_mul(channels)?, columns]);
    let turned = draft.transpose(&by_column, &[0, 2, 1]);
    let found = draft.apply("MatMul", &[&found, &turned]);
    let found = draft.reshape(&found, &[count, height, channels, width]);
    let result = draft.transpose(&found, &[0, 2, 1, 3]);
    draft.yields(&result, output);
    Some(())
}

/// Takes the maxima of regions that are constants (`MaxRoiPool`), of rows first and then of columns.
pub(super) fn maxima(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let &[1, _, rows, columns] = site.sizes(0)?.as_slice() else { return None };
    let &[height, width] = site.integers("pooled_shape")? else { return None };
    let regions = site.facts.floats(site.input(1)?)?;
    let pieces = height.checked_add(width)?.checked_mul(i64::try_from(regions.len() / 5).ok()?)?;
    if height < 1 || width < 1 || pieces > MOST_PIECES {
        return None;
    }
    let scale = site.float("spatial_scale", 1.0) as f32;
    let mut found = Vec::new();
    for region in regions.chunks_exact(5) {
        let at = |place: usize| {
            let at = (*region.get(place)? as f32 * scale).round() as i64;
            (-FARTHEST..=FARTHEST).contains(&at).then_some(at)
        };
        let down = pieces_of(at(2)?, at(4)?, height, rows)?;
        let right = pieces_of(at(1)?, at(3)?, width, columns)?;
        let lines = greatest(draft, input, 2, &down);
        found.push(greatest(draft, &lines, 3, &right));
    }
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    let result = if let [one] = found.as_slice() { draft.unary("Identity", one) } else { draft.concat(&found, 0) };
    draft.yields(&result, output);
    Some(())
}

/// Where each piece of a region begins and ends, along an axis of some length; `None` if one has nothing in it.
fn pieces_of(first: i64, last: i64, count: i64, length: i64) -> Option<Vec<(i64, i64)>> {
    let size = (last - first + 1).max(1) as f32 / count as f32;
    let piece = |piece: i64| {
        let (start, end) = ((piece as f32 * size).floor() as i64, ((piece + 1) as f32 * size).ceil() as i64);
        let (start, end) = ((start + first).clamp(0, length), (end + first).clamp(0, length));
        (start < end).then_some((start, end))
    };
    (0..count).map(piece).collect()
}

/// The maxima of pieces along an axis.
fn greatest(draft: &mut Draft, value: &str, axis: usize, pieces: &[(i64, i64)]) -> String {
    let greatest = |&(start, end): &(i64, i64)| {
        let part = draft.slice(value, &[axis as i64], &[start], &[end]);
        draft.reduce("ReduceMax", &part, &[axis], true)
    };
    let found: Vec<String> = pieces.iter().map(greatest).collect();
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    if let [one] = found.as_slice() { (*one).to_owned() } else { draft.concat(&found, axis) }
}

impl Axis {
    /// The weights of regions that are constants.
    fn known_weights(&self, draft: &mut Draft, regions: &[f64], samples: i64, scale: f64) -> Option<String> {
        let count = i64::try_from(regions.len() / 4).ok()?;
        let dims = [count, self.results, self.length];
        let all = usize::try_from(element_count(&dims)?).ok()?;
        if self.length < 1 || self.results < 1 || all > MOST_WEIGHTS as usize {
            return None;
        }
        let mut weights = vec![0.0; all];
        let mut rows = weights.chunks_mut(usize::try_from(self.length).ok()?);
        let last = (self.length - 1) as f64;
        for region in regions.chunks_exact(4) {
            let [start, end] = self.ends.map(|end| region.get(end).map(|place| place * scale - 0.5));
            let (start, size) = (start?, (end? - start?) / self.results as f64);
            // Without a number of samples, it is the size, rounded up.
            let samples = if samples > 0 { samples } else { size.ceil() as i64 };
            if samples > MOST_SAMPLES || samples.checked_mul(count)?.checked_mul(self.results)? > MOST_WEIGHTS {
                return None;
            }
            for result in 0..self.results {
                let row = rows.next()?;
                for sample in 0..samples {
                    let part = (sample as f64 + 0.5) / samples as f64;
                    let at = start + (result as f64 + part) * size;
                    // What is more than an element outside does not count, what is less is taken for the border.
                    if !(-1.0..=self.length as f64).contains(&at) {
                        continue;
                    }
                    let at = at.clamp(0.0, last);
                    let (below, rest) = (at.floor(), at.fract());
                    for (place, share) in [(below, 1.0 - rest), ((below + 1.0).min(last), rest)] {
                        *row.get_mut(place as usize)? += share / samples as f64;
                    }
                }
            }
        }
        Some(draft.floats(&dims, &weights))
    }

    /// How much each element of the data counts for each of the result, `[regions, results, length]`.
    fn weights(&self, draft: &mut Draft, regions: &str, count: i64, samples: i64, scale: f64) -> Option<String> {
        // Without a number of samples, it follows from the size of each region.
        let places = self.results.checked_mul(samples).filter(|places| *places > 0)?;
        let all = count.checked_mul(places)?.checked_mul(self.length)?;
        if self.length < 1 || all > MOST_WEIGHTS {
            return None;
        }
        // A sample lies in the middle of its part of the region.
        let part = |place: i64| (place as f64 + 0.5) / places as f64;
        let [first, last] = self.ends;
        let mut matrix = Vec::new();
        for end in 0..4 {
            matrix.extend((0..places).map(|place| match end {
                end if end == first => scale * (1.0 - part(place)),
                end if end == last => scale * part(place),
                _ => 0.0,
            }));
        }
        let matrix = draft.floats(&[4, places], &matrix);
        let spread = draft.apply("MatMul", &[regions, &matrix]);
        let at = draft.with_number("Sub", &spread, 0.5);
        // What is more than an element outside does not count, what is less is taken for the border.
        let (zero, one) = (draft.number(0.0), draft.number(1.0));
        let (least, most) = (draft.number(-1.0), draft.number(self.length as f64));
        let (below, above) = (draft.binary("Less", &at, &least), draft.binary("Greater", &at, &most));
        let counts = draft.apply("Where", &[&below, &zero, &one]);
        let counts = draft.apply("Where", &[&above, &zero, &counts]);
        let at = draft.clip(&at, [0.0, (self.length - 1) as f64]);
        let at = draft.reshape(&at, &[count, places, 1]);
        let elements: Vec<f64> = (0..self.length).map(|element| element as f64).collect();
        let elements = draft.floats(&[1, 1, self.length], &elements);
        let distance = draft.binary("Sub", &at, &elements);
        let distance = magnitude(draft, &distance);
        let near = draft.binary("Sub", &one, &distance);
        let near = draft.apply("Max", &[&near, &zero]);
        let counts = draft.reshape(&counts, &[count, places, 1]);
        let weights = draft.binary("Mul", &near, &counts);
        if samples == 1 {
            return Some(weights);
        }
        let apart = draft.reshape(&weights, &[count.checked_mul(self.results)?, samples, self.length]);
        let means = draft.reduce("ReduceMean", &apart, &[1], false);
        Some(draft.reshape(&means, &[count, self.results, self.length]))
    }
}
