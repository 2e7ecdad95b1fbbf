//! `DeformConv`: convolutions whose taps the network itself moves (ONNX's operator set 19).

use super::super::draft::{Draft, Site};
use super::pooling::Window;
use super::sampling;
use crate::onnx::{ElementType, element_count};

/// The most kinds of results that see channels of their own.
const MOST_KINDS: i64 = 1 << 10;
/// The most places of taps.
const MOST_PLACES: usize = 1 << 24;

/// Looks up what each tap of the kernel meets at each place, and multiplies it with the weights.
pub(super) fn convolution(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, weights, offsets) = (site.input(0)?, site.input(1)?, site.input(2)?);
    let &[1, channels, rows, columns] = site.sizes(0)?.as_slice() else { return None };
    let &[made, members, height, width] = site.sizes(1)?.as_slice() else { return None };
    let &[_, _, made_height, made_width] = site.facts.sizes(site.output(0)?)?.as_slice() else { return None };
    let is_float = |name: &str| site.facts.element(name).is_some_and(ElementType::is_float);
    // How many kinds of results there are that see channels of their own.
    let kinds = site.integer("group").unwrap_or(1);
    if !(1..=MOST_KINDS).contains(&kinds) || members.checked_mul(kinds)? != channels || made % kinds != 0 {
        return None;
    }
    if !is_float(input) || !is_float(offsets) {
        return None;
    }
    let window = Window::of(site, vec![height, width])?;
    let groups = site.integer("offset_group").unwrap_or(1);
    if groups < 1 || channels % groups != 0 || rows < 1 || columns < 1 {
        return None;
    }
    let (&[stride_down, stride_right], &[step_down, step_right], &[top, left, ..]) =
        (window.strides.as_slice(), window.dilations.as_slice(), window.pads.as_slice())
    else {
        return None;
    };
    let (taps, places) = (height.checked_mul(width)?, made_height.checked_mul(made_width)?);
    let count = usize::try_from(element_count(&[taps, places])?).ok().filter(|count| *count <= MOST_PLACES)?;
    let at = |place: i64, step: i64, before: i64| place as f64 * step as f64 - before as f64;
    // Where each tap would lie at each place, as indices of rows and of columns.
    let mut bases = [Vec::with_capacity(count), Vec::with_capacity(count)];
    for tap in 0..taps {
        for place in 0..places {
            let [down, right] = &mut bases;
            down.push(at(place / made_width, stride_down, top) + at(tap / width, step_down, 0));
            right.push(at(place % made_width, stride_right, left) + at(tap % width, step_right, 0));
        }
    }
    let all = taps.checked_mul(places)?;
    let bases = bases.map(|base| draft.floats(&[all, 1], &base));
    let moves = draft.reshape(offsets, &[groups.checked_mul(taps)?, 2, places]);
    let masks = match site.input(4) {
        Some(mask) => Some(draft.reshape(mask, &[groups.checked_mul(all)?, 1])),
        None => None,
    };
    let part = channels / groups;
    let mut found = Vec::new();
    for group in 0..groups {
        let data = draft.slice(input, &[1], &[group * part], &[(group + 1) * part]);
        let own = draft.slice(&moves, &[0], &[group * taps], &[(group + 1) * taps]);
        let ways = draft.split(&own, 1, &[1, 1]);
        let at: Vec<String> = ways
            .iter()
            .zip(&bases)
            .map(|(way, base)| {
                let way = draft.reshape(way, &[all, 1]);
                draft.binary("Add", &way, base)
            })
            .collect();
        let mut values = sampling::between(draft, &data, part, [rows, columns], &at)?;
        if let Some(masks) = &masks {
            let mask = draft.slice(masks, &[0], &[group * all], &[(group + 1) * all]);
            values = draft.binary("Mul", &values, &mask);
        }
        found.push(values);
    }
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    let whole = if let [one] = found.as_slice() { (*one).to_owned() } else { draft.concat(&found, 1) };
    let apart = draft.reshape(&whole, &[taps, places, channels]);
    let kinds = Kinds { count: kinds, members, made: made / kinds, taps, places };
    let mut result = kinds.products(draft, &apart, weights)?;
    if let Some(shift) = site.input(3) {
        result = draft.binary("Add", &result, shift);
    }
    let turned = draft.transpose(&result, &[1, 0]);
    let result = draft.reshape(&turned, &[1, made, made_height, made_width]);
    draft.yields(&result, site.output(0)?);
    Some(())
}

/// Results that see channels of their own.
struct Kinds {
    count: i64,
    /// The channels that each sees, and the channels of its results.
    members: i64,
    made: i64,
    taps: i64,
    places: i64,
}

impl Kinds {
    /// Multiplies `[taps, places, channels]` with the weights: `[places, results]`.
    fn products(&self, draft: &mut Draft, found: &str, weights: &str) -> Option<String> {
        let &Self { members, made, taps, places, .. } = self;
        let inner = taps.checked_mul(members)?;
        let cut = |draft: &mut Draft, value: &str, axis: i64, kind: i64, length: i64| match self.count {
            1 => value.to_owned(),
            _ => draft.slice(value, &[axis], &[kind * length], &[(kind + 1) * length]),
        };
        let mut results = Vec::new();
        for kind in 0..self.count {
            // `[taps, places, members]` to `[places, taps * members]`, and the weights likewise.
            let own = cut(draft, found, 2, kind, members);
            let turned = draft.transpose(&own, &[1, 0, 2]);
            let left = draft.reshape(&turned, &[places, inner]);
            let own = cut(draft, weights, 0, kind, made);
            let flat = draft.reshape(&own, &[made, members, taps]);
            let turned = draft.transpose(&flat, &[2, 1, 0]);
            let right = draft.reshape(&turned, &[inner, made]);
            results.push(draft.apply("MatMul", &[&left, &right]));
        }
        let results: Vec<&str> = results.iter().map(String::as_str).collect();
        Some(if let [one] = results.as_slice() { (*one).to_owned() } else { draft.concat(&results, 1) })
    }
}
