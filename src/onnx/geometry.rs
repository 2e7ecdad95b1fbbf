//! The arithmetic of axes, ranges and broadcasting that operators share.
//!
//! Owns no tensor and no graph. What does not fit is `None`; nothing here overflows or panics.

/// Returns an axis counted from 0; negative ones count from the end.
pub(super) fn axis(axis: i64, rank: usize) -> Option<usize> {
    let signed = i64::try_from(rank).ok()?;
    let counted = if axis < 0 { axis.checked_add(signed)? } else { axis };
    usize::try_from(counted).ok().filter(|axis| *axis < rank)
}

/// Returns axes counted from 0, ascending, each once.
pub(super) fn axes(axes: &[i64], rank: usize) -> Option<Vec<usize>> {
    let mut counted = axes.iter().map(|&value| axis(value, rank)).collect::<Option<Vec<_>>>()?;
    counted.sort_unstable();
    counted.windows(2).all(|pair| pair.first() != pair.last()).then_some(counted)
}

/// Which elements of an axis a slice takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// The first.
    pub start: i64,
    /// The distance, not 0.
    pub step: i64,
    /// How many.
    pub count: i64,
}

/// Clamps a slice to an axis of some size, as `Slice` does. `step` must not be 0.
pub(super) fn slice(start: i64, end: i64, step: i64, size: i64) -> Option<Range> {
    let counted = |place: i64| if place < 0 { place.saturating_add(size) } else { place };
    let (start, end) = (counted(start), counted(end));
    let (start, distance) = match step {
        0 => return None,
        1.. => {
            let start = start.clamp(0, size);
            (start, end.clamp(0, size).checked_sub(start)?)
        }
        _ => {
            let start = start.clamp(0, (size - 1).max(0));
            (start, start.checked_sub(end.clamp(-1, (size - 1).max(-1)))?)
        }
    };
    let stride = i64::try_from(step.unsigned_abs()).unwrap_or(i64::MAX);
    let count = if distance <= 0 || size == 0 { 0 } else { (distance - 1) / stride + 1 };
    Some(Range { start, step, count })
}

/// Returns the sizes that two tensors have together under NumPy's rules.
pub(super) fn broadcast(left: &[usize], right: &[usize]) -> Option<Vec<usize>> {
    let rank = left.len().max(right.len());
    let at = |sizes: &[usize], index: usize| {
        (index + sizes.len()).checked_sub(rank).and_then(|place| sizes.get(place)).copied().unwrap_or(1)
    };
    let together = |index| match (at(left, index), at(right, index)) {
        (left, right) if left == right || right == 1 => Some(left),
        (1, right) => Some(right),
        _ => None,
    };
    (0..rank).map(together).collect()
}

/// Returns the strides, in elements, of a dense row-major tensor.
pub(super) fn strides(sizes: &[usize]) -> Vec<isize> {
    let mut strides = vec![0; sizes.len()];
    let mut stride = 1_isize;
    for (place, size) in strides.iter_mut().zip(sizes).rev() {
        *place = stride;
        stride = stride.saturating_mul(isize::try_from(*size).unwrap_or(isize::MAX));
    }
    strides
}

/// Returns the strides with which a dense tensor is read as one of the larger `sizes`: 0 where it is repeated.
pub(super) fn repeated(own: &[usize], sizes: &[usize]) -> Vec<isize> {
    let missing = sizes.len().saturating_sub(own.len());
    let own_strides = strides(own);
    let kept = own_strides.iter().zip(own).map(|(&stride, &size)| if size == 1 { 0 } else { stride });
    std::iter::repeat_n(0, missing).chain(kept).collect()
}

/// The places of elements in memory, in row-major order of the tensor that they make.
#[derive(Clone, Debug)]
pub(super) struct Offsets<'a> {
    sizes: &'a [usize],
    strides: &'a [isize],
    index: Vec<usize>,
    offset: isize,
    left: usize,
}

impl<'a> Offsets<'a> {
    /// Walks a tensor of some sizes whose first element is at `start`.
    pub(super) fn new(sizes: &'a [usize], strides: &'a [isize], start: isize) -> Self {
        let left = sizes.iter().product();
        Self { sizes, strides, index: vec![0; sizes.len()], offset: start, left }
    }
}

impl Iterator for Offsets<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let offset = usize::try_from(self.offset).ok();
        for ((index, size), stride) in self.index.iter_mut().zip(self.sizes).zip(self.strides).rev() {
            *index += 1;
            self.offset += stride;
            if *index < *size {
                break;
            }
            self.offset -= stride * (*size as isize);
            *index = 0;
        }
        offset
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

/// What a dimension of `Reshape`'s target becomes, and which one takes what is left.
pub(super) fn reshape(sizes: &[usize], target: &[i64], zero_is_size: bool) -> Option<Vec<usize>> {
    let mut inferred = None;
    let mut result = Vec::with_capacity(target.len());
    for (place, &wanted) in target.iter().enumerate() {
        result.push(match wanted {
            -1 if inferred.is_none() => {
                inferred = Some(place);
                1
            }
            0 if !zero_is_size => *sizes.get(place)?,
            wanted => usize::try_from(wanted).ok()?,
        });
    }
    let count = |sizes: &[usize]| sizes.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
    let (whole, given) = (count(sizes)?, count(&result)?);
    match inferred.and_then(|place| result.get_mut(place)) {
        Some(size) => {
            *size = whole.checked_div(given)?;
            (given * *size == whole).then_some(result)
        }
        None => (whole == given).then_some(result),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_clamped_like_numpy() {
        let cases = [
            ((0, 3, 1, 5), (0, 3)),
            ((-2, i64::MAX, 1, 5), (3, 2)),
            ((4, 1, 1, 5), (4, 0)),
            ((-1, i64::MIN, -1, 5), (4, 5)),
            ((3, 0, -2, 5), (3, 2)),
            ((100, -100, -1, 5), (4, 5)),
            ((0, i64::MAX, 2, 5), (0, 3)),
            ((0, 0, 1, 0), (0, 0)),
            ((i64::MAX, i64::MIN, i64::MIN, 5), (4, 1)),
        ];
        for ((start, end, step, size), (first, count)) in cases {
            let found = slice(start, end, step, size).unwrap();
            assert_eq!((found.start, found.count), (first, count), "{start}:{end}:{step} of {size}");
        }
        assert_eq!(slice(0, 1, 0, 5), None);
    }

    #[test]
    fn shapes_broadcast_like_numpy() {
        assert_eq!(broadcast(&[2, 1, 4], &[3, 1]), Some(vec![2, 3, 4]));
        assert_eq!(broadcast(&[], &[0]), Some(vec![0]));
        assert_eq!(broadcast(&[2], &[3]), None);
        assert_eq!(broadcast(&[1], &[0, 1]), Some(vec![0, 1]));
    }

    #[test]
    fn targets_of_reshape_are_completed() {
        assert_eq!(reshape(&[2, 3, 4], &[0, -1], false), Some(vec![2, 12]));
        assert_eq!(reshape(&[2, 3], &[-1, -1], false), None);
        assert_eq!(reshape(&[2, 3], &[4, -1], false), None);
        assert_eq!(reshape(&[0, 3], &[0, -1], false), None);
        assert_eq!(reshape(&[0, 3], &[3, 0], true), Some(vec![3, 0]));
        assert_eq!(reshape(&[2], &[i64::MAX, i64::MAX], false), None);
    }

    #[test]
    fn offsets_follow_strides() {
        let transposed: Vec<_> = Offsets::new(&[3, 2], &[1, 3], 0).collect();
        assert_eq!(transposed, [0, 3, 1, 4, 2, 5]);
        assert_eq!(Offsets::new(&[2, 0], &[1, 1], 0).count(), 0);
        assert_eq!(Offsets::new(&[], &[], 7).collect::<Vec<_>>(), [7]);
        assert_eq!(repeated(&[3, 1], &[2, 3, 4]), [0, 1, 0]);
    }
}
