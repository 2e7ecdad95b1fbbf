//! Comparisons, logic and signs.

use super::super::draft::{Draft, Site};
use super::whole::{floating, is_whole};

pub(super) fn rewrite(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (left, right, output) = (site.input(0)?, site.input(1)?, site.output(0)?);
    let result = match site.node.op_type() {
        "GreaterOrEqual" => negated(draft, "Less", left, right),
        "LessOrEqual" => negated(draft, "Greater", left, right),
        "Or" => either(draft, left, right),
        "Xor" => {
            let either = either(draft, left, right);
            let not_both = negated(draft, "And", left, right);
            draft.binary("And", &either, &not_both)
        }
        _ => return None,
    };
    draft.yields(&result, output);
    Some(())
}

fn negated(draft: &mut Draft, operator: &str, left: &str, right: &str) -> String {
    let result = draft.apply(operator, &[left, right]);
    draft.unary("Not", &result)
}

fn either(draft: &mut Draft, left: &str, right: &str) -> String {
    let (left, right) = (draft.unary("Not", left), draft.unary("Not", right));
    negated(draft, "And", &left, &right)
}

/// The first operator set whose comparisons and `Where` do as NumPy does.
pub(super) const COMPARISONS: i64 = 9;

pub(super) fn sign(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let output = site.output(0)?;
    let element = site.facts.element(site.input(0)?)?;
    if !element.is_float() && !is_whole(element) {
        return None;
    }
    let input = &floating(site, draft, 0)?;
    let mut result = match site.node.op_type() {
        "Sign" if site.opset() >= COMPARISONS => {
            let (zero, one, minus) = (draft.number(0.0), draft.number(1.0), draft.number(-1.0));
            let (above, below) = (draft.binary("Greater", input, &zero), draft.binary("Less", input, &zero));
            let rest = draft.apply("Where", &[&below, &minus, &zero]);
            draft.apply("Where", &[&above, &one, &rest])
        }
        "Softsign" => {
            let size = magnitude(draft, input);
            let raised = draft.with_number("Add", &size, 1.0);
            draft.binary("Div", input, &raised)
        }
        _ => return None,
    };
    if is_whole(element) {
        result = draft.cast(&result, element);
    }
    draft.yields(&result, output);
    Some(())
}

/// The first operator set whose `Max` takes whole numbers.
const WHOLE_MAXIMUM: i64 = 12;

pub(super) fn absolute(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let output = site.output(0)?;
    let element = site.facts.element(site.input(0)?)?;
    if !element.is_float() && !is_whole(element) {
        return None;
    }
    let is_older = is_whole(element) && site.opset() < WHOLE_MAXIMUM;
    let input = if is_older { floating(site, draft, 0)? } else { site.input(0)?.to_owned() };
    let mut result = magnitude(draft, &input);
    if is_older {
        result = draft.cast(&result, element);
    }
    draft.yields(&result, output);
    Some(())
}

pub(super) fn magnitude(draft: &mut Draft, input: &str) -> String {
    let turned = draft.unary("Neg", input);
    draft.apply("Max", &[input, &turned])
}

/// Numbers that are none, and numbers without end.
pub(super) fn special(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let is_wanted = |name: &str| site.integer(name) != Some(0);
    let result = match site.node.op_type() {
        // Nothing else differs from itself.
        "IsNaN" => {
            let same = draft.binary("Equal", input, input);
            draft.unary("Not", &same)
        }
        "IsInf" => {
            let (positive, negative) = (is_wanted("detect_positive"), is_wanted("detect_negative"));
            let (value, endless) = match (positive, negative) {
                (true, true) => (magnitude(draft, input), f64::INFINITY),
                (true, false) => (input.to_owned(), f64::INFINITY),
                (false, true) => (input.to_owned(), f64::NEG_INFINITY),
                (false, false) => return None,
            };
            let endless = draft.number(endless);
            draft.binary("Equal", &value, &endless)
        }
        _ => return None,
    };
    draft.yields(&result, output);
    Some(())
}
