//! Rotary embedding: pairs of elements are turned by angles that their place in the text decides (ONNX's operator set 23, and
//! the operator of the same name of ONNX Runtime).
//!
//! A value is itself times the cosines, and the other one of its pair times the sines, one of them with the other sign.

use super::super::draft::{Draft, Site};
use crate::onnx::element_count;

/// The longest text, and the last place of its first word.
const LONGEST: i64 = 1 << 24;

/// What is turned, and by what.
struct Turn<'site> {
    input: &'site str,
    /// The sizes of the input: `[batch, length, width]` or `[batch, heads, length, size]`.
    sizes: Vec<i64>,
    /// The number of heads of an input of three axes.
    heads: Option<i64>,
    /// How many elements of each head are turned.
    turned: Option<i64>,
    /// Whether pairs are neighbours; otherwise the second half is that of the first.
    interleaved: bool,
}

/// `RotaryEmbedding` of ONNX: cosines and sines stand as second and third input.
pub(super) fn standard(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let turn = Turn::of(site)?;
    let tables = [site.input(1)?, site.input(2)?];
    let half = *site.sizes(1)?.last()?;
    let tables = match site.input(3) {
        // `[places, half]`, looked up with `[batch, length]`.
        Some(places) => tables.map(|table| draft.apply("Gather", &[table, places])),
        // `[batch, length, half]`.
        None => tables.map(str::to_owned),
    };
    let result = turn.apply(draft, tables, half)?;
    draft.yields(&result, site.output(0)?);
    Some(())
}

/// `RotaryEmbedding` of ONNX Runtime: the places come first, each of them or the first one.
pub(super) fn runtime(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let turn = Turn::of(site)?;
    let places = site.input(1)?;
    let is_packed = site.integer("is_packed_batching").is_some_and(|value| value != 0);
    if is_packed || site.float("scale", 1.0) != 1.0 {
        return None;
    }
    let half = *site.sizes(2)?.last()?;
    let length = turn.length().filter(|length| (0..=LONGEST).contains(length))?;
    let steps: Vec<i64> = (0..length).collect();
    let places = match (site.sizes(1)?.as_slice(), site.constant_integers(1)) {
        ([1], Some(first)) => {
            let first = first.first().copied().filter(|first| (0..=LONGEST).contains(first))?;
            let places: Vec<i64> = steps.iter().map(|step| first + step).collect();
            draft.shaped_integers(&[1, length], &places)
        }
        ([1], None) => {
            let steps = draft.shaped_integers(&[1, length], &steps);
            draft.binary("Add", places, &steps)
        }
        ([_, _], _) => places.to_owned(),
        _ => return None,
    };
    let tables = [site.input(2)?, site.input(3)?].map(|table| draft.apply("Gather", &[table, &places]));
    let result = turn.apply(draft, tables, half)?;
    draft.yields(&result, site.output(0)?);
    Some(())
}

impl<'site> Turn<'site> {
    fn of(site: &'site Site<'_>) -> Option<Self> {
        let (input, sizes) = (site.input(0)?, site.sizes(0)?);
        let positive = |name: &str| site.integer(name).filter(|value| *value > 0);
        let interleaved = site.integer("interleaved").is_some_and(|value| value != 0);
        let (heads, turned) = (positive("num_heads"), positive("rotary_embedding_dim"));
        Some(Self { input, sizes, heads, turned, interleaved })
    }

    fn length(&self) -> Option<i64> {
        match *self.sizes.as_slice() {
            [_, length, _] | [_, _, length, _] => Some(length),
            _ => None,
        }
    }

    /// Turns by cosines and sines, both `[batch, length, half]`.
    fn apply(&self, draft: &mut Draft, tables: [String; 2], half: i64) -> Option<String> {
        let double = half.checked_mul(2).filter(|double| *double > 0)?;
        // The axis that tables do not have is the one of heads.
        let (shape, axis) = match *self.sizes.as_slice() {
            [batch, length, width] => {
                let heads = self.heads.unwrap_or(width / double);
                (vec![batch, length, heads, width.checked_div(heads)?], 2)
            }
            [batch, heads, length, size] => (vec![batch, heads, length, size], 1),
            _ => return None,
        };
        let size = *shape.last()?;
        if self.turned.unwrap_or(double) != double
            || double > size
            || element_count(&shape)? != element_count(&self.sizes)?
        {
            return None;
        }
        let apart = if shape == self.sizes { self.input.to_owned() } else { draft.reshape(self.input, &shape) };
        let (turned, rest) = if double == size {
            (apart, None)
        } else {
            let mut parts = draft.split(&apart, 3, &[double, size - double]);
            let rest = parts.pop();
            (parts.pop()?, rest)
        };
        // Of each element: the other one of its pair, the angle, and whether the sine counts negatively.
        let places = 0..double;
        let (others, angles, is_first): (Vec<i64>, Vec<i64>, Vec<bool>) = if self.interleaved {
            let others = places.clone().map(|place| place ^ 1).collect();
            (others, places.clone().map(|place| place / 2).collect(), places.map(|place| place % 2 == 0).collect())
        } else {
            let others = places.clone().map(|place| (place + half) % double).collect();
            (others, places.clone().map(|place| place % half).collect(), places.map(|place| place < half).collect())
        };
        let signs: Vec<f64> = is_first.into_iter().map(|is_first| if is_first { -1.0 } else { 1.0 }).collect();
        let [cosines, sines] = tables.map(|table| draft.gather(&table, 2, &angles));
        let signs = draft.floats(&[double], &signs);
        let sines = draft.binary("Mul", &sines, &signs);
        let [cosines, sines] = [cosines, sines].map(|table| draft.squeezing("Unsqueeze", &table, &[axis]));
        let others = draft.gather(&turned, 3, &others);
        let (own, other) = (draft.binary("Mul", &turned, &cosines), draft.binary("Mul", &others, &sines));
        let mut result = draft.binary("Add", &own, &other);
        if let Some(rest) = rest {
            result = draft.concat(&[&result, &rest], 3);
        }
        Some(if shape == self.sizes { result } else { draft.reshape(&result, &self.sizes) })
    }
}
