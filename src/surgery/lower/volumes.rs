//! Transposed convolutions of volumes, plane by plane: the compiler has them for pictures only.

use super::super::build::{integer, integers_attribute};
use super::super::draft::{Draft, Site};
use crate::onnx::element_count;

/// The longest kernel along the depth.
const DEEPEST_KERNEL: i64 = 16;

/// The most elements of what is written out, and the largest step.
const MOST_ELEMENTS: i64 = 1 << 24;

/// A transposed convolution along the depth of a volume.
struct Depth {
    length: i64,
    results: i64,
    kernel: i64,
    stride: i64,
    dilation: i64,
    before: i64,
}

impl Depth {
    /// The planes of each turn: which of the planes of the results of the kernel's layers, one layer behind the other, is
    /// added to each plane of the result; `none` where there is none.
    fn turns(&self, none: i64) -> Vec<Vec<i64>> {
        let parts = |result: i64| {
            let from = move |layer: i64| (layer, result + self.before - layer * self.dilation);
            let hits = (0..self.kernel).map(from).filter(|(_, from)| from.rem_euclid(self.stride) == 0);
            let planes = hits.map(|(layer, from)| (layer, from / self.stride, from));
            let inside = planes.filter(|(_, plane, from)| *from >= 0 && *plane < self.length);
            inside.map(|(layer, plane, _)| layer * self.length + plane).collect::<Vec<_>>()
        };
        let parts: Vec<Vec<i64>> = (0..self.results).map(parts).collect();
        let most = parts.iter().map(Vec::len).max().unwrap_or_default();
        let turn = |turn: usize| parts.iter().map(|parts| parts.get(turn).copied().unwrap_or(none)).collect();
        (0..most).map(turn).collect()
    }
}

/// Convolves all planes with each layer of the kernel, and adds up what comes to lie in the same plane.
pub(super) fn transposed(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, weights, output) = (site.input(0)?, site.input(1)?, site.output(0)?);
    let (sizes, shape, results) = (site.sizes(0)?, site.sizes(1)?, site.facts.sizes(output)?);
    let &[batch, channels, length, height, width] = sizes.as_slice() else { return None };
    let &[_, members, layers, kernel_height, kernel_width] = shape.as_slice() else { return None };
    let &[_, made, planes, made_height, made_width] = results.as_slice() else { return None };
    let is_explicit = matches!(&*site.text("auto_pad", "NOTSET"), "NOTSET" | "VALID");
    if !is_explicit || site.attribute("output_shape").is_some() || !(1..=DEEPEST_KERNEL).contains(&layers) {
        return None;
    }
    let of = |name: &str, value: i64, count: usize| site.integers(name).map_or(vec![value; count], <[i64]>::to_vec);
    let &[stride, stride_height, stride_width] = of("strides", 1, 3).as_slice() else { return None };
    let &[dilation, dilation_height, dilation_width] = of("dilations", 1, 3).as_slice() else { return None };
    let &[_, more_height, more_width] = of("output_padding", 0, 3).as_slice() else { return None };
    let &[before, top, left, _, bottom, right] = of("pads", 0, 6).as_slice() else { return None };
    let is_small = |size: &i64| (0..=MOST_ELEMENTS).contains(size);
    let are_small = [stride, dilation, length, planes, before].iter().all(is_small);
    if stride < 1 || dilation < 1 || length < 1 || !are_small || planes * layers > MOST_ELEMENTS {
        return None;
    }
    let group = site.integer("group").unwrap_or(1);
    let attributes = vec![
        integers_attribute("kernel_shape", vec![kernel_height, kernel_width]),
        integers_attribute("strides", vec![stride_height, stride_width]),
        integers_attribute("dilations", vec![dilation_height, dilation_width]),
        integers_attribute("output_padding", vec![more_height, more_width]),
        integers_attribute("pads", vec![top, left, bottom, right]),
        integer("group", group),
    ];
    let area = |height: i64, width: i64| element_count(&[height, width]).and_then(|count| i64::try_from(count).ok());
    let (area, made_area) = (area(height, width)?, area(made_height, made_width)?);
    // Planes become members of the batch.
    let flat = draft.reshape(input, &[batch, channels, length, area]);
    let turned = draft.transpose(&flat, &[2, 0, 1, 3]);
    let pictures = draft.reshape(&turned, &[length.checked_mul(batch)?, channels, height, width]);
    let plane = [length, batch.checked_mul(made)?, made_area];
    let parts: Vec<String> = (0..layers)
        .map(|layer| {
            let cut = draft.slice(weights, &[2], &[layer], &[layer + 1]);
            let kernel = draft.reshape(&cut, &[channels, members, kernel_height, kernel_width]);
            let result = draft.apply_with("ConvTranspose", &[&pictures, &kernel], attributes.clone());
            draft.reshape(&result, &plane)
        })
        .collect();
    let depth = Depth { length, results: planes, kernel: layers, stride, dilation, before };
    let none = layers.checked_mul(length)?;
    let turns = depth.turns(none);
    let mut parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let empty;
    if turns.iter().flatten().any(|place| *place == none) {
        // Planes that nothing is added to.
        let dims = [1, batch.checked_mul(made)?, made_area];
        let count = i64::try_from(element_count(&dims)?).ok().filter(|count| *count <= MOST_ELEMENTS)?;
        empty = draft.floats(&dims, &vec![0.0; usize::try_from(count).ok()?]);
        parts.push(&empty);
    }
    let all = draft.concat(&parts, 0);
    let chosen: Vec<String> = turns.iter().map(|turn| draft.gather(&all, 0, turn)).collect();
    let sum = chosen.into_iter().reduce(|sum, part| draft.binary("Add", &sum, &part))?;
    let apart = draft.reshape(&sum, &[planes, batch, made, made_area]);
    let mut result = draft.transpose(&apart, &[1, 2, 0, 3]);
    if let Some(shift) = site.input(2) {
        let shift = draft.reshape(shift, &[1, made, 1, 1]);
        result = draft.binary("Add", &result, &shift);
    }
    let result = draft.reshape(&result, &results);
    draft.yields(&result, output);
    Some(())
}
