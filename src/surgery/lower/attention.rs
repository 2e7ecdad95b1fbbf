//! Attention, as products and a softmax: the operators of ONNX and of ONNX Runtime's optimizer.
//!
//! Values are `[batch, heads, length, size]` in between. What is masked gets a score so low that its weight is zero.

use super::super::build::{float, integer};
use super::super::draft::{Draft, Site};
use crate::onnx::ElementType;

/// Added to the scores of what is masked: its weight is zero in single precision, and it is a number of half precision.
const MASKED: f64 = -10_000.0;

/// What one attention is made of, each `[batch, heads, length, size]`.
struct Heads {
    query: String,
    key: String,
    value: String,
}

impl Heads {
    /// Returns the weighted values. The scores are multiplied by `scale`, limited by `cap` and added to each of `masks`.
    fn attend(&self, draft: &mut Draft, scale: f64, cap: f64, masks: &[String]) -> Option<String> {
        let query = if scale == 1.0 { self.query.clone() } else { draft.with_number("Mul", &self.query, scale) };
        let key = draft.transpose(&self.key, &[0, 1, 3, 2]);
        let mut scores = draft.apply("MatMul", &[&query, &key]);
        if cap > 0.0 {
            let part = draft.with_number("Div", &scores, cap);
            let limited = draft.unary("Tanh", &part);
            scores = draft.with_number("Mul", &limited, cap);
        }
        for mask in masks {
            scores = draft.binary("Add", &scores, mask);
        }
        let weights = draft.softmax(&scores, 3, 4)?;
        Some(draft.apply("MatMul", &[&weights, &self.value]))
    }
}

/// `[batch, length, heads * size]` to `[batch, heads, length, size]`.
fn apart(draft: &mut Draft, value: &str, heads: i64, size: i64) -> String {
    let parts = draft.reshape(value, &[0, 0, heads, size]);
    draft.transpose(&parts, &[0, 2, 1, 3])
}

/// `[batch, heads, length, size]` to `[batch, length, heads * size]`.
fn together(draft: &mut Draft, value: &str, width: i64) -> String {
    let turned = draft.transpose(value, &[0, 2, 1, 3]);
    draft.reshape(&turned, &[0, 0, width])
}

/// The mask of what comes later, `[1, 1, length, length]`.
fn causal(draft: &mut Draft, length: i64, of: i64) -> Option<String> {
    let count = |length: i64| usize::try_from(length).ok().filter(|length| *length <= 1 << 13);
    let (rows, columns) = (count(length)?, count(of)?);
    let later = |place: usize| if place % columns > place / columns { MASKED } else { 0.0 };
    let values: Vec<f64> = (0..rows * columns).map(later).collect();
    Some(draft.floats(&[1, 1, length, of], &values))
}

/// A mask of whole numbers, 1 for what counts, as what is added to scores.
fn kept(draft: &mut Draft, element: ElementType, mask: &str, low: f64) -> String {
    let kept = draft.cast(mask, element);
    let one = draft.number(1.0);
    let masked = draft.binary("Sub", &one, &kept);
    draft.with_number("Mul", &masked, low)
}

/// The type of the scores: that of what the node is fed.
fn element_of(site: &Site<'_>) -> ElementType {
    let element = site.input(0).and_then(|input| site.facts.element(input));
    element.filter(|element| element.is_float()).unwrap_or(ElementType::Float32)
}

/// The mask of ONNX Runtime: 1 for each place that counts, or how many places count.
fn padding(site: &Site<'_>, draft: &mut Draft, place: usize, length: Option<i64>) -> Option<Option<String>> {
    let Some(mask) = site.input(place) else { return Some(None) };
    let low = site.float("mask_filter_value", MASKED as f32).max(MASKED);
    let places = match site.rank(place)? {
        // `[batch, length]`, `[batch, length, length]`.
        2 => draft.squeezing("Unsqueeze", mask, &[1, 2]),
        3 => draft.squeezing("Unsqueeze", mask, &[1]),
        // `[batch]`, how many of the first places count.
        1 => {
            let numbers: Vec<f64> = (0..length?).map(|number| number as f64).collect();
            let numbers = draft.floats(&[1, 1, 1, length?], &numbers);
            let counts = draft.cast(mask, element_of(site));
            let counts = draft.squeezing("Unsqueeze", &counts, &[1, 2, 3]);
            draft.apply("Less", &[&numbers, &counts])
        }
        _ => return None,
    };
    Some(Some(kept(draft, element_of(site), &places, low)))
}

/// `Attention` of ONNX Runtime: one product makes query, key and value of one input.
pub(super) fn fused(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let heads = site.integer("num_heads").filter(|heads| *heads > 0)?;
    let rotates = site.integer("do_rotary").is_some_and(|value| value != 0);
    if rotates || site.input(4).is_some() || site.is_read(1) {
        return None;
    }
    let &[_, all] = site.sizes(1)?.as_slice() else { return None };
    let widths = match site.integers("qkv_hidden_sizes") {
        Some(&[query, key, value]) => [query, key, value],
        Some(_) => return None,
        None => [all / 3; 3],
    };
    let length = site.sizes(0).and_then(|sizes| sizes.get(1).copied());
    let mut whole = draft.apply("MatMul", &[site.input(0)?, site.input(1)?]);
    if let Some(bias) = site.input(2) {
        whole = draft.binary("Add", &whole, bias);
    }
    let parts = draft.split(&whole, 2, &widths);
    let [query, key, value] = parts.as_slice() else { return None };
    let mut masks: Vec<String> = padding(site, draft, 3, length)?.into_iter().collect();
    masks.extend(site.input(5).map(str::to_owned));
    if site.integer("unidirectional").is_some_and(|value| value != 0) {
        masks.push(causal(draft, length?, length?)?);
    }
    finish(site, draft, heads, [query, key, value], widths, &masks)
}

/// `MultiHeadAttention` of ONNX Runtime, where query, key and value are `[batch, length, width]`.
pub(super) fn multi_head(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let heads = site.integer("num_heads").filter(|heads| *heads > 0)?;
    if (6..9).any(|place| site.input(place).is_some()) || (1..4).any(|place| site.is_read(place)) {
        return None;
    }
    let sizes = |place: usize| site.sizes(place).filter(|sizes| sizes.len() == 3);
    let &[_, length, width] = sizes(0)?.as_slice() else { return None };
    let &[_, of, _] = sizes(1)?.as_slice() else { return None };
    let &[_, _, value_width] = sizes(2)?.as_slice() else { return None };
    let widths = [width, width, value_width];
    let mut values = [0, 1, 2].map(|place| site.input(place).unwrap_or_default().to_owned());
    if let Some(bias) = site.input(3) {
        let biases = draft.split(bias, 0, &widths);
        for (value, bias) in values.iter_mut().zip(&biases) {
            *value = draft.binary("Add", value, bias);
        }
    }
    let mut masks: Vec<String> = padding(site, draft, 4, Some(of))?.into_iter().collect();
    masks.extend(site.input(5).map(str::to_owned));
    if site.integer("unidirectional").is_some_and(|value| value != 0) {
        masks.push(causal(draft, length, of)?);
    }
    let [query, key, value] = &values;
    finish(site, draft, heads, [query, key, value], widths, &masks)
}

fn finish(
    site: &Site<'_>,
    draft: &mut Draft,
    heads: i64,
    [query, key, value]: [&String; 3],
    [width, key_width, value_width]: [i64; 3],
    masks: &[String],
) -> Option<()> {
    if [width, key_width, value_width].iter().any(|width| *width < heads || width % heads != 0) {
        return None;
    }
    let parts = Heads {
        query: apart(draft, query, heads, width / heads),
        key: apart(draft, key, heads, key_width / heads),
        value: apart(draft, value, heads, value_width / heads),
    };
    let scale = scale_of(site, width / heads);
    let result = parts.attend(draft, scale, 0.0, masks)?;
    let result = together(draft, &result, value_width);
    draft.yields(&result, site.output(0)?);
    Some(())
}

/// The factor of scores, which is one by the root of the size of a head where none is given.
fn scale_of(site: &Site<'_>, size: i64) -> f64 {
    let given = site.attribute("scale").and_then(|attribute| attribute.f).filter(|scale| *scale != 0.0);
    given.map_or_else(|| 1.0 / (size as f64).sqrt(), f64::from)
}

/// `Attention` of ONNX, from operator set 23 on.
pub(super) fn standard(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    if (4..7).any(|place| site.input(place).is_some()) || (1..4).any(|place| site.is_read(place)) {
        return None;
    }
    let shapes = [site.sizes(0)?, site.sizes(1)?, site.sizes(2)?];
    let counts = ["q_num_heads", "kv_num_heads", "kv_num_heads"];
    let mut values = Vec::with_capacity(3);
    let mut sizes = Vec::with_capacity(3);
    for (place, (shape, count)) in shapes.iter().zip(counts).enumerate() {
        let input = site.input(place)?;
        match *shape.as_slice() {
            [_, heads, length, size] => {
                values.push(input.to_owned());
                sizes.push([heads, length, size]);
            }
            [_, length, width] => {
                let heads = site.integer(count).filter(|heads| *heads > 0 && width % heads == 0)?;
                values.push(apart(draft, input, heads, width / heads));
                sizes.push([heads, length, width / heads]);
            }
            _ => return None,
        }
    }
    let [query, key, value] = <[String; 3]>::try_from(values).ok()?;
    let &[[heads, length, size], [groups, of, _], [_, _, value_size]] = sizes.as_slice() else { return None };
    if groups == 0 || heads % groups != 0 {
        return None;
    }
    let shared = |draft: &mut Draft, value: &str| {
        // Each head of key and value serves several of the query that follow each other.
        let places: Vec<i64> = (0..heads).map(|head| head / (heads / groups)).collect();
        if heads == groups { value.to_owned() } else { draft.gather(value, 1, &places) }
    };
    let parts = Heads { query, key: shared(draft, &key), value: shared(draft, &value) };
    let mut masks = Vec::new();
    if let Some(mask) = site.input(3) {
        let is_added = site.facts.element(mask)?.is_float();
        masks.push(if is_added { mask.to_owned() } else { kept(draft, element_of(site), mask, MASKED) });
    }
    if site.integer("is_causal").is_some_and(|value| value != 0) {
        masks.push(causal(draft, length, of)?);
    }
    let result = parts.attend(draft, scale_of(site, size), site.float("softcap", 0.0), &masks)?;
    let is_flat = shapes.first().is_some_and(|shape| shape.len() == 3);
    let result = if is_flat { together(draft, &result, heads * value_size) } else { result };
    draft.yields(&result, site.output(0)?);
    Some(())
}

/// `EmbedLayerNormalization` of ONNX Runtime: rows of two or three tables, summed and normalized.
pub(super) fn embedding(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let ids = site.input(0)?;
    let words = draft.apply("Gather", &[site.input(2)?, ids]);
    let &[batch, length] = site.sizes(0)?.as_slice() else { return None };
    let places = match site.input(8) {
        Some(places) => draft.apply("Gather", &[site.input(3)?, places]),
        None => draft.gather(site.input(3)?, 0, &(0..length).collect::<Vec<_>>()),
    };
    let mut sum = draft.binary("Add", &words, &places);
    if let (Some(segments), Some(table)) = (site.input(1), site.input(4)) {
        let segments = draft.apply("Gather", &[table, segments]);
        sum = draft.binary("Add", &sum, &segments);
    }
    let inputs = [sum.as_str(), site.input(5)?, site.input(6)?];
    let attributes = vec![integer("axis", -1), float("epsilon", site.float("epsilon", 1e-12) as f32)];
    let result = draft.apply_with("LayerNormalization", &inputs, attributes);
    draft.yields(&result, site.output(0)?);
    if let Some(output) = site.output(1).filter(|_| site.is_read(1)) {
        // How many places of each row count.
        match site.input(7) {
            Some(mask) => {
                let numbers = draft.cast(mask, ElementType::Float32);
                let count = draft.reduce("ReduceSum", &numbers, &[1], false);
                let whole = draft.cast(&count, ElementType::Int32);
                draft.yields(&whole, output);
            }
            None => {
                let zeros = draft.floats(&[batch], &vec![0.0; usize::try_from(batch).ok()?]);
                let whole = draft.cast(&zeros, ElementType::Int32);
                draft.yields(&whole, output);
            }
        }
    }
    if let Some(output) = site.output(2).filter(|_| site.is_read(2)) {
        draft.yields(&sum, output);
    }
    Some(())
}
