//! `Resize`, as a product with a matrix for each axis where the compiler has no layer for it.
//!
//! Every mode is linear in the data: each element of the result is a weighted sum of elements along each axis, and the
//! weights follow from sizes alone. Follows the definition of `Resize` in ONNX's operator set 19.

use super::super::draft::{Draft, Site};
use crate::onnx::{element_count, read_floats};

/// The sizes of a resizing.
pub(super) struct Plan {
    /// The sizes of the result.
    pub(super) sizes: Vec<i64>,
    /// What was asked for, for all axes; `None` if sizes were.
    pub(super) given_scales: Option<Vec<f64>>,
    /// The scale that coordinates are computed with.
    scales: Vec<f64>,
    /// Begin and end of the region, for all axes.
    regions: Vec<[f64; 2]>,
}

impl Plan {
    /// Reads the attributes and inputs of a `Resize`.
    pub(super) fn of(site: &Site<'_>) -> Option<Self> {
        let old = site.sizes(0)?;
        let rank = old.len();
        let axes = match site.integers("axes") {
            Some(axes) => axes.iter().map(|axis| Site::axis(*axis, rank)).collect::<Option<Vec<_>>>()?,
            None => (0..rank).collect(),
        };
        let floats = |place: usize| read_floats(site.constant(place)?).ok().filter(|values| !values.is_empty());
        let mut regions = vec![[0.0, 1.0]; rank];
        if let Some(given) = floats(1).filter(|given| given.len() == 2 * axes.len()) {
            let (begins, ends) = given.split_at(axes.len());
            for ((axis, begin), end) in axes.iter().zip(begins).zip(ends) {
                *regions.get_mut(*axis)? = [*begin, *end];
            }
        }
        let mut sizes = old.clone();
        if let Some(given) = site.constant_integers(3).filter(|given| given.len() == axes.len()) {
            let ratios = axes.iter().zip(&given).map(|(axis, size)| Some(*size as f64 / *old.get(*axis)? as f64));
            let ratios = ratios.collect::<Option<Vec<f64>>>()?;
            let common = match &*site.text("keep_aspect_ratio_policy", "stretch") {
                "not_larger" => Some(ratios.iter().copied().fold(f64::INFINITY, f64::min)),
                "not_smaller" => Some(ratios.iter().copied().fold(0.0, f64::max)),
                _ => None,
            };
            let mut scales = vec![1.0; rank];
            for ((axis, size), ratio) in axes.iter().zip(&given).zip(&ratios) {
                let before = *old.get(*axis)? as f64;
                let size = common.map_or(*size, |scale| (scale * before + 0.5).floor() as i64);
                *sizes.get_mut(*axis)? = size;
                *scales.get_mut(*axis)? = common.unwrap_or(*ratio);
                if common.is_some() {
                    *scales.get_mut(*axis)? = size as f64 / before;
                }
            }
            return Some(Self { sizes, given_scales: None, scales, regions });
        }
        let given = floats(2).filter(|given| given.len() == axes.len())?;
        let mut scales = vec![1.0; rank];
        for (axis, scale) in axes.iter().zip(&given) {
            *scales.get_mut(*axis)? = *scale;
            *sizes.get_mut(*axis)? = (*old.get(*axis)? as f64 * scale).floor() as i64;
        }
        Some(Self { sizes, given_scales: Some(scales.clone()), scales, regions })
    }
}

/// How one axis is sampled.
struct Sampling<'a> {
    mode: &'a str,
    coordinates: &'a str,
    nearest: &'a str,
    antialias: bool,
    exclude_outside: bool,
    /// The parameter of the cubic kernel.
    bend: f64,
}

/// The most axes of what the compiler resizes.
const FLAT_RANK: usize = 4;
/// The largest matrix of weights, in elements.
const LARGEST_MATRIX: i64 = 1 << 24;

pub(super) fn rewrite(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let (mode, coordinates) = (site.text("mode", "nearest"), site.text("coordinate_transformation_mode", "half_pixel"));
    let antialias = site.integer("antialias") == Some(1);
    let is_flat = site.rank(0)? <= FLAT_RANK;
    let is_taken = is_flat
        && mode != "cubic"
        && !antialias
        // What is made of constants is computed now: the compiler does not survive it.
        && site.varies(input)
        && !matches!(&*coordinates, "half_pixel_symmetric" | "tf_crop_and_resize");
    if is_taken || site.opset() < 11 || !site.facts.element(input)?.is_float() {
        return None;
    }
    if coordinates == "tf_crop_and_resize" && site.float("extrapolation_value", 0.0) != 0.0 {
        return None;
    }
    let (old, plan) = (site.sizes(0)?, Plan::of(site)?);
    let nearest = site.text("nearest_mode", "round_prefer_floor");
    let sampling = Sampling {
        mode: &mode,
        coordinates: &coordinates,
        nearest: &nearest,
        antialias,
        exclude_outside: site.integer("exclude_outside") == Some(1),
        bend: site.float("cubic_coeff_a", -0.75),
    };
    let rank = old.len();
    let mut sizes = old.clone();
    let mut result = input.to_owned();
    for axis in 0..rank {
        let (from, to, scale) = (*old.get(axis)?, *plan.sizes.get(axis)?, *plan.scales.get(axis)?);
        let region = *plan.regions.get(axis)?;
        if from == to && scale == 1.0 && (coordinates != "tf_crop_and_resize" || region == [0.0, 1.0]) {
            continue;
        }
        if from < 1 || to < 1 || from.checked_mul(to)? > LARGEST_MATRIX {
            return None;
        }
        let weights: Vec<f64> = (0..to).flat_map(|place| sampling.weights(place, from, to, scale, region)).collect();
        // The last axis is multiplied from the right, any other one is brought before the last and multiplied from the
        // left.
        let columns = |weights: &[f64]| -> Vec<f64> {
            let (from, to) = (from as usize, to as usize);
            (0..from * to).filter_map(|at| weights.get(at % to * from + at / to).copied()).collect()
        };
        if !is_flat {
            let (before, behind) = sizes.split_at_checked(axis)?;
            let count = |sizes: &[i64]| element_count(sizes).and_then(|count| i64::try_from(count).ok());
            let apart = draft.reshape(&result, &[count(before)?, from, count(behind.get(1..)?)?]);
            let matrix = draft.floats(&[1, to, from], &weights);
            let product = draft.apply("MatMul", &[&matrix, &apart]);
            *sizes.get_mut(axis)? = to;
            result = draft.reshape(&product, &sizes);
        } else if axis + 1 == rank {
            let matrix = draft.floats(&[from, to], &columns(&weights));
            result = draft.apply("MatMul", &[&result, &matrix]);
        } else {
            let matrix = draft.floats(&[to, from], &weights);
            let mut order: Vec<usize> = (0..rank).collect();
            order.swap(axis, rank - 2);
            let turn = axis + 2 != rank;
            let turned = if turn { draft.transpose(&result, &order) } else { result };
            let product = draft.apply("MatMul", &[&matrix, &turned]);
            result = if turn { draft.transpose(&product, &order) } else { product };
        }
    }
    draft.yields(&result, output);
    Some(())
}

impl Sampling<'_> {
    /// The weights of the elements along an axis in element `place` of the result.
    fn weights(&self, place: i64, from: i64, to: i64, scale: f64, region: [f64; 2]) -> Vec<f64> {
        let last = from - 1;
        let mut row = vec![0.0; usize::try_from(from).unwrap_or_default()];
        let at = self.coordinate(place, from, to, scale, region);
        if self.coordinates == "tf_crop_and_resize" && (at < 0.0 || at > last as f64) {
            return row;
        }
        let stretch = if self.antialias { scale.min(1.0) } else { 1.0 };
        let mut taps: Vec<(i64, f64)> = match self.mode {
            "nearest" => vec![(self.rounded(at).clamp(0, last), 1.0)],
            mode => {
                let reach = if mode == "cubic" { 2.0 } else { 1.0 } / stretch;
                let (first, end) = ((at - reach).floor() as i64, (at + reach).ceil() as i64);
                let kernel = |distance: f64| if mode == "cubic" { self.cubic(distance) } else { linear(distance) };
                (first..=end).map(|tap| (tap, kernel((tap as f64 - at) * stretch))).collect()
            }
        };
        if self.exclude_outside {
            taps.retain(|(tap, _)| (0..from).contains(tap));
        }
        let sum: f64 = taps.iter().map(|(_, weight)| weight).sum();
        for (tap, weight) in taps {
            if let Some(slot) = usize::try_from(tap.clamp(0, last)).ok().and_then(|tap| row.get_mut(tap)) {
                *slot += if sum == 0.0 { weight } else { weight / sum };
            }
        }
        row
    }

    fn coordinate(&self, place: i64, from: i64, to: i64, scale: f64, [begin, end]: [f64; 2]) -> f64 {
        let (at, length, target) = (place as f64, from as f64, to as f64);
        match self.coordinates {
            "asymmetric" => at / scale,
            "align_corners" if to > 1 => at * (length - 1.0) / (target - 1.0),
            "align_corners" => 0.0,
            "pytorch_half_pixel" if to <= 1 => 0.0,
            "half_pixel_symmetric" => {
                let adjustment = target / (scale * length);
                let offset = length / 2.0 * (1.0 - adjustment);
                offset + (at + 0.5) / scale - 0.5
            }
            "tf_crop_and_resize" if to > 1 => {
                begin * (length - 1.0) + at * (end - begin) * (length - 1.0) / (target - 1.0)
            }
            "tf_crop_and_resize" => 0.5 * (begin + end) * (length - 1.0),
            _ => (at + 0.5) / scale - 0.5,
        }
    }

    fn rounded(&self, at: f64) -> i64 {
        (match self.nearest {
            "floor" => at.floor(),
            "ceil" => at.ceil(),
            "round_prefer_ceil" => (at + 0.5).floor(),
            _ => (at - 0.5).ceil(),
        }) as i64
    }

    fn cubic(&self, distance: f64) -> f64 {
        let (x, a) = (distance.abs(), self.bend);
        if x <= 1.0 {
            ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
        } else if x < 2.0 {
            ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
        } else {
            0.0
        }
    }
}

fn linear(distance: f64) -> f64 {
    (1.0 - distance.abs()).max(0.0)
}
