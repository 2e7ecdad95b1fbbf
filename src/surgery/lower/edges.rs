//! Edges that repeat the other side, and cuts and additions on both sides (ONNX's operator sets 18 and 19).

use super::super::draft::{Draft, Site};

/// The most elements of an axis that are looked up.
const MOST_ELEMENTS: i64 = 1 << 24;

/// Pads with what is at the other end of the axis: each element of the result is looked up.
pub(super) fn wrapped(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    if site.text("mode", "constant") != "wrap" {
        return None;
    }
    let (sizes, pads) = (site.sizes(0)?, site.constant_integers(1)?);
    let axes: Vec<usize> = match site.input(3) {
        Some(_) => {
            let axes = site.constant_integers(3)?;
            axes.into_iter().map(|axis| Site::axis(axis, sizes.len())).collect::<Option<_>>()?
        }
        None => (0..sizes.len()).collect(),
    };
    let (before, behind) = pads.split_at_checked(axes.len()).filter(|(_, behind)| behind.len() == axes.len())?;
    let mut result = input.to_owned();
    for ((&axis, before), behind) in axes.iter().zip(before).zip(behind) {
        let size = sizes.get(axis).copied().filter(|size| *size > 0)?;
        if (*before, *behind) != (0, 0) {
            let (first, end) = (before.checked_neg()?, size.checked_add(*behind)?);
            end.checked_sub(first).filter(|count| *count <= MOST_ELEMENTS)?;
            let places: Vec<i64> = (first..end).map(|place| place.rem_euclid(size)).collect();
            result = draft.gather(&result, axis, &places);
        }
    }
    if result == input {
        result = draft.unary("Identity", input);
    }
    draft.yields(&result, output);
    Some(())
}

/// Cuts or adds zeros on both sides alike, one more behind.
pub(super) fn centred(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let (sizes, wanted) = (site.sizes(0)?, site.constant_integers(1)?);
    let axes = match site.integers("axes") {
        Some(axes) => axes.iter().map(|axis| Site::axis(*axis, sizes.len())).collect::<Option<Vec<_>>>()?,
        None => (0..sizes.len()).collect(),
    };
    if axes.len() != wanted.len() {
        return None;
    }
    let (mut cuts, mut pads) = ([Vec::new(), Vec::new(), Vec::new()], vec![0; 2 * sizes.len()]);
    for (&axis, wanted) in axes.iter().zip(wanted) {
        let size = sizes.get(axis).copied().filter(|size| *size >= 0 && wanted >= 0)?;
        if wanted < size {
            let first = (size - wanted) / 2;
            let [axes, starts, ends] = &mut cuts;
            axes.push(axis as i64);
            starts.push(first);
            ends.push(first + wanted);
        } else {
            let before = (wanted - size) / 2;
            *pads.get_mut(axis)? = before;
            *pads.get_mut(sizes.len() + axis)? = wanted - size - before;
        }
    }
    let [axes, starts, ends] = &cuts;
    let mut result = input.to_owned();
    if !axes.is_empty() {
        result = draft.slice(&result, axes, starts, ends);
    }
    if pads.iter().any(|pad| *pad != 0) {
        let pads = draft.integers(&pads);
        result = draft.apply("Pad", &[&result, &pads]);
    }
    if result == input {
        result = draft.unary("Identity", input);
    }
    draft.yields(&result, output);
    Some(())
}
