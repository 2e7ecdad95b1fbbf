//! The bicubic filter, byte for byte as Pillow has it: fixed point, along the rows first, then along the columns.
//!
//! The weights of one output pixel are those of the cubic convolution (Keys 1981, a = -0.5), stretched over as many input
//! pixels as fall on it, made to sum to one as floating-point numbers, and rounded to 22 bits after the point. Sums are
//! whole numbers, so the order of additions and the width of a processor's registers change nothing.

use super::picture::{Picture, Size};
use super::wide::wide;

/// Bits after the point of a weight: of 32, eight are the sample's and two are left for what overshoots.
const POINT: u32 = 32 - 8 - 2;
/// Half of the last place: sums are rounded, not cut.
const HALF: i32 = 1 << (POINT - 1);
/// How far the filter reaches to each side, in pixels of the coarser picture.
const REACH: f64 = 2.0;
/// Rows that go through the first pass together: enough for long runs of the same arithmetic, few enough for the cache.
const TOGETHER: usize = 32;

/// Returns the picture in another size, each channel by itself. `size` has at least one pixel.
pub fn resize(picture: Picture, size: Size) -> Picture {
    let channels = picture.channels();
    let samples = if picture.size() == size || size.width == 0 || size.height == 0 {
        return picture;
    } else {
        both_passes(&picture, size)
    };
    Picture::new(size, channels, samples).unwrap_or(picture)
}

/// Returns the number of bytes between the two passes, or nothing if it is beyond counting.
pub fn between(picture: &Picture, size: Size) -> Option<usize> {
    size.width.checked_mul(picture.size().height)?.checked_mul(picture.channels().count())
}

wide! {
    /// Both passes; each is left out where that side stays as it is.
    fn both_passes(picture: &Picture, size: Size) -> Vec<u8> = passes;
}

#[inline(always)]
fn passes(picture: &Picture, size: Size) -> Vec<u8> {
    let from = picture.size();
    let channels = picture.channels().count();
    let between = if from.width == size.width {
        picture.samples().to_vec()
    } else {
        let filter = Filter::new(from.width, size.width);
        match channels {
            1 => along_rows::<1>(picture.samples(), from, size.width, &filter),
            2 => along_rows::<2>(picture.samples(), from, size.width, &filter),
            3 => along_rows::<3>(picture.samples(), from, size.width, &filter),
            _ => along_rows::<4>(picture.samples(), from, size.width, &filter),
        }
    };
    if from.height == size.height {
        return between;
    }
    let mut result = Vec::with_capacity(size.width * channels * size.height);
    along_columns(&between, size.width * channels, &Filter::new(from.height, size.height), &mut result);
    result
}

/// The weights of each output pixel in one direction.
struct Filter {
    /// The first input pixel of each output pixel, and how many there are.
    windows: Vec<(usize, usize)>,
    /// The weights of all windows, one after the other.
    weights: Vec<i32>,
}

impl Filter {
    fn new(from: usize, to: usize) -> Self {
        let scale = from as f64 / to as f64;
        // A picture that grows is looked at in its own pixels.
        let stretch = scale.max(1.0);
        let reach = REACH * stretch;
        let mut filter = Self { windows: Vec::with_capacity(to), weights: Vec::new() };
        let mut window: Vec<f64> = Vec::new();
        for pixel in 0..to {
            let center = (pixel as f64 + 0.5) * scale;
            let first = (center - reach + 0.5).max(0.0) as usize;
            let end = ((center + reach + 0.5) as usize).min(from);
            window.clear();
            let inverse = 1.0 / stretch;
            window.extend((first..end).map(|at| cubic((at as f64 - center + 0.5) * inverse)));
            let mut sum = 0.0;
            window.iter().for_each(|weight| sum += weight);
            if sum != 0.0 {
                window.iter_mut().for_each(|weight| *weight /= sum);
            }
            filter.windows.push((first, window.len()));
            filter.weights.extend(window.iter().map(|weight| {
                let fixed = weight * f64::from(1_u32 << POINT);
                if *weight < 0.0 { (fixed - 0.5) as i32 } else { (fixed + 0.5) as i32 }
            }));
        }
        filter
    }

    /// Returns the first input pixel and the weights of each output pixel.
    fn pixels(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let mut rest = self.weights.as_slice();
        self.windows.iter().map(move |(first, count)| {
            let (weights, after) = rest.split_at_checked(*count).unwrap_or((rest, &[]));
            rest = after;
            (*first, weights)
        })
    }
}

/// The kernel of cubic convolution with a = -0.5.
fn cubic(distance: f64) -> f64 {
    const A: f64 = -0.5;
    let distance = distance.abs();
    if distance < 1.0 {
        ((A + 2.0) * distance - (A + 3.0)) * distance * distance + 1.0
    } else if distance < 2.0 {
        (((distance - 5.0) * distance + 8.0) * distance - 4.0) * A
    } else {
        0.0
    }
}

#[inline(always)]
fn rounded(sum: i32) -> u8 {
    (sum >> POINT).clamp(0, 255) as u8
}

/// Turns a few rows at a time, so that the pixels of a column stand side by side, and filters along the other direction.
#[inline(always)]
fn along_rows<const CHANNELS: usize>(samples: &[u8], from: Size, width: usize, filter: &Filter) -> Vec<u8> {
    let (stride, new_stride) = (from.width * CHANNELS, width * CHANNELS);
    let mut result = vec![0; new_stride * from.height];
    let mut turned = Vec::new();
    let mut filtered = Vec::new();
    let rows = samples.chunks(stride * TOGETHER).zip(result.chunks_mut(new_stride * TOGETHER));
    for (rows, new_rows) in rows {
        let column = rows.len() / from.width;
        turned.resize(rows.len(), 0);
        let mut pixels: Vec<_> = rows.chunks_exact(stride).map(|row| row.as_chunks::<CHANNELS>().0.iter()).collect();
        for turned in turned.chunks_exact_mut(column) {
            for (to, row) in turned.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(&mut pixels) {
                if let Some(pixel) = row.next() {
                    *to = *pixel;
                }
            }
        }
        filtered.clear();
        along_columns(&turned, column, filter, &mut filtered);
        for (place, row) in new_rows.chunks_exact_mut(new_stride).enumerate() {
            let pixels = filtered.get(place * CHANNELS..).unwrap_or_default().chunks(column);
            for (to, pixel) in row.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(pixels) {
                if let Some(pixel) = pixel.first_chunk() {
                    *to = *pixel;
                }
            }
        }
    }
    result
}

/// Appends the rows that the filter makes of rows of `stride` samples.
#[inline(always)]
fn along_columns(samples: &[u8], stride: usize, filter: &Filter, result: &mut Vec<u8>) {
    let mut sums = vec![HALF; stride];
    for (first, weights) in filter.pixels() {
        sums.fill(HALF);
        let mut rows = samples.chunks_exact(stride).skip(first);
        let (fours, rest) = weights.as_chunks::<4>();
        for [a, b, c, d] in fours {
            // Four rows at a time, as each sum is loaded and stored once for all of them.
            let [Some(row), Some(second), Some(third), Some(fourth)] =
                [rows.next(), rows.next(), rows.next(), rows.next()]
            else {
                break;
            };
            let samples = row.iter().zip(second).zip(third).zip(fourth);
            for (sum, (((first, second), third), fourth)) in sums.iter_mut().zip(samples) {
                *sum += i32::from(*first) * a + i32::from(*second) * b + i32::from(*third) * c + i32::from(*fourth) * d;
            }
        }
        for (row, weight) in rows.zip(rest) {
            for (sum, sample) in sums.iter_mut().zip(row) {
                *sum += i32::from(*sample) * weight;
            }
        }
        result.extend(sums.iter().map(|sum| rounded(*sum)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::Channels;
    use super::*;

    #[test]
    fn a_plain_picture_stays_plain_in_every_size() {
        for channels in [Channels::Gray, Channels::GrayAlpha, Channels::Rgb, Channels::Rgba] {
            for (width, height) in [(1, 1), (1, 9), (17, 3), (640, 480)] {
                let samples = vec![201; width * height * channels.count()];
                let picture = Picture::new(Size { width, height }, channels, samples).unwrap();
                for (width, height) in [(1, 1), (5, 224), (30, 20)] {
                    let resized = resize(picture.clone(), Size { width, height });
                    assert_eq!(resized.size(), Size { width, height });
                    assert!(resized.samples().iter().all(|sample| *sample == 201), "{picture:?} to {width}x{height}");
                }
            }
        }
    }

    #[test]
    fn wide_registers_change_nothing() {
        let samples: Vec<u8> = (0..37 * 29 * 3_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let picture = Picture::new(Size { width: 37, height: 29 }, Channels::Rgb, samples).unwrap();
        for (width, height) in [(10, 10), (100, 7), (37, 60)] {
            let size = Size { width, height };
            assert_eq!(passes(&picture, size), both_passes(&picture, size));
        }
    }
}
