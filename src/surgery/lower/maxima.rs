//! The maximum of windows whose elements lie apart, or whose place is asked for.

use super::super::draft::{Draft, Site};
use super::pooling::Window;
use crate::onnx::{element_count, is_onnx_domain};

/// The first operator set whose `Slice` has steps.
const STEPS: i64 = 10;
/// The first operator set whose `Pad` takes its lengths as an input.
const PADS_AS_INPUT: i64 = 11;
/// The largest window whose elements are compared one by one.
const LARGEST_WINDOW: u64 = 64;
/// Lower than anything that the device computes with: it has halves.
const LOWEST: f64 = -65504.0;

/// Writes `MaxPool` with dilations (ONNX operator sets 10 to 22) as maxima of moved copies, axis by axis: a window of so many
/// elements and a copy that is moved by as many are a window of twice as many.
pub(super) fn dilated(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let mut window = Window::of(site, site.integers("kernel_shape")?.to_vec())?;
    if !window.is_dilated() || site.is_read(1) || site.opset() < PADS_AS_INPUT {
        return None;
    }
    if site.integer("ceil_mode") == Some(1) {
        window.complete()?;
    }
    let rank = window.sizes.len();
    let mut value = input.to_owned();
    if window.is_padded() {
        let (before, behind) = window.pads.split_at(rank);
        let pads = draft.integers(&[&[0, 0], before, &[0, 0], behind].concat());
        let lowest = draft.number(LOWEST);
        value = draft.apply("Pad", &[input, &pads, &lowest]);
    }
    let mut ends = Vec::new();
    for (axis, (kernel, dilation)) in window.kernel.iter().zip(&window.dilations).enumerate() {
        let [steps, _] = window.steps(axis)?;
        ends.push((steps - 1) * window.strides.get(axis)? + 1);
        let mut size = window.sizes.get(axis)? + window.pads.get(axis)? + window.pads.get(rank + axis)?;
        let along = [i64::try_from(axis).ok()? + 2];
        let mut reach = 1;
        while reach < *kernel {
            let moved = reach.min(kernel - reach);
            reach += moved;
            let moved = moved * dilation;
            let left = draft.slice(&value, &along, &[0], &[size - moved]);
            let right = draft.slice(&value, &along, &[moved], &[size]);
            value = draft.apply("Max", &[&left, &right]);
            size -= moved;
        }
    }
    if window.strides.iter().any(|stride| *stride != 1) {
        value = stepped(draft, &value, &vec![0; rank], &ends, &window.strides);
    }
    draft.yields(&value, output);
    Some(())
}

/// Takes every so manieth element along the axes behind the channels.
fn stepped(draft: &mut Draft, value: &str, starts: &[i64], ends: &[i64], steps: &[i64]) -> String {
    let axes: Vec<i64> = (2..).take(steps.len()).collect();
    let [starts, ends, axes, steps] = [starts, ends, &axes, steps].map(|values| draft.integers(values));
    draft.apply("Slice", &[value, &starts, &ends, &axes, &steps])
}

/// Puts values back to where a `MaxPool` found its maxima, if its windows do not overlap (`MaxUnpool`, ONNX operator sets 9 to
/// 22). Of equal elements of a window, the first in row-major order is the one that was found.
pub(super) fn unpooled(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let output = site.output(0)?;
    let node = site.model.graph().node.get(site.reads.producer(site.input(1)?)?)?;
    let pool = Site { node, facts: site.facts, reads: site.reads, model: site.model };
    let is_found = pool.output(1) == site.input(1) && node.op_type() == "MaxPool" && is_onnx_domain(node.domain());
    if !is_found || pool.integer("storage_order").is_some_and(|order| order != 0) || site.opset() < STEPS {
        return None;
    }
    let (data, found) = (pool.input(0)?, pool.output(0)?);
    let window = Window::of(&pool, pool.integers("kernel_shape")?.to_vec())?;
    let rank = window.sizes.len();
    let ones = vec![1; rank];
    let same = |name: &str, sizes: &[i64]| site.integers(name).unwrap_or(&ones) == sizes;
    let apart = window.kernel == window.strides && !window.is_dilated() && !window.is_padded();
    let agrees = same("kernel_shape", &window.kernel)
        && same("strides", &window.strides)
        && site.integers("pads").is_none_or(|pads| pads.iter().all(|pad| *pad == 0));
    if !apart || !agrees || element_count(&window.kernel)? > LARGEST_WINDOW {
        return None;
    }
    let steps = (0..rank).map(|axis| window.steps(axis).map(|[steps, _]| steps)).collect::<Option<Vec<_>>>()?;
    let covered: Vec<i64> = steps.iter().zip(&window.kernel).map(|(steps, kernel)| steps * kernel).collect();
    let front = site.sizes(0)?.get(..2)?.to_vec();
    // Windows that would reach beyond the end are left out by the pooling, and what is there stays 0.
    let whole = match site.input(2) {
        Some(_) => site.constant_integers(2)?,
        None => [&front[..], &covered].concat(),
    };
    if whole != pool.sizes(0)? || window.sizes.iter().zip(&covered).any(|(size, covered)| size < covered) {
        return None;
    }
    let mut taps: Vec<Vec<i64>> = vec![Vec::new()];
    for length in &window.kernel {
        taps = taps.iter().flat_map(|tap| (0..*length).map(move |place| [&tap[..], &[place]].concat())).collect();
    }
    let zero = draft.number(0.0);
    // What has not found its place yet.
    let mut rest = site.input(0)?.to_owned();
    let mut parts = Vec::new();
    let last = taps.len() - 1;
    for starts in taps.iter().take(last) {
        let ends: Vec<i64> = starts
            .iter()
            .zip(&covered)
            .zip(&window.kernel)
            .map(|((start, end), step)| start + end - step + 1)
            .collect();
        let here = stepped(draft, data, starts, &ends, &window.strides);
        let is_less = draft.binary("Less", &here, found);
        parts.push(draft.apply("Where", &[&is_less, &zero, &rest]));
        rest = draft.apply("Where", &[&is_less, &rest, &zero]);
    }
    parts.push(rest);
    let mut sizes = [&front[..], &steps].concat();
    for (axis, kernel) in window.kernel.iter().enumerate().rev() {
        let axis = axis + 2;
        parts = interleaved(draft, &parts, axis, *kernel, &mut sizes)?;
    }
    let [mut result] = <[String; 1]>::try_from(parts).ok()?;
    if whole != sizes {
        let behind: Vec<i64> = whole.iter().zip(&sizes).map(|(whole, covered)| whole - covered).collect();
        let pads = draft.integers(&[vec![0; behind.len()], behind].concat());
        result = (site.opset() >= PADS_AS_INPUT).then(|| draft.apply("Pad", &[&result, &pads]))?;
    }
    draft.yields(&result, output);
    Some(())
}

/// Joins so many values at a time, element by element along an axis of their sizes, which become those of the results.
fn interleaved(draft: &mut Draft, parts: &[String], axis: usize, count: i64, sizes: &mut [i64]) -> Option<Vec<String>> {
    let size = sizes.get_mut(axis)?;
    *size *= count;
    let behind = [i64::try_from(axis).ok()? + 1];
    let joined = parts.chunks(usize::try_from(count).ok()?).map(|group| {
        let apart: Vec<String> = group.iter().map(|part| draft.squeezing("Unsqueeze", part, &behind)).collect();
        let apart: Vec<&str> = apart.iter().map(String::as_str).collect();
        let together = draft.concat(&apart, axis + 1);
        draft.reshape(&together, sizes)
    });
    Some(joined.collect())
}
