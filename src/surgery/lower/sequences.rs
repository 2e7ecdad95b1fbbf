//! Sequences of values, whose members are the values themselves or parts of one.
//!
//! The importer knows no sequences. Where it is known which members a sequence has, what takes one of them takes the value.

use super::super::build::integer;
use super::super::draft::{Draft, Site};
use crate::onnx::proto::NodeProto;
use crate::onnx::{Attributes, is_onnx_domain};

/// The most nodes that a sequence passes through.
const LONGEST_CHAIN: usize = 4096;

/// What a member of a sequence is.
#[derive(Clone)]
enum Member<'model> {
    Value(&'model str),
    Part {
        of: &'model str,
        axis: i64,
        start: i64,
        end: i64,
        /// Whether the axis goes.
        single: bool,
    },
}

pub(super) fn rewrite(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let output = site.output(0)?;
    let members = members(site, site.input(0)?, 0)?;
    let result = match site.node.op_type() {
        "SequenceAt" => {
            let &[place] = site.constant_integers(1)?.as_slice() else { return None };
            let place = Site::axis(place, members.len())?;
            members.get(place)?.written(draft)
        }
        "SequenceLength" => draft.shaped_integers(&[], &[i64::try_from(members.len()).ok()?]),
        "ConcatFromSequence" => {
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
}

/// The members of the sequence of a name.
fn members<'model>(site: &Site<'model>, name: &str, depth: usize) -> Option<Vec<Member<'model>>> {
    let maker = site.model.graph().node.get(site.reads.producer(name)?)?;
    if !is_onnx_domain(maker.domain()) || depth > LONGEST_CHAIN {
        return None;
    }
    let input = |place: usize| maker.input.get(place).map(String::as_str).filter(|name| !name.is_empty());
    let before = || members(site, input(0)?, depth + 1);
    match maker.op_type() {
        "SequenceEmpty" => Some(Vec::new()),
        "SequenceConstruct" => Some(maker.input.iter().map(|input| Member::Value(input)).collect()),
        "Identity" => before(),
        "SequenceInsert" => {
            let mut members = before()?;
            // It is counted from the end as among what is there, and may be behind it.
            let end = i64::try_from(members.len()).ok()?;
            let place = match input(2) {
                Some(given) => *site.facts.integers(given)?.first()?,
                None => end,
            };
            let place = if place < 0 { place.checked_add(end)? } else { place };
            let place = usize::try_from(place).ok().filter(|place| *place <= members.len())?;
            members.insert(place, Member::Value(input(1)?));
            Some(members)
        }
        "SequenceErase" => {
            let mut members = before()?;
            let place = match input(1) {
                Some(given) => Site::axis(*site.facts.integers(given)?.first()?, members.len())?,
                None => members.len().checked_sub(1)?,
            };
            members.remove(place);
            Some(members)
        }
        "SplitToSequence" => split(site, maker),
        _ => None,
    }
}

fn split<'model>(site: &Site<'model>, maker: &'model NodeProto) -> Option<Vec<Member<'model>>> {
    let of = maker.input.first()?;
    let sizes = site.facts.sizes(of)?;
    let given = Attributes(maker).int("axis").unwrap_or(0);
    let axis = Site::axis(given, sizes.len())?;
    let size = *sizes.get(axis)?;
    let lengths = maker.input.get(1).filter(|name| !name.is_empty());
    let single = lengths.is_none() && Attributes(maker).int("keepdims") == Some(0);
    let lengths = match lengths {
        None => vec![1; usize::try_from(size).ok()?],
        Some(name) => {
            let lengths = site.facts.integers(name)?;
            match (lengths.as_slice(), site.facts.rank(name)?) {
                // The last part is shorter if the length does not divide.
                (&[length], 0) if length > 0 => {
                    let starts = (0..size).step_by(usize::try_from(length).ok()?);
                    starts.map(|start| length.min(size - start)).collect()
                }
                (_, 1) => lengths,
                _ => return None,
            }
        }
    };
    let mut start = 0_i64;
    let axis = i64::try_from(axis).ok()?;
    let parts = lengths.into_iter().map(|length| {
        let part = Member::Part { of, axis, start, end: start.checked_add(length)?, single };
        start = start.checked_add(length)?;
        Some(part)
    });
    parts.collect()
}
