//! Values that are written to constant places, or added to what is there: `ScatterElements` and `ScatterND` (ONNX's operator
//! sets 11 to 18).
//!
//! The data is rows behind each other, and an update replaces or changes one of them. Which one is known, so each row of the
//! result is looked up among the old rows and the updates.

use super::super::draft::{Draft, Site};
use super::whole::{floating, is_whole};
use crate::onnx::element_count;

/// The most elements that are looked up.
const MOST_ELEMENTS: i64 = 1 << 24;

/// Which rows are changed.
struct Places {
    /// The sizes of the data.
    sizes: Vec<i64>,
    /// The number of rows of the data.
    rows: usize,
    /// The number of elements of a row.
    length: i64,
    /// The row that each update changes, in their order.
    targets: Vec<usize>,
}

impl Places {
    /// Reads them; `None` where the indices or the sizes are not known, rows are too many, or a place is outside.
    fn of(site: &Site<'_>) -> Option<Self> {
        let (sizes, indices) = (site.sizes(0)?, site.constant_integers(1)?);
        let dims = &site.constant(1)?.dims;
        let found = match site.node.op_type() {
            "ScatterND" => Self::of_rows(sizes, &indices, usize::try_from(*dims.last()?).ok()?),
            _ => {
                let axis = Site::axis(site.integer("axis").unwrap_or(0), sizes.len())?;
                Self::of_elements(sizes, &indices, dims, axis)
            }
        };
        found.filter(|found| i64::try_from(found.rows).is_ok_and(|rows| rows <= MOST_ELEMENTS))
    }

    /// Each index has a place for each of the first `depth` axes.
    fn of_rows(sizes: Vec<i64>, indices: &[i64], depth: usize) -> Option<Self> {
        let (outer, inner) = sizes.split_at_checked(depth).filter(|_| depth > 0)?;
        let target = |index: &[i64]| {
            let places = index.iter().zip(outer);
            let row = places
                .clone()
                .try_fold(0_i64, |row, (place, size)| row.checked_mul(*size)?.checked_add(inside(*place, *size)?));
            usize::try_from(row?).ok()
        };
        let targets = indices.chunks_exact(depth).map(target).collect::<Option<_>>()?;
        let rows = usize::try_from(element_count(outer)?).ok()?;
        let length = i64::try_from(element_count(inner)?).ok()?;
        Some(Self { sizes, rows, length, targets })
    }

    /// Each element of the updates has an index along one axis, and its own place along the others.
    fn of_elements(sizes: Vec<i64>, indices: &[i64], dims: &[i64], axis: usize) -> Option<Self> {
        let size = *sizes.get(axis)?;
        if dims.len() != sizes.len() {
            return None;
        }
        // Where whole rows behind the axis go to the same place, they are moved as such.
        let (_, inner) = sizes.split_at_checked(axis + 1)?;
        let length = usize::try_from(element_count(inner)?).ok().filter(|length| *length > 0)?;
        let is_same = |row: &[i64]| row.iter().all(|index| Some(index) == row.first());
        let whole = dims.get(axis + 1..)? == inner && indices.chunks(length).all(is_same);
        let (kept, step) = if whole { (axis + 1, length) } else { (sizes.len(), 1) };
        let (outer, inner) = sizes.split_at_checked(kept)?;
        let dims = dims.get(..kept)?;
        let mut targets = Vec::with_capacity(indices.len() / step);
        let mut at = vec![0_i64; kept];
        for index in indices.iter().step_by(step) {
            let mut row = 0_i64;
            for (place, size) in outer.iter().enumerate() {
                let own = *at.get(place)?;
                let own = if place == axis { inside(*index, *size)? } else { own };
                row = row.checked_mul(*size)?.checked_add(own)?;
            }
            targets.push(usize::try_from(row).ok()?);
            // The next element, the last axis first.
            for (place, size) in at.iter_mut().zip(dims).rev() {
                *place += 1;
                if *place < *size {
                    break;
                }
                *place = 0;
            }
        }
        let rows = usize::try_from(element_count(outer)?).ok()?;
        let length = i64::try_from(element_count(inner)?).ok()?;
        (size > 0).then_some(Self { sizes, rows, length, targets })
    }

    /// Which row of `first` others and the updates behind them is taken for each row, in turns: the first takes the first
    /// update of each row, the next one the second. `otherwise` tells what rows without an update take.
    fn turns(&self, first: usize, otherwise: impl Fn(usize) -> usize) -> Option<Vec<Vec<i64>>> {
        let mut turns: Vec<Vec<i64>> = Vec::new();
        let mut seen = vec![0_usize; self.rows];
        let most = usize::try_from(MOST_ELEMENTS / self.length.max(1)).ok()?;
        for (update, &target) in self.targets.iter().enumerate() {
            let turn = seen.get_mut(target)?;
            if *turn == turns.len() {
                if (turns.len() + 1).checked_mul(self.rows)? > most {
                    return None;
                }
                turns.push((0..self.rows).map(|row| otherwise(row) as i64).collect());
            }
            *turns.get_mut(*turn)?.get_mut(target)? = (first + update) as i64;
            *turn += 1;
        }
        Some(turns)
    }
}

/// An index counted from the beginning, if it is one.
pub(super) fn inside(index: i64, size: i64) -> Option<i64> {
    let index = if index < 0 { index.checked_add(size)? } else { index };
    (0..size).contains(&index).then_some(index)
}

/// Writes replaced rows as a choice: row by row of all old and new rows behind each other.
pub(super) fn replaced(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, updates, output) = (site.input(0)?, site.input(2)?, site.output(0)?);
    if site.text("reduction", "none") != "none" {
        return None;
    }
    let places = Places::of(site)?;
    let rows = i64::try_from(places.rows).ok()?;
    let mut choice: Vec<i64> = (0..rows).collect();
    for (update, target) in places.targets.iter().enumerate() {
        *choice.get_mut(*target)? = rows.checked_add(i64::try_from(update).ok()?)?;
    }
    let old = draft.reshape(input, &[rows, places.length]);
    let new = draft.reshape(updates, &[i64::try_from(places.targets.len()).ok()?, places.length]);
    let all = draft.concat(&[&old, &new], 0);
    let chosen = draft.gather(&all, 0, &choice);
    let result = draft.reshape(&chosen, &places.sizes);
    draft.yields(&result, output);
    Some(())
}

/// Writes rows that are added to others, multiplied or compared with them as the arithmetic of those that belong together.
pub(super) fn reduced(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let output = site.output(0)?;
    let reduction = site.text("reduction", "none").into_owned();
    let (operator, reducing, neutral) = match reduction.as_str() {
        "add" => ("Add", "ReduceSum", Some(0.0)),
        "mul" => ("Mul", "ReduceProd", Some(1.0)),
        // A row is its own greatest and least.
        "max" => ("Max", "ReduceMax", None),
        "min" => ("Min", "ReduceMin", None),
        _ => return None,
    };
    let element = site.facts.element(site.input(0)?)?;
    if !element.is_float() && !is_whole(element) {
        return None;
    }
    let places = Places::of(site)?;
    let (rows, length) = (i64::try_from(places.rows).ok()?, places.length);
    let turns = match neutral {
        Some(_) => places.turns(1, |_| 0)?,
        None => places.turns(places.rows, |row| row)?,
    };
    let (input, updates) = (floating(site, draft, 0)?, floating(site, draft, 2)?);
    let old = draft.reshape(&input, &[rows, length]);
    let new = draft.reshape(&updates, &[i64::try_from(places.targets.len()).ok()?, length]);
    let otherwise = match neutral {
        Some(neutral) => draft.floats(&[1, length], &vec![neutral; usize::try_from(length).ok()?]),
        None => old.clone(),
    };
    let mut result = old.clone();
    if !turns.is_empty() {
        let all = draft.concat(&[&otherwise, &new], 0);
        let mut moved = draft.gather(&all, 0, &turns.concat());
        if turns.len() > 1 {
            let apart = draft.reshape(&moved, &[turns.len() as i64, rows, length]);
            moved = draft.reduce(reducing, &apart, &[0], false);
        }
        result = draft.binary(operator, &old, &moved);
    }
    let mut result = draft.reshape(&result, &places.sizes);
    if is_whole(element) {
        result = draft.cast(&result, element);
    }
    draft.yields(&result, output);
    Some(())
}
