//! Pictures of 8 bits a sample, row by row from the top, channels innermost.

use std::fmt;

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Size {
    /// The largest picture that is read: no camera makes one, and its samples still fit in the memory of small machines.
    pub const MOST_PIXELS: usize = 1 << 27;
    /// The longest side that is read, which is JPEG's.
    pub const LONGEST_SIDE: usize = 65_535;

    /// Returns whether a picture of this size is read.
    pub const fn is_readable(self) -> bool {
        self.width > 0
            && self.height > 0
            && self.width <= Self::LONGEST_SIDE
            && self.height <= Self::LONGEST_SIDE
            && self.width.saturating_mul(self.height) <= Self::MOST_PIXELS
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}x{}", self.width, self.height)
    }
}

/// What the samples of one pixel are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says all there is")]
pub enum Channels {
    Gray = 1,
    GrayAlpha = 2,
    Rgb = 3,
    Rgba = 4,
}

impl Channels {
    /// Returns what `count` samples are.
    pub const fn of_count(count: u64) -> Option<Self> {
        match count {
            1 => Some(Self::Gray),
            2 => Some(Self::GrayAlpha),
            3 => Some(Self::Rgb),
            4 => Some(Self::Rgba),
            _ => None,
        }
    }

    /// Returns the number of samples of a pixel.
    pub const fn count(self) -> usize {
        self as usize
    }

    /// Returns whether the last sample is an opacity.
    pub const fn has_alpha(self) -> bool {
        matches!(self, Self::GrayAlpha | Self::Rgba)
    }
}

/// A picture, with at least one pixel and exactly as many samples as its size says.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    size: Size,
    channels: Channels,
    samples: Vec<u8>,
}

impl Picture {
    /// Takes samples, or returns nothing if there are not as many as the size says, or none.
    pub fn new(size: Size, channels: Channels, samples: Vec<u8>) -> Option<Self> {
        let expected = size.width.checked_mul(size.height)?.checked_mul(channels.count())?;
        (expected == samples.len() && expected > 0).then_some(Self { size, channels, samples })
    }

    /// Returns width and height.
    pub const fn size(&self) -> Size {
        self.size
    }

    /// Returns what the samples are.
    pub const fn channels(&self) -> Channels {
        self.channels
    }

    /// Returns the samples.
    pub fn samples(&self) -> &[u8] {
        &self.samples
    }

    /// Returns the samples.
    pub fn into_samples(self) -> Vec<u8> {
        self.samples
    }

    /// Returns the rows, topmost first.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.samples.chunks_exact(self.size.width * self.channels.count())
    }

    /// Returns the picture with other channels: colours become gray by their luma (ITU-R BT.601, in fixed point as Pillow
    /// has it), opacity is dropped, and a picture without opacity is opaque.
    #[must_use]
    pub fn with_channels(self, channels: Channels) -> Self {
        use Channels::{Gray, GrayAlpha, Rgb, Rgba};
        let Self { size, samples, .. } = &self;
        let samples = match (self.channels, channels) {
            (from, to) if from == to => return self,
            (Gray, Rgb) => map(samples, |[gray]| [gray; 3]),
            (Gray, GrayAlpha) => map(samples, |[gray]| [gray, u8::MAX]),
            (Gray, Rgba) => map(samples, |[gray]| [gray, gray, gray, u8::MAX]),
            (GrayAlpha, Gray) => map(samples, |[gray, _]| [gray]),
            (GrayAlpha, Rgb) => map(samples, |[gray, _]| [gray; 3]),
            (GrayAlpha, Rgba) => map(samples, |[gray, alpha]| [gray, gray, gray, alpha]),
            (Rgb, Gray) => map(samples, |rgb| [luma(rgb)]),
            (Rgb, GrayAlpha) => map(samples, |rgb| [luma(rgb), u8::MAX]),
            (Rgb, Rgba) => map(samples, |[red, green, blue]| [red, green, blue, u8::MAX]),
            (Rgba, Gray) => map(samples, |[red, green, blue, _]| [luma([red, green, blue])]),
            (Rgba, GrayAlpha) => map(samples, |[red, green, blue, alpha]| [luma([red, green, blue]), alpha]),
            (Rgba, Rgb) => map(samples, |[red, green, blue, _]| [red, green, blue]),
            (Gray, Gray) | (GrayAlpha, GrayAlpha) | (Rgb, Rgb) | (Rgba, Rgba) => return self,
        };
        Self { size: *size, channels, samples }
    }

    /// Returns the picture with red and blue in each other's places, if it has them.
    #[must_use]
    pub fn with_red_and_blue_swapped(mut self) -> Self {
        let swap = |pixel: &mut [u8]| {
            if let [red, _, blue, ..] = pixel {
                std::mem::swap(red, blue);
            }
        };
        match self.channels {
            Channels::Gray | Channels::GrayAlpha => {}
            Channels::Rgb => self.samples.as_chunks_mut::<3>().0.iter_mut().for_each(|pixel| swap(pixel)),
            Channels::Rgba => self.samples.as_chunks_mut::<4>().0.iter_mut().for_each(|pixel| swap(pixel)),
        }
        self
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Picture({}, {:?})", self.size, self.channels)
    }
}

fn map<const FROM: usize, const TO: usize>(samples: &[u8], pixel: impl Fn([u8; FROM]) -> [u8; TO]) -> Vec<u8> {
    let from = samples.as_chunks::<FROM>().0;
    let mut result = vec![0; from.len() * TO];
    for (to, from) in result.as_chunks_mut::<TO>().0.iter_mut().zip(from) {
        *to = pixel(*from);
    }
    result
}

fn luma([red, green, blue]: [u8; 3]) -> u8 {
    let sum = u32::from(red) * 19_595 + u32::from(green) * 38_470 + u32::from(blue) * 7_471 + 0x8000;
    (sum >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_change_as_promised() {
        let pixel =
            |channels, samples: &[u8]| Picture::new(Size { width: 1, height: 1 }, channels, samples.to_vec()).unwrap();
        let colour = pixel(Channels::Rgba, &[255, 0, 10, 7]);
        for (channels, samples) in [
            (Channels::Gray, &[77][..]),
            (Channels::GrayAlpha, &[77, 7]),
            (Channels::Rgb, &[255, 0, 10]),
            (Channels::Rgba, &[255, 0, 10, 7]),
        ] {
            assert_eq!(colour.clone().with_channels(channels).samples(), samples);
        }
        assert_eq!(pixel(Channels::Gray, &[9]).with_channels(Channels::Rgba).samples(), [9, 9, 9, 255]);
        assert_eq!(colour.with_red_and_blue_swapped().samples(), [10, 0, 255, 7]);
        assert!(Picture::new(Size { width: 2, height: 1 }, Channels::Rgb, vec![0; 5]).is_none());
        assert!(Picture::new(Size { width: 0, height: 1 }, Channels::Rgb, vec![]).is_none());
    }
}
