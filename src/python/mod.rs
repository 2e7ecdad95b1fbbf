//! Python wheels and package indexes as data (PEP 427, 376, 425, 600, 503, 691, 508, 440).
//!
//! Owns reading: [`unpack`] turns a wheel into entries, [`name`] reads file names, [`tags`] says which wheels an
//! interpreter takes, [`simple`] reads index pages, [`metadata`] what a wheel wants. Nothing is built: source
//! distributions are refused, and bytecode is not made (see the recipe's `prepare`).

mod entry_points;
pub mod metadata;
pub mod name;
mod record;
pub mod simple;
pub mod tags;
mod wheel;

pub use wheel::{Place, PythonError, RecordCheck, unpack};
