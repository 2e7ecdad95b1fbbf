//! Remainders, and indices that count from the end.

use super::super::draft::{Draft, Site};
use super::whole::{floating, is_whole};
use crate::onnx::ElementType;

/// Writes a remainder as what is left when the divisor is taken away as often as it fits.
///
/// Where the quotient is rounded up to a whole number, the remainder is near 0 instead of near the divisor.
pub(super) fn remainder(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let output = site.output(0)?;
    let element = site.facts.element(site.input(0)?)?;
    let truncates = site.integer("fmod") == Some(1);
    if !(is_whole(element) || element.is_float() && truncates) {
        return None;
    }
    if is_whole(element) {
        draft.begin(output, ElementType::Float32);
    }
    let (value, divisor) = (floating(site, draft, 0)?, floating(site, draft, 1)?);
    let quotient = draft.binary("Div", &value, &divisor);
    let mut times = draft.unary("Floor", &quotient);
    if truncates {
        let (above, zero) = (draft.unary("Ceil", &quotient), draft.number(0.0));
        let is_below = draft.binary("Less", &quotient, &zero);
        times = draft.apply("Where", &[&is_below, &above, &times]);
    }
    let taken = draft.binary("Mul", &times, &divisor);
    let mut result = draft.binary("Sub", &value, &taken);
    if is_whole(element) {
        result = draft.cast(&result, element);
    }
    draft.yields(&result, output);
    Some(())
}

/// Finds the last of equal extremes as the first one from the end.
pub(super) fn last_extreme(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    if site.integer("select_last_index") != Some(1) {
        return None;
    }
    let sizes = site.sizes(0)?;
    let axis = Site::axis(site.integer("axis").unwrap_or(0), sizes.len())?;
    let last = sizes.get(axis)?.checked_sub(1).filter(|last| *last >= 0)?;
    let turned = draft.gather(input, axis, &(0..=last).rev().collect::<Vec<_>>());
    let mut attributes = site.node.attribute.clone();
    attributes.retain(|attribute| attribute.name() != "select_last_index");
    let place = draft.apply_with(site.node.op_type(), &[&turned], attributes);
    let last = draft.shaped_integers(&[], &[last]);
    let result = draft.binary("Sub", &last, &place);
    draft.yields(&result, output);
    Some(())
}

/// The first operator set whose `OneHot` counts negative indices from the end.
const NEGATIVE_INDICES: i64 = 11;

/// Counts the indices of `OneHot` from the beginning, unless none can be negative.
pub(super) fn one_hot(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (indices, depth) = (site.input(0)?, site.constant_integers(1)?);
    let element = site.facts.element(indices).filter(|element| is_whole(*element))?;
    let &[depth] = depth.as_slice() else { return None };
    if site.opset() < NEGATIVE_INDICES || is_counted(site, indices, depth) {
        return None;
    }
    let mut number = |value: i64| draft.whole(element, value);
    let (zero, depth) = (number(0), number(depth));
    let is_negative = draft.binary("Less", indices, &zero);
    let counted = draft.binary("Add", indices, &depth);
    let mut node = site.node.clone();
    *node.input.first_mut()? = draft.apply("Where", &[&is_negative, &counted, indices]);
    draft.keep(node);
    Some(())
}

/// Whether indices cannot be negative, or are counted from the beginning where they are.
fn is_counted(site: &Site<'_>, indices: &str, depth: i64) -> bool {
    let producer = |value: &str| site.model.graph().node.get(site.reads.producer(value)?);
    let Some(node) = producer(indices) else { return false };
    match (node.op_type(), node.input.as_slice()) {
        ("ArgMax" | "ArgMin" | "NonZero" | "TopK", _) => true,
        ("Where", [_, counted, plain]) => producer(counted).is_some_and(|sum| {
            sum.op_type() == "Add"
                && sum.input.first() == Some(plain)
                && sum.input.get(1).and_then(|added| site.facts.integers(added)) == Some(vec![depth])
        }),
        _ => false,
    }
}
