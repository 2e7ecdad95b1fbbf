//! Following the single elements of shapes, of which some are known and some are not.

use super::call::Call;
use super::{Contents, Fact, MAX_FOLLOWED};
use crate::onnx::element::ElementType;
use crate::onnx::geometry;
use crate::onnx::value::Dimension;

/// One integer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Known(i64),
    /// The size that has this name.
    Symbolic(String),
    Unknown,
}

impl Entry {
    pub(super) fn known(&self) -> Option<i64> {
        if let Self::Known(value) = self { Some(*value) } else { None }
    }

    /// As a size of a shape.
    pub(super) fn dimension(&self) -> Dimension {
        match self {
            Self::Known(size) if *size >= 0 => Dimension::Known(*size),
            Self::Symbolic(name) => Dimension::Symbolic(name.clone()),
            Self::Known(_) | Self::Unknown => Dimension::Unknown,
        }
    }
}

impl From<&Dimension> for Entry {
    fn from(dimension: &Dimension) -> Self {
        match dimension {
            Dimension::Known(size) => Self::Known(*size),
            Dimension::Symbolic(name) => Self::Symbolic(name.clone()),
            Dimension::Unknown => Self::Unknown,
        }
    }
}

impl Fact<'_> {
    /// Returns the elements of a short list of integers, or of a single one, as far as they are known.
    pub(super) fn entries(&self) -> Option<Vec<Entry>> {
        if let Contents::Entries(entries) = &self.contents {
            return Some(entries.clone());
        }
        let is_integer = matches!(self.element, Some(ElementType::Int64 | ElementType::Int32));
        let shape = self.shape.as_ref().filter(|shape| is_integer && shape.rank() <= 1)?;
        if let Some(array) = self.small_array() {
            return Some(array.to_integers()?.into_iter().map(Entry::Known).collect());
        }
        let count = self.count().filter(|count| *count <= MAX_FOLLOWED && shape.rank() <= 1)?;
        Some(vec![Entry::Unknown; count])
    }
}

/// Returns what is known about the elements of a node's first result.
pub(super) fn results(call: &Call<'_, '_>) -> Option<Vec<Entry>> {
    let entries = |place: usize| call.fact(place)?.entries();
    let attributes = call.attributes;
    match call.operator() {
        "Shape" => {
            let dims = call.dims(0)?;
            Some(call.shape_range(dims.len()).filter_map(|place| dims.get(place)).map(Entry::from).collect())
        }
        "Size" => {
            let dims = call.dims(0)?.iter().map(Entry::from);
            Some(vec![dims.fold(Entry::Known(1), |product, size| multiply(&product, &size))])
        }
        "Identity" | "Squeeze" | "Unsqueeze" | "Reshape" | "Flatten" => entries(0),
        "Cast" => entries(0).filter(|_| matches!(attributes.int("to"), Some(6 | 7))),
        "Concat" => {
            let parts = (0..call.node.input.len()).map(entries).collect::<Option<Vec<_>>>()?;
            Some(parts.concat()).filter(|entries| entries.len() <= MAX_FOLLOWED)
        }
        "Gather" => {
            let list = entries(0).filter(|_| call.rank(0) == Some(1))?;
            let chosen = call.integers(1)?.into_iter().map(|index| geometry::axis(index, list.len()));
            chosen.map(|place| list.get(place?).cloned()).collect()
        }
        "Slice" => {
            let list = entries(0).filter(|_| call.rank(0) == Some(1))?;
            let (starts, ends) = (call.list("starts", 1)?, call.list("ends", 2)?);
            let step = if call.has(4) { *call.integers(4)?.first()? } else { 1 };
            let range = geometry::slice(*starts.first()?, *ends.first()?, step, i64::try_from(list.len()).ok()?)?;
            let places = (0..range.count).map(|index| usize::try_from(range.start + index * range.step).ok());
            places.map(|place| list.get(place?).cloned()).collect()
        }
        "Add" => pairs(call, add),
        "Sub" => pairs(call, |left, right| match (left, right) {
            (Entry::Known(left), Entry::Known(right)) => left.checked_sub(*right).map_or(Entry::Unknown, Entry::Known),
            (any, Entry::Known(0)) => any.clone(),
            (Entry::Symbolic(left), Entry::Symbolic(right)) if left == right => Entry::Known(0),
            _ => Entry::Unknown,
        }),
        "Mul" => pairs(call, multiply),
        "Div" => pairs(call, |left, right| match (left, right) {
            (Entry::Known(left), Entry::Known(right)) => left.checked_div(*right).map_or(Entry::Unknown, Entry::Known),
            (any, Entry::Known(1)) => any.clone(),
            _ => Entry::Unknown,
        }),
        "Max" | "Min" => {
            let greatest = call.operator() == "Max";
            pairs(call, |left, right| match (left, right) {
                (Entry::Known(left), Entry::Known(right)) => {
                    Entry::Known(if greatest { *left.max(right) } else { *left.min(right) })
                }
                (left, right) if left == right && *left != Entry::Unknown => left.clone(),
                _ => Entry::Unknown,
            })
        }
        "Where" => {
            let (yes, no) = (entries(1)?, entries(2)?);
            let count = [yes.len(), no.len(), call.fact(0)?.count()?].into_iter().max()?;
            let condition = call.fact(0)?.small_array().and_then(|array| array.to_integers());
            let chosen = (0..count).map(|place| {
                let at = |list: &Vec<Entry>| list.get(if list.len() == 1 { 0 } else { place }).cloned();
                let (yes, no) = (at(&yes)?, at(&no)?);
                let condition = condition.as_ref().and_then(|list| list.get(if list.len() == 1 { 0 } else { place }));
                Some(match condition {
                    Some(0) => no,
                    Some(_) => yes,
                    None if yes == no => yes,
                    None => Entry::Unknown,
                })
            });
            chosen.collect()
        }
        "ReduceProd" => {
            let list = entries(0)?;
            Some(vec![list.iter().fold(Entry::Known(1), |product, entry| multiply(&product, entry))])
        }
        "Expand" => {
            let (list, wanted) = (entries(0)?, call.integers(1)?);
            let [entry] = list.as_slice() else {
                return Some(list);
            };
            let count = usize::try_from(*wanted.first()?).ok().filter(|count| *count <= MAX_FOLLOWED)?;
            (wanted.len() == 1).then(|| vec![entry.clone(); count])
        }
        _ => None,
    }
}

fn add(left: &Entry, right: &Entry) -> Entry {
    match (left, right) {
        (Entry::Known(left), Entry::Known(right)) => left.checked_add(*right).map_or(Entry::Unknown, Entry::Known),
        (any, Entry::Known(0)) | (Entry::Known(0), any) => any.clone(),
        _ => Entry::Unknown,
    }
}

fn multiply(left: &Entry, right: &Entry) -> Entry {
    match (left, right) {
        (Entry::Known(left), Entry::Known(right)) => left.checked_mul(*right).map_or(Entry::Unknown, Entry::Known),
        (any, Entry::Known(1)) | (Entry::Known(1), any) => any.clone(),
        (_, Entry::Known(0)) | (Entry::Known(0), _) => Entry::Known(0),
        _ => Entry::Unknown,
    }
}

/// Combines two lists element by element; a single element meets all of the other list.
fn pairs(call: &Call<'_, '_>, combine: impl Fn(&Entry, &Entry) -> Entry) -> Option<Vec<Entry>> {
    let (left, right) = (call.fact(0)?.entries()?, call.fact(1)?.entries()?);
    if call.node.input.len() != 2 || (left.len() != right.len() && left.len() != 1 && right.len() != 1) {
        return None;
    }
    let count = if left.len() == 1 { right.len() } else { left.len() };
    let at = |list: &[Entry], place: usize| list.get(if list.len() == 1 { 0 } else { place }).cloned();
    (0..count).map(|place| Some(combine(&at(&left, place)?, &at(&right, place)?))).collect()
}
