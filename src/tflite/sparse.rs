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
    /// How many indices there are.
    size: usize,
    indices: Indices,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Indices {
    /// All of them.
    Dense,
    /// Some: those of the parent number `n` are between segments `n` and `n + 1`.
    Listed { segments: Vec<usize>, indices: Vec<usize> },
}

impl Sparsity {
    /// Reads the description for a constant of this shape; `None` if it contradicts itself.
    pub(super) fn read(table: &Table, shape: &[i64], budget: &mut Budget) -> Result<Option<Self>, TfliteError> {
        let rank = shape.len();
        let usable = |value: i32| usize::try_from(value).ok();
        let order: Option<Vec<usize>> = table.vector::<i32>(0)?.iter().take(2 * rank + 1).map(usable).collect();
        let blocked: Option<Vec<usize>> = table.vector::<i32>(1)?.iter().take(rank + 1).map(usable).collect();
        let mut stored = Vec::new();
        for dimension in table.tables(2)?.take(2 * rank + 1) {
            let dimension = dimension?;
            let Some(indices) = Indices::read(&dimension, budget)? else { return Ok(None) };
            stored.push((usize::try_from(dimension.scalar::<i32>(1, 0)?).unwrap_or(0), indices));
        }
        Ok(order.zip(blocked).and_then(|(order, blocked)| Self::assemble(shape, &order, &blocked, stored)))
    }

    /// Brings sizes and strides together. `order` names the dimensions as they are stored, first the constant's own and
    /// then its blocks; `blocked` names the dimension of each block.
    fn assemble(shape: &[i64], order: &[usize], blocked: &[usize], stored: Vec<(usize, Indices)>) -> Option<Self> {
        let rank = shape.len();
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..rank + blocked.len()) || stored.len() != order.len() {
            return None;
        }
        let shape: Vec<usize> = shape.iter().map(|size| usize::try_from(*size).ok()).collect::<Option<_>>()?;
        // Without zeros, no partial product is larger than the product of all sizes.
        let count =
            shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size)).filter(|count| *count > 0)?;
        let strides: Vec<usize> = (0..rank).map(|axis| shape.iter().skip(axis + 1).product()).collect();
        let block_of = |dimension: &usize| dimension.checked_sub(rank).and_then(|block| blocked.get(block));
        let mut blocks = vec![1; rank];
        for (axis, (size, _)) in
            order.iter().zip(&stored).filter_map(|(place, stored)| Some((block_of(place)?, stored)))
        {
            *blocks.get_mut(*axis).filter(|_| *size > 0)? = *size;
        }
        let mut levels = Vec::new();
        for (dimension, (said, indices)) in order.iter().zip(stored) {
            let (stride, size) = match block_of(dimension) {
                Some(axis) => (*strides.get(*axis)?, said),
                None => {
                    let (block, size) = (*blocks.get(*dimension)?, *shape.get(*dimension)?);
                    (strides.get(*dimension)?.checked_mul(block)?, (size % block == 0).then(|| size / block)?)
                }
            };
            if indices == Indices::Dense && said != size {
                return None;
            }
            levels.push(Level { stride, size, indices });
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
                let place = |index: usize| start + index * level.stride;
                match &level.indices {
                    Indices::Dense if children.len() + level.size > limit => return None,
                    Indices::Dense => children.extend((0..level.size).map(place)),
                    Indices::Listed { segments, indices } => {
                        let own = indices.get(*segments.get(number)?..*segments.get(number + 1)?)?;
                        if children.len() + own.len() > limit || own.iter().any(|index| *index >= level.size) {
                            return None;
                        }
                        children.extend(own.iter().copied().map(place));
                    }
                }
            }
            parents = children;
        }
        (parents.len() == stored).then_some(parents)
    }
}

impl Indices {
    /// Reads one dimension; `None` if it is of an unknown kind.
    fn read(dimension: &Table, budget: &mut Budget) -> Result<Option<Self>, TfliteError> {
        if dimension.scalar::<i8>(0, 0)? == 0 {
            return Ok(Some(Self::Dense));
        }
        let (segments, indices) = (numbers(dimension, 2, budget)?, numbers(dimension, 4, budget)?);
        Ok(segments.zip(indices).map(|(segments, indices)| Self::Listed { segments, indices }))
    }
}

/// Reads a list whose width the field before it says.
fn numbers(dimension: &Table, kind: usize, budget: &mut Budget) -> Result<Option<Vec<usize>>, TfliteError> {
    let Some(list) = dimension.table(kind + 1)? else { return Ok(None) };
    let kind = dimension.scalar::<u8>(kind, 0)?;
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
