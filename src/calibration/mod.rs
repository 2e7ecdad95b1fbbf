//! Calibration data: from the bytes of sample files to the tensors that a network is fed.
//!
//! Owns decoding of pictures ([`decode`], [`jpeg`]), their way to an input's size ([`fit`], [`bicubic`]), layout, colours and type
//! ([`feed`]), NumPy's files ([`npy`]), random samples ([`random`]), and which files belong together ([`plan`]). Samples
//! are not normalised: mean and scale are part of the network. Must not touch files; `pipeline::samples` does.
//!
//! # One pixel, one value
//! What a network is calibrated on decides its weights, so every step is integer arithmetic in a fixed order, the same on
//! every machine:
//! - A picture is taken as it is stored; a note in it that it should be turned (EXIF orientation) is not followed, as the
//!   reference does not follow it.
//! - Decoders have the pixels of Pillow, which is libjpeg's for JPEG and libwebp's for WebP.
//! - Colours come before the size: first RGB or gray, then the new size, then the order of channels.
//! - Samples of 16 bits become 8 bits by their upper byte. Transparency is dropped, not blended.
//! - The bicubic filter is Pillow's, in fixed point: first along the rows, then along the columns. Pillow up to 12 has the
//!   same bytes; Pillow 13 chooses the order by the sizes.
//! - Pixels keep their values in every type; in `int8` they keep their bits.

pub mod bicubic;
pub mod decode;
pub mod element;
pub mod feed;
pub mod fit;
pub mod jpeg;
pub mod npy;
pub mod picture;
pub mod plan;
pub mod random;
mod wide;

pub use decode::DecodeError;
pub use element::{Element, Statistics, Tensor};
pub use feed::{Feed, FeedError};
pub use npy::NpyError;
pub use picture::{Channels, Picture, Size};
pub use plan::{CalibrationPlan, Listing, PlanError, Supply};
