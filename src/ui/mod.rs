//! Speaking to people: results on standard output, everything else on standard error, progress as bars or lines.
//!
//! Owns [`Printer`], [`Bars`] and [`Failure`]. Nothing else in the product prints. Meaning never depends on colour or on
//! a moving line.

mod bars;
mod failure;
mod printer;
mod wire;

pub use bars::{Bars, Motion};
pub use failure::{Failure, Kind};
pub use printer::{Colours, Form, Printer, Verbosity};
pub use wire::Wire;
