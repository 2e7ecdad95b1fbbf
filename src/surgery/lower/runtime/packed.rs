//! `MatMulNBits`: products with weights of a few bits, which become numbers.

use super::super::super::draft::{Draft, Site};
use super::super::scheme::integers;
use crate::onnx::{element_count, read_floats};

/// The weights, row by row of `columns` of the result, as blocks of integers with a scale each.
struct Blocks {
    bits: usize,
    /// The elements of a block.
    size: usize,
    /// The blocks of a row.
    count: usize,
}

impl Blocks {
    /// Unpacks rows of integers of a few bits, the lowest first; each row begins with a byte of its own.
    fn unpacked(&self, bytes: &[f64], length: usize) -> Option<Vec<f64>> {
        let each = 8 / self.bits;
        let width = length.div_ceil(each);
        let mask = (1_u8 << (self.bits - 1)) - 1 + (1 << (self.bits - 1));
        let number = |byte: u8, place: usize| f64::from((byte >> (place * self.bits)) & mask);
        let row = |row: &[f64]| {
            let numbers = row.iter().flat_map(|byte| (0..each).map(move |place| number(*byte as u8, place)));
            numbers.take(length).collect::<Vec<f64>>()
        };
        (width > 0).then(|| bytes.chunks(width).flat_map(row).collect())
    }
}

pub(super) fn product(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let positive = |name: &str| usize::try_from(site.integer(name)?).ok().filter(|value| *value > 0);
    let (inner, columns, size) = (positive("K")?, positive("N")?, positive("block_size")?);
    let bits = site.integer("bits").unwrap_or(4);
    let bits = usize::try_from(bits).ok().filter(|bits| matches!(bits, 2 | 4 | 8))?;
    let is_prepacked = site.integer("weight_prepacked").is_some_and(|value| value != 0);
    // Groups in another order than the rows.
    if site.input(4).is_some() || is_prepacked || size % (8 / bits) != 0 {
        return None;
    }
    let blocks = Blocks { bits, size, count: inner.div_ceil(size) };
    let all = columns.checked_mul(blocks.count)?;
    let weights = blocks.unpacked(&integers(site.constant(1)?)?, blocks.size)?;
    let scales = read_floats(site.constant(2)?).ok()?;
    // What is made of the sizes that are stated must be there.
    if scales.len() != all {
        return None;
    }
    let zeros = match site.input(3) {
        None => vec![f64::from(1_u32 << (bits - 1)); all],
        Some(_) => {
            let tensor = site.constant(3)?;
            match integers(tensor) {
                Some(bytes) => blocks.unpacked(&bytes, blocks.count)?,
                None => read_floats(tensor).ok()?,
            }
        }
    };
    if zeros.len() != all || weights.len() != all.checked_mul(size)? {
        return None;
    }
    let mut numbers = vec![0.0; usize::try_from(element_count(&[inner as i64, columns as i64])?).ok()?];
    let scaled = weights.chunks(size).zip(scales.iter().zip(&zeros)).enumerate();
    for (place, (block, (scale, zero))) in scaled {
        let (column, first) = (place / blocks.count, place % blocks.count * size);
        // The last block of a row may be longer than what is left of it.
        for (row, number) in block.iter().enumerate().take(inner.saturating_sub(first)) {
            *numbers.get_mut((first + row) * columns + column)? = (number - zero) * scale;
        }
    }
    let matrix = draft.floats(&[inner as i64, columns as i64], &numbers);
    let mut result = draft.apply("MatMul", &[input, &matrix]);
    if let Some(shift) = site.input(5) {
        result = draft.binary("Add", &result, shift);
    }
    draft.yields(&result, output);
    Some(())
}
