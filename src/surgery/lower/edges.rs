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

/// Pads with zeros, and adds what is infinite or no number around them. The border of a `MaxPool` is its own affair.
pub(super) fn endless(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, value) = (site.input(0)?, site.facts.floats(site.input(2)?)?);
    let &[value] = value.as_slice() else { return None };
    let is_constant = site.text("mode", "constant") == "constant" && site.input(3).is_none();
    if value.is_finite() || !is_constant || !site.facts.element(input)?.is_float() {
        return None;
    }
    let readers = site.reads.readers(site.output(0)?);
    if readers.iter().any(|place| site.model.graph().node.get(*place).is_some_and(|node| node.op_type() == "MaxPool")) {
        return None;
    }
    let (sizes, pads) = (site.sizes(0)?, site.constant_integers(1)?);
    let (before, behind) = pads.split_at_checked(sizes.len()).filter(|(_, behind)| behind.len() == sizes.len())?;
    let (mut dims, mut border) = (Vec::new(), vec![0.0]);
    for ((size, before), behind) in sizes.iter().zip(before).zip(behind) {
        let is_padded = (*before, *behind) != (0, 0);
        let length = if is_padded { before.checked_add(*size)?.checked_add(*behind)? } else { 1 };
        let count = length.checked_mul(i64::try_from(border.len()).ok()?)?;
        if *before < 0 || *behind < 0 || count > MOST_ELEMENTS {
            return None;
        }
        let is_inside = move |place: i64| !is_padded || (*before..before + size).contains(&place);
        let along = |outer: f64| (0..length).map(move |place| if is_inside(place) { outer } else { value });
        border = border.into_iter().flat_map(along).collect();
        dims.push(length);
    }
    let zeros = draft.apply("Pad", &[input, site.input(1)?]);
    let border = draft.floats(&dims, &border);
    let result = draft.binary("Add", &zeros, &border);
    draft.yields(&result, site.output(0)?);
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
