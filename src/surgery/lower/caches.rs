//! `TensorScatter`: what is new is written into a cache of keys or values (ONNX's operator set 24).

use super::super::draft::{Draft, Site};
use crate::onnx::ElementType;

/// The most places of the cache, for each new one.
const MOST_PLACES: i64 = 1 << 24;

/// Writes new rows at places that the network is fed or that are constants: a matrix says which row comes to lie where.
pub(super) fn written(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (cache, update) = (site.input(0)?, site.input(1)?);
    let (sizes, new) = (site.sizes(0)?, site.sizes(1)?);
    let rank = sizes.len();
    let axis = Site::axis(site.integer("axis").unwrap_or(-2), rank)?;
    if axis + 2 != rank || axis == 0 || !site.facts.element(cache)?.is_float() {
        return None;
    }
    let (&length, &count, &batch) = (sizes.get(axis)?, new.get(axis)?, sizes.first()?);
    let is_circular = site.text("mode", "linear") == "circular";
    let Some(places) = site.input(2) else {
        // The first places.
        let rest = draft.slice(cache, &[axis as i64], &[count], &[length]);
        let result = if count == length { update.to_owned() } else { draft.concat(&[update, &rest], axis) };
        draft.yields(&result, site.output(0)?);
        return Some(());
    };
    length.checked_mul(count).filter(|places| *places <= MOST_PLACES && *places > 0)?;
    let mut dims = vec![1; rank];
    *dims.first_mut()? = batch;
    let first = draft.cast(places, ElementType::Float32);
    let mut first = draft.reshape(&first, &dims);
    if is_circular {
        let turns = draft.with_number("Mul", &first, 1.0 / length as f64);
        let turns = draft.unary("Floor", &turns);
        let turns = draft.with_number("Mul", &turns, length as f64);
        first = draft.binary("Sub", &first, &turns);
    }
    let ways = (0..length).flat_map(|place| (0..count).map(move |row| (place - row) as f64)).collect::<Vec<_>>();
    let mut dims = vec![1; rank - 2];
    dims.extend([length, count]);
    let ways = draft.floats(&dims, &ways);
    let mut chosen = hit(draft, &ways, &first, 0.0);
    if is_circular {
        let again = hit(draft, &ways, &first, length as f64);
        chosen = draft.binary("Add", &chosen, &again);
    }
    let placed = draft.apply("MatMul", &[&chosen, update]);
    let is_new = draft.reduce("ReduceSum", &chosen, &[rank - 1], true);
    let one = draft.number(1.0);
    let stays = draft.binary("Sub", &one, &is_new);
    let kept = draft.binary("Mul", cache, &stays);
    let result = draft.binary("Add", &kept, &placed);
    draft.yields(&result, site.output(0)?);
    Some(())
}

/// 1 where a way leads to a place, which may be a turn behind; 0 elsewhere.
fn hit(draft: &mut Draft, ways: &str, first: &str, turn: f64) -> String {
    let distance = draft.binary("Sub", ways, first);
    let distance = if turn == 0.0 { distance } else { draft.with_number("Add", &distance, turn) };
    let zero = draft.number(0.0);
    let same = draft.binary("Equal", &distance, &zero);
    draft.cast(&same, ElementType::Float32)
}
