//! Pictures out of the bytes of files: JPEG, PNG, BMP, WebP, TIFF and GIF, known by their bytes and never by their name.
//!
//! Files come from anywhere, so nothing is taken on trust: dimensions are judged before memory is taken for them, and
//! decoders are Rust. Lossless formats have the pixels that Pillow has. JPEG leaves some roundings to the decoder; ours
//! differs from libjpeg's by a level now and then.

use std::io::Cursor;

use image::{ColorType, ImageDecoder, ImageFormat, ImageReader, Limits};
use thiserror::Error;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::picture::{Channels, Picture, Size};
use crate::hint::Hint;

/// The largest picture: no camera makes one, and its pixels still fit in the memory of small machines.
const MOST_PIXELS: usize = 1 << 27;
/// The longest side, which is JPEG's.
const LONGEST_SIDE: usize = 65_535;
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
    /// The picture is larger than anything sensible.
    #[error(
        "the picture has {width}x{height} pixels: at most {LONGEST_SIDE} a side and {MOST_PIXELS} together are read"
    )]
    TooLarge {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
    },
    /// The pixels are numbers of a kind that no camera makes.
    #[error("the picture's samples are of type {kind:?}, not of 8 or 16 bits")]
    Samples {
        /// The kind.
        kind: ColorType,
    },
    /// A JPEG is damaged.
    #[error("the JPEG picture is damaged")]
    Jpeg(#[source] zune_jpeg::errors::DecodeErrors),
    /// A JPEG ends before its last pixel.
    #[error("the JPEG picture ends too soon")]
    JpegEnd,
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
            Self::Empty | Self::Jpeg(_) | Self::JpegEnd => vec!["copy the file again, or leave it out".to_owned()],
            Self::Unknown | Self::Damaged { .. } => {
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
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => jpeg(bytes),
        Ok(format) => other(bytes, format),
        Err(_) => Err(DecodeError::Unknown),
    }
}

fn check(width: usize, height: usize) -> Result<Size, DecodeError> {
    let fits = width.max(height) <= LONGEST_SIDE && width.saturating_mul(height) <= MOST_PIXELS;
    if fits { Ok(Size { width, height }) } else { Err(DecodeError::TooLarge { width, height }) }
}

fn jpeg(bytes: &[u8]) -> Result<Picture, DecodeError> {
    let options = DecoderOptions::default().set_max_width(LONGEST_SIDE).set_max_height(LONGEST_SIDE);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(DecodeError::Jpeg)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    let size = check(width, height)?;
    let is_gray = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let (space, channels) = if is_gray { (ColorSpace::Luma, Channels::Gray) } else { (ColorSpace::RGB, Channels::Rgb) };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let mut samples = vec![0; width * height * channels.count()];
    decoder.decode_into(&mut samples).map_err(DecodeError::Jpeg)?;
    Picture::new(size, channels, samples).ok_or(DecodeError::JpegEnd)
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
    let size = check(side(width), side(height))?;
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
