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

/// What is computed one after the other: the products of query and key, these as they are limited, with the masks, and the
/// weights; then the weighted values.
struct Attended {
    stages: [String; 4],
    result: String,
}

impl Heads {
    /// Returns the weighted values. The scores are multiplied by `scale`, limited by `cap` and added to each of `masks`.
    fn attend(&self, draft: &mut Draft, scale: f64, cap: f64, masks: &[String]) -> Option<Attended> {
        let query = if scale == 1.0 { self.query.clone() } else { draft.with_number("Mul", &self.query, scale) };
        let key = draft.transpose(&self.key, &[0, 1, 3, 2]);
        let products = draft.apply("MatMul", &[&query, &key]);
        let mut limited = products.clone();
        if cap > 0.0 {
            let part = draft.with_number("Div", &products, cap);
            let bent = draft.unary("Tanh", &part);
            limited = draft.with_number("Mul", &bent, cap);
        }
        let mut masked = limited.clone();
        for mask in masks {
            masked = draft.binary("Add", &masked, mask);
        }
        let weights = draft.softmax(&masked, 3, 4)?;
        let result = draft.apply("MatMul", &[&weights, &self.value]);
        Some(Attended { stages: [products, limited, masked, weights], result })
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

/// The most places of a mask.
const MOST_PLACES: i64 = 1 << 26;

/// Which keys a query sees by its place, `before` of which stand before the first query.
#[derive(Clone, Copy)]
struct Sight {
    before: i64,
    /// How far to the left and to the right; `None` is without end.
    left: Option<i64>,
    right: Option<i64>,
}

impl Sight {
    /// Nothing that comes later.
    const fn causal(before: i64) -> Self {
        Self { before, left: None, right: Some(0) }
    }

    /// The mask of what is not seen, `[1, 1, length, of]`; `None` if a query sees nothing.
    fn mask(self, draft: &mut Draft, length: i64, of: i64) -> Option<String> {
        length.checked_mul(of).filter(|count| *count <= MOST_PLACES && length >= 0 && of >= 0)?;
        let mut values = Vec::new();
        for row in 0..length {
            let place = row.checked_add(self.before)?;
            let first = self.left.map_or(0, |left| place.saturating_sub(left));
            let last = self.right.map_or(of, |right| place.saturating_add(right));
            if first.max(0) > last.min(of - 1) {
                return None;
            }
            values.extend((0..of).map(|key| if (first..=last).contains(&key) { 0.0 } else { MASKED }));
        }
        Some(draft.floats(&[1, 1, length, of], &values))
    }
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
    if rotates || site.input(6).is_some() {
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
    let before = match site.input(4) {
        Some(_) => *site.sizes(4)?.get(3)?,
        None => 0,
    };
    let of = length.and_then(|length| length.checked_add(before));
    let mut masks: Vec<String> = padding(site, draft, 3, of)?.into_iter().collect();
    masks.extend(site.input(5).map(str::to_owned));
    if site.integer("unidirectional").is_some_and(|value| value != 0) {
        masks.push(Sight::causal(before).mask(draft, length?, of?)?);
    }
    finish(site, draft, heads, [query, key, value], widths, &masks)
}

/// Puts what came before, keys and values of `[2, batch, heads, length, size]`, before keys and values; gives both out.
fn continued(site: &Site<'_>, draft: &mut Draft, parts: &mut Heads) {
    if let Some(past) = site.input(4) {
        for (value, place) in [(&mut parts.key, 0), (&mut parts.value, 1)] {
            let before = draft.slice(past, &[0], &[place], &[place + 1]);
            let before = draft.squeezing("Squeeze", &before, &[0]);
            *value = draft.concat(&[&before, value], 2);
        }
    }
    if let Some(output) = site.output(1).filter(|_| site.is_read(1)) {
        let both = [&parts.key, &parts.value].map(|value| draft.squeezing("Unsqueeze", value, &[0]));
        let present = draft.concat(&both.each_ref().map(String::as_str), 0);
        draft.yields(&present, output);
    }
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
        masks.push(Sight::causal(0).mask(draft, length, of)?);
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
    let mut parts = Heads {
        query: apart(draft, query, heads, width / heads),
        key: apart(draft, key, heads, key_width / heads),
        value: apart(draft, value, heads, value_width / heads),
    };
    if site.node.op_type() == "Attention" {
        continued(site, draft, &mut parts);
    }
    let scale = scale_of(site, width / heads);
    let Attended { result, .. } = parts.attend(draft, scale, 0.0, masks)?;
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
    let counts = ["q_num_heads", "kv_num_heads", "kv_num_heads"];
    let mut values = Vec::with_capacity(3);
    let mut sizes = Vec::with_capacity(3);
    for (place, count) in counts.into_iter().enumerate() {
        let input = site.input(place)?;
        match *site.sizes(place)?.as_slice() {
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
    let [query, mut key, mut value] = <[String; 3]>::try_from(values).ok()?;
    let &[[heads, length, size], [groups, own, _], [_, _, value_size]] = sizes.as_slice() else { return None };
    if groups == 0 || heads % groups != 0 {
        return None;
    }
    let before = match (site.input(4), site.input(5)) {
        (Some(past_key), Some(past_value)) => {
            key = draft.concat(&[past_key, &key], 2);
            value = draft.concat(&[past_value, &value], 2);
            *site.sizes(4)?.get(2)?
        }
        (None, None) => 0,
        _ => return None,
    };
    for (place, value) in [(1, &key), (2, &value)] {
        if let Some(output) = site.output(place).filter(|_| site.is_read(place)) {
            let value = draft.unary("Identity", value);
            draft.yields(&value, output);
        }
    }
    let shared = |draft: &mut Draft, value: &str| {
        // Each head of key and value serves several of the query that follow each other.
        let places: Vec<i64> = (0..heads).map(|head| head / (heads / groups)).collect();
        if heads == groups { value.to_owned() } else { draft.gather(value, 1, &places) }
    };
    let parts = Heads { query, key: shared(draft, &key), value: shared(draft, &value) };
    let masks = standard_masks(site, draft, length, own.checked_add(before)?, before)?;
    let attended = parts.attend(draft, scale_of(site, size), site.float("softcap", 0.0), &masks)?;
    if let Some(output) = site.output(3).filter(|_| site.is_read(3)) {
        let mode = usize::try_from(site.integer("qk_matmul_output_mode").unwrap_or(0)).ok()?;
        let stage = draft.unary("Identity", attended.stages.get(mode)?);
        draft.yields(&stage, output);
    }
    let is_flat = site.rank(0)? == 3;
    let result = if is_flat { together(draft, &attended.result, heads * value_size) } else { attended.result };
    draft.yields(&result, site.output(0)?);
    Some(())
}

/// What is added to the scores of `length` queries with `of` keys, `before` of which came before.
fn standard_masks(site: &Site<'_>, draft: &mut Draft, length: i64, of: i64, before: i64) -> Option<Vec<String>> {
    let mut masks = Vec::new();
    if let Some(mask) = site.input(3) {
        let is_added = site.facts.element(mask)?.is_float();
        let mask = if is_added { mask.to_owned() } else { kept(draft, element_of(site), mask, MASKED) };
        // ONNX lets a mask be shorter than the keys; ONNX Runtime, which conversions are proven with, does not.
        let reach = *site.sizes(3)?.last()?;
        if reach != 1 && reach != of {
            return None;
        }
        masks.push(mask);
    }
    let bound = |name: &str| site.integer(name).filter(|bound| *bound >= 0);
    let is_causal = site.integer("is_causal").is_some_and(|value| value != 0);
    let right = if is_causal { Some(0) } else { bound("right_window_size") };
    let sight = Sight { before, left: bound("left_window_size"), right };
    let Some(filled) = site.input(6) else {
        if sight.left.is_some() || sight.right.is_some() {
            masks.push(sight.mask(draft, length, of)?);
        }
        return Some(masks);
    };
    // How many of the keys are there, the last of them beside the last query.
    if sight.left.is_some() || sight.right.is_some_and(|right| right != 0) {
        return None;
    }
    let queries = if sight.right.is_some() { length } else { 1 };
    let filled = draft.cast(filled, element_of(site));
    let filled = draft.squeezing("Unsqueeze", &filled, &[1, 2, 3]);
    queries.checked_mul(of).filter(|count| *count <= MOST_PLACES)?;
    let needed = (0..queries).flat_map(|row| (0..of).map(move |key| (key + queries - row) as f64 - 0.5));
    let needed: Vec<f64> = needed.collect();
    let needed = draft.floats(&[1, 1, queries, of], &needed);
    let is_there = draft.apply("Less", &[&needed, &filled]);
    masks.push(kept(draft, element_of(site), &is_there, MASKED));
    Some(masks)
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
