//! From the planes of a JPEG to pixels: components of fewer samples are stretched, then become red, green and blue.
//!
//! Stretching by two is linear, with the weights 3 and 1 and libjpeg's roundings, which lean to either side in turn;
//! other ratios repeat samples. Colours follow JFIF, four inks follow Adobe, who writes them inverted.

use super::super::picture::{Channels, Picture, Size};
use super::super::wide::wide;
use super::JpegError;

/// The samples of one component.
#[derive(Clone, Debug, Default)]
pub(super) struct Plane {
    /// How many samples the component has; more may stand right of and below them.
    pub(super) size: Size,
    /// How far apart rows stand.
    pub(super) stride: usize,
    /// The samples.
    pub(super) samples: Vec<u8>,
    /// How many pixels each sample stands for, across and down.
    pub(super) ratio: (usize, usize),
}

impl Plane {
    /// Returns a row; the last one again below it.
    fn row(&self, number: usize) -> &[u8] {
        let start = number.min(self.size.height.saturating_sub(1)) * self.stride;
        self.samples.get(start..start + self.size.width).unwrap_or_default()
    }
}

/// What the components of a pixel are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colours {
    Gray,
    Rgb,
    YCbCr,
    /// Cyan, magenta, yellow and black.
    Inks,
    /// Inks, three of them turned like YCbCr.
    TurnedInks,
}

/// Makes the picture of its planes.
pub(super) fn picture(planes: &[Plane], size: Size, colours: Colours) -> Result<Picture, JpegError> {
    let channels = if colours == Colours::Gray { Channels::Gray } else { Channels::Rgb };
    let samples = pixels(planes, size, colours);
    Picture::new(size, channels, samples).ok_or(JpegError::Damaged { rule: "a component is missing" })
}

wide! {
    /// All pixels, row by row.
    fn pixels(planes: &[Plane], size: Size, colours: Colours) -> Vec<u8> = body;
}

#[inline(always)]
fn body(planes: &[Plane], size: Size, colours: Colours) -> Vec<u8> {
    let channels = if colours == Colours::Gray { 1 } else { 3 };
    let mut pixels = vec![0; size.width * size.height * channels];
    let mut stretched: Vec<Stretched> = planes.iter().map(Stretched::new).collect();
    for (number, pixels) in pixels.chunks_exact_mut(size.width * channels).enumerate() {
        for (plane, stretched) in planes.iter().zip(&mut stretched) {
            stretched.make(plane, number);
        }
        let row = |at: usize| {
            let whole = stretched.get(at).map(|stretched| stretched.row.as_slice()).unwrap_or_default();
            whole.get(..size.width).unwrap_or_default()
        };
        match colours {
            Colours::Gray => {
                pixels.iter_mut().zip(row(0)).for_each(|(pixel, gray)| *pixel = *gray);
            }
            Colours::Rgb => {
                for (((pixel, red), green), blue) in
                    pixels.as_chunks_mut::<3>().0.iter_mut().zip(row(0)).zip(row(1)).zip(row(2))
                {
                    *pixel = [*red, *green, *blue];
                }
            }
            Colours::YCbCr => colour_row(pixels, row(0), row(1), row(2)),
            Colours::Inks => {
                for (((pixel, red), green), blue) in
                    pixels.as_chunks_mut::<3>().0.iter_mut().zip(row(0)).zip(row(1)).zip(row(2))
                {
                    *pixel = [*red, *green, *blue];
                }
                blacken(pixels, row(3));
            }
            Colours::TurnedInks => {
                colour_row(pixels, row(0), row(1), row(2));
                pixels.iter_mut().for_each(|sample| *sample = u8::MAX - *sample);
                blacken(pixels, row(3));
            }
        }
    }
    pixels
}

/// YCbCr as red, green and blue (JFIF), in fixed point with 16 bits.
#[inline(always)]
fn colour_row(pixels: &mut [u8], luma: &[u8], blue_part: &[u8], red_part: &[u8]) {
    const HALF: i32 = 1 << 15;
    let pixels = pixels.as_chunks_mut::<3>().0.iter_mut();
    for (((pixel, luma), blue), red) in pixels.zip(luma).zip(blue_part).zip(red_part) {
        let (luma, blue, red) = (i32::from(*luma), i32::from(*blue) - 128, i32::from(*red) - 128);
        let rgb = [
            luma + ((91_881 * red + HALF) >> 16),
            luma + ((-22_554 * blue - 46_802 * red + HALF) >> 16),
            luma + ((116_130 * blue + HALF) >> 16),
        ];
        *pixel = rgb.map(|sample| sample.clamp(0, 255) as u8);
    }
}

/// Takes what black ink leaves of the light that three inks leave. Both are inverted: 255 is no ink.
#[inline(always)]
fn blacken(pixels: &mut [u8], black: &[u8]) {
    for (pixel, black) in pixels.as_chunks_mut::<3>().0.iter_mut().zip(black) {
        *pixel = pixel.map(|light| {
            let taken = u32::from(u8::MAX - light) * u32::from(*black) + 128;
            black.saturating_sub(((taken + (taken >> 8)) >> 8) as u8)
        });
    }
}

/// A row of a plane with one sample for each pixel.
struct Stretched {
    row: Vec<u8>,
    /// Between the directions: weighted sums of two rows.
    sums: Vec<u16>,
    way: Way,
}

/// How samples become as many as pixels.
#[derive(Clone, Copy)]
enum Way {
    /// They are.
    As,
    /// Two for one across, linear.
    Across,
    /// Two for one down, linear.
    Down,
    /// Both.
    Both,
    /// This many for one across, the same again; down in the same way.
    Again(usize),
}

impl Stretched {
    fn new(plane: &Plane) -> Self {
        // Two samples are too few for a slope.
        let way = match plane.ratio {
            (1, 1) => Way::As,
            (2, 1) if plane.size.width > 2 => Way::Across,
            (1, 2) => Way::Down,
            (2, 2) if plane.size.width > 2 => Way::Both,
            (across, _) => Way::Again(across),
        };
        let width = plane.size.width;
        Self { row: vec![0; width * plane.ratio.0], sums: vec![0; width], way }
    }

    #[inline(always)]
    fn make(&mut self, plane: &Plane, number: usize) {
        let near = plane.row(number / plane.ratio.1.max(1));
        // The other row that an output row lies between: above for even ones, below for odd ones.
        let is_odd = number % 2 == 1;
        let far = if is_odd { plane.row(number / 2 + 1) } else { plane.row((number / 2).saturating_sub(1)) };
        match self.way {
            Way::As => self.row.copy_from_slice(near),
            Way::Across => {
                self.sums.iter_mut().zip(near).for_each(|(sum, near)| *sum = u16::from(*near));
                // Rounds down and up in turn.
                across::<2, 1, 2>(&self.sums, &mut self.row);
            }
            Way::Down => {
                let bias = if is_odd { 2 } else { 1 };
                for ((sample, near), far) in self.row.iter_mut().zip(near).zip(far) {
                    *sample = ((3 * u16::from(*near) + u16::from(*far) + bias) >> 2) as u8;
                }
            }
            Way::Both => {
                for ((sum, near), far) in self.sums.iter_mut().zip(near).zip(far) {
                    *sum = 3 * u16::from(*near) + u16::from(*far);
                }
                across::<4, 8, 7>(&self.sums, &mut self.row);
            }
            Way::Again(ratio) => {
                for (samples, near) in self.row.chunks_exact_mut(ratio.max(1)).zip(near) {
                    samples.fill(*near);
                }
            }
        }
    }
}

/// Makes two samples of each sum: three parts of it and one of its neighbour, which the first has to the left and the last
/// to the right of themselves. `LEFT` and `RIGHT` decide halves, and `BITS` come off at the end.
#[inline(always)]
fn across<const BITS: u32, const LEFT: u16, const RIGHT: u16>(sums: &[u16], row: &mut [u8]) {
    let pair = |before: u16, sum: u16, after: u16| {
        [((3 * sum + before + LEFT) >> BITS) as u8, ((3 * sum + after + RIGHT) >> BITS) as u8]
    };
    let pairs = row.as_chunks_mut::<2>().0;
    if let ([first, second, ..], Some(start)) = (sums, pairs.first_mut()) {
        *start = pair(*first, *first, *second);
    }
    if let ([.., second, last], Some(end)) = (sums, pairs.last_mut()) {
        *end = pair(*second, *last, *last);
    }
    for (pair_of, window) in pairs.iter_mut().skip(1).zip(sums.windows(3)) {
        if let [before, sum, after] = window {
            *pair_of = pair(*before, *sum, *after);
        }
    }
}
