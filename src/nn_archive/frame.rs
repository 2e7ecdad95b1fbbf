//! Frame types of DepthAI (`ImgFrame::Type`): what a camera or an image node hands to a network.
//!
//! Owns [`DaiType`], the types that a description of ours names, and [`Frames`], what the types of other people's
//! descriptions mean for colours and channels. The list is that of DepthAI 3.12.

use std::fmt;

/// A frame type for a picture of 1 or 3 channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaiType {
    /// Three 8-bit channels.
    Color8(ColorOrder, ChannelPlace),
    /// Three channels of half floats.
    ColorF16(ColorOrder, ChannelPlace),
    /// One 8-bit channel: `GRAY8`.
    Gray8,
    /// One channel of half floats: `GRAYF16`.
    GrayF16,
}

/// The order of colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says all there is")]
pub enum ColorOrder {
    Rgb,
    Bgr,
}

/// Where channels stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelPlace {
    /// One plane after the other, `CHW`.
    Planar,
    /// Innermost, `HWC`.
    Interleaved,
}

/// Prints the name that DepthAI knows, such as `BGR888p`.
impl fmt::Display for DaiType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (order, place, depth) = match self {
            Self::Gray8 => return formatter.write_str("GRAY8"),
            Self::GrayF16 => return formatter.write_str("GRAYF16"),
            Self::Color8(order, place) => (order, place, "888"),
            Self::ColorF16(order, place) => (order, place, "F16F16F16"),
        };
        let order = match order {
            ColorOrder::Rgb => "RGB",
            ColorOrder::Bgr => "BGR",
        };
        let place = match place {
            ChannelPlace::Planar => "p",
            ChannelPlace::Interleaved => "i",
        };
        write!(formatter, "{order}{depth}{place}")
    }
}

/// What a network that takes frames of some type is fed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frames {
    /// Three colours, and where they stand if the name says it.
    Color(ColorOrder, Option<ChannelPlace>),
    /// Brightness alone.
    Gray,
    /// A type that DepthAI has, but not in colours that could be exchanged: YUV, unpacked sensor data, and so on.
    Foreign,
    /// A name that DepthAI does not have.
    Unknown,
}

/// Types with brightness alone: `YUV400p` is the Y of YUV, `RAW8` what monochrome sensors deliver.
const GRAY: [&str; 2] = ["RAW8", "YUV400p"];

/// Types without colours that could be exchanged.
const FOREIGN: [&str; 18] = [
    "YUV422i", "YUV444p", "YUV444i", "YUV420p", "YUV422p", "NV12", "NV21", "LUT2", "LUT4", "LUT16", "RAW10", "RAW12",
    "RAW14", "RAW16", "RAW32", "PACK10", "PACK12", "HDR",
];

impl Frames {
    /// Returns what the frame type called `name` means.
    ///
    /// Names of no type that begin with its colours are taken by these: older archives have `GRAY888p`.
    pub fn of(name: &str) -> Self {
        let place = match name.chars().next_back() {
            Some('i') => Some(ChannelPlace::Interleaved),
            Some('p') => Some(ChannelPlace::Planar),
            _ => None,
        };
        match name {
            _ if name.starts_with("RGB") => Self::Color(ColorOrder::Rgb, place),
            _ if name.starts_with("BGR") => Self::Color(ColorOrder::Bgr, place),
            _ if name.starts_with("GRAY") || GRAY.contains(&name) => Self::Gray,
            "BITSTREAM" | "NONE" => Self::Foreign,
            _ if FOREIGN.contains(&name) => Self::Foreign,
            _ => Self::Unknown,
        }
    }

    /// Returns where channels stand, if the type says it.
    pub const fn place(self) -> Option<ChannelPlace> {
        match self {
            Self::Color(_, place) => place,
            Self::Gray | Self::Foreign | Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_colours_and_place() {
        use ChannelPlace::{Interleaved, Planar};
        use ColorOrder::{Bgr, Rgb};
        for (name, frames) in [
            ("RGB888p", Frames::Color(Rgb, Some(Planar))),
            ("BGR888i", Frames::Color(Bgr, Some(Interleaved))),
            ("RGBF16F16F16i", Frames::Color(Rgb, Some(Interleaved))),
            ("BGRF16F16F16p", Frames::Color(Bgr, Some(Planar))),
            ("RGB161616", Frames::Color(Rgb, None)),
            ("GRAY8", Frames::Gray),
            ("GRAYF16", Frames::Gray),
            ("GRAY888p", Frames::Gray),
            ("RAW8", Frames::Gray),
            ("YUV400p", Frames::Gray),
            ("NV12", Frames::Foreign),
            ("RAW10", Frames::Foreign),
            ("rgb888p", Frames::Unknown),
            ("", Frames::Unknown),
            ("É", Frames::Unknown),
        ] {
            assert_eq!(Frames::of(name), frames, "{name}");
        }
    }

    #[test]
    fn what_is_written_is_read_as_what_it_is() {
        for order in [ColorOrder::Rgb, ColorOrder::Bgr] {
            for place in [ChannelPlace::Planar, ChannelPlace::Interleaved] {
                for dai_type in [DaiType::Color8(order, place), DaiType::ColorF16(order, place)] {
                    assert_eq!(Frames::of(&dai_type.to_string()), Frames::Color(order, Some(place)));
                }
            }
        }
        assert_eq!(Frames::of(&DaiType::Gray8.to_string()), Frames::Gray);
    }
}
