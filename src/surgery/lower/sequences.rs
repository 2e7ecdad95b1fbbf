//! Members of sequences, and what may be there or not.
//!
//! The importer knows no sequences. Where it is known which members a sequence has, what takes one of them takes the value.

use super::super::build::integer;
use super::super::draft::{Draft, Site};
use super::super::sequences::{Member, Sequences};
use crate::onnx::ElementType;
use crate::onnx::proto::TensorProto;

pub(super) fn rewrite(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let output = site.output(0)?;
    let members = sequences(site).members(site.input(0)?)?;
    let result = match site.node.op_type() {
        "SequenceAt" => match site.constant_integers(1).as_deref() {
            Some(&[place]) => members.get(Site::axis(place, members.len())?)?.written(draft),
            Some(_) => return None,
            None => chosen(site, draft, &members)?,
        },
        "SequenceLength" => draft.shaped_integers(&[], &[i64::try_from(members.len()).ok()?]),
        "ConcatFromSequence" if !members.is_empty() => {
            let axis = site.integer("axis")?;
            let mut values: Vec<String> = members.iter().map(|member| member.written(draft)).collect();
            if site.integer("new_axis") == Some(1) {
                for value in &mut values {
                    *value = draft.squeezing("Unsqueeze", value, &[axis]);
                }
            }
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            draft.apply_with("Concat", &values, vec![integer("axis", axis)])
        }
        _ => return None,
    };
    draft.yields(&result, output);
    Some(())
}

/// The most texts that are turned each by itself.
const MOST_TEXTS: usize = 64;
/// The longest text, in steps.
const LONGEST_TEXT: i64 = 1 << 24;

/// Turns the beginnings of texts round (`ReverseSequence`, ONNX operator set 10), where their lengths are constants.
pub(super) fn turned(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let input = site.input(0)?;
    let sizes = site.sizes(0)?;
    let lengths = site.constant_integers(1)?;
    let axis = |name: &str, value: i64| usize::try_from(site.integer(name).unwrap_or(value)).ok();
    let (time, batch) = (axis("time_axis", 0)?, axis("batch_axis", 1)?);
    let steps = *sizes.get(time)?;
    let first = lengths.first().copied()?;
    if lengths.len() > MOST_TEXTS || steps > LONGEST_TEXT || lengths.iter().any(|length| !(0..=steps).contains(length))
    {
        return None;
    }
    let order = |length: i64| -> Vec<i64> { (0..length).rev().chain(length..steps).collect() };
    if lengths.iter().all(|length| *length == first) {
        let result = draft.gather(input, time, &order(first));
        draft.yields(&result, site.output(0)?);
        return Some(());
    }
    let texts = draft.split(input, batch, &vec![1; lengths.len()]);
    let texts: Vec<String> =
        texts.iter().zip(&lengths).map(|(text, length)| draft.gather(text, time, &order(*length))).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let result = draft.concat(&texts, batch);
    draft.yields(&result, site.output(0)?);
    Some(())
}

fn sequences<'model>(site: &Site<'model>) -> Sequences<'model> {
    Sequences { model: site.model, facts: site.facts, reads: site.reads }
}

impl Member<'_> {
    fn written(&self, draft: &mut Draft) -> String {
        match self {
            Self::Value(name) => (*name).to_owned(),
            Self::Part { of, axis, start, end, single } => {
                let part = draft.slice(of, &[*axis], &[*start], &[*end]);
                if *single { draft.squeezing("Squeeze", &part, &[*axis]) } else { part }
            }
        }
    }

    fn sizes(&self, site: &Site<'_>) -> Option<Vec<i64>> {
        match self {
            Self::Value(name) => site.facts.sizes(name),
            Self::Part { of, axis, start, end, single } => {
                let (mut sizes, axis) = (site.facts.sizes(of)?, usize::try_from(*axis).ok()?);
                *sizes.get_mut(axis)? = end - start;
                if *single {
                    sizes.remove(axis);
                }
                Some(sizes)
            }
        }
    }
}

/// The member at a place that is computed, if all have the same shape: it is looked up among all of them.
fn chosen(site: &Site<'_>, draft: &mut Draft, members: &[Member<'_>]) -> Option<String> {
    let sizes = members.first()?.sizes(site)?;
    let is_same = |member: &Member<'_>| member.sizes(site).as_ref() == Some(&sizes);
    if site.rank(1)? != 0 || !members.iter().all(is_same) || sizes.contains(&0) {
        return None;
    }
    let rows: Vec<String> = members
        .iter()
        .map(|member| {
            let value = member.written(draft);
            draft.squeezing("Unsqueeze", &value, &[0])
        })
        .collect();
    // All of them twice: places below zero are counted from the end, and so they come to lie in the first half.
    let rows: Vec<&str> = rows.iter().chain(&rows).map(String::as_str).collect();
    let table = draft.concat(&rows, 0);
    let count = draft.whole(site.facts.element(site.input(1)?)?, i64::try_from(members.len()).ok()?);
    let place = draft.binary("Add", site.input(1)?, &count);
    // The tools give what is fed as a single number an axis, so that it has one here in any case.
    let place = draft.reshape(&place, &[1]);
    let found = draft.apply_with("Gather", &[&table, &place], vec![integer("axis", 0)]);
    Some(draft.reshape(&found, &sizes))
}

/// Writes what is known to be there as what it is (ONNX operator sets 15 and 18).
pub(super) fn optional(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let output = site.output(0)?;
    let mut content = site.input(0);
    // Wrapped, not wrapped, or nothing.
    while let Some(maker) = content.and_then(|name| sequences(site).maker(name)) {
        if !matches!(maker.op_type(), "Identity" | "Optional") {
            break;
        }
        content = maker.input.first().map(String::as_str).filter(|name| !name.is_empty());
    }
    let is_there = |name: &str| site.facts.element(name).is_some() || sequences(site).members(name).is_some();
    if content.is_some_and(|name| !is_there(name)) {
        return None;
    }
    let result = match site.node.op_type() {
        "OptionalGetElement" => content?.to_owned(),
        "OptionalHasElement" => draft.constant(TensorProto {
            data_type: Some(ElementType::Boolean.code()),
            raw_data: Some(vec![u8::from(content.is_some())].into()),
            ..TensorProto::default()
        }),
        _ => return None,
    };
    draft.yields(&result, output);
    Some(())
}
