//! Archives of strangers come in here: decompressed, walked member by member, and guarded.
//!
//! Owns what all readers of packages share: [`Compression`], the walk over [`tar`] streams and [`zip`] files, the
//! [`Guard`] that refuses paths and links that leave the root, doubles, devices and bombs. Must not know what the
//! members mean, and never writes anything.

mod compression;
mod guard;
pub mod tar;
pub mod zip;

pub use compression::Compression;
pub use guard::{Guard, IntakeError, Limits, Shape, check_link};
