//! Archives of strangers come in here: decompressed, walked member by member, and guarded.
//!
//! Owns what all readers of packages share: [`Compression`], the walk over [`tar`] streams and [`zip`] files, the
//! [`Guard`] that refuses paths and links that leave the root, doubles, devices and bombs, and what files are that are
//! something else. Must not know what the members mean, and never writes anything.

mod compression;
mod foreign;
mod guard;
pub mod tar;
pub mod zip;

pub use compression::Compression;
pub use foreign::{foreign, foreign_hint};
pub use guard::{Guard, IntakeError, Limits, Shape, check_link};
