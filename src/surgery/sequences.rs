//! Which values the sequences of a model consist of, where that does not depend on what the network is fed.
//!
//! Owns the meaning of the operators that make sequences (ONNX operator sets 11 to 24); who wants to be rid of them asks here.

use super::draft::Site;
use crate::onnx::proto::NodeProto;
use crate::onnx::{Attributes, Facts, Model, Reads, is_onnx_domain};

/// The most members that a sequence has, and the most nodes that it passes through.
const LONGEST: usize = 4096;

/// The sequences of a model.
#[derive(Clone, Copy)]
pub(super) struct Sequences<'model> {
    pub(super) model: &'model Model,
    pub(super) facts: &'model Facts<'model>,
    pub(super) reads: &'model Reads<'model>,
}

/// What a member of a sequence is.
#[derive(Clone)]
pub(super) enum Member<'model> {
    /// A value.
    Value(&'model str),
    /// Some indices of an axis of a value.
    Part {
        of: &'model str,
        axis: i64,
        start: i64,
        end: i64,
        /// Whether the axis goes.
        single: bool,
    },
}

impl<'model> Sequences<'model> {
    /// Returns the node that computes a value.
    pub(super) fn maker(&self, name: &str) -> Option<&'model NodeProto> {
        let maker = self.model.graph().node.get(self.reads.producer(name)?)?;
        is_onnx_domain(maker.domain()).then_some(maker)
    }

    /// Returns the members of the sequence of a name, in order.
    pub(super) fn members(&self, name: &str) -> Option<Vec<Member<'model>>> {
        self.members_after(name, 0)
    }

    /// As [`Self::members`], after so many nodes that the sequence passed through.
    fn members_after(&self, name: &str, passed: usize) -> Option<Vec<Member<'model>>> {
        let maker = self.maker(name).filter(|_| passed <= LONGEST)?;
        let input = |place: usize| maker.input.get(place).map(String::as_str).filter(|name| !name.is_empty());
        let before = || self.members_after(input(0)?, passed + 1);
        match maker.op_type() {
            "SequenceEmpty" => Some(Vec::new()),
            "SequenceConstruct" => Some(maker.input.iter().map(|input| Member::Value(input)).collect::<Vec<_>>())
                .filter(|members| members.len() <= LONGEST),
            "Identity" | "Optional" | "OptionalGetElement" => before(),
            "SequenceInsert" => {
                let mut members = before()?;
                // It is counted from the end as among what is there, and may be behind it.
                let end = i64::try_from(members.len()).ok()?;
                let place = match input(2) {
                    Some(given) => *self.facts.integers(given)?.first()?,
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
                    Some(given) => Site::axis(*self.facts.integers(given)?.first()?, members.len())?,
                    None => members.len().checked_sub(1)?,
                };
                members.remove(place);
                Some(members)
            }
            "SplitToSequence" => self.parts(maker),
            _ => None,
        }
    }

    fn parts(&self, maker: &'model NodeProto) -> Option<Vec<Member<'model>>> {
        let of = maker.input.first()?;
        let sizes = self.facts.sizes(of)?;
        let given = Attributes(maker).int("axis").unwrap_or(0);
        let axis = Site::axis(given, sizes.len())?;
        let size = *sizes.get(axis)?;
        let lengths = maker.input.get(1).filter(|name| !name.is_empty());
        let single = lengths.is_none() && Attributes(maker).int("keepdims") == Some(0);
        let equal = |length: i64| {
            let count = usize::try_from(size).ok()?.div_ceil(usize::try_from(length).ok().filter(|it| *it > 0)?);
            // The last part is shorter if the length does not divide.
            let starts = (0..i64::try_from(Some(count).filter(|count| *count <= LONGEST)?).ok()?).map(|it| it * length);
            Some(starts.map(|start| length.min(size - start)).collect::<Vec<_>>())
        };
        let lengths = match lengths {
            None => equal(1)?,
            Some(name) => {
                let lengths = self.facts.integers(name)?;
                match (lengths.as_slice(), self.facts.rank(name)?) {
                    (&[length], 0) => equal(length)?,
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
}
