//! `GroupQueryAttention` of ONNX Runtime over a whole text, without what was computed before: ONNX's own operators.

use super::super::super::build::{float, integer};
use super::super::super::draft::{Draft, Site};
use crate::onnx::element_count;

/// The most words of all texts.
const MOST_PLACES: u64 = 1 << 24;

pub(super) fn attention(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let flag = |name: &str| site.integer(name).is_some_and(|value| value != 0);
    let positive = |name: &str| site.integer(name).filter(|value| *value > 0);
    let (heads, groups) = (positive("num_heads")?, positive("kv_num_heads")?);
    let &[batch, length, width] = site.sizes(0)?.as_slice() else { return None };
    // What came before, and forms that only some devices compute.
    let has_more = [3, 4].into_iter().chain(9..17).any(|place| site.input(place).is_some());
    let is_windowed = site.integer("local_window_size").is_some_and(|size| size >= 0);
    let is_smooth = flag("smooth_softmax") || flag("qk_output") || flag("kv_cache_bit_width");
    if has_more || is_windowed || is_smooth || site.integer("causal") == Some(0) || site.is_read(3) {
        return None;
    }
    // Every text is as long as the longest.
    if site.constant_integers(5)?.iter().any(|last| *last != length - 1) {
        return None;
    }
    let (parts, size) = if let (Some(key), Some(value)) = (site.input(1), site.input(2)) {
        let parts = vec![site.input(0)?.to_owned(), key.to_owned(), value.to_owned()];
        (parts, width.checked_div(heads)?)
    } else {
        let size = width.checked_div(groups.checked_mul(2)?.checked_add(heads)?)?;
        let widths = [heads * size, groups * size, groups * size];
        (draft.split(site.input(0)?, 2, &widths), size)
    };
    let counts = [heads, groups, groups];
    let mut values: Vec<String> = parts
        .iter()
        .zip(counts)
        .map(|(part, count)| {
            let apart = draft.reshape(part, &[batch, length, count, size]);
            draft.transpose(&apart, &[0, 2, 1, 3])
        })
        .collect();
    if flag("do_rotary") {
        element_count(&[batch, length]).filter(|count| *count <= MOST_PLACES)?;
        let places: Vec<i64> = (0..batch).flat_map(|_| 0..length).collect();
        let places = draft.shaped_integers(&[batch, length], &places);
        let (cosines, sines) = (site.input(7)?, site.input(8)?);
        let interleaved = integer("interleaved", flag("rotary_interleaved").into());
        for value in values.iter_mut().take(2) {
            let inputs = [value.as_str(), cosines, sines, &places];
            *value = draft.apply_with("RotaryEmbedding", &inputs, vec![interleaved.clone()]);
        }
    }
    let [query, key, value] = values.as_slice() else { return None };
    let mut attributes = vec![integer("is_causal", 1), float("softcap", site.float("softcap", 0.0) as f32)];
    let scale = site.float("scale", 0.0) as f32;
    if scale != 0.0 {
        attributes.push(float("scale", scale));
    }
    let result = draft.apply_with("Attention", &[query, key, value], attributes);
    let turned = draft.transpose(&result, &[0, 2, 1, 3]);
    let result = draft.reshape(&turned, &[batch, length, heads.checked_mul(size)?]);
    draft.yields(&result, site.output(0)?);
    for (place, value) in [(1, key), (2, value)] {
        if let Some(output) = site.output(place) {
            let value = draft.unary("Identity", value);
            draft.yields(&value, output);
        }
    }
    Some(())
}
