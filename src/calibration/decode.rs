//! Pictures out of the bytes of files: JPEG, PNG, BMP, WebP, TIFF and GIF, known by their bytes and never by their name.
//!
//! Files come from anywhere, so nothing is taken on trust: dimensions are judged before memory is taken for them, and
//! decoders are safe Rust. All formats have the pixels that Pillow has; JPEG has a decoder of its own for that ([`jpeg`]).

use std::io::Cursor;

use image::{ColorType, ImageDecoder, ImageFormat, ImageReader, Limits};
use thiserror::Error;

use super::jpeg::{self, JpegError};
use super::picture::{Channels, Picture, Size};
use crate::hint::Hint;
use crate::intake::{foreign, foreign_hint};

/// The most bytes that decoders may take: the largest picture with 16 bits for each of four samples.
const MOST_BYTES: u64 = 1 << 30;

/// Bytes that do not become a picture.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// There are none.
    #[error("the file is empty")]
    Empty,
    /// They begin like no picture.
    #[error("the file is no picture of a known format")]
    Unknown,
    /// They are something else.
    #[error("the file is no picture but {what}")]
    Foreign {
        /// What it is, with its article.
        what: &'static str,
    },
    /// The picture is larger than anything sensible.
    #[error(
        "the picture has {size} pixels: at most {} a side and {} together are read",
        Size::LONGEST_SIDE,
        Size::MOST_PIXELS
    )]
    TooLarge {
        /// Width and height.
        size: Size,
    },
    /// The pixels are numbers of a kind that no camera makes.
    #[error("the picture's samples are of type {kind:?}, not of 8 or 16 bits")]
    Samples {
        /// The kind.
        kind: ColorType,
    },
    /// A JPEG is damaged, or of a kind that is not read.
    #[error("the JPEG picture is damaged or of a kind that is not read")]
    Jpeg(#[source] JpegError),
    /// A picture is damaged, or of a kind that is not read.
    #[error("the {format:?} picture is damaged or of a kind that is not read")]
    Damaged {
        /// The format.
        format: ImageFormat,
        /// What the decoder says.
        #[source]
        source: image::ImageError,
    },
}

impl Hint for DecodeError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Empty | Self::Jpeg(JpegError::End) => vec!["copy the file again, or leave it out".to_owned()],
            Self::Damaged { source: image::ImageError::IoError(_), .. } => {
                vec!["copy the file again, or leave it out".to_owned()]
            }
            Self::Foreign { what } if foreign_hint(what).is_some() => foreign_hint(what).into_iter().collect(),
            Self::Unknown | Self::Foreign { .. } | Self::Jpeg(_) | Self::Damaged { .. } => {
                vec!["save the picture as PNG or JPEG; tensors have the suffixes `.npy` and `.raw`".to_owned()]
            }
            Self::TooLarge { .. } => vec!["make the picture smaller beforehand".to_owned()],
            Self::Samples { .. } => vec!["save the values as `.npy`, in the input's shape".to_owned()],
        }
    }
}

/// Reads a picture.
///
/// # Errors
/// No picture, a damaged one, or one that is too large.
pub fn decode(bytes: &[u8]) -> Result<Picture, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    if bytes.starts_with(jpeg::MAGIC) {
        return jpeg::decode(bytes).map_err(|error| match error {
            JpegError::TooLarge { size } => DecodeError::TooLarge { size },
            error => DecodeError::Jpeg(error),
        });
    }
    let unknown = |_| foreign(bytes).map_or(DecodeError::Unknown, |what| DecodeError::Foreign { what });
    other(bytes, image::guess_format(bytes).map_err(unknown)?)
}

fn other(bytes: &[u8], format: ImageFormat) -> Result<Picture, DecodeError> {
    let damaged = |source| DecodeError::Damaged { format, source };
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    let side = |side: u32| usize::try_from(side).unwrap_or(usize::MAX);
    let size = Size { width: side(width), height: side(height) };
    if !size.is_readable() {
        return Err(DecodeError::TooLarge { size });
    }
    let kind = decoder.color_type();
    let (channels, is_wide) = match kind {
        ColorType::L8 => (Channels::Gray, false),
        ColorType::La8 => (Channels::GrayAlpha, false),
        ColorType::Rgb8 => (Channels::Rgb, false),
        ColorType::Rgba8 => (Channels::Rgba, false),
        ColorType::L16 => (Channels::Gray, true),
        ColorType::La16 => (Channels::GrayAlpha, true),
        ColorType::Rgb16 => (Channels::Rgb, true),
        ColorType::Rgba16 => (Channels::Rgba, true),
        _ => return Err(DecodeError::Samples { kind }),
    };
    let mut samples = vec![0; size.width * size.height * channels.count() * if is_wide { 2 } else { 1 }];
    decoder.read_image(&mut samples).map_err(damaged)?;
    if is_wide {
        // The decoder's words are the machine's own.
        samples = samples.as_chunks::<2>().0.iter().map(|word| (u16::from_ne_bytes(*word) >> 8) as u8).collect();
    }
    Picture::new(size, channels, samples).ok_or(DecodeError::Empty)
}
