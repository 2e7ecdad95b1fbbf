//! Rewritings that make networks faster and that a configuration switches one by one.
//!
//! Owns the six optimizations of `onnx_optimizations`. Each keeps what the network computes, up to the rounding of constants that
//! are computed here instead of by the device.

mod affine;
mod arithmetic;
mod channels;

pub use self::affine::{FuseAfterConvolution, FuseBeforeConvolution};
pub use self::arithmetic::{DivisionToMultiplication, SubtractionToAddition};
pub use self::channels::FuseChannelOrder;
