//! Constants that are stored without most of their zeros.
//!
//! Owns the way from the stored elements to all elements. The dimensions are stored one inside the other in some order;
//! of each, either all indices are there or those that a compressed list names. Blocks are further dimensions.

use super::flat::Table;
use super::{Budget, TfliteError};

/// How many elements there may be for each one that is stored. Networks keep more of their weights.
const MAX_SPREAD: usize = 64;

/// How the stored elements lie in the constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sparsity {
    levels: Vec<Level>,
    /// The number of all elements.
    count: usize,
}

/// One dimension as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Level {
    /// How far apart in the constant two neighbours are.
    stride: usize,
    indices: Indices,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Indices {
    /// All of them.
    Dense(usize),
    /// Some: those of the parent number `n` are between segments `n` and `n + 1`.
    Listed { segments: Vec<usize>, indices: Vec<usize>, size: usize },
}

impl Sparsity {
    /// Reads the description for a constant of this shape; `None` if it contradicts itself.
    pub(super) fn read(table: &Table, shape: &[i64], budget: &mut Budget) -> Result<Option<Self>, TfliteError> {
        let rank = shape.len();
        let usable = |value: i32| usize::try_from(value).ok();
        let order: Option<Vec<usize>> = table.vector::<i32>(0)?.iter().take(2 * rank + 1).map(usable).collect();
        let blocked: Option<Vec<usize>> = table.vector::<i32>(1)?.iter().take(rank + 1).map(usable).collect();
        let mut described = Vec::new();
        for metadata in table.tables(2)?.take(2 * rank + 1) {
            described.push(level_indices(&metadata?, budget)?);
        }
        let (Some(order), Some(blocked)) = (order, blocked) else { return Ok(None) };
        let described: Option<Vec<(usize, Option<(Vec<usize>, Vec<usize>)>)>> = described.into_iter().collect();
        Ok(described.and_then(|described| Self::assemble(shape, &order, &blocked, described)))
    }

    fn assemble(
        shape: &[i64],
        order: &[usize],
        blocked: &[usize],
        described: Vec<(usize, Option<(Vec<usize>, Vec<usize>)>)>,
    ) -> Option<Self> {
        let rank = shape.len();
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        let all_once = sorted.iter().copied().eq(0..rank + blocked.len());
        if !all_once || described.len() != order.len() || rank == 0 {
            return None;
        }
        let shape: Vec<usize> = shape.iter().map(|size| usize::try_from(*size).ok()).collect::<Option<_>>()?;
        // Without zeros, no partial product is larger than the product of all sizes.
        let count = shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size)).filter(|count| *count > 0)?;
        let strides: Vec<usize> = (0..rank).map(|axis| shape.iter().skip(axis + 1).product()).collect();
        // The size of each block; blocks are the dimensions after the constant's own.
        let mut blocks = vec![1; rank];
        for (dimension, (size, listed)) in order.iter().zip(&described) {
            if let Some(axis) = dimension.checked_sub(rank).and_then(|block| blocked.get(block)) {
                *blocks.get_mut(*axis)? = *size;
                if listed.is_some() || *size == 0 {
                    return None;
                }
            }
        }
        let mut levels = Vec::new();
        for (&dimension, (dense, listed)) in order.iter().zip(described) {
            let (stride, size) = match dimension.checked_sub(rank) {
                Some(block) => (*strides.get(*blocked.get(block)?)?, dense),
                None => {
                    let block = *blocks.get(dimension)?;
                    let size = *shape.get(dimension)?;
                    if size % block != 0 {
                        return None;
                    }
                    (strides.get(dimension)? * block, size / block)
                }
            };
            let indices = match listed {
                None if dense == size => Indices::Dense(size),
                None => return None,
                Some((segments, indices)) => Indices::Listed { segments, indices, size },
            };
            levels.push(Level { stride, indices });
        }
        Some(Self { levels, count })
    }

    /// Returns where each stored element lies among all elements, in the order they are stored; `None` if there are not
    /// exactly `stored`, if they are too few, or if one lies outside.
    pub(super) fn places(&self, stored: usize) -> Option<Vec<usize>> {
        if self.count > stored.saturating_mul(MAX_SPREAD) {
            return None;
        }
        // Where what one dimension holds begins in the constant, for each index of the dimensions around it.
        let mut parents: Vec<usize> = vec![0];
        for (depth, level) in self.levels.iter().enumerate() {
            let is_last = depth + 1 == self.levels.len();
            let mut children = Vec::new();
            let limit = if is_last { stored } else { self.count };
            for (number, &start) in parents.iter().enumerate() {
                match &level.indices {
                    Indices::Dense(size) => {
                        if children.len() + size > limit {
                            return None;
                        }
                        children.extend((0..*size).map(|index| start + index * level.stride));
                    }
                    Indices::Listed { segments, indices, size } => {
                        let (from, to) = (*segments.get(number)?, *segments.get(number + 1)?);
                        let own = indices.get(from..to)?;
                        if children.len() + own.len() > limit || own.iter().any(|index| index >= size) {
                            return None;
                        }
                        children.extend(own.iter().map(|index| start + index * level.stride));
                    }
                }
            }
            parents = children;
        }
        (parents.len() == stored).then_some(parents)
    }
}

/// Reads one dimension: its size if all indices are there, and segments and indices if not. `None` if it is neither.
#[expect(clippy::type_complexity, reason = "the shape of the file, used once")]
fn level_indices(
    metadata: &Table,
    budget: &mut Budget,
) -> Result<Option<(usize, Option<(Vec<usize>, Vec<usize>)>)>, TfliteError> {
    let size = usize::try_from(metadata.scalar::<i32>(1, 0)?).unwrap_or(0);
    match metadata.scalar::<i8>(0, 0)? {
        0 => Ok(Some((size, None))),
        1 => {
            let segments = numbers(metadata, 2, budget)?;
            let indices = numbers(metadata, 4, budget)?;
            Ok(segments.zip(indices).map(|lists| (size, Some(lists))))
        }
        _ => Ok(None),
    }
}

/// Reads a list whose width the field before it says.
fn numbers(metadata: &Table, kind: usize, budget: &mut Budget) -> Result<Option<Vec<usize>>, TfliteError> {
    let Some(list) = metadata.table(kind + 1)? else { return Ok(None) };
    let kind = metadata.scalar::<u8>(kind, 0)?;
    let count = match kind {
        1 => list.vector::<i32>(0)?.len(),
        2 => list.vector::<u16>(0)?.len(),
        _ => list.vector::<u8>(0)?.len(),
    };
    budget.spend(count.saturating_mul(size_of::<usize>()))?;
    Ok(match kind {
        1 => list.vector::<i32>(0)?.iter().map(|value| usize::try_from(value).ok()).collect(),
        2 => Some(list.vector::<u16>(0)?.iter().map(usize::from).collect()),
        3 => Some(list.vector::<u8>(0)?.iter().map(usize::from).collect()),
        _ => None,
    })
}
