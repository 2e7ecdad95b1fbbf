//! The inverse cosine transform of 8x8 coefficients (Loeffler, Ligtenberg and Moschytz 1989), in fixed point.
//!
//! Thirteen bits after the point for the factors, and two more for what stands between the two passes: the roundings that
//! libjpeg's accurate transform has, so that pixels are the same.

use std::num::Wrapping;

use super::super::wide::wide;

/// Bits after the point of a factor.
const POINT: usize = 13;
/// Bits that the first pass keeps beyond whole numbers.
const KEPT: u32 = 2;

/// Eight rows of eight numbers.
type Rows = [[i32; 8]; 8];

/// Transforms all columns. This is a loop over columns, and not over rows of eight, as compilers see eight lanes in it.
#[inline(always)]
fn pass(from: &Rows, bits: u32) -> Rows {
    let mut to = [[0; 8]; 8];
    for column in 0..8 {
        let [c0, c1, c2, c3, c4, c5, c6, c7] = from.each_ref().map(|row| Wrapping(row[column]));
        // Even coefficients.
        let rotated = (c2 + c6) * Wrapping(4433);
        let low = rotated - c6 * Wrapping(15_137);
        let high = rotated + c2 * Wrapping(6270);
        let sum = (c0 + c4) << POINT;
        let difference = (c0 - c4) << POINT;
        let even = [sum + high, difference + low, difference - low, sum - high];
        // Odd coefficients.
        let (outer, inner) = ((c7 + c1) * Wrapping(-7373), (c5 + c3) * Wrapping(-20_995));
        let (left, right) = (c7 + c3, c5 + c1);
        let all = (left + right) * Wrapping(9633);
        let (left, right) = (left * Wrapping(-16_069) + all, right * Wrapping(-3196) + all);
        let odd = [
            c1 * Wrapping(12_299) + outer + right,
            c3 * Wrapping(25_172) + inner + left,
            c5 * Wrapping(16_819) + inner + right,
            c7 * Wrapping(2446) + outer + left,
        ];
        let half = Wrapping(1 << (bits - 1));
        for (at, (even, odd)) in even.into_iter().zip(odd).enumerate() {
            to[at][column] = (even + odd + half).0 >> bits;
            to[7 - at][column] = (even - odd + half).0 >> bits;
        }
    }
    to
}

#[inline(always)]
fn transposed(rows: &Rows) -> Rows {
    let mut columns = [[0; 8]; 8];
    for (at, row) in rows.iter().enumerate() {
        for (column, number) in columns.iter_mut().zip(row) {
            column[at] = *number;
        }
    }
    columns
}

#[inline(always)]
fn body(coefficients: &[i16; 64], factors: &[u16; 64], samples: &mut [u8], stride: usize) {
    let mut rows = [[0; 8]; 8];
    for ((number, coefficient), factor) in rows.as_flattened_mut().iter_mut().zip(coefficients).zip(factors) {
        *number = i32::from(*coefficient).wrapping_mul(i32::from(*factor));
    }
    let columns = transposed(&pass(&rows, POINT as u32 - KEPT));
    let rows = transposed(&pass(&columns, POINT as u32 + KEPT + 3));
    for (to, row) in samples.chunks_mut(stride).zip(rows) {
        if let Some(to) = to.first_chunk_mut::<8>() {
            *to = row.map(|sample| sample.wrapping_add(128).clamp(0, 255) as u8);
        }
    }
}

wide! {
    /// Turns the coefficients of a block, row by row and each times its factor, into samples: eight rows of eight, the
    /// first at the start of `samples`, the others each `stride` further on.
    pub(super) fn idct(coefficients: &[i16; 64], factors: &[u16; 64], samples: &mut [u8], stride: usize) = body;
}

/// The same for a block whose samples are all alike, as only its first coefficient says something.
pub(super) fn plain(coefficient: i16, factor: u16, samples: &mut [u8], stride: usize) {
    let value = i32::from(coefficient).wrapping_mul(i32::from(factor));
    let sample = ((value.wrapping_add(4) >> 3).wrapping_add(128)).clamp(0, 255) as u8;
    for row in samples.chunks_mut(stride).take(8) {
        if let Some(row) = row.first_chunk_mut::<8>() {
            *row = [sample; 8];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_coefficient_makes_a_plain_block_either_way() {
        for coefficient in [-300, -17, -1, 0, 1, 3, 4, 5, 12, 100, 255, 2000] {
            let mut coefficients = [0; 64];
            coefficients[0] = coefficient;
            let (mut by_passes, mut at_once) = ([9; 80], [9; 80]);
            idct(&coefficients, &[3; 64], &mut by_passes, 10);
            plain(coefficient, 3, &mut at_once, 10);
            assert_eq!(by_passes, at_once, "{coefficient}");
            assert_eq!(at_once[8], 9, "nothing is written beside the block");
        }
    }

    #[test]
    fn the_transform_is_the_cosine_transform() {
        let mut coefficients = [0_i16; 64];
        let mut seed = 1_u32;
        for coefficient in coefficients.iter_mut().take(20) {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *coefficient = ((seed >> 24) as i16 - 128) / 2;
        }
        let mut samples = [0; 64];
        idct(&coefficients, &[1; 64], &mut samples, 8);
        for (at, sample) in samples.iter().enumerate() {
            let (y, x) = (at / 8, at % 8);
            let mut sum = 0.0;
            for (at, coefficient) in coefficients.iter().enumerate() {
                let (v, u) = (at / 8, at % 8);
                let scale = |at: usize| if at == 0 { 0.5_f64.sqrt() } else { 1.0 };
                let wave = |at: usize, n: usize| ((2 * n + 1) as f64 * at as f64 * std::f64::consts::PI / 16.0).cos();
                sum += scale(u) * scale(v) * f64::from(*coefficient) * wave(u, x) * wave(v, y) / 4.0;
            }
            let expected = (sum + 128.0).clamp(0.0, 255.0);
            assert!((expected - f64::from(*sample)).abs() < 0.6, "{x},{y}: {sample}, expected {expected}");
        }
    }
}
